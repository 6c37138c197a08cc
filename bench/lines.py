"""Lines: the connections of a child that asks. The bytes are made beforehand; each has one request under way.

Nothing of an answer is verified but its status: that would take from the processor what is to be measured.
"""

import asyncio
import re
import time
from collections import deque
from collections.abc import Callable
from typing import Any, cast

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.I)
_CONNECT_PAUSE = 0.002

#: Hears of each answer: when it came, and its body.
Heard = Callable[[float, bytes], None]


async def call(
    port: int,
    pool: deque[bytes],
    seconds: float,
    connections: int,
    *,
    a_second: float | None = None,
    heard: Heard | None = None,
) -> dict[str, Any]:
    """Send on so many connections, each as soon as its last answer is there; ends early if the requests run out.

    With `a_second` they are sent at that rate, and a wait begins when a request was due: one that waits for a slow
    server has waited.
    """
    loop = asyncio.get_running_loop()
    lines: list[_Line] = []
    for _ in range(connections):
        _, line = await loop.create_connection(lambda: _Line(pool, heard), "127.0.0.1", port)
        lines.append(line)
        await asyncio.sleep(_CONNECT_PAUSE)  # or the first server to look would take every connection
    every = 0.0 if a_second is None else connections / a_second
    began = time.perf_counter()
    try:
        await asyncio.gather(
            *(line.go(began + every * at / connections, every, began + seconds) for at, line in enumerate(lines))
        )
    finally:
        for line in lines:
            line.hang_up()
    elapsed = time.perf_counter() - began
    waits = [round(wait, 3) for line in lines for wait in line.waits]
    return {"operations": len(waits), "seconds": elapsed, "waits": waits}


class _Line(asyncio.Protocol):
    """One connection."""

    def __init__(self, pool: deque[bytes], heard: Heard | None) -> None:
        self.waits: list[float] = []
        self._transport: asyncio.Transport | None = None
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._pool = pool
        self._hear = heard
        self._every = self._due = self._until = 0.0
        self._sent = 0.0
        self._got = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def go(self, due: float, every: float, until: float) -> "asyncio.Future[None]":
        self._due, self._every, self._until = due, every, until
        self._next(time.perf_counter())
        return self._ended

    def _next(self, now: float) -> None:
        due = max(now, self._due) if self._every else now
        if due >= self._until or not self._pool:
            if not self._ended.done():
                self._ended.set_result(None)
        elif due > now:
            asyncio.get_running_loop().call_later(due - now, self._send)
        else:
            self._send()

    def _send(self) -> None:
        if not self._pool:
            self._next(time.perf_counter())
            return
        assert self._transport is not None
        self._sent = self._due if self._every else time.perf_counter()
        self._due += self._every
        self._transport.write(self._pool.popleft())

    def data_received(self, data: bytes) -> None:
        self._got += data
        head, blank, body = self._got.partition(b"\r\n\r\n")
        length = _LENGTH.search(head) if blank else None
        if length is None or len(body) < int(length[1]):
            return
        now = time.perf_counter()
        if not head.startswith(b"HTTP/1.1 200"):
            self._fail(self._got.decode(errors="replace")[:1000])
            return
        self.waits.append((now - self._sent) * 1000)
        if self._hear is not None:
            self._hear(now, body)
        self._got = b""
        self._next(now)

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(f"the server hung up: {exc!r}")

    def _fail(self, why: str) -> None:
        if not self._ended.done():
            self._ended.set_exception(RuntimeError(why))

    def hang_up(self) -> None:
        if self._transport is not None:
            self._transport.close()
