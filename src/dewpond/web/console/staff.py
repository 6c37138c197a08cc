"""Staff of a shop: who works here and as what; inviting somebody, changing a role, taking it away."""

from typing import Any

import msgspec
from litestar import Request, Response, get, post
from litestar.params import FromPath

from dewpond import identity, merchants
from dewpond.identity import NameInvalid, Realm
from dewpond.kit import clock, worlds
from dewpond.kit.db import Tx
from dewpond.kit.failures import Failure
from dewpond.kit.ids import IdInvalid, from_text
from dewpond.merchants import (
    Capability,
    LastOwner,
    Role,
    RoleNotFound,
    SignInNameInvalid,
    SignInNameTaken,
    StaffId,
    StaffMember,
    StaffMemberNotFound,
)
from dewpond.web.console.posters import qr_picture
from dewpond.web.console.shops import shop_page
from dewpond.web.failures import CameInBefore, NotClaimed, WorksHere, sentence, status_of
from dewpond.web.needs import needs
from dewpond.web.pages import go
from dewpond.web.sites import form, merchant_of, site_of, visitor_of


class _Newcomer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    sign_in_name: str
    name: str
    role: Role


class _Known(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    sign_in_name: str
    role: Role


class _Role(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    role: Role


class _Nothing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
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
        colleagues = [
            Colleague(member=member, role=role, has_come=await _has_come(tx, member.id))
            for member, role in await merchants.list_staff(tx, merchant_of(request).id)
        ]
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
async def invite(request: Request[Any, Any, Any]) -> Response[str]:
    """Enter somebody new and show the link that lets them in, once."""
    merchant, wall = merchant_of(request), clock.wall_now()
    given: _Newcomer = await form(request, _Newcomer)
    try:
        async with site_of(request).house.db.transaction() as tx:
            member = await merchants.create_staff_member(tx, given.sign_in_name, given.name, wall_now=wall)
            await merchants.give_role(tx, merchant.id, member.id, given.role, by=_actor(request), wall_now=wall)
            link = await _invite(tx, member)
    except (SignInNameInvalid, SignInNameTaken, NameInvalid) as refusal:
        return await _staff(request, refusal, given)
    return await _staff(request, link=link, invited=member.name)


@post("/m/{mchid:str}/staff/known", status_code=303, opt=needs(Capability.STAFF))
async def add(request: Request[Any, Any, Any]) -> Response[Any]:
    """Let somebody work here who has an account of their own already: at another shop, or at the desk."""
    merchant, wall = merchant_of(request), clock.wall_now()
    given: _Known = await form(request, _Known)
    try:
        async with site_of(request).house.db.transaction() as tx:
            member = await _by_name(tx, given.sign_in_name)
            # Until then whoever holds its link may become it, and this shop would come along.
            if not await _has_come(tx, member.id):
                raise NotClaimed
            if await merchants.role_of(tx, member.id, merchant.id) is not None:
                raise WorksHere
            await merchants.give_role(tx, merchant.id, member.id, given.role, by=_actor(request), wall_now=wall)
    except (StaffMemberNotFound, NotClaimed, WorksHere) as refusal:
        return await _staff(request, refusal, given)
    return go(f"/m/{merchant.number}/staff", said="saved")


@post("/m/{mchid:str}/staff/{staff_id:str}/role", status_code=303, opt=needs(Capability.STAFF))
async def change_role(request: Request[Any, Any, Any], staff_id: FromPath[str]) -> Response[Any]:
    """Make somebody who works here something else here."""
    merchant, wall = merchant_of(request), clock.wall_now()
    given: _Role = await form(request, _Role)
    who, by = _id_of(staff_id), _actor(request)
    try:
        async with site_of(request).house.db.transaction() as tx:
            if await merchants.role_of(tx, who, merchant.id) is None:
                raise RoleNotFound
            await merchants.give_role(tx, merchant.id, who, given.role, by=by, wall_now=wall)
    except LastOwner as refusal:
        return await _staff(request, refusal)
    keeps_page = who != by or given.role is Role.OWNER
    return go(f"/m/{merchant.number}/staff" if keeps_page else f"/m/{merchant.number}", said="saved")


@post("/m/{mchid:str}/staff/{staff_id:str}/end", status_code=303, opt=needs(Capability.STAFF))
async def end_role(request: Request[Any, Any, Any], staff_id: FromPath[str]) -> Response[Any]:
    """Let somebody work here no more; their next request is refused."""
    merchant, wall = merchant_of(request), clock.wall_now()
    await form(request, _Nothing)
    who, by = _id_of(staff_id), _actor(request)
    try:
        async with site_of(request).house.db.transaction() as tx:
            await merchants.end_role(tx, merchant.id, who, by=by, wall_now=wall)
    except LastOwner as refusal:
        return await _staff(request, refusal)
    return go("/") if who == by else go(f"/m/{merchant.number}/staff", said="saved")


@post("/m/{mchid:str}/staff/{staff_id:str}/invitation", status_code=200, opt=needs(Capability.STAFF))
async def invite_again(request: Request[Any, Any, Any], staff_id: FromPath[str]) -> Response[Any]:
    """Another link for somebody who works here alone and has made no account their own yet; the older ones die."""
    merchant = merchant_of(request)
    await form(request, _Nothing)
    who = _id_of(staff_id)
    try:
        async with site_of(request).house.db.transaction() as tx:
            member = await merchants.get_staff_member(tx, who)
            if await merchants.role_of(tx, who, merchant.id) is None:
                raise RoleNotFound
            link = await _invite(tx, member)
            # Looked at after the older link is dead, so that nobody comes in by it in between. An owner must not be
            # able to take over an account that is somebody's own, or that leads to other shops or the desk as well.
            places = await merchants.roles_of(tx, who)
            if member.is_operator or len(places) > 1 or await _has_come(tx, who):
                raise CameInBefore
    except CameInBefore as refusal:
        return await _staff(request, refusal)
    return await _staff(request, link=link, invited=member.name)


async def _invite(tx: Tx, member: StaffMember) -> str:
    """The link that lets somebody in, once."""
    token = await merchants.invite(tx, member.id, wall_now=clock.wall_now())
    return f"{(await worlds.get_world(tx)).staff_url}/invitations/{token}"


async def _has_come(tx: Tx, staff_id: StaffId) -> bool:
    """Whether somebody has made their account their own."""
    return bool(await merchants.has_password(tx, staff_id) or await identity.list_passkeys(tx, Realm.STAFF, staff_id))


async def _by_name(tx: Tx, sign_in_name: str) -> StaffMember:
    """Who signs in with exactly this name and has not left."""
    plain = merchants.plain_sign_in_name(sign_in_name)
    for member in await merchants.find_staff_members(tx, sign_in_name) if plain else ():
        if member.sign_in_name == plain and member.ended_at is None:
            return member
    raise StaffMemberNotFound(staff=sign_in_name)


def _actor(request: Request[Any, Any, Any]) -> StaffId:
    return StaffId(visitor_of(request).session.holder_id)


def _id_of(text: str) -> StaffId:
    try:
        return StaffId(from_text("stf", text))
    except IdInvalid:
        raise StaffMemberNotFound(staff=text) from None


ROUTES = [staff, invite, add, change_role, end_role, invite_again]
