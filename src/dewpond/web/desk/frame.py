"""The frame of the desk: what every page of it shows, and who sits before it."""

from typing import Any

import msgspec
import structlog
from litestar import Request, Response

from dewpond import pay
from dewpond.kit import clock, worlds
from dewpond.kit.clock import Now
from dewpond.kit.db import Tx
from dewpond.kit.worlds import World
from dewpond.merchants import StaffMember
from dewpond.web.pages import page
from dewpond.web.sites import visitor_of

log = structlog.get_logger(__name__)


class Nothing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A form of one button."""


class Desk(msgspec.Struct, frozen=True, kw_only=True):
    """What the frame shows, and what its handlers go by."""

    world: World
    now: Now
    #: Top-ups that wait for a second operator.
    waiting: int


async def read_desk(tx: Tx) -> Desk:
    """The world as this request finds it."""
    world = await worlds.get_world(tx)
    waiting = await pay.count_open_top_up_proposals(tx)
    return Desk(world=world, now=world.time(clock.wall_now()), waiting=waiting)


def desk_page(
    request: Request[Any, Any, Any], desk: Desk, template: str, *, status: int = 200, **context: Any
) -> Response[str]:
    """A page in the frame of the desk."""
    return page(request, template, status=status, desk=desk, **context)


def operator_of(request: Request[Any, Any, Any]) -> StaffMember:
    """Who sits before the desk."""
    member = visitor_of(request).member
    assert member is not None, "only operators come here"
    return member


def note_act(request: Request[Any, Any, Any], act: str, **facts: object) -> None:
    """Tell the log what an operator did. What moves money is written down in the books besides."""
    told = {name: str(fact) for name, fact in facts.items()}
    log.info("desk.act", act=act, by=operator_of(request).text_id, **told)
