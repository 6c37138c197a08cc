"""A phone on which somebody has just signed in: it pays little on its first day, by both roads, and says so."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from dewpond import pay
from dewpond.kit import worlds
from dewpond.kit.db import Database
from dewpond.kit.money import Money
from web.counters import PIN, Counter, money_of, pay_by_pin
from web.phones import Phone

JSON = {"accept": "application/json"}
#: The same form as far as the pages are concerned, and none that the short road knows.
LONG = {"content-type": "application/x-www-form-urlencoded; charset=utf-8"}
BOTH_ROADS = pytest.mark.parametrize("road", [{}, LONG], ids=["short", "long"])


@pytest.fixture
async def counter(house: Any, new_merchant: Any) -> Counter:
    return Counter(house, await new_merchant("Tea Shop"))


async def grow_old(database: Database, person_id: Any, hours: float = 24) -> None:
    """Let so many hours pass since this person's sign-ins."""
    async with database.transaction() as tx:
        await tx.connection.execute(
            "update identity.sessions set created_at = created_at - $2::interval where holder_id = $1",
            person_id,
            timedelta(hours=hours),
        )


@BOTH_ROADS
async def test_a_new_phone_pays_up_to_its_limit_and_an_old_one_what_it_likes(
    road: dict[str, str], visitors: Any, counter: Counter, new_person: Any, house: Any, database: Database
) -> None:
    alice = await new_person("Alice", "5000.00")
    phone = await visitors.person(alice)
    told = [
        (await pay_by_pin(phone, await counter.ask(sum_), **road)).status_code
        for sum_ in ("1000.01", "600.00", "400.01", "400.00", "0.01")
    ]
    assert told == [403, 303, 403, 303, 403]
    large = await counter.ask("2500.00")
    await grow_old(database, alice.id, 23.9)
    assert (await pay_by_pin(phone, large, **road)).status_code == 403
    await grow_old(database, alice.id, 0.2)
    assert (await pay_by_pin(phone, large, **road)).status_code == 303
    assert await money_of(house, alice) == 1500_00


@BOTH_ROADS
async def test_two_new_phones_at_once_cannot_exceed_it(
    road: dict[str, str], visitors: Any, counter: Counter, new_person: Any, house: Any
) -> None:
    alice = await new_person("Alice", "5000.00")
    phones = [await visitors.person(alice) for _ in range(2)]
    codes = [await counter.ask("150.00") for _ in range(14)]
    answers = await asyncio.gather(*(pay_by_pin(phones[n % 2], code, **road) for n, code in enumerate(codes)))
    assert sorted(answer.status_code for answer in answers) == [303] * 6 + [403] * 8
    assert await money_of(house, alice) == 4100_00


async def test_the_page_says_so_before_a_pin_is_typed(
    visitors: Any, counter: Counter, new_person: Any, database: Database
) -> None:
    alice = await new_person("Alice", "5000.00")
    phone = await visitors.person(alice)
    await pay_by_pin(phone, await counter.ask("300.00"))
    opened = await counter.ask("700.01")
    text = (await phone.get(f"/q/{opened.code}")).text
    assert "This device is new" in text
    assert "You can pay up to ¥1,000.00 a day with it until" in text
    assert "¥700.00 of it is left today" in text
    assert "Above your own limit" not in text
    assert "/security/limits" not in text, "it is not theirs to change"
    assert 'name="pin"' not in text
    refused = await pay_by_pin(phone, opened, "000000")
    assert (refused.status_code, refused.text.count("This device is new")) == (403, 1)
    said = (await pay_by_pin(phone, opened, **JSON)).json()
    assert said["code"] == "device_new"
    assert said["title"].startswith("This device is new: up to ¥1,000.00 a day until ")
    assert said["title"].endswith("Left today: ¥700.00.")
    await grow_old(database, alice.id)
    text = (await phone.get(f"/q/{opened.code}")).text
    assert ("This device is new" in text, 'name="pin"' in text) == (False, True)
    assert (await pay_by_pin(phone, opened)).status_code == 303


async def test_a_sum_within_ones_own_small_limit_is_still_a_tap(
    visitors: Any, counter: Counter, new_person: Any, house: Any
) -> None:
    alice = await new_person("Alice", "100.00")
    async with house.db.transaction() as tx:
        limits = pay.Limits(person_id=alice.id, without_pin_minor=20_00)
        await pay.set_limits(tx, limits, now=await worlds.read_clocks(tx))
    phone, opened = await visitors.person(alice), await counter.ask("18.00")
    assert "Small enough to go without a PIN" in (await phone.get(f"/q/{opened.code}")).text
    assert (await phone.send_form(f"/q/{opened.code}/confirmation")).status_code == 303


async def test_who_has_just_joined_and_who_signs_in_anew_is_on_a_new_device(
    visitors: Any, counter: Counter, database: Database
) -> None:
    phone = Phone(visitors.stranger())
    await phone.join("Alice")
    assert "This device is new" in (await phone.client.get("/security/limits")).text
    await phone.set_pin(PIN)
    person_id = await phone.person_id()
    async with database.transaction() as tx:
        await pay.top_up(tx, person_id, Money.parse("5000.00"), now=await worlds.read_clocks(tx))
    opened = await counter.ask("1000.01")
    assert (await pay_by_pin(phone.client, opened)).status_code == 403
    await grow_old(database, person_id)
    assert "This device is new" not in (await phone.client.get("/security/limits")).text
    await phone.client.send_form("/sign-out")
    await phone.sign_in()
    assert "This device is new" in (await phone.client.get("/security/limits")).text
    assert (await pay_by_pin(phone.client, opened)).status_code == 403
