"""Invitations: a link lets one member of staff in, once, for three days."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from dewpond import merchants
from dewpond.kit.db import Database
from dewpond.kit.failures import Failure
from dewpond.kit.ids import new_id
from dewpond.merchants import (
    CameInBefore,
    InvitationSpent,
    PasswordHash,
    Role,
    RoleNotFound,
    StaffId,
    StaffMember,
    StaffMemberNotFound,
)

from .conftest import NOON, NewMember, NewShop, set_password

PASSWORD = "longjing-before-rain"
HOUR = timedelta(hours=1)


async def invite(database: Database, member: StaffMember, *, hours: int = 0) -> str:
    async with database.transaction() as tx:
        return await merchants.invite(tx, member.id, wall_now=NOON + hours * HOUR)


async def redeem(database: Database, token: str, *, hours: int = 0) -> StaffMember | Failure:
    try:
        async with database.transaction() as tx:
            return await merchants.redeem_invitation(tx, token, wall_now=NOON + hours * HOUR)
    except InvitationSpent as spent:
        return spent


async def find(database: Database, token: str, *, hours: int = 0) -> StaffMember | None:
    async with database.transaction() as tx:
        return await merchants.find_invited(tx, token, wall_now=NOON + hours * HOUR)


async def test_a_link_lets_in_once(database: Database, new_member: NewMember) -> None:
    member = await new_member()
    token = await invite(database, member)
    assert len(token) == 43, "256 random bits"
    assert await find(database, token) == member
    assert await find(database, token) == member, "looking uses nothing up"
    assert await redeem(database, token) == member
    assert isinstance(await redeem(database, token), InvitationSpent)
    assert await find(database, token) is None


async def test_of_many_at_once_one_comes_in(database: Database, new_member: NewMember) -> None:
    token = await invite(database, await new_member())
    outcomes = await asyncio.gather(*(redeem(database, token) for _ in range(8)))
    assert sum(isinstance(outcome, StaffMember) for outcome in outcomes) == 1


@pytest.mark.parametrize(("_case", "hours", "lets_in"), [("in time", 71, True), ("too late", 72, False)])
async def test_a_link_is_good_for_three_days(
    database: Database, new_member: NewMember, _case: str, hours: int, lets_in: bool
) -> None:
    token = await invite(database, await new_member())
    assert (await find(database, token, hours=hours) is not None) is lets_in
    assert isinstance(await redeem(database, token, hours=hours), StaffMember) is lets_in


async def test_a_newer_link_takes_the_place_of_the_older(database: Database, new_member: NewMember) -> None:
    member, other = await new_member(), await new_member()
    older, others = await invite(database, member), await invite(database, other)
    newer = await invite(database, member, hours=1)
    assert isinstance(await redeem(database, older), InvitationSpent)
    assert await redeem(database, newer, hours=73 - 1) == member
    assert await redeem(database, others) == other
    again = await invite(database, member)
    assert await redeem(database, again) == member, "also after one was used"


@pytest.mark.parametrize("token", ["", "x", "\x00", "\ud800", "A" * 43, "A" * 10_000])
async def test_what_was_never_given_lets_nobody_in(database: Database, token: str) -> None:
    assert await find(database, token) is None
    assert isinstance(await redeem(database, token), InvitationSpent)


async def test_the_database_does_not_know_the_link(database: Database, new_member: NewMember) -> None:
    token = await invite(database, await new_member())
    async with database.transaction() as tx:
        rows = await tx.connection.fetch("select i::text as told from merchants.invitations i")
    assert rows
    assert not any(token in row["told"] or token.encode().hex() in row["told"] for row in rows)


async def test_whose_time_has_ended_does_not_come_in(database: Database, new_member: NewMember) -> None:
    member = await new_member()
    token = await invite(database, member)
    async with database.transaction() as tx:
        await merchants.end_staff_member(tx, member.id, wall_now=NOON)
    assert await find(database, token) is None
    assert isinstance(await redeem(database, token), InvitationSpent)
    for staff_id in (member.id, StaffId(new_id())):
        async with database.transaction() as tx:
            with pytest.raises(StaffMemberNotFound):
                await merchants.invite(tx, staff_id, wall_now=NOON)


async def test_a_refused_password_leaves_the_link_as_it_was(database: Database, new_member: NewMember) -> None:
    """What an invitation page does: the link is used up together with what it was for, or not at all."""
    member = await new_member()
    token = await invite(database, member)

    async def come_in(hashed: str) -> None:
        async with database.transaction() as tx:
            invited = await merchants.redeem_invitation(tx, token, wall_now=NOON)
            await merchants.set_password(tx, invited.id, PasswordHash(hashed), wall_now=NOON)

    with pytest.raises(ValueError, match="hashed before"):
        await come_in("not hashed")
    assert await find(database, token) == member
    await come_in(await merchants.hash_password(PASSWORD, member))
    assert await find(database, token) is None


# --- whose account it is ----------------------------------------------------------------------------------------------


async def refusal_of(database: Database, member: StaffMember, **told: Any) -> type[Failure] | None:
    """What becomes of asking for a newcomer's link."""
    try:
        async with database.transaction() as tx:
            await merchants.invite_newcomer(tx, member.id, wall_now=NOON, **told)
    except Failure as refused:
        return type(refused)
    return None


async def test_a_password_kills_the_link_whoever_sets_it(database: Database, new_member: NewMember) -> None:
    """In a sandbox somebody taps in and makes the account their own: whoever invited them must not replace them."""
    member, other = await new_member(), await new_member()
    token, others = await invite(database, member), await invite(database, other)
    await set_password(database, member, PASSWORD, wall_now=NOON - HOUR)  # by a clock that is behind
    assert await find(database, token) is None
    assert isinstance(await redeem(database, token), InvitationSpent)
    assert isinstance(await redeem(database, token, hours=-90), InvitationSpent)
    assert await redeem(database, others) == other


async def test_who_has_lost_the_way_in_gets_a_link_from_the_terminal(database: Database, new_member: NewMember) -> None:
    member = await new_member(password=PASSWORD)
    token = await invite(database, member)
    assert await redeem(database, token) == member
    again = await invite(database, member)
    await set_password(database, member, "white-peony-2026", wall_now=NOON + HOUR)
    assert isinstance(await redeem(database, again, hours=2), InvitationSpent), "they have found it again"


async def test_a_voided_link_makes_nobody_new(database: Database, new_member: NewMember) -> None:
    member = await new_member()
    await invite(database, member, hours=1)
    await set_password(database, member, PASSWORD, wall_now=NOON + 2 * HOUR)
    async with database.transaction() as tx:
        [arrival] = await merchants.list_arrivals(tx, [member.id])
    assert arrival.since == NOON


async def test_of_a_link_and_a_password_at_once_one_wins(database: Database, new_member: NewMember) -> None:
    """Two connections that meet in the middle: neither waits for the other for ever, and never do both come in."""

    async def come_in(token: str, hashed: PasswordHash) -> None:
        async with database.transaction() as tx:
            member = await merchants.redeem_invitation(tx, token, wall_now=NOON)
            await merchants.set_password(tx, member.id, hashed, wall_now=NOON)

    async def claim(member: StaffMember, hashed: PasswordHash) -> None:
        async with database.transaction() as tx:
            await merchants.set_password(tx, member.id, hashed, wall_now=NOON)

    hashed = await merchants.hash_password(PASSWORD, await new_member())
    for _ in range(20):
        member = await new_member()
        token = await invite(database, member)
        came, claimed = await asyncio.gather(come_in(token, hashed), claim(member, hashed), return_exceptions=True)
        assert claimed is None, "whose session has ended is the face's to find out"
        assert came is None or isinstance(came, InvitationSpent)
        assert await find(database, token) is None


async def test_a_link_waits_for_who_is_just_making_the_account_their_own(
    database: Database, new_member: NewMember
) -> None:
    member, boss = await new_member(), await new_member()
    token, hashed = await invite(database, member), await merchants.hash_password(PASSWORD, member)
    async with database.transaction() as tx:
        await merchants.set_password(tx, member.id, hashed, wall_now=NOON)
        asked = asyncio.create_task(refusal_of(database, member, by=boss.id))
        redeemed = asyncio.create_task(redeem(database, token))
        done, _ = await asyncio.wait([asked, redeemed], timeout=0.3)
        assert not done
    assert await asked is CameInBefore
    assert isinstance(await redeemed, InvitationSpent)


async def test_a_newcomers_link_never_leads_into_what_is_somebodys_own(
    database: Database, new_member: NewMember, new_shop: NewShop
) -> None:
    tea, coffee, boss = await new_shop(), await new_shop("Coffee Shop"), await new_member()
    fresh, both, elsewhere = await new_member(), await new_member(), await new_member()
    operator, own = await new_member(is_operator=True), await new_member(password=PASSWORD)
    async with database.transaction() as tx:
        for member in (fresh, both, operator, own):
            await merchants.give_role(tx, tea.id, member.id, Role.CASHIER, wall_now=NOON)
        for member in (both, elsewhere):
            await merchants.give_role(tx, coffee.id, member.id, Role.CASHIER, wall_now=NOON)
    answers = {
        "fresh": await refusal_of(database, fresh, by=boss.id, at=tea.id),
        "both": await refusal_of(database, both, by=boss.id, at=tea.id),
        "elsewhere": await refusal_of(database, elsewhere, by=boss.id, at=tea.id),
        "operator": await refusal_of(database, operator, by=boss.id, at=tea.id),
        "own": await refusal_of(database, own, by=boss.id, at=tea.id),
    }
    assert answers == {
        "fresh": None, "both": CameInBefore, "elsewhere": RoleNotFound, "operator": CameInBefore, "own": CameInBefore,
    }  # fmt: skip
    by_the_desk = [await refusal_of(database, one, by=boss.id) for one in (both, operator, own)]
    assert by_the_desk == [None, None, CameInBefore]
