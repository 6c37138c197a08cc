"""Signing in on a new device by scanning with the phone: the story, and everybody who would like to have a part in it.

TRUST S40: a victim who confirms an attacker's session, an id that can be guessed, a code that is used twice.
"""

import asyncio
import re
from typing import Any
from uuid import UUID

import pytest

from dewpond import identity
from dewpond.identity import How, Realm
from dewpond.kit import clock
from dewpond.kit.db import Database
from dewpond.kit.ids import from_text, to_text
from web.notes import onward
from web.phones import Phone, grow_stale


class Screen:
    """A new device: a browser that asked for a code."""

    def __init__(self, client: Any) -> None:
        self.client = client

    async def ask(self, next_: str = "/") -> None:
        answer = await self.client.send_form("/sign-in/scan", next=next_)
        assert answer.status_code == 303
        self.cookie = answer.headers["set-cookie"]

    @property
    def id(self) -> str:
        return str(self.client.cookies["dewpond-scan"]).split(".")[0]

    @property
    def number(self) -> str:
        return str(self.client.cookies["dewpond-scan"]).split(".")[1]

    async def see(self) -> str:
        return str((await self.client.get("/sign-in/scan")).text)

    async def redeem(self, next_: str = "/", **headers: str) -> Any:
        return await self.client.send_form("/sign-in/scan/redemption", headers=headers, next=next_)


@pytest.fixture
async def screen(visitors: Any) -> Screen:
    agent = {"user-agent": "Mozilla/5.0 (Windows NT 10.0) Gecko Firefox/130.0"}
    screen = Screen(visitors.stranger(headers=agent))
    await screen.ask()
    return screen


@pytest.fixture
async def phone(visitors: Any) -> Phone:
    phone = Phone(visitors.stranger())
    await phone.join("Alice")
    return phone


async def approve(phone: Phone, scan: str, number: str) -> Any:
    return await phone.client.send_form(f"/s/{scan}/approval", number=number)


async def is_in(screen: Screen) -> bool:
    return (await screen.client.get("/me")).status_code == 200


# --- the story --------------------------------------------------------------------------------------------------------


async def test_a_phone_lets_another_device_in(screen: Screen, phone: Phone, database: Database) -> None:
    shown = await screen.see()
    assert f'<p class="scan-number">{screen.number}</p>' in shown
    assert "<svg" in shown
    asked = (await phone.client.get(f"/s/{screen.id}")).text
    assert "Firefox, Windows" in asked
    assert "127.0.0.1" in asked
    assert "it is a trick" in asked
    offered = re.findall(r'name="number" value="(\d\d)"', asked)
    assert len(set(offered)) == 3
    assert screen.number in offered
    answer = await approve(phone, screen.id, screen.number)
    assert onward(answer) == (303, "/security", "scan-approved")
    assert "Your phone said yes." in await screen.see()
    answer = await screen.redeem("/history")
    assert (answer.status_code, answer.headers["location"]) == (303, "/history")
    assert await is_in(screen)
    async with database.transaction() as tx:
        sessions = await identity.list_sessions(tx, Realm.PERSON, await phone.person_id(), wall_now=clock.wall_now())
    new = next(one for one in sessions if one.how is How.SCAN)
    assert (new.device, new.proven_at) == ("Firefox, Windows", None)
    assert len(sessions) == 2
    assert "Firefox, Windows" in (await phone.client.get("/security")).text


async def test_a_page_that_looks_again_by_itself_is_led_on_by_a_header(screen: Screen, phone: Phone) -> None:
    assert 'hx-trigger="every 2s"' in (await screen.client.get("/sign-in/scan/state")).text
    await approve(phone, screen.id, screen.number)
    text = (await screen.client.get("/sign-in/scan/state", headers={"hx-request": "true"})).text
    assert 'hx-trigger="load, submit"' in text
    answer = await screen.redeem("/q/abc", **{"hx-request": "true"})
    assert (answer.status_code, answer.headers["hx-redirect"]) == (200, "/q/abc")
    assert await is_in(screen)


async def test_what_ends_a_code_shows_on_the_waiting_page(visitors: Any, phone: Phone) -> None:
    for end, said in (("refusal", "Not signed in"), ("expiry", "This code is no longer valid")):
        screen = Screen(visitors.stranger())
        await screen.ask()
        if end == "refusal":
            await phone.client.send_form(f"/s/{screen.id}/refusal")
        else:
            screen.client.cookies.delete("dewpond-scan")
            screen.client.cookies.set("dewpond-scan", f"{to_text('scn', UUID(int=1))}.42.1.secret")
        answer = await screen.client.get("/sign-in/scan/state", headers={"hx-request": "true"})
        assert answer.headers["hx-refresh"] == "true"
        shown = await screen.see()
        assert said in shown
        assert "Show a new code" in shown


# --- what the phone asks of its owner ---------------------------------------------------------------------------------


async def test_nobody_approves_without_a_fresh_proof(screen: Screen, phone: Phone, database: Database) -> None:
    await grow_stale(database, await phone.person_id())
    asked = (await phone.client.get(f"/s/{screen.id}")).text
    assert 'name="number"' not in asked
    assert "First, show that it is you" in asked
    answer = await approve(phone, screen.id, screen.number)
    assert (answer.status_code, answer.headers["location"]) == (303, f"/proof?next=/s/{screen.id}")
    assert (await screen.redeem()).status_code == 409
    assert (await phone.prove(f"/s/{screen.id}")).headers["location"] == f"/s/{screen.id}"
    assert 'name="number"' in (await phone.client.get(f"/s/{screen.id}")).text
    assert (await approve(phone, screen.id, screen.number)).status_code == 303
    assert (await screen.redeem()).status_code == 303


@pytest.mark.parametrize("told", [{}, {"number": ""}, {"number": "yes"}, {"number": "42", "all": "1"}])
async def test_the_number_cannot_be_left_out(screen: Screen, phone: Phone, told: dict[str, str]) -> None:
    answer = await phone.client.send_form(f"/s/{screen.id}/approval", **told)
    assert answer.status_code == 422
    assert (await screen.redeem()).status_code == 409
    assert not await is_in(screen)


async def test_a_wrong_number_ends_it_for_good(screen: Screen, phone: Phone) -> None:
    asked = (await phone.client.get(f"/s/{screen.id}")).text
    wrong = next(one for one in re.findall(r'name="number" value="(\d\d)"', asked) if one != screen.number)
    answer = await approve(phone, screen.id, wrong)
    assert answer.status_code == 403
    assert "That was another number" in answer.text
    assert (await approve(phone, screen.id, screen.number)).status_code == 409
    assert (await screen.redeem()).status_code == 409
    assert not await is_in(screen)


async def test_no_means_no(screen: Screen, phone: Phone, database: Database) -> None:
    await grow_stale(database, await phone.person_id())  # to say no takes no proof
    answer = await phone.client.send_form(f"/s/{screen.id}/refusal")
    assert onward(answer) == (303, "/security", "scan-refused")
    assert (await phone.client.get(f"/s/{screen.id}")).status_code == 409
    assert (await phone.client.send_form(f"/s/{screen.id}/refusal")).status_code == 409
    assert (await screen.redeem()).status_code == 409


async def test_the_first_answer_stands(screen: Screen, phone: Phone, visitors: Any) -> None:
    bob = Phone(visitors.stranger())
    await bob.join("Bob")
    assert (await approve(phone, screen.id, screen.number)).status_code == 303
    assert (await approve(bob, screen.id, screen.number)).status_code == 409
    assert (await bob.client.send_form(f"/s/{screen.id}/refusal")).status_code == 409
    await screen.redeem()
    assert "Alice" in (await screen.client.get("/me")).text


async def test_who_is_not_signed_in_is_asked_to_first(screen: Screen, visitors: Any) -> None:
    stranger = visitors.stranger()
    assert (await stranger.get(f"/s/{screen.id}")).headers["location"] == f"/sign-in?next=/s/{screen.id}"
    for path in ("approval", "refusal"):
        answer = await stranger.send_form(f"/s/{screen.id}/{path}", number=screen.number)
        assert answer.headers["location"] == "/sign-in"
    assert "Your phone asks" in await screen.see()


# --- who is not the browser that asked --------------------------------------------------------------------------------


async def test_a_picture_of_the_code_lets_nobody_in(screen: Screen, phone: Phone, visitors: Any) -> None:
    """Everything on the screen, the id and the number, is not enough: the secret is in the cookie."""
    await approve(phone, screen.id, screen.number)
    thief = visitors.stranger()
    for secret in ("", "x", "A" * 43):
        thief.cookies.set("dewpond-scan", f"{screen.id}.{screen.number}.9999999999.{secret}")
        assert "Your phone said yes." not in (await thief.get("/sign-in/scan")).text
        answer = await thief.send_form("/sign-in/scan/redemption")
        assert answer.status_code == 409
        assert "dewpond-person" not in answer.headers.get("set-cookie", "")
    assert (await screen.redeem()).status_code == 303


async def test_an_attackers_own_cookie_redeems_only_the_attackers_own_code(
    screen: Screen, phone: Phone, visitors: Any
) -> None:
    attacker = Screen(visitors.stranger())
    await attacker.ask()
    await approve(phone, screen.id, screen.number)
    assert (await attacker.redeem()).status_code == 409
    secret = attacker.client.cookies["dewpond-scan"].split(".")[-1]
    forged = visitors.stranger(headers={"cookie": f"dewpond-scan={screen.id}.10.9999999999.{secret}"})
    assert (await forged.send_form("/sign-in/scan/redemption")).status_code == 409
    assert (await screen.redeem()).status_code == 303


async def test_a_code_is_redeemed_once_however_many_ask_at_once(screen: Screen, phone: Phone, visitors: Any) -> None:
    await approve(phone, screen.id, screen.number)
    cookie = f"dewpond-scan={screen.client.cookies['dewpond-scan']}"
    copies = [visitors.stranger(headers={"cookie": cookie}) for _ in range(5)]
    answers = await asyncio.gather(*(one.send_form("/sign-in/scan/redemption") for one in copies))
    assert sorted(answer.status_code for answer in answers) == [303, 409, 409, 409, 409]
    assert (await screen.redeem()).status_code == 409
    assert not await is_in(screen)


async def test_after_two_minutes_nothing_of_it_is_left(screen: Screen, phone: Phone, database: Database) -> None:
    async def let_it_run_out() -> None:
        async with database.transaction() as tx:
            await tx.connection.execute(
                "update identity.scans set expires_at = $2 where id = $1",
                from_text("scn", screen.id),
                clock.wall_now(),
            )

    await approve(phone, screen.id, screen.number)
    await let_it_run_out()
    assert (await screen.redeem()).status_code == 409
    assert not await is_in(screen)
    await screen.ask()
    await let_it_run_out()
    assert (await phone.client.get(f"/s/{screen.id}")).status_code == 409
    assert (await approve(phone, screen.id, screen.number)).status_code == 409


async def test_a_session_planted_in_the_new_device_is_not_the_one_that_is_opened(phone: Phone, visitors: Any) -> None:
    mallory = Phone(visitors.stranger())
    await mallory.join("Mallory")
    screen = Screen(visitors.stranger())
    await screen.ask()
    await approve(phone, screen.id, screen.number)
    screen.client.headers["cookie"] = (
        f"dewpond-scan={screen.client.cookies['dewpond-scan']}; dewpond-person={mallory.token}"
    )
    answer = await screen.redeem()
    assert answer.cookies["dewpond-person"] not in ("", mallory.token)
    assert not await mallory.is_signed_in()


async def test_the_codes_cookie_stays_with_the_browser(screen: Screen) -> None:
    said = screen.cookie.lower()
    assert "httponly" in said
    assert "samesite=strict" in said
    assert "max-age=1" in said  # two minutes, less a moment
    secret = screen.client.cookies["dewpond-scan"].split(".")[-1]
    assert len(secret) == 43
    assert secret not in await screen.see()


async def test_ids_have_no_time_in_them_that_could_be_guessed(visitors: Any) -> None:
    ids = []
    for _ in range(8):
        screen = Screen(visitors.stranger())
        await screen.ask()
        ids.append(from_text("scn", screen.id).int)
    # An id of the usual kind begins with the milliseconds: these would share their first 40 bits.
    assert len({one >> 112 for one in ids}) > 1
    assert len({one >> 88 for one in ids}) == 8


@pytest.mark.parametrize(
    "cookie",
    ["", "x", "a.b.c.d", "scn_x.1.2.s", "...", f"{to_text('scn', UUID(int=1))}.1.99999999999999999999.s"],
)
async def test_a_cookie_we_did_not_write_is_no_code(visitors: Any, cookie: str) -> None:
    client = visitors.stranger(headers={"cookie": f"dewpond-scan={cookie}"})
    answer = await client.get("/sign-in/scan")
    assert answer.status_code == 200
    assert "Show a code" in answer.text or "Show a new code" in answer.text
    assert (await client.send_form("/sign-in/scan/redemption")).status_code == 409


@pytest.mark.parametrize("scan", ["x", "scn_x", "per_01jd3k8q01jd3k8q01jd3k8q01", "scn_00000000000000000000000000"])
async def test_an_unknown_code_is_nothing_to_approve(phone: Phone, scan: str) -> None:
    wanted = {409} if len(scan) == 30 and scan.startswith("scn") else {404}
    assert {(await phone.client.get(f"/s/{scan}")).status_code} == wanted
    assert {(await approve(phone, scan, "42")).status_code} == wanted
    assert {(await phone.client.send_form(f"/s/{scan}/refusal")).status_code} == wanted


async def test_its_pages_come_in_both_languages(screen: Screen, phone: Phone) -> None:
    for language in ("en", "zh-CN"):
        for client, path in ((screen.client, "/sign-in/scan"), (phone.client, f"/s/{screen.id}")):
            answer = await client.get(path, headers={"accept-language": language})
            assert answer.status_code == 200
            assert f'<html lang="{language}"' in answer.text
