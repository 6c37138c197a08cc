"""A child that buys: a merchant's software reduced to the bytes it sends, signed beforehand.

Each connection has one request under way and sends the next as soon as the answer is there. Nothing is verified here:
that would take from the processor what is to be measured.
"""

import asyncio
import base64
import itertools
import os
import re
import secrets
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import msgspec
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from bench.child import serve
from bench.limits import cores
from dewpond.kit import clock

_TARGET = "/v3/pay/transactions/native"
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.I)
_STALE_SECONDS = 200  # a timestamp is believed for 300
_CONNECT_PAUSE = 0.002


class Client:
    """One merchant's software."""

    def __init__(self) -> None:
        self._me: dict[str, Any] = {}
        self._port = 0
        self._key: rsa.RSAPrivateKey | None = None
        self._pool: deque[bytes] = deque()
        self._signed_at = 0.0
        self._numbers = itertools.count(1)

    async def open(self) -> dict[str, Any]:
        """Nothing to connect to yet."""
        return {}

    async def arm(self, me: dict[str, Any], port: int) -> dict[str, Any]:
        """Who we are, and where to go."""
        key = load_pem_private_key(me["private_key"].encode(), None)
        assert isinstance(key, rsa.RSAPrivateKey)
        self._me, self._port, self._key = me, port, key
        return {}

    async def sign(self, requests: int) -> dict[str, Any]:
        """Have so many signed requests ready; those that lie too long are thrown away."""
        if time.monotonic() - self._signed_at > _STALE_SECONDS:
            self._pool.clear()
        if not self._pool:
            self._signed_at = time.monotonic()
        missing = max(0, requests - len(self._pool))
        with ThreadPoolExecutor(cores()) as threads:
            loop = asyncio.get_running_loop()
            share = -(-missing // cores())
            for some in await asyncio.gather(
                *(loop.run_in_executor(threads, self._some, share) for _ in range(cores()))
            ):
                self._pool += some
        return {}

    def _some(self, requests: int) -> list[bytes]:
        return [self._request() for _ in range(requests)]

    def _request(self) -> bytes:
        assert self._key is not None
        body = msgspec.json.encode(
            {
                "appid": self._me["appid"],
                "mchid": self._me["mchid"],
                "description": "茉莉花茶 Jasmine tea",
                "out_trade_no": f"bench{os.getpid()}n{next(self._numbers):012d}",
                "notify_url": "http://127.0.0.1:9/notify",
                "amount": {"total": 1800, "currency": "CNY"},
            }
        )
        timestamp, nonce = int(clock.wall_now().timestamp()), secrets.token_hex(16)
        message = f"POST\n{_TARGET}\n{timestamp}\n{nonce}\n".encode() + body + b"\n"
        signature = base64.b64encode(self._key.sign(message, PKCS1v15(), SHA256())).decode()
        head = (
            f"POST {_TARGET} HTTP/1.1\r\nHost: 127.0.0.1:{self._port}\r\nAccept: application/json\r\n"
            f"User-Agent: bench\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
            f'Authorization: WECHATPAY2-SHA256-RSA2048 mchid="{self._me["mchid"]}",nonce_str="{nonce}",'
            f'signature="{signature}",timestamp="{timestamp}",serial_no="{self._me["serial"]}"\r\n\r\n'
        )
        return head.encode() + body

    async def call(self, seconds: float, connections: int) -> dict[str, Any]:
        """Send on so many connections; ends early if the signed requests run out."""
        loop = asyncio.get_running_loop()
        lines: list[_Line] = []
        for _ in range(connections):
            _, line = await loop.create_connection(_Line, "127.0.0.1", self._port)
            lines.append(line)
            await asyncio.sleep(_CONNECT_PAUSE)  # or the first server to look would take every connection
        began = time.perf_counter()
        try:
            await asyncio.gather(*(line.go(self._pool, began + seconds) for line in lines))
        finally:
            for line in lines:
                line.hang_up()
        elapsed = time.perf_counter() - began
        waits = [round(wait, 3) for line in lines for wait in line.waits]
        return {"operations": len(waits), "seconds": elapsed, "waits": waits}


class _Line(asyncio.Protocol):
    """One connection."""

    def __init__(self) -> None:
        self.waits: list[float] = []
        self._transport: asyncio.Transport | None = None
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._pool: deque[bytes] = deque()
        self._until = 0.0
        self._sent = 0.0
        self._heard = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def go(self, pool: deque[bytes], until: float) -> "asyncio.Future[None]":
        self._pool, self._until = pool, until
        self._next(time.perf_counter())
        return self._ended

    def _next(self, now: float) -> None:
        if now >= self._until or not self._pool:
            if not self._ended.done():
                self._ended.set_result(None)
            return
        assert self._transport is not None
        self._sent = now
        self._transport.write(self._pool.popleft())

    def data_received(self, data: bytes) -> None:
        self._heard += data
        head, blank, body = self._heard.partition(b"\r\n\r\n")
        length = _LENGTH.search(head) if blank else None
        if length is None or len(body) < int(length[1]):
            return
        now = time.perf_counter()
        if not head.startswith(b"HTTP/1.1 200"):
            self._fail(self._heard.decode(errors="replace")[:1000])
            return
        self.waits.append((now - self._sent) * 1000)
        self._heard = b""
        self._next(now)

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(f"the server hung up: {exc!r}")

    def _fail(self, why: str) -> None:
        if not self._ended.done():
            self._ended.set_exception(RuntimeError(why))

    def hang_up(self) -> None:
        if self._transport is not None:
            self._transport.close()


if __name__ == "__main__":
    client = Client()
    serve({"open": client.open, "arm": client.arm, "sign": client.sign, "call": client.call})
