"""The runner: takes due jobs as places get free, runs them side by side, and writes down in batches how they ended."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Final

import structlog

from dewpond.kit import jobs, worlds
from dewpond.kit.batch import Batch
from dewpond.kit.clock import Now
from dewpond.kit.db import CONNECTION_LOST
from dewpond.kit.failures import Failure
from dewpond.kit.jobs import TRIES_BEFORE_QUARANTINE, Again, Failed, GiveUp, Job, Outcome
from dewpond.wiring import House, JobHandler
from dewpond.worker.readers import PARKED, handle_parked

#: Jobs at once that make progress, and all together with those that wait for somebody outside.
_PLACES: Final = 256
_CEILING: Final = 1024

#: A job that takes longer waits for somebody outside; its place is given to another one.
_YOUNG_SECONDS: Final = 1.0

#: How long a job stands back whose connection to the database was lost under it.
_CONNECTION_PAUSE: Final = timedelta(seconds=1)

log = structlog.get_logger(__name__)


class Runner:
    """Runs jobs of one process. Who stops it calls `finish`."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._handlers: dict[str, JobHandler] = {**house.jobs, PARKED: handle_parked}
        self._running: set[asyncio.Task[None]] = set()
        #: When each began, the oldest first.
        self._young: dict[asyncio.Task[None], float] = {}
        self._roomy = asyncio.Event()
        # One at a time, so that the next one fills meanwhile.
        self._settlements: Batch[tuple[Job, Outcome], None] = Batch(
            self._settle, key=lambda ended: ended[0].id, lanes=1
        )

    @property
    def _free(self) -> int:
        grown_up = asyncio.get_running_loop().time() - _YOUNG_SECONDS
        while self._young and (oldest := next(iter(self._young.items())))[1] < grown_up:
            del self._young[oldest[0]]
        return max(0, min(_PLACES - len(self._young), _CEILING - len(self._running)))

    async def take(self) -> tuple[int, bool]:
        """Start as many due jobs as there are places; how many, and whether more may be due."""
        free = self._free
        if not free:
            return 0, True
        async with self._house.db.transaction() as tx:
            now = await worlds.read_clocks(tx)
            claimed = await jobs.claim(tx, now, most=free)
        for job in claimed:
            self._start(job, now)
        return len(claimed), len(claimed) == free

    async def room(self) -> None:
        """Wait until half of the places are free, so that one claim takes many; or a moment, if that is slow."""
        if self._free >= _PLACES // 2:
            return
        self._roomy.clear()
        try:
            async with asyncio.timeout(0.05):
                await self._roomy.wait()
        except TimeoutError:
            return

    async def progress(self, seconds: float) -> bool:
        """Wait until one of the running jobs has ended, not longer than this; False when none is running."""
        if not self._running:
            return False
        await asyncio.wait(set(self._running), timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        return True

    async def finish(self, seconds: float) -> None:
        """Let the running jobs end, not longer than this; the rest is taken up by somebody else after its lease."""
        if self._running:
            _, late = await asyncio.wait(set(self._running), timeout=seconds)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    def _start(self, job: Job, now: Now) -> None:
        task = asyncio.create_task(self._run(job, now), name=job.kind)
        self._running.add(task)
        self._young[task] = asyncio.get_running_loop().time()
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._young.pop(task, None)
        if len(self._young) <= _PLACES // 2:
            self._roomy.set()

    async def _run(self, job: Job, now: Now) -> None:
        outcome = await self._outcome(job, now)
        if isinstance(outcome, GiveUp) or (isinstance(outcome, Failed) and job.tries >= TRIES_BEFORE_QUARANTINE):
            log.error("job.quarantined", kind=job.kind, subject=job.subject, tries=job.tries, why=str(outcome))
        elif isinstance(outcome, Failed):
            log.warning("job.failed", kind=job.kind, subject=job.subject, tries=job.tries, error=outcome.error)
        try:
            await self._settlements.submit((job, outcome))
        except Exception as error:  # noqa: BLE001 - the lease runs out and somebody takes the job up again
            log.warning("job.unsettled", kind=job.kind, subject=job.subject, error=repr(error))

    async def _outcome(self, job: Job, now: Now) -> Outcome:
        handler = self._handlers.get(job.kind)
        if handler is None:
            return GiveUp(f"nobody does jobs of kind {job.kind}")
        try:
            return await handler(self._house, job, now)
        except CONNECTION_LOST as error:
            if job.tries < TRIES_BEFORE_QUARANTINE:
                log.warning("job.interrupted", kind=job.kind, subject=job.subject, error=repr(error))
                return Again(_CONNECTION_PAUSE, counts=True)
            return Failed(repr(error))
        except Exception as error:  # noqa: BLE001 - one job's fault is written on the job
            return Failed(repr(error))

    async def _settle(self, ended: Sequence[tuple[Job, Outcome]]) -> Sequence[Failure | None]:
        async with self._house.db.transaction() as tx:
            await jobs.settle(tx, ended, await worlds.read_clocks(tx))
        return [None] * len(ended)
