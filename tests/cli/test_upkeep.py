"""What an operator does to a world that lives: keys, certificates, long books, stuck work, backups elsewhere."""

import asyncio
import contextlib
import os
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import asyncpg
import pytest

from dewpond import merchants
from dewpond.cli.desk import Place, open_desk
from dewpond.cli.doors import OpenDoors, usual_doors
from dewpond.cli.run import _prepare
from dewpond.cli.running import RunFile, Running, find_running
from dewpond.cli.snapshots import _without_password, back_up
from dewpond.cli.worlds import _listeners
from dewpond.kit import clock, crypto, jobs, worlds
from dewpond.kit.db import Database, Tx
from dewpond.kit.jobs import GiveUp
from dewpond.kit.postgres import Postgres
from dewpond.settings import Settings, read_settings
from dewpond.wiring import House, open_house

from .conftest import Type


@pytest.fixture(scope="module")
def shop(dewpond: Type, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shop") / "keys"
    ran = dewpond("merchants", "create", "Tea Shop", "--out", str(folder))
    assert ran.code == 0, ran.err
    return folder


def test_the_platform_certificate_is_replaced(shop: Path, dewpond: Type) -> None:
    assert dewpond("world", "rotate-certificate", "--json").json["platform_serial_no"]


def test_the_master_key_is_replaced_under_a_process_that_runs(shop: Path, dewpond: Type, dsn: str) -> None:
    async def signs(house: House) -> int:
        """With how many of the platform's certificates the process can sign."""
        async with house.db.transaction() as tx:
            found = await merchants.list_platform_certificates(tx, wall_now=clock.wall_now())
        return len([one.signer(house.secrets) for one in found])

    async def rotate_under() -> dict[str, Any]:
        async with open_house(read_settings(), dsn=dsn, name="tests") as house:
            before = await signs(house)
            ran = await asyncio.to_thread(dewpond, "world", "rotate-key", "--json")
            assert await signs(house) == before >= 1
            assert house.secrets.current_id == ran.json["key_id"]
            assert ran.err == ""  # nobody need be started anew
            return dict(ran.json)

    rotated = asyncio.run(rotate_under())
    assert rotated["key_id"] == "k2"
    assert rotated["sealed"] >= 4


def test_a_master_key_goes_to_other_machines_before_anything_is_sealed_with_it(shop: Path, dewpond: Type) -> None:
    added = dewpond("world", "rotate-key", "--step", "add", "--json").json
    assert added["sealed"] == 0
    resealed = dewpond("world", "rotate-key", "--step", "reseal", "--json").json
    assert resealed["key_id"] == added["key_id"]
    assert resealed["sealed"] >= 4
    assert dewpond("world", "rotate-key", "--step", "reseal", "--json").json["sealed"] == 0


def test_a_long_book_is_added_up_to_its_end(
    shop: Path, dewpond: Type, dsn: str, owner_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lock stands for the length: other commands are not that patient."""
    desk: Any = open_desk
    monkeypatch.setitem(desk.__wrapped__.__kwdefaults__, "query_seconds", 0.3)

    waits = "select exists (select from pg_locks where relation::regclass::text like 'ledger.%' and not granted)"

    async def under_lock() -> tuple[int, int]:
        owner = await asyncpg.connect(owner_dsn)
        try:
            held = owner.transaction()
            await held.start()
            await owner.execute("lock ledger.accounts, ledger.entries in access exclusive mode")
            impatient = await asyncio.to_thread(dewpond, "ledger", "balances")
            patient = asyncio.create_task(asyncio.to_thread(dewpond, "ledger", "check"))
            async with asyncio.timeout(120):
                while not await owner.fetchval(waits):
                    await asyncio.sleep(0.02)
            await asyncio.sleep(1)  # longer than the others' patience
            await held.rollback()
            return impatient.code, (await patient).code
        finally:
            await owner.close()

    assert asyncio.run(under_lock()) == (1, 0)


# --- certificates of merchants, and of the platform -------------------------------------------------------------------


def test_a_second_certificate_works_beside_the_first(dewpond: Type, dsn: str, tmp_path: Path) -> None:
    made = dewpond("merchants", "create", "Rotating", "--out", str(tmp_path / "old"), "--json").json
    second = dewpond("merchants", "certify", made["mchid"], "--out", str(tmp_path / "new"), "--json").json
    key = crypto.parse_private_key((tmp_path / "new" / "apiclient_key.pem").read_bytes())
    certificate = crypto.parse_certificate((tmp_path / "new" / "apiclient_cert.pem").read_bytes())
    assert crypto.certified_key(certificate).public_numbers() == key.public_key().public_numbers()
    assert crypto.serial_text(certificate) == second["serial_no"] != made["serial_no"]
    assert stat.S_IMODE((tmp_path / "new" / "apiclient_key.pem").stat().st_mode) == 0o600

    async def trusted() -> list[bool]:
        async with open_house(read_settings(), dsn=dsn, name="tests") as house, house.db.transaction() as tx:
            claims = [
                merchants.Claim(number=made["mchid"], serial=serial, key_id="", appid=made["appid"])
                for serial in (made["serial_no"], second["serial_no"])
            ]
            found = await merchants.recognise(tx, claims, wall_now=clock.wall_now())
        return [one is not None and bool(one.caller.pem) and one.caller.revoked_at is None for one in found]

    assert asyncio.run(trusted()) == [True, True]
    assert dewpond("merchants", "revoke", made["mchid"], made["serial_no"]).code == 0
    assert asyncio.run(trusted()) == [False, True]


def test_a_request_made_elsewhere_is_only_signed(dewpond: Type, tmp_path: Path) -> None:
    made = dewpond("merchants", "create", "Distant", "--out", str(tmp_path), "--json").json
    key_pem = crypto.new_private_key_pem()
    request = tmp_path / "request.pem"
    request.write_bytes(crypto.certificate_signing_request(key_pem, "whoever"))
    before = sorted(file.name for file in tmp_path.iterdir())
    ran = dewpond("merchants", "certify", made["mchid"], "--csr", str(request))
    certificate = crypto.parse_certificate(ran.out.encode())  # nothing else is on stdout
    ours = crypto.parse_private_key(key_pem).public_key().public_numbers()
    assert crypto.certified_key(certificate).public_numbers() == ours
    assert crypto.serial_text(certificate) in ran.err
    assert sorted(file.name for file in tmp_path.iterdir()) == before
    over = dewpond("merchants", "certify", made["mchid"], "--out", str(tmp_path))
    assert over.code == 1
    assert "never written over" in over.err
    assert dewpond("merchants", "certify", made["mchid"]).code == 2
    request.write_text("no request")
    assert dewpond("merchants", "certify", made["mchid"], "--csr", str(request)).code == 1


def test_each_run_sees_to_the_platform_certificate(shop: Path, dewpond: Type, dsn: str, owner_dsn: str) -> None:
    async def end_and_prepare() -> tuple[int, int]:
        place = Place(settings=read_settings(), dsn=dsn, owner_dsn=owner_dsn, postgres=None)
        owner = await asyncpg.connect(owner_dsn)
        await owner.execute("update merchants.platform_keys set not_after = now() where not_after is not null")
        await owner.close()
        db = await Database.open(dsn, size=1)
        told = []
        for prepare in (False, True):
            if prepare:
                opened = OpenDoors(sockets={}, doors=usual_doors(place.settings))
                await _prepare(place, None, opened, blank=True)
            async with db.transaction() as tx:
                told.append(len(await merchants.list_platform_certificates(tx, wall_now=clock.wall_now())))
        await db.close()
        return told[0], told[1]

    assert asyncio.run(end_and_prepare()) == (0, 1)


# --- what is stuck ----------------------------------------------------------------------------------------------------


def test_what_is_stuck_is_told_and_let_go(shop: Path, dewpond: Type, dsn: str) -> None:
    async def with_db(verb: Callable[[Tx], Awaitable[Any]]) -> Any:
        db = await Database.open(dsn, size=1)
        try:
            async with db.transaction() as tx:
                return await verb(tx)
        finally:
            await db.close()

    async def give_up(tx: Tx) -> None:
        now = await worlds.read_clocks(tx)
        await jobs.schedule(tx, "nonsense", [(subject, now.world) for subject in ("one", "two", "three")])
        claimed = [job for job in await jobs.claim(tx, now, most=100) if job.kind == "nonsense"]
        await jobs.settle(tx, [(job, GiveUp(f"{job.subject} [is] odd")) for job in claimed], now)

    async def due(tx: Tx) -> list[str]:
        now = await worlds.read_clocks(tx)
        found = await jobs.list_like(tx, "nonsense", "%")
        return sorted(one.subject for one in found if one.quarantined_at is None and one.due_at <= now.world)

    assert dewpond("events", "stuck", "--json").json == []
    assert "Nothing" in dewpond("events", "stuck").out
    asyncio.run(with_db(give_up))
    stuck = {one["subject"]: one for one in dewpond("events", "stuck", "--json").json}
    assert set(stuck) == {"one", "two", "three"}
    assert (stuck["one"]["kind"], stuck["one"]["last_error"]) == ("nonsense", "one [is] odd")
    assert stuck["one"]["quarantined_at"]
    assert "two [is] odd" in dewpond("events", "stuck").out

    assert dewpond("events", "release", stuck["one"]["id"], "--json").json == {"released": [stuck["one"]["id"]]}
    assert asyncio.run(with_db(due)) == ["one"]
    again = dewpond("events", "release", stuck["one"]["id"])
    assert (again.code, again.out) == (1, "")
    assert "not stuck" in again.err
    assert len(dewpond("events", "release", "--all", "--json").json["released"]) == 2
    assert asyncio.run(with_db(due)) == ["one", "three", "two"]
    assert dewpond("events", "stuck", "--json").json == []
    for words in ([], [stuck["one"]["id"], "--all"]):
        assert dewpond("events", "release", *words).code == 2


# --- whom a clock that is moved may call ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("_case", "ours", "running", "listeners"),
    [
        ("nobody serves it", True, None, ()),
        ("served on loopback", True, Running(pid=1, listeners=(("127.0.0.1", 8602),)), (("127.0.0.1", 8602),)),
        ("served to everybody", True, Running(pid=1, listeners=(("0.0.0.0", 8601),)), (("0.0.0.0", 8601),)),  # noqa: S104 - told, never bound
        ("about to be served", True, Running(pid=1), None),
        ("on another's server", False, None, None),
        ("on another's server, served here", False, Running(pid=1, listeners=(("::1", 1),)), (("::1", 1),)),
    ],
)
def test_the_clock_calls_as_far_as_the_servers_are_bound(
    _case: str,
    ours: bool,
    running: Running | None,
    listeners: tuple[tuple[str, int], ...] | None,
    cluster: Postgres,
    tmp_path: Path,
) -> None:
    settings = Settings(home=tmp_path)
    place = Place(settings=settings, dsn="", owner_dsn="", postgres=cluster if ours else None)
    run_file = RunFile(settings)
    if running is not None:
        run_file.hold(running)
    try:
        assert _listeners(place, find_running(settings)) == listeners
    finally:
        run_file.leave()


def test_the_password_of_a_server_is_in_no_list_of_processes(
    shop: Path, dewpond: Type, owner_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Looked at while a lock holds the backup up."""
    secret = "not for/everybody"
    monkeypatch.setenv("DEWPOND_OWNER_DATABASE_URL", owner_dsn.replace("@/", f":{quote(secret, safe='')}@/"))

    def dumping() -> list[tuple[str, str]]:
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                words = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                if "pg_dump" in words and str(tmp_path) in words:
                    found.append((words, (process / "environ").read_bytes().decode()))
        return found

    async def look_while_it_waits() -> tuple[list[tuple[str, str]], int]:
        owner = await asyncpg.connect(owner_dsn)
        try:
            held = owner.transaction()
            await held.start()
            await owner.execute("lock kit.worlds in access exclusive mode")
            place = Place(
                settings=read_settings(), dsn=owner_dsn, owner_dsn=os.environ["DEWPOND_OWNER_DATABASE_URL"],
                postgres=None,
            )  # fmt: skip
            backup = asyncio.create_task(asyncio.to_thread(asyncio.run, back_up(place, tmp_path / "world.dump")))
            async with asyncio.timeout(120):
                while not (seen := dumping()):
                    await asyncio.sleep(0.01)
            await held.rollback()
            await backup
            return seen, (tmp_path / "world.dump").stat().st_size
        finally:
            await owner.close()

    seen, size = asyncio.run(look_while_it_waits())
    assert size > 0
    for words, environ in seen:
        assert secret not in words
        assert quote(secret, safe="") not in words
        assert f"PGPASSWORD={secret}" in environ.split("\0")


@pytest.mark.parametrize(
    ("dsn", "told", "password"),
    [
        ("postgresql://o:p%40ss@db:5432/world?sslmode=require", "postgresql://o@db:5432/world?sslmode=require", "p@ss"),
        ("postgresql://o@db/world?password=a%20b&host=%2Frun%2Fpg", "postgresql://o@db/world?host=%2Frun%2Fpg", "a b"),
        ("postgresql://o@[::1]:1,b:2/world", "postgresql://o@[::1]:1,b:2/world", ""),
        ("postgresql:///world", "postgresql:///world", ""),
        ("postgres://db/world", "postgres://db/world", ""),
    ],
)
def test_a_dsn_is_taken_apart_from_its_password(dsn: str, told: str, password: str) -> None:
    assert _without_password(dsn) == (told, password)
