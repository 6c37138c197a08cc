"""Staff sites of a test's own, whose streams are told what it likes; more than one is more than one server."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

from dewpond.identity import Realm
from dewpond.kit.clock import Now
from dewpond.kit.db import Database, Tx
from dewpond.kit.outbox import Fact
from dewpond.web import console, desk, staff
from dewpond.web.live import Compose, Live, Write, settled
from dewpond.web.sites import Porch, Site, create_site
from web.conftest import serving
from web.tills import Till


@asynccontextmanager
async def special(
    house: Any, world: Any, compose: Any = None, *, welcome: Any = console.still_welcome
) -> AsyncIterator[tuple[str, list[Porch]]]:
    """A staff site of its own, whose streams are composed by the test where it likes to."""
    porches: list[Porch] = []

    def create(house: Any, world: Any) -> Porch:
        told = Live(house.db, dict.fromkeys(console.KINDS, one_by_one(compose)) if compose else console.KINDS, welcome)
        site = Site(house, name="staff", realm=Realm.STAFF, origin=world.staff_url, is_sandbox=True, live=told)
        porches.append(create_site(site, staff.ROUTES, sums=desk.Sums(house.db)))
        return porches[-1]

    async with serving(house, world, create, "staff_url") as origin:
        yield origin, porches


def one_by_one(compose: Callable[[Tx, UUID], Awaitable[Write | None]]) -> Compose:
    """Has each shop's streams told apart from the others'."""

    async def told(tx: Tx, facts_of: Mapping[UUID, Sequence[Fact]], now: Now) -> dict[UUID, Write]:
        composed = {merchant_id: await compose(tx, merchant_id) for merchant_id in facts_of}
        return {merchant_id: write for merchant_id, write in composed.items() if write is not None}

    return told


def moved(client: Any, origin: str) -> Any:
    """The same visitor at another door."""
    client.base_url = origin
    return client


async def sell(till: Till, payer: Any, sum_: str = "18.00") -> Any:
    """Somebody buys, and the pool has settled it."""
    paid = await till.sell(payer, sum_)
    await till.settle()
    return paid


async def position(database: Database) -> int:
    """How far streams can be told."""
    async with database.transaction() as tx:
        return await settled(tx)
