"""The operators of this world: who they are, inviting another, ending one's time."""

from typing import Any

import msgspec
from litestar import Request, Response, get, post
from litestar.params import FromPath

from dewpond import identity, merchants, pay
from dewpond.identity import NameInvalid, Realm
from dewpond.kit.failures import Failure
from dewpond.kit.ids import IdInvalid, from_text
from dewpond.merchants import (
    Deed,
    LastOperator,
    SignInNameInvalid,
    SignInNameTaken,
    StaffId,
    StaffMemberNotFound,
)
from dewpond.web.acts import OPERATOR, note_act
from dewpond.web.desk.frame import desk_page, operator_of, read_desk
from dewpond.web.desk.links import list_not_yet_in, make_link
from dewpond.web.failures import sentence, status_of
from dewpond.web.forms import Nothing, form
from dewpond.web.needs import Needs, needs
from dewpond.web.pages import go
from dewpond.web.sites import site_of


class _Newcomer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    sign_in_name: str


@get("/desk/staff", opt=needs(Needs.OPERATOR))
async def operators(request: Request[Any, Any, Any]) -> Response[str]:
    """Who sits at the desk."""
    return await _operators(request)


async def _operators(
    request: Request[Any, Any, Any], refusal: Failure | None = None, given: _Newcomer | None = None
) -> Response[str]:
    async with site_of(request).house.db.transaction() as tx:
        desk = await read_desk(tx, request)
        members = await merchants.list_operators(tx)
        not_yet_in = await list_not_yet_in(tx, members)
        arrivals = {one.staff_id: one for one in await merchants.list_arrivals(tx, [one.id for one in members])}
        hosts = {one for each in arrivals.values() for one in (each.invited_by, each.let_in_by) if one is not None}
        names = {one.id: one.name for one in await merchants.list_staff_members(tx, list(hosts))}
    return desk_page(
        request,
        desk,
        "desk/staff.html",
        status=200 if refusal is None else status_of(refusal),
        members=members,
        not_yet_in=not_yet_in,
        arrivals=arrivals,
        names=names,
        counts_after=pay.SECOND_PERSON_AFTER,
        own_id=operator_of(request).id,
        given=given,
        refusal="" if refusal is None else refusal.code,
        problem="" if refusal is None else sentence(refusal),
    )


@post("/desk/staff", status_code=201, opt=needs(Needs.OPERATOR))
async def invite(request: Request[Any, Any, Any]) -> Response[Any]:
    """Enter another operator, and show the link that lets them in: this once."""
    given: _Newcomer = await form(request, _Newcomer)
    try:
        async with site_of(request).house.db.transaction() as tx:
            desk = await read_desk(tx, request)
            by = operator_of(request).id
            member = await merchants.create_staff_member(
                tx, given.sign_in_name, given.name, is_operator=True, by=by, wall_now=desk.now.wall
            )
            link = await make_link(tx, desk, member, by=by)
            await note_act(tx, request, Deed.STAFF_INVITED, now=desk.now, subject=member.text_id, detail=OPERATOR)
    except (SignInNameInvalid, SignInNameTaken, NameInvalid) as refusal:
        return await _operators(request, refusal, given)
    return desk_page(request, desk, "desk/link.html", status=201, link=link, back="/desk/staff", shop=None)


@post("/desk/staff/{staff_id:str}/invitation", status_code=200, opt=needs(Needs.OPERATOR))
async def invite_again(request: Request[Any, Any, Any], staff_id: FromPath[str]) -> Response[Any]:
    """Another link for an operator who has not come in yet; the older ones lead nowhere."""
    await form(request, Nothing)
    async with site_of(request).house.db.transaction() as tx:
        desk = await read_desk(tx, request)
        wanted = _id_of(staff_id)
        member = next((one for one in await merchants.list_operators(tx) if one.id == wanted), None)
        if member is None:
            raise StaffMemberNotFound(staff=staff_id)
        link = await make_link(tx, desk, member, by=operator_of(request).id)
        await note_act(tx, request, Deed.LINK_MADE, now=desk.now, subject=member.text_id)
    return desk_page(request, desk, "desk/link.html", link=link, back="/desk/staff", shop=None)


@post("/desk/staff/{staff_id:str}/end", status_code=303, opt=needs(Needs.OPERATOR))
async def end(request: Request[Any, Any, Any], staff_id: FromPath[str]) -> Response[Any]:
    """Let nothing open for an operator any more, from their next request on; the last one stays."""
    await form(request, Nothing)
    try:
        async with site_of(request).house.db.transaction() as tx:
            desk = await read_desk(tx, request)
            who = _id_of(staff_id)
            await merchants.end_operator(tx, who, by=operator_of(request).id, wall_now=desk.now.wall)
            await identity.end_all_sessions(tx, Realm.STAFF, who, wall_now=desk.now.wall)
            await note_act(tx, request, Deed.STAFF_ENDED, now=desk.now, subject=staff_id)
    except LastOperator as refusal:
        return await _operators(request, refusal)
    return go("/desk/staff", said="operator-ended")


def _id_of(text: str) -> StaffId:
    try:
        return StaffId(from_text("stf", text))
    except IdInvalid:
        raise StaffMemberNotFound(staff=text) from None


ROUTES = [operators, invite, invite_again, end]
