"""Real receivers on 127.0.0.1, a small language to speak to them, and sales that are told of."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import count
from typing import Any
from uuid import UUID

import pytest

from dewpond import openplatform, pay, wiring
from dewpond.kit import jobs, worlds
from dewpond.kit.clock import Now
from dewpond.kit.db import Database
from dewpond.kit.failures import Failure
from dewpond.kit.money import CNY, Money
from dewpond.kit.outbox import Fact
from dewpond.kit.secrets import MasterKeys
from dewpond.openplatform import Delivery, Letter
from dewpond.wiring import House, open_house
from dewpond.worker import drain

_numbers = count(1)
_signatures = count(1)


class PlainEncoder:
    """Says which fact it is; cannot say what is called unspeakable."""

    def __init__(self) -> None:
        self.unspeakable: set[UUID] = set()
        self.encoded = 0

    async def write(
        self, tx: Any, deliveries: Sequence[Delivery], *, secrets: Any, now: Now
    ) -> Sequence[Letter | Exception]:
        return [
            ValueError("there is no word for it")
            if delivery.subject_id in self.unspeakable
            else Letter(delivery.body or self._encode(delivery), self._sign)
            for delivery in deliveries
        ]

    def _encode(self, delivery: Delivery) -> bytes:
        self.encoded += 1
        said = {"id": str(delivery.id), "event": delivery.event_kind, "subject": str(delivery.subject_id)}
        return json.dumps({**said, "made": self.encoded}).encode()

    async def _sign(self) -> list[tuple[str, str]]:
        return [("Content-Type", "application/json"), ("Signature", f"signed-{next(_signatures)}")]


@dataclass
class Request:
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def said(self) -> Any:
        return json.loads(self.body)


#: What a receiver does with a request: a status and a body, or whatever it likes with the connection.
Manner = Callable[[Request, asyncio.StreamWriter], Awaitable[tuple[int, bytes] | None]]


async def accept(request: Request, writer: asyncio.StreamWriter) -> tuple[int, bytes]:
    return 200, b'{"code":"SUCCESS"}'


def answering(status: int, body: bytes = b"") -> Manner:
    async def answer(request: Request, writer: asyncio.StreamWriter) -> tuple[int, bytes]:
        return status, body

    return answer


@dataclass
class Receiver:
    """A merchant's server. Every path behaves as its `manners` say, others accept."""

    port: int = 0
    requests: list[Request] = field(default_factory=list)
    manners: dict[str, Manner] = field(default_factory=dict)

    def url(self, path: str, manner: Manner | None = None) -> str:
        if manner is not None:
            self.manners[path] = manner
        return f"http://127.0.0.1:{self.port}{path}"

    def heard(self, path: str) -> list[Request]:
        return [request for request in self.requests if request.path == path]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                headers = dict(line.split(": ", 1) for line in head[1:] if line)
                body = await reader.readexactly(int(headers.get("Content-Length", "0")))
                request = Request(head[0].split(" ")[1], headers, body)
                self.requests.append(request)
                answer = await self.manners.get(request.path, accept)(request, writer)
                if answer is None:
                    return
                status, said = answer
                length = b"" if status == 204 else b"Content-Length: %d\r\n" % len(said)
                writer.write(b"HTTP/1.1 %d Whatever\r\n%s\r\n%s" % (status, length, said))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            return
        finally:
            writer.close()


@pytest.fixture(scope="module")
async def receiver(anyio_backend: str) -> AsyncIterator[Receiver]:
    receiver = Receiver()
    server = await asyncio.start_server(receiver.serve, "127.0.0.1", 0)
    receiver.port = server.sockets[0].getsockname()[1]
    yield receiver
    server.close()


@pytest.fixture(scope="module")
def encoder() -> PlainEncoder:
    return PlainEncoder()


OpenHouse = Callable[[], Any]


@pytest.fixture(scope="module")
def another_house(world: Any, settings: Any, dsn: str, encoder: PlainEncoder) -> OpenHouse:
    """`async with another_house() as house`: what another process would hold."""

    @asynccontextmanager
    async def opened() -> AsyncIterator[House]:
        encoders = {"wechat": encoder}
        doors = [("127.0.0.1", 8601)]
        async with open_house(
            settings, dsn=dsn, name="tests", pool_size=10, encoders=encoders, listeners=doors
        ) as house:
            yield house

    return opened


@pytest.fixture(scope="module")
async def house(another_house: OpenHouse) -> AsyncIterator[House]:
    """With deadlines that no machine is too slow for: what depends on them has a house of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wiring, "_CALLBACK_SECONDS", 120.0)
        patch.setattr(jobs, "LEASE", timedelta(minutes=10))
        async with another_house() as house:
            yield house


@dataclass(frozen=True)
class Counter:
    """A shop where people pay and get money back, and what the shop was told of it."""

    house: House
    database: Database
    secrets: MasterKeys
    shop: Any
    alice: Any

    async def now(self) -> Now:
        async with self.database.transaction() as tx:
            return await worlds.read_clocks(tx)

    async def sell(self, notify_url: str, *, times: int = 1, minor: int = 100) -> list[UUID]:
        """Payments that succeeded, all in one batch."""
        now = await self.now()
        openings = [
            pay.Opening(
                merchant_id=self.shop.merchant.id,
                app_id=self.shop.app.id,
                merchant_reference=f"cup-{next(_numbers):06d}",
                description="Green tea",
                amount=Money(minor, CNY),
                fee_rate_bp=60,
                expires_at=now.world + timedelta(days=1),
                now=now,
                request=pay.NewRequest(trade_type="NATIVE", request_hash=b"1", notify_url=notify_url),
            )
            for _ in range(times)
        ]
        async with self.database.transaction() as tx:
            opened = [_good(outcome) for outcome in await pay.open_payments(tx, openings)]
        async with self.database.transaction() as tx:
            confirmations = [
                pay.Confirmation(
                    merchant_id=self.shop.merchant.id,
                    payment_id=each.payment_id,
                    payer_id=self.alice.id,
                    proof=pay.PinProof("123456"),
                    now=now,
                )
                for each in opened
            ]
            paid = [_good(outcome) for outcome in await pay.confirm_payments(tx, confirmations, secrets=self.secrets)]
        return [payment.id for payment in paid]

    async def refund(self, payment_id: UUID, minor: int, notify_url: str | None, *, total: int = 100) -> UUID:
        """A refund that was asked for; the worker gives the money back."""
        async with self.database.transaction() as tx:
            request = pay.RefundRequest(
                merchant_id=self.shop.merchant.id,
                payment_id=pay.PaymentId(payment_id),
                merchant_reference=f"back-{next(_numbers):06d}",
                amount=Money(minor, CNY),
                total=Money(total, CNY),
                request_hash=b"1",
                notify_url=notify_url,
            )
            return (await pay.request_refund(tx, request, now=await self.now())).id

    async def deliveries(self, subject_id: UUID | None = None, **wanted: Any) -> list[Delivery]:
        async with self.database.transaction() as tx:
            found = await openplatform.list_deliveries(tx, merchant_id=self.shop.merchant.id, **wanted)
        return [delivery for delivery in found if subject_id in (None, delivery.subject_id)]

    async def attempts(self, delivery: Delivery) -> list[openplatform.DeliveryAttempt]:
        async with self.database.transaction() as tx:
            return await openplatform.list_attempts(tx, delivery.merchant_id, delivery.id)

    async def facts(self, *payment_ids: UUID) -> list[Fact]:
        from dewpond.kit import outbox

        async with self.database.transaction() as tx:
            await outbox.relay(tx)
            facts = await outbox.page(tx, after=0, most=100_000)
        return [fact for fact in facts if fact.aggregate_id in payment_ids]

    async def drain(self) -> None:
        await drain(self.house)


def _good(outcome: Any) -> Any:
    if isinstance(outcome, Failure):
        raise outcome
    return outcome


@pytest.fixture
async def counter(house: House, database: Database, secrets: MasterKeys, new_merchant: Any, new_person: Any) -> Counter:
    """A fresh shop with a guest who has money."""
    return Counter(house, database, secrets, await new_merchant(), await new_person("Alice", "1000.00"))


@pytest.fixture
async def frozen(world: Any, database: Database) -> None:
    """World time stands still, and moves only when it is told to."""
    async with database.transaction() as tx:
        now = await worlds.read_clocks(tx)
        await worlds.freeze_clock(tx, wall_now=now.wall)
