"""The world and its two clocks: frozen, moved, let run, and never turned back."""

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from datetime import UTC, datetime, timedelta

import asyncpg
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dewpond.kit import clock, worlds
from dewpond.kit.clock import Now
from dewpond.kit.db import Database, Tx
from dewpond.kit.ids import new_id
from dewpond.kit.worlds import (
    ClockCannotGoBack,
    Doors,
    DoorsUnsafe,
    NotDurable,
    NoWorld,
    OnlyInSandbox,
    World,
    WorldKind,
)

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
#: How far ahead a clock is frozen.
AHEAD = timedelta(seconds=1)


class _NothingHappened(Exception):
    """Ends a transaction that shall leave no trace: each test has the first world of its database."""


@asynccontextmanager
async def undone(database: Database) -> AsyncIterator[Tx]:
    try:
        async with database.transaction() as tx:
            yield tx
            raise _NothingHappened
    except _NothingHappened:
        pass


async def sandbox(tx: Tx) -> World:
    return await worlds.create_world(tx, WorldKind.SANDBOX, public_url="http://localhost:8601", wall_now=NOON)


async def world_time(tx: Tx, wall: datetime) -> datetime:
    return (await worlds.get_world(tx)).time(wall).world


# --- readings ---------------------------------------------------------------------------------------------------------


def test_the_wall_clock_is_aware_and_in_utc() -> None:
    before, reading, after = datetime.now(UTC), clock.wall_now(), datetime.now(UTC)
    assert reading.utcoffset() == timedelta(0)
    assert before <= reading <= after


@pytest.mark.parametrize(
    ("_case", "offset", "frozen_at", "world"),
    [
        ("as the wall", timedelta(0), None, NOON),
        ("ahead", 400 * DAY, None, NOON + 400 * DAY),
        ("frozen in the past", timedelta(0), NOON - DAY, NOON - DAY),
        ("frozen wins over ahead", 400 * DAY, NOON + DAY, NOON + DAY),
    ],
)
def test_world_time_is_told_from_the_wall(
    _case: str, offset: timedelta, frozen_at: datetime | None, world: datetime
) -> None:
    assert clock.world_time(NOON, offset=offset, frozen_at=frozen_at) == world


@given(st.timedeltas(timedelta(0), 4000 * DAY), st.timedeltas(timedelta(0), DAY))
def test_a_running_clock_keeps_its_distance(offset: timedelta, later: timedelta) -> None:
    def told(wall: datetime) -> datetime:
        return clock.world_time(wall, offset=offset, frozen_at=None)

    assert told(NOON + later) - told(NOON) == later


def test_business_days_begin_in_shanghai() -> None:
    assert datetime(2026, 5, 1, 16, tzinfo=UTC).astimezone(clock.SHANGHAI).date().isoformat() == "2026-05-02"


# --- one world --------------------------------------------------------------------------------------------------------


async def test_a_database_without_a_world_says_so(database: Database) -> None:
    async with undone(database) as tx:
        with pytest.raises(NoWorld):
            await worlds.get_world(tx)
        with pytest.raises(NoWorld):
            await worlds.read_clocks(tx)
        with pytest.raises(NoWorld):
            await worlds.require_sandbox(tx)


async def test_a_world_is_made_once_and_stays_what_it_is(database: Database) -> None:
    async with undone(database) as tx:
        first = await sandbox(tx)
        assert first.is_sandbox
        assert (first.created_at, first.clock_offset, first.frozen_at) == (NOON, timedelta(0), None)
        again = await worlds.create_world(tx, WorldKind.LIVE, public_url="https://elsewhere", wall_now=NOON + DAY)
        assert again == first
        assert await worlds.get_world(tx) == first


@pytest.mark.parametrize(
    "statement",
    [
        "update kit.worlds set kind = 'live'",
        "update kit.worlds set id = gen_random_uuid()",
        "update kit.worlds set kind = 'live', clock_offset = '0', frozen_at = null",
    ],
)
async def test_kind_and_id_are_held_by_a_trigger(database: Database, statement: str) -> None:
    async with undone(database) as tx:
        await sandbox(tx)
        with pytest.raises(asyncpg.RaiseError, match="written once"):
            await tx.connection.execute(statement)


async def test_not_even_the_owner_can_remove_a_world_or_change_its_kind(owner_dsn: str) -> None:
    owner = await asyncpg.connect(owner_dsn)
    try:
        for statement in ("delete from kit.worlds", "update kit.worlds set kind = 'live'"):
            transaction = owner.transaction()
            await transaction.start()
            await owner.execute(
                "insert into kit.worlds (id, kind, created_at) values (gen_random_uuid(), 'sandbox', '2026-05-01')"
            )
            with pytest.raises(asyncpg.RaiseError, match="written once"):
                await owner.execute(statement)
            await transaction.rollback()
    finally:
        await owner.close()


async def test_there_is_never_a_second_world(database: Database) -> None:
    async with undone(database) as tx:
        await sandbox(tx)
        with pytest.raises(asyncpg.UniqueViolationError):
            await tx.connection.execute(
                "insert into kit.worlds (id, kind, created_at) values (gen_random_uuid(), 'live', '2026-05-01')"
            )


async def test_the_doors_can_change(database: Database) -> None:
    async with undone(database) as tx:
        await sandbox(tx)
        doors = worlds.Doors(wire_url="https://api.pond.example", public_url="https://pond.example")
        await worlds.set_doors(tx, doors)
        assert (await worlds.get_world(tx)).doors == doors


# --- the clock --------------------------------------------------------------------------------------------------------


async def test_a_new_worlds_clocks_are_equal(database: Database) -> None:
    async with undone(database) as tx:
        world = await sandbox(tx)
        assert world.time(NOON) == Now(world=NOON, wall=NOON)
        before, now = clock.wall_now(), await worlds.read_clocks(tx)
        assert now.world == now.wall
        assert before <= now.wall <= clock.wall_now()


async def test_a_frozen_clock_stands_while_the_wall_goes_on(database: Database) -> None:
    """A second ahead of when it was frozen: whoever read the running clock just before is not ahead of it."""
    async with undone(database) as tx:
        await sandbox(tx)
        await worlds.freeze_clock(tx, wall_now=NOON)
        frozen = (await worlds.get_world(tx)).time(NOON + HOUR)
        assert frozen == Now(world=NOON + AHEAD, wall=NOON + HOUR)


async def test_freezing_again_is_no_change(database: Database) -> None:
    async with undone(database) as tx:
        await sandbox(tx)
        first = await worlds.freeze_clock(tx, wall_now=NOON)
        assert await worlds.freeze_clock(tx, wall_now=NOON + HOUR) == first


async def test_a_thawed_clock_runs_on_from_where_it_stood(database: Database) -> None:
    async with undone(database) as tx:
        await sandbox(tx)
        await worlds.freeze_clock(tx, wall_now=NOON)
        await worlds.thaw_clock(tx, wall_now=NOON + DAY)
        assert await world_time(tx, NOON + DAY) == NOON + AHEAD
        assert await world_time(tx, NOON + DAY + HOUR) == NOON + AHEAD + HOUR


async def test_thawing_a_running_clock_is_no_change(database: Database) -> None:
    async with undone(database) as tx:
        await sandbox(tx)
        moved = await worlds.move_clock(tx, NOON + DAY, wall_now=NOON)
        assert await worlds.thaw_clock(tx, wall_now=NOON + HOUR) == moved


async def test_a_moved_clock_runs_on_from_there(database: Database) -> None:
    async with undone(database) as tx:
        await sandbox(tx)
        await worlds.move_clock(tx, NOON + 400 * DAY, wall_now=NOON)
        assert await world_time(tx, NOON + HOUR) == NOON + 400 * DAY + HOUR


async def test_a_frozen_clock_that_is_moved_stays_frozen_there(database: Database) -> None:
    async with undone(database) as tx:
        await sandbox(tx)
        await worlds.freeze_clock(tx, wall_now=NOON)
        await worlds.move_clock(tx, NOON + 400 * DAY, wall_now=NOON + HOUR)
        assert await world_time(tx, NOON + DAY) == NOON + 400 * DAY
        await worlds.thaw_clock(tx, wall_now=NOON + DAY)
        assert await world_time(tx, NOON + DAY + HOUR) == NOON + 400 * DAY + HOUR


async def test_to_the_same_moment_it_may_be_moved(database: Database) -> None:
    async with undone(database) as tx:
        world = await sandbox(tx)
        assert await worlds.move_clock(tx, NOON, wall_now=NOON) == world


@pytest.mark.parametrize("frozen", [False, True])
async def test_the_clock_never_goes_back(database: Database, frozen: bool) -> None:
    async with undone(database) as tx:
        await sandbox(tx)
        await worlds.move_clock(tx, NOON + DAY, wall_now=NOON)
        if frozen:
            await worlds.freeze_clock(tx, wall_now=NOON)
        before = await worlds.get_world(tx)
        with pytest.raises(ClockCannotGoBack):
            await worlds.move_clock(tx, NOON + DAY - timedelta(microseconds=1), wall_now=NOON)
        assert await worlds.get_world(tx) == before


@pytest.mark.parametrize("seed", range(5))
async def test_whatever_is_done_to_it_world_time_never_goes_back(database: Database, seed: int) -> None:
    steps = random.Random(seed)
    wall = last = NOON
    async with undone(database) as tx:
        await sandbox(tx)
        for _ in range(40):
            wall += timedelta(seconds=steps.choice([0, 1, 3600, 86400]))
            before = await world_time(tx, wall)
            assert before >= last
            match steps.choice(["freeze", "thaw", "move"]):
                case "freeze":
                    await worlds.freeze_clock(tx, wall_now=wall)
                case "thaw":
                    await worlds.thaw_clock(tx, wall_now=wall)
                case "move":
                    await worlds.move_clock(tx, before + timedelta(days=steps.randrange(3)), wall_now=wall)
            last = await world_time(tx, wall)
            assert last >= before


# --- live worlds ------------------------------------------------------------------------------------------------------


async def test_a_live_worlds_clock_cannot_be_touched(database: Database) -> None:
    async with undone(database) as tx:
        world = await worlds.create_world(tx, WorldKind.LIVE, public_url="https://pond.example", wall_now=NOON)
        assert not world.is_sandbox
        with pytest.raises(OnlyInSandbox):
            await worlds.freeze_clock(tx, wall_now=NOON)
        with pytest.raises(OnlyInSandbox):
            await worlds.thaw_clock(tx, wall_now=NOON)
        with pytest.raises(OnlyInSandbox):
            await worlds.move_clock(tx, NOON + DAY, wall_now=NOON)
        with pytest.raises(OnlyInSandbox):
            await worlds.require_sandbox(tx)
        assert await worlds.get_world(tx) == world


@pytest.mark.parametrize(
    "statement", ["update kit.worlds set clock_offset = '1 day'", "update kit.worlds set frozen_at = '2026-05-01'"]
)
async def test_the_server_holds_a_live_worlds_clock_too(database: Database, statement: str) -> None:
    async with undone(database) as tx:
        await worlds.create_world(tx, WorldKind.LIVE, public_url="", wall_now=NOON)
        with pytest.raises(asyncpg.CheckViolationError):
            await tx.connection.execute(statement)


async def test_a_live_world_needs_a_server_that_keeps_what_it_acknowledged(database: Database) -> None:
    """The tests' own server runs without fsync, so it will not do for a live world."""
    async with undone(database) as tx:
        world = await worlds.create_world(tx, WorldKind.LIVE, public_url="", wall_now=NOON)
        with pytest.raises(NotDurable):
            await worlds.require_durable(tx, world)
    async with undone(database) as tx:
        await worlds.require_durable(tx, await sandbox(tx))


# --- doors of a live world --------------------------------------------------------------------------------------------

_HERE = {"public_url": "http://localhost:1", "staff_url": "http://127.0.0.1:2"}
_SAFE = {"public_url": "https://pay.example", "staff_url": "https://staff.pay.example"}


@pytest.mark.parametrize(
    ("_case", "urls", "listens_near", "is_safe"),
    [
        ("https, an origin each", _SAFE, False, True),
        ("on this machine only", _HERE, True, True),
        (
            "named so, but bound beyond",
            {"public_url": "http://localhost:1", "staff_url": "http://localhost:2"},
            False,
            False,
        ),
        ("people over http", _SAFE | {"public_url": "http://pay.example"}, True, False),
        ("staff over http", _SAFE | {"staff_url": "http://staff.pay.example"}, True, False),
        ("one origin for both", _SAFE | {"staff_url": "https://pay.example"}, False, False),
    ],
)
def test_a_live_world_opens_safe_doors_only(
    _case: str, urls: dict[str, str], listens_near: bool, is_safe: bool
) -> None:
    doors = Doors(wire_url="https://wire.example", **urls)
    sandbox = World(
        id=new_id(), kind=WorldKind.SANDBOX, created_at=NOON, public_url="", clock_offset=timedelta(), frozen_at=None
    )
    worlds.require_safe_doors(sandbox, doors, listens_near=listens_near)
    with nullcontext() if is_safe else pytest.raises(DoorsUnsafe):
        live = msgspec.structs.replace(sandbox, kind=WorldKind.LIVE)
        worlds.require_safe_doors(live, doors, listens_near=listens_near)


@pytest.mark.parametrize(
    ("wire", "public", "are_near"),
    [
        ("http://localhost:8601", "http://127.0.0.1:8602", True),
        ("http://[::1]:8601", "", True),
        ("http://localhost:8601", "https://pond.tunnel.example", False),
        ("http://192.168.1.20:8601", "http://localhost:8602", False),
        ("http://localhost.example:8601", "", False),
    ],
)
def test_doors_with_a_name_of_their_own_are_not_near(wire: str, public: str, are_near: bool) -> None:
    assert Doors(wire_url=wire, public_url=public).are_near is are_near
