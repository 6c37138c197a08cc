"""Migrations: forward only, in order, whoever begins first."""

import asyncio
import sys
from collections.abc import AsyncIterator

import asyncpg
import pytest

from dewpond.kit.migrations import SchemaNewer, migrate, migrations, pending, schema_mark
from dewpond.kit.postgres import Postgres

STARTS_AT_ONCE = 3
MIGRATE = "import asyncio, sys; from dewpond.kit.migrations import migrate; asyncio.run(migrate(sys.argv[1]))"


@pytest.fixture
async def empty_dsn(cluster: Postgres, database_name: str) -> AsyncIterator[str]:
    """A database without any schema, as its owner."""
    name = f"{database_name}_empty"
    server = await asyncpg.connect(cluster.dsn("dewpond_super", "postgres"))
    try:
        await server.execute(f'create database "{name}" owner dewpond_owner template template0')
        yield cluster.dsn("dewpond_owner", name)
        await server.execute(f'drop database "{name}" with (force)')
    finally:
        await server.close()


async def test_every_file_runs_once_and_in_order(empty_dsn: str) -> None:
    names = [one.name for one in migrations()]
    assert await pending(empty_dsn) == names == sorted(names)
    assert await migrate(empty_dsn) == names
    assert await pending(empty_dsn) == []
    assert await migrate(empty_dsn) == []


async def test_processes_that_start_at_once_take_turns(empty_dsn: str) -> None:
    started = [
        await asyncio.create_subprocess_exec(sys.executable, "-c", MIGRATE, empty_dsn) for _ in range(STARTS_AT_ONCE)
    ]
    assert [await process.wait() for process in started] == [0] * STARTS_AT_ONCE
    assert await pending(empty_dsn) == []


async def test_a_newer_schema_is_refused(empty_dsn: str) -> None:
    await migrate(empty_dsn)
    connection = await asyncpg.connect(empty_dsn)
    await connection.execute("update alembic_version set version_num = '9999_tomorrow'")
    await connection.close()
    with pytest.raises(SchemaNewer):
        await migrate(empty_dsn)


async def test_a_migration_that_fails_leaves_nothing_behind(empty_dsn: str) -> None:
    connection = await asyncpg.connect(empty_dsn)
    await connection.execute("create schema openplatform")  # in the way of the last one
    with pytest.raises(asyncpg.DuplicateSchemaError):
        await migrate(empty_dsn)
    assert await connection.fetchval("select to_regnamespace('kit')") is None
    await connection.close()
    assert await pending(empty_dsn) == [one.name for one in migrations()]


async def test_the_application_sees_whether_it_fits(dsn: str) -> None:
    assert await pending(dsn) == []


def test_the_mark_of_the_schema_is_short_and_steady() -> None:
    assert schema_mark() == schema_mark()
    assert len(schema_mark()) == 12
