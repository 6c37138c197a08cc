"""An account becomes somebody's own once: links, taps and sessions of before lead nowhere from then on."""

import asyncio
from typing import Any

import pytest

from dewpond import merchants
from dewpond.identity import How
from dewpond.kit import clock
from dewpond.kit.db import Database
from dewpond.kit.ids import new_id
from dewpond.merchants import Role, StaffMember
from dewpond.merchants.passwords import HASHER
from web.accounts import PASSWORD, claim
from web.phones import Phone

OTHER = "another pond 17"


@pytest.fixture
async def nova(new_member: Any, new_merchant: Any) -> StaffMember:
    """Invited, and nobody yet."""
    return await new_member("Nova", shop=await new_merchant("Tea Shop"), role=Role.CASHIER)


async def link_for(database: Database, member: StaffMember) -> str:
    async with database.transaction() as tx:
        return f"/invitations/{await merchants.invite(tx, member.id, wall_now=clock.wall_now())}"


async def tap(visitors: Any, member: StaffMember) -> Any:
    client = visitors.stranger("staff")
    assert (await client.send_form("/sign-in/one-tap", member=member.text_id)).status_code == 303
    return client


async def take(client: Any, way: str) -> Any:
    """Make the account one's own, from within."""
    if way == "password":
        return await client.send_form("/account/password", password=PASSWORD, again=PASSWORD)
    return await Phone(client).create("/account/passkeys", "/account/passkeys/challenge")


async def is_in(client: Any) -> bool:
    return (await client.get("/account")).status_code == 200


@pytest.mark.parametrize("way", ["password", "passkey"])
async def test_who_tapped_in_and_takes_the_account_keeps_it(
    visitors: Any, nova: StaffMember, database: Database, way: str
) -> None:
    """Whoever invited them holds a link for three days, and somebody else may have tapped in too."""
    link, inviter = await link_for(database, nova), visitors.stranger("staff")
    here, elsewhere = await tap(visitors, nova), await tap(visitors, nova)
    assert (await inviter.get(link)).status_code == 200
    assert (await take(here, way)).status_code == 303
    assert (await inviter.get(link)).status_code == 404
    assert (await inviter.send_form(link, password=OTHER, again=OTHER)).status_code == 404
    assert await is_in(here)
    assert not await is_in(elsewhere)
    late = await visitors.stranger("staff").send_form("/sign-in/one-tap", member=nova.text_id)
    assert late.status_code == 404
    assert not await is_in(inviter)


@pytest.mark.parametrize("way", ["password", "passkey"])
async def test_a_later_password_or_passkey_kills_a_link_from_the_terminal(
    visitors: Any, nova: StaffMember, database: Database, way: str
) -> None:
    await claim(database, nova, OTHER)
    client, link = await visitors.member(nova), await link_for(database, nova)
    elsewhere = await visitors.member(nova)
    told = {"password": PASSWORD, "again": PASSWORD, "current": OTHER}
    answer = await client.send_form("/account/password", **told) if way == "password" else await take(client, way)
    assert answer.status_code == 303
    assert (await client.get(link)).status_code == 404
    assert await is_in(elsewhere) is (way == "passkey"), "one passkey more signs nobody out"


@pytest.mark.parametrize("way", ["password", "passkey"])
async def test_of_a_link_and_somebody_within_at_once_one_gets_the_account(
    visitors: Any, nova: StaffMember, new_member: Any, database: Database, way: str
) -> None:
    for _ in range(4):
        member = await new_member("Racer")
        link, by_link, within = (
            await link_for(database, member),
            visitors.stranger("staff"),
            await tap(visitors, member),
        )
        came, took = await asyncio.gather(
            by_link.send_form(link, password=OTHER, again=OTHER), take(within, way), return_exceptions=True
        )
        assert not isinstance(came, BaseException)
        assert came.status_code in {303, 404}
        if came.status_code == 303:
            assert isinstance(took, AssertionError) or took.status_code in {303, 401, 403}, took
            assert await is_in(by_link)
            assert not await is_in(within)
            async with database.transaction() as tx:
                hashed = await tx.connection.fetchval(
                    "select hash from merchants.passwords where staff_id = $1", member.id
                )
                passkeys = await tx.connection.fetchval(
                    "select count(*) from identity.passkeys where holder_id = $1", member.id
                )
            assert passkeys == 0
            assert HASHER.verify(hashed, OTHER)
        else:
            assert not isinstance(took, BaseException)
            assert took.status_code == 303
            assert await is_in(within)
            assert not await is_in(by_link)


async def test_who_tapped_in_too_late_adds_nothing_of_theirs(
    visitors: Any, nova: StaffMember, database: Database
) -> None:
    """The question to the authenticator is older than the account's owner."""
    tapped = Phone(await tap(visitors, nova))
    challenge_id, options = await tapped.ask("/account/passkeys/challenge")
    response = tapped.authenticator.create(options)
    owner = visitors.stranger("staff")
    link = await link_for(database, nova)
    assert (await owner.send_form(link, password=PASSWORD, again=PASSWORD)).status_code == 303
    late = await tapped.client.send_form("/account/passkeys", challenge_id=challenge_id, response=response)
    assert (late.status_code, late.headers["location"][:8]) == (303, "/sign-in")
    assert "Remove" not in (await owner.get("/account")).text.partition('id="passkeys"')[2].partition("</section>")[0]


async def test_nobody_taps_in_while_somebody_takes_the_account(
    visitors: Any, nova: StaffMember, database: Database
) -> None:
    """A session that is opened a moment later would outlive the end of all sessions."""
    client, hashed = visitors.stranger("staff"), await merchants.hash_password(PASSWORD, nova)
    async with database.transaction() as tx:
        await merchants.set_password(tx, nova.id, hashed, wall_now=clock.wall_now())
        tapping = asyncio.create_task(client.send_form("/sign-in/one-tap", member=nova.text_id))
        done, _ = await asyncio.wait([tapping], timeout=0.5)
        assert not done
    assert (await tapping).status_code == 404
    assert not await is_in(client)


async def test_setting_the_first_password_is_a_proof(visitors: Any, nova: StaffMember, database: Database) -> None:
    client = await tap(visitors, nova)
    async with database.transaction() as tx:
        how = await tx.connection.fetchval("select how from identity.sessions where holder_id = $1", nova.id)
    assert how == How.ONE_TAP
    assert (await take(client, "password")).status_code == 303
    assert "It has been a while" not in (await client.get("/account")).text


async def test_a_passkey_that_is_taken_claims_nothing(
    visitors: Any, nova: StaffMember, new_member: Any, database: Database
) -> None:
    link, client = await link_for(database, nova), await tap(visitors, nova)
    refused = await client.send_form("/account/passkeys", challenge_id=str(new_id()), response="{}")
    assert refused.status_code in {403, 409, 410, 422}
    assert (await visitors.stranger("staff").get(link)).status_code == 200
    assert (await visitors.stranger("staff").send_form("/sign-in/one-tap", member=nova.text_id)).status_code == 303


# --- a shop more ------------------------------------------------------------------------------------------------------


async def test_a_new_shop_is_not_given_to_an_account_that_is_nobodys_yet(
    visitors: Any, nova: StaffMember, new_member: Any, database: Database
) -> None:
    """Whoever holds its link may become it, and the shop would come along."""
    operator = await visitors.member(await new_member("Olga", is_operator=True))
    given = {
        "key": str(new_id()),
        "name": "Blue Door Books",
        "owner_sign_in_name": nova.sign_in_name.upper(),
        "is_known": "yes",
    }
    async with database.transaction() as tx:
        before = await merchants.count_merchants(tx)
    refused = await operator.send_form("/desk/merchants", **given)
    assert refused.status_code == 409
    assert "has not signed in yet" in refused.text
    assert 'value="Blue Door Books"' in refused.text
    async with database.transaction() as tx:
        assert await merchants.count_merchants(tx) == before
    await claim(database, nova)
    assert (await operator.send_form("/desk/merchants", **given)).status_code == 201
    async with database.transaction() as tx:
        assert [role for _, role in await merchants.roles_of(tx, nova.id)].count(Role.OWNER) == 1


async def test_who_has_left_gets_no_new_shop(visitors: Any, new_member: Any, database: Database) -> None:
    operator, gone = await visitors.member(await new_member("Olga", is_operator=True)), await new_member("Gone")
    await claim(database, gone)
    async with database.transaction() as tx:
        await merchants.end_staff_member(tx, gone.id, wall_now=clock.wall_now())
    told = {"key": str(new_id()), "name": "Shop", "owner_sign_in_name": gone.sign_in_name, "is_known": "yes"}
    assert (await operator.send_form("/desk/merchants", **told)).status_code == 404
