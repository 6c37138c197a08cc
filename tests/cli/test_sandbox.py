"""How a stranger's test suite drives a sandbox, on a world that nobody has started."""

import asyncio
import json
import signal
import stat
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import asyncpg
import msgspec
import pytest

from dewpond.cli.desk import Place, found_world
from dewpond.kit import clock, crypto, worlds
from dewpond.kit.db import Database
from dewpond.kit.postgres import Postgres
from dewpond.kit.worlds import NotDurable, WorldKind
from dewpond.settings import read_settings
from dewpond.wiring import open_house

from .conftest import Ran, Type


def _typed(*words: str) -> Ran:
    """In a process of its own: streams of this one are shared by its threads."""
    done = subprocess.run([sys.executable, "-m", "dewpond", *words], capture_output=True, text=True, check=False)
    return Ran(done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="module")
def shop(dewpond: Type, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shop") / "keys"
    ran = dewpond("merchants", "create", "Tea Shop", "--out", str(folder))
    assert ran.code == 0, ran.err
    return folder


def test_a_merchant_can_be_the_first_thing_in_a_world(shop: Path, dewpond: Type) -> None:
    told = msgspec.json.decode((shop / "merchant.json").read_bytes())
    assert {
        "mchid", "appid", "serial_no", "apiv3_key", "platform_serial_no", "public_key_id", "base_url",
    } <= told.keys()  # fmt: skip
    assert told["base_url"] == "http://localhost:8601"
    assert len(told["apiv3_key"]) == 32
    key = crypto.parse_private_key((shop / "apiclient_key.pem").read_bytes())
    certificate = crypto.parse_certificate((shop / "apiclient_cert.pem").read_bytes())
    assert crypto.certified_key(certificate).public_numbers() == key.public_key().public_numbers()
    assert crypto.serial_text(certificate) == told["serial_no"]
    platform = crypto.parse_certificate((shop / "platform_cert.pem").read_bytes())
    assert crypto.serial_text(platform) == told["platform_serial_no"]
    crypto.parse_public_key((shop / "pub_key.pem").read_bytes())
    for secret in ("apiclient_key.pem", "merchant.json"):
        assert stat.S_IMODE((shop / secret).stat().st_mode) == 0o600
    assert dewpond("world", "show", "--json").json["kind"] == "sandbox"


def test_a_key_is_never_written_over(shop: Path, dewpond: Type) -> None:
    before = (shop / "apiclient_key.pem").read_bytes()
    ran = dewpond("merchants", "create", "Tea Shop", "--out", str(shop))
    assert ran.code == 1
    assert "never written over" in ran.err
    assert (shop / "apiclient_key.pem").read_bytes() == before


@pytest.mark.parametrize("name", ["apiclient_cert.pem", "pub_key.pem", "platform_cert.pem", "merchant.json"])
def test_a_folder_with_any_of_our_files_is_left_alone(name: str, shop: Path, dewpond: Type, tmp_path: Path) -> None:
    (tmp_path / name).write_text("mine")
    count = len(dewpond("merchants", "list", "--json").json)
    ran = dewpond("merchants", "create", "Second", "--out", str(tmp_path), "--json")
    assert (ran.code, ran.out) == (1, "")
    assert json.loads(ran.err)["error"]["code"] == "folder_used"
    assert [file.name for file in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "mine"
    assert len(dewpond("merchants", "list", "--json").json) == count


def test_a_refused_merchant_leaves_no_folder(shop: Path, dewpond: Type, tmp_path: Path) -> None:
    for words in ([" ", "--out"], ["Shop", "--fee-rate=101%", "--out"]):
        assert dewpond("merchants", "create", *words, str(tmp_path / "a" / "b")).code in {1, 2}
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").touch()
    count = len(dewpond("merchants", "list", "--json").json)
    ran = dewpond("merchants", "create", "Shop", "--out", str(tmp_path / "file" / "keys"))
    assert ran.code == 1
    assert f"{tmp_path}/file" in ran.err
    assert "Not a directory" in ran.err
    assert len(dewpond("merchants", "list", "--json").json) == count
    for command in (["create"], ["certify"]):
        assert dewpond("merchants", *command, "Tea Shop", "--out", "").code == 2


def test_a_folder_of_keys_is_not_for_git(shop: Path) -> None:
    assert (shop / ".gitignore").read_text() == "*\n"


@pytest.mark.parametrize(
    ("rate", "basis_points"), [("0.60%", 60), ("0.6", 60), ("1%", 100), ("0", 0), ("100%", 10_000)]
)
def test_a_fee_rate_is_taken_as_it_is_written(rate: str, basis_points: int, dewpond: Type, tmp_path: Path) -> None:
    made = dewpond("merchants", "create", "Rated", "--out", str(tmp_path), "--fee-rate", rate, "--json").json
    assert dewpond("merchants", "show", made["mchid"], "--json").json["fee_rate_bp"] == basis_points


@pytest.mark.parametrize(
    ("rate", "code"), [("0.605%", 2), ("much", 2), ("nan", 2), ("101%", 2), ("-1%", 2), ("1e999990", 2)]
)
def test_a_bad_fee_rate_is_refused(rate: str, code: int, dewpond: Type, tmp_path: Path) -> None:
    ran = dewpond("merchants", "create", "Rated", "--out", str(tmp_path), f"--fee-rate={rate}")
    assert ran.code == code
    assert "Traceback" not in ran.err
    assert not (tmp_path / "merchant.json").exists()


def test_a_merchant_is_found_by_number_id_and_name_and_changes_its_mode(shop: Path, dewpond: Type) -> None:
    told = msgspec.json.decode((shop / "merchant.json").read_bytes())
    for name in (told["mchid"], told["id"], "Tea Shop"):
        assert dewpond("merchants", "show", name, "--json").json["mchid"] == told["mchid"]
    assert dewpond("merchants", "key-mode", "Tea Shop", "public-key", "--json").json["key_mode"] == "public-key"
    assert dewpond("merchants", "list", "--json").json[0]["key_mode"] == "public-key"


def test_a_revoked_certificate_is_told(dewpond: Type, tmp_path: Path) -> None:
    made = dewpond("merchants", "create", "Careless", "--out", str(tmp_path), "--json").json
    assert dewpond("merchants", "revoke", made["mchid"], made["serial_no"].lower(), "--json").json["revoked"]
    assert dewpond("merchants", "show", made["mchid"], "--json").json["certificates"][0]["revoked_at"]
    again = dewpond("merchants", "revoke", made["mchid"], made["serial_no"])
    assert again.code == 1


def test_a_person_has_money_and_a_statement(dewpond: Type) -> None:
    made = dewpond("people", "create", "Alice", "--balance", "100.00", "--json").json
    assert made["wallets"] == [{"currency": "CNY", "available": 10_000, "held": 0}]
    assert dewpond("people", "top-up", made["id"], "50", "--json").json["wallets"][0]["available"] == 15_000
    told = dewpond("people", "show", made["id"], "--json").json
    assert [line["minor"] for line in told["statement"]] == [5_000, 10_000]
    assert dewpond("people", "set-pin", made["id"], "246810", "--json").code == 0
    assert made["id"] in {one["id"] for one in dewpond("people", "list", "--json").json}
    assert "150.00 CNY" in dewpond("people", "show", made["id"]).out


@pytest.mark.parametrize(
    ("_case", "words", "told"),
    [
        ("no number", ["people", "create", "Eve", "--balance", "lots"], "not an amount"),
        ("too fine", ["people", "create", "Eve", "--balance", "1.005"], "not an amount"),
        ("less than nothing", ["people", "create", "Eve", "--balance=-5"], "not an amount"),
        ("no name", ["people", "create", " "], "1 to 64"),
        ("five digits", ["people", "create", "Eve", "--pin", "12345"], "six digits"),
        ("nobody", ["people", "show", "Nobody"], "no person 'Nobody'"),
        ("no merchant", ["merchants", "show", "Nobody"], "no merchant 'Nobody'"),
        ("no payment", ["pay", "nothing", "--as", "Alice"], "no payment 'nothing'"),
        ("a dead code", ["pay", "http://localhost:8601/q/abc", "--as", "Alice"], "code"),
        ("no such walk", ["ledger", "walk", "nothing"], "no payment 'nothing'"),
        ("no such delivery", ["deliveries", "show", "dlv_00000000000000000000000000"], "no such delivery"),
        ("no delivery at all", ["deliveries", "resend", "dlv_x"], "not one of our ids"),
        ("nobody's balances", ["ledger", "balances", "Nobody"], "Nobody"),
    ],
)
def test_a_refusal_is_one_sentence_on_stderr(
    _case: str, words: list[str], told: str, shop: Path, dewpond: Type
) -> None:
    ran = dewpond(*words)
    assert ran.code == 1
    assert ran.out == ""
    assert told in ran.err
    assert len(ran.err.strip().splitlines()) == 1


def test_of_several_alices_the_newest_is_meant_and_said(shop: Path, dewpond: Type) -> None:
    dewpond("people", "create", "Twin")
    newest = dewpond("people", "create", "Twin", "--json").json
    ran = dewpond("people", "show", "Twin", "--json")
    assert ran.json["id"] == newest["id"]
    assert newest["id"] in ran.err


def test_the_clock_is_frozen_moved_and_thawed(shop: Path, dewpond: Type) -> None:
    frozen = dewpond("world", "clock", "freeze", "--json").json
    assert frozen["frozen"]
    moved = dewpond("world", "clock", "advance", "1d12h", "--json").json
    at = msgspec.convert(moved["world_time"], type=datetime)
    assert (at - msgspec.convert(frozen["world_time"], type=datetime)).total_seconds() == 36 * 3600
    to = dewpond("world", "clock", "advance", "--to", "2099-01-01T00:00:00+08:00", "--json").json
    assert to["world_time"] == "2098-12-31T16:00:00Z"
    back = dewpond("world", "clock", "advance", "--to", "2020-01-01T00:00:00Z")
    assert back.code == 1
    assert "forward" in back.err
    assert not dewpond("world", "clock", "thaw", "--json").json["frozen"]
    assert "2099" in dewpond("world", "clock", "show").out


def test_steps_of_the_clock_add_up_or_are_refused(shop: Path, dewpond: Type) -> None:
    async def at_once() -> list[Ran]:
        steps = [asyncio.to_thread(_typed, "world", "clock", "advance", by) for by in ("30d", "40d")]
        return list(await asyncio.gather(*steps))

    dewpond("world", "clock", "freeze")
    before = msgspec.convert(dewpond("world", "clock", "show", "--json").json["world_time"], type=datetime)
    ran = asyncio.run(at_once())
    after = msgspec.convert(dewpond("world", "clock", "show", "--json").json["world_time"], type=datetime)
    moved = sum(days for days, one in zip((30, 40), ran, strict=True) if one.code == 0)
    assert moved > 0
    assert (after - before).days == moved
    assert all("moving this world's clock" in one.err for one in ran if one.code)
    dewpond("world", "clock", "thaw")


def test_a_stopped_step_says_how_far_it_came(shop: Path, dewpond: Type, dsn: str) -> None:
    """A lock on the clock holds the step up until it is told to stop."""

    async def stop(number: int) -> Ran:
        held, watch = await asyncpg.connect(dsn), await asyncpg.connect(dsn)
        transaction = held.transaction()
        await transaction.start()
        await held.execute("select 1 from kit.worlds for update")
        step = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "dewpond", "world", "clock", "advance", "3d",
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        async with asyncio.timeout(60):
            while not await watch.fetchval(
                "select count(*) from pg_stat_activity"
                " where datname = current_database() and wait_event_type = 'Lock' and query like '%key update%'"
            ):
                await asyncio.sleep(0.05)
            step.send_signal(number)
            out, err = await step.communicate()
        await transaction.rollback()
        await held.close()
        await watch.close()
        return Ran(step.returncode or 0, out.decode(), err.decode())

    for number in (signal.SIGTERM, signal.SIGINT):
        ran = asyncio.run(stop(number))
        assert (ran.code, ran.out) == (1, "")
        assert ran.err.startswith("Stopped at 2")
        assert len(ran.err.splitlines()) == 1


@pytest.mark.parametrize(
    "words", [[], ["soon"], ["1x"], ["1h", "--to", "2099-01-01T00:00:00Z"], ["--to", "2099-01-01"]]
)
def test_a_bad_step_of_the_clock_is_a_wrong_call(words: list[str], dewpond: Type) -> None:
    assert dewpond("world", "clock", "advance", *words).code == 2


def test_the_books_are_sound_and_the_events_are_in_order(shop: Path, dewpond: Type) -> None:
    dewpond("people", "create", "Rich", "--balance", "3.00")
    book = dewpond("ledger", "check", "--json").json
    assert book["sound"]
    assert [one["total"] for one in book["currencies"]] == [0]
    assert "CNY sums to 0.00 CNY" in dewpond("ledger", "check").out
    for words in ([], ["house"]):
        assert dewpond("ledger", "balances", *words, "--json").json["owner"] == "the house"
    assert dewpond("ledger", "balances", "Rich", "--json").json["accounts"][0]["available"] == 300
    lines = dewpond("events", "tail", "--json", "--most", "3").out.splitlines()
    positions = [msgspec.json.decode(line)["position"] for line in lines]
    assert positions == sorted(positions)
    first = dewpond("events", "tail", "--json", "--from", "1", "--most", "1").out
    assert msgspec.json.decode(first)["position"] == 1


def test_an_empty_pool_and_no_deliveries_are_answers_too(shop: Path, dewpond: Type) -> None:
    pool = dewpond("pool", "show", "Tea Shop", "--json").json
    assert (pool["people"], pool["contacts"]) == (0, [])
    assert dewpond("pool", "show", "Tea Shop", "--contact", "nobody").code == 1
    assert dewpond("deliveries", "list", "--merchant", "Tea Shop", "--status", "dead", "--json").json == []


def test_elsewhere_a_world_is_put_back_with_that_servers_tools(shop: Path, dewpond: Type, tmp_path: Path) -> None:
    file = tmp_path / "world.dump"
    assert dewpond("world", "backup", str(file), "--json").json["bytes"] > 0
    for words in (["restore", str(file)], ["reset", "--yes"]):
        ran = dewpond("world", *words)
        assert ran.code == 1
        assert "own tools" in ran.err


async def _serve_a_live_world(place: Place) -> None:
    db = await Database.open(place.dsn, size=1)
    try:
        async with db.transaction() as tx:
            await worlds.create_world(tx, WorldKind.LIVE, public_url="https://pay.example", wall_now=clock.wall_now())
    finally:
        await db.close()
    async with open_house(place.settings, dsn=place.dsn, name="tests"):
        pass


def test_a_live_world_is_not_made_on_a_server_that_may_forget(
    cluster: Postgres, database_name: str, dewpond: Type
) -> None:
    name = f"{database_name}_live"

    async def try_it() -> int:
        server = await asyncpg.connect(cluster.dsn("dewpond_super", "postgres"))
        await server.execute(f'create database "{name}" owner dewpond_owner template template0')
        place = Place(
            settings=read_settings(),
            dsn=cluster.dsn("dewpond_app", name),
            owner_dsn=cluster.dsn("dewpond_owner", name),
            postgres=None,
        )
        with pytest.raises(NotDurable):
            await found_world(place, WorldKind.LIVE)
        connection = await asyncpg.connect(place.dsn)
        made: int = await connection.fetchval("select count(*) from kit.worlds")
        await connection.close()
        with pytest.raises(NotDurable):  # nor is one served there that was made elsewhere
            await _serve_a_live_world(place)
        await server.execute(f'drop database "{name}" with (force)')
        await server.close()
        return made

    assert asyncio.run(try_it()) == 0
