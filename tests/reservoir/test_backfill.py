"""What was known before days and pools were counted is counted when they come."""

import re
from collections.abc import AsyncIterator
from datetime import date
from typing import Any

import asyncpg
import pytest

from dewpond import identity, reservoir
from dewpond.kit import migrations
from dewpond.kit.db import Database
from dewpond.kit.ids import new_id
from dewpond.kit.money import CNY
from dewpond.kit.outbox import Fact
from dewpond.kit.postgres import Postgres

from .conftest import bought, record, returned

TODAY = date(2026, 3, 1)

#: What an older Dewpond wrote of a page of facts.
OLD_TOUCHPOINT = """
insert into reservoir.touchpoints
  (merchant_id, fact_id, person_id, app_id, kind, payment_id, minor, currency, occurred_at)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
"""
OLD_CONTACTS = """
insert into reservoir.contacts (merchant_id, person_id, app_id, first_seen_at, last_seen_at)
select merchant_id, person_id, merchant_id, min(occurred_at), max(occurred_at) from reservoir.touchpoints group by 1, 2
"""


@pytest.fixture
async def older(cluster: Postgres, database_name: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Any]:
    """A database without days and pools; and how to bring it up to date."""
    name = f"{database_name}_older"
    server = await asyncpg.connect(cluster.dsn("dewpond_super", "postgres"))
    await server.execute(f'create database "{name}" owner dewpond_owner template template0')
    every = migrations.migrations()
    with monkeypatch.context() as patch:
        patch.setattr(migrations, "migrations", lambda: [one for one in every if one.name < "0013"])
        await migrations.migrate(cluster.dsn("dewpond_owner", name))
    yield name
    await server.execute(f'drop database "{name}" with (force)')
    await server.close()


async def write_as_before(dsn: str, facts: list[Fact]) -> None:
    connection = await asyncpg.connect(dsn)
    for fact in facts:
        event: Any = fact.event
        kind = "purchase" if fact.kind == "payment.succeeded" else "refund"
        await connection.execute(
            OLD_TOUCHPOINT, fact.merchant_id, fact.id, fact.person_id, event.app_id, kind, event.payment_id,
            event.minor, event.currency, event.occurred_at,
        )  # fmt: skip
    await connection.execute(OLD_CONTACTS)
    await connection.close()


async def check_names(dsn: str, drops: set[tuple[Any, Any]]) -> None:
    """Everybody who was in a pool has a name there that nobody else has, in the form that apps know."""
    db = await Database.open(dsn, size=1)
    async with db.transaction() as tx:
        named = await identity.find_open_ids(tx, drops)
        assert named.keys() == drops
        assert len(set(named.values())) == len(drops)
        for (app_id, person_id), open_id in named.items():
            assert re.fullmatch(r"o[A-Za-z0-9_-]{27}", open_id)
            assert await identity.person_by_open_id(tx, app_id, open_id) == person_id
    await db.close()


async def told(database: Database, shops: list[Any], people: list[Any]) -> Any:
    """Everything that days, sums and pools say."""
    async with database.transaction() as tx:
        return (
            [await reservoir.list_days(tx, shop, TODAY, date(2026, 3, 9)) for shop in shops],
            await reservoir.list_hours_of(tx, shops, TODAY),
            await reservoir.total_takings_of(tx, shops),
            await reservoir.count_people_of(tx, shops),
            [[(one.merchant_id, one.first_seen_at) for one in await reservoir.list_pools(tx, one)] for one in people],
        )


async def test_the_past_is_counted_and_the_future_goes_on_from_it(
    database: Database, cluster: Postgres, older: str
) -> None:
    shops, people = [new_id() for _ in range(2)], [new_id() for _ in range(3)]
    facts = [
        bought(shop, person, 100 + n, hours=n // 2 * 3, currency="JPY" if n % 4 == 3 else "CNY")
        for n, (shop, person) in enumerate((shop, person) for shop in shops for person in people * 2)
    ]
    facts += [returned(fact, 10, hours=30 + n) for n, fact in enumerate(facts[:5])]
    facts.append(bought(shops[0], people[0], 500, hours=40, app=new_id()))  # through a second app of that shop
    await write_as_before(cluster.dsn("dewpond_app", older), facts)
    ran = await migrations.migrate(cluster.dsn("dewpond_owner", older))
    assert {"0013_reservoir_days", "0023_reservoir_totals"} <= set(ran)
    await check_names(cluster.dsn("dewpond_app", older), {(fact.event.app_id, fact.person_id) for fact in facts})
    filled = await Database.open(cluster.dsn("dewpond_app", older), size=2)
    await record(database, *facts)
    assert await told(filled, shops, people) == await told(database, shops, people)
    assert (await told(filled, shops, people))[0][0][0].takings_in(CNY).payments > 0

    # What was counted then is not counted again, and an earlier meeting moves an arrival of back then.
    later = [bought(shops[0], people[0], 7, hours=-2), bought(shops[1], new_id(), 8, hours=50), facts[0], facts[-1]]
    await record(filled, *later)
    await record(database, *later)
    assert await told(filled, shops, people) == await told(database, shops, people)
    await filled.close()
