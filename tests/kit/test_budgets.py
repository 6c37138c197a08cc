"""Budgets: so many at once and then one after the other, however many servers are asked."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest

from dewpond.kit import budgets
from dewpond.kit.budgets import Budget, Charge, TooManyTries
from dewpond.kit.db import Database
from dewpond.kit.secrets import MasterKeys

NOON = datetime(2030, 5, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
#: Ten at once, then one a minute.
TEN = Budget("tens", 10, 10 * MINUTE)

_numbers = count(1)


@pytest.fixture
def alice() -> str:
    """Somebody of this test's own."""
    return f"alice-{next(_numbers)}"


@pytest.fixture
async def elsewhere(dsn: str) -> AsyncIterator[Database]:
    """The same database as another process has it."""
    database = await Database.open(dsn, size=10, name="elsewhere")
    yield database
    await database.close()


async def held(database: Database) -> list[Any]:
    async with database.transaction() as tx:
        return [tuple(row) for row in await tx.connection.fetch("select * from kit.budgets order by bucket")]


async def spends(database: Database, secrets: MasterKeys, *charges: Charge, at: datetime = NOON) -> int:
    """0 where it went, else so many seconds were to be waited."""
    try:
        await budgets.spend(database, charges, secrets=secrets, wall_now=at)
    except TooManyTries as refused:
        until: datetime = refused.facts["until"]
        return max(refused.facts["seconds"], -((at - until) // timedelta(seconds=1)))
    return 0


@pytest.mark.parametrize(
    ("_case", "minutes", "waits"),
    [
        ("as many as there are, at once", [0] * 12, [0] * 10 + [60, 60]),
        ("then one for each minute", [0] * 10 + [0.5, 1, 1, 2, 5, 5, 5, 5], [0] * 10 + [30, 0, 60, 0, 0, 0, 0, 60]),
        ("one a minute, for as long as one likes", list(range(40)), [0] * 40),
        ("no window begins in which twice as much goes", [9] * 10 + [11] * 10, [0] * 12 + [60] * 8),
        ("all of it again when it is whole", [0] * 10 + [10] * 11, [0] * 20 + [60]),
        ("no more than all of it after a long time", [0] * 10 + [9999] * 11, [0] * 20 + [60]),
        ("by a machine whose clock is behind", [5] * 9 + [0, 0], [0] * 9 + [300, 300]),
    ],
)
async def test_a_budget_is_spent_and_comes_back(
    _case: str, minutes: list[float], waits: list[int], database: Database, secrets: MasterKeys, alice: str
) -> None:
    told = [await spends(database, secrets, Charge(TEN, alice), at=NOON + each * MINUTE) for each in minutes]
    assert told == waits


async def test_two_hundred_at_once_over_two_pools_are_counted_one_by_one(
    database: Database, elsewhere: Database, secrets: MasterKeys, alice: str
) -> None:
    tries = [spends((database, elsewhere)[n % 2], secrets, Charge(TEN, alice)) for n in range(200)]
    told = await asyncio.gather(*tries)
    assert sorted(told) == [0] * 10 + [60] * 190


async def test_everybody_and_everything_has_a_budget_of_its_own(
    database: Database, secrets: MasterKeys, alice: str
) -> None:
    for _ in range(10):
        assert await spends(database, secrets, Charge(TEN, alice)) == 0
    assert await spends(database, secrets, Charge(TEN, alice)) == 60
    assert await spends(database, secrets, Charge(TEN, f"{alice}'s neighbour")) == 0
    assert await spends(database, secrets, Charge(Budget("others", 10, 10 * MINUTE), alice)) == 0


async def test_of_several_budgets_all_are_spent_or_none(database: Database, secrets: MasterKeys, alice: str) -> None:
    of_all = Budget(f"all of {alice}", 3, 3 * MINUTE)
    for n in range(3):
        assert await spends(database, secrets, Charge(TEN, f"{alice}-{n}"), Charge(of_all)) == 0
    before = await held(database)
    assert await spends(database, secrets, Charge(TEN, f"{alice}-9"), Charge(of_all)) == 60
    assert await spends(database, secrets, Charge(of_all), Charge(TEN, f"{alice}-0")) == 60
    assert await held(database) == before


async def test_several_budgets_spent_in_any_order_never_wait_crosswise(
    database: Database, elsewhere: Database, secrets: MasterKeys, alice: str
) -> None:
    wide = Budget("wide", 1000, MINUTE)
    charges = [Charge(wide, f"{alice}-{n}") for n in range(6)]
    orders = [charges, charges[::-1]] * 20
    told = await asyncio.gather(
        *(spends((database, elsewhere)[n % 2], secrets, *order) for n, order in enumerate(orders))
    )
    assert set(told) == {0}


async def test_what_is_given_back_was_never_spent(database: Database, secrets: MasterKeys, alice: str) -> None:
    for _ in range(30):
        assert await spends(database, secrets, Charge(TEN, alice)) == 0
        await budgets.give_back(database, [Charge(TEN, alice)], secrets=secrets)
    await budgets.give_back(database, [Charge(TEN, f"{alice}'s neighbour")], secrets=secrets)  # who spent nothing
    told = [await spends(database, secrets, Charge(TEN, alice)) for _ in range(11)]
    assert told == [0] * 10 + [60]


async def test_a_budget_may_be_larger_for_some(database: Database, secrets: MasterKeys, alice: str) -> None:
    told = [await spends(database, secrets, Charge(TEN, alice, times=3)) for _ in range(31)]
    assert told == [0] * 30 + [20]


async def test_what_is_whole_again_is_forgotten_and_nobodys_budget_changes(
    database: Database, secrets: MasterKeys, alice: str
) -> None:
    async def forget(at: datetime) -> int:
        async with database.transaction() as tx:
            return await budgets.forget_whole(tx, wall_now=at, most=1000)

    await forget(NOON + timedelta(days=999))
    assert await held(database) == []
    await spends(database, secrets, Charge(TEN, f"{alice}'s neighbour"))
    for _ in range(10):
        await spends(database, secrets, Charge(TEN, alice))
    assert await forget(NOON + MINUTE) == 1
    told = [await spends(database, secrets, Charge(TEN, alice), at=NOON + MINUTE) for _ in range(2)]
    assert told == [0, 60]
    assert await forget(NOON + 11 * MINUTE) == 1
    assert await held(database) == []


async def test_nobodys_name_is_in_the_table(database: Database, secrets: MasterKeys) -> None:
    """And what is in it cannot be made from a name without the key."""
    other = MasterKeys({"k1": b"another key of the same length!!"})
    for keys in (secrets, other):
        await spends(database, keys, Charge(TEN, "203.0.113.77"))
    rows = await held(database)
    assert {type(value) for row in rows for value in row} == {int, datetime}
    told = [await spends(database, keys, Charge(TEN, "203.0.113.77")) for keys in (secrets, other) for _ in range(9)]
    assert told == [0] * 18, "two keys, two rows"


async def test_it_is_committed_before_what_it_is_spent_for(database: Database, secrets: MasterKeys) -> None:
    with pytest.raises(AssertionError, match="committed"):
        async with database.transaction():
            await spends(database, secrets, Charge(TEN, "nobody"))
