"""Sign-in: coming in by passkey, by one tap, as somebody new; and going."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from dewpond import identity, ledger, web
from dewpond.identity import How, PersonId, Realm
from dewpond.kit import clock
from dewpond.kit.db import Database
from dewpond.kit.ids import new_id, to_text
from identity.authenticator import Authenticator
from web.conftest import Client, serving
from web.notes import onward
from web.phones import PIN, Phone, grow_stale

ELSEWHERE = ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:alert(1)", "\t//x", "", "/" * 501]


@pytest.fixture
def phone(visitors: Any) -> Phone:
    return Phone(visitors.stranger())


async def count_people(database: Database) -> int:
    async with database.transaction() as tx:
        return int(await tx.connection.fetchval("select count(*) from identity.people"))


# --- newcomers --------------------------------------------------------------------------------------------------------


async def test_a_name_and_a_passkey_make_an_account(phone: Phone, database: Database) -> None:
    answer = await phone.join("小满")
    assert (answer.status_code, answer.headers["location"]) == (303, "/security/pin/new?first=yes")
    assert "小满" in (await phone.client.get("/security/pin/new?first=yes")).text
    person_id = await phone.person_id()
    async with database.transaction() as tx:
        person = await identity.get_person(tx, PersonId(person_id))
        passkeys = await identity.list_passkeys(tx, Realm.PERSON, person_id)
        sessions = await identity.list_sessions(tx, Realm.PERSON, person_id, wall_now=clock.wall_now())
        balances = await ledger.list_balances(tx, person_id)
    assert (person.name, person.is_demo) == ("小满", False)
    assert len(passkeys) == 1
    assert [(one.how, one.is_fresh(clock.wall_now())) for one in sessions] == [(How.PASSKEY, True)]
    assert [(one.code, one.available) for one in balances] == [(ledger.AccountCode.WALLET, 0)]


async def test_where_a_newcomer_was_going_is_kept_through_everything(phone: Phone) -> None:
    assert 'href="/join?next=/q/abc%3Fx%3D1"' in (await phone.client.get("/sign-in?next=/q/abc%3Fx%3D1")).text
    answer = await phone.join(next_="/q/abc?x=1")
    assert answer.headers["location"] == "/security/pin/new?first=yes&next=/q/abc%3Fx%3D1"
    text = (await phone.client.get(answer.headers["location"])).text
    assert 'name="next" value="/q/abc?x=1"' in text
    answer = await phone.client.send_form("/security/pin", pin=PIN, again=PIN, first="yes", next="/q/abc?x=1")
    assert onward(answer) == (303, "/q/abc?x=1", "pin-set")


async def test_who_was_about_to_pay_is_told_that_they_get_back_to_it(phone: Phone) -> None:
    said = "Sign in, and you are back at your payment."
    for path, is_told in (
        ("/sign-in?next=/q/AAAAAAAAAAAAAAAA", True),
        ("/sign-in?next=/me", False),
        ("/sign-in", False),
    ):
        assert (said in (await phone.client.get(path)).text) is is_told, path


@pytest.mark.parametrize(
    ("_case", "name"),
    [("nothing", ""), ("only space", "  "), ("too long", "x" * 65), ("turned around", "Alice\u202eecilA")],
)
async def test_an_unusable_name_is_refused_before_a_passkey_is_made(
    phone: Phone, database: Database, _case: str, name: str
) -> None:
    before = await count_people(database)
    answer = await phone.client.send_form("/join/challenge", headers={"accept": "application/json"}, name=name)
    assert (answer.status_code, answer.json()["title"]) == (422, "A name has 1 to 64 characters.")
    challenge_id, options = await phone.ask("/join/challenge", name="Alice")
    response = phone.authenticator.create(options)
    answer = await phone.client.send_form("/join", challenge_id=challenge_id, response=response, name=name)
    assert answer.status_code == 422
    assert "A name has 1 to 64 characters." in answer.text
    assert await count_people(database) == before
    assert not phone.token


async def test_without_javascript_the_form_says_what_is_missing(phone: Phone) -> None:
    for path, fields in (("/join", {"name": "Alice"}), ("/sign-in/passkey", {})):
        answer = await phone.client.send_form(path, next="/me", **fields)
        assert answer.status_code == 422
        assert "needs JavaScript" in answer.text
        assert 'name="next" value="/me"' in answer.text
    assert 'value="Alice"' in (await phone.client.send_form("/join", name="Alice")).text


async def test_one_passkey_makes_one_account_however_often_it_is_sent(phone: Phone, database: Database) -> None:
    before = await count_people(database)
    challenge_id, options = await phone.ask("/join/challenge", name="Alice")
    told = {"challenge_id": challenge_id, "response": phone.authenticator.create(options), "name": "Alice"}
    answers = await asyncio.gather(*(phone.client.send_form("/join", **told) for _ in range(4)))
    assert sorted(answer.status_code for answer in answers) == [303, 409, 409, 409]
    assert await count_people(database) == before + 1


# --- by passkey -------------------------------------------------------------------------------------------------------


async def test_a_passkey_signs_in_without_a_name(phone: Phone, visitors: Any) -> None:
    await phone.join()
    person_id = await phone.person_id()
    again = Phone(visitors.stranger())
    again.authenticator = phone.authenticator
    answer = await again.sign_in("/history")
    assert (answer.status_code, answer.headers["location"]) == (303, "/history")
    assert await again.person_id() == person_id
    assert again.token != phone.token
    assert (await again.client.get("/sign-in?next=/me")).headers["location"] == "/me"


async def test_a_signature_signs_in_once(phone: Phone, visitors: Any) -> None:
    await phone.join()
    challenge_id, options = await phone.ask("/sign-in/passkey/challenge")
    told = {"challenge_id": challenge_id, "response": phone.authenticator.get(options)}
    browsers = [visitors.stranger() for _ in range(4)]
    answers = await asyncio.gather(*(one.send_form("/sign-in/passkey", **told) for one in browsers))
    assert sorted(answer.status_code for answer in answers) == [303, 409, 409, 409]
    assert [("set-cookie" in one.headers) for one in answers].count(True) == 1


@pytest.mark.parametrize(
    ("_case", "bad", "status"),
    [
        ("signed at another site", {"origin": "https://evil.example"}, 403),
        ("the finger was not recognised", {"is_verified": False}, 403),
        ("signed inside of a frame", {"is_framed": True}, 403),
        ("another signature", {"signature": b"x" * 70}, 403),
        ("somebody else's handle", {"holder_handle": bytes(16)}, 403),
        ("an answer to another question", {"challenge": bytes(32)}, 403),
    ],
)
async def test_what_is_not_right_about_a_signature_opens_nothing(
    phone: Phone, visitors: Any, _case: str, bad: dict[str, Any], status: int
) -> None:
    await phone.join()
    stranger = visitors.stranger()
    challenge_id, options = await phone.ask("/sign-in/passkey/challenge")
    response = phone.authenticator.get(options, **bad)
    answer = await stranger.send_form("/sign-in/passkey", challenge_id=challenge_id, response=response, next="/me")
    assert answer.status_code == status
    assert "set-cookie" not in answer.headers
    assert 'name="next" value="/me"' in answer.text
    assert "was not accepted" in answer.text


@pytest.mark.parametrize(
    ("_case", "told", "status"),
    [
        ("no question of ours", {"challenge_id": "00000000-0000-7000-8000-000000000000", "response": "{}"}, 409),
        ("no id at all", {"challenge_id": "x", "response": "{}"}, 422),
        ("only half", {"challenge_id": "00000000-0000-7000-8000-000000000000"}, 422),
        ("a field of its own invention", {"person": "per_x"}, 422),
    ],
)
async def test_nonsense_opens_nothing(phone: Phone, _case: str, told: dict[str, str], status: int) -> None:
    for path in ("/sign-in/passkey", "/join"):
        answer = await phone.client.send_form(path, **told)
        assert answer.status_code == status
        assert "set-cookie" not in answer.headers


async def test_a_stranger_learns_nothing_from_a_passkey_nobody_has(phone: Phone, visitors: Any) -> None:
    await phone.join()
    unknown = Authenticator(phone.client.origin)
    _, options = await phone.ask("/join/challenge", name="Nobody")  # made, and never sent
    unknown.create(options)
    said = []
    for one in (unknown, phone.authenticator):
        challenge_id, options = await phone.ask("/sign-in/passkey/challenge")
        response = one.get(options, signature=b"x" * 70)
        answer = await visitors.stranger().send_form("/sign-in/passkey", challenge_id=challenge_id, response=response)
        said.append((answer.status_code, answer.text))
    assert said[0] == said[1]


# --- where it leads ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("next_", ELSEWHERE)
async def test_no_way_in_leads_elsewhere(visitors: Any, new_person: Any, next_: str) -> None:
    person = await new_person("Alice")
    phone = Phone(visitors.stranger())
    assert (await phone.join(next_=next_)).headers["location"] == "/security/pin/new?first=yes"
    assert (await phone.client.get("/sign-in", params={"next": next_})).headers["location"] == "/"
    assert (await phone.client.get("/join", params={"next": next_})).headers["location"] == "/"
    assert (await phone.client.get("/proof", params={"next": next_})).headers["location"] == "/"
    assert (await phone.prove(next_)).headers["location"] == "/"
    answer = await phone.client.send_form("/security/pin", pin=PIN, again=PIN, next=next_)
    assert onward(answer) == (303, "/security", "pin-set")
    assert (await phone.prove_by_pin(PIN, next_)).headers["location"] == "/"
    assert (await phone.sign_in(next_)).headers["location"] == "/"
    answer = await visitors.stranger().send_form("/sign-in/one-tap", person=person.text_id, next=next_)
    assert answer.headers["location"] == "/"
    answer = await visitors.stranger().send_form("/join/with-pin", name="Bob", pin=PIN, again=PIN, next=next_)
    assert answer.headers["location"] == "/"
    answer = await visitors.stranger().send_form("/sign-in/scan", next=next_)
    assert answer.headers["location"] == "/sign-in/scan"


@pytest.mark.parametrize("path", ["/sign-in", "/join", "/join/with-pin", "/sign-in/scan"])
async def test_pages_before_the_sign_in_come_in_both_languages(phone: Phone, path: str) -> None:
    for language in ("en", "zh-CN"):
        answer = await phone.client.get(f"{path}?next=/me", headers={"accept-language": language})
        assert answer.status_code == 200
        assert f'<html lang="{language}"' in answer.text
        assert answer.headers["cache-control"] == "no-store"


# --- sessions ---------------------------------------------------------------------------------------------------------


async def test_a_planted_session_never_becomes_the_victims(visitors: Any, database: Database) -> None:
    mallory, victim = Phone(visitors.stranger()), Phone(visitors.stranger())
    await mallory.join("Mallory")
    planted = mallory.token
    victim.client.headers["cookie"] = f"dewpond-person={planted}"
    answer = await victim.join("Victim")
    token = answer.cookies["dewpond-person"]
    assert token != planted
    # What was planted is over: the attacker does not look over the victim's shoulder, nor they over the attacker's.
    assert not await mallory.is_signed_in()
    victim.client.headers["cookie"] = f"dewpond-person={token}"
    assert "Victim" in (await victim.client.get("/me")).text


async def test_the_cookie_is_out_of_reach_of_scripts_and_of_other_sites(phone: Phone) -> None:
    cookie = (await phone.join()).headers["set-cookie"]
    assert "httponly" in cookie.lower()
    assert "samesite=lax" in cookie.lower()
    assert "path=/" in cookie.lower()


async def test_signing_out_ends_the_session_wherever_it_was_copied_to(phone: Phone, visitors: Any) -> None:
    await phone.join()
    copy = visitors.stranger(headers={"cookie": f"dewpond-person={phone.token}"})
    assert (await copy.get("/me")).status_code == 200
    answer = await phone.client.send_form("/sign-out")
    assert onward(answer) == (303, "/sign-in", "signed-out")
    assert 'dewpond-person=""' in answer.headers["set-cookie"] or "max-age=0" in answer.headers["set-cookie"].lower()
    assert (await copy.get("/me")).headers["location"] == "/sign-in?next=/me"
    assert not await phone.is_signed_in()
    assert "Signed out." in (await phone.client.get("/sign-in")).text


async def test_another_site_cannot_sign_anybody_in_or_out(phone: Phone) -> None:
    await phone.join()
    for path in ("/sign-out", "/sign-in/passkey", "/sign-in/one-tap", "/join", "/sign-in/scan", "/proof/pin"):
        answer = await phone.client.post(path, data={}, headers={"origin": "https://evil.example"})
        assert answer.status_code == 403, path
    assert await phone.is_signed_in()


# --- in a sandbox -----------------------------------------------------------------------------------------------------


async def test_one_tap_lets_in_demo_people_without_taking_it_for_a_proof(visitors: Any, new_person: Any) -> None:
    person = await new_person("Tapped <b>")
    stranger = Phone(visitors.stranger())
    text = (await stranger.client.get("/sign-in")).text
    assert person.text_id in text
    assert "Tapped &lt;b&gt;" in text
    answer = await stranger.client.send_form("/sign-in/one-tap", person=person.text_id, next="/me")
    assert (answer.status_code, answer.headers["location"]) == (303, "/me")
    assert await stranger.person_id() == person.id
    assert (await stranger.client.get("/security/passkeys/new")).headers["location"].startswith("/proof?next=")


async def test_one_tap_lets_in_nobody_who_has_a_passkey(phone: Phone, visitors: Any) -> None:
    await phone.join("Real")
    number = to_text("per", await phone.person_id())
    stranger = visitors.stranger()
    assert number not in (await stranger.get("/sign-in")).text
    for given in (number, to_text("per", identity.PersonId(await phone.person_id())).upper(), "per_x", ""):
        answer = await stranger.send_form("/sign-in/one-tap", person=given)
        assert answer.status_code == 404
        assert "set-cookie" not in answer.headers


async def test_a_door_of_an_older_page_says_that_its_person_is_gone(visitors: Any, new_person: Any) -> None:
    bob = await new_person("Bob")
    answer = await visitors.stranger().send_form("/sign-in/one-tap", person=to_text("per", new_id()), next="/me")
    assert (answer.status_code, "This person is not here any more." in answer.text) == (404, True)
    assert f'value="{bob.text_id}"' in answer.text, "those who are stand below"
    assert 'name="next" value="/me"' in answer.text


async def test_a_sandbox_makes_accounts_with_a_pin_alone(visitors: Any, database: Database) -> None:
    stranger = Phone(visitors.stranger())
    assert "For trying things out only" in (await stranger.client.get("/join/with-pin")).text
    answer = await stranger.client.send_form("/join/with-pin", name="Pinny", pin=PIN, again=PIN, next="/q/abc")
    assert (answer.status_code, answer.headers["location"]) == (303, "/q/abc")
    person_id = await stranger.person_id()
    async with database.transaction() as tx:
        assert (await identity.get_person(tx, PersonId(person_id))).is_demo
        assert [one.code for one in await ledger.list_balances(tx, person_id)] == [ledger.AccountCode.WALLET]
    await grow_stale(database, person_id)
    assert (await stranger.prove_by_pin(PIN)).headers["location"] == "/me"


@pytest.mark.parametrize(
    ("_case", "told", "said"),
    [
        ("no name", {"name": " "}, "A name has 1 to 64 characters."),
        ("five digits", {"pin": "12345", "again": "12345"}, "A PIN is six digits."),
        ("letters", {"pin": "abcdef", "again": "abcdef"}, "A PIN is six digits."),
        ("wide digits", {"pin": "１２３４５６", "again": "１２３４５６"}, "A PIN is six digits."),
        ("two PINs", {"again": "999999"}, "These are two different PINs"),
    ],
)
async def test_a_bad_form_is_shown_again_without_the_pin(
    visitors: Any, database: Database, _case: str, told: dict[str, str], said: str
) -> None:
    before = await count_people(database)
    given = {"name": "Kept Name", "pin": PIN, "again": PIN} | told
    answer = await visitors.stranger().send_form("/join/with-pin", **given)
    assert answer.status_code == 422
    assert said in answer.text
    assert f'value="{given["name"]}"' in answer.text
    assert given["pin"] not in answer.text
    assert await count_people(database) == before


@pytest.fixture(scope="module")
async def guarded(house: Any, world: Any) -> AsyncIterator[str]:
    """The phone of a sandbox that others than this machine can reach."""
    guarded = replace(house, settings=replace(house.settings, access_code="Tea-Pot-42"))
    async with serving(guarded, world, web.create_phone_site, "public_url") as origin:
        yield origin


@pytest.mark.parametrize(
    ("code", "is_in"), [("Tea-Pot-42", True), (" tea-pot-42 ", True), ("", False), ("Tea-Pot-43", False), ("é", False)]
)
async def test_with_an_access_code_no_door_of_the_sandbox_opens_without(
    guarded: str, new_person: Any, code: str, is_in: bool
) -> None:
    person = await new_person("Guarded")
    for path, told in (
        ("/sign-in/one-tap", {"person": person.text_id}),
        ("/join/with-pin", {"name": "Pinny", "pin": PIN, "again": PIN}),
    ):
        async with Client(guarded) as client:
            answer = await client.send_form(path, access_code=code, next="/me", **told)
            assert answer.status_code == (303 if is_in else 403)
            assert ("set-cookie" in answer.headers) is is_in
            if not is_in:
                assert "That is not the access code" in answer.text
                assert 'name="access_code"' in answer.text
                assert 'name="next" value="/me"' in answer.text
                assert "Tea-Pot-42" not in answer.text
