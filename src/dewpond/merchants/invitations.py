"""Invitations: a link that lets a member of staff in once, to set a password; and who let whom in.

Whoever makes a link may use it. So nobody but the terminal makes one into an account that is somebody's own, and with
every new password or passkey of an account the link that may still be open leads nowhere.
"""

import base64
import hashlib
import secrets as random
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

import msgspec

from dewpond.kit.db import Tx, queries
from dewpond.kit.failures import Failure, Kind
from dewpond.merchants.merchants import MerchantId
from dewpond.merchants.staff import (
    RoleNotFound,
    StaffId,
    StaffMember,
    list_claimed,
    lock_staff_member,
    roles_of,
)

sql = queries(__file__)

#: How long a link is good, in wall time.
INVITATION_LIFETIME: Final = timedelta(hours=72)


class InvitationSpent(Failure):
    """This invitation was used, replaced by a newer one, or is too old; ask for another."""

    code, kind = "invitation_spent", Kind.NOT_FOUND


class CameInBefore(Failure):
    """They have a password or a passkey, or work elsewhere too: a new link could let somebody else in as them."""

    code, kind = "came_in_before", Kind.CONFLICT


class Arrival(msgspec.Struct, frozen=True, kw_only=True):
    """How somebody came to work here."""

    staff_id: StaffId
    #: Who made the account; None from the terminal.
    invited_by: StaffId | None
    #: The last member of staff who made a link into it; None where none did.
    let_in_by: StaffId | None
    #: When it was first used by its link, else when it was made; wall time.
    since: datetime


async def invite(tx: Tx, staff_id: StaffId, *, by: StaffId | None = None, wall_now: datetime) -> str:
    """A token that lets this member of staff in once within 72 hours; earlier ones lead nowhere from now on.

    `by` is who asks for it, None from the terminal. It is shown once and not kept: the database knows only its hash.
    Also for who has lost the way in: their password and passkeys are as good as before until the link is used.
    Refuses with `StaffMemberNotFound`, also where somebody's time has ended.
    """
    await lock_staff_member(tx, staff_id)
    token = base64.urlsafe_b64encode(random.token_bytes(32)).rstrip(b"=").decode()
    await tx.run(
        sql.invite,
        staff_id=staff_id,
        token_hash=_hash(token),
        created_at=wall_now,
        expires_at=wall_now + INVITATION_LIFETIME,
        invited_by=by,
    )
    return token


async def invite_newcomer(
    tx: Tx, staff_id: StaffId, *, by: StaffId, at: MerchantId | None = None, wall_now: datetime
) -> str:
    """As `invite`, for an account that is nobody's own yet: what a colleague may ask for, as often as they like.

    `at` is the merchant in whose name they ask, None for the desk. Refuses with `StaffMemberNotFound`, with
    `RoleNotFound` who does not work there, and with `CameInBefore` where the link would lead into what is not theirs to
    give: an account of somebody's own, or one that opens the desk or another merchant's console as well.
    """
    member = await lock_staff_member(tx, staff_id)
    if at is not None:
        places = {merchant.id for merchant, _ in await roles_of(tx, staff_id)}
        if at not in places:
            raise RoleNotFound(staff=member.text_id)
        if member.is_operator or places != {at}:
            raise CameInBefore(staff=member.text_id)
    if await list_claimed(tx, [staff_id]):
        raise CameInBefore(staff=member.text_id)
    return await invite(tx, staff_id, by=by, wall_now=wall_now)


async def find_invited(tx: Tx, token: str, *, wall_now: datetime) -> StaffMember | None:
    """Whom a link would let in, without using it up: programs that look at links beforehand do no harm."""
    return await tx.row(StaffMember, sql.find_invited, token_hash=_hash(token), wall_now=wall_now)


async def redeem_invitation(tx: Tx, token: str, *, wall_now: datetime) -> StaffMember:
    """Use a link up and say whom it lets in; `InvitationSpent` every time but the first.

    To be called in the transaction that sets the password: where that is refused the link stays.
    """
    token_hash = _hash(token)
    member = await tx.row(StaffMember, sql.lock_invited, token_hash=token_hash)
    if member is None or not await tx.run(sql.redeem, token_hash=token_hash, wall_now=wall_now):
        raise InvitationSpent
    return member


async def void_invitation(tx: Tx, staff_id: StaffId) -> None:
    """Let a link into this account that is still open lead nowhere: it has become somebody's own, or is so anew."""
    await tx.run(sql.void_invitation, staff_id=staff_id)


async def list_arrivals(tx: Tx, staff_ids: Sequence[StaffId]) -> list[Arrival]:
    """How each of these came here, in no order."""
    return await tx.rows(Arrival, sql.list_arrivals, ids=list(staff_ids))


async def list_kin(tx: Tx, staff_id: StaffId) -> frozenset[StaffId]:
    """All operators who share a root with this one, themselves included, also those whose time has ended.

    Who lets somebody in holds the link, and may have used it; so may whoever let *them* in. The root is where such a
    chain of accounts and links ends: whoever came from the terminal is their own. Behind all that hang on one root may
    be one hand. Where two let somebody in, one by the account and one by a later link, there are two roots, and that
    account is kin to the operators of both; they do not become kin by it.
    """
    return frozenset(await tx.values(sql.list_kin, staff_id=staff_id))


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
