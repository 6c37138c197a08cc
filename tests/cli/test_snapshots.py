"""A world in a file and back: on a home and a PostgreSQL of its own, as on somebody's machine."""

import asyncio
import io
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from dewpond.kit.postgres import Postgres

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


@pytest.mark.parametrize(
    ("_case", "damage", "told"),
    [
        ("not a backup", lambda raw: b"hello", "not a backup"),
        ("cut off", lambda raw: raw[: len(raw) // 2], "pg_restore failed"),
    ],
)
def test_a_bad_file_changes_nothing(_case: str, damage: object, told: str, dewpond: Type, file: Path) -> None:
    assert callable(damage)
    file.write_bytes(damage(file.read_bytes()))
    before = names(dewpond)
    ran = dewpond("world", "restore", str(file))
    assert ran.code == 1
    assert told in ran.err
    assert names(dewpond) == before


def test_a_backup_without_its_master_key_is_refused(dewpond: Type, file: Path, home: Path) -> None:
    key = home / "master.key"
    kept = key.read_text()
    try:
        key.write_text("k1:" + "A" * 43 + "=\n")
        ran = dewpond("world", "restore", str(file))
    finally:
        key.write_text(kept)
    assert ran.code == 1
    assert "does not open" in ran.err
    assert dewpond("ledger", "check").code == 0


def test_a_reset_is_asked_for_and_begins_anew(dewpond: Type, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert dewpond("world", "reset", "--yes", "--blank").code == 0
    assert names(dewpond) == []
    assert dewpond("world", "reset", "--yes").code == 0
    assert sorted(names(dewpond)) == ["Alice", "Bob"]
    assert [one["name"] for one in dewpond("merchants", "list", "--json").json] == ["Tea Shop"]
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    ran = dewpond("world", "reset")
    assert ran.code == 1
    assert sorted(names(dewpond)) == ["Alice", "Bob"]
