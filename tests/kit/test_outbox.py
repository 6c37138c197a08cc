"""Facts: everything that was committed gets its place, in one order without gaps, and nothing else does."""

import asyncio
import random
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import ClassVar
from uuid import UUID

import pytest

from dewpond.kit import outbox
from dewpond.kit.db import Database
from dewpond.kit.ids import new_id
from dewpond.kit.outbox import Event, Fact

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


class KettleBoiled(Event, frozen=True, kw_only=True):
    """A kettle of the tests has boiled, for the `times`-th time."""

    kind: ClassVar[str] = "test.kettle_boiled"
    aggregate: ClassVar[str] = "kettle_id"

    kettle_id: UUID
    times: int
    merchant_id: UUID | None = None
    person_id: UUID | None = None


def boiled(kettle: UUID, times: int = 1) -> KettleBoiled:
    return KettleBoiled(occurred_at=NOON, kettle_id=kettle, times=times)


async def publish(database: Database, *events: Event) -> None:
    async with database.transaction() as tx:
        await outbox.publish(tx, events, wall_now=NOON)


async def relay_all(database: Database) -> int:
    """Relay until nothing is left; how many facts got their places."""
    total = 0
    while True:
        async with database.transaction() as tx:
            placed = await outbox.relay(tx, most=7)
        total += placed
        if not placed:
            return total


async def facts_after(database: Database, position: int) -> list[Fact]:
    async with database.transaction() as tx:
        return await outbox.page(tx, after=position, most=100_000)


@pytest.fixture
async def start(database: Database) -> int:
    """The last position before this test, with nothing waiting."""
    await relay_all(database)
    async with database.transaction() as tx:
        assert await outbox.waiting(tx) == 0
        return await outbox.last_position(tx)


def without_gaps(facts: Sequence[Fact], start: int) -> bool:
    return [fact.position for fact in facts] == list(range(start + 1, start + 1 + len(facts)))


# --- one fact ---------------------------------------------------------------------------------------------------------


async def test_a_fact_is_read_as_it_was_published(database: Database, start: int) -> None:
    event = KettleBoiled(occurred_at=NOON, kettle_id=new_id(), times=3, merchant_id=new_id(), person_id=new_id())
    await publish(database, event)
    await relay_all(database)
    (fact,) = await facts_after(database, start)
    assert fact.event == event
    assert (fact.position, fact.kind, fact.aggregate_id) == (start + 1, "test.kettle_boiled", event.kettle_id)
    assert (fact.merchant_id, fact.person_id) == (event.merchant_id, event.person_id)
    assert (fact.occurred_at, fact.recorded_at) == (NOON, NOON)
    async with database.transaction() as tx:
        assert await outbox.get_fact(tx, start + 1) == fact


async def test_a_fact_has_no_place_before_the_relay_gave_it_one(database: Database, start: int) -> None:
    await publish(database, boiled(new_id()), boiled(new_id()))
    assert await facts_after(database, start) == []
    async with database.transaction() as tx:
        assert await outbox.waiting(tx) == 2
        assert await outbox.last_position(tx) == start
    assert await relay_all(database) == 2
    assert len(await facts_after(database, start)) == 2


async def test_nothing_published_is_nothing_done(database: Database, start: int) -> None:
    async with database.transaction() as tx:
        await outbox.publish(tx, [], wall_now=NOON)
        assert not tx.wakes
        await outbox.publish(tx, [boiled(new_id())], wall_now=NOON)
        assert tx.wakes


def test_two_events_cannot_share_a_kind() -> None:
    with pytest.raises(ValueError, match=r"two events are called test\.kettle_boiled"):
        type("KettleStolen", (Event,), {"kind": "test.kettle_boiled", "aggregate": "kettle_id"})


# --- the order --------------------------------------------------------------------------------------------------------


async def test_what_commits_late_comes_later_and_is_not_skipped(database: Database, start: int) -> None:
    """A cursor over the sequence would have passed it: it was written first."""
    late, early = new_id(), new_id()
    async with database.transaction() as tx:
        await outbox.publish(tx, [boiled(late)], wall_now=NOON)
        await publish(database, boiled(early))
        assert await relay_all(database) == 1
        (first,) = await facts_after(database, start)
    assert await relay_all(database) == 1
    (second,) = await facts_after(database, first.position)
    assert (first.aggregate_id, second.aggregate_id) == (early, late)
    assert without_gaps([first, second], start)


async def test_what_was_rolled_back_never_happened(database: Database, start: int) -> None:
    async def fail() -> None:
        async with database.transaction() as tx:
            await outbox.publish(tx, [boiled(new_id())], wall_now=NOON)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    kept = new_id()
    await publish(database, boiled(kept))
    await relay_all(database)
    facts = await facts_after(database, start)
    assert [fact.aggregate_id for fact in facts] == [kept]
    assert without_gaps(facts, start)


async def test_a_relay_that_fails_gives_no_place_away(database: Database, start: int) -> None:
    await publish(database, boiled(new_id()))

    async def fail() -> None:
        async with database.transaction() as tx:
            assert await outbox.relay(tx) == 1
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert await facts_after(database, start) == []
    assert await relay_all(database) == 1
    assert without_gaps(await facts_after(database, start), start)


async def test_only_one_relays_at_a_time(database: Database, start: int) -> None:
    await publish(database, *(boiled(new_id()) for _ in range(4)))
    async with database.transaction() as one:
        assert await outbox.relay(one, most=2) == 2
        async with database.transaction() as other:
            assert await outbox.relay(other) == 0
    async with database.transaction() as other:
        assert await outbox.relay(other) == 2
    assert without_gaps(await facts_after(database, start), start)


async def test_many_writers_and_relays_leave_no_gap_and_lose_nothing(database: Database, dsn: str, start: int) -> None:
    """Transactions of all lengths, a fifth of them rolled back, three relays, and a reader who looks all the time."""
    others = await Database.open(dsn, size=6, name="other process")
    kettles = [new_id() for _ in range(12)]
    turns = {kettle: asyncio.Lock() for kettle in kettles}  # as the row lock of an aggregate does
    committed: dict[UUID, int] = dict.fromkeys(kettles, 0)
    writing = relaying = True

    async def write(seed: int) -> None:
        chance = random.Random(seed)
        for _ in range(25):
            kettle = chance.choice(kettles)
            async with turns[kettle]:
                try:
                    async with chance.choice([database, others]).transaction() as tx:
                        times = chance.choice([1, 1, 3])
                        events = [boiled(kettle, committed[kettle] + 1 + n) for n in range(times)]
                        await outbox.publish(tx, events, wall_now=NOON)
                        await asyncio.sleep(chance.choice([0, 0, 0.002, 0.01]))
                        if chance.random() < 0.2:
                            raise ZeroDivisionError
                    committed[kettle] += times
                except ZeroDivisionError:
                    pass

    async def relay(pool: Database) -> None:
        while writing:
            async with pool.transaction() as tx:
                await outbox.relay(tx, most=5)
            await asyncio.sleep(0)

    async def read() -> list[Fact]:
        seen: list[Fact] = []
        while relaying or await relay_all(database):  # while one is at it, another one's relay finds nothing to do
            seen += await facts_after(others, start + len(seen))
            assert without_gaps(seen, start)
            await asyncio.sleep(0)
        return seen + await facts_after(others, start + len(seen))

    reader = asyncio.create_task(read())
    relays = [asyncio.create_task(relay(pool)) for pool in (database, others, others)]
    async with asyncio.timeout(300):
        await asyncio.gather(*(write(seed) for seed in range(10)))
        writing = False
        await asyncio.gather(*relays)
        relaying = False
        seen = await reader
    await others.close()

    assert without_gaps(seen, start)
    for kettle in kettles:
        told = [
            event.times for fact in seen if isinstance(event := fact.event, KettleBoiled) and event.kettle_id == kettle
        ]
        assert told == list(range(1, committed[kettle] + 1))
    assert sum(committed.values()) == len(seen) > 100


async def test_readers_page_through_everything(database: Database, start: int) -> None:
    await publish(database, *(boiled(new_id()) for _ in range(25)))
    await relay_all(database)
    seen: list[int] = []
    async with database.transaction() as tx:
        while facts := await outbox.page(tx, after=start + len(seen), most=10):
            assert len(facts) <= 10
            seen += [fact.position for fact in facts]
    assert seen == list(range(start + 1, start + 26))


# --- readers ----------------------------------------------------------------------------------------------------------


async def test_a_reader_begins_with_the_first_fact_and_remembers_where_it_is(database: Database) -> None:
    async with database.transaction() as tx:
        assert await outbox.lock_reader(tx, "cups") is None
        await outbox.register_reader(tx, "cups")
        assert await outbox.lock_reader(tx, "cups") == 0
        await outbox.advance_reader(tx, "cups", 5)
    async with database.transaction() as tx:
        await outbox.register_reader(tx, "cups")
        assert await outbox.lock_reader(tx, "cups") == 5
        positions = {reader.name: reader.position for reader in await outbox.reader_positions(tx)}
    assert positions["cups"] == 5


async def test_one_process_reads_for_a_reader_at_a_time(database: Database) -> None:
    async with database.transaction() as tx:
        await outbox.register_reader(tx, "saucers")
        await outbox.register_reader(tx, "spoons")
    async with database.transaction() as one, database.transaction() as other:
        assert await outbox.lock_reader(one, "saucers") == 0
        assert await outbox.lock_reader(other, "saucers") is None
        assert await outbox.lock_reader(other, "spoons") == 0
    async with database.transaction() as other:
        assert await outbox.lock_reader(other, "saucers") == 0
