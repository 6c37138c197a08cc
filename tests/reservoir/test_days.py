"""Days and hours: the same sums as over the touchpoints, whichever facts came first and however often."""

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dewpond import reservoir
from dewpond.kit.clock import SHANGHAI
from dewpond.kit.db import Database, Tx
from dewpond.kit.ids import new_id
from dewpond.kit.money import CNY, Currency
from dewpond.kit.outbox import Fact
from dewpond.reservoir import MOST_DAYS, Day, Takings, TouchpointKind

from .conftest import NOW, START, bought, record, returned

#: The day in Shanghai on which the facts begin, at eight in the evening.
TODAY = date(2026, 3, 1)
DAY = timedelta(days=1)


async def days(
    database: Database, shop: UUID, since: date = TODAY - 2 * DAY, until: date = TODAY + 20 * DAY
) -> list[Day]:
    async with database.transaction() as tx:
        return await reservoir.list_days(tx, shop, since, until)


async def day(database: Database, shop: UUID, of: date = TODAY) -> Day:
    [found] = await days(database, shop, of, of)
    return found


def counts(takings: Takings) -> tuple[int, int, int, int]:
    return takings.payments, takings.minor, takings.refunds, takings.refunded_minor


async def test_a_day_knows_what_was_taken_and_given_back(database: Database) -> None:
    shop, alice, bob = new_id(), new_id(), new_id()
    first = bought(shop, alice, 1800)
    await record(database, first, bought(shop, bob, 700, hours=1), bought(shop, alice, 500, hours=2))
    await record(database, returned(first, 300, hours=3))
    today = await day(database, shop)
    assert (today.day, today.new_contacts) == (TODAY, 2)
    [takings] = today.takings
    assert counts(takings) == (3, 3000, 1, 300)
    assert [str(money) for money in (takings.taken, takings.refunded, takings.net)] == [
        "30.00 CNY", "3.00 CNY", "27.00 CNY",
    ]  # fmt: skip


async def test_a_day_begins_at_midnight_in_shanghai(database: Database) -> None:
    shop = new_id()
    for hours, person in ((3, new_id()), (4, new_id()), (27, new_id()), (28, new_id())):
        await record(database, bought(shop, person, hours, hours=hours))
    found = [one for one in await days(database, shop) if one.takings]
    assert [(one.day, one.new_contacts, one.takings_in(CNY).minor) for one in found] == [
        (TODAY, 1, 3),
        (TODAY + DAY, 2, 31),
        (TODAY + 2 * DAY, 1, 28),
    ]
    assert reservoir.day_of(START + timedelta(hours=3, minutes=59)) == TODAY
    assert reservoir.day_of(START + timedelta(hours=4)) == TODAY + DAY


async def test_every_day_is_there_and_in_order(database: Database) -> None:
    shop = new_id()
    await record(database, bought(shop, new_id(), 100, day=1))
    found = await days(database, shop, TODAY, TODAY + 3 * DAY)
    assert [one.day for one in found] == [TODAY + n * DAY for n in range(4)]
    assert [one.new_contacts for one in found] == [0, 1, 0, 0]
    assert found[0] == Day(day=TODAY)
    assert found[0].takings_in(Currency("JPY")) == Takings(currency=Currency("JPY"))


async def test_hours_add_up_to_their_day(database: Database) -> None:
    shop, alice = new_id(), new_id()
    first = bought(shop, alice, 1800)
    await record(database, first, bought(shop, new_id(), 700, hours=1), returned(first, 300, hours=3))
    await record(database, bought(shop, new_id(), 999, hours=4), bought(shop, alice, 5, hours=-20))
    async with database.transaction() as tx:
        hours = (await reservoir.list_hours_of(tx, [shop], TODAY))[shop]
    assert [one.begins_at for one in hours] == [datetime(2026, 3, 1, hour, tzinfo=SHANGHAI) for hour in range(24)]
    assert {n: (one.new_contacts, *counts(one.takings_in(CNY))) for n, one in enumerate(hours) if one.takings} == {
        0: (1, 1, 5, 0, 0),
        20: (0, 1, 1800, 0, 0),
        21: (1, 1, 700, 0, 0),
        23: (0, 0, 0, 1, 300),
    }
    today = await day(database, shop)
    assert today.new_contacts == sum(one.new_contacts for one in hours)
    assert today.takings_in(CNY).net.minor == 5 + 1800 + 700 - 300
    assert reservoir.sum_hours(TODAY, hours) == today


async def test_of_many_merchants_each_is_answered_as_if_it_was_asked_for_alone(database: Database) -> None:
    shops, alice, until = [new_id() for _ in range(4)], new_id(), TODAY + 2 * DAY
    for n, shop in enumerate(shops[:3]):
        first = bought(shop, alice, 100 + n, hours=n)
        await record(database, first, *(bought(shop, new_id(), 70, day=n) for _ in range(n)))
        await record(
            database, returned(first, 30 + n, day=1), bought(shop, alice, 5, currency=("JPY", "USD", "CNY")[n])
        )

    async def ask(tx: Tx, some: list[UUID]) -> list[dict[UUID, Any]]:
        return [
            await reservoir.list_days_of(tx, some, TODAY, until),
            await reservoir.list_hours_of(tx, some, TODAY),
            await reservoir.count_people_of(tx, some),
            await reservoir.total_takings_of(tx, some),
            await reservoir.count_returning(tx, some),
        ]

    async with database.transaction() as tx:
        together = await ask(tx, shops)
        for shop in shops:
            assert [answer[shop] for answer in together] == [answer[shop] for answer in await ask(tx, [shop])]
        assert await reservoir.list_days(tx, shops[1], TODAY, until) == together[0][shops[1]]
        assert await reservoir.count_people(tx, shops[2]) == 3
    found, hours, people, ever, returning = together
    assert [people[shop] for shop in shops] == [1, 2, 3, 0]
    assert [[(one.currency, *counts(one)) for one in ever[shop]] for shop in shops] == [
        [("CNY", 1, 100, 1, 30), ("JPY", 1, 5, 0, 0)],
        [("CNY", 2, 171, 1, 31), ("USD", 1, 5, 0, 0)],
        [("CNY", 4, 247, 1, 32)],
        [],
    ]
    assert [returning[shop] for shop in shops] == [1, 1, 1, 0]
    assert [reservoir.sum_hours(TODAY, hours[shop]) for shop in shops] == [found[shop][0] for shop in shops]


async def test_currencies_stand_beside_each_other_and_people_count_once(database: Database) -> None:
    shop, alice = new_id(), new_id()
    await record(database, bought(shop, alice, 100), bought(shop, alice, 200, currency="JPY"))
    today = await day(database, shop)
    assert today.new_contacts == 1
    assert [(one.currency, one.minor) for one in today.takings] == [("CNY", 100), ("JPY", 200)]


async def test_what_was_ever_taken_is_the_sum_over_all_people(database: Database) -> None:
    shop, other, alice, bob = (new_id() for _ in range(4))
    purchase = bought(shop, alice, 100)
    await record(database, purchase, bought(shop, bob, 70, day=9), bought(shop, bob, 5, currency="JPY"))
    await record(database, returned(purchase, 30, day=2), bought(other, alice, 900))
    async with database.transaction() as tx:
        ever = (await reservoir.total_takings_of(tx, [shop]))[shop]
        summary = await reservoir.pool_summary(tx, shop)
    assert [(one.currency, *counts(one)) for one in ever] == [("CNY", 2, 170, 1, 30), ("JPY", 1, 5, 0, 0)]
    assert [one.net for one in ever] == [total.net for total in summary.totals]


async def test_a_merchant_sees_its_own_days_only(database: Database) -> None:
    shop, other, alice = new_id(), new_id(), new_id()
    await record(database, bought(shop, alice, 100), bought(other, alice, 900))
    assert (await day(database, shop)).takings_in(CNY).minor == 100
    assert (await day(database, other)).new_contacts == 1, "who is known here is new there"
    assert await day(database, new_id()) == Day(day=TODAY)


async def test_who_is_known_is_not_new_again(database: Database) -> None:
    shop, alice = new_id(), new_id()
    for n in range(4):
        await record(database, bought(shop, alice, 100, day=n))
    assert [one.new_contacts for one in await days(database, shop, TODAY, TODAY + 3 * DAY)] == [1, 0, 0, 0]


async def test_an_earlier_meeting_that_is_read_later_moves_the_arrival(database: Database) -> None:
    shop, alice = new_id(), new_id()
    purchase = bought(shop, alice, 100)
    refund = returned(purchase, 40, day=2)
    for fact, arrivals in ((refund, [0, 0, 1]), (purchase, [1, 0, 0]), (refund, [1, 0, 0]), (purchase, [1, 0, 0])):
        await record(database, fact)
        assert [one.new_contacts for one in await days(database, shop, TODAY, TODAY + 2 * DAY)] == arrivals
    async with database.transaction() as tx:
        assert (await reservoir.list_pools(tx, alice))[0].first_seen_at == START


@pytest.mark.parametrize(
    ("_case", "since", "until", "count"),
    [
        ("a year and a day", TODAY, TODAY + (MOST_DAYS - 1) * DAY, MOST_DAYS),
        ("a day more", TODAY, TODAY + MOST_DAYS * DAY, None),
        ("the end before the beginning", TODAY, TODAY - DAY, None),
    ],
)
async def test_a_stretch_of_days_has_limits(
    database: Database, _case: str, since: date, until: date, count: int | None
) -> None:
    if count is None:
        with pytest.raises(ValueError, match="days are answered"):
            await days(database, new_id(), since, until)
    else:
        assert len(await days(database, new_id(), since, until)) == count


# --- the law ----------------------------------------------------------------------------------------------------------


async def sums_over_touchpoints(database: Database, shop: UUID) -> dict[tuple[date, str], Counter[str]]:
    """The truth: every touchpoint, added up here."""
    async with database.transaction() as tx:
        rows = await tx.connection.fetch(
            "select kind, minor, currency, occurred_at from reservoir.touchpoints where merchant_id = $1", shop
        )
    sums: dict[tuple[date, str], Counter[str]] = {}
    for row in rows:
        key = (row["occurred_at"].astimezone(SHANGHAI).date(), row["currency"])
        is_refund = row["kind"] == TouchpointKind.REFUND
        sums.setdefault(key, Counter()).update(
            {"refunds": 1, "refunded": row["minor"]} if is_refund else {"payments": 1, "minor": row["minor"]}
        )
    return sums


def figures(takings: Takings) -> Counter[str]:
    payments, minor, refunds, refunded = counts(takings)
    return +Counter(payments=payments, minor=minor, refunds=refunds, refunded=refunded)


async def assert_the_sums_are_true(database: Database, shop: UUID) -> None:
    truth = await sums_over_touchpoints(database, shop)
    found = await days(database, shop)
    assert {(one.day, takings.currency): figures(takings) for one in found for takings in one.takings} == truth
    of_all_days: dict[str, Counter[str]] = {}
    for (_, currency), sums in truth.items():
        of_all_days.setdefault(currency, Counter()).update(sums)
    async with database.transaction() as tx:
        ever = (await reservoir.total_takings_of(tx, [shop]))[shop]
        people = await reservoir.count_people(tx, shop)
        contacts = await reservoir.list_contacts(tx, shop, most=1000)
        known = await tx.connection.fetch(
            "select person_id, first_seen_at from reservoir.pools where merchant_id = $1", shop
        )
    assert {takings.currency: figures(takings) for takings in ever} == of_all_days
    assert people == len(contacts)
    arrived = Counter(reservoir.day_of(contact.first_seen_at) for contact in contacts)
    assert +Counter({one.day: one.new_contacts for one in found}) == arrived
    assert {row["person_id"]: row["first_seen_at"] for row in known} == {
        contact.person_id: contact.first_seen_at for contact in contacts
    }


def facts_of(dice: random.Random, shop: UUID, people: Sequence[UUID], sales: Sequence[Any]) -> list[Fact]:
    """Sales and what became of them: spread over some days around midnight."""
    facts: list[Fact] = []
    for person, minor, hours, currency in sales:
        purchase = bought(shop, people[person], minor, hours=hours, currency=currency)
        times = dice.choice((0, 0, 1, 2))
        facts += [purchase]
        facts += [returned(purchase, dice.randint(1, minor), hours=hours + dice.randint(0, 60)) for _ in range(times)]
    return facts


SALES = st.lists(
    st.tuples(st.integers(0, 3), st.integers(1, 999), st.integers(0, 120), st.sampled_from(("CNY", "CNY", "JPY"))),
    max_size=14,
)


@given(seed=st.integers(0, 2**32), sales=SALES)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_days_are_the_sums_over_touchpoints_for_any_order_and_repetition(
    database: Database, seed: int, sales: list[Any]
) -> None:
    """Each reader takes the facts in portions of its own, in any order, some of them again and again."""
    dice, shop = random.Random(seed), new_id()
    facts = facts_of(dice, shop, [new_id() for _ in range(4)], sales)
    portions: list[tuple[Any, list[Fact]]] = []
    for reaction in (reservoir.record_purchases, reservoir.record_refunds):
        rest = dice.sample(facts, len(facts))
        while rest:
            cut = dice.randint(1, len(rest))
            portions += [(reaction, rest[:cut])] * dice.randint(1, 2)
            rest = rest[cut:]
    dice.shuffle(portions)
    for reaction, portion in portions:
        async with database.transaction() as tx:
            await reaction(tx, portion, NOW)
        await assert_the_sums_are_true(database, shop)
    assert sum((await sums_over_touchpoints(database, shop)).values(), Counter())["payments"] == len(sales)


async def test_readers_at_once_never_wait_crosswise_and_lose_nothing(database: Database) -> None:
    """Both readers, and each of them twice, over the same people and hours of the same shops."""
    dice = random.Random(7)
    shops, people = [new_id() for _ in range(4)], [new_id() for _ in range(6)]
    facts: list[Fact] = []
    for _ in range(600):
        facts.append(bought(dice.choice(shops), dice.choice(people), dice.randint(1, 999), hours=dice.randint(0, 90)))
        if dice.random() < 0.5:
            facts.append(returned(facts[-1], 1, hours=dice.randint(0, 95)))

    async def read(reaction: Any, seed: int) -> None:
        shuffled = random.Random(seed).sample(facts, len(facts))
        for at in range(0, len(shuffled), 60):
            async with database.transaction() as tx:
                await reaction(tx, shuffled[at : at + 60], NOW)

    reactions = (reservoir.record_purchases, reservoir.record_refunds)
    await asyncio.gather(*(read(reaction, seed) for seed in (1, 2) for reaction in reactions))
    for shop in shops:
        await assert_the_sums_are_true(database, shop)
    async with database.transaction() as tx:
        for person in people:
            pools = await reservoir.list_pools(tx, person)
            assert {one.merchant_id for one in pools} == {
                fact.merchant_id for fact in facts if fact.person_id == person
            }


async def test_moments_of_any_zone_belong_to_one_hour() -> None:
    assert reservoir.day_of(datetime(2026, 3, 1, 15, 59, 59, tzinfo=UTC)) == TODAY
    assert reservoir.day_of(datetime(2026, 3, 2, 0, 0, tzinfo=SHANGHAI)) == TODAY + DAY


async def test_a_day_of_the_whole_world_is_that_of_all_merchants(database: Database) -> None:
    async def of_all(day: date) -> dict[str, tuple[int, int, int, int]]:
        async with database.transaction() as tx:
            return {one.currency: counts(one) for one in await reservoir.sum_day(tx, day)}

    far = TODAY + 400 * DAY
    assert await of_all(far) == {}
    hours = 400 * 24
    tea, books, alice = new_id(), new_id(), new_id()
    first = bought(tea, alice, 1800, hours=hours)
    await record(database, first, bought(books, alice, 700, hours=hours + 1), returned(first, 300, hours=hours + 2))
    await record(database, bought(books, alice, 9, hours=hours + 4))  # past midnight in Shanghai
    assert await of_all(far) == {"CNY": (2, 2500, 1, 300)}
    assert await of_all(far + DAY) == {"CNY": (1, 9, 0, 0)}
