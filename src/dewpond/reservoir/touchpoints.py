"""Touchpoints: each moment a person and a merchant met, and what it adds to what the merchant knows of them."""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Final, TypeAlias
from uuid import UUID

import msgspec

from dewpond import identity, pay
from dewpond.kit.clock import Now
from dewpond.kit.db import Tx, columns, queries
from dewpond.kit.money import Currency, Money
from dewpond.kit.outbox import Fact

sql = queries(__file__)

_Meeting: TypeAlias = pay.PaymentSucceeded | pay.RefundSucceeded

#: More touchpoints than a page shows of one person.
PAGE: Final = 100


class TouchpointKind(StrEnum):
    """What a meeting was about."""

    PURCHASE = "purchase"
    REFUND = "refund"


class Touchpoint(msgspec.Struct, frozen=True, kw_only=True):
    """One meeting; every figure of a contact is a sum over these."""

    merchant_id: UUID
    #: The fact it was learned from.
    fact_id: UUID
    person_id: UUID
    app_id: UUID
    kind: TouchpointKind
    #: The payment it walks to; of a refund, the payment that was refunded.
    payment_id: UUID
    minor: int
    currency: Currency
    occurred_at: datetime

    @property
    def amount(self) -> Money:
        return Money(self.minor, self.currency)


class _Met(msgspec.Struct, frozen=True, kw_only=True):
    """How many people a merchant met for the first time."""

    merchant_id: UUID
    people: int


async def record_purchases(tx: Tx, facts: Sequence[Fact], now: Now) -> None:
    """Let people who paid settle in the merchant's pool, and count the hour's takings; deaf to the second time."""
    meetings = [(fact, event) for fact in facts if isinstance(event := fact.event, pay.PaymentSucceeded)]
    await _record(tx, TouchpointKind.PURCHASE, meetings, now)


async def record_refunds(tx: Tx, facts: Sequence[Fact], now: Now) -> None:
    """Correct what a merchant knows of people who got money back, and its takings; deaf to the second time."""
    meetings = [(fact, event) for fact in facts if isinstance(event := fact.event, pay.RefundSucceeded)]
    await _record(tx, TouchpointKind.REFUND, meetings, now)


async def _record(tx: Tx, kind: TouchpointKind, meetings: Sequence[tuple[Fact, _Meeting]], now: Now) -> None:
    if not meetings:
        return
    rows = [
        (
            event.merchant_id,
            fact.id,
            event.person_id,
            event.app_id,
            event.payment_id,
            event.minor,
            event.currency,
            event.occurred_at,
        )
        for fact, event in meetings
    ]
    merchants, facts, people, apps, payments, minors, currencies, occurred = columns(rows, 8)
    await tx.run(
        sql.record_touchpoints,
        kind=kind,
        merchant_ids=merchants,
        fact_ids=facts,
        person_ids=people,
        app_ids=apps,
        payment_ids=payments,
        minors=minors,
        currencies=currencies,
        occurred_at=occurred,
    )
    # What the shop calls them belongs to the drop: no page that shows it has to write.
    await identity.make_open_ids(tx, [(event.app_id, event.person_id) for _, event in meetings], wall_now=now.wall)


async def list_touchpoints(
    tx: Tx,
    merchant_id: UUID,
    person_id: UUID,
    *,
    before: tuple[datetime, UUID] | None = None,
    most: int = PAGE,
) -> list[Touchpoint]:
    """What a merchant knows a person by, newest first; the next page is `before` the last (occurred_at, fact_id)."""
    before_at, before_id = before or (None, None)
    return await tx.rows(
        Touchpoint,
        sql.list_touchpoints,
        merchant_id=merchant_id,
        person_id=person_id,
        before_at=before_at,
        before_id=before_id,
        most=most,
    )


async def count_first_meetings(tx: Tx, facts: Sequence[Fact]) -> dict[UUID, int]:
    """How many people each merchant first met by one of these facts: the drops that fell with them."""
    pairs = {(fact.merchant_id, fact.person_id) for fact in facts if fact.merchant_id and fact.person_id}
    merchant_ids, person_ids = columns(list(pairs), 2)
    fact_ids = [fact.id for fact in facts]
    found = await tx.rows(
        _Met, sql.count_first_meetings, merchant_ids=merchant_ids, person_ids=person_ids, fact_ids=fact_ids
    )
    return dict.fromkeys(merchant_ids, 0) | {one.merchant_id: one.people for one in found}


async def list_facts_of_payment(tx: Tx, merchant_id: UUID, person_id: UUID, payment_id: UUID) -> list[UUID]:
    """The facts by which a merchant learned of a payment and its refunds, in the order they happened."""
    return await tx.values(
        sql.list_facts_of_payment, merchant_id=merchant_id, person_id=person_id, payment_id=payment_id
    )
