"""Statements: every transfer of an account, newest first, a page at a time, complete at any moment."""

from datetime import timedelta

import pytest

from dewpond import ledger
from dewpond.ledger import AccountCode, StatementCursor


async def _page(books, account, **where):
    async with books.database.transaction() as tx:
        return await ledger.list_statement(tx, account, **where)


async def _write(books) -> int:
    async with books.database.transaction() as tx:
        return await ledger.write_statements(tx)


async def test_gross_and_fee_are_lines_of_their_own(books):
    alice, shop = await books.wallet(2000), await books.shop()
    await books.post(books.entry((alice, shop, 1800), (shop, books.fees, 11)))
    fee, gross = await _page(books, shop)
    assert (gross.minor, gross.other_id, gross.other_code) == (1800, alice, AccountCode.WALLET)
    assert (fee.minor, fee.other_id, fee.other_code) == (-11, books.fees, AccountCode.FEES)
    assert [line.minor for line in await _page(books, alice)] == [-1800, 2000]


async def test_a_line_appears_at_once_and_once_while_the_worker_writes(books):
    alice = await books.wallet()
    base = books.entry().occurred_at
    for hour in (3, 1, 2):
        await books.post(books.entry((books.bank, alice, hour), at=base + timedelta(hours=hour)))
        before = [line.minor for line in await _page(books, alice)]
        await _write(books)
        assert [line.minor for line in await _page(books, alice)] == before == sorted(before, reverse=True)
    assert len(before) == 3
    assert await _write(books) == 0


@pytest.mark.parametrize("written", [True, False], ids=["written", "waiting"])
async def test_pages_meet_without_gap_or_overlap(written, books):
    alice, shop = await books.wallet(1000), await books.shop()
    base = books.entry().occurred_at + timedelta(days=1)
    entries = [
        books.entry((alice, shop, n), (shop, books.fees, 1), at=base + timedelta(minutes=n // 4)) for n in range(2, 25)
    ]
    await books.post(*entries)
    if written:
        await _write(books)
    lines = await _page(books, shop, limit=1000)
    assert len(lines) == 2 * len(entries)
    for size in (1, 5, 46):
        backwards, page = [], await _page(books, shop, limit=size)
        while page:
            backwards += page
            page = await _page(books, shop, limit=size, before=page[-1].cursor)
        assert backwards == lines
        forwards = await _page(books, shop, limit=size, after=StatementCursor(base - timedelta(days=2)))
        while page := await _page(books, shop, limit=size, after=forwards[0].cursor):
            forwards = page + forwards
        assert forwards == lines
    hour = StatementCursor(base + timedelta(minutes=3))
    newer, older = await _page(books, shop, after=hour, limit=1000), await _page(books, shop, before=hour, limit=1000)
    assert newer + older == lines
    assert {line.occurred_at for line in older} == {base + timedelta(minutes=m) for m in range(3)}
    with pytest.raises(ValueError, match="not both"):
        await _page(books, shop, before=hour, after=hour)


async def test_a_worker_takes_about_as_much_as_it_is_asked_to(books, database):
    while await _write(books):
        pass
    alice = await books.wallet(1)
    for _ in range(3):
        await books.post(*(books.entry((books.bank, alice, 1)) for _ in range(10)))
    async with database.transaction() as tx:
        assert [await ledger.write_statements(tx, most=most) for most in (5, 12, 100, 100)] == [11, 20, 0, 0]
