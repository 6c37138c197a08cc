"""A merchant's software over a real socket: signs as the contract says, and sees every byte of the answer."""

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import pytest

from dewpond import merchants, pay
from dewpond.app import create_server
from dewpond.identity import Person
from dewpond.kit import crypto, worlds
from dewpond.kit.clock import Now
from dewpond.kit.crypto import ApiKeyCipher, Signer, Verifier

_numbers = count(1)

NATIVE = "/v3/pay/transactions/native"
REFUNDS = "/v3/refund/domestic/refunds"


def unique(prefix: str = "tea") -> str:
    """A merchant's number nobody had before."""
    return f"{prefix}-{next(_numbers):08d}"


@dataclass(frozen=True, slots=True)
class Heard:
    """An answer, as it came."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        """The header of exactly this spelling."""
        return next((value for key, value in self.headers if key == name), None)

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        return str(self.json["code"])


async def exchange(port: int, raw: bytes) -> Heard:
    """Send bytes, read one answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(raw)
        await writer.drain()
        return await read_answer(reader)
    finally:
        writer.close()


async def read_answer(reader: asyncio.StreamReader) -> Heard:
    head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 120)).decode("latin-1")
    first, *lines = head.rstrip("\r\n").split("\r\n")
    headers = [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines)]
    length = next((int(value) for name, value in headers if name.lower() == "content-length"), 0)
    return Heard(int(first.split()[1]), headers, await reader.readexactly(length))


@dataclass(kw_only=True)
class Client:
    """One merchant's software."""

    port: int
    house: Any
    shop: Any
    #: Headers of every request beside Host, Authorization and the length.
    headers: dict[str, str] = field(
        default_factory=lambda: {
            "Accept": "application/json",
            "User-Agent": "tests",
            "Content-Type": "application/json",
            "Accept-Language": "en",
        }
    )

    @property
    def mchid(self) -> str:
        return str(self.shop.merchant.number)

    # -- signing

    def signature(self, method: str, target: str, body: bytes, *, timestamp: Any, nonce: str) -> str:
        message = f"{method}\n{target}\n{timestamp}\n{nonce}\n".encode() + body + b"\n"
        key = crypto.parse_private_key(self.shop.private_key_pem)
        return Signer(key, "").sign_now(message)

    def authorization(self, method: str, target: str, body: bytes = b"", **changed: Any) -> str:
        fields = {
            "mchid": self.mchid,
            "nonce_str": "593BEC0C930BF1AFEB40B4A08C8FB242",
            "timestamp": int(time.time()),
            "serial_no": self.shop.certificate.serial,
            **changed,
        }
        if "signature" not in fields:
            fields["signature"] = self.signature(
                method, target, body, timestamp=fields["timestamp"], nonce=fields["nonce_str"]
            )
        return "WECHATPAY2-SHA256-RSA2048 " + ",".join(f'{name}="{value}"' for name, value in fields.items())

    # -- asking

    async def ask(
        self,
        method: str,
        target: str,
        body: Any = None,
        *,
        signed_target: str | None = None,
        authorization: str | list[str] | None = "",
        headers: dict[str, str | None] | None = None,
        **changed: Any,
    ) -> Heard:
        """Send one request; `authorization=None` sends none, a list sends several."""
        content = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        if authorization == "":
            authorization = self.authorization(method, signed_target or target, content, **changed)
        given = [authorization] if isinstance(authorization, str) else authorization or []
        sent = {**self.headers, **(headers or {})}
        lines = [f"{method} {target} HTTP/1.1", "Host: localhost", f"Content-Length: {len(content)}"]
        lines += [f"Authorization: {value}" for value in given]
        lines += [f"{name}: {value}" for name, value in sent.items() if value is not None]
        return await exchange(self.port, ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + content)

    def order(self, **changed: Any) -> dict[str, Any]:
        """The body of a native prepay; a field changed to None is left out."""
        body = {
            "appid": self.shop.app.appid,
            "mchid": self.mchid,
            "description": "茉莉花茶 & more",
            "out_trade_no": unique(),
            "notify_url": "http://127.0.0.1:9/notify",
            "amount": {"total": 1800, "currency": "CNY"},
            **changed,
        }
        return {name: value for name, value in body.items() if value is not None}

    async def prepay(self, **changed: Any) -> Heard:
        return await self.ask("POST", NATIVE, self.order(**changed))

    async def query(self, out_trade_no: str) -> Heard:
        return await self.ask("GET", f"/v3/pay/transactions/out-trade-no/{out_trade_no}?mchid={self.mchid}")

    async def close(self, out_trade_no: str) -> Heard:
        target = f"/v3/pay/transactions/out-trade-no/{out_trade_no}/close"
        return await self.ask("POST", target, {"mchid": self.mchid})

    async def refund(self, number: str, refund: int, /, total: int = 1800, **changed: Any) -> Heard:
        body = {
            "out_trade_no": number,
            "out_refund_no": unique("back"),
            "amount": {"refund": refund, "total": total, "currency": "CNY"},
            **changed,
        }
        return await self.ask("POST", REFUNDS, {name: value for name, value in body.items() if value is not None})

    # -- what the phone and the worker would do

    async def now(self) -> Now:
        async with self.house.db.transaction() as tx:
            return await worlds.read_clocks(tx)

    async def paid_by(self, person: Person, out_trade_no: str) -> pay.Payment:
        async with self.house.db.transaction() as tx:
            payment = await pay.find_payment_by_reference(tx, self.shop.merchant.id, out_trade_no)
        assert payment is not None
        return await self.house.confirmations.submit(
            pay.Confirmation(
                merchant_id=payment.merchant_id,
                payment_id=payment.id,
                payer_id=person.id,
                proof=pay.PinProof("123456"),
                now=await self.now(),
            )
        )

    async def settled(self, out_refund_no: str) -> pay.Refund:
        now = await self.now()
        async with self.house.db.transaction() as tx:
            refund = await pay.find_refund(tx, self.shop.merchant.id, out_refund_no)
            assert refund is not None
            return await pay.settle_refund(tx, refund.merchant_id, refund.id, now=now)

    # -- believing

    def verifies(self, heard: Heard) -> bool:
        """Whether the answer is signed by the key it names, which must be one of the two this shop knows."""
        keys = {key.id: key for key in (self.shop.public_key, self.shop.platform_certificate)}
        key = keys[heard.header("Wechatpay-Serial") or ""]
        message = f"{heard.header('Wechatpay-Timestamp')}\n{heard.header('Wechatpay-Nonce')}\n".encode()
        verifier = Verifier(crypto.parse_public_key(key.public_key.encode()))
        return verifier.verify(message + heard.body + b"\n", heard.header("Wechatpay-Signature") or "")

    @property
    def cipher(self) -> ApiKeyCipher:
        return ApiKeyCipher(self.shop.api_v3_key.encode())


NewClient = Callable[..., Awaitable[Client]]


@asynccontextmanager
async def serving(house: Any) -> AsyncIterator[int]:
    """A server of the wire for a house, on a port of its own."""
    listening = socket.create_server(("127.0.0.1", 0))
    server = create_server(house)
    running = asyncio.create_task(server.serve([listening]))
    try:
        yield listening.getsockname()[1]
    finally:
        server.stop()
        await asyncio.wait_for(running, 120)


@pytest.fixture(scope="module")
async def port(house: Any) -> AsyncIterator[int]:
    """Where the wire of the module's world listens."""
    async with serving(house) as port:
        yield port


@pytest.fixture(scope="module")
def new_client(port: int, house: Any, new_merchant: Any) -> NewClient:
    """`await new_client()`: a fresh merchant's software."""

    async def make(key_mode: merchants.KeyMode = merchants.KeyMode.CERTIFICATE, **changed: Any) -> Client:
        return Client(port=port, house=house, shop=await new_merchant(key_mode=key_mode), **changed)

    return make


@pytest.fixture(scope="module")
async def client(new_client: NewClient) -> Client:
    """One merchant's software for the whole module."""
    return await new_client()


@pytest.fixture(scope="module")
async def alice(new_person: Any) -> Person:
    """Somebody with money enough for a module."""
    return await new_person("Alice", "100000.00")
