"""History, home and pools: a person's own, whole, in order, and nobody else's."""

import re
from datetime import timedelta
from typing import Any

import pytest

from dewpond import reservoir
from dewpond.identity import open_ids
from dewpond.kit import clock, worlds
from web.counters import Counter, pay_by_pin


@pytest.fixture
async def tea(house: Any, new_merchant: Any) -> Counter:
    return Counter(house, await new_merchant("Tea Shop"))


@pytest.fixture
async def books(house: Any, new_merchant: Any) -> Counter:
    return Counter(house, await new_merchant("Blue Door Books"))


@pytest.fixture
async def alice(new_person: Any) -> Any:
    return await new_person("Alice", "100.00")


def rows(text: str) -> list[str]:
    """What each row says, without its markup."""
    found = re.findall(r'<li class="row">(.*?)</li>', text, flags=re.S)
    return [re.sub(r"\s+", " ", re.sub(r"<svg.*?</svg>|<[^>]+>", " ", one, flags=re.S)).strip() for one in found]


# --- history ----------------------------------------------------------------------------------------------------------


async def test_everything_that_moved_is_there(visitors: Any, tea: Counter, books: Counter, alice: Any) -> None:
    phone = await visitors.person(alice)
    first, second = await tea.ask("18.00", what="Jasmine"), await books.ask("26.00", what="Poems")
    for opened in (first, second):
        await pay_by_pin(phone, opened)
    await tea.give_back(first, "6.00")
    answer = await phone.get("/history")
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
    told = rows(answer.text)
    assert [one.split(" ", 1)[1].rsplit(" ", 2)[0] for one in told[:3]] == [
        "Tea Shop Refund · Jasmine +¥6.00",
        "Blue Door Books Poems −¥26.00",
        "Tea Shop Jasmine −¥18.00",
    ]
    assert told[3].startswith("Top-up +¥100.00")
    assert ">Today<" in answer.text
    receipt = f"/receipts/{(await tea.payment(first)).text_id}"
    assert answer.text.count(f'href="{receipt}"') == 2  # of the payment and of its refund


@pytest.mark.parametrize(
    ("_case", "query", "shows"),
    [
        ("by what for", "q=jasm", ["Refund · Jasmine", "Jasmine"]),
        ("by the shop", "q=blue+door", ["Poems"]),
        ("by nothing", "q=zzz", []),
        ("by kind", "kind=refund", ["Refund · Jasmine"]),
        ("by both", "q=tea&kind=payment", ["Jasmine"]),
        ("by a kind there is not", "kind=gift", ["Refund · Jasmine", "Poems", "Jasmine", "Top-up"]),
        ("by what looks like a pattern", "q=%25", []),
        ("by what looks like SQL", "q=%27+or+true--", []),
        ("by blanks", "q=++", ["Refund · Jasmine", "Poems", "Jasmine", "Top-up"]),
    ],
)
async def test_history_is_searched(
    visitors: Any, tea: Counter, books: Counter, alice: Any, _case: str, query: str, shows: list[str]
) -> None:
    phone = await visitors.person(alice)
    first = await tea.ask("18.00", what="Jasmine")
    for opened in (first, await books.ask("26.00", what="Poems")):
        await pay_by_pin(phone, opened)
    await tea.give_back(first, "6.00")
    answer = await phone.get(f"/history?{query}")
    assert answer.status_code == 200
    told = rows(answer.text)
    assert len(told) == len(shows)
    for line, wanted in zip(told, shows, strict=True):
        assert wanted in line


async def test_pages_follow_each_other_with_and_without_htmx(visitors: Any, tea: Counter, new_person: Any) -> None:
    carol = await new_person("Carol", "100.00")
    phone = await visitors.person(carol)
    for number in range(64):
        await pay_by_pin(phone, await tea.ask("0.10", what=f"Thing {number:02d}"))
    for headers in ({}, {"hx-request": "true"}):
        found, path, days = [], "/history?q=thing", []
        while path:
            text = (await phone.get(path, headers=headers)).text
            found += re.findall(r"Thing \d\d", "".join(rows(text)))
            days.append(text.count("<h2>Today</h2>"))
            more = re.search(r'href="(/history\?[^"]*before=[^"]+)"', text)
            path = more[1].replace("&amp;", "&") if more else ""
        assert found == [f"Thing {number:02d}" for number in reversed(range(64))]
        assert days == ([1, 0, 0] if headers else [1, 1, 1])  # a page that is appended goes on with the same day


@pytest.mark.parametrize("before", ["x", "x.y", "20260501T120000.000000.zz", "' or true"])
async def test_a_place_that_is_none_is_refused(visitors: Any, alice: Any, before: str) -> None:
    phone = await visitors.person(alice)
    for path in ("/history", "/pools"):
        assert (await phone.get(path, params={"before": before})).status_code == 422


async def test_days_are_named(visitors: Any, tea: Counter, alice: Any, house: Any) -> None:
    phone = await visitors.person(alice)
    await pay_by_pin(phone, await tea.ask("1.00"))
    now = await tea.now()
    async with house.db.transaction() as tx:
        await worlds.move_clock(tx, now.world + timedelta(days=1), wall_now=now.wall)
    text = (await phone.get("/history")).text
    assert ("<h2>Today</h2>" in text, "<h2>Yesterday</h2>" in text) == (False, True)
    async with house.db.transaction() as tx:
        await worlds.move_clock(tx, now.world + timedelta(days=400), wall_now=now.wall)
    assert "<h2>Yesterday</h2>" not in (await phone.get("/history")).text


async def test_nobody_sees_what_another_paid(visitors: Any, tea: Counter, alice: Any, new_person: Any) -> None:
    phone, other = await visitors.person(alice), await visitors.person(await new_person("Bob"))
    await pay_by_pin(phone, await tea.ask(what="A secret present"))
    await tea.take_in_drops()
    for path in ("/", "/history", "/history?q=secret", "/pools"):
        assert "Tea Shop" not in (await other.get(path)).text, path
        assert "secret present" not in (await other.get(path)).text, path
    assert (await other.get(f"/pools/{tea.shop.merchant.number}")).status_code == 404


# --- home -------------------------------------------------------------------------------------------------------------


async def test_home_shows_balance_last_moves_and_pools(visitors: Any, tea: Counter, books: Counter, alice: Any) -> None:
    phone = await visitors.person(alice)
    for counter, what in ((tea, "First"), (tea, "Second"), (books, "Third"), (books, "Fourth")):
        await pay_by_pin(phone, await counter.ask("10.00", what=what))
    for counter in (tea, books):
        await counter.take_in_drops()
    text = (await phone.get("/")).text
    assert [what for what in ("First", "Second", "Third", "Fourth") if what in text] == ["Second", "Third", "Fourth"]
    assert '<span class="amount__sign">¥</span>60<span class="amount__small">.00</span>' in text
    for counter in (tea, books):
        assert f'href="/pools/{counter.shop.merchant.number}"' in text
    assert re.search(r"Good (morning|afternoon|evening)", text)
    assert "play money" not in text


async def test_without_money_home_says_how_to_get_some(visitors: Any, new_person: Any) -> None:
    text = (await (await visitors.person(await new_person("Bob"))).get("/")).text
    assert "Get play money" in text
    assert 'href="/top-up"' in text


@pytest.mark.parametrize("path", ["/", "/scan", "/history", "/pools", "/top-up"])
@pytest.mark.parametrize("language", ["en", "zh-CN"])
async def test_pages_are_there_in_both_languages_and_for_people_only(
    visitors: Any, alice: Any, path: str, language: str
) -> None:
    phone = await visitors.person(alice, headers={"accept-language": language})
    answer = await phone.get(path)
    assert (answer.status_code, f'lang="{language}"' in answer.text) == (200, True)
    assert answer.headers["cache-control"] == "no-store"
    assert not re.search(r"<[^>]*\s(?:style|on\w+)=", answer.text)
    away = await visitors.stranger().get(path)
    assert (away.status_code, away.headers["location"]) == (303, "/sign-in" + (f"?next={path}" if path != "/" else ""))


# --- pools ------------------------------------------------------------------------------------------------------------


async def test_a_pool_shows_exactly_what_the_shop_knows(
    visitors: Any, tea: Counter, books: Counter, alice: Any, house: Any
) -> None:
    phone = await visitors.person(alice)
    opened = await tea.ask("18.00", what="Jasmine")
    await pay_by_pin(phone, opened)
    await pay_by_pin(phone, await tea.ask("2.00"))
    await tea.give_back(opened, "6.00")
    await pay_by_pin(phone, await books.ask("30.00", what="Poems"))
    await tea.take_in_drops()
    async with house.db.transaction() as tx:
        contact = await reservoir.find_contact(tx, tea.shop.merchant.id, alice.id)
        named = await open_ids(tx, [(tea.shop.app.id, alice.id)], wall_now=clock.wall_now())
    assert contact is not None
    text = (await phone.get(f"/pools/{tea.shop.merchant.number}")).text
    for told in ("2 times", "¥14.00", "¥20.00 paid, ¥6.00 refunded", named[tea.shop.app.id, alice.id]):
        assert told in text, told
    assert len(re.findall(r'href="/receipts/', text)) == 3
    assert "Poems" not in text
    assert "Books" not in text
    assert books.shop.merchant.number not in text


async def test_a_pool_goes_on_where_its_page_ends(visitors: Any, tea: Counter, new_person: Any) -> None:
    carol = await new_person("Carol", "100.00")
    phone = await visitors.person(carol)
    for _ in range(31):
        await pay_by_pin(phone, await tea.ask("0.10"))
    await tea.take_in_drops()
    text = (await phone.get(f"/pools/{tea.shop.merchant.number}")).text
    more = re.search(r'href="(/pools/[^"]*before=[^"]+)"', text)
    assert more
    assert [len(rows(text)), len(rows((await phone.get(more[1])).text))] == [30, 1]


async def test_a_drop_that_is_still_falling_is_announced(visitors: Any, tea: Counter, alice: Any) -> None:
    phone = await visitors.person(alice)
    path = f"/pools/{tea.shop.merchant.number}"
    assert (await phone.get(path)).status_code == 404
    await pay_by_pin(phone, await tea.ask())
    answer = await phone.get(path)
    assert (answer.status_code, "The drop is still falling" in answer.text) == (200, True)
    await tea.take_in_drops()
    assert "This is all that this shop knows of you." in (await phone.get(path)).text


@pytest.mark.parametrize("number", ["1600000000", "x", "%27", "Tea%20Shop"])
async def test_a_shop_that_there_is_not_is_not_there(visitors: Any, alice: Any, number: str) -> None:
    assert (await (await visitors.person(alice)).get(f"/pools/{number}")).status_code == 404
