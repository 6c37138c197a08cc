"""The pool fills by itself from facts, in whatever portions and however often they come."""

import random
from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dewpond import identity, reservoir
from dewpond.kit import outbox
from dewpond.kit.db import Database
from dewpond.kit.ids import new_id
from dewpond.kit.money import CNY, Currency, Money
from dewpond.kit.outbox import Event, Fact
from dewpond.reservoir import Contact, ContactOrder, PoolSummary, TouchpointKind, place_of

from .conftest import NOW, START, bought, record, returned


async def pool(database: Database, merchant: UUID) -> tuple[PoolSummary, list[Contact]]:
    async with database.transaction() as tx:
        return await reservoir.pool_summary(tx, merchant), await reservoir.list_contacts(tx, merchant)


async def test_who_buys_settles_in_the_pool(database: Database) -> None:
    shop, alice, bob = new_id(), new_id(), new_id()
    facts = [bought(shop, alice, 1800), bought(shop, alice, 700, day=3), bought(shop, bob, 500, day=1)]
    await record(database, *facts)
    summary, contacts = await pool(database, shop)
    assert (summary.people, summary.returning) == (2, 1)
    [total] = summary.totals
    assert (total.buyers, total.purchases, str(total.net)) == (2, 3, "30.00 CNY")
    assert [contact.person_id for contact in contacts] == [alice, bob], "the last seen first"
    [spent] = contacts[0].spendings
    assert (spent.purchases, spent.spent, spent.net) == (2, Money(2500, spent.currency), Money(2500, spent.currency))
    assert (contacts[0].first_seen_at, contacts[0].last_seen_at) == (START, START + timedelta(days=3))


async def test_a_refund_corrects_the_pool(database: Database) -> None:
    shop, alice = new_id(), new_id()
    purchase = bought(shop, alice, 1800)
    await record(database, purchase)
    await record(database, returned(purchase, 600, day=1), returned(purchase, 200, day=2))
    summary, [contact] = await pool(database, shop)
    [spent] = contact.spendings
    assert (spent.purchases, spent.refunds) == (1, 2)
    assert [str(money) for money in (spent.spent, spent.refunded, spent.net)] == ["18.00 CNY", "8.00 CNY", "10.00 CNY"]
    assert str(summary.totals[0].net) == "10.00 CNY"


async def test_currencies_are_never_added(database: Database) -> None:
    shop, alice = new_id(), new_id()
    await record(database, bought(shop, alice, 100), bought(shop, alice, 200, currency="JPY"))
    summary, [contact] = await pool(database, shop)
    assert [str(s.net) for s in contact.spendings] == ["1.00 CNY", "200 JPY"]
    assert [str(t.net) for t in summary.totals] == ["1.00 CNY", "200 JPY"]
    assert summary.returning == 1, "who buys in two currencies came back all the same"


async def test_every_figure_walks_to_its_payments(database: Database) -> None:
    shop, alice = new_id(), new_id()
    purchases = [bought(shop, alice, 100 * n, day=n) for n in range(1, 6)]
    await record(database, *purchases, returned(purchases[1], 50, day=9))
    _, [contact] = await pool(database, shop)
    [spent] = contact.spendings
    walked = []
    before = None
    async with database.transaction() as tx:
        while page := await reservoir.list_touchpoints(tx, shop, alice, before=before, most=2):
            walked += page
            before = (page[-1].occurred_at, page[-1].fact_id)
    assert sum(t.minor for t in walked if t.kind is TouchpointKind.PURCHASE) == spent.spent_minor
    assert sum(t.minor for t in walked if t.kind is TouchpointKind.REFUND) == spent.refunded_minor
    assert {t.payment_id for t in walked} == {p.aggregate_id for p in purchases}
    assert walked[0].kind is TouchpointKind.REFUND, "the newest first"


async def test_a_merchant_sees_its_own_pool_only(database: Database) -> None:
    shop, other, alice = new_id(), new_id(), new_id()
    await record(database, bought(shop, alice, 100), bought(other, alice, 900))
    summary, [contact] = await pool(database, shop)
    assert str(summary.totals[0].spent) == "1.00 CNY"
    assert contact.merchant_id == shop
    async with database.transaction() as tx:
        assert [t.minor for t in await reservoir.list_touchpoints(tx, shop, alice)] == [100]
        assert await reservoir.find_contact(tx, new_id(), alice) is None


async def test_some_of_the_people_are_looked_up_by_name(database: Database) -> None:
    shop, other, alice, bob = (new_id() for _ in range(4))
    await record(database, bought(shop, alice, 100), bought(shop, bob, 200, day=1), bought(other, alice, 900))
    async with database.transaction() as tx:
        found = await reservoir.list_contacts_among(
            tx, [(shop, alice), (shop, bob), (shop, alice), (shop, new_id()), (new_id(), alice)]
        )
        assert [contact.person_id for contact in found] == [bob, alice], "the last seen first"
        assert [str(contact.spendings[0].spent) for contact in found] == ["2.00 CNY", "1.00 CNY"]
        assert await reservoir.list_contacts_among(tx, []) == []
        [elsewhere] = await reservoir.list_contacts_among(tx, [(other, alice), (other, bob)])
        assert elsewhere.person_id == alice


async def test_first_meetings_are_counted_for_each_merchant(database: Database) -> None:
    shop, other, alice, bob = (new_id() for _ in range(4))
    before = bought(shop, alice, 100)
    news = [bought(shop, alice, 200), bought(shop, bob, 100), bought(other, alice, 5), bought(other, bob, 5)]
    await record(database, before, *news)
    async with database.transaction() as tx:
        assert await reservoir.count_first_meetings(tx, news) == {shop: 1, other: 2}
        assert await reservoir.count_first_meetings(tx, news[:1]) == {shop: 0}
        assert await reservoir.count_first_meetings(tx, []) == {}


async def test_a_drop_brings_what_the_shop_calls_them(database: Database) -> None:
    shop, alice, bob, app = (new_id() for _ in range(4))
    purchase = bought(shop, alice, 100, app=app)
    await record(database, purchase, bought(shop, bob, 100, app=app))
    async with database.transaction() as tx:
        named = await identity.find_open_ids(tx, [(app, alice), (app, bob), (app, new_id())])
    assert named.keys() == {(app, alice), (app, bob)}
    await record(database, purchase, returned(purchase, 40))
    async with database.transaction() as tx:
        assert await identity.find_open_ids(tx, named) == named


async def test_the_app_of_the_first_meeting_stays(database: Database) -> None:
    shop, alice, first, later = new_id(), new_id(), new_id(), new_id()
    await record(database, bought(shop, alice, 100, day=5, app=later))
    await record(database, bought(shop, alice, 100, day=1, app=first))
    await record(database, bought(shop, alice, 100, day=7, app=later))
    async with database.transaction() as tx:
        contact = await reservoir.find_contact(tx, shop, alice)
    assert contact is not None
    assert contact.app_id == first


async def test_pages_hold_everybody_once(database: Database) -> None:
    shop = new_id()
    people = [new_id() for _ in range(7)]
    await record(database, *(bought(shop, person, 100, day=n // 2) for n, person in enumerate(people)))
    seen: list[UUID] = []
    before = None
    async with database.transaction() as tx:
        while page := await reservoir.list_contacts(tx, shop, before=before, most=3):
            seen += [contact.person_id for contact in page]
            before = (page[-1].last_seen_at, page[-1].person_id)
    assert sorted(seen) == sorted(people)


# --- the orders of a pool ---------------------------------------------------------------------------------------------


async def walk(database: Database, shop: UUID, sort: ContactOrder, currency: Currency = CNY) -> list[UUID]:
    """Everybody in this order, two on a page."""
    seen: list[UUID] = []
    before = None
    async with database.transaction() as tx:
        while page := await reservoir.filter_contacts(tx, shop, sort=sort, currency=currency, before=before, most=2):
            seen += [contact.person_id for contact in page]
            before = place_of(page[-1], sort, currency)
    return seen


async def test_a_pool_is_looked_through_by_what_matters(database: Database) -> None:
    shop, alice, bob, carol, dan = new_id(), *sorted(new_id() for _ in range(4))
    generous = bought(shop, bob, 900, day=1)
    await record(database, bought(shop, alice, 300), bought(shop, alice, 200, day=9), generous)
    await record(
        database, bought(shop, carol, 50, day=2), bought(shop, carol, 50, day=3), bought(shop, carol, 50, day=4)
    )
    await record(database, bought(shop, dan, 500, day=5), returned(generous, 850, day=6))
    await record(database, bought(new_id(), alice, 10_000, day=20))
    assert await walk(database, shop, ContactOrder.LAST_SEEN) == [alice, bob, dan, carol]
    assert await walk(database, shop, ContactOrder.FIRST_SEEN) == [dan, carol, bob, alice]
    assert await walk(database, shop, ContactOrder.SPENT) == [dan, alice, carol, bob], "after refunds"
    assert await walk(database, shop, ContactOrder.PURCHASES) == [carol, alice, dan, bob], "the same often: by id"


async def test_orders_by_money_are_of_one_currency(database: Database) -> None:
    shop, alice, bob = new_id(), *sorted(new_id() for _ in range(2))
    await record(database, bought(shop, alice, 100), bought(shop, bob, 1, currency="JPY"))
    await record(database, bought(shop, alice, 9, currency="JPY", day=1))
    jpy = Currency("JPY")
    assert await walk(database, shop, ContactOrder.SPENT) == [alice]
    assert await walk(database, shop, ContactOrder.SPENT, jpy) == [alice, bob]
    async with database.transaction() as tx:
        [first, _] = await reservoir.filter_contacts(tx, shop, sort=ContactOrder.SPENT, currency=jpy)
    assert [str(one.spent) for one in first.spendings] == ["1.00 CNY", "9 JPY"], "contacts come whole"


@pytest.mark.parametrize("sort", ContactOrder)
async def test_a_place_belongs_to_its_order(database: Database, sort: ContactOrder) -> None:
    foreign = START if sort in (ContactOrder.SPENT, ContactOrder.PURCHASES) else 100
    async with database.transaction() as tx:
        assert await reservoir.filter_contacts(tx, new_id(), sort=sort) == []
        with pytest.raises(ValueError, match="no place"):
            await reservoir.filter_contacts(tx, new_id(), sort=sort, before=(foreign, new_id()))


# --- the law ----------------------------------------------------------------------------------------------------------


@given(seed=st.integers(0, 2**32), sales=st.lists(st.tuples(st.integers(0, 2), st.integers(1, 999)), max_size=12))
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_any_portions_in_any_order_any_number_of_times_make_the_same_pool(
    database: Database, seed: int, sales: list[tuple[int, int]]
) -> None:
    """The law of a reaction: it is deaf to the second time, and to how the facts were cut into pages."""
    people = [new_id() for _ in range(3)]
    dice = random.Random(seed)
    shop = new_id()
    facts: list[Fact] = []
    for day, (person, minor) in enumerate(sales):
        facts.append(bought(shop, people[person], minor, day=day, app=new_id()))
        if dice.random() < 0.4:
            facts.append(returned(facts[-1], dice.randint(1, minor), day=day + 1))
    await record(database, *facts)
    expected = await pool(database, shop)

    twin = new_id()
    twins = [_moved(fact, shop, twin) for fact in facts]
    for _ in range(3):
        dice.shuffle(twins)
        rest = list(twins)
        while rest:
            cut = dice.randint(1, len(rest))
            await record(database, *rest[:cut], *dice.sample(twins, min(2, len(twins))))
            rest = rest[cut:]
    assert _nameless(await pool(database, twin)) == _nameless(expected)


def _moved(fact: Fact, _shop: UUID, twin: UUID) -> Fact:
    return msgspec.structs.replace(fact, merchant_id=twin, body={**fact.body, "merchant_id": str(twin)})


def _nameless(pool: tuple[PoolSummary, Sequence[Contact]]) -> Any:
    blank = {"merchant_id": UUID(int=0)}
    return pool[0], [
        msgspec.structs.replace(
            contact, **blank, spendings=tuple(msgspec.structs.replace(one, **blank) for one in contact.spendings)
        )
        for contact in pool[1]
    ]


@pytest.mark.parametrize("reaction", [reservoir.record_purchases, reservoir.record_refunds])
async def test_pages_without_its_facts_are_passed_over(database: Database, reaction: Any) -> None:
    async with database.transaction() as tx:
        await reaction(tx, [], NOW)


async def test_what_was_really_published_is_understood(database: Database) -> None:
    """The fact goes through the outbox and back, as it does in a running house."""
    shop, alice = new_id(), new_id()
    events: list[Event] = [bought(shop, alice, 250).event]
    async with database.transaction() as tx:
        await outbox.publish(tx, events, wall_now=START)
    async with database.transaction() as tx:
        assert await outbox.relay(tx) == 1
        facts = await outbox.page(tx, after=0)
    await record(database, *facts)
    _, [contact] = await pool(database, shop)
    assert contact.spendings[0].spent_minor == 250
