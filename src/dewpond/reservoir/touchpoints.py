"""Touchpoints: each moment a person and a merchant met, and what it adds to what the merchant knows of them."""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Final, TypeAlias
from uuid import UUID

import msgspec

from dewpond import pay
from dewpond.kit.clock import Now
from dewpond.kit.db import Query, Tx, columns, queries
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


async def record_purchases(tx: Tx, facts: Sequence[Fact], now: Now) -> None:
    """Let people who paid settle in the merchant's pool; deaf to the second time."""
    await _record(tx, sql.record_purchases, [(f, e) for f in facts if isinstance(e := f.event, pay.PaymentSucceeded)])


async def record_refunds(tx: Tx, facts: Sequence[Fact], now: Now) -> None:
    """Correct what a merchant knows of people who got money back; deaf to the second time."""
    await _record(tx, sql.record_refunds, [(f, e) for f in facts if isinstance(e := f.event, pay.RefundSucceeded)])


async def _record(tx: Tx, query: Query, meetings: Sequence[tuple[Fact, _Meeting]]) -> None:
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
        query,
        merchant_ids=merchants,
        fact_ids=facts,
        person_ids=people,
        app_ids=apps,
        payment_ids=payments,
        minors=minors,
        currencies=currencies,
        occurred_at=occurred,
    )


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
