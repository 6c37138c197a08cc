"""Printed codes on the phone: whose it is, how much, and then a payment like any other."""

import asyncio
from typing import Any

import pytest

from dewpond import pay
from web.counters import PIN, Counter, money_of
from web.desks import hidden


@pytest.fixture
async def counter(house: Any, new_merchant: Any) -> Counter:
    return Counter(house, await new_merchant("Tea Shop"))


@pytest.fixture
async def alice(new_person: Any) -> Any:
    return await new_person("Alice", "100.00")


async def test_who_scans_says_how_much_and_pays_it(visitors: Any, counter: Counter, alice: Any, house: Any) -> None:
    poster, phone = await counter.put_up("Counter 1"), await visitors.person(alice)
    page = (await phone.get(f"/m/{poster.code}")).text
    for told in ("Tea Shop", "Verified shop", "Counter 1"):
        assert told in page, told
    answer = await phone.send_form(f"/m/{poster.code}/payment", amount="12.50", note="table 4")
    assert answer.status_code == 303
    checkout = answer.headers["location"]
    page = (await phone.get(checkout)).text
    for told in ("Tea Shop", "Counter 1 · table 4"):
        assert told in page, told
    receipt = (await phone.send_form(f"{checkout}/confirmation", pin=PIN)).headers["location"]
    assert "Counter 1 · table 4" in (await phone.get(receipt)).text
    assert await money_of(house, alice) == 87_50


@pytest.mark.parametrize(
    ("_case", "amount", "says"),
    [
        ("nothing", "", "That is not an amount of money."),
        ("zero", "0", "That is not an amount of money."),
        ("less than nothing", "-5", "That is not an amount of money."),
        ("thirds", "0.333", "That is not an amount of money."),
        ("words", "five", "That is not an amount of money."),
        ("absurd", "99999999999", "That is not an amount of money."),
        ("scientific", "1e3", "That is not an amount of money."),
        ("a script", '"><script>alert(1)</script>', "That is not an amount of money."),
    ],
)
async def test_a_sum_must_be_one(
    visitors: Any, counter: Counter, alice: Any, _case: str, amount: str, says: str
) -> None:
    poster, phone = await counter.put_up(), await visitors.person(alice)
    answer = await phone.send_form(f"/m/{poster.code}/payment", amount=amount, note="for the road")
    assert (answer.status_code, says in answer.text) == (422, True)
    assert 'value="for the road"' in answer.text
    assert "<script>alert" not in answer.text


@pytest.mark.parametrize("note", ["n" * 61, "two\nlines", "turned \u202e around"])
async def test_a_note_must_be_readable(visitors: Any, counter: Counter, alice: Any, note: str) -> None:
    poster, phone = await counter.put_up(), await visitors.person(alice)
    answer = await phone.send_form(f"/m/{poster.code}/payment", amount="1", note=note)
    assert (answer.status_code, "A note has up to 60 characters" in answer.text) == (422, True)


async def test_a_code_that_is_none_says_so(visitors: Any, counter: Counter, alice: Any, house: Any) -> None:
    poster, phone = await counter.put_up(), await visitors.person(alice)
    now = await counter.now()
    async with house.db.transaction() as tx:
        await pay.end_standing_code(tx, counter.shop.merchant.id, poster.code, now=now)
    for code, status, says in (
        (poster.code, 409, "The shop has taken this code down"),
        ("nobody-has-this", 404, "No shop has this code"),
        ("%0a", 404, "No shop has this code"),
    ):
        for answer in (await phone.get(f"/m/{code}"), await phone.send_form(f"/m/{code}/payment", amount="1")):
            assert (answer.status_code, says in answer.text) == (status, True)
            assert "Tea Shop" not in answer.text
    payment = (await counter.ask()).code
    assert (await phone.get(f"/m/{payment}")).status_code == 404


@pytest.mark.parametrize("language", ["en", "zh-CN"])
async def test_it_is_there_in_both_languages(visitors: Any, counter: Counter, alice: Any, language: str) -> None:
    phone = await visitors.person(alice, headers={"accept-language": language})
    answer = await phone.get(f"/m/{(await counter.put_up()).code}")
    assert (answer.status_code, f'lang="{language}"' in answer.text) == (200, True)


async def test_it_wants_somebody_signed_in(visitors: Any, counter: Counter) -> None:
    poster, stranger = await counter.put_up(), visitors.stranger()
    answer = await stranger.get(f"/m/{poster.code}")
    assert (answer.status_code, answer.headers["location"]) == (303, f"/sign-in?next=/m/{poster.code}")


async def test_a_form_that_is_sent_twice_opens_one_payment(
    visitors: Any, counter: Counter, alice: Any, new_person: Any, house: Any
) -> None:
    poster, phone = await counter.put_up(), await visitors.person(alice)
    path = f"/m/{poster.code}/payment"
    key = hidden((await phone.get(f"/m/{poster.code}")).text, "key")

    async def payments() -> int:
        async with house.db.transaction() as tx:
            return len(await pay.list_merchant_payments(tx, counter.shop.merchant.id))

    answers = await asyncio.gather(*(phone.send_form(path, amount="12.50", key=key) for _ in range(4)))
    assert [answer.status_code for answer in answers] == [303] * 4
    assert await payments() == 1
    last = await phone.send_form(path, amount="12.50", key=key)
    led_to = {answer.headers["location"] for answer in (*answers, last)}
    assert len(led_to) == 1, "whichever answer the browser follows, it finds what it can pay"
    assert "¥12.50" in (await phone.get(led_to.pop())).text
    paid = await phone.send_form(last.headers["location"] + "/confirmation", pin=PIN)
    after = await phone.send_form(path, amount="12.50", key=key)
    assert after.headers["location"] == last.headers["location"]
    assert (await phone.get(after.headers["location"])).headers["location"] == paid.headers["location"], "the receipt"
    changed = await phone.send_form(path, amount="9.00", key=key)
    assert changed.status_code == 409, "another sum is another payment"
    assert (await phone.send_form(path, amount="9.00", key=hidden(changed.text, "key"))).status_code == 303
    bob = await visitors.person(await new_person("Bob", "20.00"))
    assert (await bob.send_form(path, amount="12.50", key=key)).status_code == 303
    assert await payments() == 3
