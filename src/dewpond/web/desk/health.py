"""The overview: what this world is, how much is in it, and whether everything in it is at work."""

from datetime import datetime, timedelta
from typing import Any, Final

import msgspec
from litestar import Request, Response, get, post
from litestar.params import FromPath
from litestar.response import Redirect

from dewpond import merchants, reservoir
from dewpond.kit import jobs, outbox, worlds
from dewpond.kit.db import Tx
from dewpond.kit.ids import from_text, to_text
from dewpond.kit.jobs import QuarantinedJob
from dewpond.kit.worlds import Server
from dewpond.merchants import Deed
from dewpond.reservoir import Takings
from dewpond.web.acts import note_act
from dewpond.web.desk.frame import desk_page, read_desk
from dewpond.web.desk.holdings import books
from dewpond.web.desk.sums import sums_of
from dewpond.web.forms import Nothing, form
from dewpond.web.needs import Needs, needs
from dewpond.web.pages import go
from dewpond.web.sites import site_of

#: Stuck work that the page lists; the rest is counted.
_LISTED: Final = 10
#: What may wait a moment: more than this, and somebody should look.
_LATE: Final = timedelta(seconds=30)
_MANY_FACTS: Final = 5_000
#: A platform certificate is renewed by itself when a server starts within this time of its end.
_CERTIFICATE_DAYS: Final = timedelta(days=30)


class Stuck(msgspec.Struct, frozen=True, kw_only=True):
    """Work that waits for a person."""

    job: QuarantinedJob

    @property
    def text_id(self) -> str:
        return to_text("job", self.job.id)


class Pulse(msgspec.Struct, frozen=True, kw_only=True):
    """How the work of this world goes."""

    server: Server
    #: Facts that no relay has placed yet.
    facts_waiting: int
    #: How far behind each reader is.
    lags: tuple[tuple[str, int], ...]
    due: int
    #: How late the work is that is due longest; None where nothing is due.
    late: timedelta | None
    stuck: tuple[Stuck, ...]
    stuck_count: int
    certificate_ends_at: datetime | None
    is_certificate_ending: bool

    @property
    def is_late(self) -> bool:
        return self.late is not None and self.late > _LATE

    @property
    def is_behind(self) -> bool:
        return max([self.facts_waiting, *(lag for _, lag in self.lags)]) > _MANY_FACTS

    @property
    def lag(self) -> int:
        """Of the reader that is furthest behind."""
        return max((lag for _, lag in self.lags), default=0)


async def _read_pulse(tx: Tx, world_now: datetime, wall_now: datetime) -> Pulse:
    last = await outbox.last_position(tx)
    positions = await outbox.reader_positions(tx)
    next_due = await jobs.next_due(tx)
    certificates = await merchants.list_platform_certificates(tx, wall_now=wall_now)
    ends_at = certificates[0].not_after if certificates else None
    return Pulse(
        server=await worlds.read_server(tx),
        facts_waiting=await outbox.waiting(tx),
        lags=tuple((one.name, max(0, last - one.position)) for one in positions),
        due=await jobs.count_due(tx, world_now),
        late=world_now - next_due if next_due is not None and next_due <= world_now else None,
        stuck=tuple(Stuck(job=one) for one in await jobs.quarantined(tx, most=_LISTED)),
        stuck_count=await jobs.count_quarantined(tx),
        certificate_ends_at=ends_at,
        is_certificate_ending=ends_at is None or ends_at < wall_now + _CERTIFICATE_DAYS,
    )


@get("/desk", opt=needs(Needs.OPERATOR))
async def overview(request: Request[Any, Any, Any]) -> Response[str]:
    """The whole world at a glance; asks for itself anew every few seconds."""
    sums = sums_of(request)
    await sums.look()
    async with site_of(request).house.db.transaction() as tx:
        desk = await read_desk(tx, request)
        pulse = await _read_pulse(tx, desk.now.world, desk.now.wall)
        shops = await merchants.count_merchants(tx)
        today: list[Takings] = await reservoir.sum_day(tx, reservoir.day_of(desk.now.world))
    return desk_page(
        request,
        desk,
        "desk/now.html" if request.headers.get("hx-request") else "desk/overview.html",
        pulse=pulse,
        sums=sums,
        shops=shops,
        today=today,
        money_in=books(sums.money.value or []),
    )


@post("/desk/sums", status_code=303, opt=needs(Needs.OPERATOR))
async def add_up(request: Request[Any, Any, Any]) -> Redirect:
    """Read everything again, with patience."""
    await form(request, Nothing)
    await sums_of(request).look(is_asked=True)
    return go("/desk")


@post("/desk/stuck/{job_id:str}/release", status_code=303, opt=needs(Needs.OPERATOR))
async def release(request: Request[Any, Any, Any], job_id: FromPath[str]) -> Redirect:
    """Let stuck work be tried again; the worker carries it out."""
    await form(request, Nothing)
    async with site_of(request).house.db.transaction() as tx:
        now = await worlds.read_clocks(tx)
        if await jobs.release(tx, from_text("job", job_id), world_now=now.world):
            await note_act(tx, request, Deed.WORK_RELEASED, now=now, subject=job_id)
    return go("/desk", said="released")


ROUTES = [overview, add_up, release]
