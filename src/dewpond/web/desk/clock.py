"""The clock at the desk: what time it is in this world, and in a sandbox stopping, starting and moving it."""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

import msgspec
from litestar import Request, Response, get, post
from litestar.response import Redirect

from dewpond import merchants
from dewpond.kit import wishes, worlds
from dewpond.kit.clock import Now
from dewpond.kit.db import Tx
from dewpond.kit.failures import Failure
from dewpond.kit.ids import new_id
from dewpond.kit.wishes import CLOCK_MOVE, ClockMove, Wish, WishEnded, WishOpen
from dewpond.merchants import Deed
from dewpond.web.acts import note_act
from dewpond.web.desk.frame import desk_page, operator_of, read_desk
from dewpond.web.failures import StepInvalid, sentence, status_of
from dewpond.web.forms import Nothing, form
from dewpond.web.needs import Needs, needs
from dewpond.web.pages import go
from dewpond.web.sites import site_of

#: The furthest one step goes. SDKs are tried with certificates of five years.
_FURTHEST: Final = timedelta(days=3_660)
#: A worker that runs takes a wish up within a second.
_PATIENCE: Final = timedelta(seconds=6)
#: Between the step's end and its being written down.
_UNSTEADY: Final = timedelta(seconds=10)


class Unit(StrEnum):
    """What a step is counted in."""

    MINUTES = "minutes"
    HOURS = "hours"
    DAYS = "days"


class _Step(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    #: Made with the form: the same form sent twice is one step.
    key: UUID
    count: str
    unit: Unit


class Moving(msgspec.Struct, frozen=True, kw_only=True):
    """A step that is under way."""

    move: ClockMove
    by: str
    percent: int
    #: No worker has taken it up for a while.
    is_left_alone: bool


@get("/desk/clock", opt=needs(Needs.OPERATOR))
async def show_clock(request: Request[Any, Any, Any]) -> Response[str]:
    """Both clocks, and what moves them."""
    return await _clock(request)


async def _clock(
    request: Request[Any, Any, Any], refusal: Failure | None = None, given: _Step | None = None
) -> Response[str]:
    async with site_of(request).house.db.transaction() as tx:
        desk = await read_desk(tx, request)
        newest = await wishes.find_newest(tx, CLOCK_MOVE)
        names = {} if newest is None else await _names(tx, newest)
    moving = None
    if newest is not None and newest.ended_at is None:
        moving = _moving(newest, names.get(newest.asked_by, ""), desk.now.world, desk.now.wall)
    return desk_page(
        request,
        desk,
        "desk/clock_now.html" if request.headers.get("hx-request") else "desk/clock.html",
        status=200 if refusal is None else status_of(refusal),
        moving=moving,
        newest=newest,
        reached=_reached(newest, desk.now),
        names=names,
        key=new_id(),
        given=given,
        problem="" if refusal is None else sentence(refusal),
    )


async def _names(tx: Tx, wish: Wish) -> dict[UUID, str]:
    wanted = [one for one in (wish.asked_by, wish.stopped_by) if one is not None]
    return {one.id: one.name for one in await merchants.list_staff_members(tx, wanted)}


def _moving(wish: Wish, by: str, world_now: datetime, wall_now: datetime) -> Moving:
    move = msgspec.convert(wish.wanted, ClockMove)
    whole, done = move.until - move.since, min(world_now, move.until) - move.since
    return Moving(
        move=move,
        by=by,
        percent=max(0, done * 100 // whole) if whole else 100,
        is_left_alone=wish.begun_at is None and wall_now - wish.asked_at > _PATIENCE,
    )


def _reached(wish: Wish | None, now: Now) -> datetime | None:
    """Where the last step ended, as long as the clock has only run since: the command line moves it as well."""
    if wish is None or wish.ended_at is None or wish.told is None or "until" not in wish.told:
        return None
    reached = _until(wish.told)
    return reached if now.world - reached <= now.wall - wish.ended_at + _UNSTEADY else None


def _until(told: dict[str, Any]) -> datetime:
    return msgspec.convert(told, ClockMove).until


@post("/desk/clock/freeze", status_code=303, opt=needs(Needs.OPERATOR))
async def freeze(request: Request[Any, Any, Any]) -> Redirect:
    """Stop world time where it is."""
    await form(request, Nothing)
    async with site_of(request).house.db.transaction() as tx:
        desk = await read_desk(tx, request)
        await worlds.freeze_clock(tx, wall_now=desk.now.wall)
        await note_act(tx, request, Deed.CLOCK_FROZEN, now=desk.now)
    return go("/desk/clock", said="clock-frozen")


@post("/desk/clock/thaw", status_code=303, opt=needs(Needs.OPERATOR))
async def thaw(request: Request[Any, Any, Any]) -> Redirect:
    """Let world time run again from where it stands."""
    await form(request, Nothing)
    async with site_of(request).house.db.transaction() as tx:
        desk = await read_desk(tx, request)
        await worlds.thaw_clock(tx, wall_now=desk.now.wall)
        await note_act(tx, request, Deed.CLOCK_THAWED, now=desk.now)
    return go("/desk/clock", said="clock-thawed")


@post("/desk/clock/moves", status_code=303, opt=needs(Needs.OPERATOR))
async def move(request: Request[Any, Any, Any]) -> Response[Any]:
    """Ask the worker to move world time on, through everything that falls due on the way."""
    given: _Step = await form(request, _Step)
    try:
        step = _length(given)
        async with site_of(request).house.db.transaction() as tx:
            await worlds.require_sandbox(tx)
            desk = await read_desk(tx, request)
            try:
                wanted = ClockMove(since=desk.now.world, until=desk.now.world + step)
            except OverflowError:
                raise StepInvalid from None
            by = operator_of(request).id
            await wishes.ask(tx, given.key, CLOCK_MOVE, wanted, asked_by=by, wall_now=desk.now.wall)
            until = wanted.until.isoformat()
            await note_act(tx, request, Deed.CLOCK_MOVED, now=desk.now, detail=until, once=given.key)
    except (StepInvalid, WishOpen) as refusal:
        return await _clock(request, refusal, given)
    return go("/desk/clock")


def _length(given: _Step) -> timedelta:
    text = given.count.strip()
    if not (text.isascii() and text.isdigit() and len(text) <= 7):
        raise StepInvalid
    step = int(text) * timedelta(**{given.unit.value: 1})
    if not timedelta() < step <= _FURTHEST:
        raise StepInvalid
    return step


@post("/desk/clock/moves/stop", status_code=303, opt=needs(Needs.OPERATOR))
async def stop_move(request: Request[Any, Any, Any]) -> Redirect:
    """Let world time stay where it has come to."""
    await form(request, Nothing)
    try:
        async with site_of(request).house.db.transaction() as tx:
            desk = await read_desk(tx, request)
            await wishes.stop(tx, CLOCK_MOVE, stopped_by=operator_of(request).id, wall_now=desk.now.wall)
            await note_act(tx, request, Deed.CLOCK_STOPPED, now=desk.now)
    except WishEnded:
        return go("/desk/clock")
    return go("/desk/clock", said="clock-stopped")


ROUTES = [show_clock, freeze, thaw, move, stop_move]
