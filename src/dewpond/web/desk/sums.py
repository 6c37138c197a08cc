"""Sums that are read by looking at everything: bounded in time, and otherwise shown as they were last."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any, Final, Generic, TypeVar

from litestar import Request

from dewpond import identity, ledger, openplatform
from dewpond.kit.clock import wall_now
from dewpond.kit.db import Database, Tx
from dewpond.ledger import CodeTotal
from dewpond.openplatform import DeliveryCounts

T = TypeVar("T")

#: How long a page waits for a sum, and how long it does where somebody asked for it.
_LIMIT_SECONDS: Final = 1.5
_ASKED_LIMIT_SECONDS: Final = 20.0
#: What takes longer than this is not read again by itself before a while has passed.
_QUICK_SECONDS: Final = 0.4
_AGAIN_SECONDS: Final = 1.0
_AGAIN_SLOWLY_SECONDS: Final = 60.0


class Sum(Generic[T]):
    """One sum of one process: read again and again, by one request at a time."""

    def __init__(self, db: Database, read: Callable[[Tx], Awaitable[T]]) -> None:
        self._db = db
        self._read = read
        self._reading = asyncio.Lock()
        self._again_at = 0.0
        #: None until it was read in time once.
        self.value: T | None = None
        #: Wall time.
        self.read_at: datetime | None = None
        #: Whether the last look came to an end.
        self.is_whole = False

    async def look(self, *, limit_seconds: float = _LIMIT_SECONDS, is_asked: bool = False) -> "Sum[T]":
        """Read it again unless that was done just now, or takes long and nobody asked; itself, to be shown."""
        async with self._reading:
            began = asyncio.get_running_loop().time()
            if not is_asked and began < self._again_at:
                return self
            at = wall_now()
            try:
                async with asyncio.timeout(limit_seconds), self._db.transaction() as tx:
                    self.value = await self._read(tx)
                self.read_at, self.is_whole = at, True
            except TimeoutError:
                self.is_whole = False
            ended = asyncio.get_running_loop().time()
            is_quick = self.is_whole and ended - began < _QUICK_SECONDS
            self._again_at = ended + (_AGAIN_SECONDS if is_quick else _AGAIN_SLOWLY_SECONDS)
        return self


class Sums:
    """What the desk adds up over the whole world."""

    def __init__(self, db: Database) -> None:
        self.money: Sum[list[CodeTotal]] = Sum(db, ledger.sum_codes)
        self.people: Sum[int] = Sum(db, identity.count_people)
        self.deliveries: Sum[DeliveryCounts] = Sum(db, openplatform.count_deliveries)

    async def look(self, *, is_asked: bool = False) -> None:
        """Read all of them again, as far as their time allows."""
        limit = _ASKED_LIMIT_SECONDS if is_asked else _LIMIT_SECONDS
        every: tuple[Sum[Any], ...] = (self.money, self.people, self.deliveries)
        await asyncio.gather(*(one.look(limit_seconds=limit, is_asked=is_asked) for one in every))

    @property
    def oldest(self) -> datetime | None:
        """When the oldest of those was read that could not be read just now; None where all are of now."""
        old = [one.read_at for one in (self.money, self.people, self.deliveries) if not one.is_whole]
        return min((at for at in old if at is not None), default=None)


def sums_of(request: Request[Any, Any, Any]) -> Sums:
    """The sums of this site."""
    sums: Sums = request.app.state.sums
    return sums
