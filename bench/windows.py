"""A child that looks on: windows with a console open in them, reduced to their event streams.

Like a browser, a window that is let go comes back after a second and names the last position it saw. What a message
says is read once, however many windows it comes to.
"""

import asyncio
import re
import time
from bisect import bisect_left
from collections.abc import Sequence
from typing import Any, cast

import msgspec

from bench.child import serve
from bench.meter import percentile

_MESSAGE = re.compile(rb"id: (\d+)\ndata: ([^\n]*)\n\n")
_ROW = re.compile(rb"payment-([0-9a-f-]{36})")
_AT_ONCE = 50
_PATIENCE_SECONDS = 60.0
_BACK_AFTER_SECONDS = 1.0


class Shop(msgspec.Struct, frozen=True):
    """Whose console, and what lets in: sessions of people who work there, for one of them keeps few lines only."""

    mchid: str
    tokens: list[str]


class Windows:
    """Everybody's windows."""

    def __init__(self) -> None:
        self._windows: list[_Window] = []
        #: What the message at a position says: the payments in it, or None to load the page anew.
        self._said: dict[tuple[str, int], frozenset[str] | None] = {}
        self._bytes = 0

    async def open(self) -> dict[str, Any]:
        """Nothing to connect to yet."""
        return {}

    async def look(self, port: int, shops: list[dict[str, Any]], windows: int) -> dict[str, Any]:
        """Have so many windows open, spread evenly over the shops, each told where it stands; those before are shut."""
        await self._shut()
        known = [Shop(**shop) for shop in shops]
        self._windows = [_Window(self, port, known[at % len(known)], at // len(known)) for at in range(windows)]
        for at in range(0, windows, _AT_ONCE):
            some = self._windows[at : at + _AT_ONCE]
            await asyncio.gather(*(window.connect() for window in some))
            async with asyncio.timeout(_PATIENCE_SECONDS):
                await asyncio.gather(*(window.begun.wait() for window in some))
        return {}

    async def _shut(self) -> None:
        for window in self._windows:
            window.shut()
        self._windows.clear()
        await asyncio.sleep(0)

    async def forget(self) -> dict[str, Any]:
        """Look at what comes from now on."""
        self._said.clear()
        self._bytes = 0
        for window in self._windows:
            window.heard.clear()
            window.returns = 0
        return {}

    def read(self, mchid: str, position: int, data: bytes) -> None:
        """Take a message in that has come to one of the windows."""
        self._bytes += len(data)
        if (mchid, position) not in self._said:
            reload = msgspec.json.decode(data).get("reload", False)
            rows = frozenset(row.decode() for row in _ROW.findall(data))
            self._said[mchid, position] = None if reload else rows

    async def judge(self, facts: dict[str, list[tuple[int, str]]], samples: list[tuple[str, int, float]]) -> Any:
        """Wait until every window is as far as its shop: (position, payment) of each fact. Then what was missed, and
        how long after its acknowledgement (shop, position, moment) each sample was told to each window."""
        ends = {mchid: max(position for position, _ in of) for mchid, of in facts.items()}
        until = time.perf_counter() + _PATIENCE_SECONDS
        while any(window.position < ends.get(window.shop.mchid, 0) for window in self._windows):
            if time.perf_counter() > until:
                behind = sum(window.position < ends.get(window.shop.mchid, 0) for window in self._windows)
                raise TimeoutError(f"{behind} windows are not told everything")
            await asyncio.sleep(0.02)
        missed: dict[tuple[str, tuple[int, ...]], int] = {}
        for window in self._windows:
            told = (window.shop.mchid, tuple(position for position, _ in window.heard))
            if told not in missed:
                missed[told] = self._missed(*told, facts.get(window.shop.mchid, []))
        lags = [lag for window in self._windows for lag in window.lags(samples)]
        return {
            "missed": sum(missed[window.shop.mchid, tuple(p for p, _ in window.heard)] for window in self._windows),
            "messages": len(self._said),
            "reloads": sum(rows is None for rows in self._said.values()),
            "returns": sum(window.returns for window in self._windows),
            "bytes_each": self._bytes / max(1, sum(len(window.heard) for window in self._windows)),
            "lag_p50": percentile(lags, 0.5) or 0.0,
            "lag_p99": percentile(lags, 0.99) or 0.0,
        }

    def _missed(self, mchid: str, positions: Sequence[int], facts: Sequence[tuple[int, str]]) -> int:
        """How many payments a window that was told at these positions never showed; loading anew shows everything."""
        if list(positions) != sorted(set(positions)):
            raise ValueError(f"positions go back or come twice: {positions}")
        shown: set[str] = set()
        anew = 0
        for position in positions:
            rows = self._said[mchid, position]
            anew, shown = (position, shown) if rows is None else (anew, shown | rows)
        return sum(position > anew and payment not in shown for position, payment in facts)

    async def leave(self) -> dict[str, Any]:
        """Shut every window."""
        await self._shut()
        return {}


class _Window(asyncio.Protocol):
    """One open page."""

    def __init__(self, windows: Windows, port: int, shop: Shop, number: int) -> None:
        self.shop = shop
        self._token = shop.tokens[number % len(shop.tokens)]
        self.position = 0
        #: (position, moment) of each message.
        self.heard: list[tuple[int, float]] = []
        self.returns = 0
        self.begun = asyncio.Event()
        self._windows = windows
        self._port = port
        self._got = b""
        self._transport: asyncio.Transport | None = None
        self._back: asyncio.Task[None] | None = None
        self._is_shut = False

    async def connect(self) -> None:
        """Ask for the stream, from where this window stands on."""
        await asyncio.get_running_loop().create_connection(lambda: self, "127.0.0.1", self._port)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._got = b""
        last = f"Last-Event-ID: {self.position}\r\n" if self.position else ""
        head = (
            f"GET /m/{self.shop.mchid}/live HTTP/1.1\r\nHost: localhost:{self._port}\r\nAccept: text/event-stream\r\n"
            f"Cache-Control: no-store\r\nAccept-Language: zh-CN,zh;q=0.9,en;q=0.8\r\n{last}"
            f"Cookie: dewpond-staff={self._token}\r\n\r\n"
        )
        self._transport.write(head.encode())

    def data_received(self, data: bytes) -> None:
        self._got += data
        if b"\n\n" not in data and b"\n\n" not in self._got[-len(data) - 1 :]:
            return
        if not self.begun.is_set() and not self._got.startswith(b"HTTP/1.1 200"):
            raise ValueError(f"no stream: {self._got[:300]!r}")
        now, end = time.perf_counter(), 0
        for found in _MESSAGE.finditer(self._got):
            position, end = int(found[1]), found.end()
            if position > self.position or not self.begun.is_set():
                self.position = position
                self.heard.append((position, now))
                self._windows.read(self.shop.mchid, position, found[2])
            self.begun.set()
        self._got = self._got[end:]

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._is_shut:
            self.returns += 1
            self._back = asyncio.create_task(self._come_back())

    async def _come_back(self) -> None:
        await asyncio.sleep(_BACK_AFTER_SECONDS)
        if not self._is_shut:
            await self.connect()

    def lags(self, samples: Sequence[tuple[str, int, float]]) -> list[float]:
        """How long after its moment each sample of this shop was told, in milliseconds."""
        positions = [position for position, _ in self.heard]
        mine = [(position, at) for mchid, position, at in samples if mchid == self.shop.mchid]
        return [(self.heard[bisect_left(positions, position)][1] - at) * 1000 for position, at in mine]

    def shut(self) -> None:
        self._is_shut = True
        if self._transport is not None:
            self._transport.close()


if __name__ == "__main__":
    windows = Windows()
    serve(
        {
            "open": windows.open,
            "look": windows.look,
            "forget": windows.forget,
            "judge": windows.judge,
            "leave": windows.leave,
        }
    )
