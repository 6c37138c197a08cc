"""Moving world time: a sandbox's clock jumps from one due time to the next, and everything due is done at each."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Final

from dewpond.kit import jobs, worlds
from dewpond.kit.clock import Now, wall_now
from dewpond.kit.db import Tx
from dewpond.kit.failures import Failure, Kind
from dewpond.wiring import House
from dewpond.worker.readers import are_done, readers_of, register
from dewpond.worker.runner import Runner
from dewpond.worker.steps import fold, read_facts, sweep

_DRIVER_LOCK: Final = "select pg_try_advisory_lock(7401, 4)"
_POLL_SECONDS: Final = 0.01
_FINISH_SECONDS: Final = 6.0


class ClockBusy(Failure):
    """Somebody else is moving this world's clock."""

    code, kind = "clock_busy", Kind.CONFLICT


async def drain(house: House, *, now_reader: Callable[[Tx], Awaitable[Now]] = worlds.read_clocks) -> None:
    """Do everything that is due at the current world time and all that follows from it.

    Works alone and beside running workers; what they have taken is waited for.
    """
    await register(house)
    readers = readers_of(house.reactions)
    runner = Runner(house)
    try:
        while True:
            moved = await read_facts(house)
            started, more = await runner.take()
            if more:
                await runner.room()
            elif not (moved or started) and await runner.progress(_POLL_SECONDS * 10):
                continue
            if moved or started or more or await sweep(house):
                continue
            async with house.db.transaction() as tx:
                now = await now_reader(tx)
                quiet = not await jobs.count_due(tx, now.world) and await are_done(tx, readers)
            if quiet:
                break
            await asyncio.sleep(_POLL_SECONDS)
    finally:
        await runner.finish(_FINISH_SECONDS)
    while await fold(house):
        pass


async def advance(house: House, target: datetime, progress: Callable[[datetime], None] = lambda _: None) -> None:
    """Move world time to `target`, through every due time before it, doing at each what is due.

    A frozen clock stays frozen at the target, a running one runs on from it. `progress` is told each moment that is
    done. Refusals: `ClockBusy` while another does the same, `OnlyInSandbox`, `ClockCannotGoBack`.
    """
    async with _driving(house):
        async with house.db.transaction() as tx:
            now = (await worlds.require_sandbox(tx)).time(wall_now())
        if target < now.world:
            raise worlds.ClockCannotGoBack(to=target.isoformat())
        while True:
            await drain(house)
            async with house.db.transaction() as tx:
                now = await worlds.read_clocks(tx)
                due = await jobs.next_due(tx)
                moment = target if due is None else min(due, target)
                if moment > now.world:
                    await worlds.move_clock(tx, moment, wall_now=now.wall)
                    tx.wake()
            progress(max(moment, now.world))
            if moment >= target or now.world >= target:
                await drain(house)
                return


@asynccontextmanager
async def _driving(house: House) -> AsyncIterator[None]:
    connection = await house.db.session()
    try:
        if not await connection.fetchval(_DRIVER_LOCK):
            raise ClockBusy
        yield
    finally:
        await connection.close(timeout=5)
