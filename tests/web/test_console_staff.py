"""Staff of a shop: inviting, changing what somebody is, letting go — and never taking an account over."""

import asyncio
import re
from typing import Any

import pytest

from dewpond import merchants
from dewpond.kit import clock
from dewpond.kit.db import Database
from dewpond.merchants import Role, StaffMember
from web.accounts import PASSWORD, claim
from web.notes import onward
from web.phones import Phone
from web.tills import Till


@pytest.fixture
async def till(house: Any, new_merchant: Any) -> Till:
    return Till(house, await new_merchant("Tea Shop"))


@pytest.fixture
async def mei(till: Till, new_member: Any) -> StaffMember:
    return await new_member("Mei", shop=till.shop)


@pytest.fixture
async def owner(mei: StaffMember, visitors: Any) -> Any:
    return await visitors.member(mei)


async def role_of(database: Database, member: StaffMember, till: Till) -> Role | None:
    async with database.transaction() as tx:
        return await merchants.role_of(tx, member.id, till.shop.merchant.id)


def link_in(text: str) -> str:
    found = re.search(r'data-copy="http://localhost:\d+(/invitations/[\w-]+)"', text)
    assert found
    return found[1]


async def invite(owner: Any, till: Till, name: str = "new-one", role: str = "cashier") -> Any:
    return await owner.send_form(f"{till.path}/staff", sign_in_name=name, name="New <b>One", role=role)


async def test_an_invited_colleague_comes_in_by_the_link(till: Till, owner: Any, visitors: Any) -> None:
    shown = await invite(owner, till, "colleague-1")
    assert shown.status_code == 200
    assert shown.headers["cache-control"] == "no-store"
    assert "New &lt;b&gt;One" in shown.text
    assert "<svg" in shown.text.partition('id="invitation"')[2]
    link = link_in(shown.text)
    assert link not in (await owner.get(f"{till.path}/staff")).text, "shown once"
    newcomer = visitors.stranger("staff")
    assert (await newcomer.send_form(link, password=PASSWORD, again=PASSWORD)).status_code == 303
    assert (await newcomer.get("/")).headers["location"] == till.path
    assert (await newcomer.get(till.path)).status_code == 200
    assert (await newcomer.get(f"{till.path}/staff")).status_code == 403


@pytest.mark.parametrize(
    ("_case", "told", "status", "said"),
    [
        ("no name to sign in by", {"sign_in_name": "no blanks"}, 422, "lower-case letters"),
        ("markup", {"sign_in_name": "<b>"}, 422, "lower-case letters"),
        ("a name that cannot be read", {"name": " "}, 422, "1 to 64 characters"),
        ("an unknown role", {"role": "operator"}, 422, "cannot be read"),
        ("more than is asked", {"is_operator": "true"}, 422, "cannot be read"),
        ("nothing", {"sign_in_name": ""}, 422, "lower-case letters"),
    ],
)
async def test_bad_invitations_are_refused(
    till: Till, owner: Any, _case: str, told: dict[str, str], status: int, said: str
) -> None:
    given = {"sign_in_name": "somebody-else", "name": "Kept", "role": "analyst"} | told
    answer = await owner.send_form(f"{till.path}/staff", **given)
    assert answer.status_code == status
    assert said in answer.text
    assert "/invitations/" not in answer.text


async def test_a_taken_name_is_said_and_nothing_is_lost(till: Till, owner: Any, mei: StaffMember) -> None:
    answer = await owner.send_form(
        f"{till.path}/staff", sign_in_name=mei.sign_in_name.upper(), name="Kept", role="analyst"
    )
    assert answer.status_code == 409
    assert "Somebody signs in with that name already" in answer.text
    assert 'value="Kept"' in answer.text
    assert re.search(r'value="analyst" checked', answer.text)


async def test_roles_change_what_opens_at_once(
    till: Till, owner: Any, visitors: Any, new_member: Any, database: Database
) -> None:
    cas = await new_member("Cas", shop=till.shop, role=Role.CASHIER)
    client = await visitors.member(cas)
    assert (await client.get(f"{till.path}/pool")).status_code == 403
    assert (await owner.send_form(f"{till.path}/staff/{cas.text_id}/role", role="analyst")).status_code == 303
    assert (await client.get(f"{till.path}/pool")).status_code == 200
    assert (await client.get(f"{till.path}/codes")).status_code == 403
    assert (await owner.send_form(f"{till.path}/staff/{cas.text_id}/end")).status_code == 303
    assert (await client.get(till.path)).status_code == 404
    assert await role_of(database, cas, till) is None


async def test_the_last_owner_stays(
    till: Till, owner: Any, mei: StaffMember, new_member: Any, database: Database
) -> None:
    for path, told in ((f"{mei.text_id}/role", {"role": "analyst"}), (f"{mei.text_id}/end", {})):
        refused = await owner.send_form(f"{till.path}/staff/{path}", **told)
        assert refused.status_code == 409
        assert "at least one owner" in refused.text
    assert await role_of(database, mei, till) is Role.OWNER
    await new_member("Second", shop=till.shop)
    answer = await owner.send_form(f"{till.path}/staff/{mei.text_id}/role", role="cashier")
    assert onward(answer) == (303, f"{till.path}", "saved")
    assert (await owner.get(answer.headers["location"])).status_code == 200
    assert (await owner.get(f"{till.path}/staff")).status_code == 403


async def test_who_lets_go_of_themselves_stands_before_the_door(
    till: Till, owner: Any, mei: StaffMember, new_member: Any
) -> None:
    await new_member("Second", shop=till.shop)
    answer = await owner.send_form(f"{till.path}/staff/{mei.text_id}/end")
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert (await owner.get("/")).status_code == 200
    assert (await owner.get(till.path)).status_code == 404


async def test_two_owners_who_end_each_other_at_once_leave_one(
    till: Till, owner: Any, mei: StaffMember, visitors: Any, new_member: Any, database: Database
) -> None:
    other = await new_member("Other", shop=till.shop)
    answers = await asyncio.gather(
        owner.send_form(f"{till.path}/staff/{other.text_id}/end"),
        (await visitors.member(other)).send_form(f"{till.path}/staff/{mei.text_id}/end"),
    )
    assert sorted(answer.status_code for answer in answers)[0] == 303
    assert [await role_of(database, one, till) for one in (mei, other)].count(Role.OWNER) == 1


# --- a new link -------------------------------------------------------------------------------------------------------


async def test_a_new_link_kills_the_old_one(till: Till, owner: Any, visitors: Any, database: Database) -> None:
    older = link_in((await invite(owner, till, "forgetful-1")).text)
    async with database.transaction() as tx:
        [member] = await merchants.find_staff_members(tx, "forgetful-1")
    again = await owner.send_form(f"{till.path}/staff/{member.text_id}/invitation")
    assert again.status_code == 200
    stranger = visitors.stranger("staff")
    assert (await stranger.get(older)).status_code == 404
    assert (await stranger.get(link_in(again.text))).status_code == 200


@pytest.mark.parametrize("case", ["password", "passkey", "elsewhere too", "operator"])
async def test_nobodys_account_is_taken_over_by_a_new_link(
    till: Till, owner: Any, visitors: Any, new_member: Any, new_merchant: Any, database: Database, case: str
) -> None:
    member = await new_member("Prey", shop=till.shop, role=Role.CASHIER, is_operator=case == "operator")
    if case == "password":
        await claim(database, member)
    elif case == "passkey":
        await Phone(await visitors.member(member)).create("/account/passkeys", "/account/passkeys/challenge")
    elif case == "elsewhere too":
        bakery = await new_merchant("Bakery")
        async with database.transaction() as tx:
            await merchants.give_role(tx, bakery.merchant.id, member.id, Role.OWNER, wall_now=clock.wall_now())
    async with database.transaction() as tx:
        token = await merchants.invite(tx, member.id, wall_now=clock.wall_now())
    refused = await owner.send_form(f"{till.path}/staff/{member.text_id}/invitation")
    assert refused.status_code == 409
    assert "/invitations/" not in refused.text
    stranger = visitors.stranger("staff")
    assert (await stranger.get(f"/invitations/{token}")).status_code == 200, "theirs is as good as before"


async def test_whoever_comes_in_while_a_new_link_is_made_keeps_the_account(
    till: Till, owner: Any, visitors: Any, database: Database
) -> None:
    for round_ in range(6):
        name = f"racer-{round_}"
        link = link_in((await invite(owner, till, name)).text)
        async with database.transaction() as tx:
            [member] = await merchants.find_staff_members(tx, name)
        newcomer = visitors.stranger("staff")
        came, made = await asyncio.gather(
            newcomer.send_form(link, password=PASSWORD, again=PASSWORD),
            owner.send_form(f"{till.path}/staff/{member.text_id}/invitation"),
        )
        if came.status_code == 303:
            assert made.status_code == 409
            assert "/invitations/" not in made.text
        else:
            assert (came.status_code, made.status_code) == (404, 200)


# --- who has an account already ---------------------------------------------------------------------------------------


async def test_somebody_of_another_shop_comes_to_work_here_too(
    till: Till, owner: Any, visitors: Any, new_member: Any, new_merchant: Any, database: Database
) -> None:
    cas = await new_member("Cas", shop=await new_merchant("Bakery"), role=Role.OWNER)
    told = {"sign_in_name": cas.sign_in_name.upper(), "role": "cashier"}
    early = await owner.send_form(f"{till.path}/staff/known", **told)
    assert early.status_code == 409
    assert "has not signed in yet" in early.text
    await claim(database, cas)
    assert (await owner.send_form(f"{till.path}/staff/known", **told)).status_code == 303
    assert await role_of(database, cas, till) is Role.CASHIER
    text = (await (await visitors.member(cas)).get("/")).text
    assert "Tea Shop" in text
    assert "Bakery" in text
    again = await owner.send_form(f"{till.path}/staff/known", sign_in_name=cas.sign_in_name, role="owner")
    assert again.status_code == 409
    assert "work here already" in again.text
    assert await role_of(database, cas, till) is Role.CASHIER


@pytest.mark.parametrize("name", ["nobody-is-called-so", "", "<b>", "stf_01m826r458e07bmgpeas2f095h", "Mei"])
async def test_whom_nobody_knows_cannot_be_added(till: Till, owner: Any, name: str) -> None:
    answer = await owner.send_form(f"{till.path}/staff/known", sign_in_name=name, role="owner")
    assert answer.status_code == 404
    assert "Nobody here signs in with that name" in answer.text


async def test_who_has_left_is_not_added(till: Till, owner: Any, new_member: Any, database: Database) -> None:
    gone = await new_member("Gone")
    await claim(database, gone)
    async with database.transaction() as tx:
        await merchants.end_staff_member(tx, gone.id, wall_now=clock.wall_now())
    answer = await owner.send_form(f"{till.path}/staff/known", sign_in_name=gone.sign_in_name, role="cashier")
    assert answer.status_code == 404


# --- others -----------------------------------------------------------------------------------------------------------


async def test_staff_of_other_shops_cannot_be_touched(
    till: Till, owner: Any, mei: StaffMember, visitors: Any, new_member: Any, new_merchant: Any, database: Database
) -> None:
    elsewhere = Till(till.house, await new_merchant("Bakery"))
    eve = await visitors.member(await new_member("Eve", shop=elsewhere.shop))
    for base in (till.path, elsewhere.path):
        for path, told in (
            (f"{mei.text_id}/role", {"role": "cashier"}),
            (f"{mei.text_id}/end", {}),
            (f"{mei.text_id}/invitation", {}),
            ("stf_none/role", {"role": "owner"}),
        ):
            answer = await eve.send_form(f"{base}/staff/{path}", **told)
            assert answer.status_code == 404, (base, path)
            assert "/invitations/" not in answer.text
    assert await role_of(database, mei, till) is Role.OWNER
    assert (await owner.get(f"{till.path}/staff")).status_code == 200


async def test_only_owners_see_and_change_staff(till: Till, mei: StaffMember, visitors: Any, new_member: Any) -> None:
    for role in (Role.CASHIER, Role.ANALYST):
        client = await visitors.member(await new_member(role.value, shop=till.shop, role=role))
        assert (await client.get(f"{till.path}/staff")).status_code == 403
        assert (await invite(client, till, "never-1")).status_code == 403
        for path, told in (
            ("known", {"sign_in_name": mei.sign_in_name, "role": "owner"}),
            (f"{mei.text_id}/role", {"role": "cashier"}),
            (f"{mei.text_id}/end", {}),
            (f"{mei.text_id}/invitation", {}),
        ):
            assert (await client.send_form(f"{till.path}/staff/{path}", **told)).status_code == 403, path


@pytest.mark.parametrize("language", ["en", "zh-CN"])
async def test_both_languages(till: Till, mei: StaffMember, visitors: Any, language: str) -> None:
    client = await visitors.member(mei, headers={"accept-language": language})
    answer = await client.get(f"{till.path}/staff")
    assert answer.status_code == 200
    assert f'<html lang="{language}"' in answer.text
