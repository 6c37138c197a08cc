"""What posting answers, on both roads, and what stands in the book afterwards."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from dewpond import ledger
from dewpond.kit.ids import new_id
from dewpond.kit.money import Currency, Money
from dewpond.ledger import AccountCode, Entry, EntryKey, Outcome, Transfer
from dewpond.ledger.entries import MOST_MINOR, content_of

EUR = Currency("EUR")


async def test_a_payment_with_fee_asks_only_the_payer_and_shows_gross_and_fee(books):
    alice, shop = await books.wallet(2000), await books.shop()
    entry = books.entry((alice, shop, 1800), (shop, books.fees, 11))
    assert await books.post(entry) == [Outcome.POSTED]
    assert await books.posted(alice, shop, books.fees, books.bank) == [200, 1789, 11, -2000]
    async with books.database.transaction() as tx:
        (walked,) = await ledger.walk_entries(tx, [entry.key, books.key()])
    assert [(t.n, t.debit.code, t.credit.code, t.amount.minor) for t in walked.transfers] == [
        (1, AccountCode.WALLET, AccountCode.UNSETTLED, 1800),
        (2, AccountCode.UNSETTLED, AccountCode.FEES, 11),
    ]


REFUSALS: list[tuple[str, Callable[..., list[tuple]], Outcome]] = [
    ("nothing to move", lambda a, s, x: [], Outcome.INVALID),
    ("nothing of money", lambda a, s, x: [(a, s, 0)], Outcome.INVALID),
    ("a negative amount", lambda a, s, x: [(a, s, -5)], Outcome.INVALID),
    ("the most there is, and one", lambda a, s, x: [(a, s, MOST_MINOR + 1)], Outcome.INVALID),
    ("more than the wire carries", lambda a, s, x: [(a, s, 2**70)], Outcome.INVALID),
    ("to oneself", lambda a, s, x: [(a, a, 5)], Outcome.INVALID),
    ("one bad transfer beside a good one", lambda a, s, x: [(a, s, 5), (s, s, 1)], Outcome.INVALID),
    ("an unknown payer", lambda a, s, x: [(x, s, 5)], Outcome.NO_DEBIT_ACCOUNT),
    ("an unknown payer and payee", lambda a, s, x: [(a, x, 5), (x, s, 5)], Outcome.NO_DEBIT_ACCOUNT),
    ("an unknown payee", lambda a, s, x: [(a, x, 5)], Outcome.NO_CREDIT_ACCOUNT),
    ("an unknown payee before too little", lambda a, s, x: [(a, x, 5000)], Outcome.NO_CREDIT_ACCOUNT),
    ("all of it and one more", lambda a, s, x: [(a, s, 1001)], Outcome.INSUFFICIENT),
    ("in two steps", lambda a, s, x: [(a, s, 600), (a, s, 401)], Outcome.INSUFFICIENT),
    ("a second payer who has nothing", lambda a, s, x: [(a, s, 10), (s, a, 20)], Outcome.INSUFFICIENT),
    ("all of it", lambda a, s, x: [(a, s, 1000)], Outcome.POSTED),
    ("passed through the shop", lambda a, s, x: [(a, s, 900), (s, a, 900)], Outcome.POSTED),
]


@pytest.mark.parametrize(("_case", "moves", "outcome"), REFUSALS, ids=[case for case, *_ in REFUSALS])
@pytest.mark.parametrize("road", ["alone", "in a batch"])
async def test_outcome(_case, moves, outcome, road, books):
    alice, shop, nobody = await books.wallet(1000), await books.shop(), ledger.AccountId(new_id())
    entry = books.entry(*moves(alice, shop, nobody))
    found = (await books.post(entry))[0] if road == "alone" else await books.post_in_batch(entry)
    assert found is outcome
    async with books.database.transaction() as tx:
        assert bool(await ledger.walk_entries(tx, [entry.key])) == (outcome is Outcome.POSTED)
    if outcome is not Outcome.POSTED:
        assert await books.posted(alice, shop) == [1000, 0]
        free_again = books.entry((alice, shop, 1), key=entry.key)
        assert await books.post(free_again) == [Outcome.POSTED]


@pytest.mark.parametrize("road", ["alone", "in a batch"])
@pytest.mark.parametrize(
    ("_case", "debit_eur", "credit_eur", "money_eur", "outcome"),
    [
        ("foreign money between accounts at home", False, False, True, Outcome.CURRENCY_DIFFERS),
        ("to an account abroad", False, True, False, Outcome.CURRENCY_DIFFERS),
        ("from an account abroad", True, False, False, Outcome.CURRENCY_DIFFERS),
        ("all abroad", True, True, True, Outcome.POSTED),
    ],
)
async def test_no_transfer_crosses_currencies(
    _case, debit_eur, credit_eur, money_eur, outcome, road, books, open_house
):
    abroad = await open_house(EUR)
    payer = await (abroad if debit_eur else books).wallet(100)
    payee = await (abroad if credit_eur else books).shop()
    entry = (abroad if money_eur else books).entry((payer, payee, 50))
    found = (await books.post(entry))[0] if road == "alone" else await books.post_in_batch(entry)
    assert found is outcome


async def test_one_entry_may_hold_transfers_of_two_currencies(books, open_house):
    abroad = await open_house(EUR)
    alice, alice_abroad = await books.wallet(100), await abroad.wallet(0)
    exchange = Entry(
        books.key(),
        (
            Transfer(alice, books.bank, Money(80, books.currency)),
            Transfer(abroad.bank, alice_abroad, Money(10, EUR)),
        ),
        books.entry().occurred_at,
    )
    assert await books.post_in_batch(exchange) is Outcome.POSTED
    alone = Entry(books.key(), exchange.transfers, exchange.occurred_at)
    assert await books.post(alone) == [Outcome.INSUFFICIENT]
    assert await books.posted(alice, alice_abroad) == [20, 10]
    assert (await books.trial_balance()).is_sound


@pytest.mark.parametrize("road", ["alone", "in a batch"])
async def test_a_key_posts_once_and_refuses_another_content(books, road):
    alice, shop = await books.wallet(1000), await books.shop()
    first = books.entry((alice, shop, 300))
    late = Entry(first.key, first.transfers, first.occurred_at + timedelta(days=1))
    other = books.entry((alice, shop, 301), key=first.key)

    async def post(entry: Entry) -> Outcome:
        return (await books.post(entry))[0] if road == "alone" else await books.post_in_batch(entry)

    assert [await post(first), await post(late), await post(other)] == [
        Outcome.POSTED,
        Outcome.REPEAT,
        Outcome.KEY_REUSED,
    ]
    assert await books.posted(alice, shop) == [700, 300]


async def test_equal_keys_in_one_batch_post_the_first(books):
    alice, bob, shop = await books.wallet(1000), await books.wallet(1000), await books.shop()
    first = books.entry((alice, shop, 300))
    second = books.entry((bob, shop, 300), key=first.key)
    assert await books.post(first, second, first) == [Outcome.POSTED, Outcome.KEY_REUSED, Outcome.REPEAT]
    assert await books.posted(alice, bob, shop) == [700, 1000, 300]


async def test_each_entry_of_a_batch_stands_or_falls_alone(books):
    alice, shop = await books.wallet(1000), await books.shop()
    outcomes = await books.post(
        books.entry((alice, shop, 1001)),  # too big
        books.entry((alice, shop, 600)),  # refused behind the big one at first, then looked at again
        books.entry((alice, shop, 401)),  # no longer
        books.entry((alice, shop, 400)),
        books.entry(),
    )
    assert outcomes == [
        Outcome.INSUFFICIENT,
        Outcome.POSTED,
        Outcome.INSUFFICIENT,
        Outcome.POSTED,
        Outcome.INVALID,
    ]
    assert await books.posted(alice, shop) == [0, 1000]


async def test_money_just_received_is_spent_at_once(books):
    alice, bob, shop = await books.wallet(), await books.wallet(), await books.shop()
    chain = [
        books.entry((books.bank, alice, 100)),
        books.entry((alice, bob, 100)),
        books.entry((bob, shop, 100)),
        books.entry((shop, bob, 40)),
        books.entry((bob, alice, 40)),
    ]
    assert await books.post(*chain) == [Outcome.POSTED] * 5
    again = [Entry(books.key(), entry.transfers, entry.occurred_at) for entry in chain]
    assert [(await books.post(entry))[0] for entry in again] == [Outcome.POSTED] * 5
    assert await books.posted(alice, bob, shop) == [80, 0, 120]


async def test_an_empty_batch_is_answered_with_nothing(books):
    assert await books.post() == []


async def test_reversing_gives_everything_back_once(books):
    alice, shop = await books.wallet(1000), await books.shop()
    paid = books.entry((alice, shop, 800), (shop, books.fees, 8))
    await books.post(paid)
    undo, other = books.key(), books.key()

    async def reverse(entry_key: EntryKey, key: EntryKey) -> Outcome:
        async with books.database.transaction() as tx:
            return await ledger.reverse(tx, entry_key, key=key, occurred_at=paid.occurred_at, wall_now=paid.occurred_at)

    with pytest.raises(ledger.EntryNotFound):
        await reverse(books.key(), undo)
    assert await reverse(paid.key, undo) is Outcome.POSTED
    assert await reverse(paid.key, undo) is Outcome.REPEAT
    with pytest.raises(ledger.EntryAlreadyReversed):
        await reverse(paid.key, other)
    assert await books.posted(alice, shop, books.fees) == [1000, 0, 0]
    async with books.database.transaction() as tx:
        (walked,) = await ledger.walk_entries(tx, [paid.key])
        (undone,) = await ledger.walk_entries(tx, [undo])
    assert walked.reversed_by == undo
    assert [(t.debit.account_id, t.credit.account_id, t.amount.minor) for t in undone.transfers] == [
        (books.fees, shop, 8),
        (shop, alice, 800),
    ]
    assert (await books.trial_balance()).is_sound


async def test_a_reversal_needs_the_money_and_can_be_tried_again(books):
    alice, shop = await books.wallet(1000), await books.shop()
    paid = books.entry((alice, shop, 800))
    await books.post(paid, books.entry((shop, books.bank, 1)))
    undo = books.key()
    outcomes = []
    for refill in (0, 1):
        if refill:
            await books.post(books.entry((books.bank, shop, refill)))
        async with books.database.transaction() as tx:
            outcomes.append(
                await ledger.reverse(tx, paid.key, key=undo, occurred_at=paid.occurred_at, wall_now=paid.occurred_at)
            )
    assert outcomes == [Outcome.INSUFFICIENT, Outcome.POSTED]


async def test_the_database_makes_the_same_digest(books, database):
    a, b, about = (ledger.AccountId(new_id()) for _ in range(3))
    transfers = (Transfer(a, b, Money(1, books.currency)), Transfer(b, a, Money(MOST_MINOR, Currency("€"))))
    for key in (None, about):
        async with database.transaction() as tx:
            found = await tx.connection.fetchval(
                "select ledger.content_of($1::uuid[], $2::uuid[], $3::bigint[], $4::text[], $5::uuid)",
                [a, b],
                [b, a],
                [1, MOST_MINOR],
                ["CNY", "€"],
                key,
            )
        assert found == content_of(transfers, key)


async def test_opening_twice_changes_nothing_and_strangers_have_no_balance(books):
    owner = new_id()
    first = await books.open(owner, AccountCode.WALLET)
    await books.post(books.entry((books.bank, first, 5)))
    assert await books.open(owner, AccountCode.WALLET) == first
    async with books.database.transaction() as tx:
        (balance,) = await ledger.list_balances(tx, owner)
        with pytest.raises(ledger.AccountNotFound):
            await ledger.get_balance(tx, ledger.AccountId(new_id()))
    assert (balance.account_id, balance.posted, balance.held, balance.available) == (first, 5, 0, 5)
