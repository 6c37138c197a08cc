"""Today at a glance: what was taken, who came, by the hour, live."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec
from litestar import Request, Response, get

from dewpond import pay, reservoir
from dewpond.kit import worlds
from dewpond.kit.clock import SHANGHAI
from dewpond.kit.db import Tx
from dewpond.kit.money import CNY
from dewpond.merchants import Capability
from dewpond.pay import PaymentStatus
from dewpond.reservoir import Day, Hour
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
        figures = (await read_figures(tx, [merchant.id], now.world))[merchant.id]
        newest = await pay.list_merchant_payments(tx, merchant.id, status=PaymentStatus.SUCCEEDED, most=NEWEST)
        rows = await shown(tx, merchant, newest, now.world)
    return shop_page(request, "console/today.html", position=position, shown=rows, **figures.shown())


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """A shop's day so far, in no language yet."""

    today: Day
    hours: list[Hour]
    people: int
    world_now: datetime

    def shown(self) -> dict[str, Any]:
        """What the tiles and the chart of a day show."""
        bars = [
            {"label": words.hour(hour.begins_at), "value": taken.minor, "text": words.money(taken)}
            for hour in self.hours
            for taken in [hour.takings_in(CNY).taken]
        ]
        hour = self.world_now.astimezone(SHANGHAI).hour
        return {"today": self.today, "people": self.people, "hours": bars, "hour": hour}


async def read_figures(tx: Tx, merchant_ids: Sequence[UUID], world_now: datetime) -> dict[UUID, Figures]:
    """The day of each of these shops, asked for at once."""
    day = reservoir.day_of(world_now)
    hours = await reservoir.list_hours_of(tx, merchant_ids, day)
    people = await reservoir.count_people_of(tx, merchant_ids)
    return {
        merchant_id: Figures(
            today=reservoir.sum_hours(day, hours[merchant_id]),
            hours=hours[merchant_id],
            people=people[merchant_id],
            world_now=world_now,
        )
        for merchant_id in merchant_ids
    }


ROUTES = [today]
