"""A refund: money given back, wholly or partly.

    processing ──▶ succeeded
         ├───────▶ abnormal    (the payer's side cannot take it; the money stays with the merchant)
         └───────▶ closed      (given up; no rail of today does)

When a merchant asks, the sum is held on its unsettled money, so that it cannot be spent twice; a job then gives it
back. The fee is given back cumulatively: after the last part of a full refund all of it is back.
"""

import secrets as random
from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, NewType
from uuid import UUID

import msgspec

from dewpond import ledger
from dewpond.kit import jobs
from dewpond.kit.clock import SHANGHAI, Now
from dewpond.kit.db import Tx, columns, queries
from dewpond.kit.failures import Failure, Kind
from dewpond.kit.ids import new_id, to_text
from dewpond.kit.money import Currency, Money, round_half_up
from dewpond.kit.outbox import publish
from dewpond.ledger import NewHold, Outcome
from dewpond.merchants import MerchantId
from dewpond.pay.accounts import refund_hold_key, unsettled_of
from dewpond.pay.events import RefundAbnormal, RefundEnded, RefundSucceeded
from dewpond.pay.movements import Movement, MovementKind, get_payment_of, record_movement
from dewpond.pay.openings import RequestDiffers
from dewpond.pay.payments import (
    Payment,
    PaymentId,
    PaymentNotFound,
    PaymentStatus,
    lock_payments,
)
from dewpond.pay.rails import RAILS

sql = queries(__file__)

RefundId = NewType("RefundId", UUID)

REFUNDABLE_FOR: Final = timedelta(days=365)
MOST_REFUNDS: Final = 50
#: The kind of the job that gives the money back; its subject is "<merchant id>/<refund id>".
REFUND_JOB: Final = "refund"


class RefundStatus(StrEnum):
    """The life of a refund."""

    PROCESSING = "processing"
    SUCCEEDED = "succeeded"
    CLOSED = "closed"
    ABNORMAL = "abnormal"


class RefundNotFound(Failure):
    """There is no such refund."""

    code, kind = "refund_not_found", Kind.NOT_FOUND


class TotalDiffers(Failure):
    """The total of the payment is another one."""

    code, kind = "total_differs", Kind.CONFLICT


class RefundTooMuch(Failure):
    """That is more than is left of the payment."""

    code, kind = "refund_too_much", Kind.CONFLICT


class RefundTooLate(Failure):
    """A payment can be refunded for a year."""

    code, kind = "refund_too_late", Kind.CONFLICT


class RefundTooOften(Failure):
    """A payment can be refunded in fifty parts."""

    code, kind = "refund_too_often", Kind.CONFLICT


class RefundTooSoon(Failure):
    """The last refund of this payment was a moment ago."""

    code, kind = "refund_too_soon", Kind.BUSY


class MerchantFundsShort(Failure):
    """The merchant's own money does not cover this refund."""

    code, kind = "merchant_funds_short", Kind.CONFLICT


class RefundRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A merchant asks to give money back."""

    merchant_id: MerchantId
    payment_id: PaymentId
    #: The merchant's own number for the refund, unique per merchant.
    merchant_reference: str
    amount: Money
    #: What the merchant believes the payment's total is.
    total: Money
    #: Of what a repeat must bring again; equal hashes are the same request.
    request_hash: bytes
    reason: str | None = None
    notify_url: str | None = None
    platform_key_id: str | None = None
    #: How long after the last refund of the payment this one may come.
    apart: timedelta = timedelta(0)


class Refund(msgspec.Struct, frozen=True, kw_only=True):
    """Money given back, or on its way."""

    merchant_id: MerchantId
    id: RefundId
    payment_id: PaymentId
    merchant_reference: str
    #: Our number on the wire: 29 digits beginning with 50.
    public_number: str
    minor: int
    #: The share of the fee that goes back to the merchant.
    fee_minor: int
    currency: Currency
    reason: str | None
    status: RefundStatus
    request_hash: bytes
    notify_url: str | None
    platform_key_id: str | None
    requested_at: datetime
    ended_at: datetime | None

    @property
    def amount(self) -> Money:
        return Money(self.minor, self.currency)

    @property
    def fee(self) -> Money:
        return Money(self.fee_minor, self.currency)

    @property
    def text_id(self) -> str:
        return to_text("rfd", self.id)


async def find_refund(tx: Tx, merchant_id: UUID, merchant_reference: str) -> Refund | None:
    """The merchant's refund with its own number, or None; another merchant's is never found."""
    return await tx.row(Refund, sql.find_by_reference, merchant_id=merchant_id, merchant_reference=merchant_reference)


async def get_refund(tx: Tx, merchant_id: UUID, refund_id: UUID) -> Refund:
    """The merchant's refund, or `RefundNotFound`."""
    refund = await tx.row(Refund, sql.get_refund, merchant_id=merchant_id, id=refund_id)
    if refund is None:
        raise RefundNotFound(refund=to_text("rfd", refund_id))
    return refund


async def list_refunds(tx: Tx, merchant_id: UUID, payment_id: UUID) -> list[Refund]:
    """The refunds of a payment, in the order they were asked for."""
    return await tx.rows(Refund, sql.list_refunds, merchant_id=merchant_id, payment_id=payment_id)


async def list_refunds_of(tx: Tx, person_id: UUID, payment_id: UUID) -> list[Refund]:
    """The refunds of a payment that this person paid, in the order they were asked for; else `PaymentNotFound`."""
    payment = await get_payment_of(tx, person_id, payment_id)
    return await list_refunds(tx, payment.merchant_id, payment.id)


async def list_refunds_by_key(tx: Tx, keys: Sequence[tuple[UUID, UUID]]) -> list[Refund]:
    """The refunds with these (merchant id, refund id), those that exist, in no order."""
    merchant_ids, ids = columns(keys, 2)
    return await tx.rows(Refund, sql.list_refunds_by_key, merchant_ids=merchant_ids, ids=ids)


async def request_refund(tx: Tx, request: RefundRequest, *, now: Now) -> Refund:
    """Accept a refund: hold the sum and schedule its return. The same request again returns what became of it.

    Refusals: `PaymentNotFound` (unknown, unpaid, another merchant's), `RequestDiffers`, `TotalDiffers`,
    `RefundTooMuch`, `RefundTooLate`, `RefundTooOften`, `RefundTooSoon`, `MerchantFundsShort`. A refused number stays
    free.
    """
    held = await lock_payments(tx, [(request.merchant_id, request.payment_id)])
    payment = held.get((request.merchant_id, request.payment_id))
    earlier = await find_refund(tx, request.merchant_id, request.merchant_reference)
    if earlier is not None:
        return _repeated(earlier, request)
    if payment is None or payment.status is not PaymentStatus.SUCCEEDED:
        raise PaymentNotFound
    _check(payment, request, now)
    refund = Refund(
        merchant_id=request.merchant_id,
        id=RefundId(new_id()),
        payment_id=payment.id,
        merchant_reference=request.merchant_reference,
        public_number=_new_public_number(now.world),
        minor=request.amount.minor,
        fee_minor=_fee_back(payment, request.amount.minor),
        currency=payment.currency,
        reason=request.reason,
        status=RefundStatus.PROCESSING,
        request_hash=request.request_hash,
        notify_url=request.notify_url,
        platform_key_id=request.platform_key_id,
        requested_at=now.world,
        ended_at=None,
    )
    row = msgspec.structs.asdict(refund)
    if not await tx.run(sql.create_refund, **{name: row[name] for name in sql.create_refund.parameters}):
        # another payment's refund took the number in this very moment
        rival = await find_refund(tx, request.merchant_id, request.merchant_reference)
        assert rival is not None
        return _repeated(rival, request)
    await _hold(tx, refund, now=now)
    await tx.run(
        sql.count_on_payment,
        merchant_id=payment.merchant_id,
        payment_id=payment.id,
        minor=refund.minor,
        fee_minor=refund.fee_minor,
        at=now.world,
    )
    await jobs.schedule(tx, REFUND_JOB, [(f"{refund.merchant_id}/{refund.id}", now.world)])
    return refund


def _repeated(earlier: Refund, request: RefundRequest) -> Refund:
    if (earlier.request_hash, earlier.payment_id) != (request.request_hash, request.payment_id):
        raise RequestDiffers(merchant_reference=request.merchant_reference)
    return earlier


def _check(payment: Payment, request: RefundRequest, now: Now) -> None:
    assert payment.succeeded_at is not None
    if request.total != payment.amount or request.amount.currency != payment.currency:
        raise TotalDiffers(total=str(request.total))
    if request.amount.minor < 1:
        raise ValueError("a refund is a positive amount")
    if request.amount.minor > payment.refundable_minor:
        raise RefundTooMuch(left=str(Money(payment.refundable_minor, payment.currency)))
    if now.world - payment.succeeded_at > REFUNDABLE_FOR:
        raise RefundTooLate(payment=payment.text_id)
    if payment.refunds >= MOST_REFUNDS:
        raise RefundTooOften(payment=payment.text_id)
    if request.apart and payment.last_refund_at is not None and now.world - payment.last_refund_at < request.apart:
        raise RefundTooSoon(payment=payment.text_id)


def _fee_back(payment: Payment, minor: int) -> int:
    """What of the fee goes back with the next part: cumulative, so that the parts of a full refund return all."""
    assert payment.fee_minor is not None
    owed = round_half_up(payment.fee_minor * (payment.refunded_minor + minor), payment.minor)
    return owed - payment.refunded_fee_minor


async def _hold(tx: Tx, refund: Refund, *, now: Now) -> None:
    """Keep what the merchant gives out of its own money: the refund less the fee it gets back."""
    own = refund.minor - refund.fee_minor
    if own == 0:
        return
    hold = NewHold(
        key=refund_hold_key(refund.id),
        account_id=unsettled_of(refund.merchant_id, refund.currency),
        amount=Money(own, refund.currency),
        occurred_at=now.world,
    )
    match (await ledger.hold(tx, [hold], wall_now=now.wall))[0]:
        case Outcome.POSTED:
            return
        case Outcome.INSUFFICIENT:
            raise MerchantFundsShort(merchant_reference=refund.merchant_reference)
        case outcome:
            raise ValueError(f"the ledger answers {outcome} for {refund.text_id}")


async def settle_refund(tx: Tx, merchant_id: UUID, refund_id: UUID, *, now: Now) -> Refund:
    """Give the money back and say so; a refund that has ended is returned as it is."""
    asked = await get_refund(tx, merchant_id, refund_id)
    # The payment first: facts of one payment are made under its lock, so that they are told in their order.
    held = await lock_payments(tx, [(asked.merchant_id, asked.payment_id)])
    payment = held[asked.merchant_id, asked.payment_id]
    refund = await tx.row(Refund, sql.lock_refund, merchant_id=merchant_id, id=refund_id)
    assert refund is not None
    if refund.status is not RefundStatus.PROCESSING:
        return refund
    assert payment.rail is not None
    entry = RAILS[payment.rail].refund_entry(
        payment, refund_id=refund.id, amount=refund.amount, fee=refund.fee, at=now.world
    )
    if refund.minor == refund.fee_minor:  # all of it was fee: nothing was held
        outcome = (await ledger.post(tx, [entry], wall_now=now.wall))[0]
    else:
        outcome = await ledger.post_hold(tx, entry, refund_hold_key(refund.id), wall_now=now.wall)
    status: RefundStatus
    event: type[RefundEnded]
    match outcome:
        case Outcome.POSTED:
            status, event = RefundStatus.SUCCEEDED, RefundSucceeded
        case Outcome.NO_CREDIT_ACCOUNT:
            await ledger.void_hold(tx, refund_hold_key(refund.id), at=now.world)
            status, event = RefundStatus.ABNORMAL, RefundAbnormal
        case _:
            raise ValueError(f"the ledger answers {outcome} for {refund.text_id}")
    ended = msgspec.structs.replace(refund, status=status, ended_at=now.world)
    await tx.run(sql.end_refund, merchant_id=merchant_id, id=refund_id, status=status, ended_at=now.world)
    if status is RefundStatus.SUCCEEDED:
        await record_movement(tx, _movement(ended, payment, at=now.world))
    await publish(tx, [_fact(event, ended, payment)], wall_now=now.wall)
    return ended


def _movement(refund: Refund, payment: Payment, *, at: datetime) -> Movement:
    """What the payer sees of it."""
    assert payment.payer_id is not None
    return Movement(
        person_id=payment.payer_id,
        id=refund.id,
        kind=MovementKind.REFUND,
        merchant_id=refund.merchant_id,
        payment_id=refund.payment_id,
        title=payment.description,
        minor=refund.minor,
        currency=refund.currency,
        occurred_at=at,
    )


def _fact(event: type[RefundEnded], refund: Refund, payment: Payment) -> RefundEnded:
    assert payment.payer_id is not None
    assert refund.ended_at is not None
    return event(
        refund_id=refund.id,
        payment_id=refund.payment_id,
        merchant_id=refund.merchant_id,
        app_id=payment.app_id,
        person_id=payment.payer_id,
        minor=refund.minor,
        fee_minor=refund.fee_minor,
        currency=refund.currency,
        occurred_at=refund.ended_at,
    )


def _new_public_number(at: datetime) -> str:
    """Our number for a refund (contract §7.4): `50`, eight digits, the day in Shanghai, eleven digits."""
    return f"50{random.randbelow(10**8):08d}{at.astimezone(SHANGHAI):%Y%m%d}{random.randbelow(10**11):011d}"
