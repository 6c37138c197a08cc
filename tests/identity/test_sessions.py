"""Sessions: a token opens its own session, in its own realm, for its time."""

import asyncio
import base64
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from dewpond.identity import (
    How,
    Realm,
    Session,
    SessionEnded,
    end_all_sessions,
    end_other_sessions,
    end_session,
    ended_among,
    find_sessions,
    forget_expired,
    list_sessions,
    open_session,
    prove_session,
    touch_sessions,
)
from dewpond.kit.db import Database
from dewpond.kit.ids import new_id

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


async def sign_in(
    database: Database,
    holder: UUID,
    *,
    realm: Realm = Realm.PERSON,
    at: datetime = NOON,
    is_proven: bool = False,
    device: str = "Chrome on Android",
) -> tuple[Session, str]:
    async with database.transaction() as tx:
        return await open_session(
            tx, realm, holder, device=device, address="203.0.113.7", how=How.PASSKEY, wall_now=at, is_proven=is_proven
        )


async def find(
    database: Database, *tokens: str, realm: Realm = Realm.PERSON, at: datetime = NOON
) -> list[Session | None]:
    async with database.transaction() as tx:
        return await find_sessions(tx, tokens, realm, wall_now=at)


async def devices(database: Database, holder: UUID, realm: Realm = Realm.PERSON, at: datetime = NOON) -> list[UUID]:
    async with database.transaction() as tx:
        return [session.id for session in await list_sessions(tx, realm, holder, wall_now=at)]


# --- tokens -----------------------------------------------------------------------------------------------------------


async def test_a_token_opens_its_session(database: Database) -> None:
    session, token = await sign_in(database, new_id())
    assert await find(database, token) == [session]
    assert session.how is How.PASSKEY
    assert session.device == "Chrome on Android"


async def test_every_token_gets_its_own_answer_in_the_order_asked(database: Database) -> None:
    alice, bob = new_id(), new_id()
    one, first = await sign_in(database, alice)
    two, second = await sign_in(database, alice)
    three, third = await sign_in(database, bob)
    asked = await find(database, third, "", first, first, "nonsense", second)
    assert asked == [three, None, one, one, None, two]
    assert await find(database) == []
    assert await find(database, "", "x") == [None, None]


async def test_the_table_cannot_be_used_to_sign_in(database: Database) -> None:
    """Whoever reads it has the holder, the session and a digest; none of them is the secret."""
    session, token = await sign_in(database, new_id())
    async with database.transaction() as tx:
        row = await tx.connection.fetchrow("select * from identity.sessions where id = $1", session.id)
    secret = base64.urlsafe_b64decode(token + "==")[32:]
    assert len(secret) == 32
    assert secret not in bytes(row["secret_hash"])
    assert token[43:] not in str(dict(row))
    made_up = base64.urlsafe_b64encode(session.holder_id.bytes + session.id.bytes + row["secret_hash"])
    assert await find(database, made_up.rstrip(b"=").decode(), token) == [None, session]


@pytest.mark.parametrize(
    ("_case", "bend"),
    [
        ("empty", lambda token: ""),
        ("cut short", lambda token: token[:-1]),
        ("too long", lambda token: token + "A"),
        ("padded", lambda token: token + "=="),
        ("another secret", lambda token: token[:-10] + ("A" * 10)),
        ("another letter in the holder", lambda token: ("B" if token[0] == "A" else "A") + token[1:]),
        ("not base64", lambda token: "!" * 86),
        ("not ASCII", lambda token: "é" * 86),
        ("padding in the middle", lambda token: token[:40] + "==" + token[42:]),
        ("spaces", lambda token: " " + token[1:]),
        ("a null", lambda token: token[:-1] + "\0"),
    ],
)
async def test_a_bent_token_opens_nothing(database: Database, _case: str, bend: Callable[[str], str]) -> None:
    session, token = await sign_in(database, new_id())
    assert await find(database, bend(token), token) == [None, session]


async def test_one_holders_secret_opens_no_other_session(database: Database) -> None:
    """Asked together with the right one, so that the answers could be mixed up."""
    alice, bob = new_id(), new_id()
    mine, my_token = await sign_in(database, alice)
    _, other_token = await sign_in(database, bob)
    crossed = my_token[:42] + other_token[42:]
    assert await find(database, crossed, my_token, crossed) == [None, mine, None]


async def test_a_session_is_worth_nothing_in_the_other_realm(database: Database) -> None:
    holder = new_id()
    person, token = await sign_in(database, holder)
    staff, staff_token = await sign_in(database, holder, realm=Realm.STAFF)
    assert await find(database, token, staff_token) == [person, None]
    assert await find(database, token, staff_token, realm=Realm.STAFF) == [None, staff]
    assert await devices(database, holder) == [person.id]
    assert await devices(database, holder, Realm.STAFF) == [staff.id]


async def test_tokens_and_ids_are_new_each_time(database: Database) -> None:
    holder = new_id()
    opened = [await sign_in(database, holder) for _ in range(20)]
    assert len({token[43:] for _, token in opened}) == len({session.id for session, _ in opened}) == 20


@pytest.mark.parametrize(
    ("_case", "said", "kept"),
    [
        ("plain", "Safari on iPhone", "Safari on iPhone"),
        ("long", "x" * 1000, "x" * 64),
        ("controls", "Chrome\r\n\0\x1b[31m", "Chrome[31m"),
        ("a turned direction", "Chrome \u202eecila", "Chrome ecila"),
        ("half a character", "Chrome \ud800", "Chrome"),
        ("Chinese", "微信浏览器", "微信浏览器"),
        ("nothing", "", ""),
    ],
)
async def test_a_device_is_named_in_letters_that_show(database: Database, _case: str, said: str, kept: str) -> None:
    session, token = await sign_in(database, new_id(), device=said)
    assert session.device == kept
    assert await find(database, token) == [session]


# --- time -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("_case", "realm", "seen_after", "asked_after", "is_open"),
    [
        ("a person's last moment", Realm.PERSON, [], 90 * DAY - timedelta(microseconds=1), True),
        ("a person's end", Realm.PERSON, [], 90 * DAY, False),
        ("a person seen again", Realm.PERSON, [89 * DAY], 178 * DAY, True),
        ("a person seen for years", Realm.PERSON, [80 * DAY * n for n in range(1, 12)], 950 * DAY, True),
        ("staff's last moment", Realm.STAFF, [], 12 * HOUR - timedelta(microseconds=1), True),
        ("staff's end", Realm.STAFF, [], 12 * HOUR, False),
        ("staff seen again", Realm.STAFF, [11 * HOUR], 22 * HOUR, True),
        ("staff at work day and night", Realm.STAFF, [11 * HOUR * n for n in range(1, 16)], 7 * DAY - MINUTE, True),
        ("staff after a week", Realm.STAFF, [11 * HOUR * n for n in range(1, 16)], 7 * DAY, False),
        ("seen too late", Realm.STAFF, [13 * HOUR], 14 * HOUR, False),
    ],
)
async def test_a_session_lives_for_its_time(
    database: Database,
    _case: str,
    realm: Realm,
    seen_after: list[timedelta],
    asked_after: timedelta,
    is_open: bool,
) -> None:
    session, token = await sign_in(database, new_id(), realm=realm)
    for after in seen_after:
        async with database.transaction() as tx:
            [session] = await touch_sessions(tx, [session], NOON + after)
    (found,) = await find(database, token, realm=realm, at=NOON + asked_after)
    assert (found is not None) is is_open
    assert found in (None, session)
    listed = await devices(database, session.holder_id, realm, NOON + asked_after)
    assert listed == ([session.id] if is_open else [])
    async with database.transaction() as tx:
        ended = await ended_among(tx, realm, [(session.holder_id, session.id)], wall_now=NOON + asked_after)
    assert ended == (set() if is_open else {session.id})


async def test_of_many_sessions_those_come_back_that_are_no_more(database: Database) -> None:
    holder = new_id()
    stays, ends = [(await sign_in(database, holder, realm=Realm.STAFF))[0] for _ in range(2)]
    person, _ = await sign_in(database, holder)
    asked = {(holder, one.id) for one in (stays, ends, person)} | {(new_id(), stays.id), (holder, new_id())}
    async with database.transaction() as tx:
        await end_session(tx, Realm.STAFF, holder, ends.id, wall_now=NOON)
        assert await ended_among(tx, Realm.STAFF, [(holder, stays.id)], wall_now=NOON) == set()
        assert await ended_among(tx, Realm.STAFF, [(holder, ends.id), (holder, stays.id)], wall_now=NOON) == {ends.id}
        assert await ended_among(tx, Realm.STAFF, asked, wall_now=NOON) == {one for _, one in asked}
        assert await ended_among(tx, Realm.STAFF, [], wall_now=NOON) == set()


async def test_being_seen_is_written_down_every_five_minutes(database: Database) -> None:
    session, token = await sign_in(database, new_id())
    async with database.transaction() as tx:
        assert await touch_sessions(tx, [session], NOON + 5 * MINUTE - timedelta(seconds=1)) == [session]
        [seen] = await touch_sessions(tx, [session], NOON + 6 * MINUTE)
    assert seen.seen_at == NOON + 6 * MINUTE
    assert await find(database, token) == [seen]
    async with database.transaction() as tx:  # a request that began earlier comes later
        assert await touch_sessions(tx, [session], NOON + 5 * MINUTE) == [session]
    assert await find(database, token) == [seen]


async def test_many_are_seen_at_once_each_with_its_own_end(database: Database) -> None:
    signed_in = [await sign_in(database, new_id(), realm=realm) for realm in (Realm.PERSON, Realm.STAFF, Realm.PERSON)]
    sessions = [session for session, _ in signed_in]
    async with database.transaction() as tx:
        await end_session(tx, Realm.PERSON, sessions[2].holder_id, sessions[2].id, wall_now=NOON + MINUTE)
        seen = await touch_sessions(tx, [*sessions, sessions[0]], NOON + HOUR)
    assert [one.seen_at - NOON for one in seen] == [HOUR, HOUR, timedelta(0), HOUR]
    assert [one.expires_at - NOON for one in seen[:2]] == [HOUR + 90 * DAY, 13 * HOUR]
    assert await find(database, signed_in[0][1], at=NOON + HOUR) == [seen[0]]


@pytest.mark.parametrize(
    ("_case", "is_proven", "after", "is_fresh"),
    [
        ("proved at the door", True, timedelta(0), True),
        ("proved a moment ago", True, 5 * MINUTE - timedelta(microseconds=1), True),
        ("proved five minutes ago", True, 5 * MINUTE, False),
        ("never proved", False, timedelta(0), False),
    ],
)
async def test_a_proof_is_fresh_for_five_minutes(
    database: Database, _case: str, is_proven: bool, after: timedelta, is_fresh: bool
) -> None:
    session, _ = await sign_in(database, new_id(), is_proven=is_proven)
    assert session.is_fresh(NOON + after) is is_fresh


async def test_a_proof_makes_fresh_again(database: Database) -> None:
    session, token = await sign_in(database, new_id())
    async with database.transaction() as tx:
        proven = await prove_session(tx, session, NOON + HOUR)
    assert proven.is_fresh(NOON + HOUR + MINUTE)
    assert await find(database, token, at=NOON + HOUR) == [proven]


# --- ending -----------------------------------------------------------------------------------------------------------


async def test_one_device_is_signed_out_and_no_other(database: Database) -> None:
    alice = new_id()
    lost, lost_token = await sign_in(database, alice, at=NOON - MINUTE)
    kept, kept_token = await sign_in(database, alice)
    assert await devices(database, alice) == [kept.id, lost.id]
    async with database.transaction() as tx:
        assert await end_session(tx, Realm.PERSON, alice, lost.id, wall_now=NOON)
        assert not await end_session(tx, Realm.PERSON, alice, lost.id, wall_now=NOON)
    assert await find(database, lost_token, kept_token) == [None, kept]
    assert await devices(database, alice) == [kept.id]


@pytest.mark.parametrize("_case", ["another holder", "another realm", "no such session"])
async def test_nobody_signs_out_what_is_not_theirs(database: Database, _case: str) -> None:
    alice = new_id()
    session, token = await sign_in(database, alice)
    realm, holder, session_id = {
        "another holder": (Realm.PERSON, new_id(), session.id),
        "another realm": (Realm.STAFF, alice, session.id),
        "no such session": (Realm.PERSON, alice, new_id()),
    }[_case]
    async with database.transaction() as tx:
        assert not await end_session(tx, realm, holder, session_id, wall_now=NOON)
    assert await find(database, token) == [session]


async def test_what_has_ended_stays_ended(database: Database) -> None:
    """Also for a machine whose clock is behind, and for a request that had found it before."""
    session, token = await sign_in(database, new_id())
    async with database.transaction() as tx:
        await end_session(tx, Realm.PERSON, session.holder_id, session.id, wall_now=NOON + HOUR)
    for at in (NOON, NOON + HOUR, NOON + DAY):
        assert await find(database, token, at=at) == [None]
    async with database.transaction() as tx:
        assert await touch_sessions(tx, [session], NOON + 10 * MINUTE) == [session]
    with pytest.raises(SessionEnded):
        async with database.transaction() as tx:
            await prove_session(tx, session, NOON + 10 * MINUTE)
    assert await find(database, token, at=NOON + 10 * MINUTE) == [None]


async def test_all_other_devices_are_signed_out_at_once(database: Database) -> None:
    alice, bob = new_id(), new_id()
    here, _ = await sign_in(database, alice)
    for _ in range(3):
        await sign_in(database, alice)
    at_work, _ = await sign_in(database, alice, realm=Realm.STAFF)
    bobs, _ = await sign_in(database, bob)
    async with database.transaction() as tx:
        assert await end_other_sessions(tx, here, wall_now=NOON) == 3
        assert await end_other_sessions(tx, here, wall_now=NOON) == 0
    assert await devices(database, alice) == [here.id]
    assert await devices(database, alice, Realm.STAFF) == [at_work.id]
    assert await devices(database, bob) == [bobs.id]


async def test_a_holder_is_signed_out_everywhere(database: Database) -> None:
    alice = new_id()
    for _ in range(3):
        await sign_in(database, alice)
    async with database.transaction() as tx:
        assert await end_all_sessions(tx, Realm.PERSON, alice, wall_now=NOON) == 3
    assert await devices(database, alice) == []


async def test_devices_that_end_each_other_at_once_wait_for_nobody(database: Database, elsewhere: Database) -> None:
    alice = new_id()
    sessions = [(await sign_in(database, alice))[0] for _ in range(10)]

    async def end_others(pool: Database, session: Session) -> int:
        async with pool.transaction() as tx:
            return await end_other_sessions(tx, session, wall_now=NOON)

    async with asyncio.timeout(30):
        ended = await asyncio.gather(
            *(end_others((database, elsewhere)[n % 2], session) for n, session in enumerate(sessions))
        )
    assert sum(ended) >= 9
    assert len(await devices(database, alice)) <= 1


async def test_what_has_run_out_is_forgotten(database: Database) -> None:
    """The rest is not, and what was ended by hand stays until it would have run out."""
    holder = new_id()
    old = [await sign_in(database, holder, at=NOON - 90 * DAY) for _ in range(5)]
    ended, _ = await sign_in(database, holder)
    kept, token = await sign_in(database, holder)

    async def forget(most: int) -> int:
        async with database.transaction() as tx:
            return await forget_expired(tx, wall_now=NOON, most=most)

    async def rows() -> set[Any]:
        async with database.transaction() as tx:
            return {
                row["id"]
                for row in await tx.connection.fetch("select id from identity.sessions where holder_id = $1", holder)
            }

    async with database.transaction() as tx:
        await end_session(tx, Realm.PERSON, holder, ended.id, wall_now=NOON)
    while await forget(2) == 2:
        assert len(await rows()) >= 2
    assert await rows() == {ended.id, kept.id}
    assert not await rows() & {session.id for session, _ in old}
    assert await find(database, token) == [kept]
    assert await forget(100) == 0
