"""The ground a run stands on: its own durable PostgreSQL in a temporary home, one database per scenario."""

import asyncio
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg

from bench.child import Broken
from bench.meter import Meter
from dewpond.kit.migrations import migrate
from dewpond.kit.postgres import Postgres
from dewpond.kit.secrets import MasterKeys
from dewpond.settings import Settings

_DURABLE = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}
_WATCHED = {
    "shared_preload_libraries": "pg_stat_statements",
    "pg_stat_statements.track": "all",
    "pg_stat_statements.max": "2000",
}
_TEMPLATE = "bench_template"
_FILLED = """
select oid::regclass::text from pg_class
where relkind = 'r' and pg_relation_size(oid) > 0 and relnamespace <> 'information_schema'::regnamespace
"""


class Ground:
    """A running server; scenarios ask it for databases."""

    def __init__(self, home: Path, postgres: Postgres, desk: "asyncpg.Connection[Any]") -> None:
        self.home = home
        self.postgres = postgres
        self.settings = Settings(home=home)
        self.secrets = MasterKeys.create(self.settings.key_file)
        self.meter = Meter(postgres, desk)
        self.desk = desk

    async def database(self, name: str) -> str:
        """A fresh database with the whole schema in it; the DSN of the application's role."""
        await self.desk.execute(f'create database "{name}" owner dewpond_owner template "{_TEMPLATE}"')
        return self.postgres.dsn("dewpond_app", name)

    async def drop(self, name: str) -> None:
        """Give a database's room back."""
        await self.desk.execute(f'drop database if exists "{name}" with (force)')

    async def settle(self, name: str) -> None:
        """Let a database that was just filled come to rest: statistics, visibility, a checkpoint.

        Empty tables are left alone, as autovacuum does: one that was seen empty is planned for as if it stayed so.
        """
        connection = await asyncpg.connect(self.postgres.dsn("dewpond_super", name))
        try:
            for (table,) in await connection.fetch(_FILLED):
                await connection.execute(f"vacuum (analyze) {table}")
            await connection.execute("checkpoint")
        finally:
            await connection.close()

    def environment(self, name: str) -> Mapping[str, str]:
        """What a process that works on a database is told."""
        return {
            **{key: value for key, value in os.environ.items() if not key.startswith(("PG", "DEWPOND_"))},
            "DEWPOND_HOME": str(self.home),
            "DEWPOND_DATABASE_URL": self.postgres.dsn("dewpond_app", name),
            "DEWPOND_OWNER_DATABASE_URL": self.postgres.dsn("dewpond_owner", name),
        }


@asynccontextmanager
async def open_ground(*, watched: bool) -> AsyncIterator[Ground]:
    """Set a server up, and leave nothing of it behind. `watched` lets it count what each statement costs."""
    _stop_when_told()
    home = Path(tempfile.mkdtemp(prefix="dewpond-bench-"))
    home.chmod(0o755)  # root's server runs as somebody else, who has to get there
    try:
        with Postgres(home, options=_DURABLE | (_WATCHED if watched else {})) as postgres:
            desk = await asyncpg.connect(postgres.dsn("dewpond_super", "postgres"))
            try:
                for name, wanted in _DURABLE.items():
                    if await desk.fetchval(f"show {name}") != wanted:
                        raise Broken(f"the server has {name} off; figures would mean nothing")
                await desk.execute(f'create database "{_TEMPLATE}" owner dewpond_owner template template0')
                await migrate(postgres.dsn("dewpond_owner", _TEMPLATE))
                yield Ground(home, postgres, desk)
            finally:
                desk.terminate()
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _stop_when_told() -> None:
    """Let Ctrl-C and SIGTERM end this task, once: what is being cleared away then is not interrupted again."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None
    told: list[bool] = []

    def stop() -> None:
        if not told:
            told.append(True)
            task.cancel()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
