"""Invitations: a link that lets a member of staff in once, to set a password or add a passkey."""

import base64
import hashlib
import secrets as random
from datetime import datetime, timedelta
from typing import Final

from dewpond.kit.db import Tx, queries
from dewpond.kit.failures import Failure, Kind
from dewpond.merchants.staff import StaffId, StaffMember, StaffMemberNotFound, get_staff_member

sql = queries(__file__)

#: How long a link is good, in wall time.
INVITATION_LIFETIME: Final = timedelta(hours=72)


class InvitationSpent(Failure):
    """This invitation was used, replaced by a newer one, or is too old; ask for another."""

    code, kind = "invitation_spent", Kind.NOT_FOUND


async def invite(tx: Tx, staff_id: StaffId, *, wall_now: datetime) -> str:
    """A token that lets this member of staff in once within 72 hours; earlier ones lead nowhere from now on.

    It is shown once and not kept: the database knows only its hash. Refuses with `StaffMemberNotFound`, also where
    somebody's time has ended.
    """
    member = await get_staff_member(tx, staff_id)
    if member.ended_at is not None:
        raise StaffMemberNotFound(staff=member.text_id)
    token = base64.urlsafe_b64encode(random.token_bytes(32)).rstrip(b"=").decode()
    await tx.run(
        sql.invite,
        staff_id=staff_id,
        token_hash=_hash(token),
        created_at=wall_now,
        expires_at=wall_now + INVITATION_LIFETIME,
    )
    return token


async def find_invited(tx: Tx, token: str, *, wall_now: datetime) -> StaffMember | None:
    """Whom a link would let in, without using it up: programs that look at links beforehand do no harm."""
    return await tx.row(StaffMember, sql.find_invited, token_hash=_hash(token), wall_now=wall_now)


async def redeem_invitation(tx: Tx, token: str, *, wall_now: datetime) -> StaffMember:
    """Use a link up and say whom it lets in; `InvitationSpent` every time but the first.

    To be called in the transaction that sets the password or adds the passkey: where that is refused the link stays.
    """
    staff_id = await tx.value(sql.redeem, token_hash=_hash(token), wall_now=wall_now)
    member = None if staff_id is None else await get_staff_member(tx, staff_id)
    if member is None or member.ended_at is not None:
        raise InvitationSpent
    return member


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
