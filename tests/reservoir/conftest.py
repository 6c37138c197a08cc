"""Facts for the pool, as its readers are given them."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec

from dewpond import pay, reservoir
from dewpond.kit.clock import Now
from dewpond.kit.db import Database
from dewpond.kit.ids import new_id
from dewpond.kit.outbox import Fact

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
NOW = Now(START, START)


def fact_of(event: Any) -> Fact:
    """A fact as a reader is given it."""
    return Fact(
        position=1,
        id=new_id(),
        kind=event.kind,
        aggregate_id=event.payment_id,
        merchant_id=event.merchant_id,
        person_id=event.person_id,
        body=msgspec.json.decode(msgspec.json.encode(event)),
        occurred_at=event.occurred_at,
        recorded_at=START,
    )


def bought(
    merchant: UUID,
    person: UUID,
    minor: int,
    *,
    day: int = 0,
    hours: int = 0,
    currency: str = "CNY",
    app: UUID | None = None,
) -> Fact:
    """Somebody paid, so many days and hours after the start."""
    return fact_of(
        pay.PaymentSucceeded(
            payment_id=new_id(),
            merchant_id=merchant,
            app_id=app or merchant,
            person_id=person,
            minor=minor,
            fee_minor=1,
            currency=currency,
            occurred_at=START + timedelta(days=day, hours=hours),
        )
    )


def returned(purchase: Fact, minor: int, *, day: int = 0, hours: int = 0) -> Fact:
    """They were given some of it back."""
    event = purchase.event
    assert isinstance(event, pay.PaymentSucceeded)
    return fact_of(
        pay.RefundSucceeded(
            refund_id=new_id(),
            payment_id=event.payment_id,
            merchant_id=event.merchant_id,
            app_id=event.app_id,
            person_id=event.person_id,
            minor=minor,
            fee_minor=0,
            currency=event.currency,
            occurred_at=START + timedelta(days=day, hours=hours),
        )
    )


async def record(database: Database, *facts: Fact) -> None:
    """One page of both readers, each of which takes what is its."""
    async with database.transaction() as tx:
        await reservoir.record_purchases(tx, facts, NOW)
    async with database.transaction() as tx:
        await reservoir.record_refunds(tx, facts, NOW)
