"""Passkeys: keys on a person's own devices, by which they sign in, prove that it is they, and say yes to a payment.

    begun = await begin_sign_in(tx, Realm.PERSON, party=party, wall_now=…)                  # to the browser
    passkey = await finish_sign_in(tx, begun.challenge_id, response, …)                     # what came back

Sign-in asks for no name: the authenticator finds the holder. It does not tell whether a credential exists either: all
that is not right is the same refusal after the same work. Credentials of one realm are strangers to the other, even
where both sites have the same host and differ in the port only.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec

from dewpond.identity.ceremonies import (
    Assertion,
    Descriptor,
    PasskeyRefused,
    RelyingParty,
    ask_for_credential,
    ask_to_sign,
    check_assertion,
    read_assertion,
    read_credential,
)
from dewpond.identity.challenges import (
    LIFETIME,
    Begun,
    Challenge,
    Purpose,
    mark_verified,
    open_challenge,
    open_confirmation,
    take_challenge,
)
from dewpond.identity.people import NameInvalid
from dewpond.identity.sessions import Realm, Session, label, prove_session
from dewpond.kit.db import Tx, queries
from dewpond.kit.failures import Failure, Kind
from dewpond.kit.ids import new_id
from dewpond.kit.money import Money
from dewpond.kit.names import is_name

sql = queries(__file__)

#: Looked up and checked in place of a credential nobody has, so that it costs the same. What the key's other half would
#: sign is refused all the same.
_STRANGER: Final = UUID(int=0)
_STRANGERS_KEY: Final = bytes.fromhex(
    "a5010203262001215820e05dce82372b06b64c19999316cf8d82fdaf6e578f19375a52433904ba"
    "82bfec2258206ac4e84d6ba4a4486cd2c9845a9e3afe0ca89c9ac408af9a58aaa4777bae78dc"
)


class PasskeyUnknown(Failure):
    """There is no such passkey."""

    code, kind = "passkey_unknown", Kind.NOT_FOUND


class PasskeyTaken(Failure):
    """This passkey is registered already."""

    code, kind = "passkey_taken", Kind.CONFLICT


class LastPasskey(Failure):
    """This passkey is the only way in: add another one first."""

    code, kind = "last_passkey", Kind.CONFLICT


class Passkey(msgspec.Struct, frozen=True, kw_only=True):
    """A credential of one holder."""

    holder_id: UUID
    id: UUID
    realm: Realm
    credential_id: bytes
    public_key: bytes
    #: How often the authenticator says it was used; 0 where it does not count.
    sign_count: int
    transports: tuple[str, ...]
    #: The holder's own word for it; at first the device it was made on, which may be empty.
    name: str
    is_backed_up: bool
    created_at: datetime
    last_used_at: datetime | None


# --- registration -----------------------------------------------------------------------------------------------------


async def begin_registration(
    tx: Tx,
    realm: Realm,
    holder_id: UUID,
    *,
    holder_name: str,
    party: RelyingParty,
    session_id: UUID | None,
    wall_now: datetime,
) -> Begun:
    """Ask a holder's authenticator for a new passkey.

    `session_id` is the holder's own session, and then the answer must come from it. It is None only for a holder who
    has no way in yet: a fresh id that nobody else was told, or somebody who was invited.
    """
    known = await list_passkeys(tx, realm, holder_id)
    challenge = await open_challenge(
        tx, Purpose.REGISTRATION, realm, holder_id=holder_id, session_id=session_id, wall_now=wall_now
    )
    options = ask_for_credential(
        party,
        challenge.value,
        holder_handle=holder_id.bytes,
        holder_name=holder_name,
        known=_descriptors(known),
        lifetime=LIFETIME,
    )
    return Begun(challenge_id=challenge.id, options=options)


async def finish_registration(
    tx: Tx,
    challenge_id: UUID,
    response: bytes | str,
    *,
    realm: Realm,
    party: RelyingParty,
    session_id: UUID | None,
    device: str,
    wall_now: datetime,
) -> Passkey:
    """Keep the passkey that was made; its holder is the one who was asked.

    Refuses with `ChallengeSpent`, `PasskeyRefused`, or `PasskeyTaken` where the credential belongs to somebody already.
    """
    challenge = await take_challenge(
        tx, challenge_id, Purpose.REGISTRATION, realm, session_id=session_id, wall_now=wall_now
    )
    assert challenge.holder_id is not None
    made = read_credential(response, party=party, challenge=challenge.value)
    passkey = Passkey(
        holder_id=challenge.holder_id,
        id=new_id(),
        realm=realm,
        credential_id=made.credential_id,
        public_key=made.public_key,
        sign_count=made.sign_count,
        transports=made.transports,
        name=label(device),
        is_backed_up=made.is_backed_up,
        created_at=wall_now,
        last_used_at=None,
    )
    claimed = await tx.run(sql.claim_credential, credential_id=made.credential_id, holder_id=challenge.holder_id)
    if not claimed:
        raise PasskeyTaken
    await tx.run(
        sql.create_passkey,
        holder_id=passkey.holder_id,
        id=passkey.id,
        realm=realm,
        credential_id=passkey.credential_id,
        public_key=passkey.public_key,
        sign_count=passkey.sign_count,
        transports=passkey.transports,
        name=passkey.name,
        is_backed_up=passkey.is_backed_up,
        created_at=wall_now,
    )
    return passkey


# --- sign-in ----------------------------------------------------------------------------------------------------------


async def begin_sign_in(tx: Tx, realm: Realm, *, party: RelyingParty, wall_now: datetime) -> Begun:
    """Ask whoever is there to sign with a passkey of this site."""
    challenge = await open_challenge(tx, Purpose.SIGN_IN, realm, holder_id=None, session_id=None, wall_now=wall_now)
    return _to_sign(party, challenge, [])


async def finish_sign_in(
    tx: Tx, challenge_id: UUID, response: bytes | str, *, realm: Realm, party: RelyingParty, wall_now: datetime
) -> Passkey:
    """The passkey that signed, and by it the holder, who has proved to be there in person.

    Refuses with `ChallengeSpent`, or with `PasskeyRefused` without a word about why.
    """
    challenge = await take_challenge(tx, challenge_id, Purpose.SIGN_IN, realm, session_id=None, wall_now=wall_now)
    assertion = read_assertion(response)
    found: UUID | None = await tx.value(sql.find_holder, credential_id=assertion.credential_id)
    if assertion.holder_handle is None:  # who asked for no name must be told one
        raise PasskeyRefused
    return await _check(tx, found or _STRANGER, realm, assertion, party, challenge.value, wall_now)


# --- in a session -----------------------------------------------------------------------------------------------------


async def begin_proof(tx: Tx, session: Session, *, party: RelyingParty, wall_now: datetime) -> Begun:
    """Ask who is signed in to prove that it is they. Refuses with `PasskeyUnknown` a holder without a passkey."""
    known = await _require_passkeys(tx, session)
    challenge = await open_challenge(
        tx, Purpose.PROOF, session.realm, holder_id=session.holder_id, session_id=session.id, wall_now=wall_now
    )
    return _to_sign(party, challenge, known)


async def finish_proof(
    tx: Tx, session: Session, challenge_id: UUID, response: bytes | str, *, party: RelyingParty, wall_now: datetime
) -> Session:
    """The session, fresh again. Refuses with `ChallengeSpent`, `PasskeyRefused` or `SessionEnded`."""
    challenge = await take_challenge(
        tx, challenge_id, Purpose.PROOF, session.realm, session_id=session.id, wall_now=wall_now
    )
    await _check(tx, session.holder_id, session.realm, read_assertion(response), party, challenge.value, wall_now)
    return await prove_session(tx, session, wall_now)


async def begin_confirmation(
    tx: Tx,
    session: Session,
    *,
    party: RelyingParty,
    merchant_id: UUID,
    payment_id: UUID,
    amount: Money,
    wall_now: datetime,
) -> Begun:
    """Ask a person to sign for one payment: this one, to this merchant, over this sum, in this session.

    Refuses with `PasskeyUnknown` a person without a passkey, who pays with the PIN.
    """
    if session.realm is not Realm.PERSON:
        raise ValueError("only people pay")
    known = await _require_passkeys(tx, session)
    challenge = await open_confirmation(
        tx, session, merchant_id=merchant_id, payment_id=payment_id, amount=amount, wall_now=wall_now
    )
    return _to_sign(party, challenge, known)


async def verify_confirmation(
    tx: Tx, session: Session, challenge_id: UUID, response: bytes | str, *, party: RelyingParty, wall_now: datetime
) -> UUID:
    """Hold a signature against its confirmation, once; the id with which `consume_confirmations` spends it.

    To be committed before the payment is confirmed: what is not marked here cannot be consumed. Refuses with
    `ChallengeSpent` or `PasskeyRefused`.
    """
    value = await mark_verified(tx, session, challenge_id, wall_now=wall_now)
    await _check(tx, session.holder_id, session.realm, read_assertion(response), party, value, wall_now)
    return challenge_id


# --- a holder's own list ----------------------------------------------------------------------------------------------


async def list_passkeys(tx: Tx, realm: Realm, holder_id: UUID) -> list[Passkey]:
    """A holder's passkeys, the oldest first."""
    return await tx.rows(Passkey, sql.list_passkeys, holder_id=holder_id, realm=realm)


async def list_passkey_holders(tx: Tx, realm: Realm, holder_ids: Sequence[UUID]) -> frozenset[UUID]:
    """Who of these holders has a passkey."""
    return frozenset(await tx.values(sql.list_passkey_holders, holder_ids=list(holder_ids), realm=realm))


async def rename_passkey(tx: Tx, realm: Realm, holder_id: UUID, passkey_id: UUID, name: str) -> None:
    """Give a passkey its holder's word for it. Refuses with `NameInvalid` or `PasskeyUnknown`."""
    name = name.strip()
    if not is_name(name):
        raise NameInvalid(name=name)
    if not await tx.run(sql.rename_passkey, holder_id=holder_id, id=passkey_id, realm=realm, name=name):
        raise PasskeyUnknown


async def remove_passkey(
    tx: Tx, realm: Realm, holder_id: UUID, passkey_id: UUID, *, has_other_way: bool = False
) -> None:
    """Take a passkey away; it signs nobody in any more, and the sessions it opened live on.

    Refuses with `LastPasskey` the last one, unless the holder has another way in (`has_other_way`: staff with a
    password); two that remove the last two at once leave one. Refuses with `PasskeyUnknown` what is not theirs.
    """
    held = await tx.values(sql.lock_passkeys, holder_id=holder_id, realm=realm)
    if passkey_id not in held:
        raise PasskeyUnknown
    if len(held) == 1 and not has_other_way:
        raise LastPasskey
    credential_id = await tx.value(sql.remove_passkey, holder_id=holder_id, id=passkey_id)
    await tx.run(sql.release_credential, credential_id=credential_id)


# --- inside -----------------------------------------------------------------------------------------------------------


async def _check(
    tx: Tx,
    holder_id: UUID,
    realm: Realm,
    assertion: Assertion,
    party: RelyingParty,
    challenge: bytes,
    wall_now: datetime,
) -> Passkey:
    """The holder's passkey that made this answer, its count moved on; everything else is `PasskeyRefused`.

    The row stays locked, so that two answers with one count cannot both be the first.
    """
    passkey = await tx.row(
        Passkey, sql.lock_passkey, holder_id=holder_id, realm=realm, credential_id=assertion.credential_id
    )
    signed = check_assertion(
        assertion,
        party=party,
        challenge=challenge,
        public_key=_STRANGERS_KEY if passkey is None else passkey.public_key,
        sign_count=0 if passkey is None else passkey.sign_count,
    )
    if passkey is None or assertion.holder_handle not in (None, passkey.holder_id.bytes):
        raise PasskeyRefused
    await tx.run(
        sql.use_passkey,
        holder_id=holder_id,
        id=passkey.id,
        sign_count=signed.sign_count,
        is_backed_up=signed.is_backed_up,
        wall_now=wall_now,
    )
    return msgspec.structs.replace(
        passkey, sign_count=signed.sign_count, is_backed_up=signed.is_backed_up, last_used_at=wall_now
    )


async def _require_passkeys(tx: Tx, session: Session) -> list[Passkey]:
    known = await list_passkeys(tx, session.realm, session.holder_id)
    if not known:
        raise PasskeyUnknown
    return known


def _to_sign(party: RelyingParty, challenge: Challenge, allowed: Sequence[Passkey]) -> Begun:
    options = ask_to_sign(party, challenge.value, allowed=_descriptors(allowed), lifetime=LIFETIME)
    return Begun(challenge_id=challenge.id, options=options)


def _descriptors(passkeys: Sequence[Passkey]) -> list[Descriptor]:
    return [Descriptor(credential_id=one.credential_id, transports=one.transports) for one in passkeys]
