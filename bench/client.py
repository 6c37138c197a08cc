"""A child that buys: a merchant's software reduced to the bytes it sends, signed beforehand."""

import asyncio
import base64
import itertools
import os
import secrets
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from bench import lines
from bench.child import serve
from bench.limits import cores
from dewpond.kit import clock

_TARGET = "/v3/pay/transactions/native"
_STALE_SECONDS = 200  # a timestamp is believed for 300


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
        return await lines.call(self._port, self._pool, seconds, connections)


if __name__ == "__main__":
    client = Client()
    serve({"open": client.open, "arm": client.arm, "sign": client.sign, "call": client.call})
