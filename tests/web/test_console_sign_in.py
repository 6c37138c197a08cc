"""Staff come in: by password, by passkey, by invitation, in a sandbox by one tap; and go."""

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any

import pytest

from dewpond import merchants, web
from dewpond.kit import clock, worlds
from dewpond.kit.db import Database
from dewpond.merchants import StaffMember
from web.accounts import PASSWORD, claim
from web.conftest import Client, serving
from web.notes import onward
from web.phones import Phone


@dataclass
class Desk(Phone):
    """A browser at work with an authenticator of its own."""

    async def enter(self, name: str, password: str, next_: str = "/account") -> Any:
        return await self.client.send_form("/sign-in", sign_in_name=name, password=password, next=next_)

    async def sign_in(self, next_: str = "/account") -> Any:
        return await self.sign("/sign-in/passkey", "/sign-in/passkey/challenge", next=next_)

    async def is_signed_in(self) -> bool:
        return (await self.client.get("/account")).status_code == 200

    @property
    def token(self) -> str:
        return str(self.client.cookies.get("dewpond-staff") or "")


@pytest.fixture
def desk(visitors: Any) -> Desk:
    return Desk(visitors.stranger("staff"))


@pytest.fixture
async def owner(new_member: Any, new_merchant: Any, database: Database) -> StaffMember:
    """Somebody with a shop and a password."""
    member = await new_member("Mei", shop=await new_merchant("Tea Shop"))
    await claim(database, member)
    return member


async def link_for(database: Database, member: StaffMember) -> str:
    async with database.transaction() as tx:
        return f"/invitations/{await merchants.invite(tx, member.id, wall_now=clock.wall_now())}"


def without_request_id(text: str) -> str:
    return re.sub(r'name="sign_in_name" value="[^"]*"', "", text)


# --- by password ------------------------------------------------------------------------------------------------------


async def test_name_and_password_open_and_lead_where_one_was_going(desk: Desk, owner: StaffMember) -> None:
    answer = await desk.enter(owner.sign_in_name.upper(), PASSWORD, "/account?x=1")
    assert (answer.status_code, answer.headers["location"]) == (303, "/account?x=1")
    assert await desk.is_signed_in()
    assert owner.name in (await desk.client.get("/account")).text
    elsewhere = await desk.client.get("/sign-in?next=//evil.example")
    assert elsewhere.headers["location"] == "/"


async def test_the_way_on_never_leads_elsewhere(desk: Desk, owner: StaffMember) -> None:
    answer = await desk.enter(owner.sign_in_name, PASSWORD, "https://evil.example")
    assert answer.headers["location"] == "/"


async def test_a_wrong_password_and_an_unknown_name_are_answered_alike(desk: Desk, owner: StaffMember) -> None:
    answers = [
        await desk.enter(owner.sign_in_name, "not the password"),
        await desk.enter("nobody-is-called-so", "not the password"),
        await desk.enter("no name <b> at all", "not the password"),
    ]
    assert {answer.status_code for answer in answers} == {401}
    assert len({without_request_id(answer.text) for answer in answers}) == 1
    assert "do not belong together" in answers[0].text
    assert f'value="{owner.sign_in_name}"' in answers[0].text
    assert "not the password" not in answers[0].text
    assert not await desk.is_signed_in()


async def test_ten_wrong_passwords_lock_a_name_that_is_there_and_one_that_is_not(
    desk: Desk, owner: StaffMember, visitors: Any
) -> None:
    for name in (owner.sign_in_name, "nobody-at-all"):
        for _ in range(9):
            assert (await desk.enter(name, "wrong wrong wrong")).status_code == 401
        locked = await desk.enter(name, "wrong wrong wrong")
        assert locked.status_code == 403
        assert "locked for fifteen minutes" in locked.text
    right = await Desk(visitors.stranger("staff")).enter(owner.sign_in_name, PASSWORD)
    assert right.status_code == 403
    assert "set-cookie" not in right.headers


async def test_who_has_left_does_not_come_in(desk: Desk, owner: StaffMember, visitors: Any, database: Database) -> None:
    at_work = await visitors.member(owner)
    async with database.transaction() as tx:
        await merchants.end_staff_member(tx, owner.id, wall_now=clock.wall_now())
    assert (await desk.enter(owner.sign_in_name, PASSWORD)).status_code == 401
    assert (await at_work.get("/account")).headers["location"].startswith("/sign-in")


# --- sessions ---------------------------------------------------------------------------------------------------------


async def test_a_planted_session_is_not_kept(visitors: Any, owner: StaffMember, new_member: Any) -> None:
    planter = await visitors.member(await new_member("Eve"))
    planted = planter.cookies.get("dewpond-staff")
    for value in (planted, "made-up-by-somebody"):
        victim = Desk(visitors.stranger("staff"))
        victim.client.cookies.set("dewpond-staff", value)
        answer = await victim.enter(owner.sign_in_name, PASSWORD)
        assert answer.status_code == 303
        fresh = re.search(r"dewpond-staff=([^;]+)", answer.headers["set-cookie"])
        assert fresh
        assert fresh[1] != value
        assert "httponly" in answer.headers["set-cookie"].lower()
        assert "samesite=lax" in answer.headers["set-cookie"].lower()
    assert (await planter.get("/account")).status_code == 303, "the planted one is over"


async def test_signing_out_ends_the_session_wherever_it_was_copied_to(visitors: Any, owner: StaffMember) -> None:
    here, elsewhere = await visitors.member(owner), await visitors.member(owner)
    copy = visitors.stranger("staff")
    copy.cookies.set("dewpond-staff", here.cookies.get("dewpond-staff"))
    assert (await copy.get("/account")).status_code == 200
    answer = await here.send_form("/sign-out")
    assert onward(answer) == (303, "/sign-in", "signed-out")
    assert "max-age=0" in answer.headers["set-cookie"].lower()
    assert (await copy.get("/account")).headers["location"].startswith("/sign-in")
    assert (await elsewhere.get("/account")).status_code == 200


# --- by passkey -------------------------------------------------------------------------------------------------------


async def test_a_passkey_opens_without_a_name(visitors: Any, owner: StaffMember) -> None:
    mine = Desk(await visitors.member(owner))
    answer = await mine.create("/account/passkeys", "/account/passkeys/challenge")
    assert onward(answer) == (303, "/account", "saved")
    new = Desk(
        visitors.stranger("staff"),
    )
    new.authenticator.credentials = mine.authenticator.credentials
    answer = await new.sign_in("/account")
    assert (answer.status_code, answer.headers["location"]) == (303, "/account")
    assert owner.name in (await new.client.get("/account")).text


async def test_a_passkey_is_answered_once(visitors: Any, owner: StaffMember) -> None:
    mine = Desk(await visitors.member(owner))
    await mine.create("/account/passkeys", "/account/passkeys/challenge")
    stranger = Desk(visitors.stranger("staff"))
    challenge_id, options = await stranger.ask("/sign-in/passkey/challenge", next="/")
    told = {"challenge_id": challenge_id, "response": mine.authenticator.get(options)}
    assert (await stranger.client.send_form("/sign-in/passkey", **told)).status_code == 303
    again = await visitors.stranger("staff").send_form("/sign-in/passkey", **told)
    assert again.status_code in {401, 403, 409, 410, 422}
    assert "set-cookie" not in again.headers


async def test_a_passkey_of_the_phone_opens_nothing_here(visitors: Any) -> None:
    phone = Phone(visitors.stranger("phone"))
    await phone.join("Alice")
    desk = Desk(visitors.stranger("staff"))
    challenge_id, options = await desk.ask("/sign-in/passkey/challenge", next="/")
    response = phone.authenticator.get(options, origin=desk.client.origin)
    answer = await desk.client.send_form("/sign-in/passkey", challenge_id=challenge_id, response=response)
    assert answer.status_code >= 400
    assert not await desk.is_signed_in()


async def test_without_javascript_a_passkey_form_says_so(desk: Desk) -> None:
    answer = await desk.client.send_form("/sign-in/passkey", next="/")
    assert answer.status_code == 422
    assert "needs JavaScript" in answer.text


# --- by invitation ----------------------------------------------------------------------------------------------------


async def test_an_invitation_opens_once(desk: Desk, new_member: Any, database: Database, visitors: Any) -> None:
    member = await new_member("Nova <b>")
    link = await link_for(database, member)
    for _ in range(2):  # looking does not use it up
        shown = await desk.client.get(link)
        assert shown.status_code == 200
        assert "Nova &lt;b&gt;" in shown.text
    answer = await desk.client.send_form(link, password=PASSWORD, again=PASSWORD)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert await desk.is_signed_in()
    late = visitors.stranger("staff")
    assert (await late.get(link)).status_code == 404
    assert (await late.send_form(link, password="another one 77", again="another one 77")).status_code == 404
    assert (await Desk(late).enter(member.sign_in_name, PASSWORD)).status_code == 303


@pytest.mark.parametrize(
    ("_case", "password", "again", "said"),
    [
        ("short", "short", "short", "10 to 200"),
        ("one letter", "aaaaaaaaaaaa", "aaaaaaaaaaaa", "10 to 200"),
        ("the name in it", "invited-Iris-2026", "invited-Iris-2026", "must not contain your name"),
        ("two of them", PASSWORD, "quiet water 43", "two different passwords"),
    ],
)
async def test_a_refused_password_leaves_the_invitation_good(
    desk: Desk, new_member: Any, database: Database, _case: str, password: str, again: str, said: str
) -> None:
    link = await link_for(database, await new_member("Iris"))
    refused = await desk.client.send_form(link, password=password, again=again)
    assert refused.status_code == 422
    assert said in refused.text
    assert password not in refused.text
    assert "set-cookie" not in refused.headers
    assert (await desk.client.send_form(link, password=PASSWORD, again=PASSWORD)).status_code == 303


async def test_an_invitation_ends_other_sessions_and_older_links(
    desk: Desk, visitors: Any, new_member: Any, database: Database
) -> None:
    member = await new_member("Otto")
    tapped = await visitors.member(member)
    older, newer = await link_for(database, member), await link_for(database, member)
    assert (await desk.client.get(older)).status_code == 404
    assert (await desk.client.send_form(newer, password=PASSWORD, again=PASSWORD)).status_code == 303
    assert (await tapped.get("/account")).status_code == 303


@pytest.mark.parametrize("token", ["", "x", "é", "../account", "A" * 43, "A" * 3000])
async def test_made_up_invitations_lead_nowhere(desk: Desk, token: str) -> None:
    for answer in (
        await desk.client.get(f"/invitations/{token}"),
        await desk.client.send_form(f"/invitations/{token}", password=PASSWORD, again=PASSWORD),
    ):
        assert answer.status_code in {303, 404}
        assert "set-cookie" not in answer.headers


# --- in a sandbox, by one tap -----------------------------------------------------------------------------------------


async def test_one_tap_is_for_accounts_that_are_nobodys_yet(
    desk: Desk, owner: StaffMember, new_member: Any, visitors: Any
) -> None:
    free = await new_member("Free <i>")
    text = (await desk.client.get("/sign-in")).text
    assert free.text_id in text
    assert "Free &lt;i&gt;" in text
    assert owner.text_id not in text
    for number in (owner.text_id, owner.text_id.upper(), "stf_none", ""):
        refused = await desk.client.send_form("/sign-in/one-tap", member=number)
        assert refused.status_code == 404
        assert "set-cookie" not in refused.headers
    answer = await desk.client.send_form("/sign-in/one-tap", member=free.text_id, next="/account")
    assert (answer.status_code, answer.headers["location"]) == (303, "/account")
    await Desk(desk.client).create("/account/passkeys", "/account/passkeys/challenge")
    again = await visitors.stranger("staff").send_form("/sign-in/one-tap", member=free.text_id)
    assert again.status_code == 404, "it is somebody's now"


@pytest.fixture(scope="module")
async def guarded(house: Any, world: worlds.World) -> AsyncIterator[str]:
    """The staff's site of a sandbox that others than this machine can reach."""
    guarded = replace(house, settings=replace(house.settings, access_code="Tea-Pot-42"))
    async with serving(guarded, world, web.create_staff_site, "staff_url") as origin:
        yield origin


@pytest.mark.parametrize(
    ("code", "is_in"), [("Tea-Pot-42", True), (" tea-pot-42 ", True), ("", False), ("Tea-Pot-43", False), ("é", False)]
)
async def test_with_an_access_code_nobody_taps_in_without(
    guarded: str, new_member: Any, code: str, is_in: bool
) -> None:
    free = await new_member("Free")
    async with Client(guarded) as client:
        answer = await client.send_form("/sign-in/one-tap", member=free.text_id, access_code=code, next="/account")
        assert answer.status_code == (303 if is_in else 403)
        assert ("set-cookie" in answer.headers) is is_in
        if not is_in:
            assert "That is not the access code" in answer.text
            assert 'name="next" value="/account"' in answer.text
            assert "Tea-Pot-42" not in answer.text


# --- one's own account ------------------------------------------------------------------------------------------------


async def test_a_new_password_needs_the_old_one_and_signs_the_others_out(
    visitors: Any, owner: StaffMember, desk: Desk
) -> None:
    here, elsewhere = await visitors.member(owner), await visitors.member(owner)
    for given, status in (
        ({"current": "not the password"}, 401),
        ({}, 401),
        ({"current": PASSWORD, "again": "something else 9"}, 422),
        ({"current": PASSWORD, "password": "short", "again": "short"}, 422),
    ):
        told = {"password": "still water 77", "again": "still water 77"} | given
        refused = await here.send_form("/account/password", **told)
        assert refused.status_code == status, given
        assert "still water 77" not in refused.text
    assert (await elsewhere.get("/account")).status_code == 200
    told = {"current": PASSWORD, "password": "still water 77", "again": "still water 77"}
    assert (await here.send_form("/account/password", **told)).status_code == 303
    assert (await here.get("/account")).status_code == 200
    assert (await elsewhere.get("/account")).status_code == 303
    assert (await desk.enter(owner.sign_in_name, PASSWORD)).status_code == 401
    assert (await desk.enter(owner.sign_in_name, "still water 77")).status_code == 303


async def test_keys_to_an_account_are_changed_by_who_has_just_come_in(
    visitors: Any, owner: StaffMember, desk: Desk
) -> None:
    mine = Desk(await visitors.member(owner))
    await mine.create("/account/passkeys", "/account/passkeys/challenge")
    left_open = await visitors.member(owner, is_proven=False)
    text = (await left_open.get("/account")).text
    assert "It has been a while" in text
    assert "/removal" not in text
    [removal] = re.findall(r"/account/passkeys/[0-9a-f-]+/removal", (await mine.client.get("/account")).text)
    for path in ("/account/passkeys/challenge", removal):
        assert (await left_open.send_form(path)).status_code == 403, path
    challenge_id, options = await mine.ask("/account/passkeys/challenge")
    answer = mine.authenticator.create(options, ignores_exclusions=True)
    told = {"challenge_id": challenge_id, "response": answer}
    assert (await left_open.send_form("/account/passkeys", **told)).status_code == 403
    proven = await left_open.send_form("/proof", proof_password=PASSWORD, next="/account")
    assert (proven.status_code, proven.headers["location"]) == (303, "/account")
    assert "/removal" in (await left_open.get("/account")).text


async def test_an_account_without_a_password_gets_none_from_whoever_finds_it_open(
    visitors: Any, new_member: Any
) -> None:
    kay = await new_member("Kay")
    mine = Desk(await visitors.member(kay))
    await mine.create("/account/passkeys", "/account/passkeys/challenge")
    left_open = await visitors.member(kay, is_proven=False)
    told = {"password": PASSWORD, "again": PASSWORD}
    assert (await left_open.send_form("/account/password", **told)).status_code == 403
    assert 'name="password"' not in (await left_open.get("/account")).text
    assert (await mine.client.send_form("/account/password", **told)).status_code == 303


async def test_the_last_way_in_is_not_taken_away(visitors: Any, new_member: Any, owner: StaffMember) -> None:
    async def passkeys(desk: Desk) -> list[str]:
        return re.findall(r'action="(/account/passkeys/[0-9a-f-]+/removal)"', (await desk.client.get("/account")).text)

    only_key = Desk(await visitors.member(await new_member("Kay")))
    await only_key.create("/account/passkeys", "/account/passkeys/challenge")
    [removal] = await passkeys(only_key)
    refused = await only_key.client.send_form(removal)
    assert refused.status_code == 409
    assert "only way into your account" in refused.text
    assert await passkeys(only_key) == [removal]
    both = Desk(await visitors.member(owner))
    await both.create("/account/passkeys", "/account/passkeys/challenge")
    [removal] = await passkeys(both)
    assert (await only_key.client.send_form(removal)).status_code == 404, "another's passkey"
    assert (await both.client.send_form(removal)).status_code == 303
    assert await passkeys(both) == []


async def test_one_signs_ones_own_devices_out_and_nobody_elses(
    visitors: Any, owner: StaffMember, new_member: Any
) -> None:
    here, elsewhere = await visitors.member(owner), await visitors.member(owner)
    stranger = await visitors.member(await new_member("Eve"))
    [ending] = re.findall(r'action="(/account/sessions/[0-9a-f-]+/end)"', (await here.get("/account")).text)
    await stranger.send_form(ending)
    assert (await elsewhere.get("/account")).status_code == 200
    assert (await here.send_form(ending)).status_code == 303
    assert (await elsewhere.get("/account")).status_code == 303
    assert (await here.get("/account")).status_code == 200
    others = [await visitors.member(owner) for _ in range(3)]
    assert "Sign out all other devices" in (await here.get("/account")).text
    assert (await here.send_form("/account/sessions/others/end")).status_code == 303
    assert {(await other.get("/account")).status_code for other in others} == {303}
    assert {(await one.get("/account")).status_code for one in (here, stranger)} == {200}


async def test_the_door_leads_straight_on_where_there_is_only_one(
    visitors: Any, new_member: Any, new_merchant: Any, database: Database
) -> None:
    tea, bakery = await new_merchant("Tea Shop"), await new_merchant("Bakery <b>")
    mei = await new_member("Mei", shop=tea)
    client = await visitors.member(mei)
    assert (await client.get("/")).headers["location"] == f"/m/{tea.merchant.number}"
    async with database.transaction() as tx:
        role = merchants.Role.CASHIER
        await merchants.give_role(tx, bakery.merchant.id, mei.id, role, wall_now=clock.wall_now())
    text = (await client.get("/")).text
    assert "Bakery &lt;b&gt;" in text
    assert "Cashier" in text
    assert (await (await visitors.member(await new_member("Olga", is_operator=True))).get("/")).headers[
        "location"
    ] == "/desk"
    nowhere = await (await visitors.member(await new_member("Nobody"))).get("/")
    assert "You don't work at any shop yet" in nowhere.text


@pytest.mark.parametrize("language", ["en", "zh-CN"])
async def test_both_languages(
    visitors: Any, owner: StaffMember, language: str, database: Database, new_member: Any
) -> None:
    member = await visitors.member(owner, headers={"accept-language": language})
    stranger = visitors.stranger("staff", headers={"accept-language": language})
    link = await link_for(database, await new_member("Ivy"))
    for client, path in ((stranger, "/sign-in"), (stranger, link), (member, "/account")):
        answer = await client.get(path)
        assert answer.status_code == 200
        assert f'<html lang="{language}"' in answer.text
