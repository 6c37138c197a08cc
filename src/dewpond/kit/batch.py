"""Natural batching: while one batch commits the next one fills.

An idle house answers a lone caller at once; a busy one carries hundreds of items per commit. There is no timer. A full
queue says `Busy` at once instead of letting callers pile up.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import Generic, TypeVar

import structlog

from dewpond.kit.db import in_transaction, is_lost, is_passing
from dewpond.kit.failures import Busy, Failure, OutcomeUnknown

Item = TypeVar("Item")
Result = TypeVar("Result")

log = structlog.get_logger(__name__)

#: How long the items of a batch whose connection was lost are asked again before callers hear `OutcomeUnknown`.
_PATIENCE_SECONDS = 15.0


class Batch(Generic[Item, Result]):
    """Gathers concurrent calls of one verb that takes many.

    `carry_out` gets a list of items and returns one outcome per item in order; it opens and commits its own
    transaction. Items with an equal `key` never share a batch, the second waits for the next; without a `key` all of
    them may. `carry_out` must be idempotent per item: if a batch raises, its items are carried out again one by one,
    and if the connection was lost at the commit the same question is asked again rather than answered "failed".

    There are `lanes` batches under way at most; a further one begins as soon as a `crowd` waits. A large crowd makes
    fewer and larger batches of few callers, who share what each batch costs.
    """

    def __init__(
        self,
        carry_out: Callable[[Sequence[Item]], Awaitable[Sequence[Result | Failure]]],
        *,
        key: Callable[[Item], Hashable] | None = None,
        most: int = 500,
        waiting: int = 4096,
        lanes: int = 2,
        crowd: int = 1,
    ) -> None:
        self._carry_out = carry_out
        self._key = key
        self._most = most
        self._room = waiting
        self._lanes = lanes
        self._crowd = crowd
        self._queue: deque[tuple[Item, asyncio.Future[Result]]] = deque()
        self._driving = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def submit(self, item: Item) -> Result:
        """Have one item carried out with whatever else is waiting; its result, or its `Failure` raised here."""
        if in_transaction():
            raise RuntimeError("a caller that awaits a batch must hold no transaction")
        if len(self._queue) >= self._room:
            raise Busy
        if self._loop is None or not self._driving:  # asking which loop runs costs a system call
            self._loop = asyncio.get_running_loop()
        future: asyncio.Future[Result] = self._loop.create_future()
        self._queue.append((item, future))
        if not self._driving or (self._driving < self._lanes and len(self._queue) >= self._crowd):
            self._driving += 1
            lane = self._loop.create_task(self._drive())
            self._tasks.add(lane)
            lane.add_done_callback(self._tasks.discard)
        return await future

    async def close(self) -> None:
        """Wait until everything that was accepted has been carried out."""
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _drive(self) -> None:
        try:
            await self._drive_until_empty()
        finally:  # in the same step as the look at the empty queue, so that no item can slip between
            self._driving -= 1

    async def _drive_until_empty(self) -> None:
        while (self._driving == 1 or len(self._queue) >= self._crowd) and (taken := self._take()):
            try:
                outcomes: Sequence[Result | Failure | BaseException] = await self._carry_out(
                    [item for item, _ in taken]
                )
                if len(outcomes) != len(taken):  # whom they belong to cannot be told
                    raise ValueError(f"{len(outcomes)} outcomes for {len(taken)} items")
            except Exception as error:  # noqa: BLE001 - one item's fault must not become its neighbours'
                log.warning("batch.again_one_by_one", items=len(taken), error=repr(error))
                outcomes = await self._one_by_one([item for item, _ in taken], lost=is_lost(error))
            for (_, future), outcome in zip(taken, outcomes, strict=True):
                if future.done():  # the caller has gone; what was done stays done
                    continue
                if isinstance(outcome, BaseException):
                    future.set_exception(outcome)
                else:
                    future.set_result(outcome)

    def _take(self) -> list[tuple[Item, asyncio.Future[Result]]]:
        taken: list[tuple[Item, asyncio.Future[Result]]] = []
        if self._key is None:
            while self._queue and len(taken) < self._most:
                taken.append(self._queue.popleft())
            return taken
        seen: set[Hashable] = set()
        later: list[tuple[Item, asyncio.Future[Result]]] = []
        while self._queue and len(taken) < self._most:
            entry = self._queue.popleft()
            key = self._key(entry[0])
            if key in seen:
                later.append(entry)
            else:
                seen.add(key)
                taken.append(entry)
        self._queue.extendleft(reversed(later))
        return taken

    async def _one_by_one(self, items: Sequence[Item], *, lost: bool) -> list[Result | Failure | BaseException]:
        deadline = asyncio.get_running_loop().time() + _PATIENCE_SECONDS
        outcomes: list[Result | Failure | BaseException] = []
        for item in items:
            outcomes.append(await self._alone(item, deadline, lost=lost))
            if isinstance(outcomes[-1], OutcomeUnknown):  # the rest would wait in vain, and the queue behind them
                return outcomes + [OutcomeUnknown() for _ in items[len(outcomes) :]]
        return outcomes

    async def _alone(self, item: Item, deadline: float, *, lost: bool) -> Result | Failure | BaseException:
        pause = 0.05
        while True:
            try:
                [outcome] = await self._carry_out([item])
                return outcome
            except Exception as error:  # noqa: BLE001 - handed to the one caller it belongs to
                lost = lost or is_lost(error)
                if not is_passing(error) or asyncio.get_running_loop().time() > deadline:
                    return _last_word(error, lost=lost)
                await asyncio.sleep(pause)
                pause = min(pause * 2, 1.0)


def _last_word(error: Exception, *, lost: bool) -> BaseException:
    """What a caller is told that could not be served.

    Once its item may have been committed, nothing but the same question answered says what became of it.
    """
    word: Exception = OutcomeUnknown() if lost else Busy() if is_passing(error) else error
    if word is not error:
        word.__cause__ = error
    return word
