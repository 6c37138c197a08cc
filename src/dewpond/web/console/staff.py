"""Staff of a shop: who works here and as what; inviting somebody, changing a role, taking it away.

Whoever changes any of it shows first that it is they: a browser left open at a counter must not make owners.
"""

from typing import Any

import msgspec
from litestar import Request, Response, get, post
from litestar.params import FromPath

from dewpond import merchants
from dewpond.identity import NameInvalid
from dewpond.kit import worlds
from dewpond.kit.clock import Now
from dewpond.kit.db import Tx
from dewpond.kit.failures import Failure
from dewpond.kit.ids import IdInvalid, from_text, to_text
from dewpond.merchants import (
    CameInBefore,
    Capability,
    Deed,
    LastOwner,
    Merchant,
    NotClaimed,
    Role,
    SignInNameInvalid,
    SignInNameTaken,
    StaffId,
    StaffMember,
    StaffMemberNotFound,
    WorksHere,
)
from dewpond.web.acts import note_act
from dewpond.web.console.proofs import Provable, proof_first
from dewpond.web.console.shops import shop_page
from dewpond.web.failures import sentence, status_of
from dewpond.web.forms import form
from dewpond.web.needs import needs
from dewpond.web.pages import go
from dewpond.web.qr import qr_picture
from dewpond.web.sites import merchant_of, site_of, visitor_of
from dewpond.web.words import gettext


class _Newcomer(Provable, frozen=True, kw_only=True, forbid_unknown_fields=True):
    sign_in_name: str
    name: str
    role: Role


class _Known(Provable, frozen=True, kw_only=True, forbid_unknown_fields=True):
    sign_in_name: str
    role: Role


class _Role(Provable, frozen=True, kw_only=True, forbid_unknown_fields=True):
    role: Role


class _Nothing(Provable, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class Colleague(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody who works here, as a row shows them."""

    member: StaffMember
    role: Role
    #: Whether the account is their own by now: it has a password or a passkey.
    has_come: bool


@get("/m/{mchid:str}/staff", opt=needs(Capability.STAFF))
async def staff(request: Request[Any, Any, Any]) -> Response[str]:
    """Who works here."""
    return await _staff(request)


async def _staff(
    request: Request[Any, Any, Any],
    refusal: Failure | None = None,
    given: _Newcomer | _Known | None = None,
    *,
    link: str = "",
    invited: str = "",
) -> Response[str]:
    async with site_of(request).house.db.transaction() as tx:
        present = await merchants.list_staff(tx, merchant_of(request).id)
        claimed = await merchants.list_claimed(tx, [member.id for member, _ in present])
    colleagues = [Colleague(member=member, role=role, has_come=member.id in claimed) for member, role in present]
    said = "" if refusal is None else sentence(refusal)
    return shop_page(
        request,
        "console/staff.html",
        status=200 if refusal is None else status_of(refusal),
        colleagues=colleagues,
        own_id=visitor_of(request).session.holder_id,
        newcomer=given if isinstance(given, _Newcomer) else None,
        known=given if isinstance(given, _Known) else None,
        link=link,
        picture=qr_picture(link) if link else "",
        invited=invited,
        problem=said if given is None else "",
        form_problem=said if given is not None else "",
        is_of_name=isinstance(refusal, NameInvalid),
    )


@post("/m/{mchid:str}/staff", status_code=200, opt=needs(Capability.STAFF))
async def invite(request: Request[Any, Any, Any]) -> Response[Any]:
    """Enter somebody new and show the link that lets them in, once."""
    merchant, by = merchant_of(request), _actor(request)
    given: _Newcomer = await form(request, _Newcomer)
    if away := await _proof_first(request, given, gettext("You are about to invite a new colleague.")):
        return away
    try:
        async with site_of(request).house.db.transaction() as tx:
            now = await worlds.read_clocks(tx)
            member = await merchants.create_staff_member(tx, given.sign_in_name, given.name, by=by, wall_now=now.wall)
            await merchants.give_role(tx, merchant.id, member.id, given.role, by=by, wall_now=now.wall)
            link = await _invite(tx, member, merchant, by, now)
            await _note(tx, request, Deed.STAFF_INVITED, member.id, now, given.role)
    except (SignInNameInvalid, SignInNameTaken, NameInvalid) as refusal:
        return await _staff(request, refusal, given)
    return await _staff(request, link=link, invited=member.name)


@post("/m/{mchid:str}/staff/known", status_code=303, opt=needs(Capability.STAFF))
async def add(request: Request[Any, Any, Any]) -> Response[Any]:
    """Let somebody work here who has an account of their own already: at another shop, or at the desk."""
    merchant, by = merchant_of(request), _actor(request)
    given: _Known = await form(request, _Known)
    if away := await _proof_first(request, given, gettext("You are about to add somebody to this shop.")):
        return away
    try:
        async with site_of(request).house.db.transaction() as tx:
            now = await worlds.read_clocks(tx)
            member = await merchants.get_by_sign_in_name(tx, given.sign_in_name)
            await merchants.add_role(tx, merchant.id, member.id, given.role, by=by, wall_now=now.wall)
            await _note(tx, request, Deed.ROLE_GIVEN, member.id, now, given.role)
    except (StaffMemberNotFound, NotClaimed, WorksHere) as refusal:
        return await _staff(request, refusal, given)
    return go(f"/m/{merchant.number}/staff", said="saved")


@post("/m/{mchid:str}/staff/{staff_id:str}/role", status_code=303, opt=needs(Capability.STAFF))
async def change_role(request: Request[Any, Any, Any], staff_id: FromPath[str]) -> Response[Any]:
    """Make somebody who works here something else here."""
    merchant = merchant_of(request)
    given: _Role = await form(request, _Role)
    if away := await _proof_first(request, given, gettext("You are about to change somebody's role.")):
        return away
    who, by = _id_of(staff_id), _actor(request)
    try:
        async with site_of(request).house.db.transaction() as tx:
            now = await worlds.read_clocks(tx)
            before = await merchants.change_role(tx, merchant.id, who, given.role, by=by, wall_now=now.wall)
            if given.role is not before:
                await _note(tx, request, Deed.ROLE_GIVEN, who, now, given.role)
    except LastOwner as refusal:
        return await _staff(request, refusal)
    keeps_page = who != by or given.role is Role.OWNER
    return go(f"/m/{merchant.number}/staff" if keeps_page else f"/m/{merchant.number}", said="saved")


@post("/m/{mchid:str}/staff/{staff_id:str}/end", status_code=303, opt=needs(Capability.STAFF))
async def end_role(request: Request[Any, Any, Any], staff_id: FromPath[str]) -> Response[Any]:
    """Let somebody work here no more; their next request is refused."""
    merchant = merchant_of(request)
    given: _Nothing = await form(request, _Nothing)
    if away := await _proof_first(request, given, gettext("You are about to remove somebody from this shop.")):
        return away
    who, by = _id_of(staff_id), _actor(request)
    try:
        async with site_of(request).house.db.transaction() as tx:
            now = await worlds.read_clocks(tx)
            await merchants.end_role(tx, merchant.id, who, by=by, wall_now=now.wall)
            await _note(tx, request, Deed.ROLE_ENDED, who, now)
    except LastOwner as refusal:
        return await _staff(request, refusal)
    return go("/") if who == by else go(f"/m/{merchant.number}/staff", said="saved")


@post("/m/{mchid:str}/staff/{staff_id:str}/invitation", status_code=200, opt=needs(Capability.STAFF))
async def invite_again(request: Request[Any, Any, Any], staff_id: FromPath[str]) -> Response[Any]:
    """Another link for somebody who works here alone and has made no account their own yet; the older ones die."""
    merchant = merchant_of(request)
    given: _Nothing = await form(request, _Nothing)
    if away := await _proof_first(request, given, gettext("You are about to create a new invitation link.")):
        return away
    who = _id_of(staff_id)
    try:
        async with site_of(request).house.db.transaction() as tx:
            now = await worlds.read_clocks(tx)
            member = await merchants.get_staff_member(tx, who)
            link = await _invite(tx, member, merchant, _actor(request), now)
            await _note(tx, request, Deed.LINK_MADE, who, now)
    except CameInBefore as refusal:
        return await _staff(request, refusal)
    return await _staff(request, link=link, invited=member.name)


async def _proof_first(request: Request[Any, Any, Any], given: Provable, act: str) -> Response[Any] | None:
    return await proof_first(request, given, act, back=f"/m/{merchant_of(request).number}/staff")


async def _invite(tx: Tx, member: StaffMember, merchant: Merchant, by: StaffId, now: Now) -> str:
    """The link that lets somebody in, once."""
    token = await merchants.invite_newcomer(tx, member.id, by=by, at=merchant.id, wall_now=now.wall)
    return f"{(await worlds.get_world(tx)).staff_url}/invitations/{token}"


async def _note(
    tx: Tx, request: Request[Any, Any, Any], deed: Deed, whom: StaffId, now: Now, role: Role | None = None
) -> None:
    merchant_id, subject = merchant_of(request).id, to_text("stf", whom)
    await note_act(tx, request, deed, now=now, merchant_id=merchant_id, subject=subject, detail=role or "")


def _actor(request: Request[Any, Any, Any]) -> StaffId:
    return StaffId(visitor_of(request).session.holder_id)


def _id_of(text: str) -> StaffId:
    try:
        return StaffId(from_text("stf", text))
    except IdInvalid:
        raise StaffMemberNotFound(staff=text) from None


ROUTES = [staff, invite, add, change_role, end_role, invite_again]
