"""Challenges: random questions to an authenticator, each asked for one purpose and answered once within two minutes.

    open ──▶ taken                      (registration, sign-in, proof: gone in the transaction that uses it)
      └────▶ verified ──▶ consumed      (confirmation: the signature was right; gone in the one that pays)

A confirmation is bound to the session, the payment, the payee and the sum that the person was shown. What is not
verified cannot be consumed, so no face can forget the signature.
"""

import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final
from uuid import UUID

import msgspec

from dewpond.identity.people import PersonId
from dewpond.identity.sessions import Realm, Session
from dewpond.kit.db import Tx, queries
from dewpond.kit.failures import Failure, Kind
from dewpond.kit.ids import new_id
from dewpond.kit.money import Currency, Money

sql = queries(__file__)

LIFETIME: Final = timedelta(minutes=2)
_BYTES: Final = 32


class ChallengeSpent(Failure):
    """This question was answered already, or is older than two minutes: try again."""

    code, kind = "challenge_spent", Kind.CONFLICT


class Purpose(StrEnum):
    """What an answer is good for, and for nothing else."""

    REGISTRATION = "registration"
    SIGN_IN = "sign_in"
    PROOF = "proof"
    CONFIRMATION = "confirmation"


class Begun(msgspec.Struct, frozen=True, kw_only=True):
    """A question on its way to the browser, and the id by which the answer comes back."""

    challenge_id: UUID
    #: JSON for `PublicKeyCredential.parseCreationOptionsFromJSON` or `parseRequestOptionsFromJSON`.
    options: str


class Challenge(msgspec.Struct, frozen=True, kw_only=True):
    """The random bytes to be signed, and who is asked; None where everybody is, as by a sign-in."""

    id: UUID
    value: bytes
    holder_id: UUID | None


class BoundConfirmation(msgspec.Struct, frozen=True, kw_only=True):
    """What a person said yes to with a passkey."""

    id: UUID
    holder_id: PersonId
    session_id: UUID
    merchant_id: UUID
    payment_id: UUID
    minor: int
    currency: Currency


async def open_challenge(
    tx: Tx, purpose: Purpose, realm: Realm, *, holder_id: UUID | None, session_id: UUID | None, wall_now: datetime
) -> Challenge:
    """A fresh question; confirmations have `open_confirmation`."""
    challenge = Challenge(id=new_id(), value=secrets.token_bytes(_BYTES), holder_id=holder_id)
    await tx.run(
        sql.open_challenge,
        id=challenge.id,
        purpose=purpose,
        realm=realm,
        value=challenge.value,
        holder_id=holder_id,
        session_id=session_id,
        expires_at=wall_now + LIFETIME,
    )
    return challenge


async def take_challenge(
    tx: Tx, challenge_id: UUID, purpose: Purpose, realm: Realm, *, session_id: UUID | None, wall_now: datetime
) -> Challenge:
    """Use a question up; it is gone once this transaction commits.

    Refuses with `ChallengeSpent` one that is used, unknown or too old, and one that was asked for another purpose, in
    another session or at another door: all alike.
    """
    taken = await tx.row(
        Challenge,
        sql.take_challenge,
        id=challenge_id,
        purpose=purpose,
        realm=realm,
        session_id=session_id,
        wall_now=wall_now,
    )
    if taken is None:
        raise ChallengeSpent
    return taken


async def open_confirmation(
    tx: Tx, session: Session, *, merchant_id: UUID, payment_id: UUID, amount: Money, wall_now: datetime
) -> Challenge:
    """A fresh question whether this person, in this session, pays exactly this."""
    challenge = Challenge(id=new_id(), value=secrets.token_bytes(_BYTES), holder_id=session.holder_id)
    await tx.run(
        sql.open_confirmation,
        id=challenge.id,
        realm=session.realm,
        value=challenge.value,
        holder_id=session.holder_id,
        session_id=session.id,
        merchant_id=merchant_id,
        payment_id=payment_id,
        minor=amount.minor,
        currency=amount.currency,
        expires_at=wall_now + LIFETIME,
    )
    return challenge


async def mark_verified(tx: Tx, session: Session, challenge_id: UUID, *, wall_now: datetime) -> bytes:
    """Mark a confirmation as signed and return the bytes to hold the signature against; roll back if it is wrong.

    Once only. Refuses with `ChallengeSpent` as `take_challenge` does.
    """
    value: bytes | None = await tx.value(
        sql.mark_verified, id=challenge_id, holder_id=session.holder_id, session_id=session.id, wall_now=wall_now
    )
    if value is None:
        raise ChallengeSpent
    return value


async def consume_confirmations(
    tx: Tx, challenge_ids: Sequence[UUID], *, wall_now: datetime
) -> dict[UUID, BoundConfirmation]:
    """Use verified confirmations up, in the transaction that pays; what is missing was never verified, used or too old.

    Exactly one of many that ask for the same one gets it. The caller still holds payment, payee, sum, payer and
    session against what it is about to do: a confirmation of anything else is no confirmation.
    """
    rows = await tx.rows(BoundConfirmation, sql.consume_confirmations, ids=list(set(challenge_ids)), wall_now=wall_now)
    return {row.id: row for row in rows}
