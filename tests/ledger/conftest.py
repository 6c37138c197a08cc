"""A house with a bank and fees, in which tests open accounts and move money."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from uuid import UUID

import pytest

from dewpond import ledger
from dewpond.kit.db import Database
from dewpond.kit.ids import new_id
from dewpond.kit.money import CNY, Currency, Money
from dewpond.ledger import AccountCode, AccountId, Entry, EntryKey, NewAccount, Outcome, Transfer

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)

#: From one account to another, so much.
Move = tuple[AccountId, AccountId, int]


@dataclass(frozen=True, slots=True)
class Books:
    """Accounts of one test, and short words for what is done with them; every verb is a transaction of its own."""

    database: Database
    currency: Currency = CNY
    house_id: UUID = field(default_factory=new_id)

    @property
    def bank(self) -> AccountId:
        return ledger.account_of(self.house_id, AccountCode.BANK, self.currency)

    @property
    def fees(self) -> AccountId:
        return ledger.account_of(self.house_id, AccountCode.FEES, self.currency)

    async def open(self, owner_id: UUID, code: AccountCode) -> AccountId:
        async with self.database.transaction() as tx:
            await ledger.open_accounts(tx, [NewAccount(owner_id, code, self.currency)], wall_now=NOON)
        return ledger.account_of(owner_id, code, self.currency)

    async def wallet(self, minor: int = 0) -> AccountId:
        account = await self.open(new_id(), AccountCode.WALLET)
        if minor:
            assert await self.post(self.entry((self.bank, account, minor))) == [Outcome.POSTED]
        return account

    async def shop(self) -> AccountId:
        return await self.open(new_id(), AccountCode.UNSETTLED)

    def key(self) -> EntryKey:
        return EntryKey(new_id())

    def entry(self, *moves: Move, key: EntryKey | None = None, at: datetime = NOON) -> Entry:
        transfers = tuple(Transfer(debit, credit, Money(minor, self.currency)) for debit, credit, minor in moves)
        return Entry(key or self.key(), transfers, at)

    async def post(self, *entries: Entry) -> list[Outcome]:
        async with self.database.transaction() as tx:
            return await ledger.post(tx, entries, wall_now=NOON)

    async def post_in_batch(self, entry: Entry) -> Outcome:
        """The outcome of an entry on the general road: an unrelated one keeps it company."""
        company = self.entry((self.bank, self.fees, 1))
        outcomes = await self.post(entry, company)
        assert outcomes[1] is Outcome.POSTED
        return outcomes[0]

    async def posted(self, *accounts: AccountId) -> list[int]:
        async with self.database.transaction() as tx:
            return [(await ledger.get_balance(tx, account)).posted for account in accounts]

    async def available(self, account: AccountId) -> int:
        async with self.database.transaction() as tx:
            return (await ledger.get_balance(tx, account)).available

    async def fold(self) -> None:
        async with self.database.transaction() as tx:
            await ledger.fold(tx)

    async def trial_balance(self) -> ledger.TrialBalance:
        async with self.database.transaction() as tx:
            return await ledger.trial_balance(tx)


async def _open_house(database: Database, currency: Currency) -> Books:
    books = Books(database, currency)
    for code in (AccountCode.BANK, AccountCode.FEES):
        await books.open(books.house_id, code)
    return books


@pytest.fixture
async def books(database: Database) -> Books:
    return await _open_house(database, CNY)


@pytest.fixture
def open_house(database: Database) -> Callable[[Currency], Awaitable[Books]]:
    """`await open_house(Currency("EUR"))`: another house, for tests that need several."""
    return partial(_open_house, database)
