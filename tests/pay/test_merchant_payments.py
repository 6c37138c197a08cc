"""The console's list of what a merchant asked for: newest first, by index, found by number and word."""

from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest

from dewpond import pay
from dewpond.kit.clock import Now
from dewpond.kit.db import Query
from dewpond.kit.ids import new_id, to_text
from dewpond.pay import PaymentStatus
from dewpond.pay import movements as movements_file
from dewpond.pay import payments as payments_file


async def ask(till: Any, **asked: Any) -> list[pay.Payment]:
    async with till.database.transaction() as tx:
        return await pay.list_merchant_payments(tx, till.shop.merchant.id, **asked)


@pytest.fixture
async def stall(till: Any, new_person: Any) -> dict[str, Any]:
    """A merchant with four payments, a day between each: open, paid, closed, open; the last is the newest."""
    alice, now = await new_person("Alice", "100.00"), await till.now()
    days = {f"day {n}": now.world + timedelta(days=n) for n in range(4)}
    opened = []
    words = ("Oolong", "Jasmine 100%", "oolong, iced", "Pu-erh")
    for number, (word, at) in enumerate(zip(words, days.values(), strict=True)):
        named = {"merchant_reference": f"{number}-of-{new_id().hex[:20]}", "description": word}
        opened.append(await till.open(now=Now(world=at, wall=now.wall), expires_at=at + timedelta(days=9), **named))
    payment = await till.confirm(opened[1], alice)
    closed = await till.payment(opened[2])
    async with till.database.transaction() as tx:
        await pay.close_payment(tx, till.shop.merchant.id, closed.merchant_reference, now=now)
        await pay.close_payment(tx, till.shop.merchant.id, "never-opened", now=now)  # a number out of use is no payment
    listed = {f"id {n}": to_text("pay", one.payment_id) for n, one in enumerate(opened)}
    return {**days, **listed, "reference": closed.merchant_reference, "number": payment.public_number}


@pytest.mark.parametrize(
    ("_case", "asked", "found"),
    [
        ("all", {}, [3, 2, 1, 0]),
        ("the newest two", {"most": 2}, [3, 2]),
        ("open ones", {"status": PaymentStatus.OPEN}, [3, 0]),
        ("paid ones", {"status": PaymentStatus.SUCCEEDED}, [1]),
        ("closed ones", {"status": PaymentStatus.CLOSED}, [2]),
        ("since a day", {"since": "day 2"}, [3, 2]),
        ("before a day", {"until": "day 2"}, [1, 0]),
        ("of a day", {"since": "day 1", "until": "day 2"}, [1]),
        ("a word", {"text": "OOLONG"}, [2, 0]),
        ("a sign that is no joker", {"text": "0%"}, [1]),
        ("no such word", {"text": "coffee"}, []),
        ("a word and a status", {"text": "oolong", "status": PaymentStatus.OPEN}, [0]),
        ("a word and a day", {"text": "oolong", "since": "day 1"}, [2]),
        ("its id", {"text": "id 0"}, [0]),
        ("its id, of another status", {"text": "id 0", "status": PaymentStatus.CLOSED}, []),
        ("its id, of another day", {"text": "id 0", "since": "day 1"}, []),
        ("our number", {"text": "number"}, [1]),
        ("the merchant's number", {"text": "reference"}, [2]),
        ("the beginning of the merchant's number", {"text": "3-of-"}, [3]),
        ("a number that is out of use", {"text": "never-opened"}, []),
    ],
)
async def test_payments_are_listed(
    _case: str, asked: dict[str, Any], found: list[int], till: Any, stall: dict[str, Any]
) -> None:
    asked = {name: stall.get(value, value) if isinstance(value, str) else value for name, value in asked.items()}
    assert [each.text_id for each in await ask(till, **asked)] == [stall[f"id {number}"] for number in found]


async def test_numbers_are_found_beyond_the_newest(
    till: Any, stall: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(payments_file, "SEARCHED", 1)
    assert await ask(till, text="oolong") == []
    for text, number in ((stall["id 0"], 0), (stall["number"], 1), (stall["reference"], 2)):
        assert [each.text_id for each in await ask(till, text=text)] == [stall[f"id {number}"]]


async def test_another_merchant_finds_nothing_of_it(till: Any, stall: dict[str, Any], new_merchant: Any) -> None:
    rival = await new_merchant("Coffee Shop")
    for text in ("", "oolong", stall["id 0"], stall["number"], stall["reference"]):
        async with till.database.transaction() as tx:
            assert await pay.list_merchant_payments(tx, rival.merchant.id, text=text) == []


@pytest.mark.parametrize("text", ["", "tea"])
async def test_pages_follow_each_other_without_gap_or_repeat(text: str, till: Any) -> None:
    now = await till.now()
    async with till.database.transaction() as tx:
        await pay.open_payments(tx, [till.opening(now) for _ in range(10)])  # all at one moment
    paged: list[pay.Payment] = []
    while page := await ask(till, text=text, most=3, before=(paged[-1].opened_at, paged[-1].id) if paged else None):
        paged += page
    assert len(paged) == 10
    assert all((a.opened_at, a.id) > (b.opened_at, b.id) for a, b in pairwise(paged))


@pytest.mark.parametrize(
    ("_case", "query", "index"),
    [
        ("a merchant's payments", payments_file.sql.list_by_merchant, "payments_newest"),
        ("a person's movements", movements_file.sql.list_movements, "movements_pkey"),
    ],
)
async def test_any_page_of_a_list_is_read_by_index(_case: str, query: Query, index: str, till: Any) -> None:
    """Also by a plan that knows no values: nothing is sorted, and where the page begins bounds what is read."""
    async with till.database.transaction() as tx:
        await tx.connection.execute("set local enable_seqscan = off; set local plan_cache_mode = force_generic_plan")
        await tx.connection.execute(f"prepare page as {query.text}")
        nothing = ", ".join(["null"] * len(query.parameters))
        plan = [row[0] for row in await tx.connection.fetch(f"explain execute page({nothing})")]
        await tx.connection.execute("deallocate page")
    assert any(f"Index Scan Backward using {index}" in line for line in plan), plan
    assert not any("Sort" in line for line in plan), plan
    assert any("Index Cond" in line and "ROW(" in line for line in plan), plan
