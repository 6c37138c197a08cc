"""A payment that a shop asked of one person: another's phone answers as it does to a code that never was."""

import re
from typing import Any

import pytest

from dewpond import pay
from dewpond.identity import PersonId
from dewpond.pay import Opened
from web.counters import PIN, Counter, money_of, pay_by_pin

JSON = {"accept": "application/json"}
#: As long as codes are, and never given out.
NOWHERE = "A" * 16


@pytest.fixture
async def counter(house: Any, new_merchant: Any) -> Counter:
    return Counter(house, await new_merchant("Tea Shop"))


async def ask(counter: Counter, person: Any, *, minutes: float = 10) -> Opened:
    return await counter.ask("18.00", what="Jasmine, large", minutes=minutes, meant_for=PersonId(person.id))


def said(answer: Any, code: str) -> tuple[Any, ...]:
    """Everything that an answer tells, but for what differs each time: the code, the request's number, how it packs."""
    text = re.sub(r"[0-9a-f]{16}", "#", answer.text.replace(code, "CODE"))
    headers = {
        name: value for name, value in answer.headers.items() if name not in {"date", "x-request-id", "content-length"}
    }
    return answer.status_code, text, headers | {"location": headers.get("location", "").replace(code, "CODE")}


async def tries(counter: Counter, person: Any) -> int:
    async with counter.house.db.transaction() as tx:
        return int(await tx.connection.fetchval("select tries from identity.pins where person_id = $1", person.id))


@pytest.mark.parametrize("state", ["open", "expired", "closed", "paid"])
async def test_to_another_it_is_as_if_it_never_was(
    visitors: Any, counter: Counter, new_person: Any, state: str
) -> None:
    alice, bob = await new_person("Alice", "50.00"), await new_person("Bob", "50.00")
    theirs, other = await visitors.person(alice), await visitors.person(bob)
    opened = await ask(counter, alice, minutes=-1 if state == "expired" else 10)
    if state == "closed":
        await counter.close(opened)
    if state == "paid":
        assert (await pay_by_pin(theirs, opened)).status_code == 303
    for path, given, headers in (
        ("", None, {}),
        ("/confirmation", {"pin": PIN}, {}),
        ("/confirmation", {"pin": PIN}, JSON),
        ("/confirmation", {"pin": "000000"}, {}),
        ("/confirmation", {}, JSON),
        ("/confirmation", {"challenge_id": str(opened.payment_id), "response": "{}"}, JSON),
        ("/challenge", {}, JSON),
    ):
        answers = []
        for code in (opened.code, NOWHERE):
            if given is None:
                answers.append(said(await other.get(f"/q/{code}", headers=headers), code))
            else:
                answers.append(said(await other.send_form(f"/q/{code}{path}", headers=headers, **given), code))
        assert answers[0] == answers[1], (path, given)
        assert answers[0][0] == 404
    scanned = [said(await other.send_form("/scan", code=code), code) for code in (opened.code, NOWHERE)]
    assert scanned[0] == scanned[1]
    assert await money_of(counter.house, bob) == 50_00
    assert await tries(counter, bob) == 0


async def test_who_was_asked_sees_and_pays_it(visitors: Any, counter: Counter, new_person: Any) -> None:
    alice, bob = await new_person("Alice", "50.00"), await new_person("Bob", "50.00")
    opened, phone, other = await ask(counter, alice), await visitors.person(alice), await visitors.person(bob)
    assert (await pay_by_pin(other, opened)).status_code == 404
    page = await phone.get(f"/q/{opened.code}")
    assert page.status_code == 200
    assert "Jasmine, large" in page.text
    assert (await pay_by_pin(phone, opened)).status_code == 303
    assert await money_of(counter.house, alice) == 32_00
    assert (await counter.payment(opened)).payer_id == alice.id


async def test_a_small_sum_of_another_is_not_tapped_away(visitors: Any, counter: Counter, new_person: Any) -> None:
    alice, bob = await new_person("Alice", "50.00"), await new_person("Bob", "50.00")
    now = await counter.now()
    async with counter.house.db.transaction() as tx:
        await pay.set_limits(tx, pay.Limits(person_id=bob.id, without_pin_minor=5000), now=now)
    opened, other = await ask(counter, alice), await visitors.person(bob)
    assert (await other.send_form(f"/q/{opened.code}/confirmation")).status_code == 404
    assert await money_of(counter.house, bob) == 50_00
