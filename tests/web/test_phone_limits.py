"""Limits on the phone: less at once, more after a proof, and what was typed is not lost on the way."""

import html
import re
from typing import Any

import pytest

from dewpond import pay
from dewpond.identity import PersonId
from dewpond.kit import worlds
from dewpond.kit.db import Database
from dewpond.pay import Limits
from web.notes import onward
from web.phones import Phone, grow_stale


@pytest.fixture
async def phone(visitors: Any) -> Phone:
    """Alice's, who has just joined."""
    phone = Phone(visitors.stranger())
    await phone.join("Alice")
    return phone


async def limits_of(database: Database, phone: Phone) -> tuple[int | None, int | None, int]:
    async with database.transaction() as tx:
        held = await pay.get_limits(tx, await phone.person_id())
    return held.per_payment_minor, held.per_day_minor, held.without_pin_minor


async def test_to_allow_less_is_done_at_once_and_to_allow_more_takes_a_proof(phone: Phone, database: Database) -> None:
    await grow_stale(database, await phone.person_id())
    answer = await phone.client.send_form("/security/limits", per_payment="500", per_day="2,000.00", without_pin="")
    assert onward(answer) == (303, "/security", "saved")
    assert await limits_of(database, phone) == (50_000, 200_000, 0)
    assert "¥500.00 a payment" in (await phone.client.get("/security")).text
    for wider in (
        {"per_payment": "500.01", "per_day": "2000"},
        {"per_payment": "", "per_day": "2000"},
        {"per_payment": "500", "per_day": ""},
        {"per_payment": "100", "per_day": "2000", "without_pin": "0.01"},
    ):
        answer = await phone.client.send_form("/security/limits", **wider)
        assert answer.headers["location"].startswith("/proof?next=/security/limits%3F"), wider
        assert await limits_of(database, phone) == (50_000, 200_000, 0)
    # What was typed waits in the form until the proof is given and "Save" is pressed.
    answer = await phone.prove(answer.headers["location"].partition("next=")[2])
    answer = await phone.client.send_form("/security/limits", per_payment="900", per_day="2000", without_pin="30")
    assert answer.status_code == 303
    assert await limits_of(database, phone) == (90_000, 200_000, 3_000)


async def test_what_was_typed_comes_back_after_the_proof(phone: Phone, database: Database) -> None:
    await grow_stale(database, await phone.person_id())
    answer = await phone.client.send_form("/security/limits", per_payment="70.5", per_day="300", without_pin="20")
    proof = answer.headers["location"]
    (next_,) = set(re.findall(r'name="next" value="([^"]+)"', (await phone.client.get(proof)).text))
    answer = await phone.prove(html.unescape(next_))
    text = (await phone.client.get(answer.headers["location"])).text
    assert "Not saved yet" in text
    for value in ("70.5", "300", "20"):
        assert f'value="{value}"' in text
    assert await limits_of(database, phone) == (None, None, 0)


@pytest.mark.parametrize(
    ("_case", "name", "text"),
    [
        ("words", "per_payment", "much"),
        ("nothing at all", "per_payment", "0"),
        ("less than nothing", "per_day", "-5"),
        ("too many decimals", "per_day", "1.005"),
        ("less than nothing without a proof", "without_pin", "-0.01"),
        ("more than there is", "per_day", "99999999999999"),
        ("wide digits", "without_pin", "５０"),
        ("a script", "without_pin", "<script>alert(1)</script>"),
    ],
)
async def test_a_bad_limit_is_said_beside_its_field(
    phone: Phone, database: Database, _case: str, name: str, text: str
) -> None:
    fields = {"per_payment": "10", "per_day": "20", "without_pin": "5"} | {name: text}
    answer = await phone.client.send_form("/security/limits", **fields)
    assert answer.status_code == 422
    assert f'id="{name}-error"' in answer.text
    assert answer.text.count("field__error") == 1
    assert f'value="{html.escape(text)}"' in answer.text
    assert await limits_of(database, phone) == (None, None, 0)


async def test_the_daily_allowance_is_explained_and_counted(visitors: Any, new_person: Any, database: Database) -> None:
    person = await new_person("Alice", "100.00")
    async with database.transaction() as tx:
        now = await worlds.read_clocks(tx)
        await pay.set_limits(tx, Limits(person_id=PersonId(person.id), without_pin_minor=3000), now=now)
    text = (await (await visitors.person(person)).get("/security/limits")).text
    assert "at most 5 times this sum" in text
    assert 'max="15000"' in text
    assert 'value="30.00"' in text


async def test_limits_of_one_person_are_nobody_elses(phone: Phone, visitors: Any, database: Database) -> None:
    bob = Phone(visitors.stranger())
    await bob.join("Bob")
    await bob.client.send_form("/security/limits", per_payment="1", per_day="1")
    assert await limits_of(database, phone) == (None, None, 0)
    answer = await bob.client.send_form("/security/limits", person_id=str(await phone.person_id()), per_day="1")
    assert answer.status_code == 422
