"""Passwords: a try is spent before it is compared, and nobody learns which names there are."""

import asyncio
import threading
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from datetime import timedelta

import pytest
from argon2 import PasswordHasher

from dewpond import merchants
from dewpond.kit.db import Database
from dewpond.kit.failures import Busy, Failure
from dewpond.kit.ids import new_id
from dewpond.kit.secrets import MasterKeys
from dewpond.merchants import (
    PasswordHash,
    PasswordWeak,
    SignInLocked,
    SignInRefused,
    StaffId,
    StaffMember,
    StaffMemberNotFound,
    passwords,
)
from dewpond.merchants.passwords import HASHER, NOBODYS_HASH, TRIES

from .conftest import NOON, NewMember, set_password

PASSWORD, WRONG = "longjing-before-rain", "longjing-after-rain"
MINUTE = timedelta(minutes=1)

KEYS = MasterKeys({"k1": b"\x01" * 32})


@pytest.fixture
async def elsewhere(database: Database) -> AsyncIterator[Database]:
    """A second pool stands for a second process: what is counted is in the database."""
    elsewhere = await Database.open(database.dsn, size=5, name="elsewhere")
    yield elsewhere
    await elsewhere.close()


async def sign_in(
    database: Database, name: str, password: str = PASSWORD, *, minutes: int = 0
) -> StaffMember | Failure:
    try:
        return await merchants.check_password(database, name, password, secrets=KEYS, wall_now=NOON + minutes * MINUTE)
    except (SignInRefused, SignInLocked) as refused:
        return refused


async def test_the_right_password_says_who_it_is(database: Database, new_member: NewMember) -> None:
    member = await new_member(password=PASSWORD)
    assert await sign_in(database, member.sign_in_name) == member
    assert await sign_in(database, f" {member.sign_in_name.upper()} ") == member
    assert isinstance(await sign_in(database, member.sign_in_name, WRONG), SignInRefused)


async def test_letters_are_the_same_however_a_keyboard_puts_them_together(
    database: Database, new_member: NewMember
) -> None:
    member = await new_member(password="cafe\u0301 au lait, 3 \uff11")
    assert await sign_in(database, member.sign_in_name, "caf\u00e9 au lait, 3 1") == member


async def test_only_a_hash_is_kept(database: Database, new_member: NewMember) -> None:
    member = await new_member(password=PASSWORD)
    async with database.transaction() as tx:
        kept = await tx.connection.fetchval("select hash from merchants.passwords where staff_id = $1", member.id)
        assert await merchants.has_password(tx, member.id)
        assert not await merchants.has_password(tx, (await new_member()).id)
    assert kept.startswith("$argon2id$")
    assert PASSWORD not in kept


@pytest.mark.parametrize(
    ("_case", "password"),
    [
        ("nothing", ""),
        ("nine characters", "dragonwel"),
        ("endless", "dragon well " * 17),
        ("one letter again and again", "aaaaaaaaaaaa"),
        ("the sign-in name", "tea-house-owner"),
        ("the sign-in name and a year", "Tea-House-Owner2026"),
        ("the name", "LI WEI of the tea house"),
        ("ten that shrink to nine when they are put together", "dragonwe\u0301l"),
    ],
)
async def test_a_weak_password_is_refused(database: Database, new_member: NewMember, _case: str, password: str) -> None:
    member = await new_member("Li Wei of the Tea House", sign_in_name=f"tea-house-owner@{new_id()}")
    with pytest.raises(PasswordWeak):
        await merchants.hash_password(password, member)
    async with database.transaction() as tx:
        assert not await merchants.has_password(tx, member.id)


@pytest.mark.parametrize(
    "password", ["dragonwell", "龙井茶馆二〇二六年春天", "correct horse battery staple", "p" * 96 + "qrst"]
)
async def test_a_strong_one_is_taken(database: Database, new_member: NewMember, password: str) -> None:
    member = await new_member(password=password)
    assert await sign_in(database, member.sign_in_name, password) == member


async def test_a_new_password_takes_the_place_of_the_old_one(database: Database, new_member: NewMember) -> None:
    member = await new_member(password=PASSWORD)
    await set_password(database, member, "white-peony-2026")
    assert isinstance(await sign_in(database, member.sign_in_name), SignInRefused)
    assert await sign_in(database, member.sign_in_name, "white-peony-2026") == member


async def test_ten_wrong_ones_lock_for_a_quarter_of_an_hour(database: Database, new_member: NewMember) -> None:
    member = await new_member(password=PASSWORD)
    outcomes = [await sign_in(database, member.sign_in_name, WRONG) for _ in range(TRIES + 2)]
    assert [type(outcome) for outcome in outcomes] == [SignInRefused] * (TRIES - 1) + [SignInLocked] * 3
    assert [one.facts for one in outcomes[-3:] if isinstance(one, Failure)] == [
        {"until": (NOON + 15 * MINUTE).isoformat(timespec="seconds")}
    ] * 3
    assert isinstance(await sign_in(database, member.sign_in_name, minutes=14), SignInLocked), "the right one as well"
    assert isinstance(await sign_in(database, member.sign_in_name, WRONG, minutes=15), SignInRefused)
    assert await sign_in(database, member.sign_in_name, minutes=15) == member


async def test_the_right_one_clears_the_count(database: Database, new_member: NewMember) -> None:
    member = await new_member(password=PASSWORD)
    for _ in range(2):
        for _ in range(TRIES - 1):
            assert isinstance(await sign_in(database, member.sign_in_name, WRONG), SignInRefused)
        assert await sign_in(database, member.sign_in_name) == member, "also as the tenth"


async def test_no_more_than_ten_are_compared_however_many_come_at_once(
    database: Database, elsewhere: Database, new_member: NewMember
) -> None:
    member = await new_member(password=PASSWORD)
    outcomes = await asyncio.gather(
        *(sign_in(place, member.sign_in_name, WRONG) for _ in range(20) for place in (database, elsewhere)),
    )
    assert Counter(type(outcome) for outcome in outcomes) == {SignInRefused: TRIES - 1, SignInLocked: 31}
    assert isinstance(await sign_in(elsewhere, member.sign_in_name), SignInLocked)


async def test_of_many_guesses_at_once_few_are_compared_and_the_right_one_may_come_too_late(
    database: Database, elsewhere: Database, reckoning: "Reckoning", new_member: NewMember
) -> None:
    """However they fall: what is not compared opens nothing, and no more than ten are compared before the lock."""
    member = await new_member(password=PASSWORD)
    guesses = [WRONG] * 30 + [PASSWORD]
    outcomes = await asyncio.gather(
        *(sign_in((database, elsewhere)[place % 2], member.sign_in_name, guess) for place, guess in enumerate(guesses))
    )
    is_in = outcomes[-1] == member
    assert len(reckoning.compared) <= TRIES * (2 if is_in else 1), "who comes in gives the others their tries back"
    assert is_in == (PASSWORD in reckoning.compared)
    assert all(isinstance(one, SignInRefused | SignInLocked) for one in outcomes[:-1])


async def test_a_name_nobody_has_is_answered_as_one_that_somebody_has(
    database: Database, new_member: NewMember
) -> None:
    known = (await new_member(password=PASSWORD)).sign_in_name
    bare = (await new_member()).sign_in_name
    gone = await new_member(password=PASSWORD)
    async with database.transaction() as tx:
        await merchants.end_staff_member(tx, gone.id, wall_now=NOON)
    told = {}
    for name in (known, bare, gone.sign_in_name, "nobody-at-all", "no name \x00 \ud800", "x" * 5000):
        outcomes = [await sign_in(database, name, WRONG) for _ in range(TRIES + 1)]
        told[name] = [(type(one), one.facts) for one in outcomes if isinstance(one, Failure)]
    assert all(each == told[known] for each in told.values())


async def test_where_there_is_nothing_to_compare_with_the_work_is_the_same(
    database: Database, monkeypatch: pytest.MonkeyPatch, new_member: NewMember
) -> None:
    """Each sign-in reckons one hash of the same cost, whether or not somebody is called so."""
    reckoned: list[str] = []
    verify = PasswordHasher.verify

    def counted(self: PasswordHasher, known: str | bytes, password: str | bytes) -> bool:
        reckoned.append(str(known).rpartition("$")[0].rpartition("$")[0])
        return verify(self, known, password)

    monkeypatch.setattr(PasswordHasher, "verify", counted)
    for name in ((await new_member(password=PASSWORD)).sign_in_name, (await new_member()).sign_in_name, "nobody"):
        await sign_in(database, name, WRONG)
        await sign_in(database, name, WRONG * 20)
    assert len(reckoned) == 6
    assert len(set(reckoned)) == 1
    assert not HASHER.check_needs_rehash(NOBODYS_HASH)


async def test_an_older_hash_is_renewed_by_the_next_sign_in(database: Database, new_member: NewMember) -> None:
    member = await new_member(password=PASSWORD)
    older = PasswordHasher(time_cost=1, memory_cost=8192, parallelism=1).hash(PASSWORD)
    async with database.transaction() as tx:
        await tx.connection.execute("update merchants.passwords set hash = $1 where staff_id = $2", older, member.id)
    assert await sign_in(database, member.sign_in_name) == member
    async with database.transaction() as tx:
        kept = await tx.connection.fetchval("select hash from merchants.passwords where staff_id = $1", member.id)
    assert not HASHER.check_needs_rehash(kept)
    assert await sign_in(database, member.sign_in_name) == member


async def test_nobody_and_whose_time_has_ended_get_no_password(database: Database, new_member: NewMember) -> None:
    gone = await new_member(password=PASSWORD)
    hashed = await merchants.hash_password(PASSWORD, gone)
    async with database.transaction() as tx:
        await merchants.end_staff_member(tx, gone.id, wall_now=NOON)
        for staff_id in (gone.id, StaffId(new_id())):
            with pytest.raises(StaffMemberNotFound):
                await merchants.set_password(tx, staff_id, hashed, wall_now=NOON)
    assert isinstance(await sign_in(database, gone.sign_in_name), SignInRefused)


async def test_a_try_cannot_be_taken_back_by_its_caller(database: Database, new_member: NewMember) -> None:
    member = await new_member(password=PASSWORD)
    async with database.transaction():
        with pytest.raises(AssertionError):
            await sign_in(database, member.sign_in_name)


# --- while passwords are reckoned -------------------------------------------------------------------------------------


@dataclass
class Reckoning:
    """What is reckoned, and a gate before it."""

    compared: list[str] = field(default_factory=list)
    gate: threading.Event = field(default_factory=threading.Event)


@pytest.fixture
async def small(database: Database) -> AsyncIterator[Database]:
    """A pool of one connection."""
    small = await Database.open(database.dsn, size=1, name="small")
    yield small
    await small.close()


@pytest.fixture
def reckoning(monkeypatch: pytest.MonkeyPatch) -> Iterator[Reckoning]:
    """Lets each comparison and each new hash wait at a gate, which is open at first."""
    told = Reckoning()
    told.gate.set()
    verify, make = PasswordHasher.verify, PasswordHasher.hash

    def compare(self: PasswordHasher, known: str | bytes, password: bytes) -> bool:
        told.compared.append(password.decode())
        told.gate.wait(30)
        return verify(self, known, password)

    def reckon(self: PasswordHasher, password: str | bytes) -> str:
        told.gate.wait(30)
        return make(self, password)

    monkeypatch.setattr(PasswordHasher, "verify", compare)
    monkeypatch.setattr(PasswordHasher, "hash", reckon)
    yield told
    told.gate.set()


async def until_compared(reckoning: Reckoning, count: int) -> None:
    async with asyncio.timeout(30):
        while len(reckoning.compared) < count:
            await asyncio.sleep(0.01)


async def test_whoever_stands_in_line_holds_no_connection(
    small: Database, reckoning: Reckoning, new_member: NewMember
) -> None:
    """More than the threads and more than the connections: everybody else is served meanwhile."""

    async def spent(db: Database) -> int:
        async with db.transaction() as tx:
            return int(await tx.connection.fetchval("select coalesce(sum(tries), 0) from merchants.sign_in_tries"))

    members = [await new_member(password=PASSWORD) for _ in range(5)]
    before = await spent(small)
    reckoning.gate.clear()
    waiting = [asyncio.create_task(sign_in(small, one.sign_in_name)) for one in members]
    waiting.append(asyncio.create_task(merchants.hash_password(PASSWORD, members[0])))
    async with asyncio.timeout(30):
        while await spent(small) < before + len(members):
            await asyncio.sleep(0.01)
    assert len(reckoning.compared) < len(members), "each try is spent before it is compared"
    assert not any(task.done() for task in waiting)
    reckoning.gate.set()
    assert (await asyncio.gather(*waiting))[:-1] == members


async def test_a_password_that_is_replaced_while_it_is_compared_opens_nothing(
    database: Database, reckoning: Reckoning, new_member: NewMember
) -> None:
    member = await new_member(password=PASSWORD)
    hashed = await merchants.hash_password("white-peony-2026", member)
    reckoning.gate.clear()
    trying = asyncio.create_task(sign_in(database, member.sign_in_name))
    await until_compared(reckoning, 1)
    async with database.transaction() as tx:
        await merchants.set_password(tx, member.id, hashed, wall_now=NOON + MINUTE)
    reckoning.gate.set()
    assert isinstance(await trying, SignInRefused)
    assert await sign_in(database, member.sign_in_name, "white-peony-2026") == member


async def test_two_who_come_in_by_an_older_hash_at_once_both_do(
    database: Database, reckoning: Reckoning, new_member: NewMember
) -> None:
    member = await new_member(password=PASSWORD)
    older = PasswordHasher(time_cost=1, memory_cost=8192, parallelism=1).hash(PASSWORD)
    async with database.transaction() as tx:
        await tx.connection.execute("update merchants.passwords set hash = $1 where staff_id = $2", older, member.id)
    reckoning.gate.clear()
    both = [asyncio.create_task(sign_in(database, member.sign_in_name)) for _ in range(2)]
    await until_compared(reckoning, 2)
    reckoning.gate.set()
    assert await asyncio.gather(*both) == [member, member]


async def test_passwords_are_not_reckoned_in_a_transaction_nor_kept_as_they_are(
    database: Database, new_member: NewMember
) -> None:
    member = await new_member()
    async with database.transaction() as tx:
        with pytest.raises(AssertionError):
            await merchants.hash_password(PASSWORD, member)
        with pytest.raises(ValueError, match="hashed before"):
            await merchants.set_password(tx, member.id, PasswordHash(PASSWORD), wall_now=NOON)


async def test_a_long_line_turns_the_next_away_before_a_try_is_spent(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def spent() -> int:
        async with database.transaction() as tx:
            return int(await tx.connection.fetchval("select coalesce(sum(tries), 0) from merchants.sign_in_tries"))

    async def attempt(n: int) -> object:
        try:
            return await merchants.check_password(database, f"crowd{n}", "wrong", secrets=KEYS, wall_now=NOON)
        except (Busy, SignInRefused) as refusal:
            return type(refusal)

    monkeypatch.setattr(passwords, "MOST_WAITING", 0)
    before = await spent()
    assert [await attempt(n) for n in range(3)] == [Busy] * 3
    assert await spent() == before
    monkeypatch.setattr(passwords, "MOST_WAITING", 3)
    outcomes = await asyncio.gather(*(attempt(n) for n in range(12)))
    assert set(outcomes) <= {Busy, SignInRefused}
    assert await spent() == before + outcomes.count(SignInRefused)
    assert await attempt(99) is SignInRefused  # the line is gone again
