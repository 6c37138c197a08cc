"""Sign-in of staff: by name and password, by passkey, by invitation; in a sandbox by one tap.

One sign-in leads to every shop somebody works for, and to the desk where they are an operator.
"""

from typing import Any, Final

import msgspec
from litestar import Request, Response, get, post
from litestar.params import FromPath

from dewpond import identity, merchants
from dewpond.identity import ChallengeSpent, How, PasskeyRefused, Realm
from dewpond.kit import clock, worlds
from dewpond.kit.budgets import TooManyTries
from dewpond.kit.db import Tx
from dewpond.kit.failures import Failure
from dewpond.kit.ids import from_text
from dewpond.merchants import (
    Deed,
    Merchant,
    PasswordWeak,
    Role,
    SignInLocked,
    SignInRefused,
    StaffId,
    StaffMember,
    StaffMemberNotFound,
)
from dewpond.web import budgets
from dewpond.web.ceremonies import OnwardAnswer
from dewpond.web.entrance import holder_of, pass_one_tap_door, ways_in, welcome
from dewpond.web.failures import AccessCodeWrong, NoPasskeyGiven, PasswordsDiffer, sentence, status_of
from dewpond.web.forms import form
from dewpond.web.needs import Needs, needs
from dewpond.web.pages import go, page, safe_path, wanted
from dewpond.web.sites import guest_of, site_of
from dewpond.web.visitors import address_of

#: How many members of staff a sandbox offers to be.
_DOORS: Final = 8


class _Password(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    sign_in_name: str
    password: str
    next: str = "/"


class _Tap(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    member: str
    access_code: str = ""
    next: str = "/"


class _NewPassword(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    password: str
    again: str


class DoorOfTheSandbox(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody a visitor of a sandbox may be with one tap."""

    member: StaffMember
    works_for: tuple[tuple[Merchant, Role], ...]


@get("/sign-in", opt=needs(Needs.NOBODY))
async def sign_in(request: Request[Any, Any, Any]) -> Response[Any]:
    """The ways in; who is in already goes on."""
    next_ = wanted(request)
    return go(next_) if guest_of(request) else await _ways_in(request, next_)


@post("/sign-in", status_code=303, opt=needs(Needs.NOBODY))
async def sign_in_by_password(request: Request[Any, Any, Any]) -> Response[Any]:
    """Sign in by name and password; the try is counted before it is compared."""
    given: _Password = await form(request, _Password)
    house, wall, next_ = site_of(request).house, clock.wall_now(), safe_path(given.next)
    await budgets.spend_of_address(request, budgets.PASSWORDS)
    try:
        member = await merchants.check_password(
            house.db, given.sign_in_name, given.password, secrets=house.secrets, wall_now=wall
        )
    except (SignInRefused, SignInLocked) as refusal:
        return await _ways_in(request, next_, refusal, sign_in_name=given.sign_in_name)
    async with house.db.transaction() as tx:
        return await welcome(request, tx, member.id, next_, how=How.PASSWORD, is_proven=True, wall_now=wall)


@post("/sign-in/passkey", status_code=303, opt=needs(Needs.NOBODY))
async def sign_in_by_passkey(request: Request[Any, Any, Any]) -> Response[Any]:
    """Sign in whoever holds the passkey, as long as they work here."""
    answer: OnwardAnswer = await form(request, OnwardAnswer)
    wall, next_ = clock.wall_now(), safe_path(answer.next)
    try:
        async with site_of(request).house.db.transaction() as tx:
            holder = await holder_of(request, tx, answer, wall_now=wall)
            member = await merchants.get_staff_member(tx, StaffId(holder))
            if member.ended_at is not None:
                raise PasskeyRefused
            return await welcome(request, tx, member.id, next_, how=How.PASSKEY, is_proven=True, wall_now=wall)
    except (NoPasskeyGiven, ChallengeSpent, PasskeyRefused) as refusal:
        return await _ways_in(request, next_, refusal)


@post("/sign-in/one-tap", status_code=303, opt=needs(Needs.NOBODY))
async def sign_in_by_one_tap(request: Request[Any, Any, Any]) -> Response[Any]:
    """Be one of a sandbox's staff whom nobody has made their own: no password, no passkey."""
    tap: _Tap = await form(request, _Tap)
    wall, next_ = clock.wall_now(), safe_path(tap.next)
    try:
        await pass_one_tap_door(request, tap.access_code)
        async with site_of(request).house.db.transaction() as tx:
            member = await merchants.lock_staff_member(tx, StaffId(from_text("stf", tap.member)))
            if await merchants.list_claimed(tx, [member.id]):
                raise StaffMemberNotFound(staff=tap.member)
            return await welcome(request, tx, member.id, next_, how=How.ONE_TAP, is_proven=False, wall_now=wall)
    except (AccessCodeWrong, TooManyTries) as refusal:
        return await _ways_in(request, next_, refusal)


async def _list_doors(tx: Tx) -> list[DoorOfTheSandbox]:
    """Whom nobody has made their own, of the newest; operators first."""
    members = await merchants.newest_staff_members(tx, most=_DOORS)
    claimed = await merchants.list_claimed(tx, [member.id for member in members])
    members = [member for member in members if member.id not in claimed]
    works_for = await merchants.list_roles_of(tx, [member.id for member in members])
    return [
        DoorOfTheSandbox(member=member, works_for=tuple(works_for[member.id]))
        for member in sorted(members, key=lambda member: (not member.is_operator, member.created_at))
    ]


async def _ways_in(
    request: Request[Any, Any, Any], next_: str, refusal: Failure | None = None, *, sign_in_name: str = ""
) -> Response[str]:
    """The page, with what went wrong where it belongs."""
    site = site_of(request)
    doors: list[DoorOfTheSandbox] = []
    if site.is_sandbox:
        async with site.house.db.transaction() as tx:
            doors = await _list_doors(tx)
    return ways_in(request, "staff/sign_in.html", next_, refusal, doors=doors, sign_in_name=sign_in_name)


# --- invitations ------------------------------------------------------------------------------------------------------


@get("/invitations/{token:str}", opt=needs(Needs.NOBODY))
async def invitation(request: Request[Any, Any, Any], token: FromPath[str]) -> Response[str]:
    """Choose a password, once; looking at the link does not use it up."""
    return await _invitation(request, token)


@post("/invitations/{token:str}", status_code=303, opt=needs(Needs.NOBODY))
async def accept_invitation(request: Request[Any, Any, Any], token: FromPath[str]) -> Response[Any]:
    """Take the chosen password, use the link up, and come in."""
    given: _NewPassword = await form(request, _NewPassword)
    try:
        if given.password != given.again:
            raise PasswordsDiffer
        hashed = await merchants.hash_password(given.password, await _invited(request, token))
        async with site_of(request).house.db.transaction() as tx:
            now = await worlds.read_clocks(tx)
            wall = now.wall
            member = await merchants.redeem_invitation(tx, token, wall_now=wall)
            await merchants.set_password(tx, member.id, hashed, wall_now=wall)
            await identity.end_all_sessions(tx, Realm.STAFF, member.id, wall_now=wall)
            by, address = member.id, address_of(request)
            await merchants.record_act(tx, Deed.CAME_IN, by=by, subject=member.text_id, address=address, now=now)
            return await welcome(request, tx, member.id, "/", how=How.INVITATION, is_proven=True, wall_now=wall)
    except (PasswordWeak, PasswordsDiffer) as refusal:
        return await _invitation(request, token, refusal)


async def _invited(request: Request[Any, Any, Any], token: str) -> StaffMember:
    """Whom a link would let in, or `InvitationSpent`."""
    async with site_of(request).house.db.transaction() as tx:
        member = await merchants.find_invited(tx, token, wall_now=clock.wall_now())
    if member is None:
        raise merchants.InvitationSpent
    return member


async def _invitation(request: Request[Any, Any, Any], token: str, refusal: Failure | None = None) -> Response[str]:
    member = await _invited(request, token)
    problem = "" if refusal is None else sentence(refusal)
    status = 200 if refusal is None else status_of(refusal)
    return page(request, "staff/invitation.html", status=status, member=member, problem=problem)


ROUTES = [sign_in, sign_in_by_password, sign_in_by_passkey, sign_in_by_one_tap, invitation, accept_invitation]
