"""Sign-in of staff: by name and password, by passkey, by invitation; in a sandbox by one tap.

One sign-in leads to every shop somebody works for, and to the desk where they are an operator.
"""

from datetime import datetime
from typing import Any, Final

import msgspec
from litestar import Request, Response, get, post
from litestar.params import FromPath
from litestar.response import Redirect

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
from dewpond.web.failures import AccessCodeWrong, NoPasskeyGiven, PasswordsDiffer, patience, sentence, status_of
from dewpond.web.needs import Needs, needs
from dewpond.web.pages import go, page, safe_path
from dewpond.web.phone.sign_in import PasskeyAnswer, asked, guest_of, wanted
from dewpond.web.sites import form, site_of, visitor_of
from dewpond.web.visitors import address_of

#: How many members of staff a sandbox offers to be.
_DOORS: Final = 8


class _Password(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    sign_in_name: str
    password: str
    next: str = "/"


class _Passkey(PasskeyAnswer, frozen=True, forbid_unknown_fields=True):
    next: str = "/"


class _Tap(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    member: str
    access_code: str = ""
    next: str = "/"


class _Next(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    next: str = "/"


class _NewPassword(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    password: str
    again: str


class DoorOfTheSandbox(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody a visitor of a sandbox may be with one tap."""

    member: StaffMember
    works_for: tuple[tuple[Merchant, Role], ...]


async def welcome(
    request: Request[Any, Any, Any],
    tx: Tx,
    staff_id: StaffId,
    path: str,
    *,
    how: How,
    wall_now: datetime,
) -> Redirect:
    """Sign a member of staff in and lead on to `path`; the session this browser had before is over."""
    site, before = site_of(request), guest_of(request)
    if before is not None:
        await identity.end_session(tx, Realm.STAFF, before.session.holder_id, before.session.id, wall_now=wall_now)
    is_proven = how is not How.ONE_TAP
    cookie = await site.visitors.sign_in(tx, request, staff_id, how=how, wall_now=wall_now, is_proven=is_proven)
    answer = go(path)
    answer.set_cookie(cookie)
    return answer


@get("/sign-in", opt=needs(Needs.NOBODY))
async def sign_in(request: Request[Any, Any, Any]) -> Response[Any]:
    """The ways in; who is in already goes on."""
    next_ = wanted(request)
    return go(next_) if guest_of(request) else await _ways_in(request, next_)


@post("/sign-in", status_code=303, opt=needs(Needs.NOBODY))
async def sign_in_by_password(request: Request[Any, Any, Any]) -> Response[Any]:
    """Sign in by name and password; the try is counted before it is compared."""
    given: _Password = await form(request, _Password)
    site, wall, next_ = site_of(request), clock.wall_now(), safe_path(given.next)
    house = site.house
    await budgets.spend_of_address(request, budgets.PASSWORDS)
    try:
        member = await merchants.check_password(
            house.db, given.sign_in_name, given.password, secrets=house.secrets, wall_now=wall
        )
    except (SignInRefused, SignInLocked) as refusal:
        return await _ways_in(request, next_, refusal, sign_in_name=given.sign_in_name)
    async with house.db.transaction() as tx:
        return await welcome(request, tx, member.id, next_, how=How.PASSWORD, wall_now=wall)


@post("/sign-in/passkey/challenge", status_code=200, opt=needs(Needs.NOBODY))
async def ask_to_sign_in(request: Request[Any, Any, Any]) -> Response[Any]:
    """A question to whatever passkey is at hand; no name is asked."""
    await form(request, _Next)
    await budgets.spend_of_address(request, budgets.CHALLENGES)
    site = site_of(request)
    async with site.house.db.transaction() as tx:
        begun = await identity.begin_sign_in(tx, Realm.STAFF, party=site.party, wall_now=clock.wall_now())
    return asked(begun)


@post("/sign-in/passkey", status_code=303, opt=needs(Needs.NOBODY))
async def sign_in_by_passkey(request: Request[Any, Any, Any]) -> Response[Any]:
    """Sign in whoever holds the passkey, as long as they work here."""
    answer: _Passkey = await form(request, _Passkey)
    site, wall, next_ = site_of(request), clock.wall_now(), safe_path(answer.next)
    try:
        challenge_id, response = answer.given()
        async with site.house.db.transaction() as tx:
            passkey = await identity.finish_sign_in(
                tx, challenge_id, response, realm=Realm.STAFF, party=site.party, wall_now=wall
            )
            member = await merchants.get_staff_member(tx, passkey.holder_id)
            if member.ended_at is not None:
                raise PasskeyRefused
            return await welcome(request, tx, member.id, next_, how=How.PASSKEY, wall_now=wall)
    except (NoPasskeyGiven, ChallengeSpent, PasskeyRefused) as refusal:
        return await _ways_in(request, next_, refusal)


@post("/sign-in/one-tap", status_code=303, opt=needs(Needs.NOBODY))
async def sign_in_by_one_tap(request: Request[Any, Any, Any]) -> Response[Any]:
    """Be one of a sandbox's staff whom nobody has made their own: no password, no passkey."""
    tap: _Tap = await form(request, _Tap)
    site, wall, next_ = site_of(request), clock.wall_now(), safe_path(tap.next)
    try:
        async with site.house.db.transaction() as tx:
            await worlds.require_sandbox(tx)
        await budgets.check_access_code(request, tap.access_code)
        async with site.house.db.transaction() as tx:
            member = await merchants.lock_staff_member(tx, StaffId(from_text("stf", tap.member)))
            if await merchants.list_claimed(tx, [member.id]):
                raise StaffMemberNotFound(staff=tap.member)
            return await welcome(request, tx, member.id, next_, how=How.ONE_TAP, wall_now=wall)
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
    said = "" if refusal is None else sentence(refusal)
    is_of_code = isinstance(refusal, AccessCodeWrong | TooManyTries)
    answer = page(
        request,
        "staff/sign_in.html",
        status=200 if refusal is None else status_of(refusal),
        next=next_,
        doors=doors,
        asks_code=bool(site.house.settings.access_code),
        sign_in_name=sign_in_name,
        problem="" if is_of_code else said,
        code_problem=said if is_of_code else "",
    )
    answer.headers |= patience(refusal)
    return answer


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
            return await welcome(request, tx, member.id, "/", how=How.INVITATION, wall_now=wall)
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


@post("/sign-out", status_code=303, opt=needs(Needs.STAFF))
async def sign_out(request: Request[Any, Any, Any]) -> Redirect:
    """End this browser's session, at once and everywhere it may have been copied to."""
    site, session = site_of(request), visitor_of(request).session
    async with site.house.db.transaction() as tx:
        await identity.end_session(tx, Realm.STAFF, session.holder_id, session.id, wall_now=clock.wall_now())
    answer = go("/sign-in", said="signed-out")
    site.visitors.forget(answer)
    return answer


ROUTES = [
    sign_in,
    sign_in_by_password,
    ask_to_sign_in,
    sign_in_by_passkey,
    sign_in_by_one_tap,
    invitation,
    accept_invitation,
    sign_out,
]
