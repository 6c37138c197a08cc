"""Live: what happens is told to those who may hear it, once, in their language, and to nobody else."""

import asyncio
import random
from typing import Any
from uuid import UUID

import pytest

from dewpond.kit import outbox
from dewpond.kit.db import Database, Tx
from dewpond.web import live
from dewpond.web.live import Patch, Telling, Write
from web.conftest import Visitors
from web.listeners import Listener, listening, open_and_never_read
from web.live_sites import moved, position, sell, special
from web.tills import Till


@pytest.fixture
async def till(house: Any, new_merchant: Any) -> Till:
    return Till(house, await new_merchant("Tea Shop"))


@pytest.fixture
async def alice(new_person: Any) -> Any:
    return await new_person("Alice", "900.00")


@pytest.fixture
async def owner(till: Till, visitors: Any, new_member: Any) -> Any:
    return await visitors.member(await new_member(shop=till.shop))


# --- what is told -----------------------------------------------------------------------------------------------------


async def test_a_payment_appears_with_its_drop_and_the_figures(till: Till, owner: Any, alice: Any) -> None:
    async with listening(owner, f"{till.path}/live") as line:
        assert line.messages[0].told == {}
        paid = await sell(till, alice)
        await line.until(lambda one: one.payments == {paid.id})
        told = line.messages[-1].told
        assert told["drops"] == 1
        assert set(told["html"]) == {"#figures", "#hours", "#payments", "#no-payments", "#no-drops"}
        assert "¥18.00" in told["html"]["#figures"]["html"].replace('<span class="amount__sign">¥</span>', "¥").replace(
            '<span class="amount__small">', ""
        )
        again = await sell(till, alice, "2.00")
        await line.until(lambda one: one.payments == {paid.id, again.id})
        assert "drops" not in line.messages[-1].told, "she is in the pool already"


async def test_what_is_given_back_changes_where_it_stands(
    till: Till, owner: Any, alice: Any, database: Database
) -> None:
    paid = await sell(till, alice)
    async with listening(owner, f"{till.path}/live", last=await position(database)) as line:
        await till.refund(paid, "3.00")
        await till.settle()
        await line.until(lambda one: one.payments == {paid.id})
        told = line.messages[-1].told["html"]
        assert told[f"#payment-{paid.id}"]["how"] == "replace"
        assert "Partly refunded" in told[f"#payment-{paid.id}"]["html"]
        assert "#payments" not in told


async def test_the_pool_is_told_who_came_and_the_day_is_not(till: Till, owner: Any, new_person: Any) -> None:
    bob = await new_person("Bob <i>", "90.00")
    async with (
        listening(owner, f"{till.path}/pool/live") as pool,
        listening(owner, f"{till.path}/live") as day,
    ):
        paid = await sell(till, bob)
        called = {await till.open_id(bob)}
        await pool.until(lambda one: one.messages[-1].people == called)
        told = pool.messages[-1].told
        assert told["drops"] == 1
        assert "Bob &lt;i&gt;" in told["html"]["#drops"]["html"]
        assert {"#people", "#spent", "#returning", "#pool-days"} <= set(told["html"])
        await day.until(lambda one: one.payments == {paid.id})
        assert "#drops" not in day.messages[-1].told["html"]
        assert bob.text_id not in day.text


async def test_in_a_large_pool_nobody_is_counted_anew(
    till: Till, owner: Any, alice: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dewpond.web.console.streams._COUNTED", 0)
    async with listening(owner, f"{till.path}/pool/live") as pool:
        await sell(till, alice)
        await pool.until(lambda one: one.messages[-1].people)
        assert "#returning" not in pool.messages[-1].told["html"]
        assert "#people" in pool.messages[-1].told["html"]


@pytest.mark.parametrize("kind", ["live", "pool/live"])
async def test_more_than_a_page_can_show_is_loaded_anew(
    till: Till, owner: Any, new_person: Any, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr("dewpond.web.console.streams._ROWS", 2)
    async with listening(owner, f"{till.path}/{kind}") as line:
        for name in ("Ann", "Ben", "Cid"):
            await till.sell(await new_person(name, "90.00"))
        await till.settle()
        await line.until(lambda one: any(message.told.get("reload") for message in one.messages))


async def test_two_languages_are_told_apart(till: Till, alice: Any, visitors: Any, new_member: Any) -> None:
    member = await new_member(shop=till.shop)
    english = await visitors.member(member, headers={"accept-language": "en"})
    chinese = await visitors.member(member, headers={"accept-language": "zh"})
    async with listening(english, f"{till.path}/live") as one, listening(chinese, f"{till.path}/live") as other:
        paid = await sell(till, alice)
        for line in (one, other):
            await line.until(lambda line: line.payments == {paid.id})
        assert ("Taken today" in one.text, "Taken today" in other.text) == (True, False)
        assert one.position == other.position


async def test_foreign_facts_are_never_told(
    till: Till, owner: Any, alice: Any, house: Any, new_merchant: Any, new_person: Any
) -> None:
    elsewhere = Till(house, await new_merchant("Bakery"))
    stranger = await new_person("Stranger", "90.00")
    async with (
        listening(owner, f"{till.path}/live") as day,
        listening(owner, f"{till.path}/pool/live") as pool,
    ):
        theirs = await sell(elsewhere, stranger, "77.77")
        ours = await sell(till, alice)
        await day.until(lambda one: one.payments)
        await pool.until(lambda one: one.messages[-1].people)
        assert day.payments == {ours.id}
        for line in (day, pool):
            for part in (str(theirs.id), theirs.text_id, "Stranger", "77.77", str(stranger.id)):
                assert part not in line.text


# --- a line that breaks -----------------------------------------------------------------------------------------------


async def test_who_comes_back_is_told_exactly_what_was_missed(till: Till, owner: Any, alice: Any) -> None:
    async with listening(owner, f"{till.path}/live") as stayed:
        async with listening(owner, f"{till.path}/live") as line:
            before = await sell(till, alice)
            await line.until(lambda one: one.payments == {before.id})
        missed = {(await sell(till, alice, f"{number}.00")).id for number in (1, 2, 3)}
        await stayed.until(lambda one: one.payments == missed | {before.id})
        async with listening(owner, f"{till.path}/live?after=1", last=line.position) as back:
            assert back.payments == missed
            assert back.messages[0].position == stayed.position
            assert "reload" not in back.messages[0].told
        async with listening(owner, f"{till.path}/live", last=stayed.position) as back:
            assert back.messages[0].told == {}


async def test_what_is_too_long_ago_is_loaded_anew(
    till: Till, owner: Any, alice: Any, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = await position(database)
    for _ in range(4):
        await till.sell(alice, "1.00")
    await till.settle()
    monkeypatch.setattr("dewpond.web.live.CATCH_UP", 3)
    for after, is_too_old in ((start, True), (await position(database) - 3, False)):
        async with listening(owner, f"{till.path}/live?after={after}") as line:
            assert line.messages[0].told.get("reload", False) is is_too_old
            assert line.messages[0].position == await position(database)


async def test_a_position_of_another_world_is_loaded_anew(till: Till, owner: Any, database: Database) -> None:
    ahead = await position(database) + 1_000_000
    async with listening(owner, f"{till.path}/live", last=ahead) as line:
        assert line.messages[0].told == {"reload": True}
        assert line.messages[0].position == await position(database)


@pytest.mark.parametrize("after", ["x", "-1", "1.5", "９", "9" * 19, "1; drop table"])
async def test_nonsense_for_a_position_begins_now(till: Till, owner: Any, database: Database, after: str) -> None:
    async with listening(owner, f"{till.path}/live?after={after}") as line:
        assert line.messages[0].told == {}
        assert line.messages[0].position == await position(database)


async def test_a_page_that_is_further_on_than_the_process_is_not_loaded_again(
    house: Any, world: Any, till: Till, owner: Any, alice: Any, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dewpond.web.live._LOOK_SECONDS", 1.5)
    async with special(house, world) as (origin, _), listening(moved(owner, origin), f"{till.path}/live") as first:
        # The reader has looked, and will not again for a while.
        shown = await sell(till, alice)
        after = await position(database)
        async with listening(owner, f"{till.path}/live?after={after}") as line:
            assert (line.messages[0].told, line.messages[0].position) == ({}, after)
            await first.until(lambda one: one.payments == {shown.id})
            later = await sell(till, alice, "1.00")
            await line.until(lambda one: one.payments)
            assert line.payments == {later.id}, "what the page shows already is not told again"


async def test_a_quiet_shop_moves_on_with_the_world(
    till: Till,
    owner: Any,
    alice: Any,
    house: Any,
    new_merchant: Any,
    monkeypatch: pytest.MonkeyPatch,
    database: Database,
) -> None:
    monkeypatch.setattr("dewpond.web.live._BEAT_SECONDS", 0.2)
    elsewhere = Till(house, await new_merchant("Bakery"))
    async with listening(owner, f"{till.path}/live") as line:
        for _ in range(3):
            await sell(elsewhere, alice, "1.00")
        upto = await position(database)
        await line.until(lambda one: one.position == upto)
        assert all(message.told == {} for message in line.messages)


async def test_many_who_come_and_go_while_facts_flow_miss_nothing(
    till: Till, house: Any, new_person: Any, visitors: Visitors, new_member: Any, database: Database
) -> None:
    """Whenever one joins, leaves and comes back: what it was told is all that happened since it first joined."""
    payers = [await new_person(f"Payer {number}", "900.00") for number in range(4)]
    member = await new_member(shop=till.shop)
    chance, selling = random.Random(4), True

    async def flow() -> None:
        while selling:
            await asyncio.gather(*(till.sell(payer, "0.01") for payer in payers))
            await till.settle()

    async def follow(number: int) -> tuple[int, set[UUID], int]:
        client = await visitors.member(member, headers={"accept-language": "zh" if number % 2 else "en"})
        await asyncio.sleep(chance.random())
        begin = last = await position(database)
        told: set[UUID] = set()
        for _ in range(4):
            async with listening(client, f"{till.path}/live?after={begin}", last=last) as line:
                await asyncio.sleep(chance.random())
            told |= line.payments
            last = line.position
            assert "reload" not in line.text
            await asyncio.sleep(chance.random() / 2)
        return begin, told, last

    flowing = asyncio.create_task(flow())
    followed = await asyncio.gather(*(follow(number) for number in range(12)))
    selling = False
    await flowing
    async with database.transaction() as tx:
        facts = await outbox.page_of_merchant(tx, till.shop.merchant.id, after=0, upto=2**31)
    paid = {fact.position: fact.body["payment_id"] for fact in facts if fact.kind == "payment.succeeded"}
    assert len(paid) > 40
    for begin, told, last in followed:
        assert told == {UUID(payment) for at, payment in paid.items() if begin < at <= last}


# --- a site whose pages are told what a test likes --------------------------------------------------------------------


@pytest.mark.parametrize("way", ["asking", "writing"])
async def test_one_shops_trouble_is_not_the_others(
    house: Any,
    world: Any,
    till: Till,
    owner: Any,
    alice: Any,
    new_merchant: Any,
    visitors: Any,
    new_member: Any,
    way: str,
) -> None:
    bad = Till(house, await new_merchant("Bad Luck"))
    unlucky = await visitors.member(await new_member("Una", shop=bad.shop))

    async def compose(tx: Tx, merchant_id: UUID) -> Write:
        if merchant_id == bad.shop.merchant.id and way == "asking":
            await tx.connection.execute("select 1 / 0")

        def write() -> Telling:
            assert merchant_id != bad.shop.merchant.id
            return Telling(html={"#x": Patch(how="replace", html="told")})

        return write

    async with (
        special(house, world, compose) as (origin, _),
        listening(moved(owner, origin), f"{till.path}/live") as fine,
        listening(moved(unlucky, origin), f"{bad.path}/live") as worse,
    ):
        start = worse.position
        await bad.sell(alice, "1.00")
        await sell(till, alice, "1.00")
        await worse.until(lambda one: one.has_ended)
        await fine.until(lambda one: "told" in one.text)
        assert not fine.has_ended
        async with listening(unlucky, f"{bad.path}/live", last=start) as again:
            await again.until(lambda one: one.has_ended)
            assert again.messages == [], "no position is told that was not composed"


async def test_a_database_that_is_gone_for_a_moment_lets_nobody_go(
    house: Any, world: Any, till: Till, owner: Any, alice: Any, new_merchant: Any, visitors: Any, new_member: Any
) -> None:
    other = Till(house, await new_merchant("The Other"))
    neighbour = await visitors.member(await new_member("Nora", shop=other.shop))
    loop, gone_until = asyncio.get_running_loop(), [0.0]

    async def compose(tx: Tx, merchant_id: UUID) -> Write:
        gone_until[0] = gone_until[0] or loop.time() + 0.5
        if loop.time() < gone_until[0]:
            raise ConnectionResetError("the server is gone")
        return lambda: Telling(html={"#x": Patch(how="replace", html="told")})

    async with (
        special(house, world, compose) as (origin, _),
        listening(moved(owner, origin), f"{till.path}/live") as one,
        listening(moved(neighbour, origin), f"{other.path}/live") as two,
    ):
        await other.sell(alice, "1.00")
        await sell(till, alice, "1.00")
        for line in (one, two):
            await line.until(lambda each: "told" in each.text)
            assert not line.has_ended
            assert line.text.count("told") == 1


async def test_who_is_too_slow_is_let_go_and_holds_nobody_up(
    house: Any, world: Any, till: Till, owner: Any, alice: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dewpond.web.live.BACKLOG", 3)

    async def compose(tx: Tx, merchant_id: UUID) -> Write:
        return lambda: Telling(html={"#x": Patch(how="replace", html="x" * 3_000_000)})

    async with (
        special(house, world, compose) as (origin, _),
        listening(moved(owner, origin), f"{till.path}/live") as quick,
    ):
        loop, slow = asyncio.get_running_loop(), await open_and_never_read(owner, f"{till.path}/live")
        for number in range(8):
            await sell(till, alice, "0.01")
            await quick.until(lambda one, number=number: len(one.messages) > number + 1)
        read = b""
        async with asyncio.timeout(30):
            while part := await loop.sock_recv(slow, 1 << 20):
                read += part
                if read.endswith(b"0\r\n\r\n"):
                    break
        slow.close()
        told = read.count(b'\ndata: {"html"')
        assert 0 < told < 8, "the end came before everything was told"
        assert not quick.has_ended


async def test_a_server_that_stops_ends_every_line_at_once(
    house: Any, world: Any, till: Till, owner: Any, alice: Any
) -> None:
    async def compose(tx: Tx, merchant_id: UUID) -> None:
        return None

    async with special(house, world, compose) as (origin, [porch]):
        client = moved(owner, origin)
        async with (
            listening(client, f"{till.path}/live") as one,
            listening(client, f"{till.path}/pool/live") as other,
        ):
            await porch.close()
            for line in (one, other):
                await line.until(lambda line: line.has_ended, seconds=5)
            async with listening(client, f"{till.path}/live") as late:
                await late.until(lambda line: line.has_ended, seconds=5)
                assert late.messages == []


async def test_a_world_that_was_reset_lets_everybody_come_anew(
    till: Till, owner: Any, alice: Any, database: Database
) -> None:
    await sell(till, alice)
    async with listening(owner, f"{till.path}/live") as line:
        assert isinstance(line, Listener)
        async with database.transaction() as tx:
            for reader in await outbox.reader_positions(tx):
                await outbox.advance_reader(tx, reader.name, 0)
        await line.until(lambda one: one.has_ended)
        async with listening(owner, f"{till.path}/live", last=line.position) as again:
            assert again.messages[0].told == {"reload": True}
    await till.settle()  # reads everything once more, and is deaf to it


def test_streams_are_bounded() -> None:
    assert 1_000 <= live.STREAMS <= 100_000
    assert 6 < live.OF_SESSION <= 32, "a browser opens six, and some are dead without anybody knowing"
