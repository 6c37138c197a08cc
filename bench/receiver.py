"""A child that is told: a merchant's listener reduced to the answer 200, which remembers when each callback came."""

import asyncio
import re
from contextlib import suppress
from typing import Any, cast

from bench.child import serve
from dewpond.kit import clock

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.I)
_ID = re.compile(rb'"id": *"([0-9a-f-]{36})"')
_YES = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


class Receiver:
    """Listens on a free port of this machine."""

    def __init__(self) -> None:
        self._server: asyncio.Server | None = None
        self._arrived: dict[bytes, float] = {}
        self._wanted = 0
        self._enough = asyncio.Event()

    async def open(self) -> dict[str, Any]:
        """Begin to listen; where, is told by `where`."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Line(self), "127.0.0.1", 0, backlog=1024)
        return {}

    async def where(self) -> dict[str, Any]:
        """The port."""
        assert self._server is not None
        return {"port": self._server.sockets[0].getsockname()[1]}

    async def expect(self, callbacks: int) -> dict[str, Any]:
        """Forget what came and wait for so many different ones from now on."""
        self._arrived.clear()
        self._wanted = callbacks
        self._enough.clear()
        return {}

    async def arrived(self, patience: float) -> dict[str, Any]:
        """When each of the expected ones came, by the wall clock; fewer if they are not here in time."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._enough.wait(), patience)
        return {"arrived": sorted(self._arrived.values())}

    def note(self, body: bytes) -> None:
        """One more; a repeated one counts once, at its first time."""
        found = _ID.search(body)
        self._arrived.setdefault(found[1] if found else body, clock.wall_now().timestamp())
        if len(self._arrived) >= self._wanted:
            self._enough.set()


class _Line(asyncio.Protocol):
    """One connection."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._heard = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._heard += data
        while True:
            head, blank, body = self._heard.partition(b"\r\n\r\n")
            found = _LENGTH.search(head) if blank else None
            if found is None or len(body) < int(found[1]):
                return
            self._receiver.note(body[: int(found[1])])
            self._heard = body[int(found[1]) :]
            self._transport.write(_YES)


if __name__ == "__main__":
    receiver = Receiver()
    serve({"open": receiver.open, "where": receiver.where, "expect": receiver.expect, "arrived": receiver.arrived})
