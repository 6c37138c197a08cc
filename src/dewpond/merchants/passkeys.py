"""Passkeys of staff: identity keeps them; what a new one means for the account is said here."""

from datetime import datetime
from uuid import UUID

from dewpond import identity
from dewpond.identity import Passkey, Realm, RelyingParty, Session
from dewpond.kit.db import Tx
from dewpond.merchants.invitations import void_invitation
from dewpond.merchants.staff import StaffId, list_claimed, lock_staff_member


async def add_passkey(
    tx: Tx,
    session: Session,
    challenge_id: UUID,
    response: bytes | str,
    *,
    party: RelyingParty,
    device: str,
    wall_now: datetime,
) -> Passkey:
    """Keep the passkey that a member of staff has made in this session; with it they have proved that it is they.

    A link into the account that is still open leads nowhere any more. If it was nobody's own until now, everybody else
    is signed out of it. Refuses as `identity.finish_registration` does, with `StaffMemberNotFound`, and with
    `SessionEnded` where somebody else has made the account their own in the meantime.
    """
    staff_id = StaffId(session.holder_id)
    await lock_staff_member(tx, staff_id)
    is_first = not await list_claimed(tx, [staff_id])
    await void_invitation(tx, staff_id)
    passkey = await identity.finish_registration(
        tx,
        challenge_id,
        response,
        realm=Realm.STAFF,
        party=party,
        session_id=session.id,
        device=device,
        wall_now=wall_now,
    )
    await identity.prove_session(tx, session, wall_now)
    if is_first:
        await identity.end_other_sessions(tx, session, wall_now=wall_now)
    return passkey
