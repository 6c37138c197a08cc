"""Invitations: a link lets one member of staff in, once, for three days."""

import asyncio
from datetime import timedelta

import pytest

from dewpond import merchants
from dewpond.kit.db import Database
from dewpond.kit.failures import Failure
from dewpond.kit.ids import new_id
from dewpond.merchants import InvitationSpent, PasswordWeak, StaffId, StaffMember, StaffMemberNotFound

from .conftest import NOON, NewMember

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

    async def come_in(password: str) -> None:
        async with database.transaction() as tx:
            invited = await merchants.redeem_invitation(tx, token, wall_now=NOON)
            await merchants.set_password(tx, invited.id, password, wall_now=NOON)

    with pytest.raises(PasswordWeak):
        await come_in("short")
    assert await find(database, token) == member
    await come_in("longjing-before-rain")
    assert await find(database, token) is None
