"""Wishes: one of a kind at a time, asked once however often, ended once."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from dewpond.kit import wishes
from dewpond.kit.db import Database
from dewpond.kit.ids import new_id
from dewpond.kit.wishes import ClockMove, Wish, WishEnded, WishOpen, WishOutcome

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
LATER = NOON + timedelta(minutes=1)
MOVE = ClockMove(since=NOON, until=NOON + timedelta(hours=1))
OLGA, ANNA = new_id(), new_id()


@pytest.fixture(autouse=True)
async def nothing_wished(database: Database) -> AsyncIterator[None]:
    yield
    async with database.transaction() as tx:
        for wish in await wishes.list_open(tx):
            await wishes.end(tx, wish.id, WishOutcome.GRANTED, {}, wall_now=LATER)


async def ask(database: Database, wish_id: UUID, kind: str = "k", wanted: Any = MOVE) -> Wish:
    async with database.transaction() as tx:
        return await wishes.ask(tx, wish_id, kind, wanted, asked_by=OLGA, wall_now=NOON)


async def test_asking_twice_is_asking_once(database: Database) -> None:
    wish_id = new_id()
    first = await ask(database, wish_id)
    assert first == await ask(database, wish_id)
    assert (first.wanted, first.asked_by, first.outcome) == (
        {"since": "2026-05-01T12:00:00Z", "until": "2026-05-01T13:00:00Z"},
        OLGA,
        None,
    )
    async with database.transaction() as tx:
        assert await wishes.end(tx, wish_id, WishOutcome.GRANTED, {"n": 1}, wall_now=LATER)
    again = await ask(database, wish_id)
    assert (again.outcome, again.told) == (WishOutcome.GRANTED, {"n": 1})


async def test_of_a_kind_one_is_open_at_a_time(database: Database) -> None:
    await ask(database, new_id())
    await ask(database, new_id(), "another kind")
    with pytest.raises(WishOpen):
        await ask(database, new_id())
    async with database.transaction() as tx:
        assert [wish.kind for wish in await wishes.list_open(tx)] == ["k", "another kind"]


async def test_of_many_who_ask_at_once_one_is_heard(database: Database) -> None:
    answers = await asyncio.gather(*(ask(database, new_id()) for _ in range(8)), return_exceptions=True)
    assert sum(isinstance(answer, Wish) for answer in answers) == 1
    assert sum(isinstance(answer, WishOpen) for answer in answers) == 7


async def test_what_was_said_first_stands(database: Database) -> None:
    wish = await ask(database, new_id())
    async with database.transaction() as tx:
        assert await wishes.begin(tx, wish.id, wall_now=NOON)
        assert await wishes.begin(tx, wish.id, wall_now=LATER), "taken up again after its worker died"
        await wishes.stop(tx, "k", stopped_by=ANNA, wall_now=LATER)
        assert not await wishes.end(tx, wish.id, WishOutcome.GRANTED, {}, wall_now=LATER)
        assert not await wishes.begin(tx, wish.id, wall_now=LATER)
        with pytest.raises(WishEnded):
            await wishes.stop(tx, "k", stopped_by=OLGA, wall_now=LATER)
        ended = await wishes.find(tx, wish.id)
    assert ended is not None
    assert (ended.begun_at, ended.outcome, ended.stopped_by, ended.told) == (NOON, WishOutcome.STOPPED, ANNA, None)


async def test_the_newest_is_found(database: Database) -> None:
    granted, refused = new_id(), new_id()
    for wish_id, outcome in ((granted, WishOutcome.GRANTED), (refused, WishOutcome.REFUSED)):
        await ask(database, wish_id, "newest", None)
        async with database.transaction() as tx:
            await wishes.end(tx, wish_id, outcome, {}, wall_now=LATER)
    async with database.transaction() as tx:
        newest, good = await wishes.find_newest(tx, "newest"), await wishes.find_newest_granted(tx, "newest")
        assert await wishes.find_newest(tx, "never asked") is None
    assert (newest and newest.id, good and good.id) == (refused, granted)
