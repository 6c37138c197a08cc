"""Rounds: what a worker does over and over, each on its own, woken by the bell and looking by itself as well.

A round that raises, because the database is gone or for whatever reason, is told to the log and tried again with
growing pauses; the worker itself ends only when it is told to.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

import structlog

from dewpond.kit.db import BELL
from dewpond.wiring import House
from dewpond.worker.readers import readers_of, register
from dewpond.worker.runner import Runner
from dewpond.worker.steps import fold, read_facts, sweep
from dewpond.worker.wishes import Granter

_FACTS_SECONDS: Final = 1.0
#: Callbacks are due to the second.
_JOBS_SECONDS: Final = 0.5
_FOLD_BUSY_SECONDS: Final = 0.2
_FOLD_IDLE_SECONDS: Final = 1.0
_SWEEP_SECONDS: Final = 3.0
#: Somebody sits before the desk and waits.
_WISHES_SECONDS: Final = 0.5

_FIRST_PAUSE_SECONDS: Final = 0.1
_LONGEST_PAUSE_SECONDS: Final = 2.0
_FINISH_SECONDS: Final = 6.0

log = structlog.get_logger(__name__)


async def work(house: House, stop: asyncio.Event) -> None:
    """Carry facts, jobs, credits and expiries on until `stop` is set; then finish what is running."""
    worker = _Worker(house, stop)
    await worker.run()


class _Worker:
    def __init__(self, house: House, stop: asyncio.Event) -> None:
        self._house = house
        self._stop = stop
        self._runner = Runner(house)
        self._granter = Granter(house)
        self._registered = False
        self._facts, self._jobs, self._credits = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._deaf = asyncio.Event()

    async def run(self) -> None:
        rounds = {
            "bell": self._listen,
            "facts": self._facts_round,
            "jobs": self._jobs_round,
            "fold": self._fold_round,
            "sweep": self._sweep_round,
            "wishes": self._wishes_round,
        }
        tasks = [asyncio.create_task(self._forever(name, step)) for name, step in rounds.items()]
        log.info("worker.started", readers=len(readers_of(self._house.reactions)))
        try:
            await self._stop.wait()
            self._ring()
            self._deaf.set()
            await asyncio.gather(self._granter.close(), self._runner.finish(_FINISH_SECONDS))
            await asyncio.wait(tasks, timeout=1.0)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._granter.close()
        log.info("worker.stopped")

    async def _forever(self, name: str, step: Callable[[], Awaitable[None]]) -> None:
        pause = _FIRST_PAUSE_SECONDS
        while not self._stop.is_set():
            try:
                await step()
                pause = _FIRST_PAUSE_SECONDS
            except Exception as error:  # noqa: BLE001 - a worker that ended here would leave everything undone
                log.warning("worker.trouble", round=name, error=repr(error))
                await _within(self._stop, pause)
                pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)

    def _ring(self) -> None:
        for event in (self._facts, self._jobs, self._credits):
            event.set()

    async def _listen(self) -> None:
        """Hear the bell until the connection is lost."""
        connection = await self._house.db.session()
        self._deaf.clear()
        try:
            connection.add_termination_listener(lambda _: self._deaf.set())
            await connection.add_listener(BELL, lambda *_: self._ring())
            self._ring()  # for what was said while nobody listened
            await self._deaf.wait()
        finally:
            with suppress(Exception):
                await connection.close(timeout=1)

    async def _facts_round(self) -> None:
        if not self._registered:
            await register(self._house)
            self._registered = True
        self._facts.clear()
        if await read_facts(self._house):
            self._jobs.set()
        else:
            await _within(self._facts, _FACTS_SECONDS)

    async def _jobs_round(self) -> None:
        self._jobs.clear()
        _, more = await self._runner.take()
        if more:
            await self._runner.room()
        else:
            await _within(self._jobs, _JOBS_SECONDS)

    async def _fold_round(self) -> None:
        self._credits.clear()
        if await fold(self._house):
            await _within(self._stop, _FOLD_BUSY_SECONDS)
        else:
            await _within(self._credits, _FOLD_IDLE_SECONDS)

    async def _sweep_round(self) -> None:
        await sweep(self._house)
        await _within(self._stop, _SWEEP_SECONDS)

    async def _wishes_round(self) -> None:
        await self._granter.look()
        await _within(self._stop, _WISHES_SECONDS)


async def _within(event: asyncio.Event, seconds: float) -> None:
    """Wait for an event, not longer than this."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
