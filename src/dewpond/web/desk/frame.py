"""The frame of the desk: what every page of it shows, and who sits before it."""

from typing import Any

import msgspec
from litestar import Request, Response

from dewpond import pay
from dewpond.identity import Person
from dewpond.kit import clock, worlds
from dewpond.kit.clock import Now
from dewpond.kit.db import Tx
from dewpond.kit.ids import derived_id
from dewpond.kit.money import CNY, Money
from dewpond.kit.worlds import World
from dewpond.merchants import Deed, StaffMember
from dewpond.web.acts import note_act
from dewpond.web.pages import page
from dewpond.web.sites import site_of, visitor_of


class Desk(msgspec.Struct, frozen=True, kw_only=True):
    """What the frame shows, and what its handlers go by."""

    world: World
    now: Now
    #: Top-ups that wait for a second operator.
    waiting: int
    #: What an operator and their kin may put into wallets without a second yes on one day of the world, in minor units;
    #: None in a sandbox, where nobody is asked for one.
    alone_minor: int | None

    @property
    def alone(self) -> Money | None:
        return None if self.alone_minor is None else Money(self.alone_minor, CNY)


async def read_desk(tx: Tx, request: Request[Any, Any, Any]) -> Desk:
    """The world as this request finds it."""
    world = await worlds.get_world(tx)
    waiting = await pay.count_open_top_up_proposals(tx)
    alone_minor = None if world.is_sandbox else site_of(request).house.settings.four_eyes_minor
    return Desk(world=world, now=world.time(clock.wall_now()), waiting=waiting, alone_minor=alone_minor)


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


async def note_look(tx: Tx, request: Request[Any, Any, Any], desk: Desk, person: Person) -> None:
    """Write down that whoever sits before the desk looks at a person's account: once an hour, however often."""
    hour = derived_id(operator_of(request).id, person.id, f"{desk.now.wall:%Y%m%d%H}")
    await note_act(tx, request, Deed.PERSON_SEEN, now=desk.now, subject=person.text_id, once=hour)
