"""Checkout over HTTP: who sees what, what pays, what is refused and how, and that nothing is ever paid twice."""

import asyncio
import json
import re
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from dewpond import identity, pay, web
from dewpond.identity import Realm
from dewpond.kit import clock, worlds
from dewpond.kit.batch import Batch
from dewpond.kit.failures import OutcomeUnknown
from dewpond.kit.money import Currency
from dewpond.web.phone import taps
from web.conftest import Doors, Visitors, serving
from web.counters import PIN, Counter, money_of, pay_by_pin
from web.phones import Phone

JSON = {"accept": "application/json"}


@pytest.fixture
async def counter(house: Any, new_merchant: Any) -> Counter:
    return Counter(house, await new_merchant("Tea Shop"))


@pytest.fixture
async def alice(new_person: Any) -> Any:
    return await new_person("Alice", "100.00")


async def allow(house: Any, person: Any, **limits: int) -> None:
    async with house.db.transaction() as tx:
        await pay.set_limits(tx, pay.Limits(person_id=person.id, **limits), now=await worlds.read_clocks(tx))


async def tries_left(house: Any, person: Any) -> int:
    async with house.db.transaction() as tx:
        spent = await tx.connection.fetchval("select tries from identity.pins where person_id = $1", person.id)
    return 5 - int(spent)


async def with_passkey(visitors: Any, sum_: str = "100.00") -> Phone:
    """Somebody with a passkey, no PIN and some money."""
    phone = Phone(visitors.stranger())
    assert (await phone.join("Alice")).status_code == 303
    assert (await phone.client.send_form("/top-up", amount=sum_)).status_code == 303
    return phone


async def sign(phone: Phone, code: str, **headers: str) -> Any:
    return await phone.sign(f"/q/{code}/confirmation", f"/q/{code}/challenge")


# --- what is seen -----------------------------------------------------------------------------------------------------


async def test_the_page_says_who_asks_for_how_much_and_what_for(visitors: Any, counter: Counter, alice: Any) -> None:
    opened, phone = await counter.ask("18.00", what="Jasmine, large"), await visitors.person(alice)
    answer = await phone.get(f"/q/{opened.code}")
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    text = answer.text
    for told in ("Tea Shop", "Verified shop", "Jasmine, large", "¥18.00", "¥100.00", "Valid until"):
        assert told in text, told
    assert (await counter.payment(opened)).merchant_reference in text
    assert "First time here" in text
    assert not re.search(r"<[^>]*\s(?:style|on\w+)=", text)
    assert "<script>" not in text


async def test_a_shop_that_is_known_is_no_news(visitors: Any, counter: Counter, alice: Any) -> None:
    phone = await visitors.person(alice)
    await pay_by_pin(phone, await counter.ask())
    await counter.take_in_drops()
    assert "First time here" not in (await phone.get(f"/q/{(await counter.ask()).code}")).text


async def test_who_is_not_signed_in_signs_in_and_comes_back(visitors: Any, counter: Counter) -> None:
    opened, stranger = await counter.ask(), visitors.stranger()
    answer = await stranger.get(f"/q/{opened.code}")
    assert (answer.status_code, answer.headers["location"]) == (303, f"/sign-in?next=/q/{opened.code}")
    assert "Tea Shop" not in answer.text
    for path in ("confirmation", "challenge"):
        answer = await stranger.send_form(f"/q/{opened.code}/{path}", headers=JSON, pin=PIN)
        assert (answer.status_code, answer.text) == (401, "")


async def test_who_was_signed_out_meanwhile_comes_back_to_the_page(
    visitors: Any, counter: Counter, alice: Any, house: Any
) -> None:
    opened, phone = await counter.ask(), await visitors.person(alice)
    async with house.db.transaction() as tx:
        await identity.end_all_sessions(tx, Realm.PERSON, alice.id, wall_now=clock.wall_now())
    referer = f"{phone.origin}/q/{opened.code}"
    answer = await pay_by_pin(phone, opened, referer=referer)
    assert (answer.status_code, answer.headers["location"]) == (303, f"/sign-in?next=/q/{opened.code}")
    assert await money_of(house, alice) == 100_00


@pytest.mark.parametrize("language", ["en", "zh-CN"])
async def test_every_state_is_told_in_both_languages(
    visitors: Any, counter: Counter, new_person: Any, language: str
) -> None:
    rich, poor = await new_person("Alice", "100.00"), await new_person("Bob")
    phone = await visitors.person(rich, headers={"accept-language": language})
    other = await visitors.person(poor, headers={"accept-language": language})
    opened = await counter.ask()
    for client in (phone, other):
        answer = await client.get(f"/q/{opened.code}")
        assert (answer.status_code, f'lang="{language}"' in answer.text) == (200, True)
    assert (await pay_by_pin(phone, opened, "000000")).status_code == 403
    assert (await pay_by_pin(phone, opened)).status_code == 303
    assert (await other.get(f"/q/{opened.code}")).status_code == 409
    assert (await other.get("/q/nobody")).status_code == 404


NAMES = [
    ("a script", "<script>alert(1)</script>"),
    ("an attribute", "\"><img src=x onerror='alert(1)'>"),
    ("a template", "{{ 7 * 7 }}{% raw %}"),
    ("right to left", "חנות התה"),
    ("long", "茶" * 64),
]


@pytest.mark.parametrize(("_case", "name"), NAMES)
async def test_foreign_words_stay_words(
    visitors: Any, house: Any, new_merchant: Any, alice: Any, _case: str, name: str
) -> None:
    counter = Counter(house, await new_merchant(name))
    what = f"\u202e{name}"[:128].ljust(128, "x")  # turned around, and as long as it gets
    opened, phone = await counter.ask(what=what), await visitors.person(alice)
    poster = await counter.put_up("Counter")
    pages = [await phone.get(f"/q/{opened.code}"), await phone.get(f"/m/{poster.code}")]
    receipt = (await pay_by_pin(phone, opened)).headers["location"]
    await counter.take_in_drops()
    pages += [await phone.get(path) for path in (receipt, "/", "/history", "/pools")]
    pages.append(await phone.get(f"/pools/{counter.shop.merchant.number}"))
    for answer in pages:
        assert answer.status_code == 200
        assert "alert(1)" not in answer.text or "<script>alert" not in answer.text
        assert not re.search(r"<(?:script|img)[^>]*(?:alert|onerror)", answer.text)
        assert "49{%" not in answer.text
        assert "\u202e" not in re.sub(r"<bdi>[^<]*</bdi>", "", answer.text), "it turns its neighbours around"


# --- paying -----------------------------------------------------------------------------------------------------------


async def test_the_right_pin_pays_and_leads_to_the_receipt(
    visitors: Any, counter: Counter, alice: Any, house: Any
) -> None:
    opened, phone = await counter.ask("18.00"), await visitors.person(alice)
    answer = await pay_by_pin(phone, opened)
    payment = await counter.payment(opened)
    assert (answer.status_code, answer.headers["location"]) == (303, f"/receipts/{payment.text_id}")
    assert payment.was_paid_by(alice.id)
    assert await money_of(house, alice) == 82_00


async def test_a_second_tap_and_a_reload_lead_to_the_receipt(
    visitors: Any, counter: Counter, alice: Any, house: Any
) -> None:
    opened, phone = await counter.ask(), await visitors.person(alice)
    first = (await pay_by_pin(phone, opened)).headers["location"]
    for again in (
        await pay_by_pin(phone, opened),
        await pay_by_pin(phone, opened, "000000"),
        await phone.send_form(f"/q/{opened.code}/confirmation"),
        await phone.get(f"/q/{opened.code}"),
    ):
        assert (again.status_code, again.headers["location"]) == (303, first)
    look = await phone.get(f"/q/{opened.code}/confirmation")
    assert (look.status_code, look.headers["location"]) == (303, f"/q/{opened.code}")
    assert (await money_of(house, alice), await tries_left(house, alice)) == (82_00, 5)


async def test_programs_are_answered_in_json(visitors: Any, counter: Counter, alice: Any) -> None:
    opened, phone = await counter.ask(), await visitors.person(alice)
    wrong = await pay_by_pin(phone, opened, "000000", **JSON)
    assert (wrong.status_code, wrong.headers["content-type"]) == (403, "application/problem+json")
    told = wrong.json()
    assert (told["status"], told["code"], told["tries_left"]) == (403, "pin_wrong", 4)
    assert told["title"] == "That is not your PIN. Tries left: 4."
    assert told["request_id"] == wrong.headers["x-request-id"]
    paid = await pay_by_pin(phone, opened, **JSON)
    number = (await counter.payment(opened)).text_id
    assert (paid.status_code, paid.headers["cache-control"]) == (200, "no-store")
    assert paid.json() == {"status": "succeeded", "payment": number, "receipt": f"/receipts/{number}"}
    assert (await pay_by_pin(phone, opened, **JSON)).json() == paid.json()


# --- refusals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("_case", "fields", "status", "says"),
    [
        ("a wrong PIN", {"pin": "000000"}, 403, "That is not your PIN. Tries left: 4."),
        ("a short PIN", {"pin": "12345"}, 422, "A PIN is six digits."),
        ("no PIN typed", {"pin": ""}, 422, "A PIN is six digits."),
        ("letters", {"pin": "abcdef"}, 422, "A PIN is six digits."),
        ("wide digits", {"pin": "１２３４５６"}, 422, "A PIN is six digits."),
        ("nothing", {}, 403, "This payment needs your passkey or your PIN."),
        ("a sum of its own", {"pin": PIN, "amount": "0.01"}, 422, ""),
        ("a payee of its own", {"pin": PIN, "merchant_id": "x"}, 422, ""),
        ("a payer of its own", {"pin": PIN, "payer_id": "x"}, 422, ""),
        ("no challenge's number", {"challenge_id": "x", "response": "{}"}, 422, ""),
        ("a challenge nobody asked for", {"challenge_id": str(uuid4()), "response": "{}"}, 403, ""),
    ],
)
async def test_what_is_no_proof_pays_nothing(
    visitors: Any,
    counter: Counter,
    alice: Any,
    house: Any,
    _case: str,
    fields: dict[str, str],
    status: int,
    says: str,
) -> None:
    opened, phone = await counter.ask(), await visitors.person(alice)
    answer = await phone.send_form(f"/q/{opened.code}/confirmation", **fields)
    assert (answer.status_code, says in answer.text) == (status, True)
    assert (await counter.payment(opened)).status is pay.PaymentStatus.OPEN
    assert await money_of(house, alice) == 100_00
    assert PIN not in answer.text
    assert (await pay_by_pin(phone, opened)).status_code == 303  # and there is a way on


async def test_five_wrong_pins_lock_and_the_page_says_what_now(
    visitors: Any, counter: Counter, alice: Any, house: Any
) -> None:
    opened, phone = await counter.ask(), await visitors.person(alice)
    said = [await pay_by_pin(phone, opened, "000000") for _ in range(6)]
    assert [answer.status_code for answer in said] == [403] * 6
    assert ["Tries left" in answer.text for answer in said] == [True] * 4 + [False] * 2
    for page in (said[5].text, (await phone.get(f"/q/{opened.code}")).text):
        assert "Your payment PIN is locked" in page
        assert 'name="pin"' not in page
    assert (await pay_by_pin(phone, opened)).status_code == 403
    assert await money_of(house, alice) == 100_00


async def test_guesses_in_parallel_are_counted_all_the_same(
    visitors: Any, counter: Counter, alice: Any, house: Any
) -> None:
    phone = await visitors.person(alice)
    opened = [await counter.ask() for _ in range(20)]
    answers = await asyncio.gather(
        *(pay_by_pin(phone, one, f"{guess:06d}", **JSON) for guess, one in enumerate(opened))
    )
    codes = [answer.json()["code"] for answer in answers]
    assert codes.count("pin_wrong") == 4
    assert codes.count("pin_locked") == 16
    assert await money_of(house, alice) == 100_00


async def test_without_money_the_page_says_how_much_is_missing_and_where_to_get_it(
    visitors: Any, counter: Counter, new_person: Any
) -> None:
    bob = await new_person("Bob", "10.00")
    opened, phone = await counter.ask("18.00"), await visitors.person(bob)
    for answer, status in ((await phone.get(f"/q/{opened.code}"), 200), (await pay_by_pin(phone, opened), 409)):
        assert answer.status_code == status
        assert "¥8.00 more is needed" in answer.text
        assert f"/top-up?next=/q/{opened.code}" in answer.text.replace("%2F", "/")
        assert 'name="pin"' not in answer.text
    problem = (await pay_by_pin(phone, opened, **JSON)).json()
    assert (problem["status"], problem["code"]) == (409, "insufficient_funds")
    assert (await phone.send_form("/top-up", amount="8.00", next=f"/q/{opened.code}")).status_code == 303
    assert (await pay_by_pin(phone, opened)).status_code == 303


async def test_without_pin_and_passkey_the_page_leads_to_one(visitors: Any, counter: Counter, new_person: Any) -> None:
    carol = await new_person("Carol", "100.00", pin=None)
    opened, phone = await counter.ask(), await visitors.person(carol)
    page = (await phone.get(f"/q/{opened.code}")).text
    assert f"/security/pin/new?next=/q/{opened.code}" in page.replace("%2F", "/")
    answer = await pay_by_pin(phone, opened)
    assert (answer.status_code, "You have no payment PIN yet." in answer.text) == (403, True)


async def test_ends_are_told_apart_and_name_nobody(
    visitors: Any, counter: Counter, alice: Any, new_person: Any
) -> None:
    bob = await new_person("Bobby Tables", "100.00")
    phone, other = await visitors.person(alice), await visitors.person(bob)
    closed, taken = await counter.ask(), await counter.ask(what="Oolong")
    await counter.close(closed)
    await pay_by_pin(other, taken)
    cases = [
        (closed.code, 409, "The shop has closed this"),
        (taken.code, 409, "Somebody else has paid this"),
        ("no-such-code", 404, "This code leads nowhere"),
        ("x" * 129, 404, "This code leads nowhere"),
        ("%0a", 404, "This code leads nowhere"),
        ("%27%20or%20true--", 404, "This code leads nowhere"),
    ]
    for code, status, says in cases:
        for answer in (await phone.get(f"/q/{code}"), await phone.send_form(f"/q/{code}/confirmation", pin=PIN)):
            assert (answer.status_code, says in answer.text) == (status, True), code
            assert "/scan" in answer.text
            for secret in ("Bobby", "Tea Shop", "Oolong", "18.00", bob.text_id):
                assert secret not in answer.text
        asked = await phone.send_form(f"/q/{code}/challenge", headers=JSON)
        assert (asked.status_code, asked.headers["content-type"]) == (status, "application/problem+json")


async def test_limits_are_told_before_a_pin_is_asked(visitors: Any, counter: Counter, alice: Any, house: Any) -> None:
    await allow(house, alice, per_payment_minor=20_00, per_day_minor=30_00)
    phone, large, small = await visitors.person(alice), await counter.ask("20.01"), await counter.ask("18.00")
    page = await phone.get(f"/q/{large.code}")
    assert "You allow ¥20.00 at most per payment." in page.text
    assert "/security/limits" in page.text
    assert 'name="pin"' not in page.text
    refused = await pay_by_pin(phone, large, "000000", **JSON)
    assert (refused.status_code, refused.json()["code"], refused.json()["limit"]) == (403, "above_limit", "per_payment")
    assert await tries_left(house, alice) == 5
    assert (await pay_by_pin(phone, small)).status_code == 303
    second = await counter.ask("18.00")
    answer = await pay_by_pin(phone, second)
    assert (answer.status_code, "¥12.00 of it is left today" in answer.text) == (403, True)
    told = (await pay_by_pin(phone, second, **JSON)).json()
    assert (told["limit"], told["left"]) == ("per_day", {"minor": 12_00, "currency": "CNY"})


async def test_a_small_sum_goes_by_one_tap_until_the_day_has_had_enough(
    visitors: Any, counter: Counter, alice: Any, house: Any
) -> None:
    await allow(house, alice, without_pin_minor=5_00)
    phone = await visitors.person(alice)
    for _ in range(5):
        opened = await counter.ask("5.00")
        page = (await phone.get(f"/q/{opened.code}")).text
        assert 'name="pin"' not in page
        assert "Pay ¥5.00" in page
        assert (await phone.send_form(f"/q/{opened.code}/confirmation")).status_code == 303
    opened = await counter.ask("5.00")
    assert 'name="pin"' in (await phone.get(f"/q/{opened.code}")).text
    answer = await phone.send_form(f"/q/{opened.code}/confirmation")
    assert (answer.status_code, "This payment needs your passkey or your PIN." in answer.text) == (403, True)
    assert 'name="pin"' in answer.text
    assert await money_of(house, alice) == 75_00


# --- by passkey -------------------------------------------------------------------------------------------------------


async def test_a_passkey_pays_and_its_answer_serves_once(visitors: Any, counter: Counter) -> None:
    phone = await with_passkey(visitors)
    opened, second = await counter.ask(), await counter.ask()
    challenge_id, options = await phone.ask(f"/q/{opened.code}/challenge")
    asked = json.loads(options)
    assert (asked["userVerification"], len(asked["allowCredentials"])) == ("required", 1)
    given = {"challenge_id": challenge_id, "response": phone.authenticator.get(options)}
    elsewhere = await phone.client.send_form(f"/q/{second.code}/confirmation", headers=JSON, **given)
    assert (elsewhere.status_code, elsewhere.json()["code"]) == (403, "proof_refused")
    again = await sign(phone, opened.code)
    payment = await counter.payment(opened)
    assert (again.status_code, again.headers["location"]) == (303, f"/receipts/{payment.text_id}")
    replayed = await phone.client.send_form(f"/q/{second.code}/confirmation", **given)
    assert (replayed.status_code, "used already" in replayed.text) == (403, True)
    assert (await counter.payment(second)).status is pay.PaymentStatus.OPEN


async def test_one_signature_sent_many_times_at_once_pays_once(visitors: Any, counter: Counter) -> None:
    phone = await with_passkey(visitors)
    opened = await counter.ask()
    challenge_id, options = await phone.ask(f"/q/{opened.code}/challenge")
    given = {"challenge_id": challenge_id, "response": phone.authenticator.get(options)}
    answers = await asyncio.gather(
        *(phone.client.send_form(f"/q/{opened.code}/confirmation", **given) for _ in range(10))
    )
    receipt = f"/receipts/{(await counter.payment(opened)).text_id}"
    assert {(answer.status_code, answer.headers.get("location")) for answer in answers} == {(303, receipt)}
    assert "¥82.00" in (await phone.client.get("/")).text.replace('<span class="amount__small">', "").replace(
        '<span class="amount__sign">¥</span>', "¥"
    )


@pytest.mark.parametrize(
    ("_case", "misbehaves"),
    [
        ("nobody was there", {"is_present": False}),
        ("the holder was not verified", {"is_verified": False}),
        ("another site", {"origin": "https://evil.example"}),
        ("another question", {"challenge": b"x" * 32}),
        ("a forged signature", {"signature": b"x" * 70}),
        ("in a frame of another site", {"origin": "null"}),
    ],
)
async def test_a_signature_that_is_not_right_pays_nothing(
    visitors: Any, counter: Counter, _case: str, misbehaves: dict[str, Any]
) -> None:
    phone, opened = await with_passkey(visitors), await counter.ask()
    challenge_id, options = await phone.ask(f"/q/{opened.code}/challenge")
    response = phone.authenticator.get(options, **misbehaves)
    answer = await phone.client.send_form(
        f"/q/{opened.code}/confirmation", challenge_id=challenge_id, response=response
    )
    assert (answer.status_code, "This passkey was not accepted." in answer.text) == (403, True)
    assert (await counter.payment(opened)).status is pay.PaymentStatus.OPEN
    assert (await sign(phone, opened.code)).status_code == 303


async def test_a_signature_belongs_to_its_session_and_its_person(visitors: Any, counter: Counter, alice: Any) -> None:
    phone, opened = await with_passkey(visitors), await counter.ask()
    challenge_id, options = await phone.ask(f"/q/{opened.code}/challenge")
    given = {"challenge_id": challenge_id, "response": phone.authenticator.get(options)}
    thief = await visitors.person(alice)
    same_person = Phone(visitors.stranger())
    same_person.authenticator = phone.authenticator
    assert (await same_person.sign_in()).status_code == 303
    for client in (thief, same_person.client):
        answer = await client.send_form(f"/q/{opened.code}/confirmation", headers=JSON, **given)
        assert (answer.status_code, answer.json()["code"]) == (403, "proof_refused")
    assert (await counter.payment(opened)).status is pay.PaymentStatus.OPEN


async def test_without_a_passkey_none_is_asked_for(visitors: Any, counter: Counter, alice: Any) -> None:
    opened, phone = await counter.ask(), await visitors.person(alice)
    assert "data-passkey=" not in (await phone.get(f"/q/{opened.code}")).text
    answer = await phone.send_form(f"/q/{opened.code}/challenge", headers=JSON)
    assert (answer.status_code, answer.json()["title"]) == (404, "There is no such passkey.")


# --- many at once -----------------------------------------------------------------------------------------------------


async def test_fifty_taps_of_one_person_pay_once(visitors: Any, counter: Counter, alice: Any, house: Any) -> None:
    opened, phone = await counter.ask("18.00"), await visitors.person(alice)
    answers = await asyncio.gather(*(pay_by_pin(phone, opened) for _ in range(50)))
    receipt = f"/receipts/{(await counter.payment(opened)).text_id}"
    assert {(answer.status_code, answer.headers.get("location")) for answer in answers} == {(303, receipt)}
    assert await money_of(house, alice) == 82_00


async def test_fifty_taps_of_two_people_let_one_pay(
    visitors: Any, counter: Counter, alice: Any, new_person: Any, house: Any
) -> None:
    bob = await new_person("Bob", "100.00")
    opened = await counter.ask("18.00")
    phones = [await visitors.person(person) for person in (alice, bob)]
    answers = await asyncio.gather(*(pay_by_pin(phones[turn % 2], opened) for turn in range(50)))
    payment = await counter.payment(opened)
    winner = 0 if payment.was_paid_by(alice.id) else 1
    for turn, answer in enumerate(answers):
        if turn % 2 == winner:
            assert (answer.status_code, answer.headers["location"]) == (303, f"/receipts/{payment.text_id}")
        else:
            assert (answer.status_code, "Somebody else has paid this" in answer.text) == (409, True)
    left = [await money_of(house, person) for person in (alice, bob)]
    assert sorted(left) == [82_00, 100_00]


async def test_one_wallet_cannot_pay_twice_what_it_holds_once(
    visitors: Any, counter: Counter, new_person: Any, house: Any
) -> None:
    carol = await new_person("Carol", "50.00")
    phone = await visitors.person(carol)
    opened = [await counter.ask("18.00") for _ in range(10)]
    answers = await asyncio.gather(*(pay_by_pin(phone, one) for one in opened))
    assert sorted(answer.status_code for answer in answers) == [303] * 2 + [409] * 8
    assert await money_of(house, carol) == 14_00


# --- the house is not well --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("waiting", "status", "code", "says"),
    [
        (0, 503, "busy", "Very many people are here right now"),
        (9, 503, "outcome_unknown", "See whether it is paid"),
    ],
)
async def test_a_house_that_is_full_or_lost_the_line_says_so(
    house: Any,
    world: Any,
    database: Any,
    counter: Counter,
    alice: Any,
    monkeypatch: pytest.MonkeyPatch,
    waiting: int,
    status: int,
    code: str,
    says: str,
) -> None:
    async def lost(items: Any) -> Any:
        return [OutcomeUnknown() for _ in items]

    # The short road of taps has a batch of its own.
    monkeypatch.setattr(taps, "Batch", lambda *_, **__: Batch(lost, waiting=waiting))
    async with serving(house, world, web.create_phone_site, "public_url") as phone:
        visitors = Visitors(Doors(phone=phone, staff=""), database)
        client, opened = await visitors.person(alice), await counter.ask()
        answer = await pay_by_pin(client, opened)
        assert (answer.status_code, says in answer.text) == (status, True)
        assert f"/q/{opened.code}" in answer.text
        assert (answer.headers.get("retry-after") is not None) is (code == "busy")
        assert (await pay_by_pin(client, opened, **JSON)).json()["code"] == code
        await client.aclose()


# --- time -------------------------------------------------------------------------------------------------------------


async def test_the_last_moment_of_a_code_is_a_second_and_not_nought(
    visitors: Any, counter: Counter, alice: Any, house: Any
) -> None:
    """At nought the page looks again; while the code can still be paid it would look again and again."""
    opened, phone = await counter.ask(minutes=10), await visitors.person(alice)
    expires_at = (await counter.payment(opened)).expires_at
    now = await counter.now()
    async with house.db.transaction() as tx:
        await worlds.freeze_clock(tx, wall_now=now.wall)
        await worlds.move_clock(tx, expires_at - timedelta(milliseconds=1), wall_now=now.wall)
    try:
        page = (await phone.get(f"/q/{opened.code}")).text
        assert re.search(r'data-countdown="1"[^>]*>0:01<', page)
    finally:
        async with house.db.transaction() as tx:
            await worlds.thaw_clock(tx, wall_now=clock.wall_now())


async def test_a_code_ends_with_the_worlds_time(visitors: Any, counter: Counter, alice: Any, house: Any) -> None:
    opened, lasting = await counter.ask(minutes=10), await counter.ask(minutes=7 * 24 * 60)
    phone = await visitors.person(alice)
    page = (await phone.get(f"/q/{opened.code}")).text
    left = re.search(r'data-countdown="(\d+)"[^>]*>(\d+):(\d\d)<', page)
    assert left
    assert 590 < int(left[1]) == int(left[2]) * 60 + int(left[3]) <= 600
    assert "data-stands" not in page
    now = await counter.now()
    async with house.db.transaction() as tx:
        await worlds.freeze_clock(tx, wall_now=now.wall)
        await worlds.move_clock(tx, now.world + timedelta(minutes=11), wall_now=now.wall)
    try:
        for answer in (await phone.get(f"/q/{opened.code}"), await pay_by_pin(phone, opened)):
            assert (answer.status_code, "This code has expired" in answer.text) == (409, True)
        assert "data-stands" in (await phone.get(f"/q/{lasting.code}")).text
        async with house.db.transaction() as tx:
            await worlds.move_clock(tx, now.world + timedelta(days=400), wall_now=now.wall)
        assert (await phone.get(f"/q/{lasting.code}")).status_code == 409
        fresh = await counter.ask()
        receipt = (await pay_by_pin(phone, fresh)).headers["location"]
        assert (await phone.get(receipt)).status_code == 200
        assert (await phone.get("/")).status_code == 200
    finally:
        async with house.db.transaction() as tx:
            await worlds.thaw_clock(tx, wall_now=clock.wall_now())


async def test_a_swept_payment_reads_as_it_did_before(visitors: Any, counter: Counter, alice: Any, house: Any) -> None:
    opened, phone = await counter.ask(minutes=5), await visitors.person(alice)
    now = await counter.now()
    async with house.db.transaction() as tx:
        await worlds.move_clock(tx, now.world + timedelta(minutes=6), wall_now=now.wall)
        await pay.sweep_expired(tx, now=await worlds.read_clocks(tx))
    assert "This code has expired" in (await phone.get(f"/q/{opened.code}")).text


async def test_money_in_another_currency_is_looked_for_in_its_own_wallet(
    visitors: Any, counter: Counter, alice: Any, house: Any
) -> None:
    now = await counter.now()
    async with house.db.transaction() as tx:
        await pay.open_merchant_accounts(tx, counter.shop.merchant.id, now=now, currency=Currency("EUR"))
        poster = await pay.create_standing_code(
            tx, counter.shop.merchant.id, counter.shop.app.id, "Counter", now=now, currency=Currency("EUR")
        )
    phone = await visitors.person(alice)
    opened = await phone.send_form(f"/m/{poster.code}/payment", amount="5.00")
    page = (await phone.get(opened.headers["location"])).text
    assert "€5.00 more is needed" in page
