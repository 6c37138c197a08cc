"""Deliveries: what a merchant is to be told, once per fact and endpoint.

    pending ──▶ delivered
       └──────▶ dead         (the schedule has ended)

Each can be sent again by hand: one attempt beside the schedule. If the merchant takes it the delivery is delivered,
and otherwise it stays what it was.
"""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Final, NewType
from uuid import UUID

import msgspec

from dewpond import pay
from dewpond.kit import ids, jobs
from dewpond.kit.clock import Now
from dewpond.kit.db import Tx, columns, queries
from dewpond.kit.failures import Failure, Kind
from dewpond.kit.ids import derived_id
from dewpond.kit.outbox import Fact
from dewpond.openplatform.endpoints import EndpointId, create_endpoints, endpoint_of

sql = queries(__file__)

DeliveryId = NewType("DeliveryId", UUID)

#: The kind of job that makes attempts; its subject is `<merchant uuid>/<delivery uuid>`.
JOB: Final = "delivery"

#: Which encoder new deliveries are spoken by; every merchant of today speaks WeChat's language.
ENCODER: Final = "wechat"


class DeliveryStatus(StrEnum):
    """The life of a delivery."""

    PENDING = "pending"
    DELIVERED = "delivered"
    DEAD = "dead"


class DeliveryNotFound(Failure):
    """There is no such delivery."""

    code, kind = "delivery_not_found", Kind.NOT_FOUND


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """One fact on its way to one endpoint."""

    merchant_id: UUID
    #: Also the notification's id on the wire: the same at every attempt.
    id: DeliveryId
    endpoint_id: EndpointId
    url: str
    fact_id: UUID
    event_kind: str
    encoder: str
    #: The payment or refund it tells of.
    subject_id: UUID
    status: DeliveryStatus
    #: How many attempts were made, those asked for by hand included.
    attempts: int
    #: How many places of the schedule are used up.
    slot: int
    #: What is sent; None until the first attempt is written down.
    body: bytes | None
    created_at: datetime
    next_attempt_at: datetime | None
    asked_at: datetime | None
    ended_at: datetime | None


class DeliveryCounts(msgspec.Struct, frozen=True, kw_only=True):
    """How the deliveries of a world stand."""

    #: Not tried yet.
    waiting: int
    #: Tried without success, and to be tried again.
    failing: int
    dead: int


def to_text(delivery_id: UUID) -> str:
    """The form people see: `dlv_…`."""
    return ids.to_text("dlv", delivery_id)


def from_text(text: str) -> DeliveryId:
    """Read `dlv_…` back; `IdInvalid` if it is none."""
    return DeliveryId(ids.from_text("dlv", text))


def subject_of(merchant_id: UUID, delivery_id: UUID) -> str:
    """What the delivery's job is called."""
    return f"{merchant_id}/{delivery_id}"


async def notify_merchant(tx: Tx, facts: Sequence[Fact], now: Now) -> None:
    """Let merchants be told of payments that succeeded and refunds that ended, where they said where.

    Deaf to the second time: ids follow from fact and endpoint, and only what is new gets a job.
    """
    rows = [
        (fact.merchant_id, url, fact.id, fact.kind, subject_id)
        for fact, subject_id, url in await _places(tx, facts)
        if fact.merchant_id is not None
    ]
    if not rows:
        return
    await create_endpoints(tx, [(merchant_id, url) for merchant_id, url, *_ in rows], now=now)
    merchants, delivery_ids, endpoints, fact_ids, kinds, subjects = columns(
        [
            (merchant_id, _id_of(fact_id, endpoint), endpoint, fact_id, kind, subject_id)
            for merchant_id, url, fact_id, kind, subject_id in rows
            for endpoint in [endpoint_of(merchant_id, url)]
        ],
        6,
    )
    fresh = await tx.rows(
        _Fresh,
        sql.create_deliveries,
        merchant_ids=merchants,
        ids=delivery_ids,
        endpoint_ids=endpoints,
        fact_ids=fact_ids,
        event_kinds=kinds,
        subject_ids=subjects,
        encoder=ENCODER,
        world_now=now.world,
    )
    await jobs.schedule(tx, JOB, [(subject_of(row.merchant_id, row.id), now.world) for row in fresh])


def _id_of(fact_id: UUID, endpoint_id: UUID) -> UUID:
    """The one delivery of a fact to an endpoint. It begins as the fact's id does, so that what is new lies together."""
    return UUID(int=fact_id.int >> 64 << 64 | derived_id("delivery", fact_id, endpoint_id).int & (1 << 64) - 1)


class _Fresh(msgspec.Struct, frozen=True, kw_only=True):
    merchant_id: UUID
    id: UUID


async def _places(tx: Tx, facts: Sequence[Fact]) -> list[tuple[Fact, UUID, str]]:
    """Each fact with its subject and the URL it goes to; facts whose subject names none are left out."""
    payments: list[tuple[Fact, pay.PaymentSucceeded]] = []
    refunds: list[tuple[Fact, pay.RefundEnded]] = []
    for fact in facts:
        event = fact.event
        if isinstance(event, pay.PaymentSucceeded):
            payments.append((fact, event))
        elif isinstance(event, pay.RefundEnded):
            refunds.append((fact, event))
    places: list[tuple[Fact, UUID, str]] = []
    if payments:
        keys = [(event.merchant_id, event.payment_id) for _, event in payments]
        named: dict[UUID, str] = {r.payment_id: r.notify_url for r in await pay.list_requests(tx, keys)}
        places += [(fact, paid.payment_id, url) for fact, paid in payments if (url := named.get(paid.payment_id))]
    if refunds:
        keys = [(ended.merchant_id, ended.refund_id) for _, ended in refunds]
        asked: dict[UUID, str | None] = {r.id: r.notify_url for r in await pay.list_refunds_by_key(tx, keys)}
        places += [(fact, ended.refund_id, url) for fact, ended in refunds if (url := asked.get(ended.refund_id))]
    return places


async def load_deliveries(tx: Tx, keys: Sequence[tuple[UUID, UUID]]) -> dict[tuple[UUID, UUID], Delivery]:
    """The deliveries of these (merchant, delivery) that exist."""
    merchant_ids, delivery_ids = columns(keys, 2)
    rows = await tx.rows(Delivery, sql.load_deliveries, merchant_ids=merchant_ids, ids=delivery_ids)
    return {(row.merchant_id, row.id): row for row in rows}


async def list_deliveries_of_facts(
    tx: Tx, merchant_id: UUID, fact_ids: Sequence[UUID], urls: Sequence[str]
) -> list[Delivery]:
    """What a merchant was told of these facts at these addresses; ids follow from both, so nothing is searched for."""
    endpoints = [endpoint_of(merchant_id, url) for url in dict.fromkeys(urls) if url]
    keys = [(merchant_id, _id_of(fact_id, endpoint)) for fact_id in fact_ids for endpoint in endpoints]
    if not keys:
        return []
    return sorted((await load_deliveries(tx, keys)).values(), key=lambda delivery: (delivery.created_at, delivery.id))


async def get_delivery(tx: Tx, merchant_id: UUID, delivery_id: UUID) -> Delivery:
    """One delivery of a merchant, or `DeliveryNotFound`."""
    found = await load_deliveries(tx, [(merchant_id, delivery_id)])
    if not found:
        raise DeliveryNotFound(id=to_text(delivery_id))
    return found[merchant_id, DeliveryId(delivery_id)]


async def find_delivery(tx: Tx, delivery_id: UUID) -> Delivery:
    """One delivery, whosever it is, or `DeliveryNotFound`: for operators only."""
    owner: UUID | None = await tx.value(sql.find_merchant, id=delivery_id)
    if owner is None:
        raise DeliveryNotFound(id=to_text(delivery_id))
    return await get_delivery(tx, owner, delivery_id)


async def list_deliveries(
    tx: Tx,
    *,
    merchant_id: UUID | None = None,
    status: DeliveryStatus | None = None,
    before: tuple[datetime, UUID] | None = None,
    most: int = 50,
) -> list[Delivery]:
    """A page of deliveries, the newest first; the next page is `before` the last one's (created_at, id).

    Without a merchant it looks over all of them: for operators only.
    """
    before_at, before_id = before or (None, None)
    if merchant_id is None:
        return await tx.rows(
            Delivery, sql.list_deliveries, status=status, before_at=before_at, before_id=before_id, most=most
        )
    return await tx.rows(
        Delivery,
        sql.list_merchant_deliveries,
        merchant_id=merchant_id,
        status=status,
        before_at=before_at,
        before_id=before_id,
        most=most,
    )


async def list_newest_deliveries(
    tx: Tx, *, status: DeliveryStatus | None = None, before_id: UUID | None = None, most: int = 50
) -> list[Delivery]:
    """A page of all merchants' deliveries, the newest first; the next page is `before_id` the last one's. For the desk.

    Those that wait are found by their jobs. Those that are dead are looked for among all there ever were, which takes
    its time in a large world: callers set it a limit.
    """
    if status is DeliveryStatus.PENDING:
        return await tx.rows(Delivery, sql.list_pending, job=JOB, before_id=before_id, most=most)
    return await tx.rows(Delivery, sql.list_newest, status=status, before_id=before_id, most=most)


async def count_deliveries(tx: Tx) -> DeliveryCounts:
    """How many deliveries wait, fail and were given up; read by looking at all of them."""
    counts = await tx.row(DeliveryCounts, sql.count_deliveries)
    assert counts is not None
    return counts


async def resend(tx: Tx, merchant_id: UUID | None, delivery_id: UUID, *, now: Now) -> None:
    """Let one more attempt be made at once, beside the schedule, whatever the delivery's status is.

    Without a merchant any delivery is found: for operators only. `DeliveryNotFound` if it is not there.
    """
    owner: UUID | None = await tx.value(sql.ask_again, id=delivery_id, merchant_id=merchant_id, world_now=now.world)
    if owner is None:
        raise DeliveryNotFound(id=to_text(delivery_id))
    await jobs.schedule(tx, JOB, [(subject_of(owner, delivery_id), now.world)])
