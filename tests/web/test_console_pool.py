"""The pool of a shop: its figures, its people in every order, and one of them."""

import re
from datetime import timedelta
from typing import Any

import pytest

from dewpond import identity
from dewpond.kit import clock
from dewpond.kit.db import Database
from dewpond.kit.ids import new_id
from dewpond.merchants import Role
from dewpond.web.console.pool import read_pools
from web.tills import Till


@pytest.fixture
async def till(house: Any, new_merchant: Any) -> Till:
    return Till(house, await new_merchant("Tea Shop"))


@pytest.fixture
async def owner(till: Till, visitors: Any, new_member: Any) -> Any:
    return await visitors.member(await new_member(shop=till.shop))


def figure(text: str, name: str) -> str:
    found = re.search(rf'id="{name}">(.*?)</span></dd>', text)
    assert found, name
    return re.sub(r"<[^>]+>", "", found[1])


def names(text: str) -> list[str]:
    return re.findall(r'<span class="strong cut">([^<]*)</span></span></a>', text)


async def test_an_empty_pool_says_how_it_fills(till: Till, owner: Any) -> None:
    text = (await owner.get(f"{till.path}/pool")).text
    assert "Still empty" in text
    assert figure(text, "people") == "0"
    assert figure(text, "spent") == "¥0.00"


async def test_figures_are_those_of_what_happened(till: Till, owner: Any, new_person: Any) -> None:
    alice, bob = await new_person("Alice", "500.00"), await new_person("Bob", "500.00")
    await till.sell(alice, "18.00")
    await till.sell(bob, "40.00")
    await till.ask("22.00")
    await till.settle()
    text = (await owner.get(f"{till.path}/pool")).text
    assert (figure(text, "people"), figure(text, "returning"), figure(text, "spent")) == ("2", "0", "¥58.00")
    paid = await till.sell(alice, "7.00")
    await till.refund(paid, "2.00")
    await till.settle()
    text = (await owner.get(f"{till.path}/pool")).text
    assert (figure(text, "people"), figure(text, "returning"), figure(text, "spent")) == ("2", "1", "¥63.00")


async def test_who_came_back_is_counted_in_the_smallest_pools_first(
    house: Any, new_merchant: Any, new_person: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many shops are told of at once, so many people are looked at and no more."""
    everybody = [await new_person(name, "1.00") for name in ("Ann", "Ben", "Cid")]
    tills = [Till(house, await new_merchant(f"Shop {place}")) for place in range(4)]
    for shop, size in zip(tills, (3, 1, 2, 0), strict=True):
        for _ in range(2 if size else 0):
            await shop.fill(everybody[:size])

    async def returning(most_counted: int | None) -> list[int | None]:
        shops = [one.shop.merchant.id for one in tills]
        async with house.db.transaction() as tx:
            found = await read_pools(tx, shops, (await tills[0].now()).world, most_counted=most_counted)
        return [found[shop].returning for shop in shops]

    assert await returning(10) == await returning(None) == [3, 1, 2, 0]
    assert await returning(1) == [None, 1, None, 0]
    monkeypatch.setattr("dewpond.web.console.pool._LOOKED_AT", 3)
    assert await returning(10) == [None, 1, 2, 0]
    assert await returning(None) == [3, 1, 2, 0], "whoever asks for a page sees everything"


async def test_people_stand_in_the_order_that_is_asked_for(till: Till, owner: Any, new_person: Any) -> None:
    now = (await till.now()).world
    rich, often, last = [await new_person(name, "900.00") for name in ("Rich", "Often", "Last")]
    await till.sell(rich, "400.00", at=now - timedelta(hours=4))
    for hour in (3, 2, 1):
        await till.sell(often, "5.00", at=now - timedelta(hours=hour))
    await till.sell(last, "1.00", at=now)
    await till.settle()
    for sort, expected in {
        "": ["Last", "Often", "Rich"],
        "last_seen": ["Last", "Often", "Rich"],
        "first_seen": ["Last", "Often", "Rich"],
        "spent": ["Rich", "Often", "Last"],
        "purchases": ["Often"],
        "nonsense": ["Last", "Often", "Rich"],
    }.items():
        found = names((await owner.get(f"{till.path}/pool?sort={sort}")).text)
        assert found[: len(expected)] == expected, sort
    assert names((await owner.get(f"{till.path}/pool?q=OFT")).text) == ["Often"]
    assert "Nobody found" in (await owner.get(f"{till.path}/pool?q=%3Cb%3E")).text


@pytest.mark.parametrize("sort", ["last_seen", "first_seen", "spent", "purchases"])
async def test_a_long_pool_goes_on_without_a_gap(till: Till, owner: Any, new_person: Any, sort: str) -> None:
    everybody = [await new_person(f"Person {number:02d}", "9.00", pin=None) for number in range(53)]
    await till.fill(everybody)
    first = (await owner.get(f"{till.path}/pool?sort={sort}")).text
    more = re.search(rf'href="({till.path}/pool\?[^"]*before=[^"]*)"', first)
    assert more
    second = (await owner.get(more[1].replace("&amp;", "&"))).text
    assert len(names(first)) == 50
    assert sorted(names(first) + names(second)) == sorted(person.name for person in everybody)


@pytest.mark.parametrize(
    "query",
    [
        "before=x",
        "before=0001-01-01T00:00:00%2B14:00~01890000-0000-7000-8000-000000000000",
        "before=2026-01-01T00:00:00~01890000-0000-7000-8000-000000000000",
        "before=2026-01-01T00:00:00%2B08:00~oAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "before=2026-01-01T00:00:00%2B08:00~",
        "sort=spent&before=99999999999999999999~oAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "sort=spent&before=5~%FF",
        "sort=spent&before=%D9%A3~x",
        "sort=spent&before=2026-01-01~01890000-0000-7000-8000-000000000000",
        "q=" + "x" * 500,
    ],
)
async def test_nonsense_in_the_address_does_no_harm(till: Till, owner: Any, query: str) -> None:
    assert (await owner.get(f"{till.path}/pool?{query}")).status_code == 200


async def test_a_contact_tells_all_that_the_shop_knows(till: Till, owner: Any, new_person: Any) -> None:
    alice = await new_person("Alice <script>", "500.00")
    first = await till.sell(alice, "18.00", what="Longjing <b>")
    await till.sell(alice, "40.00", what="Pu'er")
    await till.refund(first, "3.00")
    await till.settle()
    open_id = await till.open_id(alice)
    assert f'href="{till.path}/pool/{open_id}"' in (await owner.get(f"{till.path}/pool")).text
    text = (await owner.get(f"{till.path}/pool/{open_id}")).text
    for part in (
        "Alice &lt;script&gt;",
        "¥55",
        "Bought for ¥18.00",
        "Bought for ¥40.00",
        "Got ¥3.00 back",
        "Longjing &lt;b&gt;",
        f"{till.path}/payments/{first.text_id}",
        till.shop.app.appid,
    ):
        assert part in re.sub(r'<span class="amount__\w+">|</span>', "", text), part
    assert f">{open_id}<" in text
    assert "<script>" not in text.replace("<script ", "")


async def test_a_long_acquaintance_goes_on(till: Till, owner: Any, new_person: Any) -> None:
    alice = await new_person("Alice", "500.00", pin=None)
    await till.fill([alice] * 53)
    path = f"{till.path}/pool/{await till.open_id(alice)}"
    first = (await owner.get(path)).text
    more = re.search(rf'href="({path}\?before=[^"]*)"', first)
    assert more
    second = (await owner.get(more[1].replace("&amp;", "&"))).text
    assert (first.count("Bought for"), second.count("Bought for")) == (50, 3)


async def test_whom_a_shop_does_not_know_does_not_exist_for_it(
    till: Till, owner: Any, house: Any, new_person: Any, new_merchant: Any
) -> None:
    elsewhere = Till(house, await new_merchant("Bakery"))
    theirs = await new_person("Theirs", "50.00")
    await elsewhere.sell(theirs, "5.00")
    await elsewhere.settle()
    foreign, unmet = await elsewhere.open_id(theirs), await till.open_id(theirs)
    nobodys = "o" + "A" * 27
    numbers = (foreign, nobodys, unmet, theirs.text_id, theirs.number, str(theirs.id), "x", "%FF", "o" + "é" * 27)
    answers = {number: await owner.get(f"{till.path}/pool/{number}") for number in numbers}
    assert {number: answer.status_code for number, answer in answers.items()} == dict.fromkeys(numbers, 404)
    assert len({re.sub(r"[0-9a-f]{16}", "", answers[number].text) for number in (foreign, nobodys, unmet)}) == 1
    assert (await owner.get(f"{elsewhere.path}/pool/{foreign}")).status_code == 404
    assert "Theirs" not in (await owner.get(f"{till.path}/pool?q=Theirs")).text.replace('value="Theirs"', "").replace(
        "“Theirs”", ""
    )


async def test_every_app_of_a_shop_finds_whom_it_calls_so(
    till: Till, owner: Any, new_person: Any, new_merchant: Any, database: Database
) -> None:
    alice, second, foreign = await new_person("Alice", "50.00"), new_id(), (await new_merchant("Bakery")).app
    await till.sell(alice, "5.00")
    await till.settle()
    add = "insert into merchants.apps (id, merchant_id, appid, name, created_at) values ($1, $2, $3, 'Second', now())"
    async with database.transaction() as tx:
        await tx.connection.execute(add, second, till.shop.merchant.id, f"wx{second.hex[:16]}")
        pairs = [(second, alice.id), (foreign.id, alice.id)]
        named = await identity.open_ids(tx, pairs, wall_now=clock.wall_now())
    answers = [await owner.get(f"{till.path}/pool/{named[pair]}") for pair in pairs]
    assert [answer.status_code for answer in answers] == [200, 404]


async def test_who_looks_at_a_pool_writes_nothing(
    till: Till, owner: Any, visitors: Any, new_person: Any, database: Database
) -> None:
    """What the shop calls its people comes with the drop; one that fell before that was so is shown without."""
    alice, bob = await new_person("Alice", "50.00"), await new_person("Bob", "50.00")
    paid = await till.sell(alice, "5.00")
    await till.settle()
    old = """insert into reservoir.contacts (merchant_id, person_id, app_id, first_seen_at, last_seen_at)
             select merchant_id, $2, app_id, first_seen_at - interval '1 day', last_seen_at - interval '1 day'
             from reservoir.contacts where merchant_id = $1"""
    async with database.transaction() as tx:
        await tx.connection.execute(old, till.shop.merchant.id, bob.id)
        [(called,)] = await tx.connection.fetch("select open_id from identity.subjects where person_id = $1", alice.id)

    text = (await owner.get(f"{till.path}/pool")).text
    assert names(text) == ["Alice"]
    assert '<span class="strong cut">Bob</span></span></td>' in text
    assert re.findall(r'href="(/m/\d+/pool/[^"]*)"', text) == [f"{till.path}/pool/{called}"]
    assert called in (await owner.get(f"{till.path}/payments/{paid.text_id}")).text
    assert (await owner.get(f"{till.path}/pool/{called}")).status_code == 200
    number = till.shop.merchant.number
    assert called in (await (await visitors.person(alice)).get(f"/pools/{number}")).text
    shown = await (await visitors.person(bob)).get(f"/pools/{number}")
    assert (shown.status_code, "Open ID" in shown.text) == (200, False)
    async with database.transaction() as tx:
        assert not await tx.connection.fetch("select from identity.subjects where person_id = $1", bob.id)


async def test_a_cashier_sees_no_pool(till: Till, visitors: Any, new_member: Any, new_person: Any) -> None:
    alice = await new_person("Alice", "50.00")
    await till.sell(alice, "5.00")
    await till.settle()
    cashier = await visitors.member(await new_member("Cas", shop=till.shop, role=Role.CASHIER))
    analyst = await visitors.member(await new_member("Ana", shop=till.shop, role=Role.ANALYST))
    contact = f"/pool/{await till.open_id(alice)}"
    for path in ("/pool", contact, "/pool/live"):
        refused = await cashier.get(f"{till.path}{path}")
        assert refused.status_code == 403, path
        assert "Alice" not in refused.text
    assert f'href="{till.path}/pool"' not in (await cashier.get(till.path)).text
    assert (await analyst.get(f"{till.path}{contact}")).status_code == 200


async def test_other_currencies_are_not_added_to_yuan(till: Till, owner: Any, new_person: Any) -> None:
    alice = await new_person("Alice", pin=None)
    await till.fill([alice], currency="USD")
    text = (await owner.get(f"{till.path}/pool")).text
    assert figure(text, "spent") == "¥0.00"
    assert "$9.00" in text
    assert "$9.00" in (await owner.get(f"{till.path}/pool/{await till.open_id(alice)}")).text


@pytest.mark.parametrize("language", ["en", "zh-CN"])
async def test_both_languages(till: Till, visitors: Any, new_member: Any, new_person: Any, language: str) -> None:
    alice = await new_person("Alice", "50.00")
    await till.sell(alice, "5.00")
    await till.settle()
    client = await visitors.member(await new_member(shop=till.shop), headers={"accept-language": language})
    for path in ("/pool", f"/pool/{await till.open_id(alice)}"):
        answer = await client.get(f"{till.path}{path}")
        assert answer.status_code == 200
        assert f'<html lang="{language}"' in answer.text
