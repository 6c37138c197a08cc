"""Home: what a person sees first: what they have, the way to pay, and what happened last."""

from datetime import datetime
from typing import Any, Final

from litestar import Request, Response, get

from dewpond import reservoir
from dewpond.kit import worlds
from dewpond.kit.clock import SHANGHAI
from dewpond.web.needs import Needs, needs
from dewpond.web.pages import page
from dewpond.web.sites import site_of, visitor_of
from dewpond.web.wallets import day_in_world, list_lines, read_balance, shops_by_id
from dewpond.web.words import gettext

_LINES: Final = 3
_POOLS: Final = 12


@get("/", opt=needs(Needs.PERSON))
async def home(request: Request[Any, Any, Any]) -> Response[str]:
    """This person's balance, last movements and pools."""
    visitor = visitor_of(request)
    person_id = visitor.session.holder_id
    async with site_of(request).house.db.transaction() as tx:
        now = await worlds.read_clocks(tx)
        balance = await read_balance(tx, person_id)
        lines = await list_lines(tx, person_id, most=_LINES)
        pools = await reservoir.list_pools(tx, person_id, most=_POOLS)
        shops = await shops_by_id(tx, (one.merchant_id for one in pools))
    return page(
        request,
        "phone/home.html",
        greeting=_greeting(now.world),
        today=day_in_world(now.world),
        person=visitor.person,
        balance=balance,
        lines=lines,
        pools=[shops[one.merchant_id] for one in pools],
    )


def _greeting(world_now: datetime) -> str:
    hour = world_now.astimezone(SHANGHAI).hour
    if 5 <= hour < 12:
        return gettext("Good morning")
    return gettext("Good afternoon") if 12 <= hour < 18 else gettext("Good evening")


ROUTES = [home]
