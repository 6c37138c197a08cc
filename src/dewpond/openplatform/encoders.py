"""Encoders: who puts deliveries into a merchant's language and signs them; faces implement them."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import msgspec

from dewpond.kit.clock import Now
from dewpond.kit.db import Tx
from dewpond.kit.secrets import MasterKeys
from dewpond.openplatform.deliveries import Delivery

#: Signs for one attempt, with a fresh timestamp and nonce, outside of any transaction; the headers to send.
Sign = Callable[[], Awaitable[list[tuple[str, str]]]]


class Letter(msgspec.Struct, frozen=True):
    """A delivery ready to be posted."""

    body: bytes
    sign: Sign


class Encoder(Protocol):
    """Speaks one language, for many deliveries at once."""

    async def write(
        self, tx: Tx, deliveries: Sequence[Delivery], *, secrets: MasterKeys, now: Now
    ) -> Sequence[Letter | Exception]:
        """A letter for each in order, around the body it has already or a new one; or why there can be none.

        One that cannot be written is no reason to raise: that would have all of them tried again one by one.
        """
