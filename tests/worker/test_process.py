"""A worker as a process of its own: it starts, hears, outlives its database, and stops when it is told to."""

import asyncio
import os
import re
import resource
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from dewpond.kit import clock, jobs, worlds
from dewpond.kit.db import Database
from dewpond.kit.migrations import migrate
from dewpond.kit.postgres import Postgres
from dewpond.kit.worlds import WorldKind
from dewpond.settings import Settings

pytestmark = pytest.mark.journey


@asynccontextmanager
async def worker(settings: Settings, dsn: str, **more: str) -> AsyncIterator[asyncio.subprocess.Process]:
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("DEWPOND_")},
        "DEWPOND_HOME": str(settings.home),
        "DEWPOND_DATABASE_URL": dsn,
        "DEWPOND_OWNER_DATABASE_URL": dsn,
        "DEWPOND_LISTENERS": "127.0.0.1:8601,[::1]:8602",
        **more,
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "dewpond.worker", env=environment, stderr=asyncio.subprocess.PIPE
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def says(process: asyncio.subprocess.Process, words: str) -> None:
    """Read on until the log says it."""
    assert process.stderr is not None
    async with asyncio.timeout(120):
        while words.encode() not in (line := await process.stderr.readline()):
            assert line, f"it ended without saying {words}"


async def unknown_job_is_set_aside(database: Database, subject: str) -> None:
    """A job of no known kind needs no other hands: whoever works puts it into quarantine."""
    async with database.transaction() as tx:
        await jobs.schedule(tx, "nonsense", [(subject, (await worlds.read_clocks(tx)).world)])
    async with asyncio.timeout(120):
        while True:
            async with database.transaction() as tx:
                if any(job.subject == subject for job in await jobs.quarantined(tx)):
                    return
            await asyncio.sleep(0.01)


async def test_it_works_tells_and_stops(settings: Settings, database: Database, dsn: str, world: Any) -> None:
    async with worker(settings, dsn) as process:
        await says(process, "event='worker.started'")
        await unknown_job_is_set_aside(database, "bell")
        await says(process, "event='job.quarantined'")
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(60):
            assert await process.wait() == 0


async def test_an_idle_worker_costs_next_to_nothing(
    settings: Settings, database: Database, dsn: str, world: Any
) -> None:
    """Counted rather than timed: on a slow or busy machine it wakes up and asks less often, never more."""
    async with worker(settings, dsn) as process:
        await says(process, "event='worker.started'")
        await asyncio.sleep(1)
        before, began = await _effort(process.pid, database), time.monotonic()
        await asyncio.sleep(5)
        after, seconds = await _effort(process.pid, database), time.monotonic() - began
        spent = {name: (after[name] - before[name]) / seconds for name in before}
        assert spent["transactions"] < 25, spent
        assert spent["wakes"] < 60, spent
        assert spent["processor"] < 0.1, "it does not run round in circles"


async def _effort(pid: int, database: Database) -> dict[str, float]:
    """What the worker has done so far: transactions in its database, times it was woken, seconds of a processor."""
    async with database.transaction() as tx:
        transactions = await tx.connection.fetchval(
            "select xact_commit + xact_rollback from pg_stat_database where datname = current_database()"
        )
    status = Path(f"/proc/{pid}/status").read_text()
    switches = re.findall(r"^(?:non)?voluntary_ctxt_switches:\s*(\d+)", status, flags=re.M)
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    processor = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return {"transactions": transactions, "wakes": int(switches[0]), "processor": processor}


async def test_it_outlives_its_database(settings: Settings, tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    with Postgres(tmp_path / "world", options={"shared_buffers": "16MB"}) as postgres:
        await migrate(postgres.dsn("dewpond_owner"))
        database = await Database.open(postgres.dsn(), size=2)
        async with database.transaction() as tx:
            await worlds.create_world(tx, WorldKind.SANDBOX, public_url="", wall_now=clock.wall_now())
        async with worker(settings, postgres.dsn()) as process:
            await says(process, "event='worker.started'")
            for death in range(2):
                await unknown_job_is_set_aside(database, f"before {death}")
                await database.close()
                pid = postgres.pid()
                assert pid is not None
                os.kill(pid, signal.SIGKILL)
                await says(process, "event='worker.trouble'")
                await asyncio.to_thread(postgres.ensure)
                database = await Database.open(postgres.dsn(), size=2)
                await unknown_job_is_set_aside(database, f"after {death}")
            assert process.returncode is None
            process.send_signal(signal.SIGINT)
            async with asyncio.timeout(60):
                assert await process.wait() == 0
        await database.close()


async def test_it_waits_for_a_database_that_is_not_there_yet(settings: Settings, tmp_path: Path) -> None:
    async with worker(settings, f"postgresql://dewpond_app@/dewpond?host={tmp_path}&port=5432") as process:
        await says(process, "event='worker.no_database'")
        await says(process, "event='worker.no_database'")
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(60):
            assert await process.wait() == 0


async def test_many_slow_receivers_fit_in_its_files(settings: Settings, dsn: str, world: Any) -> None:
    async with worker(settings, dsn) as process:
        await says(process, "event='worker.started'")
        soft, hard = resource.prlimit(process.pid, resource.RLIMIT_NOFILE)
        assert soft == hard
