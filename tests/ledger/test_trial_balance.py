"""The trial balance finds what a hand in the tables leaves behind."""

from contextlib import suppress

import msgspec
import pytest

from dewpond import ledger
from dewpond.kit.db import Database
from dewpond.ledger import AccountCode, Outcome


class Untouched(Exception):
    """Rolls a forgery back."""


@pytest.fixture(scope="module")
async def owner(owner_dsn: str, anyio_backend: str):
    """A pool of the role that owns the tables."""
    database = await Database.open(owner_dsn, size=2, name="owner")
    yield database
    await database.close()


async def _story(books):
    """Alice pays with a fee, the payment is reversed, she pays again and out of a hold; half of it is folded."""
    alice, shop = await books.wallet(1000), await books.shop()
    paid, again = (books.entry((alice, shop, 300), (shop, books.fees, 3)) for _ in range(2))
    captured = books.entry((alice, shop, 50))
    at = paid.occurred_at
    await books.post(paid)
    async with books.database.transaction() as tx:
        await ledger.reverse(tx, paid.key, key=books.key(), occurred_at=at, wall_now=at)
    await books.fold()
    async with books.database.transaction() as tx:
        await ledger.write_statements(tx)
        done, pending = (
            ledger.NewHold(key=books.key(), account_id=alice, amount=ledger_money(books, 60), occurred_at=at)
            for _ in range(2)
        )
        assert await ledger.hold(tx, [done, pending], wall_now=at) == [Outcome.POSTED] * 2
        assert await ledger.post_hold(tx, captured, done.key, wall_now=at) is Outcome.POSTED
    await books.post(again)
    return alice, shop, again, captured, pending


def ledger_money(books, minor):
    return books.entry((books.bank, books.fees, minor)).transfers[0].amount


async def test_a_sound_book_adds_up(books):
    await _story(books)
    found = await books.trial_balance()
    assert found.is_sound
    assert [(c.currency, c.total, c.drift) for c in found.currencies] == [("CNY", 0, 0)]
    totals = {c.code: (c.accounts, c.posted, c.held) for c in found.codes}
    assert totals.keys() == set(AccountCode)
    assert sum(posted for _, posted, _ in totals.values()) == 0
    assert found.entries >= 5
    assert found.transfers > found.entries


FORGERIES: list[tuple[str, str, set[str]]] = [
    ("a balance raised", "update ledger.accounts set balance = balance + 7 where id = :shop", {"accounts_adrift"}),
    (
        "a balance moved to another account",
        "update ledger.accounts set balance = balance + case when id = :shop then 7 else -7 end"
        " where id in (:shop, :alice)",
        {"accounts_adrift"},
    ),
    ("a slip lost", "delete from ledger.slips where account_id = :shop", {"accounts_adrift"}),
    ("a slip invented", "insert into ledger.slips values (:alice, 1)", {"accounts_adrift"}),
    ("a slip of nobody", "insert into ledger.slips values (gen_random_uuid(), 1)", {"accounts_missing"}),
    (
        "an amount changed",
        "update ledger.transfers set minor = minor + 1 where entry_key = :entry and n = 1",
        {"accounts_adrift", "entries_altered"},
    ),
    (
        "a payee changed, and the slips along with it",
        "update ledger.transfers set credit = :bank where entry_key = :entry and n = 2;"
        " insert into ledger.slips values (:bank, 3), (:fees, -3);",
        {"entries_altered"},
    ),
    (
        "a transfer removed",
        "delete from ledger.transfers where entry_key = :entry and n = 2",
        {"accounts_adrift", "entries_altered"},
    ),
    (
        "a transfer added",
        "insert into ledger.transfers values (:entry, 3, :shop, :alice, 5, 'CNY')",
        {"accounts_adrift", "entries_altered"},
    ),
    (
        "a whole entry removed",
        "delete from ledger.transfers where entry_key = :entry; delete from ledger.entries where key = :entry",
        {"accounts_adrift"},
    ),
    ("an entry emptied", "delete from ledger.transfers where entry_key = :entry", {"accounts_adrift", "entries_empty"}),
    (
        "an entry without its head",
        "delete from ledger.entries where key = :entry",
        {"transfers_orphaned"},
    ),
    (
        "money of another currency",
        "update ledger.transfers set currency = 'EUR' where entry_key = :entry and n = 1",
        {"entries_altered", "transfers_crossing"},
    ),
    ("a reservation dropped", "update ledger.accounts set held = 0 where id = :alice", {"accounts_held_adrift"}),
    ("a hold removed", "delete from ledger.holds where key = :hold", {"accounts_held_adrift"}),
    (
        "a captured hold that says another amount",
        "update ledger.holds set posted_minor = 49 where entry_key = :captured",
        {"holds_altered"},
    ),
    (
        "a captured hold of another entry",
        "update ledger.holds set entry_key = :entry where entry_key = :captured",
        {"entries_altered", "holds_altered"},
    ),
    ("a floor lowered", "update ledger.accounts set floor = -100 where id = :alice", {"accounts_irregular"}),
    (
        "an overdraft, constraint and all",
        "alter table ledger.accounts drop constraint account_not_below_floor;"
        " update ledger.accounts set balance = -1 where id = :shop",
        {"accounts_adrift", "accounts_below_floor"},
    ),
    (
        "the same account twice",
        "insert into ledger.accounts select gen_random_uuid(), owner_id, code, currency, 0, 0, floor, opened_at"
        " from ledger.accounts where id = :alice",
        {"accounts_irregular"},
    ),
    (
        "a statement line removed",
        "delete from ledger.statement_lines where account_id = :alice and minor = -300",
        {"statements_adrift"},
    ),
    ("a statement line that will not be written", "delete from ledger.unlisted", {"statements_adrift"}),
    (
        "a statement line moved to another account",
        "update ledger.statement_lines set account_id = :shop where account_id = :alice and minor = 1000",
        {"statements_adrift"},
    ),
]


@pytest.mark.parametrize(("_case", "statements", "faults"), FORGERIES, ids=[case for case, *_ in FORGERIES])
async def test_a_forgery_is_found(_case, statements, faults, books, owner):
    alice, shop, entry, captured, hold = await _story(books)
    names = {
        "alice": alice,
        "shop": shop,
        "entry": entry.key,
        "captured": captured.key,
        "hold": hold.key,
        "bank": books.bank,
        "fees": books.fees,
    }
    for name, value in names.items():
        statements = statements.replace(f":{name}", f"'{value}'")
    with suppress(Untouched):
        async with owner.transaction() as tx:
            for table in ("accounts", "entries", "transfers", "slips", "holds"):
                await tx.connection.execute(f"alter table ledger.{table} disable trigger user")
            await tx.connection.execute(statements)
            found = await ledger.trial_balance(tx)
            raise Untouched
    assert not found.is_sound
    told = {name for name, count in msgspec.structs.asdict(found.faults).items() if count}
    assert told == faults
    assert (await books.trial_balance()).is_sound


async def test_the_quick_sums_are_those_of_the_trial_balance(books) -> None:
    """Over balances, folded and not; half of a story's credits still wait as slips."""
    await _story(books)
    async with books.database.transaction() as tx:
        await tx.connection.execute("set transaction isolation level repeatable read")
        quick, whole = await ledger.sum_codes(tx), await ledger.trial_balance(tx)
    assert {(one.code, one.currency): one for one in quick} == {(one.code, one.currency): one for one in whole.codes}
    assert sum(one.posted for one in quick if one.currency == "CNY") == 0
