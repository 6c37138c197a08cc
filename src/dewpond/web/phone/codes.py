"""Codes: what the codes that phones scan ask for. Looked up many at once, for every payment goes through here."""

import re
from collections.abc import Sequence
from math import ceil
from typing import Any, Final

import msgspec
from litestar import Request

from dewpond import pay
from dewpond.identity import PersonId
from dewpond.kit import clock, worlds
from dewpond.kit.batch import Batch
from dewpond.kit.clock import Now
from dewpond.kit.db import Database
from dewpond.kit.failures import Failure
from dewpond.pay import CodeUnknown, Payment, Scanned

#: What a code looks like, of payments and of posters. Nothing else is asked of the database.
CODE: Final = re.compile(r"[A-Za-z0-9_-]{1,128}", re.ASCII)


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What a code asks for, at a moment."""

    scanned: Scanned
    now: Now
    is_clock_frozen: bool

    @property
    def payment(self) -> Payment:
        return self.scanned.payment

    @property
    def seconds_left(self) -> int:
        """How long it can still be paid; the last second counts until it is over, for a page looks again at nought."""
        return max(ceil((self.scanned.expires_at - self.now.world).total_seconds()), 0)


class Codes:
    """One process's look-ups; what another process has just committed is seen."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self.lookups: Batch[tuple[str, PersonId], Found] = Batch(self._find, lanes=1)

    async def get(self, code: str, by: PersonId) -> Found:
        """What this code asks of this person. Refuses with `CodeUnknown`, also where it is meant for another, and with
        `CodeExpired` while it is still unpaid."""
        if not CODE.fullmatch(code):
            raise CodeUnknown
        return await self.lookups.submit((code, by))

    async def _find(self, scans: Sequence[tuple[str, PersonId]]) -> Sequence[Found | Failure]:
        async with self._db.reading() as tx:
            world = await worlds.get_world(tx)
            now = world.time(clock.wall_now())
            found = await pay.list_scanned(tx, scans, now=now)
        is_frozen = world.frozen_at is not None
        return [
            one if isinstance(one, Failure) else Found(scanned=one, now=now, is_clock_frozen=is_frozen) for one in found
        ]


def codes_of(request: Request[Any, Any, Any]) -> Codes:
    """The look-ups of the site that a request came to."""
    codes: Codes = request.app.state.codes
    return codes
