"""People at the desk: found, not browsed; money put in once, whatever the browser does."""

import asyncio
import re
from typing import Any

import pytest

from dewpond import identity, ledger, pay
from dewpond.identity import How, Realm
from dewpond.kit import clock
from dewpond.kit.db import Database
from dewpond.kit.ids import new_id
from dewpond.kit.money import CNY, Money
from web.desks import fact, hidden, plain, sell
from web.notes import onward


@pytest.fixture
async def olga(new_member: Any) -> Any:
    return await new_member("Olga", is_operator=True)


@pytest.fixture
async def operator(visitors: Any, olga: Any) -> Any:
    return await visitors.member(olga)


async def balance(database: Database, person: Any) -> Money:
    async with database.transaction() as tx:
        return Money((await ledger.get_balance(tx, pay.wallet_of(person.id, CNY))).available, CNY)


async def test_somebody_is_found_by_their_number_however_it_is_grouped(operator: Any, new_person: Any) -> None:
    alice = await new_person("Alice")
    number = alice.number
    for who in (number, f"{number[:3]} {number[3:6]} {number[6:]}", f" {number[:5]}-{number[5:]} ", alice.text_id):
        answer = await operator.send_form("/desk/people", who=who)
        assert (answer.status_code, answer.headers["location"]) == (303, f"/desk/people/{alice.text_id}")


@pytest.mark.parametrize(
    ("_case", "who"),
    [
        ("nothing", ""),
        ("a name", "Alice"),
        ("a number that slipped", "SLIPPED"),
        ("a number of nobody", "1000000009"),
        ("an id of nobody", "per_00000000000000000000000001"),
        ("another kind of id", "mch_00000000000000000000000001"),
        ("a long one", "1" * 500),
        ("a wildcard", "%"),
        ("markup", "<script>alert(1)</script>"),
    ],
)
async def test_nobody_is_found(operator: Any, new_person: Any, _case: str, who: str) -> None:
    alice = await new_person("Alice")
    if who == "SLIPPED":
        who = alice.number[:-1] + str((int(alice.number[-1]) + 1) % 10)
    answer = await operator.send_form("/desk/people", who=who)
    assert answer.status_code == 404
    assert "Nobody has this number" in answer.text
    assert "<script>" not in answer.text


async def test_what_the_desk_sees_of_a_person(
    operator: Any, house: Any, database: Database, new_person: Any, new_merchant: Any
) -> None:
    alice, shop = await new_person("Alice <3", "50.00"), await new_merchant("Tea Shop")
    await sell(house, database, shop, alice, "18.00", "Ointment for a sore back")
    answer = await operator.get(f"/desk/people/{alice.text_id}")
    text = answer.text
    assert "¥32.00" in plain(text)
    assert "Tea Shop" in text
    assert "−¥18.00" in plain(text)
    assert "+¥50.00" in plain(text)
    assert "Ointment" not in text, "what for is theirs"
    assert "Alice &lt;3" in text
    assert fact(text, "Payment PIN") == "Set"
    assert fact(text, "Devices signed in") == "0"


async def test_who_is_listed_is_said(operator: Any) -> None:
    text = (await operator.get("/desk/people")).text
    assert ("People of this sandbox" in text) == ("Whoever made an account of their own is not listed" in text)


async def test_the_state_of_the_pin_is_told(operator: Any, database: Database, new_person: Any) -> None:
    alice, bob = await new_person("Alice"), await new_person("Bob", pin=None)
    assert fact((await operator.get(f"/desk/people/{bob.text_id}")).text, "Payment PIN") == "Not set"
    async with database.transaction() as tx:
        await tx.connection.execute(
            "update identity.pins set tries = 5, locked_until = $2 where person_id = $1",
            alice.id,
            clock.wall_now().replace(year=2100),
        )
    text = (await operator.get(f"/desk/people/{alice.text_id}")).text
    assert re.match(r"Locked for another \d+ h \d+ min", fact(text, "Payment PIN"))
    assert "They can unlock it themselves" not in text, "there is no passkey"
    assert f"dewpond people set-pin {alice.text_id} 123456" in text, "what can be done in a sandbox"


@pytest.mark.parametrize("text", ["per_00000000000000000000000001", "nobody", "per_" + "z" * 26])
async def test_there_is_no_such_person(operator: Any, text: str) -> None:
    assert (await operator.get(f"/desk/people/{text}")).status_code == 404


async def test_movements_are_turned_over(operator: Any, database: Database, new_person: Any) -> None:
    alice = await new_person("Alice")
    for n in range(23):
        form = (await operator.get(f"/desk/people/{alice.text_id}")).text
        await operator.send_form(
            f"/desk/people/{alice.text_id}/top-ups", key=hidden(form, "key"), amount=f"1.{n:02d}", reason="test"
        )
    first = (await operator.get(f"/desk/people/{alice.text_id}")).text
    assert "¥1.22" in first
    assert "¥1.00" not in first
    more = re.search(r'href="(/desk/people/[^"]*before=[^"]*)"', first)
    assert more is not None
    assert "¥1.00" in (await operator.get(more[1])).text


# --- a lost phone -----------------------------------------------------------------------------------------------------


async def test_a_lost_phone_is_signed_out(operator: Any, visitors: Any, database: Database, new_person: Any) -> None:
    alice, bob = await new_person("Alice"), await new_person("Bob")
    phone, tablet, others = await visitors.person(alice), await visitors.person(alice), await visitors.person(bob)
    assert fact((await operator.get(f"/desk/people/{alice.text_id}")).text, "Devices signed in") == "2"
    answer = await operator.send_form(f"/desk/people/{alice.text_id}/sessions/end")
    assert answer.status_code == 303
    for client in (phone, tablet):
        assert (await client.get("/security")).status_code == 303
    assert (await others.get("/security")).status_code == 200
    async with database.transaction() as tx:
        assert await identity.list_sessions(tx, Realm.PERSON, alice.id, wall_now=clock.wall_now()) == []
        await identity.open_session(
            tx, Realm.PERSON, alice.id, device="", address="", how=How.PASSKEY, wall_now=clock.wall_now()
        )  # they come in again as before


# --- money ------------------------------------------------------------------------------------------------------------


async def test_money_is_put_in_and_it_is_written_down_by_whom_and_what_for(
    operator: Any, olga: Any, database: Database, new_person: Any
) -> None:
    alice = await new_person("Alice")
    path = f"/desk/people/{alice.text_id}"
    key = hidden((await operator.get(path)).text, "key")
    answer = await operator.send_form(f"{path}/top-ups", key=key, amount="128.50", reason=" cash <at> the desk ")
    assert onward(answer) == (303, f"{path}", "desk-topped-up")
    assert await balance(database, alice) == Money(12_850, CNY)
    async with database.transaction() as tx:
        (done,) = [one for one in await pay.list_top_ups_by_staff(tx) if one.person_id == alice.id]
        (entry,) = await ledger.walk_entries(tx, [pay.top_up_entry_key(done.id)])
    assert (done.by_staff_id, done.agreed_staff_id, done.reason) == (olga.id, None, "cash <at> the desk")
    assert entry.transfers[0].credit.owner_id == alice.id
    listed = (await operator.get("/desk/top-ups")).text
    assert "cash &lt;at&gt; the desk" in listed
    assert "Olga" in listed


async def test_the_same_form_puts_money_in_once(operator: Any, database: Database, new_person: Any) -> None:
    alice = await new_person("Alice")
    path, given = f"/desk/people/{alice.text_id}/top-ups", {"key": str(new_id()), "amount": "20.00", "reason": "x"}
    answers = await asyncio.gather(*(operator.send_form(path, **given) for _ in range(8)))
    assert {answer.status_code for answer in answers} == {303}
    assert await balance(database, alice) == Money(2_000, CNY)
    again = await operator.send_form(path, **given)
    assert again.status_code == 303
    assert await balance(database, alice) == Money(2_000, CNY)
    changed = await operator.send_form(path, **(given | {"amount": "21.00"}))
    assert changed.status_code == 409
    assert "already sent with a different amount" in changed.text
    assert hidden(changed.text, "key") != given["key"], "the form is fresh and can be sent"
    assert await balance(database, alice) == Money(2_000, CNY)


async def test_a_key_is_worth_nothing_to_another_operator_or_for_another_person(
    operator: Any, visitors: Any, new_member: Any, database: Database, new_person: Any
) -> None:
    alice, bob = await new_person("Alice"), await new_person("Bob")
    given = {"key": str(new_id()), "amount": "20.00", "reason": "x"}
    another = await visitors.member(await new_member("Anna", is_operator=True))
    for client, person in ((operator, alice), (another, alice), (operator, bob)):
        answer = await client.send_form(f"/desk/people/{person.text_id}/top-ups", **given)
        assert answer.status_code == 303
    assert await balance(database, alice) == Money(4_000, CNY)
    assert await balance(database, bob) == Money(2_000, CNY)


@pytest.mark.parametrize(
    "amount", ["", "0", "0.00", "-5", "1.005", "ten", "1e5", "¥5", "99999999999999999999", "10000000000.01", "5 000"]
)
async def test_no_amount_of_money_puts_nothing_in(
    operator: Any, database: Database, new_person: Any, amount: str
) -> None:
    alice = await new_person("Alice")
    path = f"/desk/people/{alice.text_id}/top-ups"
    answer = await operator.send_form(path, key=str(new_id()), amount=amount, reason="kept <b>")
    assert answer.status_code == 422
    assert "not an amount of money" in answer.text
    assert "kept &lt;b&gt;" in answer.text, "what was typed stays"
    assert await balance(database, alice) == Money(0, CNY)


async def test_nobody_gets_no_money(operator: Any) -> None:
    answer = await operator.send_form(
        "/desk/people/per_00000000000000000000000001/top-ups", key=str(new_id()), amount="5", reason="x"
    )
    assert answer.status_code == 404
