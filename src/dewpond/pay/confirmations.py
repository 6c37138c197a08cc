"""Confirmations: a person gives the money a merchant asked for. A hot verb: it takes many."""

import secrets as random
from collections.abc import Sequence
from datetime import datetime
from typing import assert_never
from uuid import UUID

import msgspec

from dewpond import ledger
from dewpond.identity import PersonId, PinTries
from dewpond.kit.clock import SHANGHAI, Now
from dewpond.kit.db import Tx, columns, queries
from dewpond.kit.failures import Failure, Kind
from dewpond.kit.ids import new_id
from dewpond.kit.outbox import publish
from dewpond.kit.secrets import MasterKeys
from dewpond.ledger import Entry, Outcome
from dewpond.merchants import MerchantId
from dewpond.pay.events import PaymentSucceeded
from dewpond.pay.payments import (
    Payment,
    PaymentAlreadyClosed,
    PaymentId,
    PaymentNotFound,
    PaymentStatus,
    lock_payments,
)
from dewpond.pay.rails import WALLET

sql = queries(__file__)


class PaymentTaken(Failure):
    """Somebody else has paid this."""

    code, kind = "payment_taken", Kind.CONFLICT


class InsufficientFunds(Failure):
    """There is not enough money in the wallet."""

    code, kind = "insufficient_funds", Kind.CONFLICT


class Confirmation(msgspec.Struct, frozen=True, kw_only=True):
    """One person's yes to one payment, with the PIN that proves it is theirs."""

    merchant_id: MerchantId
    payment_id: PaymentId
    payer_id: PersonId
    pin: str
    now: Now
    #: Of this one yes, also when it is asked again because a commit was lost.
    id: UUID = msgspec.field(default_factory=new_id)

    @property
    def key(self) -> tuple[MerchantId, PaymentId]:
        """Confirmations with one key never share a batch."""
        return self.merchant_id, self.payment_id


async def confirm_payments(
    tx: Tx, confirmations: Sequence[Confirmation], *, secrets: MasterKeys
) -> list[Payment | Failure]:
    """Take the payers' money for open payments, in order, each standing or falling alone.

    A second yes of the same payer returns the paid payment: a double tap is not an error. Refusals: `PaymentNotFound`,
    `PaymentTaken`, `PaymentAlreadyClosed`, `PinNotSet`, `PinWrong`, `PinLocked`, `InsufficientFunds`; a refused payment
    stays open and a spent PIN try stays spent. Confirmations of one call are of different payments.

    Locks in the house's order: pins, payments, then the ledger's.
    """
    if len({confirmation.key for confirmation in confirmations}) < len(confirmations):
        raise ValueError("confirmations of one payment never share a batch")
    tries = await PinTries.lock(tx, [c.payer_id for c in confirmations], secrets=secrets)
    payments = await lock_payments(tx, [c.key for c in confirmations])
    decided = [_decide(payments.get(c.key), c, tries) for c in confirmations]
    await tries.save(tx)

    paid = [outcome for outcome in decided if isinstance(outcome, _Paid)]
    posted = dict(zip((p.payment.id for p in paid), await _post(tx, paid, confirmations), strict=True))
    outcomes: list[Payment | Failure] = []
    for outcome in decided:
        if not isinstance(outcome, _Paid):
            outcomes.append(outcome)
        elif (refusal := _refusal(posted[outcome.payment.id], outcome.payment)) is not None:
            outcomes.append(refusal)
        else:
            outcomes.append(outcome.payment)
    fresh = [p for p in paid if posted[p.payment.id] is Outcome.POSTED]
    await _save(tx, [p.payment for p in fresh])
    await publish(tx, [_fact(p.payment) for p in fresh], wall_now=_wall(confirmations))
    return outcomes


class _Paid(msgspec.Struct, frozen=True, kw_only=True):
    """A payment as it will be if the ledger agrees, and the entry that asks it."""

    payment: Payment
    entry: Entry


def _decide(payment: Payment | None, confirmation: Confirmation, tries: PinTries) -> Payment | Failure | _Paid:
    """What becomes of one confirmation before money is asked; spends a PIN try only where it could help."""
    if payment is None:
        return PaymentNotFound()
    match payment.status_at(confirmation.now.world):
        case PaymentStatus.SUCCEEDED:
            return payment if payment.was_paid_by(confirmation.payer_id) else PaymentTaken(payment=payment.text_id)
        case PaymentStatus.CLOSED:
            return PaymentAlreadyClosed(payment=payment.text_id)
        case PaymentStatus.OPEN:
            refusal = tries.spend(
                confirmation.payer_id, confirmation.pin, confirmation.now.wall, try_id=confirmation.id
            )
            return refusal or _paid(payment, confirmation)
        case never:
            assert_never(never)


def _paid(payment: Payment, confirmation: Confirmation) -> _Paid:
    at = confirmation.now.world
    fee = payment.amount.share(payment.fee_rate_bp)
    succeeded = payment.succeed(
        payer_id=confirmation.payer_id,
        rail=WALLET.name,
        fee_minor=fee.minor,
        public_number=new_public_number(at),
        at=at,
    )
    entry = WALLET.payment_entry(payment, payer_id=confirmation.payer_id, fee=fee, at=at)
    return _Paid(payment=succeeded, entry=entry)


async def _post(tx: Tx, paid: Sequence[_Paid], confirmations: Sequence[Confirmation]) -> list[Outcome]:
    if not paid:
        return []
    return await ledger.post(tx, [p.entry for p in paid], wall_now=_wall(confirmations))


def _refusal(outcome: Outcome, payment: Payment) -> Failure | None:
    match outcome:
        case Outcome.POSTED:
            return None
        case Outcome.INSUFFICIENT | Outcome.NO_DEBIT_ACCOUNT:  # no wallet in this currency: nothing in it either
            return InsufficientFunds(payment=payment.text_id)
        case _:  # the payment is locked and open, so its entry is new, and its merchant's account is there
            raise ValueError(f"the ledger answers {outcome} for {payment.text_id}")


async def _save(tx: Tx, payments: Sequence[Payment]) -> None:
    if not payments:
        return
    rows = [(p.merchant_id, p.id, p.payer_id, p.rail, p.fee_minor, p.public_number, p.succeeded_at) for p in payments]
    merchant_ids, ids, payer_ids, rails, fees, public_numbers, succeeded_at = columns(rows, 7)
    await tx.run(
        sql.save_succeeded,
        merchant_ids=merchant_ids,
        ids=ids,
        payer_ids=payer_ids,
        rails=rails,
        fees=fees,
        public_numbers=public_numbers,
        succeeded_at=succeeded_at,
    )


def _fact(payment: Payment) -> PaymentSucceeded:
    assert payment.payer_id is not None
    assert payment.succeeded_at is not None
    assert payment.fee_minor is not None
    return PaymentSucceeded(
        payment_id=payment.id,
        merchant_id=payment.merchant_id,
        app_id=payment.app_id,
        person_id=payment.payer_id,
        minor=payment.minor,
        fee_minor=payment.fee_minor,
        currency=payment.currency,
        occurred_at=payment.succeeded_at,
    )


def _wall(confirmations: Sequence[Confirmation]) -> datetime:
    """When the batch is written down: as late as its latest member."""
    return max(confirmation.now.wall for confirmation in confirmations)


def new_public_number(at: datetime) -> str:
    """Our number for a paid payment (contract §7.4): `4200`, six digits, the day in Shanghai, ten digits."""
    drawn = f"{random.randbelow(10**16):016d}"
    return f"4200{drawn[:6]}{at.astimezone(SHANGHAI):%Y%m%d}{drawn[6:]}"
