"""Confirmations: a person gives the money a merchant asked for. A hot verb: it takes many."""

import secrets as random
from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from typing import assert_never
from uuid import UUID

import msgspec

from dewpond import ledger
from dewpond.identity import PersonId
from dewpond.kit.clock import SHANGHAI, Now
from dewpond.kit.db import Tx, columns, queries
from dewpond.kit.failures import Failure, Kind
from dewpond.kit.ids import new_id
from dewpond.kit.outbox import publish
from dewpond.kit.secrets import MasterKeys
from dewpond.ledger import Entry, Outcome
from dewpond.merchants import MerchantId
from dewpond.pay.events import PaymentSucceeded
from dewpond.pay.limits import AboveLimit, Allowances, Outlay, new_until
from dewpond.pay.payments import (
    Payment,
    PaymentAlreadyClosed,
    PaymentId,
    PaymentNotFound,
    PaymentStatus,
    lock_payments,
)
from dewpond.pay.proofs import PasskeyProof, Proof, ProofKind, ProofMissing, Proofs, SmallSum
from dewpond.pay.rails import WALLET

sql = queries(__file__)


class PaymentTaken(Failure):
    """Somebody else has paid this."""

    code, kind = "payment_taken", Kind.CONFLICT


class InsufficientFunds(Failure):
    """There is not enough money in the wallet."""

    code, kind = "insufficient_funds", Kind.CONFLICT


class Confirmation(msgspec.Struct, frozen=True, kw_only=True):
    """One person's yes to one payment, with what proves that it is theirs."""

    merchant_id: MerchantId
    payment_id: PaymentId
    payer_id: PersonId
    proof: Proof
    now: Now
    #: Since when somebody has been signed in on the device it comes from, in wall time; None from a terminal.
    device_since: datetime | None = None
    #: Of this one yes, also when it is asked again because a commit was lost.
    id: UUID = msgspec.field(default_factory=new_id)

    @property
    def key(self) -> tuple[MerchantId, PaymentId]:
        """Confirmations with one key never share a batch."""
        return self.merchant_id, self.payment_id

    @property
    def new_until(self) -> datetime | None:
        """Until when that device is new; None where it is not."""
        return new_until(self.device_since, self.now.wall)


async def confirm_payments(
    tx: Tx, confirmations: Sequence[Confirmation], *, secrets: MasterKeys
) -> list[Payment | Failure]:
    """Take the payers' money for open payments, in order, each standing or falling alone.

    A second yes of the same payer returns the paid payment and spends nothing: a double tap is not an error. Refusals:
    `PaymentNotFound` (also where it is meant for another), `PaymentTaken`, `PaymentAlreadyClosed`, `AboveLimit`,
    `DeviceNew`, `ProofMissing`, `PinNotSet`, `PinWrong`, `PinLocked`, `ProofRefused`, `InsufficientFunds`. A refused
    payment stays open; a PIN try and a passkey's challenge that were spent on it stay spent. Confirmations of one call
    are of different payments.

    Locks in the house's order: pins, limits, people with new devices, payments, challenges, then the ledger's.
    """
    if len({confirmation.key for confirmation in confirmations}) < len(confirmations):
        raise ValueError("confirmations of one payment never share a batch")
    wall = max(confirmation.now.wall for confirmation in confirmations)  # written down as late as its latest member
    proofs = await Proofs.lock(tx, [(c.payer_id, c.proof) for c in confirmations], secrets=secrets)
    allowances = await Allowances.lock(
        tx, [c.payer_id for c in confirmations], [c.payer_id for c in confirmations if c.new_until]
    )
    payments = await lock_payments(tx, [c.key for c in confirmations])
    asked = [(c, _theirs(c, payments.get(c.key))) for c in confirmations]
    signed = [c.proof for c, p in asked if isinstance(c.proof, PasskeyProof) and not _is_repeat(c, p)]
    await proofs.take_challenges(tx, signed, wall_now=wall)
    await allowances.add_up(tx, (_outlay(c, p) for c, p in asked if p is not None and p.status is PaymentStatus.OPEN))

    outcomes: dict[int, Payment | Failure] = {}
    fresh: list[_Paid] = []
    places: Sequence[int] = range(len(asked))
    while places:
        paid: dict[int, _Paid] = {}
        for at in places:
            decided = _decide(*asked[at], proofs, allowances)
            if isinstance(decided, _Paid):
                paid[at] = decided
            else:
                outcomes[at] = decided
        has_room = False
        for (at, one), refusal in zip(paid.items(), await _post(tx, list(paid.values()), wall), strict=True):
            outcomes[at] = refusal or one.payment
            if refusal is None:
                fresh.append(one)
            else:
                has_room = allowances.give_back(one.outlay) or has_room
        # Who was crowded out by a payment that came to nothing gets a second look.
        places = [at for at in places if isinstance(outcomes[at], _CROWDED_OUT)] if has_room else []
    await proofs.save(tx)
    await _save(tx, fresh)
    await publish(tx, [_fact(one.payment) for one in fresh], wall_now=wall)
    return [outcomes[at] for at in range(len(asked))]


#: What may turn out otherwise once less is counted against a person's limits; neither has spent anything.
_CROWDED_OUT = (AboveLimit, ProofMissing)


class _Paid(msgspec.Struct, frozen=True, kw_only=True):
    """A payment as it will be if the ledger agrees, the entry that asks it, and what was given for it."""

    payment: Payment
    entry: Entry
    outlay: Outlay
    proof: ProofKind


def _theirs(confirmation: Confirmation, payment: Payment | None) -> Payment | None:
    """The payment, unless it is meant for another: then it does not exist, and no PIN is tried on it."""
    return payment if payment is not None and payment.is_for(confirmation.payer_id) else None


def _is_repeat(confirmation: Confirmation, payment: Payment | None) -> bool:
    return payment is not None and payment.was_paid_by(confirmation.payer_id)


def _decide(
    confirmation: Confirmation, payment: Payment | None, proofs: Proofs, allowances: Allowances
) -> Payment | Failure | _Paid:
    """What becomes of one confirmation before money is asked; spends a PIN try only where it could help."""
    if payment is None:
        return PaymentNotFound()
    match payment.status_at(confirmation.now.world):
        case PaymentStatus.SUCCEEDED:
            return payment if _is_repeat(confirmation, payment) else PaymentTaken(payment=payment.text_id)
        case PaymentStatus.CLOSED:
            return PaymentAlreadyClosed(payment=payment.text_id)
        case PaymentStatus.OPEN:
            outlay = _outlay(confirmation, payment)
            refusal = allowances.refusal(outlay) or proofs.refusal(
                confirmation.proof,
                payment,
                payer_id=confirmation.payer_id,
                wall_now=confirmation.now.wall,
                try_id=confirmation.id,
            )
            if refusal is not None:
                return refusal
            allowances.take(outlay)
            return _paid(payment, confirmation, outlay)
        case never:
            assert_never(never)


def _outlay(confirmation: Confirmation, payment: Payment) -> Outlay:
    return Outlay(
        person_id=confirmation.payer_id,
        amount=payment.amount,
        at=confirmation.now.world,
        is_proven=not isinstance(confirmation.proof, SmallSum),
        new_until=confirmation.new_until,
    )


def _paid(payment: Payment, confirmation: Confirmation, outlay: Outlay) -> _Paid:
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
    return _Paid(payment=succeeded, entry=entry, outlay=outlay, proof=confirmation.proof.kind)


async def _post(tx: Tx, paid: Sequence[_Paid], wall: datetime) -> list[Failure | None]:
    """Why the ledger refuses each of them; None where it is posted."""
    if not paid:
        return []
    outcomes = await ledger.post(tx, [p.entry for p in paid], wall_now=wall)
    return [_refusal(outcome, p.payment) for p, outcome in zip(paid, outcomes, strict=True)]


def _refusal(outcome: Outcome, payment: Payment) -> Failure | None:
    match outcome:
        case Outcome.POSTED:
            return None
        case Outcome.INSUFFICIENT | Outcome.NO_DEBIT_ACCOUNT:  # no wallet in this currency: nothing in it either
            return InsufficientFunds(payment=payment.text_id)
        case _:  # the payment is locked and open, so its entry is new, and its merchant's account is there
            raise ValueError(f"the ledger answers {outcome} for {payment.text_id}")


async def _save(tx: Tx, paid: Sequence[_Paid]) -> None:
    if not paid:
        return
    rows = [
        (p.merchant_id, p.id, p.payer_id, p.rail, p.fee_minor, p.public_number, p.succeeded_at, one.proof)
        for one in paid
        for p in (one.payment,)
    ]
    merchant_ids, ids, payer_ids, rails, fees, public_numbers, succeeded_at, proofs = columns(rows, 8)
    await tx.run(
        sql.save_succeeded,
        merchant_ids=merchant_ids,
        ids=ids,
        payer_ids=payer_ids,
        rails=rails,
        fees=fees,
        public_numbers=public_numbers,
        succeeded_at=succeeded_at,
        proofs=proofs,
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


def new_public_number(at: datetime) -> str:
    """Our number for a paid payment (contract §7.4): `4200`, six digits, the day in Shanghai, ten digits."""
    drawn = f"{int.from_bytes(random.token_bytes(16)) % 10**16:016d}"
    return f"4200{drawn[:6]}{_day_of(at)}{drawn[6:]}"


@lru_cache(maxsize=64)
def _day_of(at: datetime) -> str:
    """Written once for all payments of one moment."""
    return f"{at.astimezone(SHANGHAI):%Y%m%d}"
