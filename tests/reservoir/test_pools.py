"""The pools of a person: who knows them, and what."""

from datetime import timedelta
from uuid import UUID

from dewpond import reservoir
from dewpond.kit.db import Database
from dewpond.kit.ids import new_id

from .conftest import START, bought, record, returned


async def test_a_person_sees_who_knows_them_and_what(database: Database) -> None:
    alice, tea, coffee = new_id(), new_id(), new_id()
    purchase = bought(tea, alice, 1800, day=1)
    await record(database, bought(coffee, alice, 900), purchase, bought(tea, alice, 200, day=5))
    await record(database, returned(purchase, 800, day=6), bought(tea, new_id(), 5000))
    async with database.transaction() as tx:
        pools = await reservoir.list_pools(tx, alice)
        assert [one.merchant_id for one in pools] == [tea, coffee], "the newest acquaintance first"
        assert pools[0] == await reservoir.find_contact(tx, tea, alice), "exactly what the merchant is shown"
    [spent] = pools[0].spendings
    assert (spent.purchases, str(spent.net), pools[0].last_seen_at) == (2, "12.00 CNY", START + timedelta(days=6))
    assert str(pools[1].spendings[0].net) == "9.00 CNY"


async def test_nobody_else_is_in_it(database: Database) -> None:
    alice, bob, tea = new_id(), new_id(), new_id()
    await record(database, bought(tea, alice, 100), bought(tea, bob, 200))
    async with database.transaction() as tx:
        assert [(one.person_id, one.spendings[0].spent_minor) for one in await reservoir.list_pools(tx, bob)] == [
            (bob, 200)
        ]
        assert await reservoir.list_pools(tx, new_id()) == []


async def test_pages_hold_every_pool_once(database: Database) -> None:
    alice, shops = new_id(), [new_id() for _ in range(7)]
    await record(database, *(bought(shop, alice, 100, day=n // 3) for n, shop in enumerate(shops)))
    seen: list[UUID] = []
    before = None
    async with database.transaction() as tx:
        while page := await reservoir.list_pools(tx, alice, before=before, most=2):
            seen += [one.merchant_id for one in page]
            before = (page[-1].first_seen_at, page[-1].merchant_id)
    assert len(seen) == 7
    assert set(seen) == set(shops)
