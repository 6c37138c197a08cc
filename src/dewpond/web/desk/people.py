"""People at the desk: found by the number they tell or their id, never browsed; money put into a wallet."""

from typing import Any, Final
from uuid import UUID

import msgspec
from litestar import Request, Response, get, post
from litestar.params import FromPath
from litestar.response import Redirect

from dewpond import identity, ledger, merchants, pay
from dewpond.identity import Person, PersonId, PersonNotFound, Realm
from dewpond.kit.db import Tx
from dewpond.kit.failures import Failure
from dewpond.kit.ids import IdInvalid, from_text, new_id
from dewpond.kit.money import CNY, AmountInvalid, Money
from dewpond.ledger import AccountCode
from dewpond.merchants import Deed
from dewpond.pay import TopUp, TopUpDiffers, TopUpProposal, TopUpProposalStatus
from dewpond.web.acts import note_act
from dewpond.web.cursors import cursor, read_cursor
from dewpond.web.desk.frame import desk_page, note_look, operator_of, read_desk
from dewpond.web.failures import sentence, status_of
from dewpond.web.forms import Nothing, form
from dewpond.web.needs import Needs, needs
from dewpond.web.pages import go
from dewpond.web.sites import site_of
from dewpond.web.wallets import list_lines

_PAGE: Final = 20
_DEMO_PEOPLE: Final = 12


class _Wanted(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    who: str


class _Given(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A top-up as its form says it."""

    #: Made with the form: the same form sent twice is one top-up.
    key: UUID
    amount: str
    reason: str


# --- finding somebody -------------------------------------------------------------------------------------------------


@get("/desk/people", opt=needs(Needs.OPERATOR))
async def people(request: Request[Any, Any, Any]) -> Response[str]:
    """One field. There is no list of people: the desk sees whoever stands before it and tells their number."""
    return await _people(request)


async def _people(request: Request[Any, Any, Any], refusal: Failure | None = None, who: str = "") -> Response[str]:
    async with site_of(request).house.db.transaction() as tx:
        desk = await read_desk(tx, request)
        demo = await identity.list_demo_people(tx, most=_DEMO_PEOPLE) if desk.world.is_sandbox else []
    return desk_page(
        request,
        desk,
        "desk/people.html",
        status=200 if refusal is None else status_of(refusal),
        demo=demo,
        who=who,
        problem="" if refusal is None else sentence(refusal),
    )


@post("/desk/people", status_code=303, opt=needs(Needs.OPERATOR))
async def find(request: Request[Any, Any, Any]) -> Response[Any]:
    """Find somebody by their number or id. By a form that is sent: numbers do not belong into addresses."""
    wanted: _Wanted = await form(request, _Wanted)
    text = wanted.who.strip()[:100]
    try:
        async with site_of(request).house.db.transaction() as tx:
            person = await identity.find_person_by_number(tx, text) or await _get(tx, text)
    except PersonNotFound as refusal:
        return await _people(request, refusal, text)
    return go(f"/desk/people/{person.text_id}")


async def _get(tx: Tx, text: str) -> Person:
    try:
        return await identity.get_person(tx, PersonId(from_text("per", text)))
    except IdInvalid:
        raise PersonNotFound(person=text) from None


# --- one person -------------------------------------------------------------------------------------------------------


@get("/desk/people/{person_id:str}", opt=needs(Needs.OPERATOR))
async def person(request: Request[Any, Any, Any], person_id: FromPath[str]) -> Response[str]:
    """What the desk may know of one person: the wallet and what moved in it, not what for. Who has looked is written
    down."""
    return await _person(request, person_id)


async def _person(
    request: Request[Any, Any, Any], person_id: str, refusal: Failure | None = None, given: _Given | None = None
) -> Response[str]:
    async with site_of(request).house.db.transaction() as tx:
        desk = await read_desk(tx, request)
        one = await _get(tx, person_id)
        lines = await list_lines(tx, one.id, before=read_cursor(request), most=_PAGE + 1)
        balances = [each for each in await ledger.list_balances(tx, one.id) if each.code is AccountCode.WALLET]
        context: dict[str, Any] = {
            "pin": await identity.find_pin_state(tx, one.id),
            "devices": len(await identity.list_sessions(tx, Realm.PERSON, one.id, wall_now=desk.now.wall)),
            "passkeys": len(await identity.list_passkeys(tx, Realm.PERSON, one.id)),
            "shares_alone": len(await merchants.list_kin(tx, operator_of(request).id)) > 1,
        }
        await note_look(tx, request, desk, one)
    last = lines[_PAGE - 1].movement if len(lines) > _PAGE else None
    more = "" if last is None else f"/desk/people/{person_id}?before={cursor(last.occurred_at, last.id)}"
    return desk_page(
        request,
        desk,
        "desk/person.html",
        status=200 if refusal is None else status_of(refusal),
        person=one,
        wallets=[Money(each.available, each.currency) for each in balances] or [Money(0, CNY)],
        lines=lines[:_PAGE],
        more=more,
        key=new_id() if given is None or isinstance(refusal, TopUpDiffers) else given.key,
        given=given,
        problem="" if refusal is None else sentence(refusal),
        **context,
    )


@post("/desk/people/{person_id:str}/sessions/end", status_code=303, opt=needs(Needs.OPERATOR))
async def sign_out_everywhere(request: Request[Any, Any, Any], person_id: FromPath[str]) -> Redirect:
    """Sign somebody out everywhere, for a phone that was lost; how they come in again is theirs."""
    await form(request, Nothing)
    async with site_of(request).house.db.transaction() as tx:
        desk = await read_desk(tx, request)
        one = await _get(tx, person_id)
        await identity.end_all_sessions(tx, Realm.PERSON, one.id, wall_now=desk.now.wall)
        await note_act(tx, request, Deed.SESSIONS_ENDED, now=desk.now, subject=one.text_id)
    return go(f"/desk/people/{person_id}", said="person-signed-out")


@post("/desk/people/{person_id:str}/top-ups", status_code=303, opt=needs(Needs.OPERATOR))
async def top_up(request: Request[Any, Any, Any], person_id: FromPath[str]) -> Response[Any]:
    """Put money in, or ask another operator for their yes; the same form again changes nothing."""
    given: _Given = await form(request, _Given)
    try:
        async with site_of(request).house.db.transaction() as tx:
            desk = await read_desk(tx, request)
            one = await _get(tx, person_id)
            done = await pay.propose_top_up(
                tx,
                one.id,
                Money.parse(given.amount, CNY),
                by_staff_id=operator_of(request).id,
                alone_minor=desk.alone_minor,
                now=desk.now,
                key=given.key,
                reason=given.reason.strip(),
            )
            # Asked for again, the proposal may have become a top-up; what was done first has been written down.
            by_two = isinstance(done, TopUpProposal) or done.agreed_staff_id is not None
            deed, sum_ = Deed.TOP_UP_PROPOSED if by_two else Deed.TOP_UP_MADE, str(done.amount)
            await note_act(tx, request, deed, now=desk.now, subject=one.text_id, detail=sum_, once=done.id)
    except (AmountInvalid, TopUpDiffers) as refusal:
        return await _person(request, person_id, refusal, given)
    if isinstance(done, TopUp):
        return go(f"/desk/people/{person_id}", said="desk-topped-up")
    is_open = done.status is TopUpProposalStatus.OPEN
    return go("/desk/top-ups", said="top-up-proposed" if is_open else "top-up-ended")


ROUTES = [people, find, person, sign_out_everywhere, top_up]
