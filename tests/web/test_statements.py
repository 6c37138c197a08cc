"""What a page asks of the database does not grow with what it shows: as many statements for ten rows as for one."""

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from typing import Any
from uuid import UUID

import pytest

from dewpond import identity, pay
from dewpond.identity import How, Realm
from dewpond.kit import clock, outbox, worlds
from dewpond.kit.db import Database
from dewpond.kit.ids import new_id
from dewpond.kit.money import CNY, Money
from dewpond.merchants import Capability, Role
from dewpond.pay import Payment, RefundRequest
from dewpond.web.console.streams import KINDS, still_welcome
from dewpond.web.live import Guest, Telling
from dewpond.web.words import Language, speak
from web.accounts import claim
from web.tills import Till

#: What runs beside the pages: the reader of facts that event streams follow; and the driver, which learns types.
BESIDE = ("kit.facts", "kit.outbox", "kit.readers", "pg_type", "set_config")


@contextmanager
def heard_by(connections: list[Any]) -> Iterator[list[str]]:
    """Every statement on these connections."""
    heard: list[str] = []

    def listen(record: Any) -> None:
        if not any(name in record.query for name in BESIDE):
            heard.append(record.query)

    for connection in connections:
        connection.add_query_logger(listen)
    try:
        yield heard
    finally:
        for connection in connections:
            connection.remove_query_logger(listen)


class Counted:
    """A house whose pages' statements are counted."""

    def __init__(self, house: Any) -> None:
        self.house = house

    async def warm_up(self) -> None:
        """Open every connection that the pool may have, so that each of them is listened to."""
        pool = self.house.db._pool
        async with AsyncExitStack() as held:
            for _ in range(pool.get_max_size()):
                await held.enter_async_context(pool.acquire())

    async def get(self, client: Any, path: str) -> list[str]:
        """What one page asks for."""
        assert (await client.get(path)).status_code == 200, "once before, for what is asked for the first time only"
        with heard_by([holder._con for holder in self.house.db._pool._holders]) as heard:
            assert (await client.get(path)).status_code == 200
        assert len(heard) > 3, "these are not the statements of a page"
        return heard


@pytest.fixture
async def counted(house: Any, doors: Any) -> Counted:
    counted = Counted(house)
    await counted.warm_up()
    return counted


@pytest.fixture
async def till(house: Any, new_merchant: Any) -> Till:
    return Till(house, await new_merchant("Tea Shop"))


async def test_the_list_of_colleagues(
    counted: Counted, till: Till, visitors: Any, new_member: Any, database: Database
) -> None:
    owner = await new_member("Mei", shop=till.shop)
    client = await visitors.member(owner)
    one = await counted.get(client, f"{till.path}/staff")
    for place in range(9):
        colleague = await new_member(f"Colleague {place}", shop=till.shop, role=Role.CASHIER)
        if place == 0:
            await claim(database, colleague)
    ten = await counted.get(client, f"{till.path}/staff")
    assert len(ten) == len(one), ten


async def test_the_staff_of_a_merchant_at_the_desk(
    counted: Counted, till: Till, visitors: Any, new_member: Any
) -> None:
    operator = await visitors.member(await new_member("Olga", is_operator=True))
    path = f"/desk/merchants/{till.shop.merchant.number}"
    await new_member("Mei", shop=till.shop)
    one = await counted.get(operator, path)
    for place in range(9):
        await new_member(f"Colleague {place}", shop=till.shop, role=Role.CASHIER)
    assert len(await counted.get(operator, path)) == len(one)


async def test_the_operators_at_the_desk(counted: Counted, visitors: Any, new_member: Any) -> None:
    operator = await visitors.member(await new_member("Olga", is_operator=True))
    one = await counted.get(operator, "/desk/staff")
    for place in range(9):
        await new_member(f"Operator {place}", is_operator=True)
    assert len(await counted.get(operator, "/desk/staff")) == len(one)


async def test_the_page_that_strangers_sign_in_by(counted: Counted, till: Till, visitors: Any, new_member: Any) -> None:
    """Anybody may ask for it as often as they like."""
    await new_member("Mei", shop=till.shop)
    one = await counted.get(visitors.stranger("staff"), "/sign-in")
    for place in range(9):
        await new_member(f"Colleague {place}", shop=till.shop, role=Role.CASHIER)
    ten = await counted.get(visitors.stranger("staff"), "/sign-in")
    assert len(ten) == len(one) <= 8, ten


async def test_a_payment_with_all_that_was_told_of_it(
    counted: Counted, till: Till, visitors: Any, new_member: Any, new_person: Any
) -> None:
    client = await visitors.member(await new_member("Mei", shop=till.shop))
    paid = await till.sell(await new_person("Alice", "90.00"))
    await give_back(till, paid)
    await till.settle()
    path = f"{till.path}/payments/{paid.text_id}"
    few = await counted.get(client, path)
    for _ in range(6):
        await give_back(till, paid)
    await till.settle()
    text = (await client.get(path)).text
    assert text.count("dlv_") >= 8
    assert len(await counted.get(client, path)) == len(few)


async def give_back(till: Till, paid: Payment) -> None:
    """A part of a payment, of which the shop's server is told."""
    now = await till.now()
    request = RefundRequest(
        merchant_id=paid.merchant_id,
        payment_id=paid.id,
        merchant_reference=new_id().hex,
        amount=Money(100, CNY),
        total=paid.amount,
        request_hash=b"x",
        notify_url="http://localhost:9/notify",
    )
    async with till.house.db.transaction() as tx:
        await pay.request_refund(tx, request, now=now)


async def test_who_may_go_on_listening(till: Till, new_member: Any, new_merchant: Any, database: Database) -> None:
    """Asked every second, for every open console of a process."""
    shops = [till.shop, await new_merchant("Bakery")]
    members = [await new_member(f"Ana {place}", shop=shops[place % 2], role=Role.ANALYST) for place in range(10)]
    wall = clock.wall_now()
    async with database.transaction() as tx:
        sessions = [
            await identity.open_session(
                tx, Realm.STAFF, member.id, device="", address="", how=How.PASSWORD, wall_now=wall
            )
            for member in members
        ]
    guests = [
        Guest(session_id=session.id, staff_id=member.id, merchant_id=shop.merchant.id, need=Capability.POOL)
        for member, (session, _) in zip(members, sessions, strict=True)
        for shop in shops
    ]
    gone = Guest(session_id=new_id(), staff_id=members[0].id, merchant_id=shops[0].merchant.id, need=Capability.POOL)

    async def ask(asked: list[Guest]) -> tuple[set[Guest], int]:
        async with database.transaction() as tx:
            with heard_by([tx.connection]) as heard:
                welcome = await still_welcome(tx, asked)
                await asyncio.sleep(0)  # a statement is told of after it
        return welcome, len(heard)

    welcome, often = await ask([*guests, gone])
    assert welcome == {guest for place, guest in enumerate(guests) if place // 2 % 2 == place % 2}
    assert (await ask(guests[:1]))[1] == often == 2


@pytest.mark.parametrize("kind", sorted(KINDS))
async def test_what_open_consoles_are_told(
    kind: str, house: Any, new_merchant: Any, new_person: Any, database: Database
) -> None:
    """Asked for at once, of all shops where something happened, and for both languages."""
    tills = [Till(house, await new_merchant(f"Shop {place}")) for place in range(4)]
    alice = await new_person("Alice", "90.00")
    for till in tills:
        for _ in range(2):
            await till.sell(alice, "1.00")
    await tills[0].settle()
    async with database.transaction() as tx:
        now = await worlds.read_clocks(tx)
        happened = {
            one.shop.merchant.id: await outbox.page_of_merchant(tx, one.shop.merchant.id, after=0, upto=2**31)
            for one in tills
        }

    async def compose(some: list[Till]) -> tuple[dict[UUID, dict[Language, Telling]], int]:
        facts = {one.shop.merchant.id: happened[one.shop.merchant.id] for one in some}
        told: dict[UUID, dict[Language, Telling]] = {one: {} for one in facts}
        async with database.reading() as tx:
            with heard_by([tx.connection]) as heard:
                writes = await KINDS[kind](tx, facts, now)
                for language in Language:
                    speak(language)
                    for merchant_id, write in writes.items():
                        told[merchant_id][language] = write()
                await asyncio.sleep(0)  # a statement is told of after it
        return told, len(heard)

    one, few = await compose(tills[:1])
    all_of, often = await compose(tills)
    assert 0 < often == few
    assert all_of[tills[0].shop.merchant.id] == one[tills[0].shop.merchant.id]
    for till in tills:
        told = all_of[till.shop.merchant.id]
        assert told[Language.ENGLISH].drops == told[Language.CHINESE].drops == 1
        assert told[Language.ENGLISH].html.keys() == told[Language.CHINESE].html.keys()
        assert told[Language.ENGLISH] != told[Language.CHINESE]
        assert till.shop.merchant.number in "".join(patch.html for patch in told[Language.ENGLISH].html.values())
