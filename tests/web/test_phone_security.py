"""Security: proofs, devices, passkeys and PIN; and what a found phone cannot do with them."""

import asyncio
import re
from typing import Any
from uuid import UUID

import pytest

from dewpond import identity
from dewpond.identity import PersonId, Realm
from dewpond.kit import clock
from dewpond.kit.db import Database
from dewpond.kit.ids import new_id, to_text
from web.notes import onward
from web.phones import PIN, Phone, grow_stale

PAGES = [
    "/me",
    "/me/name",
    "/security",
    "/security/limits",
    "/security/pin/new",
    "/security/passkeys/new",
    "/proof",
    "/s/scn_00000000000000000000000000",
]
FORMS = [
    "/sign-out",
    "/me/name",
    "/security/devices/sign-out",
    "/security/devices/ses_00000000000000000000000000/sign-out",
    "/security/passkeys",
    "/security/passkeys/pky_00000000000000000000000000/name",
    "/security/passkeys/pky_00000000000000000000000000/removal",
    "/security/pin",
    "/security/limits",
    "/proof/pin",
    "/proof/passkey",
]


@pytest.fixture
async def phone(visitors: Any) -> Phone:
    """Alice's, who has just joined and chosen a PIN."""
    phone = Phone(visitors.stranger())
    await phone.join("Alice")
    await phone.set_pin()
    return phone


async def second(phone: Phone, visitors: Any) -> Phone:
    """Another browser of the same person."""
    other = Phone(visitors.stranger())
    other.authenticator = phone.authenticator
    await other.sign_in()
    return other


async def stale(phone: Phone, database: Database) -> Phone:
    await grow_stale(database, await phone.person_id())
    return phone


async def passkey_ids(database: Database, phone: Phone) -> list[UUID]:
    async with database.transaction() as tx:
        return [one.id for one in await identity.list_passkeys(tx, Realm.PERSON, await phone.person_id())]


# --- who may come -----------------------------------------------------------------------------------------------------


async def test_all_of_it_is_for_people_who_are_signed_in(visitors: Any) -> None:
    stranger = visitors.stranger()
    for path in PAGES:
        answer = await stranger.get(path)
        assert (answer.status_code, answer.headers["location"]) == (303, f"/sign-in?next={path}"), path
    for path in FORMS:
        answer = await stranger.send_form(path)
        assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in"), path
    for path in ("/proof/passkey/challenge", "/security/passkeys/challenge"):
        assert (await stranger.send_form(path, headers={"accept": "application/json"})).status_code == 401


@pytest.mark.parametrize("language", ["en", "zh-CN"])
async def test_every_page_comes_in_both_languages(phone: Phone, database: Database, language: str) -> None:
    (passkey_id,) = await passkey_ids(database, phone)
    for path in (*PAGES[:-2], f"/security/passkeys/{to_text('pky', passkey_id)}", "/about"):
        answer = await phone.client.get(path, headers={"accept-language": language})
        assert answer.status_code == 200, path
        assert f'<html lang="{language}"' in answer.text
        assert answer.headers["cache-control"] == "no-store"
    await stale(phone, database)
    assert (await phone.client.get("/proof", headers={"accept-language": language})).status_code == 200


# --- proofs -----------------------------------------------------------------------------------------------------------


async def test_a_stale_session_has_to_prove_itself_first(phone: Phone, database: Database) -> None:
    await stale(phone, database)
    (passkey_id,) = await passkey_ids(database, phone)
    passkey = f"/security/passkeys/{to_text('pky', passkey_id)}"
    for path in ("/security/passkeys/new", "/security/pin/new"):
        assert (await phone.client.get(path)).headers["location"].startswith(f"/proof?next={path}")
    assert (await phone.set_pin("999999")).headers["location"].startswith("/proof?next=/security/pin/new")
    assert (await phone.client.send_form(f"{passkey}/removal")).headers["location"] == f"/proof?next={passkey}"
    answer = await phone.client.send_form("/security/passkeys/challenge", headers={"accept": "application/json"})
    assert (answer.status_code, answer.json()["title"][:20]) == (403, "That took a while. G")
    assert (await phone.prove_by_pin("999999")).status_code == 403  # the PIN is what it was
    assert (await phone.prove("/security/passkeys/new")).headers["location"] == "/security/passkeys/new"
    assert (await phone.client.get("/security/passkeys/new")).status_code == 200


async def test_a_proof_holds_in_its_own_session_only(phone: Phone, visitors: Any, database: Database) -> None:
    other = await second(phone, visitors)
    await stale(phone, database)
    await other.prove()
    assert (await other.client.get("/proof?next=/me")).headers["location"] == "/me"
    assert (await phone.client.get("/proof?next=/me")).status_code == 200


async def test_a_proof_of_another_person_or_session_proves_nothing(
    phone: Phone, visitors: Any, database: Database
) -> None:
    bob = Phone(visitors.stranger())
    await bob.join("Bob")
    other = await second(phone, visitors)
    await stale(phone, database)
    # Alice's own passkey, but asked in another session of hers.
    challenge_id, options = await other.ask("/proof/passkey/challenge")
    told = {"challenge_id": challenge_id, "response": phone.authenticator.get(options)}
    assert (await phone.client.send_form("/proof/passkey", **told)).status_code == 409
    # Alice's question, Bob's passkey.
    challenge_id, options = await phone.ask("/proof/passkey/challenge")
    response = bob.authenticator.get(options, credential=bob.authenticator.credentials[0])
    answer = await phone.client.send_form("/proof/passkey", challenge_id=challenge_id, response=response)
    assert answer.status_code == 403
    # A sign-in's question is none of a proof's.
    challenge_id, options = await phone.ask("/sign-in/passkey/challenge")
    told = {"challenge_id": challenge_id, "response": phone.authenticator.get(options)}
    assert (await phone.client.send_form("/proof/passkey", **told)).status_code == 409
    assert (await phone.client.get("/security/passkeys/new")).status_code == 303


async def test_a_pin_proves_and_a_wrong_one_costs_a_try(phone: Phone, database: Database) -> None:
    await stale(phone, database)
    answer = await phone.prove_by_pin("000000")
    assert answer.status_code == 403
    assert "Tries left: 4." in answer.text
    assert "000000" not in answer.text
    assert 'name="next" value="/me"' in answer.text
    for bad in ("", "12345", "1234567", "abcdef", "１２３４５６"):
        answer = await phone.prove_by_pin(bad)
        assert answer.status_code == 422
        assert "A PIN is six digits." in answer.text
    assert "Tries left: 3." in (await phone.prove_by_pin("000001")).text  # what cannot be a PIN costs nothing
    assert (await phone.prove_by_pin()).headers["location"] == "/me"
    await stale(phone, database)
    assert "Tries left: 4." in (await phone.prove_by_pin("000002")).text  # the right one cleared the count


async def test_guesses_from_many_sides_at_once_lock_the_pin_after_five(
    phone: Phone, visitors: Any, database: Database
) -> None:
    """TRUST S44: the count is in the database, so it does not matter how many ask at once, nor from where."""
    browsers = [await second(phone, visitors) for _ in range(4)]
    await stale(phone, database)
    guesses = [f"{number:06}" for number in range(24)]
    answers = await asyncio.gather(*(browsers[number % 4].prove_by_pin(guess) for number, guess in enumerate(guesses)))
    assert {answer.status_code for answer in answers} == {403}
    async with database.transaction() as tx:
        spent = await tx.connection.fetchval(
            "select tries from identity.pins where person_id = $1", await phone.person_id()
        )
    assert spent == 5
    locked = await browsers[0].prove_by_pin(PIN)
    assert locked.status_code == 403
    assert "Your payment PIN is locked" in locked.text
    assert (await browsers[0].client.get("/security/passkeys/new")).status_code == 303


async def test_the_passkey_is_the_way_out_of_a_locked_pin(phone: Phone, database: Database) -> None:
    await stale(phone, database)
    for number in range(5):
        await phone.prove_by_pin(f"{number:06}")
    page = (await phone.client.get("/security")).text
    assert "Your payment PIN is locked" in page
    assert "Set a new one with your passkey" in page
    proof = (await phone.client.get("/proof?next=/security/pin/new")).text
    assert 'action="/proof/pin"' not in proof
    assert 'action="/proof/passkey"' in proof
    await phone.prove("/security/pin/new")
    assert onward(await phone.set_pin("864209")) == (303, "/security", "pin-set")
    assert "locked" not in (await phone.client.get("/security")).text
    await stale(phone, database)
    assert (await phone.prove_by_pin(PIN)).status_code == 403
    assert (await phone.prove_by_pin("864209")).status_code == 303


async def test_who_has_no_passkey_is_told_until_when_the_pin_is_locked(visitors: Any, new_person: Any) -> None:
    person = await new_person("Pinny")
    client = await visitors.person(person, is_proven=False)
    for number in range(5):
        await client.send_form("/proof/pin", pin=f"{number:06}")
    for path in ("/security", "/proof"):
        text = (await client.get(path)).text
        assert "locked for another 24 h 0 min of real time" in text
        assert "passkey" not in text.partition("locked")[2].partition("</div>")[0]
        assert f"dewpond people set-pin {person.text_id} 123456" in text, "what can be done in a sandbox"


async def test_who_has_nothing_to_prove_by_begins_with_a_pin(
    visitors: Any, new_person: Any, database: Database
) -> None:
    person = await new_person("Bare", pin=None)
    client = await visitors.person(person, is_proven=False)
    assert "Set a payment PIN" in (await client.get("/proof?next=/security/passkeys/new")).text
    assert (await client.send_form("/proof/pin", pin=PIN)).status_code == 403
    answer = await client.send_form("/proof/passkey/challenge", headers={"accept": "application/json"})
    assert answer.status_code == 404
    assert (await client.get("/security/pin/new")).status_code == 200
    assert (await client.send_form("/security/pin", pin=PIN, again=PIN)).status_code == 303
    # From now on there is something to prove by.
    assert (
        (await client.send_form("/security/pin", pin="999999", again="999999")).headers["location"].startswith("/proof")
    )
    assert (await client.send_form("/proof/pin", pin=PIN, next="/me")).headers["location"] == "/me"


# --- the payment PIN --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("_case", "pin", "again", "said"),
    [
        ("five digits", "12345", "12345", "A PIN is six digits."),
        ("seven digits", "1234567", "1234567", "A PIN is six digits."),
        ("letters", "abcdef", "abcdef", "A PIN is six digits."),
        ("nothing", "", "", "A PIN is six digits."),
        ("two PINs", "111222", "111223", "These are two different PINs"),
    ],
)
async def test_a_bad_pin_changes_nothing(
    phone: Phone, database: Database, _case: str, pin: str, again: str, said: str
) -> None:
    answer = await phone.client.send_form("/security/pin", pin=pin, again=again, next="/q/abc", first="yes")
    assert answer.status_code == 422
    assert said in answer.text
    assert 'value="/q/abc"' in answer.text
    assert not pin or f'value="{pin}"' not in answer.text
    await stale(phone, database)
    assert (await phone.prove_by_pin(PIN)).status_code == 303


async def test_the_first_pin_may_wait_but_only_with_a_passkey(visitors: Any, new_person: Any) -> None:
    phone = Phone(visitors.stranger())
    await phone.join(next_="/q/abc")
    text = (await phone.client.get("/security/pin/new?first=yes&next=/q/abc")).text
    assert 'href="/q/abc"' in text
    assert "Later" in text
    bare = await visitors.person(await new_person("Bare", pin=None), is_proven=False)
    assert "Later" not in (await bare.get("/security/pin/new?first=yes&next=/q/abc")).text


# --- devices ----------------------------------------------------------------------------------------------------------


async def test_a_person_sees_their_devices_and_nobody_elses(phone: Phone, visitors: Any) -> None:
    bob = Phone(visitors.stranger(headers={"user-agent": "Mozilla/5.0 (iPhone) Safari/1"}))
    await bob.join("Bob")
    tablet = Phone(visitors.stranger(headers={"user-agent": "Mozilla/5.0 (iPad) Firefox/1"}))
    tablet.authenticator = phone.authenticator
    await tablet.sign_in()
    text = (await phone.client.get("/security")).text
    assert "Firefox, iPad" in text
    assert "Safari, iPhone" not in text
    assert text.count("This one") == 1
    assert len(re.findall(r'action="/security/devices/ses_', text)) == 2


async def test_one_device_is_signed_out_at_once(phone: Phone, visitors: Any, database: Database) -> None:
    other = await second(phone, visitors)
    await stale(phone, database)  # taking away asks for no proof
    text = (await phone.client.get("/security")).text
    devices = re.findall(r'action="(/security/devices/ses_\w+/sign-out)"', text)
    assert len(devices) == 2  # this one is the first
    answer = await phone.client.send_form(devices[1])
    assert onward(answer) == (303, "/security", "device-signed-out")
    assert not await other.is_signed_in()
    assert await phone.is_signed_in()
    assert (await phone.client.send_form(devices[1])).status_code == 303  # again is no change
    answer = await phone.client.send_form(devices[0])
    assert onward(answer) == (303, "/sign-in", "signed-out")
    assert not await phone.is_signed_in()


async def test_all_others_are_signed_out_and_strangers_stay(phone: Phone, visitors: Any) -> None:
    others = [await second(phone, visitors) for _ in range(3)]
    bob = Phone(visitors.stranger())
    await bob.join("Bob")
    answer = await phone.client.send_form("/security/devices/sign-out")
    assert onward(answer) == (303, "/security", "others-signed-out")
    assert [await one.is_signed_in() for one in (phone, bob, *others)] == [True, True, False, False, False]


async def test_nobody_signs_out_a_stranger(phone: Phone, visitors: Any) -> None:
    mallory = Phone(visitors.stranger())
    await mallory.join("Mallory")
    text = (await phone.client.get("/security")).text
    device = re.findall(r'action="(/security/devices/ses_\w+/sign-out)"', text)[0]
    foreign = await mallory.client.send_form(device)
    missing = await mallory.client.send_form(f"/security/devices/{to_text('ses', new_id())}/sign-out")
    assert (foreign.status_code, foreign.headers["location"]) == (missing.status_code, missing.headers["location"])
    assert await phone.is_signed_in()
    assert (await mallory.client.send_form("/security/devices/x/sign-out")).status_code == 404


# --- passkeys ---------------------------------------------------------------------------------------------------------


async def test_a_second_passkey_signs_in_and_the_first_may_go(phone: Phone, visitors: Any, database: Database) -> None:
    tablet = await second(phone, visitors)
    tablet.authenticator = Phone(tablet.client).authenticator
    answer = await tablet.create("/security/passkeys", "/security/passkeys/challenge")
    assert onward(answer) == (303, "/security", "passkey-added")
    first, new = await passkey_ids(database, phone)
    answer = await phone.client.send_form(f"/security/passkeys/{to_text('pky', first)}/removal")
    assert onward(answer) == (303, "/security", "passkey-removed")
    assert await passkey_ids(database, phone) == [new]
    assert (await phone.sign_in()).status_code == 403
    assert (await tablet.sign_in()).status_code == 303
    assert await phone.is_signed_in()  # devices that are in stay in


async def test_the_only_passkey_stays(phone: Phone, database: Database) -> None:
    (passkey_id,) = await passkey_ids(database, phone)
    answer = await phone.client.send_form(f"/security/passkeys/{to_text('pky', passkey_id)}/removal")
    assert answer.status_code == 409
    assert "the only way into your account" in answer.text
    assert await passkey_ids(database, phone) == [passkey_id]


async def test_two_last_passkeys_removed_at_once_leave_one(phone: Phone, visitors: Any, database: Database) -> None:
    tablet = await second(phone, visitors)
    tablet.authenticator = Phone(tablet.client).authenticator
    await tablet.create("/security/passkeys", "/security/passkeys/challenge")
    paths = [f"/security/passkeys/{to_text('pky', one)}/removal" for one in await passkey_ids(database, phone)]
    answers = await asyncio.gather(*(phone.client.send_form(path) for path in paths))
    assert sorted(answer.status_code for answer in answers) == [303, 409]
    assert len(await passkey_ids(database, phone)) == 1


async def test_a_device_that_has_one_is_not_asked_for_another(phone: Phone) -> None:
    _, options = await phone.ask("/security/passkeys/challenge")
    with pytest.raises(Exception, match="InvalidStateError"):
        phone.authenticator.create(options)
    answer = await phone.client.send_form("/security/passkeys")
    assert answer.status_code == 422
    assert "needs JavaScript" in answer.text


async def test_a_passkey_is_called_what_its_holder_calls_it(phone: Phone, database: Database) -> None:
    (passkey_id,) = await passkey_ids(database, phone)
    path = f"/security/passkeys/{to_text('pky', passkey_id)}"
    assert (await phone.client.send_form(f"{path}/name", name=" 我的 <phone> ")).status_code == 303
    assert "我的 &lt;phone&gt;" in (await phone.client.get("/security")).text
    for bad in ("", "  ", "x" * 65, "a\u202eb"):
        answer = await phone.client.send_form(f"{path}/name", name=bad)
        assert answer.status_code == 422
        assert "A name has 1 to 64 characters." in answer.text
    assert "我的 &lt;phone&gt;" in (await phone.client.get(path)).text


async def test_a_foreign_passkey_does_not_exist(phone: Phone, visitors: Any, database: Database) -> None:
    mallory = Phone(visitors.stranger())
    await mallory.join("Mallory")
    (passkey_id,) = await passkey_ids(database, phone)
    for text in (to_text("pky", passkey_id), to_text("pky", new_id()), "x", to_text("ses", passkey_id)):
        path = f"/security/passkeys/{text}"
        answers = [
            await mallory.client.get(path),
            await mallory.client.send_form(f"{path}/name", name="Mine"),
            await mallory.client.send_form(f"{path}/removal"),
        ]
        assert [answer.status_code for answer in answers] == [404, 404, 404]
    assert await passkey_ids(database, phone) == [passkey_id]
    assert "Mine" not in (await phone.client.get("/security")).text


# --- me ---------------------------------------------------------------------------------------------------------------


async def test_a_name_is_changed_and_the_number_stays(phone: Phone, database: Database) -> None:
    async with database.transaction() as tx:
        number = (await identity.get_person(tx, PersonId(await phone.person_id()))).number
    told = f"{number[:3]} {number[3:6]} {number[6:]}"
    assert told in (await phone.client.get("/me")).text
    assert onward(await phone.client.send_form("/me/name", name="  Alice 陈 ")) == (303, "/me", "saved")
    text = (await phone.client.get("/me")).text
    assert "Alice 陈" in text
    assert told in text
    for bad in ("", " ", "x" * 65, "a\nb\x07"):
        answer = await phone.client.send_form("/me/name", name=bad)
        assert answer.status_code == 422
        assert "A name has 1 to 64 characters." in answer.text
    assert "Alice 陈" in (await phone.client.get("/me")).text


async def test_me_leads_to_everything_of_ones_own(phone: Phone) -> None:
    text = (await phone.client.get("/me")).text
    for path in ("/security", "/pools", "/history", "/about", "/me/name"):
        assert f'href="{path}"' in text
    assert 'action="/sign-out"' in text
    assert (await phone.client.send_form("/settings", lang="zh-CN", next="/me")).headers["location"] == "/me"
    assert '<html lang="zh-CN"' in (await phone.client.get("/me")).text
    await phone.client.send_form("/settings", theme="dark", next="/me")
    assert 'data-theme="dark"' in (await phone.client.get("/me")).text


async def test_the_session_knows_nobody_who_was_ended_meanwhile(phone: Phone, database: Database) -> None:
    person_id = await phone.person_id()
    async with database.transaction() as tx:
        await identity.end_all_sessions(tx, Realm.PERSON, person_id, wall_now=clock.wall_now())
    assert (await phone.prove_by_pin(PIN)).headers["location"].startswith("/sign-in")
