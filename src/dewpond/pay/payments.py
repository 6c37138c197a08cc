"""A payment: money asked by a merchant, given by a person.

    open ──▶ succeeded
      └────▶ closed        (by the merchant, or when it expires)

Refunds are their own noun; a succeeded payment never changes again but for the sums of its refunds. Expiry is
computed: from `expires_at` on an open payment reads as closed, and a sweeper writes it down later.
"""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, NewType
from uuid import UUID

import msgspec

from dewpond.identity import PersonId
from dewpond.kit.clock import Now
from dewpond.kit.db import Tx, columns, queries
from dewpond.kit.failures import Failure, Kind
from dewpond.kit.ids import IdInvalid, from_text, new_id, to_text
from dewpond.kit.money import Currency, Money
from dewpond.kit.outbox import publish
from dewpond.merchants import AppId, MerchantId
from dewpond.pay.events import PaymentClosed

sql = queries(__file__)

PaymentId = NewType("PaymentId", UUID)

#: How many of a merchant's newest payments are looked through for a word.
SEARCHED: Final = 10_000


class PaymentStatus(StrEnum):
    """The life of a payment."""

    OPEN = "open"
    SUCCEEDED = "succeeded"
    CLOSED = "closed"


class PaymentNotFound(Failure):
    """There is no such payment."""

    code, kind = "payment_not_found", Kind.NOT_FOUND


class PaymentAlreadySucceeded(Failure):
    """This payment has been paid."""

    code, kind = "payment_already_succeeded", Kind.CONFLICT


class PaymentAlreadyClosed(Failure):
    """This payment is closed."""

    code, kind = "payment_already_closed", Kind.CONFLICT


class CodeUnknown(Failure):
    """This code leads to no payment; the shop may have shown a newer one."""

    code, kind = "code_unknown", Kind.NOT_FOUND


class CodeExpired(Failure):
    """This code has expired; the shop can show a fresh one."""

    code, kind = "code_expired", Kind.CONFLICT


class Payment(msgspec.Struct, frozen=True, kw_only=True):
    """Money asked once. What only a wire needs of it lies in `PaymentRequest`."""

    merchant_id: MerchantId
    id: PaymentId
    app_id: AppId
    #: The merchant's own number for it, unique per merchant.
    merchant_reference: str
    description: str
    minor: int
    currency: Currency
    #: The merchant's rate when it asked, in basis points.
    fee_rate_bp: int
    #: As written down; what it is at a moment says `status_at`.
    status: PaymentStatus
    opened_at: datetime
    expires_at: datetime
    payer_id: PersonId | None = None
    rail: str | None = None
    fee_minor: int | None = None
    #: Our number on the wire, made at success: 28 digits.
    public_number: str | None = None
    succeeded_at: datetime | None = None
    closed_at: datetime | None = None
    #: Accepted refunds: how many, how much, and the fee given back with them.
    refunds: int = 0
    refunded_minor: int = 0
    refunded_fee_minor: int = 0
    last_refund_at: datetime | None = None
    #: Whom the merchant asked, where it asked one person; to everybody else this payment does not exist.
    meant_for: PersonId | None = None

    @property
    def amount(self) -> Money:
        return Money(self.minor, self.currency)

    @property
    def fee(self) -> Money | None:
        """What the merchant pays for it; nothing is known before it is paid."""
        return None if self.fee_minor is None else Money(self.fee_minor, self.currency)

    @property
    def refunded(self) -> Money:
        return Money(self.refunded_minor, self.currency)

    @property
    def text_id(self) -> str:
        return to_text("pay", self.id)

    @property
    def refundable_minor(self) -> int:
        return self.minor - self.refunded_minor if self.status is PaymentStatus.SUCCEEDED else 0

    def status_at(self, world_now: datetime) -> PaymentStatus:
        """What it is now: an open payment whose time is over is closed."""
        if self.status is PaymentStatus.OPEN and self.expires_at <= world_now:
            return PaymentStatus.CLOSED
        return self.status

    def is_for(self, person_id: PersonId) -> bool:
        """Whether this person may know of it: whoever has its code, unless it was meant for another."""
        return self.meant_for is None or self.meant_for == person_id

    def was_paid_by(self, payer_id: PersonId) -> bool:
        return self.status is PaymentStatus.SUCCEEDED and self.payer_id == payer_id

    def succeed(self, *, payer_id: PersonId, rail: str, fee_minor: int, public_number: str, at: datetime) -> "Payment":
        """The paid payment; only an open one can be paid."""
        if self.status_at(at) is not PaymentStatus.OPEN:
            raise ValueError(f"{self.text_id} is {self.status_at(at)}")
        return msgspec.structs.replace(
            self,
            status=PaymentStatus.SUCCEEDED,
            payer_id=payer_id,
            rail=rail,
            fee_minor=fee_minor,
            public_number=public_number,
            succeeded_at=at,
        )


class PaymentRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What only a wire needs of a payment."""

    merchant_id: MerchantId
    payment_id: PaymentId
    trade_type: str
    #: Of what a repeat must bring again.
    request_hash: bytes
    notify_url: str
    attach: str | None
    device_id: str | None
    #: The platform key the merchant named in its request, if it named one.
    platform_key_id: str | None
    #: The live code; earlier ones are dead.
    code: str


class Scanned(msgspec.Struct, frozen=True, kw_only=True):
    """A payment that a code leads to."""

    payment: Payment
    #: Until when it can be paid by this code, in world time.
    expires_at: datetime


class _Reference(msgspec.Struct, frozen=True, kw_only=True):
    """A merchant's number under lock."""

    id: PaymentId
    status: PaymentStatus
    expires_at: datetime


class Code(msgspec.Struct, frozen=True, kw_only=True):
    """A code that is alive or was, and what it leads to."""

    code: str
    merchant_id: MerchantId
    payment_id: PaymentId
    #: In world time.
    expires_at: datetime


class _Swept(msgspec.Struct, frozen=True, kw_only=True):
    merchant_id: MerchantId
    id: PaymentId
    expires_at: datetime


async def find_payment_by_reference(tx: Tx, merchant_id: UUID, merchant_reference: str) -> Payment | None:
    """The merchant's payment with its own number, or None; another merchant's is never found."""
    return await tx.row(Payment, sql.find_by_reference, merchant_id=merchant_id, merchant_reference=merchant_reference)


async def find_payment_by_public_number(tx: Tx, merchant_id: UUID, public_number: str) -> Payment | None:
    """The merchant's payment with our number, or None; another merchant's is never found."""
    return await tx.row(Payment, sql.find_by_public_number, merchant_id=merchant_id, public_number=public_number)


async def list_payments(tx: Tx, keys: Sequence[tuple[UUID, UUID]]) -> list[Payment]:
    """The payments with these (merchant id, payment id), those that exist, in no order."""
    merchant_ids, ids = columns(keys, 2)
    return await tx.rows(Payment, sql.list_payments, merchant_ids=merchant_ids, ids=ids)


async def get_payment(tx: Tx, merchant_id: UUID, payment_id: UUID) -> Payment:
    """The merchant's payment, or `PaymentNotFound`."""
    found = await list_payments(tx, [(merchant_id, payment_id)])
    if not found:
        raise PaymentNotFound(payment=to_text("pay", payment_id))
    return found[0]


async def lock_payments(tx: Tx, keys: Sequence[tuple[UUID, UUID]]) -> dict[tuple[UUID, UUID], Payment]:
    """These payments by (merchant id, payment id), held until the transaction ends."""
    merchant_ids, ids = columns(keys, 2)
    rows = await tx.rows(Payment, sql.lock_payments, merchant_ids=merchant_ids, ids=ids)
    return {(row.merchant_id, row.id): row for row in rows}


async def get_payment_by_code(tx: Tx, code: str, *, by: PersonId, now: Now) -> Payment:
    """The payment that a code asks for which this person has scanned.

    Refuses with `CodeUnknown`, also where it is meant for another, and with `CodeExpired` while it is still unpaid.
    """
    [found] = await list_scanned(tx, [(code, by)], now=now)
    if isinstance(found, Failure):
        raise found
    return found.payment


async def list_codes(tx: Tx, codes: Sequence[str]) -> dict[str, Code]:
    """Which payments these codes lead to, by code; those that lead nowhere are left out."""
    return {row.code: row for row in await tx.rows(Code, sql.find_codes, codes=list(set(codes)))}


async def list_scanned(tx: Tx, scans: Sequence[tuple[str, PersonId]], *, now: Now) -> list[Scanned | Failure]:
    """What each code asks for which somebody has scanned, in their order; refused one by one as `get_payment_by_code`
    does."""
    found = await list_codes(tx, [code for code, _ in scans])
    keys = {(row.merchant_id, row.payment_id) for row in found.values()}
    payments = {(payment.merchant_id, payment.id): payment for payment in await list_payments(tx, list(keys))}

    def behind(code: str, person_id: PersonId) -> Scanned | Failure:
        row = found.get(code)
        if row is None:
            return CodeUnknown()
        payment = payments[row.merchant_id, row.payment_id]
        if not payment.is_for(person_id):
            return CodeUnknown()
        if row.expires_at <= now.world and payment.status is PaymentStatus.OPEN:
            return CodeExpired()
        return Scanned(payment=payment, expires_at=min(row.expires_at, payment.expires_at))

    return [behind(code, person_id) for code, person_id in scans]


async def find_payments(tx: Tx, text: str) -> list[Payment]:
    """For the terminal: payments with this code, id, merchant's number or our number; newest first."""
    by_code = await tx.row(Code, sql.find_codes, codes=[text])
    if by_code is not None:
        return [await get_payment(tx, by_code.merchant_id, by_code.payment_id)]
    return await tx.rows(Payment, sql.search, id=_id_of(text), text=text)


async def list_merchant_payments(
    tx: Tx,
    merchant_id: UUID,
    *,
    status: PaymentStatus | None = None,
    text: str = "",
    since: datetime | None = None,
    until: datetime | None = None,
    before: tuple[datetime, UUID] | None = None,
    most: int = 50,
) -> list[Payment]:
    """A page of what a merchant asked for, the newest first; the next page is `before` the last one's (opened_at, id).

    `status` is what is written down: an expired payment is open until the sweeper comes by. `since` and `until` are
    world time, the end not included. `text` finds a payment of any age by its id, the merchant's number or ours, and
    those whose description or number contains it among the `SEARCHED` newest that the other filters leave.
    """
    before_at, before_id = before or (None, None)
    asked: dict[str, Any] = {
        "merchant_id": merchant_id,
        "status": status,
        "since": since,
        "until": until,
        "before_at": before_at,
        "before_id": before_id,
        "most": most,
    }
    text = text.strip()
    if not text:
        return await tx.rows(Payment, sql.list_by_merchant, **asked)
    return await tx.rows(Payment, sql.search_by_merchant, **asked, text=text, id=_id_of(text), searched=SEARCHED)


def _id_of(text: str) -> UUID | None:
    try:
        return from_text("pay", text)
    except IdInvalid:
        return None


async def get_request(tx: Tx, merchant_id: UUID, payment_id: UUID) -> PaymentRequest:
    """What the wire said when it asked for this payment."""
    request = await tx.row(PaymentRequest, sql.get_request, merchant_id=merchant_id, payment_id=payment_id)
    if request is None:
        raise PaymentNotFound(payment=to_text("pay", payment_id))
    return request


async def list_requests(tx: Tx, keys: Sequence[tuple[UUID, UUID]]) -> list[PaymentRequest]:
    """What the wire said for these (merchant id, payment id)."""
    merchant_ids, payment_ids = columns(keys, 2)
    return await tx.rows(PaymentRequest, sql.list_requests, merchant_ids=merchant_ids, payment_ids=payment_ids)


async def close_payment(tx: Tx, merchant_id: UUID, merchant_reference: str, *, now: Now) -> None:
    """Close the merchant's open payment; again, or after it expired, is no change.

    A number never seen is taken out of use (WeChat's field behaviour, contract §1.10). A paid one refuses with
    `PaymentAlreadySucceeded`.
    """
    held = await _lock_reference(tx, merchant_id, merchant_reference)
    if held is None:
        burnt = await tx.run(
            sql.burn_reference,
            merchant_id=merchant_id,
            id=new_id(),
            merchant_reference=merchant_reference,
            at=now.world,
        )
        if burnt:
            return
        held = await _lock_reference(tx, merchant_id, merchant_reference)  # it was opened in this very moment
        assert held is not None
    match held.status:
        case PaymentStatus.SUCCEEDED:
            raise PaymentAlreadySucceeded(merchant_reference=merchant_reference)
        case PaymentStatus.CLOSED:
            return
        case PaymentStatus.OPEN:
            expired = held.expires_at <= now.world
            closed_at = held.expires_at if expired else now.world
            await tx.run(sql.save_closed, merchant_id=merchant_id, id=held.id, closed_at=closed_at)
            event = PaymentClosed(payment_id=held.id, merchant_id=merchant_id, expired=expired, occurred_at=closed_at)
            await publish(tx, [event], wall_now=now.wall)


async def _lock_reference(tx: Tx, merchant_id: UUID, merchant_reference: str) -> _Reference | None:
    return await tx.row(
        _Reference, sql.lock_by_reference, merchant_id=merchant_id, merchant_reference=merchant_reference
    )


async def sweep_expired(tx: Tx, *, now: Now, most: int = 500) -> int:
    """Write down payments whose time is over, as closed at the moment it was; how many."""
    swept = await tx.rows(_Swept, sql.sweep, now=now.world, most=most)
    events = [
        PaymentClosed(payment_id=row.id, merchant_id=row.merchant_id, expired=True, occurred_at=row.expires_at)
        for row in swept
    ]
    await publish(tx, events, wall_now=now.wall)
    return len(swept)
