"""Movements: a person's own list of what came into the wallet and what left it.

Each is written in the transaction that moves the money, so that a person's movements always add up to the balance.
"""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from uuid import UUID

import msgspec

from dewpond.identity import PersonId
from dewpond.kit.db import Tx, queries
from dewpond.kit.ids import to_text
from dewpond.kit.money import Currency, Money
from dewpond.merchants import MerchantId
from dewpond.pay.payments import Payment, PaymentId, PaymentNotFound, get_payment
from dewpond.pay.proofs import ProofKind

sql = queries(__file__)


class MovementKind(StrEnum):
    """Why money moved."""

    PAYMENT = "payment"
    REFUND = "refund"
    TOP_UP = "top_up"


class Movement(msgspec.Struct, frozen=True, kw_only=True):
    """Money that came or went, as its owner sees it."""

    person_id: PersonId
    #: The payment's, the refund's or the top-up's own.
    id: UUID
    kind: MovementKind
    #: Who was paid, or gave back.
    merchant_id: MerchantId | None = None
    #: Of a refund, the payment that was refunded.
    payment_id: PaymentId | None = None
    #: By what a payment was confirmed.
    proof: ProofKind | None = None
    title: str
    #: Negative where it left the wallet.
    minor: int
    currency: Currency
    occurred_at: datetime

    @property
    def amount(self) -> Money:
        return Money(self.minor, self.currency)

    @property
    def refund_id(self) -> UUID | None:
        return self.id if self.kind is MovementKind.REFUND else None


async def list_movements(
    tx: Tx,
    person_id: UUID,
    *,
    before: tuple[datetime, UUID] | None = None,
    kinds: Sequence[MovementKind] | None = None,
    text: str = "",
    merchant_ids: Sequence[UUID] = (),
    most: int = 30,
) -> list[Movement]:
    """A page of a person's movements, the newest first; the next page is `before` the last one's (occurred_at, id).

    With `text` those whose title contains it, and those with one of these merchants: the names that people search by
    are known to the caller. With merchants alone, those with them.
    """
    before_at, before_id = before or (None, None)
    return await tx.rows(
        Movement,
        sql.list_movements,
        person_id=person_id,
        before_at=before_at,
        before_id=before_id,
        kinds=None if kinds is None else list(kinds),
        text=text.strip(),
        merchant_ids=list(merchant_ids),
        most=most,
    )


async def list_payees(tx: Tx, person_id: UUID) -> list[MerchantId]:
    """The merchants that this person ever paid, in no order."""
    return await tx.values(sql.list_payees, person_id=person_id)


async def get_payment_of(tx: Tx, person_id: UUID, payment_id: UUID) -> Payment:
    """The payment that this person paid; anybody else's, and one unpaid, is `PaymentNotFound`."""
    merchant_id: UUID | None = await tx.value(sql.find_merchant, person_id=person_id, payment_id=payment_id)
    if merchant_id is None:
        raise PaymentNotFound(payment=to_text("pay", payment_id))
    return await get_payment(tx, merchant_id, payment_id)


async def record_movement(tx: Tx, movement: Movement) -> None:
    """Write one down, in the transaction that moves the money; payments are written as they are saved."""
    await tx.run(sql.record_movement, **msgspec.structs.asdict(movement))
