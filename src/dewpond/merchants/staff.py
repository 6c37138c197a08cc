"""Staff: who works for whom, and what each role opens.

A member of staff signs in with a name that is unique in the world. At each merchant they have at most one role; the
operators of the world have the desk besides. A merchant that has an owner keeps one: `LastOwner`.

An account is somebody's own once a password or a passkey opens it. Until then whoever holds its link may become it (in
a sandbox everybody may), so it leads to no second place. Whatever makes an account somebody's own, or a link into it,
holds its row: one of two at once finds what the other did.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Final, NewType
from uuid import UUID

import msgspec

from dewpond.identity import NameInvalid, Realm, list_passkey_holders
from dewpond.kit.db import Tx, columns, queries
from dewpond.kit.failures import Failure, Kind
from dewpond.kit.ids import IdInvalid, from_text, new_id, to_text
from dewpond.kit.names import is_name
from dewpond.merchants.merchants import Merchant, MerchantId, MerchantNotFound

sql = queries(__file__)

StaffId = NewType("StaffId", UUID)

_SIGN_IN_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._@+-]{0,63}", re.ASCII)


class Role(StrEnum):
    """What a member of staff is at one merchant."""

    OWNER = "owner"
    CASHIER = "cashier"
    ANALYST = "analyst"


class Capability(StrEnum):
    """A part of a merchant's console: whoever's role has it sees its pages and may do what they offer."""

    TODAY = "today"
    PAYMENTS = "payments"
    REFUND = "refund"
    POOL = "pool"
    CODES = "codes"
    KEYS = "keys"
    DELIVERIES = "deliveries"
    STAFF = "staff"


CAPABILITIES: Final[Mapping[Role, frozenset[Capability]]] = {
    Role.OWNER: frozenset(Capability),
    Role.CASHIER: frozenset({Capability.TODAY, Capability.PAYMENTS, Capability.REFUND, Capability.CODES}),
    Role.ANALYST: frozenset({Capability.TODAY, Capability.PAYMENTS, Capability.POOL}),
}


class SignInNameInvalid(Failure):
    """A sign-in name has 1 to 64 small letters, digits or . _ - + @, and begins with a letter or a digit."""

    code, kind = "sign_in_name_invalid", Kind.INVALID


class SignInNameTaken(Failure):
    """Somebody signs in with that name already."""

    code, kind = "sign_in_name_taken", Kind.CONFLICT


class StaffMemberNotFound(Failure):
    """There is no such member of staff."""

    code, kind = "staff_member_not_found", Kind.NOT_FOUND


class RoleNotFound(Failure):
    """This member of staff has no role at that merchant."""

    code, kind = "role_not_found", Kind.NOT_FOUND


class WorksHere(Failure):
    """They work at that merchant already; change their role instead."""

    code, kind = "works_here", Kind.CONFLICT


class NotClaimed(Failure):
    """This account is nobody's own yet: whoever comes in by its link first would bring the merchant along."""

    code, kind = "not_claimed", Kind.CONFLICT


class LastOwner(Failure):
    """A merchant keeps at least one owner; make somebody else an owner first."""

    code, kind = "last_owner", Kind.CONFLICT


class LastOperator(Failure):
    """A world keeps at least one operator; invite another one first."""

    code, kind = "last_operator", Kind.CONFLICT


class StaffMember(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody who works at merchants, at the desk, or both."""

    id: StaffId
    #: Unique in the world, never given to anybody else again.
    sign_in_name: str
    name: str
    #: May do everything at the desk.
    is_operator: bool
    created_at: datetime
    #: From then on nothing opens for them.
    ended_at: datetime | None = None
    #: Who made the account; None from the terminal.
    invited_by: StaffId | None = None

    @property
    def text_id(self) -> str:
        return to_text("stf", self.id)


class _Given(msgspec.Struct, frozen=True, kw_only=True):
    """A role that somebody has now."""

    merchant_id: MerchantId
    staff_id: StaffId
    role: Role


class _Barred(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody wants to do at a merchant and may not."""

    staff_id: StaffId
    merchant_id: MerchantId
    capability: str


def plain_sign_in_name(text: str) -> str | None:
    """A sign-in name as it is kept, however its capitals were typed; None if it cannot be one."""
    plain = text.strip().lower()
    return plain if _SIGN_IN_NAME.fullmatch(plain) else None


# --- members ----------------------------------------------------------------------------------------------------------


async def create_staff_member(
    tx: Tx, sign_in_name: str, name: str, *, is_operator: bool = False, by: StaffId | None = None, wall_now: datetime
) -> StaffMember:
    """Enter a member of staff, who can come in once `invite` or `set_password` was called for them.

    `by` is who does it, None from the terminal: as a second pair of eyes an operator is no other than who let them in.
    Refuses with `SignInNameInvalid`, `SignInNameTaken` and `NameInvalid`. Nobody becomes an operator later.
    """
    plain, name = plain_sign_in_name(sign_in_name), name.strip()
    if plain is None:
        raise SignInNameInvalid(sign_in_name=sign_in_name)
    if not is_name(name):
        raise NameInvalid(name=name)
    member = StaffMember(
        id=StaffId(new_id()),
        sign_in_name=plain,
        name=name,
        is_operator=is_operator,
        created_at=wall_now,
        invited_by=by,
    )
    created = await tx.run(
        sql.create_staff_member,
        id=member.id,
        sign_in_name=plain,
        name=name,
        is_operator=is_operator,
        created_at=wall_now,
        invited_by=by,
    )
    if not created:
        raise SignInNameTaken(sign_in_name=plain)
    return member


async def list_staff_members(tx: Tx, ids: Sequence[UUID]) -> list[StaffMember]:
    """The members of staff with these ids, those that exist; also those whose time has ended."""
    return await tx.rows(StaffMember, sql.list_staff_members, ids=list(ids))


async def get_staff_member(tx: Tx, staff_id: UUID) -> StaffMember:
    """The member of staff, or `StaffMemberNotFound`; also one whose time has ended."""
    found = await list_staff_members(tx, [staff_id])
    if not found:
        raise StaffMemberNotFound(staff=to_text("stf", staff_id))
    return found[0]


async def find_staff_members(tx: Tx, text: str) -> list[StaffMember]:
    """Whoever signs in with this name or has this id (`stf_…`); otherwise everybody called so, the newest first."""
    try:
        return await list_staff_members(tx, [from_text("stf", text)])
    except IdInvalid:
        found = await tx.rows(
            StaffMember, sql.find_staff_members, sign_in_name=plain_sign_in_name(text) or "", name=text.strip()
        )
        return [one for one in found if one.sign_in_name == plain_sign_in_name(text)] or found


async def find_by_sign_in_name(tx: Tx, sign_in_name: str) -> StaffMember | None:
    """Whoever signs in, or once signed in, with exactly this name; also one whose time has ended."""
    plain = plain_sign_in_name(sign_in_name)
    return None if plain is None else await tx.row(StaffMember, sql.find_by_sign_in_name, sign_in_name=plain)


async def get_by_sign_in_name(tx: Tx, sign_in_name: str) -> StaffMember:
    """Whoever signs in with exactly this name and has not left, or `StaffMemberNotFound`."""
    member = await find_by_sign_in_name(tx, sign_in_name)
    if member is None or member.ended_at is not None:
        raise StaffMemberNotFound(staff=sign_in_name)
    return member


async def lock_staff_member(tx: Tx, staff_id: StaffId) -> StaffMember:
    """A member of staff whose account nobody else makes their own, and no link into it, until this transaction ends.

    Refuses with `StaffMemberNotFound`, also where somebody's time has ended.
    """
    member = await tx.row(StaffMember, sql.lock_staff_member, id=staff_id)
    if member is None:
        raise StaffMemberNotFound(staff=to_text("stf", staff_id))
    return member


async def list_claimed(tx: Tx, staff_ids: Collection[StaffId]) -> frozenset[StaffId]:
    """Whose accounts among these are somebody's own: a password or a passkey opens them."""
    ids = list(staff_ids)
    with_passkey = await list_passkey_holders(tx, Realm.STAFF, ids)
    return frozenset(await tx.values(sql.list_with_password, ids=ids)) | {StaffId(one) for one in with_passkey}


async def newest_staff_members(tx: Tx, *, most: int = 100) -> list[StaffMember]:
    """Everybody who works here now, the newest first."""
    return await tx.rows(StaffMember, sql.newest_staff_members, most=most)


async def has_staff(tx: Tx) -> bool:
    """Whether anybody ever worked here, also somebody whose time has ended."""
    return bool(await tx.value(sql.has_staff))


async def list_operators(tx: Tx) -> list[StaffMember]:
    """The operators of this world, the oldest first."""
    return await tx.rows(StaffMember, sql.list_operators)


async def end_staff_member(tx: Tx, staff_id: StaffId, *, by: StaffId | None = None, wall_now: datetime) -> None:
    """Let nothing open for them any more, at any merchant; again is no change. The last owner goes as well.

    Their sessions are identity's to end; who looks a visitor up must look at `ended_at` too.
    """
    await get_staff_member(tx, staff_id)
    await tx.run(sql.end_staff_member, id=staff_id, ended_at=wall_now)
    await tx.run(sql.end_roles_of, staff_id=staff_id, ended_at=wall_now, ended_by=by)


async def end_operator(tx: Tx, staff_id: StaffId, *, by: StaffId, wall_now: datetime) -> None:
    """As `end_staff_member`, for an operator and by another: the last one stays, also where two end each other at once.

    Refuses with `StaffMemberNotFound`, also where their time has ended, and with `LastOperator`.
    """
    present = await tx.values(sql.lock_operators)
    if staff_id not in present:
        raise StaffMemberNotFound(staff=to_text("stf", staff_id))
    if present == [staff_id]:
        raise LastOperator(staff=to_text("stf", staff_id))
    if by not in present:
        raise StaffMemberNotFound(staff=to_text("stf", by))
    await end_staff_member(tx, staff_id, by=by, wall_now=wall_now)


# --- roles ------------------------------------------------------------------------------------------------------------


async def give_role(
    tx: Tx, merchant_id: MerchantId, staff_id: StaffId, role: Role, *, by: StaffId | None = None, wall_now: datetime
) -> None:
    """Make `role` what this member of staff is at this merchant, in place of what they were; again is no change.

    `by` is who does it, None from the terminal. Refuses with `MerchantNotFound`, `StaffMemberNotFound` (also where
    their time has ended), and with `LastOwner` to make something less of the only owner.
    """
    given = await _lock_roles(tx, merchant_id)
    await _require_present(tx, staff_id)
    await _write_role(tx, given, merchant_id, staff_id, role, by=by, wall_now=wall_now)


async def add_role(
    tx: Tx, merchant_id: MerchantId, staff_id: StaffId, role: Role, *, by: StaffId | None = None, wall_now: datetime
) -> None:
    """Let somebody whose account is their own work at one merchant more.

    Refuses with `MerchantNotFound`, `StaffMemberNotFound`, `WorksHere`, and `NotClaimed`.
    """
    given = await _lock_roles(tx, merchant_id)
    if staff_id in given:
        raise WorksHere(staff=to_text("stf", staff_id))
    await _require_present(tx, staff_id)
    if not await list_claimed(tx, [staff_id]):
        raise NotClaimed(staff=to_text("stf", staff_id))
    await _write_role(tx, given, merchant_id, staff_id, role, by=by, wall_now=wall_now)


async def change_role(
    tx: Tx, merchant_id: MerchantId, staff_id: StaffId, role: Role, *, by: StaffId | None = None, wall_now: datetime
) -> Role:
    """Make somebody who works at a merchant something else there; what they were until now. The same is no change.

    Refuses with `MerchantNotFound`, `LastOwner`, and `RoleNotFound`: a role that another takes away at the same moment
    does not come back by this.
    """
    given = await _lock_roles(tx, merchant_id)
    if staff_id not in given:
        raise RoleNotFound(staff=to_text("stf", staff_id))
    await _require_present(tx, staff_id)
    await _write_role(tx, given, merchant_id, staff_id, role, by=by, wall_now=wall_now)
    return given[staff_id]


async def end_role(
    tx: Tx, merchant_id: MerchantId, staff_id: StaffId, *, by: StaffId | None = None, wall_now: datetime
) -> None:
    """Take away what this member of staff may do at this merchant; what they are elsewhere stays.

    Refuses with `MerchantNotFound`, `RoleNotFound` and `LastOwner`.
    """
    given = await _lock_roles(tx, merchant_id)
    if staff_id not in given:
        raise RoleNotFound(staff=to_text("stf", staff_id))
    _refuse_last_owner(given, staff_id)
    await tx.run(sql.end_role, merchant_id=merchant_id, staff_id=staff_id, ended_at=wall_now, ended_by=by)


async def role_of(tx: Tx, staff_id: UUID, merchant_id: UUID) -> Role | None:
    """What somebody is at a merchant now; None if nothing, or if their time here has ended."""
    role = await tx.value(sql.role_of, staff_id=staff_id, merchant_id=merchant_id)
    return None if role is None else Role(role)


async def barred_among(tx: Tx, wanted: Collection[tuple[UUID, UUID, str]]) -> set[tuple[UUID, UUID, str]]:
    """Of members of staff, each with a merchant and what they want to do there: those whose role now has it not."""
    if not wanted:
        return set()
    staff_ids, merchant_ids, capabilities = columns(list(wanted), 3)
    having, had = columns([(role, can) for role, capabilities in CAPABILITIES.items() for can in capabilities], 2)
    barred = await tx.rows(
        _Barred,
        sql.barred_among,
        staff_ids=staff_ids,
        merchant_ids=merchant_ids,
        capabilities=capabilities,
        having=having,
        had=had,
    )
    return {(one.staff_id, one.merchant_id, one.capability) for one in barred}


async def roles_of(tx: Tx, staff_id: StaffId) -> list[tuple[Merchant, Role]]:
    """Where somebody works and as what, by the merchants' names."""
    return (await list_roles_of(tx, [staff_id]))[staff_id]


async def list_roles_of(tx: Tx, staff_ids: Collection[StaffId]) -> dict[StaffId, list[tuple[Merchant, Role]]]:
    """The same for each of these, also for who works nowhere."""
    given = await tx.rows(_Given, sql.list_roles_of, staff_ids=list(staff_ids))
    found = await tx.rows(Merchant, sql.list_merchants_of, ids=list({one.merchant_id for one in given}))
    roles = {(one.staff_id, one.merchant_id): one.role for one in given}
    return {
        staff_id: [(place, roles[staff_id, place.id]) for place in found if (staff_id, place.id) in roles]
        for staff_id in staff_ids
    }


async def list_staff(tx: Tx, merchant_id: MerchantId) -> list[tuple[StaffMember, Role]]:
    """Who works at a merchant now and as what: owners, cashiers, analysts, each by name."""
    given = await tx.rows(_Given, sql.list_roles, merchant_id=merchant_id)
    roles = {one.staff_id: one.role for one in given}
    members = await list_staff_members(tx, list(roles))
    order = list(Role)
    members.sort(key=lambda member: (order.index(roles[member.id]), member.name, member.id))
    return [(member, roles[member.id]) for member in members]


async def _lock_roles(tx: Tx, merchant_id: MerchantId) -> dict[StaffId, Role]:
    """Who is what at a merchant, until the end of this transaction: all changes of a merchant's roles take turns."""
    if not await tx.value(sql.lock_merchant, id=merchant_id):
        raise MerchantNotFound(merchant=to_text("mch", merchant_id))
    return {one.staff_id: one.role for one in await tx.rows(_Given, sql.list_roles, merchant_id=merchant_id)}


async def _require_present(tx: Tx, staff_id: StaffId) -> None:
    """Their time does not end before this transaction does; nor does their account become anybody's own."""
    if not await tx.value(sql.lock_present_member, id=staff_id):
        raise StaffMemberNotFound(staff=to_text("stf", staff_id))


async def _write_role(
    tx: Tx,
    given: Mapping[StaffId, Role],
    merchant_id: MerchantId,
    staff_id: StaffId,
    role: Role,
    *,
    by: StaffId | None,
    wall_now: datetime,
) -> None:
    """Put a role in place of the one in `given`, which the caller has locked."""
    if given.get(staff_id) is role:
        return
    if staff_id in given:
        if role is not Role.OWNER:
            _refuse_last_owner(given, staff_id)
        await tx.run(sql.end_role, merchant_id=merchant_id, staff_id=staff_id, ended_at=wall_now, ended_by=by)
    await tx.run(
        sql.give_role,
        id=new_id(),
        merchant_id=merchant_id,
        staff_id=staff_id,
        role=role,
        given_at=wall_now,
        given_by=by,
    )


def _refuse_last_owner(given: Mapping[StaffId, Role], staff_id: StaffId) -> None:
    if [one for one, role in given.items() if role is Role.OWNER] == [staff_id]:
        raise LastOwner(staff=to_text("stf", staff_id))
