"""The payment PIN: five tries, counted before they are compared, whoever asks and from wherever."""

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from dewpond.identity import (
    PersonId,
    PinInvalid,
    PinLocked,
    PinNotSet,
    PinTries,
    PinWrong,
    create_person,
    has_pin,
    set_pin,
)
from dewpond.kit.db import Database
from dewpond.kit.failures import Failure
from dewpond.kit.ids import new_id
from dewpond.kit.secrets import MasterKeys, MasterKeyUnknown

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
DAY = timedelta(hours=24)
PIN, WRONG = "123456", "654321"

ONE = MasterKeys({"k1": b"\x01" * 32})
TWO = MasterKeys({"k1": b"\x01" * 32, "k2": b"\x02" * 32})

NewPayer = Callable[..., Awaitable[PersonId]]


@pytest.fixture
def new_payer(database: Database) -> NewPayer:
    async def make(pin: str | None = PIN) -> PersonId:
        async with database.transaction() as tx:
            person = await create_person(tx, "Alice", wall_now=NOON)
            if pin is not None:
                await set_pin(tx, person.id, pin, secrets=ONE, wall_now=NOON)
        return person.id

    return make


@pytest.fixture
async def elsewhere(dsn: str) -> AsyncIterator[Database]:
    """Another process's pool."""
    database = await Database.open(dsn, size=5, name="elsewhere")
    yield database
    await database.close()


async def spend(
    database: Database,
    payer: PersonId,
    pin: str,
    at: datetime = NOON,
    *,
    secrets: MasterKeys = ONE,
    try_id: UUID | None = None,
) -> Failure | None:
    """One try in a transaction of its own, as a confirmation makes it."""
    async with database.transaction() as tx:
        tries = await PinTries.lock(tx, [payer], secrets=secrets)
        refusal = tries.spend(payer, pin, at, try_id=try_id or new_id())
        await tries.save(tx)
    return refusal


async def row_of(database: Database, payer: PersonId) -> tuple[int, datetime | None]:
    async with database.transaction() as tx:
        row = await tx.connection.fetchrow("select tries, locked_until from identity.pins where person_id = $1", payer)
    return row["tries"], row["locked_until"]


# --- setting ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "pin", ["", "12345", "1234567", "12345a", "１２３４５６", "12 456", "-12345", "123456\n", "¹²³⁴⁵⁶"]
)
async def test_a_pin_is_six_digits(database: Database, new_payer: NewPayer, pin: str) -> None:
    payer = await new_payer(pin=None)
    async with database.transaction() as tx:
        with pytest.raises(PinInvalid):
            await set_pin(tx, payer, pin, secrets=ONE, wall_now=NOON)
    assert isinstance(await spend(database, payer, pin), PinNotSet)


async def test_leading_zeros_are_digits_too(database: Database, new_payer: NewPayer) -> None:
    payer = await new_payer("000001")
    assert isinstance(await spend(database, payer, "1"), PinWrong)
    assert await spend(database, payer, "000001") is None


async def test_a_new_pin_replaces_the_old_one_and_its_wrong_tries(database: Database, new_payer: NewPayer) -> None:
    payer = await new_payer()
    for _ in range(5):
        await spend(database, payer, WRONG)
    async with database.transaction() as tx:
        await set_pin(tx, payer, "111111", secrets=ONE, wall_now=NOON)
    assert await row_of(database, payer) == (0, None)
    assert isinstance(await spend(database, payer, PIN), PinWrong)
    assert await spend(database, payer, "111111") is None


async def test_the_database_alone_does_not_tell_a_pin(database: Database, new_payer: NewPayer) -> None:
    """Same PIN, other salt, other value; and under another key no digits fit at all."""
    alice, bob = await new_payer(), await new_payer()
    async with database.transaction() as tx:
        rows = await tx.connection.fetch(
            "select salt, value from identity.pins where person_id = any($1::uuid[])", [alice, bob]
        )
    assert len({row["salt"] for row in rows}) == len({row["value"] for row in rows}) == 2
    assert all(PIN.encode() not in row["value"] for row in rows)
    stranger = MasterKeys({"k1": b"\x09" * 32})
    assert isinstance(await spend(database, alice, PIN, secrets=stranger), PinWrong)


async def test_a_pin_set_before_the_master_key_was_rotated_still_opens(database: Database, new_payer: NewPayer) -> None:
    payer = await new_payer()
    assert await spend(database, payer, PIN, secrets=TWO) is None
    async with database.transaction() as tx:
        await set_pin(tx, payer, PIN, secrets=TWO, wall_now=NOON)
    assert await spend(database, payer, PIN, secrets=TWO) is None
    with pytest.raises(MasterKeyUnknown):
        await spend(database, payer, PIN, secrets=ONE)


async def test_no_log_holds_a_pin(database: Database, new_payer: NewPayer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    payer = await new_payer()
    refusal = await spend(database, payer, WRONG)
    assert WRONG not in caplog.text
    assert WRONG not in f"{refusal!r} {refusal}"


# --- trying -----------------------------------------------------------------------------------------------------------


async def test_five_wrong_tries_lock_and_the_right_one_then_comes_too_late(
    database: Database, new_payer: NewPayer
) -> None:
    payer = await new_payer()
    for left in (4, 3, 2, 1):
        refusal = await spend(database, payer, WRONG)
        assert isinstance(refusal, PinWrong)
        assert refusal.facts == {"tries_left": left}
    assert isinstance(await spend(database, payer, WRONG), PinLocked)
    assert isinstance(await spend(database, payer, PIN), PinLocked)
    assert await row_of(database, payer) == (5, NOON + DAY)


async def test_the_right_pin_clears_earlier_wrong_ones(database: Database, new_payer: NewPayer) -> None:
    payer = await new_payer()
    for _ in range(3):
        for _ in range(4):
            assert isinstance(await spend(database, payer, WRONG), PinWrong)
        assert await spend(database, payer, PIN) is None
        assert await row_of(database, payer) == (0, None)


async def test_the_fifth_try_may_be_the_right_one(database: Database, new_payer: NewPayer) -> None:
    payer = await new_payer()
    for _ in range(4):
        await spend(database, payer, WRONG)
    assert await spend(database, payer, PIN) is None


@pytest.mark.parametrize(
    ("_case", "later", "pin", "outcome"),
    [
        ("a moment before its end", DAY - timedelta(microseconds=1), PIN, PinLocked),
        ("at its end, the right one", DAY, PIN, None),
        ("at its end, a wrong one", DAY, WRONG, PinWrong),
        ("long after", 400 * DAY, PIN, None),
    ],
)
async def test_the_lock_out_ends_by_the_wall_clock(
    database: Database, new_payer: NewPayer, _case: str, later: timedelta, pin: str, outcome: type[Failure] | None
) -> None:
    payer = await new_payer()
    for _ in range(5):
        await spend(database, payer, WRONG)
    refusal = await spend(database, payer, pin, NOON + later)
    assert type(refusal) is (outcome or type(None))


async def test_after_the_lock_out_there_are_five_tries_again(database: Database, new_payer: NewPayer) -> None:
    payer = await new_payer()
    for _ in range(5):
        await spend(database, payer, WRONG)
    kinds = [type(await spend(database, payer, WRONG, NOON + DAY)) for _ in range(6)]
    assert kinds == [PinWrong] * 4 + [PinLocked] * 2
    assert await row_of(database, payer) == (5, NOON + 2 * DAY)


async def test_tries_while_locked_do_not_prolong_the_lock(database: Database, new_payer: NewPayer) -> None:
    payer = await new_payer()
    for _ in range(5):
        await spend(database, payer, WRONG)
    for hour in range(24):
        assert isinstance(await spend(database, payer, WRONG, NOON + timedelta(hours=hour)), PinLocked)
    assert await row_of(database, payer) == (5, NOON + DAY)


async def test_a_person_without_a_pin_has_no_tries(database: Database, new_payer: NewPayer) -> None:
    payer = await new_payer(pin=None)
    for _ in range(10):
        assert isinstance(await spend(database, payer, PIN), PinNotSet)


# --- at once ----------------------------------------------------------------------------------------------------------


async def test_at_once_from_two_processes_no_more_than_five_are_compared(
    database: Database, elsewhere: Database, new_payer: NewPayer
) -> None:
    """A million guesses at once are still five."""
    payer = await new_payer()
    refusals = await asyncio.gather(*(spend((database, elsewhere)[n % 2], payer, f"{n:06}") for n in range(60)))
    # four times wrong, once wrong and locked; everybody after that was not even looked at
    assert Counter(type(refusal) for refusal in refusals) == {PinWrong: 4, PinLocked: 56}
    left = sorted(refusal.facts["tries_left"] for refusal in refusals if isinstance(refusal, PinWrong))
    assert left == [1, 2, 3, 4]
    assert await row_of(database, payer) == (5, NOON + DAY)
    assert isinstance(await spend(elsewhere, payer, PIN), PinLocked)


async def test_the_right_guess_behind_five_wrong_ones_is_not_compared(
    database: Database, elsewhere: Database, new_payer: NewPayer
) -> None:
    for _ in range(10):
        payer = await new_payer()
        guesses = [WRONG] * 12 + [PIN]
        outcomes = await asyncio.gather(
            *(spend((database, elsewhere)[n % 2], payer, guess) for n, guess in enumerate(guesses))
        )
        wrong = sum(isinstance(outcome, PinWrong) for outcome in outcomes)
        # the right one cleared the count if it was among the first five, and counted for nothing if it was not
        assert wrong <= (8 if outcomes[-1] is None else 4)


async def test_a_batch_counts_every_try_of_one_person(database: Database, new_payer: NewPayer) -> None:
    alice, bob, carol = await new_payer(), await new_payer(), await new_payer(pin=None)
    async with database.transaction() as tx:
        tries = await PinTries.lock(tx, [alice, bob, alice, carol], secrets=ONE)
        outcomes = [tries.spend(alice, WRONG, NOON, try_id=new_id()) for _ in range(7)]
        outcomes += [tries.spend(bob, PIN, NOON, try_id=new_id()), tries.spend(carol, PIN, NOON, try_id=new_id())]
        await tries.save(tx)
    assert [type(outcome) for outcome in outcomes] == [PinWrong] * 4 + [PinLocked] * 3 + [type(None), PinNotSet]
    assert await row_of(database, alice) == (5, NOON + DAY)
    assert await row_of(database, bob) == (0, None)


async def test_people_locked_in_any_order_do_not_wait_for_each_other(
    database: Database, elsewhere: Database, new_payer: NewPayer
) -> None:
    payers = [await new_payer() for _ in range(20)]

    async def pay(pool: Database, order: list[PersonId]) -> None:
        async with pool.transaction() as tx:
            tries = await PinTries.lock(tx, order, secrets=ONE)
            for payer in order:
                assert tries.spend(payer, PIN, NOON, try_id=new_id()) is None
            await tries.save(tx)

    async with asyncio.timeout(120):
        await asyncio.gather(
            *(pay((database, elsewhere)[n % 2], payers[n:] + payers[:n]) for n in range(20)),
            *(pay((database, elsewhere)[n % 2], payers[::-1]) for n in range(20)),
        )


async def test_another_persons_wrong_tries_are_their_own(database: Database, new_payer: NewPayer) -> None:
    alice, bob = await new_payer(), await new_payer()
    for _ in range(5):
        await spend(database, alice, WRONG)
    assert await spend(database, bob, PIN) is None


async def test_the_same_yes_asked_again_spends_one_try(database: Database, new_payer: NewPayer) -> None:
    """As a batch does whose commit was lost: the person tapped once."""
    payer, tap = await new_payer(), new_id()
    for _ in range(3):
        refusal = await spend(database, payer, WRONG, try_id=tap)
        assert isinstance(refusal, PinWrong)
        assert refusal.facts["tries_left"] == 4
    assert await row_of(database, payer) == (1, None)
    assert isinstance(await spend(database, payer, WRONG), PinWrong)
    assert await row_of(database, payer) == (2, None)


async def test_it_is_known_whether_there_is_a_pin(database: Database, new_payer: NewPayer) -> None:
    """Also one that is locked."""
    with_one, without = await new_payer(), await new_payer(pin=None)
    for _ in range(5):
        await spend(database, with_one, WRONG)
    async with database.transaction() as tx:
        assert await has_pin(tx, with_one)
        assert not await has_pin(tx, without)
        assert not await has_pin(tx, PersonId(new_id()))
