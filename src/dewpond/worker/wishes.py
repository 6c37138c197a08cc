"""Wishes granted: what the desk asks of the worker, carried out by one worker at a time."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any, Final

import msgspec
import structlog

from dewpond import ledger
from dewpond.kit import wishes, worlds
from dewpond.kit.clock import wall_now
from dewpond.kit.db import Tx
from dewpond.kit.failures import Failure
from dewpond.kit.wishes import ClockMove, Wish, WishOutcome
from dewpond.wiring import House
from dewpond.worker.clock import ClockBusy, advance

#: Does what was asked and tells what came of it; a `Failure` is an answer too, anything else is tried again.
Granting = Callable[[House, Wish], Awaitable[dict[str, Any]]]

#: Held for the session by whoever grants wishes of a kind.
_LOCK: Final = "select pg_try_advisory_lock(7401, 100 + $1)"
#: How often it is looked whether somebody has stopped it.
_LOOK_SECONDS: Final = 0.5
#: Until it is tried again, after trouble or where another one is at it.
_PAUSE_SECONDS: Final = 2.0

log = structlog.get_logger(__name__)


async def _move_clock(house: House, wish: Wish) -> dict[str, Any]:
    move = msgspec.convert(wish.wanted, ClockMove)
    with suppress(worlds.ClockCannotGoBack):  # another one has moved it further already
        await advance(house, move.until)
    async with house.db.transaction() as tx:
        now = await worlds.read_clocks(tx)
    return _told(ClockMove(since=move.since, until=now.world))


async def _add_up(house: House, _wish: Wish) -> dict[str, Any]:
    connection = await house.db.session()  # one that nobody ends for being slow
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            return _told(await ledger.trial_balance(Tx(connection)))
    finally:
        await connection.close(timeout=5)


def _told(what: msgspec.Struct) -> dict[str, Any]:
    told: dict[str, Any] = msgspec.to_builtins(what)
    return told


_GRANTINGS: Final[Mapping[str, Granting]] = {
    wishes.CLOCK_MOVE: _move_clock,
    ledger.TRIAL_BALANCE_WISH: _add_up,
}


class Granter:
    """Grants the open wishes of a world, one of each kind at a time. Who stops it calls `close`."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._granting: dict[str, asyncio.Task[None]] = {}

    async def look(self) -> None:
        """Take up what is open and known, unless it is being done here already."""
        async with self._house.db.transaction() as tx:
            waiting = await wishes.list_open(tx)
        for wish in waiting:
            task = self._granting.get(wish.kind)
            if wish.kind in _GRANTINGS and (task is None or task.done()):
                self._granting[wish.kind] = asyncio.create_task(self._grant(wish), name=wish.kind)

    async def close(self) -> None:
        """Leave off; what is open stays open for another worker, or for the next start."""
        for task in self._granting.values():
            task.cancel()
        await asyncio.gather(*self._granting.values(), return_exceptions=True)

    async def _grant(self, wish: Wish) -> None:
        try:
            if await grant(self._house, wish):
                return
        except Exception as error:  # noqa: BLE001 - the wish stays open, and is taken up again after a pause
            log.warning("wish.trouble", kind=wish.kind, error=repr(error))
        await asyncio.sleep(_PAUSE_SECONDS)


async def grant(house: House, wish: Wish) -> bool:
    """Carry a wish out and write down how it ended; False where somebody else is at it, so that it is not for us."""
    connection = await house.db.session()
    try:
        if not await connection.fetchval(_LOCK, list(_GRANTINGS).index(wish.kind)):
            return False
        async with house.db.transaction() as tx:
            if not await wishes.begin(tx, wish.id, wall_now=wall_now()):
                return True
        try:
            told = await _until_stopped(house, wish)
        except ClockBusy:  # it is being moved from the terminal
            return False
        except Failure as refusal:
            await _end(house, wish, WishOutcome.REFUSED, {"code": refusal.code})
        else:
            if told is not None:
                await _end(house, wish, WishOutcome.GRANTED, told)
        return True
    finally:
        await connection.close(timeout=5)


async def _until_stopped(house: House, wish: Wish) -> dict[str, Any] | None:
    """What came of it; None where somebody stopped it on the way."""
    granting = asyncio.ensure_future(_GRANTINGS[wish.kind](house, wish))
    try:
        while not (await asyncio.wait({granting}, timeout=_LOOK_SECONDS))[0]:
            async with house.db.transaction() as tx:
                present = await wishes.find(tx, wish.id)
            if present is None or present.ended_at is not None:
                log.info("wish.stopped", kind=wish.kind)
                return None
        return granting.result()
    finally:
        granting.cancel()
        await asyncio.gather(granting, return_exceptions=True)


async def _end(house: House, wish: Wish, outcome: WishOutcome, told: dict[str, Any]) -> None:
    async with house.db.transaction() as tx:
        await wishes.end(tx, wish.id, outcome, told, wall_now=wall_now())
    log.info("wish.ended", kind=wish.kind, outcome=outcome.value)
