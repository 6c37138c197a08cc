"""Delivery attempts: each try, with what came back, and the schedule by which they follow each other."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import msgspec

from dewpond.kit.db import Tx, columns, queries
from dewpond.openplatform.deliveries import Delivery, DeliveryId, DeliveryStatus

sql = queries(__file__)

#: World time between an attempt that failed and the next one: 15 retries, 24 hours and 4 minutes in all.
RETRIES: Final = tuple(
    [timedelta(seconds=seconds) for seconds in (15, 15, 30)]
    + [timedelta(minutes=minutes) for minutes in (3, 10, 20, 30, 30, 30, 60)]
    + [timedelta(hours=hours) for hours in (3, 3, 3, 6, 6)]
)

#: How much of a merchant's answer is kept for reading.
ANSWER_LETTERS: Final = 500

#: The outcome of an attempt that succeeded; every other outcome says in words why not.
DELIVERED: Final = "delivered"


class DeliveryAttempt(msgspec.Struct, frozen=True, kw_only=True):
    """One try."""

    merchant_id: UUID
    delivery_id: DeliveryId
    id: UUID
    number: int
    #: World time.
    attempted_at: datetime
    #: Wall time.
    recorded_at: datetime
    elapsed_ms: int
    #: None when nothing came back that had one.
    http_status: int | None
    outcome: str
    answer: str | None


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """An attempt that has ended and is to be written down."""

    #: The delivery as it was when the attempt began.
    delivery: Delivery
    #: Made before the call, so that writing the attempt down twice is once.
    id: UUID
    attempted_at: datetime
    elapsed_ms: int
    http_status: int | None
    outcome: str
    answer: str | None
    body: bytes

    @property
    def delivered(self) -> bool:
        return self.outcome == DELIVERED

    @property
    def next_attempt_at(self) -> datetime | None:
        """When the schedule goes on, counted from this attempt; None at its end."""
        slot = self.delivery.slot
        return self.attempted_at + RETRIES[slot] if slot < len(RETRIES) else None


class DeliveryState(msgspec.Struct, frozen=True, kw_only=True):
    """Where a delivery stands after an attempt."""

    merchant_id: UUID
    id: DeliveryId
    status: DeliveryStatus
    next_attempt_at: datetime | None


async def record_attempts(tx: Tx, attempts: Sequence[Ended], *, wall_now: datetime) -> list[DeliveryState]:
    """Write attempts down, one per delivery at most, and move their deliveries; where each then stands, in order.

    Again with the same attempt changes nothing.
    """
    rows = [
        (
            attempt.delivery.merchant_id,
            attempt.delivery.id,
            attempt.id,
            attempt.attempted_at,
            attempt.elapsed_ms,
            attempt.http_status,
            attempt.outcome,
            attempt.answer,
            None if attempt.delivery.attempts else attempt.body,
            attempt.delivered,
            attempt.delivery.slot,
            attempt.delivery.asked_at,
            attempt.next_attempt_at,
        )
        for attempt in attempts
    ]
    merchants, deliveries, ids, at, elapsed, statuses, outcomes, answers, bodies, delivered, slots, asked, then = (
        columns(rows, 13)
    )
    states = await tx.rows(
        DeliveryState,
        sql.record_attempts,
        merchant_ids=merchants,
        delivery_ids=deliveries,
        ids=ids,
        attempted_at=at,
        elapsed_ms=elapsed,
        http_statuses=statuses,
        outcomes=outcomes,
        answers=answers,
        bodies=bodies,
        delivered=delivered,
        slots=slots,
        asked_at=asked,
        next_attempt_at=then,
        recorded_at=wall_now,
    )
    found = {(state.merchant_id, state.id): state for state in states}
    return [found[attempt.delivery.merchant_id, attempt.delivery.id] for attempt in attempts]


async def list_attempts(tx: Tx, merchant_id: UUID, delivery_id: UUID) -> list[DeliveryAttempt]:
    """Every attempt of one delivery, the first one first."""
    return (await list_attempts_of(tx, [(merchant_id, delivery_id)]))[merchant_id, delivery_id]


async def list_attempts_of(tx: Tx, keys: Sequence[tuple[UUID, UUID]]) -> dict[tuple[UUID, UUID], list[DeliveryAttempt]]:
    """The same for each of these (merchant, delivery), also where nothing was tried yet."""
    found: dict[tuple[UUID, UUID], list[DeliveryAttempt]] = {key: [] for key in keys}
    merchants, deliveries = columns(list(found), 2)
    for one in await tx.rows(DeliveryAttempt, sql.list_attempts, merchant_ids=merchants, delivery_ids=deliveries):
        found[one.merchant_id, one.delivery_id].append(one)
    return found
