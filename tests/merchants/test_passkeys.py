"""Passkeys of staff: what a new one means for the account."""

import asyncio

import pytest

from dewpond import identity, merchants
from dewpond.identity import Passkey, Realm, Session, SessionEnded
from dewpond.kit.db import Database
from dewpond.kit.ids import new_id
from dewpond.merchants import StaffMember
from identity.authenticator import Authenticator
from identity.signing_in import MINUTE, NOON, STAFF, begin, session_of

from .conftest import NewMember


async def made(database: Database, session: Session) -> tuple[identity.Begun, str]:
    """A question to an authenticator, and its answer."""
    begun = await begin(database, session.holder_id, realm=Realm.STAFF, session=session, name="mei")
    return begun, Authenticator(STAFF.origin).create(begun.options)


async def add(database: Database, session: Session, begun: identity.Begun, response: str) -> Passkey:
    async with database.transaction() as tx:
        return await merchants.add_passkey(
            tx, session, begun.challenge_id, response, party=STAFF, device="Chrome", wall_now=NOON + MINUTE
        )


async def present(database: Database, member: StaffMember) -> set[Session]:
    async with database.transaction() as tx:
        return set(await identity.list_sessions(tx, Realm.STAFF, member.id, wall_now=NOON + MINUTE))


async def test_the_first_one_makes_the_account_somebodys_own(database: Database, new_member: NewMember) -> None:
    member, other = await new_member(), await new_member()
    here, elsewhere = [await session_of(database, member.id, realm=Realm.STAFF) for _ in range(2)]
    async with database.transaction() as tx:
        token = await merchants.invite(tx, member.id, wall_now=NOON)
        assert await merchants.list_claimed(tx, [member.id, other.id]) == frozenset()
    passkey = await add(database, here, *await made(database, here))
    assert passkey.holder_id == member.id
    [left] = await present(database, member)
    assert (left.id, left.proven_at) == (here.id, NOON + MINUTE)
    assert elsewhere.id != left.id
    async with database.transaction() as tx:
        assert await merchants.list_claimed(tx, [member.id, other.id, merchants.StaffId(new_id())]) == {member.id}
        assert await merchants.find_invited(tx, token, wall_now=NOON) is None


async def test_one_more_signs_nobody_out(database: Database, new_member: NewMember) -> None:
    member = await new_member(password="longjing-before-rain")
    here, elsewhere = [await session_of(database, member.id, realm=Realm.STAFF) for _ in range(2)]
    await add(database, here, *await made(database, here))
    assert {one.id for one in await present(database, member)} == {here.id, elsewhere.id}


async def test_whose_session_ends_meanwhile_adds_nothing(database: Database, new_member: NewMember) -> None:
    """Somebody comes in by the link while another, who has tapped in, waits with an answer in hand."""
    member = await new_member()
    session = await session_of(database, member.id, realm=Realm.STAFF)
    begun, response = await made(database, session)
    hashed = await merchants.hash_password("longjing-before-rain", member)
    async with database.transaction() as tx:
        token = await merchants.invite(tx, member.id, wall_now=NOON)
    async with database.transaction() as tx:
        await merchants.redeem_invitation(tx, token, wall_now=NOON)
        adding = asyncio.create_task(add(database, session, begun, response))
        done, _ = await asyncio.wait([adding], timeout=0.3)
        assert not done, "whatever makes an account somebody's own takes its turn"
        await merchants.set_password(tx, member.id, hashed, wall_now=NOON)
        await identity.end_all_sessions(tx, Realm.STAFF, member.id, wall_now=NOON)
    with pytest.raises(SessionEnded):
        await adding
    async with database.transaction() as tx:
        assert await identity.list_passkeys(tx, Realm.STAFF, member.id) == []


async def test_of_two_who_tapped_in_one_gets_the_account(database: Database, new_member: NewMember) -> None:
    for _ in range(5):
        member = await new_member()
        sessions = [await session_of(database, member.id, realm=Realm.STAFF) for _ in range(2)]
        answers = [await made(database, session) for session in sessions]
        outcomes = await asyncio.gather(
            *(add(database, session, *answer) for session, answer in zip(sessions, answers, strict=True)),
            return_exceptions=True,
        )
        assert {type(outcome) for outcome in outcomes} == {Passkey, SessionEnded}
        assert len(await present(database, member)) == 1
