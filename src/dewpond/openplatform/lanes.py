"""Lanes: who may be called now, so that endpoints that answer slowly cannot hold up the others.

An endpoint is prompt while its last answer was. One that we have not called yet has a single call to show itself; what
else goes to it meanwhile counts as slow. Each endpoint may have so many calls at once, and all the slow ones together
only a part of what a worker carries. Who finds no place stands back; where the endpoint is not known to be slow a place
is worth a moment of waiting, but never so long that the lease of its job could run out.
"""

import asyncio
import time
from collections import OrderedDict
from typing import Final
from uuid import UUID

#: Who answers later than this, or leaves a call unanswered for longer, is slow.
SLOW_SECONDS: Final = 1.0

#: The longest wait for a place: with a call's own five seconds it must stay well below `jobs.LEASE`.
_WAIT_SECONDS: Final = 3.0

#: Calls at once: to one endpoint, and to all slow ones together.
ENDPOINT_CALLS: Final = 64
_SLOW_CALLS: Final = 384
_REMEMBERED: Final = 10_000


class Call:
    """A place for one call, and how long the call takes, or took."""

    def __init__(self, *, is_slow: bool) -> None:
        self.is_slow = is_slow
        self._began: float | None = None
        self._took: float | None = None

    @property
    def seconds(self) -> float:
        if self._began is None:
            return 0.0
        return time.perf_counter() - self._began if self._took is None else self._took

    @property
    def has_begun(self) -> bool:
        return self._began is not None

    @property
    def elapsed_ms(self) -> int:
        return round(self.seconds * 1000)

    def begin(self) -> None:
        """From now on the other side has the word."""
        self._began = time.perf_counter()

    def end(self) -> None:
        """The other side has answered, or never will."""
        self._took = self.seconds


class _Endpoint:
    def __init__(self) -> None:
        self.calls: OrderedDict[Call, None] = OrderedDict()
        self.places = asyncio.Semaphore(ENDPOINT_CALLS)
        #: Unknown before its first answer.
        self.was_prompt: bool | None = None

    @property
    def is_known_slow(self) -> bool:
        return self.was_prompt is False or (bool(self.calls) and next(iter(self.calls)).seconds > SLOW_SECONDS)

    @property
    def is_slow(self) -> bool:
        return self.is_known_slow or (self.was_prompt is None and bool(self.calls))


class Lanes:
    """The calls that are being made, and the memory of how each endpoint answers."""

    def __init__(self) -> None:
        self._endpoints: OrderedDict[UUID, _Endpoint] = OrderedDict()
        self._slow_calls = 0

    def is_blocked(self, endpoint_id: UUID) -> bool:
        """Whether this is a slow endpoint for which there is no place, nor a hope that there is one in a moment."""
        endpoint = self._endpoints.get(endpoint_id)
        if endpoint is None or not endpoint.is_slow:
            return False
        return self._has_enough_slow_ones or (endpoint.is_known_slow and endpoint.places.locked())

    async def enter(self, endpoint_id: UUID) -> Call | None:
        """A place for a call, to be left after it; None where there is none now and the caller should stand back.

        What is known of the endpoint is asked again after a wait, for it may have gone dark meanwhile.
        """
        if self.is_blocked(endpoint_id):
            return None
        endpoint = self._endpoint(endpoint_id)
        if endpoint.places.locked():
            try:
                async with asyncio.timeout(_WAIT_SECONDS):
                    await endpoint.places.acquire()
            except TimeoutError:
                return None
        else:
            await endpoint.places.acquire()
        is_slow = endpoint.is_slow
        if is_slow and self._has_enough_slow_ones:
            endpoint.places.release()
            return None
        call = Call(is_slow=is_slow)
        endpoint.calls[call] = None
        self._slow_calls += is_slow
        return call

    def leave(self, endpoint_id: UUID, call: Call) -> None:
        """Give a place back, and remember how the endpoint answered if it was asked."""
        endpoint = self._endpoint(endpoint_id)
        del endpoint.calls[call]
        endpoint.places.release()
        self._slow_calls -= call.is_slow
        if call.has_begun:
            endpoint.was_prompt = call.seconds <= SLOW_SECONDS

    @property
    def _has_enough_slow_ones(self) -> bool:
        return self._slow_calls >= _SLOW_CALLS

    def _endpoint(self, endpoint_id: UUID) -> _Endpoint:
        endpoint = self._endpoints.get(endpoint_id)
        if endpoint is None:
            endpoint = self._endpoints[endpoint_id] = _Endpoint()
            if len(self._endpoints) > _REMEMBERED:
                del self._endpoints[next(each for each, known in self._endpoints.items() if not known.calls)]
        self._endpoints.move_to_end(endpoint_id)
        return endpoint
