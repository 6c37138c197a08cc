"""What a sandbox begins with: whoever opens it can come in at once, as anybody."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from dewpond import merchants
from dewpond.cli.demo_world import furnish
from dewpond.cli.desk import open_desk
from dewpond.kit import clock
from dewpond.kit.postgres import Postgres

from .conftest import Type

STAFF = {"operator": [], "tea-owner": ["owner"], "tea-cashier": ["cashier"], "tea-analyst": ["analyst"]}


@pytest.fixture
def empty(
    dewpond: Type, cluster: Postgres, template: str, database_name: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Type]:
    """Commands for a database of this test's own, with the schema and nothing in it."""
    name = f"{database_name}_own"

    async def on_server(statement: str) -> None:
        server = await asyncpg.connect(cluster.dsn("dewpond_super", "postgres"))
        await server.execute(statement)
        await server.close()

    asyncio.run(on_server(f'create database "{name}" owner dewpond_owner template "{template}"'))
    monkeypatch.setenv("DEWPOND_DATABASE_URL", cluster.dsn("dewpond_app", name))
    monkeypatch.setenv("DEWPOND_OWNER_DATABASE_URL", cluster.dsn("dewpond_owner", name))
    yield dewpond
    asyncio.run(on_server(f'drop database "{name}" with (force)'))


async def furnished() -> tuple[bool, dict[str, list[str]]]:
    """Whether it was furnished now; and who signs in as what, with the roles they have."""
    async with open_desk(make=True) as desk:
        made = await furnish(desk)
        async with desk.db.transaction() as tx:
            found = await merchants.newest_staff_members(tx)
            roles = {one.sign_in_name: [str(role) for _, role in await merchants.roles_of(tx, one.id)] for one in found}
            assert [one.sign_in_name for one in await merchants.list_operators(tx)] == ["operator"] * (
                "operator" in roles
            )
            assert not any([await merchants.has_password(tx, one.id) for one in found])
            return made, roles


def test_a_fresh_sandbox_has_an_operator_and_the_shops_staff(empty: Type) -> None:
    assert asyncio.run(furnished()) == (True, STAFF)
    assert asyncio.run(furnished()) == (False, STAFF), "once"
    [shop] = empty("merchants", "list", "--json").json
    assert [one["name"] for one in empty("staff", "list", shop["mchid"], "--json").json] == [
        "Tea Owner", "Tea Cashier", "Tea Analyst",
    ]  # fmt: skip


def test_a_sandbox_from_before_there_was_staff_gets_them(empty: Type, tmp_path: Path) -> None:
    assert empty("merchants", "create", "Tea Shop", "--out", str(tmp_path / "keys")).code == 0
    assert asyncio.run(furnished()) == (False, STAFF)


def test_without_the_tea_shop_there_is_an_operator(empty: Type) -> None:
    assert empty("people", "create", "Alice").code == 0
    assert asyncio.run(furnished()) == (False, {"operator": []})


def test_who_was_sent_away_does_not_come_back(empty: Type) -> None:
    async def send_everybody_away() -> None:
        async with open_desk() as desk, desk.db.transaction() as tx:
            for one in await merchants.newest_staff_members(tx):
                await merchants.end_staff_member(tx, one.id, wall_now=clock.wall_now())

    asyncio.run(furnished())
    asyncio.run(send_everybody_away())
    assert asyncio.run(furnished()) == (False, {})
