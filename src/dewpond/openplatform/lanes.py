"""Lanes: connections kept apart, so that endpoints that answer slowly cannot take those of the others away.

An endpoint is prompt while its last answer was. One that we have not called yet has a single call in the prompt lane
to show itself; whatever else goes to it meanwhile, and to the slow ones, has lanes of its own.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Final
from uuid import UUID

from dewpond.kit.http import Outgoing

#: Who answers later than this, or leaves a call unanswered for longer, is slow.
SLOW_SECONDS: Final = 1.0

#: Posts at once per lane: fewer than `Outgoing` has connections, for the wait for one counts against the deadline. In a
#: prompt lane no more than it keeps alive between two posts; each look for a free one costs as much as there are.
_PROMPT_POSTS: Final = 12
_PROMPT_LANES: Final = 8
_SLOW_POSTS: Final = 90
_SLOW_LANES: Final = 8
_REMEMBERED: Final = 10_000


class Lane:
    """One client with a bounded number of posts at once; the client is made when it is first needed."""

    def __init__(self, make: Callable[[], Outgoing], posts: int) -> None:
        self._make = make
        self._outgoing: Outgoing | None = None
        self._posts = posts
        self._places = asyncio.Semaphore(posts)
        self._within = 0

    @property
    def is_full(self) -> bool:
        """Whether whoever came now would have to wait for a call that is likely to take its whole time."""
        return self._within >= self._posts

    @asynccontextmanager
    async def place(self) -> AsyncIterator[Outgoing]:
        """A place for one post; waits until there is one."""
        self._within += 1
        try:
            async with self._places:
                if self._outgoing is None:
                    self._outgoing = self._make()
                yield self._outgoing
        finally:
            self._within -= 1

    async def close(self) -> None:
        if self._outgoing is not None:
            await self._outgoing.aclose()
            self._outgoing = None


class Stopwatch:
    """How long a post takes, or took."""

    def __init__(self) -> None:
        self._began = time.perf_counter()
        self._took: float | None = None

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self._began if self._took is None else self._took

    @property
    def elapsed_ms(self) -> int:
        return round(self.seconds * 1000)

    def stop(self) -> float:
        self._took = self.seconds
        return self._took


class Lanes:
    """Some lanes for prompt endpoints, some for the others, and the memory of which are which."""

    def __init__(self, make: Callable[[], Outgoing]) -> None:
        self._prompt = [Lane(make, _PROMPT_POSTS) for _ in range(_PROMPT_LANES)]
        self._slow = [Lane(make, _SLOW_POSTS) for _ in range(_SLOW_LANES)]
        self._are_prompt: OrderedDict[UUID, bool] = OrderedDict()
        self._unanswered: dict[UUID, OrderedDict[Stopwatch, None]] = {}

    def lane(self, endpoint_id: UUID) -> Lane:
        """Where a post to this endpoint belongs now."""
        lanes = self._slow if self._is_slow(endpoint_id) else self._prompt
        return lanes[endpoint_id.int % len(lanes)]

    def is_blocked(self, endpoint_id: UUID) -> bool:
        """Whether a slow endpoint has no place left; prompt ones are never asked to stand back."""
        return self._is_slow(endpoint_id) and self.lane(endpoint_id).is_full

    @contextmanager
    def watch(self, endpoint_id: UUID) -> Iterator[Stopwatch]:
        """Time one post, and learn from it how this endpoint answers."""
        watch = Stopwatch()
        calls = self._unanswered.setdefault(endpoint_id, OrderedDict())
        calls[watch] = None
        try:
            yield watch
        finally:
            del calls[watch]
            if not calls:
                del self._unanswered[endpoint_id]
            self._learn(endpoint_id, watch.stop())

    async def close(self) -> None:
        """Close every connection."""
        for lane in (*self._prompt, *self._slow):
            await lane.close()

    def _is_slow(self, endpoint_id: UUID) -> bool:
        calls = self._unanswered.get(endpoint_id)
        if calls is not None and next(iter(calls)).seconds > SLOW_SECONDS:
            return True
        return not self._are_prompt.get(endpoint_id, calls is None)

    def _learn(self, endpoint_id: UUID, seconds: float) -> None:
        self._are_prompt[endpoint_id] = seconds <= SLOW_SECONDS
        self._are_prompt.move_to_end(endpoint_id)
        if len(self._are_prompt) > _REMEMBERED:
            self._are_prompt.popitem(last=False)
