"""A world in a file and back: on a home and a PostgreSQL of its own, as on somebody's machine."""

import asyncio
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from dewpond.cli import snapshots
from dewpond.cli.demo_world import furnish, shop_folder
from dewpond.cli.desk import open_desk
from dewpond.cli.snapshots import _beside
from dewpond.kit.migrations import migrations
from dewpond.kit.postgres import Postgres
from dewpond.settings import Settings

from .conftest import Type, run

NOT_IN_USE = Path("does-not-exist")


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """A folder in which nothing was ever started."""
    place = Path(tempfile.mkdtemp(prefix="dewpond-tests-home-"))
    place.chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DEWPOND_HOME", str(place))
        for name in ("DEWPOND_DATABASE_URL", "DEWPOND_OWNER_DATABASE_URL"):
            patch.delenv(name, raising=False)
        yield place
    shutil.rmtree(place)


@pytest.fixture(scope="module")
def dewpond(home: Path) -> Iterator[Type]:
    """Type commands in that home, while its PostgreSQL is kept up."""
    with Postgres(home, options={"fsync": "off", "shared_buffers": "16MB"}):
        yield run


@pytest.fixture
def file(dewpond: Type, tmp_path: Path) -> Path:
    """A backup of a sandbox in which Alice is."""
    if dewpond("world", "show").code:
        dewpond("people", "create", "Alice", "--balance", "100")
    file = tmp_path / "world.dump"
    assert dewpond("world", "backup", str(file)).code == 0
    return file


def names(dewpond: Type) -> list[str]:
    return [one["name"] for one in dewpond("people", "list", "--json").json]


def test_looking_at_a_home_without_a_world_makes_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DEWPOND_HOME", str(tmp_path / NOT_IN_USE))
    for words in (["world", "show"], ["ledger", "check"], ["people", "list"], ["world", "reset", "--yes"]):
        ran = run(*words)
        assert ran.code == 1
        assert "no world yet" in ran.err
    assert not (tmp_path / NOT_IN_USE).exists()


def test_a_backup_brings_the_world_back(dewpond: Type, file: Path) -> None:
    dewpond("people", "create", "Late", "--balance", "1")
    restored = dewpond("world", "restore", str(file))
    assert restored.code == 0, restored.err
    assert "Late" not in names(dewpond)
    assert "Alice" in names(dewpond)
    assert dewpond("ledger", "check").code == 0
    assert dewpond("people", "top-up", "Alice", "1").code == 0


def test_a_restore_goes_on_under_open_connections(dewpond: Type, file: Path, home: Path) -> None:
    async def restore_under(dsn: str) -> str:
        connection = await asyncpg.connect(dsn)
        code = await asyncio.to_thread(lambda: dewpond("world", "restore", str(file)).code)
        assert code == 0
        with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, ConnectionError)):
            await connection.fetchval("select 1")
        again = await asyncpg.connect(dsn)
        kind: str = await again.fetchval("select kind from kit.worlds")
        await again.close()
        return kind

    assert asyncio.run(restore_under(Postgres(home).dsn())) == "sandbox"


def _without_a_law(raw: bytes) -> bytes:
    """The schema's text has no checksum of its own."""
    at = raw.index(b"raise exception")
    return raw[:at] + b"return new; -- " + raw[at + 15 :]


@pytest.mark.parametrize(
    ("_case", "damage", "told"),
    [
        ("not a backup", lambda raw: b"hello", "not a backup"),
        ("empty", lambda raw: b"", "not a backup"),
        ("cut off", lambda raw: raw[: len(raw) // 2], "cut off"),
        ("cut off by a letter", lambda raw: raw[:-1], "cut off"),
        ("without its seal", lambda raw: raw[: raw.rindex(b"\ndewpond-backup")], "cut off"),
        ("garbage between", lambda raw: raw[:100] + os.urandom(500) + raw[600:], "was altered"),
        ("a law of the books changed", _without_a_law, "was altered"),
        ("more behind the dump", lambda raw: raw.replace(b"\ndewpond-backup", b"x\ndewpond-backup"), "was altered"),
    ],
)
def test_a_bad_file_changes_nothing(_case: str, damage: object, told: str, dewpond: Type, file: Path) -> None:
    assert callable(damage)
    file.write_bytes(damage(file.read_bytes()))
    before = names(dewpond)
    ran = dewpond("world", "restore", str(file))
    assert ran.code == 1
    assert told in ran.err
    assert len(ran.err.splitlines()) == 1
    assert names(dewpond) == before


def test_a_sealed_backup_is_still_one_for_postgresqls_own_tools(dewpond: Type, file: Path, home: Path) -> None:
    listed = subprocess.run(
        [Postgres(home).program("pg_restore"), "--file=-", file], capture_output=True, text=True, check=True
    )
    assert "COPY ledger.accounts" in listed.stdout


def test_a_backup_goes_with_its_master_key_and_needs_no_other_thing(
    dewpond: Type, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Refused in a home in which nothing was started yet, before anything is."""
    monkeypatch.setenv("DEWPOND_HOME", str(tmp_path / NOT_IN_USE))
    ran = dewpond("world", "restore", str(file), "--json")
    assert (ran.code, ran.out) == (1, "")
    assert json.loads(ran.err)["error"]["code"] == "master_key_missing"
    assert not (tmp_path / NOT_IN_USE).exists()


def test_a_backup_from_before_a_new_master_key_opens_after_it(dewpond: Type, file: Path) -> None:
    assert dewpond("world", "rotate-key").code == 0
    assert dewpond("world", "restore", str(file)).code == 0


def test_a_backup_without_its_master_key_is_refused(dewpond: Type, file: Path, home: Path) -> None:
    key = home / "master.key"
    kept = key.read_text()
    try:
        key.write_text("k1:" + "A" * 43 + "=\n")
        ran = dewpond("world", "restore", str(file))
    finally:
        key.write_text(kept)
    assert ran.code == 1
    assert "another master key" in ran.err
    assert dewpond("ledger", "check").code == 0


def test_a_world_of_an_older_schema_is_not_taken_for_none(dewpond: Type, file: Path, home: Path) -> None:
    """As after an upgrade, before the first `run`: what kind of world it is cannot be read yet."""

    async def write_down(newest: str | None) -> str:
        owner = await asyncpg.connect(Postgres(home).dsn("dewpond_owner"))
        was: str = await owner.fetchval("select version_num from alembic_version")
        await owner.execute("update alembic_version set version_num = $1", newest)
        await owner.close()
        return was

    before = names(dewpond)
    assert "Alice" in before
    newest = asyncio.run(write_down(migrations()[-2].name))
    try:
        for words in (["reset", "--yes"], ["restore", str(file)], ["restore", "--yes", str(file)]):
            ran = dewpond("world", *words)
            assert ran.code == 1
            assert "start `dewpond run` once" in ran.err
    finally:
        asyncio.run(write_down(newest))
    assert names(dewpond) == before


def test_a_restore_killed_before_the_renames_leaves_the_world_to_the_next_command(
    dewpond: Type, file: Path, home: Path
) -> None:
    """A connection that is slow to end holds the restore up where the world has no doors."""

    async def kill_it_there() -> None:
        slow = await asyncpg.connect(Postgres(home).dsn())
        pid: int = await slow.fetchval("select pg_backend_pid()")
        server = await asyncpg.connect(Postgres(home).dsn("dewpond_super", "postgres"))
        os.kill(pid, signal.SIGSTOP)
        try:
            restore = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "dewpond", "world", "restore", str(file)
            )
            async with asyncio.timeout(60):
                while await server.fetchval("select datallowconn from pg_database where datname = 'dewpond'"):
                    await asyncio.sleep(0.01)
            restore.kill()
            await restore.wait()
        finally:
            os.kill(pid, signal.SIGCONT)
        slow.terminate()
        await server.close()
        with pytest.raises(asyncpg.PostgresError, match="not currently accepting"):
            await asyncpg.connect(Postgres(home).dsn())

    before = names(dewpond)
    asyncio.run(kill_it_there())
    assert names(dewpond) == before
    assert dewpond("world", "restore", str(file)).code == 0


def test_two_restores_do_not_take_each_others_database(dewpond: Type, file: Path, home: Path) -> None:
    async def beside_another() -> str:
        with Postgres(home) as postgres:
            async with _beside(postgres):
                ran = await asyncio.to_thread(dewpond, "world", "restore", str(file))
        return str(ran.err)

    assert "goes on" in asyncio.run(beside_another())
    assert dewpond("world", "restore", str(file)).code == 0


def test_a_reset_that_fails_leaves_the_shop_its_keys(
    dewpond: Type, file: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert dewpond("world", "reset", "--yes").code == 0
    keys = shop_folder(Settings(home=home))
    before = (keys / "apiclient_key.pem").read_bytes()

    async def fail(_: object) -> None:
        raise OSError("the server is gone")

    with monkeypatch.context() as patch:
        patch.setattr(snapshots, "_swap", fail)
        assert dewpond("world", "reset", "--yes").code == 1
    assert (keys / "apiclient_key.pem").read_bytes() == before
    assert dewpond("world", "reset", "--yes").code == 0
    assert (keys / "apiclient_key.pem").read_bytes() != before
    assert [entry.name for entry in keys.parent.iterdir()] == [keys.name]
    assert dewpond("world", "reset", "--yes", "--blank").code == 0
    assert not keys.exists()


def test_a_sandbox_is_furnished_whole_or_not_at_all(dewpond: Type, file: Path, home: Path) -> None:
    assert dewpond("world", "reset", "--yes", "--blank").code == 0

    async def try_it() -> bool:
        async with open_desk() as desk:
            return await furnish(desk)

    blocked = shop_folder(Settings(home=home))
    shutil.rmtree(blocked.parent, ignore_errors=True)
    blocked.parent.write_text("no folder can be made here")
    with pytest.raises(OSError, match=str(blocked.parent)):
        asyncio.run(try_it())
    assert names(dewpond) == []
    assert dewpond("merchants", "list", "--json").json == []
    blocked.parent.unlink()
    assert asyncio.run(try_it())
    assert not asyncio.run(try_it())
    assert sorted(names(dewpond)) == ["Alice", "Bob"]
    assert (blocked / "merchant.json").exists()


def test_a_reset_is_asked_for_and_begins_anew(dewpond: Type, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert dewpond("world", "reset", "--yes", "--blank").code == 0
    assert names(dewpond) == []
    assert dewpond("world", "reset", "--yes").code == 0
    assert sorted(names(dewpond)) == ["Alice", "Bob"]
    assert [one["name"] for one in dewpond("merchants", "list", "--json").json] == ["Tea Shop"]
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    ran = dewpond("world", "reset")
    assert ran.code == 1
    assert "not_confirmed" in dewpond("world", "reset", "--json").err
    assert sorted(names(dewpond)) == ["Alice", "Bob"]
