"""Proofs: how a person shows that a yes is theirs, by PIN, by passkey, or, for a small sum, by nothing at all."""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import ClassVar, TypeAlias, assert_never
from uuid import UUID

import msgspec

from dewpond.identity import BoundConfirmation, PersonId, PinTries, consume_confirmations
from dewpond.kit.db import Tx
from dewpond.kit.failures import Failure, Kind
from dewpond.kit.secrets import MasterKeys
from dewpond.pay.payments import Payment


class ProofKind(StrEnum):
    """By what a payment was confirmed, as the movement remembers it."""

    PIN = "pin"
    PASSKEY = "passkey"
    SMALL_SUM = "small_sum"


class ProofMissing(Failure):
    """This payment needs a PIN or a passkey."""

    code, kind = "proof_missing", Kind.FORBIDDEN


class ProofRefused(Failure):
    """This confirmation has been used, is too old, or was given for something else."""

    code, kind = "proof_refused", Kind.FORBIDDEN


class PinProof(msgspec.Struct, frozen=True):
    """The payment PIN, as it was typed."""

    kind: ClassVar[ProofKind] = ProofKind.PIN

    pin: str

    def __repr__(self) -> str:
        return "PinProof(…)"  # what is repeated in a log or a trace must not hold it


class PasskeyProof(msgspec.Struct, frozen=True):
    """A challenge that this session's passkey has signed for this payment; the signature was verified before."""

    kind: ClassVar[ProofKind] = ProofKind.PASSKEY

    challenge_id: UUID
    session_id: UUID


class SmallSum(msgspec.Struct, frozen=True):
    """Nothing: the sum is no more than this person lets be paid without a proof."""

    kind: ClassVar[ProofKind] = ProofKind.SMALL_SUM


Proof: TypeAlias = PinProof | PasskeyProof | SmallSum


class Proofs:
    """What the people of one batch prove their yes by: PINs under lock, challenges taken once.

    proofs = await Proofs.lock(tx, [(payer_id, proof), …], secrets=secrets)
    await proofs.take_challenges(tx, …)
    refusal = proofs.refusal(proof, payment, payer_id=…, wall_now=…, try_id=…)    # None if it is theirs
    await proofs.save(tx)
    """

    def __init__(self, tries: PinTries) -> None:
        self._tries = tries
        self._bound: dict[UUID, BoundConfirmation] = {}

    @classmethod
    async def lock(cls, tx: Tx, given: Sequence[tuple[PersonId, Proof]], *, secrets: MasterKeys) -> "Proofs":
        """Lock the PINs of those who gave one, or nothing: who has a locked PIN pays nothing without one either."""
        people = [person_id for person_id, proof in given if not isinstance(proof, PasskeyProof)]
        return cls(await PinTries.lock(tx, people, secrets=secrets) if people else PinTries((), secrets))

    async def take_challenges(self, tx: Tx, given: Sequence[PasskeyProof], *, wall_now: datetime) -> None:
        """Use up the challenges of these; whatever becomes of the payments, none of them serves again."""
        if given:
            self._bound = await consume_confirmations(tx, [proof.challenge_id for proof in given], wall_now=wall_now)

    def refusal(
        self, proof: Proof, payment: Payment, *, payer_id: PersonId, wall_now: datetime, try_id: UUID
    ) -> Failure | None:
        """Why this is no proof of this person's yes to this payment; None if it is. Spends a PIN try."""
        match proof:
            case PinProof(pin):
                return self._tries.spend(payer_id, pin, wall_now, try_id=try_id)
            case SmallSum():
                return self._tries.locked(payer_id, wall_now)
            case PasskeyProof():
                asked = BoundConfirmation(
                    id=proof.challenge_id,
                    holder_id=payer_id,
                    session_id=proof.session_id,
                    merchant_id=payment.merchant_id,
                    payment_id=payment.id,
                    minor=payment.minor,
                    currency=payment.currency,
                )
                return None if self._bound.get(proof.challenge_id) == asked else ProofRefused()
            case never:
                assert_never(never)

    async def save(self, tx: Tx) -> None:
        """Write down the PIN tries that were spent; called once, before the batch commits."""
        await self._tries.save(tx)
