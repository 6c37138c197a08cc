"""Today at a glance: what was taken, who came, by the hour, live."""

from datetime import datetime
from typing import Any, Final

from litestar import Request, Response, get

from dewpond import pay, reservoir
from dewpond.kit import worlds
from dewpond.kit.clock import SHANGHAI
from dewpond.kit.db import Tx
from dewpond.kit.money import CNY
from dewpond.merchants import Capability, Merchant
from dewpond.pay import PaymentStatus
from dewpond.web import words
from dewpond.web.console.shops import shop_page, shown
from dewpond.web.live import settled
from dewpond.web.needs import needs
from dewpond.web.sites import merchant_of, site_of

#: Payments on the page.
NEWEST: Final = 8


@get("/m/{mchid:str}", opt=needs(Capability.TODAY))
async def today(request: Request[Any, Any, Any]) -> Response[str]:
    """A shop's day so far."""
    merchant = merchant_of(request)
    async with site_of(request).house.db.transaction() as tx:
        position = await settled(tx)  # first: what comes in between is told again, and nothing is missed
        now = await worlds.read_clocks(tx)
        figures = await read_figures(tx, merchant, now.world)
        newest = await pay.list_merchant_payments(tx, merchant.id, status=PaymentStatus.SUCCEEDED, most=NEWEST)
        rows = await shown(tx, merchant, newest, now.world)
    return shop_page(request, "console/today.html", position=position, shown=rows, **figures)


async def read_figures(tx: Tx, merchant: Merchant, world_now: datetime) -> dict[str, Any]:
    """What the tiles and the chart of a day show."""
    day = reservoir.day_of(world_now)
    hours = await reservoir.list_hours(tx, merchant.id, day)
    bars = [
        {
            "label": words.hour(hour.begins_at),
            "value": hour.takings_in(CNY).minor,
            "text": words.money(hour.takings_in(CNY).taken),
        }
        for hour in hours
    ]
    return {
        "today": await reservoir.get_day(tx, merchant.id, day),
        "people": await reservoir.count_people(tx, merchant.id),
        "hours": bars,
        "hour": world_now.astimezone(SHANGHAI).hour,
    }


ROUTES = [today]
