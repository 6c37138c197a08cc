"""Holds: reserved money is not available, and ends posted, voided or expired."""

from datetime import UTC, datetime, timedelta

import pytest

from dewpond import ledger
from dewpond.kit.ids import new_id
from dewpond.kit.money import CNY, Currency, Money
from dewpond.ledger import AccountId, EntryKey, HoldStatus, NewHold, Outcome

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
LATER = NOON + timedelta(hours=1)


class Desk:
    """What is done with holds on one book, each verb a transaction of its own."""

    def __init__(self, books) -> None:
        self.books = books

    def ask(self, account_id, minor=100, *, key=None, currency=CNY, expires_at=None) -> NewHold:
        key = key or self.books.key()
        amount = Money(minor, currency)
        return NewHold(key=key, account_id=account_id, amount=amount, occurred_at=NOON, expires_at=expires_at)

    async def hold(self, *holds: NewHold) -> list[Outcome]:
        async with self.books.database.transaction() as tx:
            return await ledger.hold(tx, holds, wall_now=NOON)

    async def post(self, entry, hold_key) -> Outcome:
        async with self.books.database.transaction() as tx:
            return await ledger.post_hold(tx, entry, hold_key, wall_now=NOON)

    async def void(self, hold_key) -> bool:
        async with self.books.database.transaction() as tx:
            return await ledger.void_hold(tx, hold_key, at=NOON)

    async def expire(self, now) -> int:
        async with self.books.database.transaction() as tx:
            return await ledger.expire_holds(tx, now=now)

    async def get(self, hold_key, now=NOON) -> ledger.Hold:
        async with self.books.database.transaction() as tx:
            return await ledger.get_hold(tx, hold_key, now=now)


@pytest.fixture
def desk(books) -> Desk:
    return Desk(books)


async def test_held_money_is_there_but_not_available(desk, books):
    alice, shop = await books.wallet(1000), await books.shop()
    asked = desk.ask(alice, 700)
    assert await desk.hold(asked) == [Outcome.POSTED]
    assert await books.posted(alice) == [1000]
    assert await books.available(alice) == 300
    for post in (books.post, books.post_in_batch):
        assert await post(books.entry((alice, shop, 301))) in (Outcome.INSUFFICIENT, [Outcome.INSUFFICIENT])
    assert await desk.hold(desk.ask(alice, 301)) == [Outcome.INSUFFICIENT]
    assert await books.post(books.entry((alice, shop, 300))) == [Outcome.POSTED]


@pytest.mark.parametrize(("_case", "taken"), [("the whole", 700), ("a part", 250)])
async def test_what_is_not_taken_is_available_again(_case, taken, desk, books):
    alice, shop = await books.wallet(1000), await books.shop()
    asked = desk.ask(alice, 700)
    await desk.hold(asked)
    entry = books.entry((alice, shop, taken), (shop, books.fees, 1))
    assert await desk.post(entry, asked.key) is Outcome.POSTED
    assert await desk.post(entry, asked.key) is Outcome.REPEAT
    assert await books.posted(alice, shop) == [1000 - taken, taken - 1]
    assert await books.available(alice) == 1000 - taken
    hold = await desk.get(asked.key)
    assert (hold.status, hold.posted_minor, hold.entry_key) == (HoldStatus.POSTED, taken, entry.key)
    with pytest.raises(ledger.HoldEnded):
        await desk.post(books.entry((alice, shop, 1)), asked.key)
    assert await desk.void(asked.key) is False
    assert (await books.trial_balance()).is_sound


async def test_the_same_entry_without_its_hold_is_another_content(desk, books):
    alice, shop = await books.wallet(1000), await books.shop()
    asked, other = desk.ask(alice, 100), desk.ask(alice, 100)
    await desk.hold(asked, other)
    entry = books.entry((alice, shop, 100))
    assert await desk.post(entry, asked.key) is Outcome.POSTED
    assert await books.post(entry) == [Outcome.KEY_REUSED]
    assert await desk.post(entry, other.key) is Outcome.KEY_REUSED


@pytest.mark.parametrize(
    ("_case", "moves", "outcome"),
    [
        ("more than is held", lambda a, b, s: [(a, s, 101)], Outcome.INVALID),
        ("nothing of the held account", lambda a, b, s: [(b, s, 50)], Outcome.INVALID),
        ("to the held account", lambda a, b, s: [(b, a, 50)], Outcome.INVALID),
        ("the other payer has too little", lambda a, b, s: [(a, s, 100), (b, s, 301)], Outcome.INSUFFICIENT),
        ("to nobody", lambda a, b, s: [(a, AccountId(new_id()), 100)], Outcome.NO_CREDIT_ACCOUNT),
        ("both have enough", lambda a, b, s: [(a, s, 100), (b, s, 300)], Outcome.POSTED),
    ],
)
async def test_a_refused_entry_leaves_the_hold_as_it_is(_case, moves, outcome, desk, books):
    alice, bob, shop = await books.wallet(100), await books.wallet(300), await books.shop()
    asked = desk.ask(alice, 100)
    await desk.hold(asked)
    entry = books.entry(*moves(alice, bob, shop))
    assert await desk.post(entry, asked.key) is outcome
    if outcome is not Outcome.POSTED:
        assert (await desk.get(asked.key)).status is HoldStatus.PENDING
        assert await books.available(alice) == 0
        again = books.entry((alice, shop, 100), key=entry.key)
        assert await desk.post(again, asked.key) is Outcome.POSTED


@pytest.mark.parametrize(
    ("_case", "minor", "currency", "known", "outcome"),
    [
        ("nothing", 0, CNY, True, Outcome.INVALID),
        ("a negative amount", -1, CNY, True, Outcome.INVALID),
        ("more than the wire carries", 2**70, CNY, True, Outcome.INVALID),
        ("of nobody", 5, CNY, False, Outcome.NO_DEBIT_ACCOUNT),
        ("in foreign money", 5, Currency("EUR"), True, Outcome.CURRENCY_DIFFERS),
        ("one too much", 101, CNY, True, Outcome.INSUFFICIENT),
        ("all", 100, CNY, True, Outcome.POSTED),
    ],
)
async def test_asking_for_a_hold(_case, minor, currency, known, outcome, desk, books):
    account = await books.wallet(100) if known else AccountId(new_id())
    asked = desk.ask(account, minor, currency=currency)
    assert await desk.hold(asked) == [outcome]
    if outcome is not Outcome.POSTED:
        with pytest.raises(ledger.HoldNotFound):
            await desk.get(asked.key)


async def test_a_hold_is_asked_once_per_key(desk, books):
    alice, bob = await books.wallet(300), await books.wallet(300)
    asked = desk.ask(alice)
    more, of_bob = desk.ask(alice, 101, key=asked.key), desk.ask(bob, key=asked.key)
    assert await desk.hold(asked, asked, more) == [Outcome.POSTED, Outcome.REPEAT, Outcome.KEY_REUSED]
    assert await desk.hold(of_bob, asked) == [Outcome.KEY_REUSED, Outcome.REPEAT]
    assert [await books.available(alice), await books.available(bob)] == [200, 300]


async def test_money_just_received_can_be_held_and_unknown_holds_are_refused(desk, books):
    alice = await books.wallet()
    await books.post(books.entry((books.bank, alice, 100)))
    assert await desk.hold(desk.ask(alice)) == [Outcome.POSTED]
    nothing = EntryKey(new_id())
    assert await desk.void(nothing) is False
    with pytest.raises(ledger.HoldNotFound):
        await desk.post(books.entry((alice, books.bank, 1)), nothing)


async def test_voiding_gives_back_once(desk, books):
    alice = await books.wallet(100)
    asked = desk.ask(alice)
    await desk.hold(asked)
    assert [await desk.void(asked.key), await desk.void(asked.key)] == [True, True]
    assert await books.available(alice) == 100
    assert (await desk.get(asked.key)).status is HoldStatus.VOIDED
    assert await desk.hold(asked) == [Outcome.REPEAT]
    assert await books.available(alice) == 100


async def test_expiry_follows_world_time_and_is_written_down_by_the_sweeper(desk, books):
    alice, shop = await books.wallet(300), await books.shop()
    asked, lasting = desk.ask(alice, expires_at=LATER), desk.ask(alice)
    assert await desk.hold(asked, lasting) == [Outcome.POSTED] * 2
    assert (await desk.get(asked.key, LATER - timedelta(seconds=1))).status is HoldStatus.PENDING
    assert (await desk.get(asked.key, LATER)).status is HoldStatus.EXPIRED
    with pytest.raises(ledger.HoldEnded):
        await desk.post(books.entry((alice, shop, 100), at=LATER), asked.key)
    assert await books.available(alice) == 100
    assert [await desk.expire(LATER - timedelta(seconds=1)), await desk.expire(LATER), await desk.expire(LATER)] == [
        0,
        1,
        0,
    ]
    assert await books.available(alice) == 200
    assert [(await desk.get(h.key, LATER)).status for h in (asked, lasting)] == [HoldStatus.EXPIRED, HoldStatus.PENDING]
    async with books.database.transaction() as tx:
        assert [h.key for h in await ledger.list_holds(tx, alice, now=LATER)] == [lasting.key]
    assert (await books.trial_balance()).is_sound


async def test_a_hold_that_expires_as_it_begins_is_invalid(desk, books):
    assert await desk.hold(desk.ask(await books.wallet(100), expires_at=NOON)) == [Outcome.INVALID]
