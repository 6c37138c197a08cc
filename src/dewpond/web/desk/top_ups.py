"""Top-ups at the desk: what waits for a second operator, and what was put in."""

from collections.abc import Iterable
from typing import Any, Final
from uuid import UUID

from litestar import Request, Response, get, post
from litestar.params import FromPath

from dewpond import identity, merchants, pay
from dewpond.kit.db import Tx
from dewpond.kit.failures import Failure
from dewpond.kit.ids import IdInvalid, from_text
from dewpond.merchants import Deed, StaffId
from dewpond.pay import (
    SecondPerson,
    SecondPersonNeeded,
    SecondPersonRelated,
    SecondPersonTooNew,
    TopUpProposalEnded,
    TopUpProposalNotFound,
)
from dewpond.web.acts import note_act
from dewpond.web.desk.frame import desk_page, operator_of, read_desk
from dewpond.web.failures import sentence, status_of
from dewpond.web.forms import Nothing, form
from dewpond.web.needs import Needs, needs
from dewpond.web.pages import go
from dewpond.web.sites import site_of

_LISTED: Final = 50
_PATH: Final = "/desk/top-ups/{person_id:str}/{proposal_id:uuid}"


@get("/desk/top-ups", opt=needs(Needs.OPERATOR))
async def top_ups(request: Request[Any, Any, Any]) -> Response[str]:
    """What waits for a second yes, and what was put in lately, by whom and what for."""
    return await _top_ups(request)


async def _top_ups(request: Request[Any, Any, Any], refusal: Failure | None = None) -> Response[str]:
    async with site_of(request).house.db.transaction() as tx:
        desk = await read_desk(tx, request)
        proposals = await pay.list_open_top_up_proposals(tx)
        me = await _second_person(tx, operator_of(request).id)
        done = await pay.list_top_ups_by_staff(tx, most=_LISTED)
        who = {one.person_id for one in proposals} | {one.person_id for one in done}
        people = await identity.list_people(tx, list(who))
        staff = await _names(tx, [one.proposed_staff_id for one in proposals])
        staff |= await _names(tx, [one for each in done for one in (each.by_staff_id, each.agreed_staff_id) if one])
        others = {one.id for one in await merchants.list_operators(tx)} - me.kin
    return desk_page(
        request,
        desk,
        "desk/top_ups.html",
        status=200 if refusal is None else status_of(refusal),
        proposals=proposals,
        done=done,
        people={one.id: one for one in people},
        staff=staff,
        own_id=me.staff_id,
        lacks_second=desk.alone_minor is not None and not others,
        hindrances={one.id: me.refusal(one, wall_now=desk.now.wall) for one in proposals},
        sentence=sentence,
        problem="" if refusal is None else sentence(refusal),
    )


async def _second_person(tx: Tx, staff_id: StaffId) -> SecondPerson:
    """A member of staff as another pair of eyes."""
    [arrival] = await merchants.list_arrivals(tx, [staff_id])
    return SecondPerson(staff_id=staff_id, since=arrival.since, kin=await merchants.list_kin(tx, staff_id))


async def _names(tx: Tx, staff_ids: Iterable[UUID]) -> dict[UUID, str]:
    return {one.id: one.name for one in await merchants.list_staff_members(tx, list(set(staff_ids)))}


@post(f"{_PATH}/agreement", status_code=303, opt=needs(Needs.OPERATOR))
async def agree(
    request: Request[Any, Any, Any], person_id: FromPath[str], proposal_id: FromPath[UUID]
) -> Response[Any]:
    """Say yes to another's top-up: the money is in the wallet."""
    await form(request, Nothing)
    try:
        async with site_of(request).house.db.transaction() as tx:
            desk = await read_desk(tx, request)
            by = await _second_person(tx, operator_of(request).id)
            done = await pay.agree_top_up(tx, _person_of(person_id), proposal_id, by=by, now=desk.now)
            sum_ = str(done.amount)
            await note_act(tx, request, Deed.TOP_UP_AGREED, now=desk.now, subject=person_id, detail=sum_)
    except (SecondPersonNeeded, SecondPersonRelated, SecondPersonTooNew, TopUpProposalEnded) as refusal:
        return await _top_ups(request, refusal)
    return go("/desk/top-ups", said="top-up-agreed")


@post(f"{_PATH}/refusal", status_code=303, opt=needs(Needs.OPERATOR))
async def refuse(
    request: Request[Any, Any, Any], person_id: FromPath[str], proposal_id: FromPath[UUID]
) -> Response[Any]:
    """Say no to a top-up, or take one's own back."""
    await form(request, Nothing)
    try:
        async with site_of(request).house.db.transaction() as tx:
            desk = await read_desk(tx, request)
            person, by = _person_of(person_id), operator_of(request).id
            ended = await pay.refuse_top_up(tx, person, proposal_id, by_staff_id=by, now=desk.now)
            deed = Deed.TOP_UP_WITHDRAWN if ended.proposed_staff_id == by else Deed.TOP_UP_REFUSED
            await note_act(tx, request, deed, now=desk.now, subject=person_id, detail=str(ended.amount))
    except TopUpProposalEnded as refusal:
        return await _top_ups(request, refusal)
    return go("/desk/top-ups", said="top-up-refused")


def _person_of(text: str) -> UUID:
    try:
        return from_text("per", text)
    except IdInvalid:
        raise TopUpProposalNotFound from None


ROUTES = [top_ups, agree, refuse]
