"""What the desk asks of the worker: the clock moved through everything due, the book added up, and both once."""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
import pytest

from dewpond import ledger
from dewpond.kit import clock, jobs, wishes
from dewpond.kit.db import Database
from dewpond.kit.ids import new_id
from dewpond.kit.wishes import CLOCK_MOVE, ClockMove, Wish, WishOutcome
from dewpond.worker import ClockBusy, advance

OLGA = new_id()


async def ask(database: Database, kind: str, wanted: Any = None) -> UUID:
    wish_id = new_id()
    async with database.transaction() as tx:
        await wishes.ask(tx, wish_id, kind, wanted, asked_by=OLGA, wall_now=clock.wall_now())
    return wish_id


async def find(database: Database, wish_id: UUID) -> Wish:
    async with database.transaction() as tx:
        wish = await wishes.find(tx, wish_id)
    assert wish is not None
    return wish


async def ended(database: Database, wish_id: UUID) -> Wish:
    async with asyncio.timeout(120):
        while (wish := await find(database, wish_id)).ended_at is None:
            await asyncio.sleep(0.02)
    return wish


@pytest.fixture(autouse=True)
async def nothing_wished(database: Database) -> AsyncIterator[None]:
    yield
    async with database.transaction() as tx:
        for wish in await wishes.list_open(tx):
            await wishes.stop(tx, wish.kind, stopped_by=OLGA, wall_now=clock.wall_now())


async def test_the_clock_is_moved_through_everything_that_is_due(
    database: Database, hands: Any, kitchen: Any, working: Any, nothing_left: None, frozen: datetime
) -> None:
    await hands.plan("second", after=timedelta(days=2))
    await hands.plan("first", after=timedelta(days=1))
    await hands.plan("later", after=timedelta(days=9))
    until = frozen + timedelta(days=3)
    async with working(), working():
        wish = await ended(database, await ask(database, CLOCK_MOVE, ClockMove(since=frozen, until=until)))
    assert wish.outcome is WishOutcome.GRANTED
    assert msgspec.convert(wish.told, ClockMove) == ClockMove(since=frozen, until=until)
    assert kitchen.done == ["first", "second"]
    assert (await hands.now()).world == until


async def test_one_whose_worker_is_gone_is_taken_up_by_another(
    database: Database, hands: Any, kitchen: Any, working: Any, nothing_left: None, frozen: datetime
) -> None:
    kitchen.snoozing["hourly"] = timedelta(hours=1)
    await hands.plan("hourly", after=timedelta(hours=1))
    until = frozen + timedelta(hours=60)
    async with working():
        wish_id = await ask(database, CLOCK_MOVE, ClockMove(since=frozen, until=until))
        await hands.until(lambda: len(kitchen.done) > 3)
    assert (await find(database, wish_id)).ended_at is None
    assert (await hands.now()).world < until
    async with working():
        assert (await ended(database, wish_id)).outcome is WishOutcome.GRANTED
    assert (await hands.now()).world == until
    assert len(kitchen.done) == 60


async def test_it_is_stopped_on_the_way(
    database: Database, hands: Any, kitchen: Any, working: Any, nothing_left: None, frozen: datetime
) -> None:
    kitchen.snoozing["hourly"] = timedelta(hours=1)
    await hands.plan("hourly", after=timedelta(hours=1))
    async with working():
        until = frozen + timedelta(days=4000)
        wish_id = await ask(database, CLOCK_MOVE, ClockMove(since=frozen, until=until))
        await hands.until(lambda: len(kitchen.done) > 3)
        async with database.transaction() as tx:
            await wishes.stop(tx, CLOCK_MOVE, stopped_by=OLGA, wall_now=clock.wall_now())
        async with asyncio.timeout(60):  # the lock of who moves the clock is free again
            while True:
                try:
                    async with working() as house:
                        await advance(house, (await hands.now()).world)
                    break
                except ClockBusy:
                    await asyncio.sleep(0.05)
        assert (await find(database, wish_id)).outcome is WishOutcome.STOPPED
        assert (await hands.now()).world < until


async def test_it_waits_while_the_clock_is_moved_from_the_terminal(
    database: Database, hands: Any, house: Any, another_house: Any, working: Any, frozen: datetime
) -> None:
    begun, enough = asyncio.Event(), asyncio.Event()

    async def long_one(house: Any, job: jobs.Job, now: Any) -> jobs.Outcome:
        begun.set()
        await enough.wait()
        return jobs.Done()

    house.jobs["wash"] = long_one
    await hands.plan("long one", after=timedelta(seconds=40))
    terminal = asyncio.create_task(advance(house, frozen + timedelta(minutes=3)))
    await begun.wait()
    async with working():
        # Asked for before, and overtaken meanwhile: it has come true.
        wish_id = await ask(database, CLOCK_MOVE, ClockMove(since=frozen, until=frozen + timedelta(minutes=2)))
        await asyncio.sleep(1)
        assert (await find(database, wish_id)).ended_at is None
        enough.set()
        await terminal
        wish = await ended(database, wish_id)
    assert wish.outcome is WishOutcome.GRANTED
    assert msgspec.convert(wish.told, ClockMove).until == frozen + timedelta(minutes=3)


async def test_the_book_is_added_up(database: Database, working: Any, nothing_left: None) -> None:
    async with working():
        wish = await ended(database, await ask(database, ledger.TRIAL_BALANCE_WISH))
    assert wish.outcome is WishOutcome.GRANTED
    assert wish.begun_at is not None
    book = msgspec.convert(wish.told, ledger.TrialBalance)
    assert book.is_sound
    async with database.transaction() as tx:
        assert book == await ledger.trial_balance(tx)


async def test_a_wish_nobody_knows_is_left_alone(database: Database, working: Any, nothing_left: None) -> None:
    wish_id = await ask(database, "of a newer Dewpond")
    async with working():
        await ended(database, await ask(database, ledger.TRIAL_BALANCE_WISH))
    assert (await find(database, wish_id)).begun_at is None
