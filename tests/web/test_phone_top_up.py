"""Top-up: by a tap in a sandbox; in a live world only the desk can."""

import asyncio
from typing import Any

import pytest

from web.counters import money_of
from web.desks import hidden
from web.notes import onward


@pytest.fixture
async def alice(new_person: Any) -> Any:
    return await new_person("Alice")


async def test_a_tap_puts_play_money_in_and_leads_on(visitors: Any, alice: Any, house: Any) -> None:
    phone = await visitors.person(alice)
    page = (await phone.get("/top-up?next=/history")).text
    for sum_ in ("20.00", "50.00", "100.00", "200.00"):
        assert f'value="{sum_}"' in page
    answer = await phone.send_form("/top-up", amount="50.00", next="/history")
    assert onward(answer) == (303, "/history", "topped-up")
    assert "The money is in your wallet." in (await phone.get(answer.headers["location"])).text
    assert await money_of(house, alice) == 50_00


async def test_many_taps_at_once_each_count(visitors: Any, alice: Any, house: Any) -> None:
    phone = await visitors.person(alice)
    answers = await asyncio.gather(*(phone.send_form("/top-up", amount="20.00") for _ in range(10)))
    assert [answer.status_code for answer in answers] == [303] * 10
    assert await money_of(house, alice) == 200_00


@pytest.mark.parametrize(
    ("amount", "status", "says"),
    [
        ("1000.01", 422, "At most ¥1,000.00 at a time."),
        ("0", 422, "That is not an amount of money."),
        ("-5", 422, "That is not an amount of money."),
        ("", 422, "That is not an amount of money."),
        ("x", 422, "That is not an amount of money."),
        ("1000.00", 303, ""),
        ("0.01", 303, ""),
    ],
)
async def test_sums_have_their_bounds(
    visitors: Any, alice: Any, house: Any, amount: str, status: int, says: str
) -> None:
    answer = await (await visitors.person(alice)).send_form("/top-up", amount=amount)
    assert (answer.status_code, says in answer.text) == (status, True)
    assert (await money_of(house, alice) > 0) is (status == 303)


@pytest.mark.parametrize("next_", ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:x"])
async def test_it_leads_nowhere_else(visitors: Any, alice: Any, next_: str) -> None:
    phone = await visitors.person(alice)
    assert "evil" not in (await phone.get("/top-up", params={"next": next_})).text
    answer = await phone.send_form("/top-up", amount="1", next=next_)
    assert onward(answer) == (303, "/", "topped-up")


async def test_nobody_fills_another_wallet(visitors: Any, alice: Any, new_person: Any, house: Any) -> None:
    bob = await new_person("Bob")
    answer = await (await visitors.person(alice)).send_form("/top-up", amount="1", person=bob.text_id)
    assert answer.status_code == 422
    assert [await money_of(house, one) for one in (alice, bob)] == [0, 0]
    assert (await visitors.stranger().send_form("/top-up", amount="1")).headers["location"] == "/sign-in"


# --- the same form twice ----------------------------------------------------------------------------------------------


async def test_a_form_that_is_sent_twice_puts_the_money_in_once(visitors: Any, alice: Any, house: Any) -> None:
    phone = await visitors.person(alice)
    key = hidden((await phone.get("/top-up")).text, "key")
    taps = (phone.send_form("/top-up", amount="20.00", key=key, next="/history") for _ in range(6))
    assert {onward(answer) for answer in await asyncio.gather(*taps)} == {(303, "/history", "topped-up")}
    assert await money_of(house, alice) == 20_00
    next_key = hidden((await phone.get("/top-up")).text, "key")
    await phone.send_form("/top-up", amount="20.00", key=next_key)
    assert await money_of(house, alice) == 40_00


async def test_another_sum_in_the_same_form_is_refused_and_can_be_asked_for_anew(
    visitors: Any, alice: Any, new_person: Any, house: Any
) -> None:
    phone = await visitors.person(alice)
    key = hidden((await phone.get("/top-up")).text, "key")
    await phone.send_form("/top-up", amount="20.00", key=key)
    answer = await phone.send_form("/top-up", amount="50.00", key=key)
    assert answer.status_code == 409
    assert await money_of(house, alice) == 20_00
    await phone.send_form("/top-up", amount="50.00", key=hidden(answer.text, "key"))
    assert await money_of(house, alice) == 70_00
    bob = await new_person("Bob")
    await (await visitors.person(bob)).send_form("/top-up", amount="50.00", key=key)
    assert await money_of(house, bob) == 50_00, "a key is its person's own"
    assert (await phone.send_form("/top-up", amount="50.00", key="mine")).status_code == 422
