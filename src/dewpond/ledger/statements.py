"""Statements: what moved on an account, newest first, gross and fee as separate lines.

Lines are copied out of the book by a worker (`write_statements`), so that posting carries no index for them; what is
still waiting is added when a page is read, so a page is complete at any moment.
"""

from datetime import datetime
from uuid import UUID

import msgspec

from dewpond.kit.db import Tx, queries
from dewpond.kit.money import Currency, Money
from dewpond.ledger.accounts import AccountCode, AccountId
from dewpond.ledger.entries import EntryKey

sql = queries(__file__)


class StatementCursor(msgspec.Struct, frozen=True):
    """A place in a statement. With a time alone: just before everything that occurred at it."""

    occurred_at: datetime
    entry_key: EntryKey = EntryKey(UUID(int=0))
    n: int = 0


class StatementLine(msgspec.Struct, frozen=True, kw_only=True):
    """One transfer seen from one of its accounts; `minor` is negative where the account was debited."""

    account_id: AccountId
    occurred_at: datetime
    entry_key: EntryKey
    n: int
    minor: int
    currency: Currency
    other_id: AccountId
    other_owner_id: UUID
    other_code: AccountCode

    @property
    def amount(self) -> Money:
        """What the account gained, or lost if negative."""
        return Money(self.minor, self.currency)

    @property
    def cursor(self) -> StatementCursor:
        """Where this line stands, to go on from."""
        return StatementCursor(self.occurred_at, self.entry_key, self.n)


async def list_statement(
    tx: Tx,
    account_id: AccountId,
    *,
    before: StatementCursor | None = None,
    after: StatementCursor | None = None,
    limit: int = 50,
) -> list[StatementLine]:
    """One page of an account's statement, newest first: the newest lines, the next older than `before`, or the next
    newer than `after`. Any page costs the same."""
    if before is not None and after is not None:
        raise ValueError("a page lies before or after a cursor, not both")
    if after is not None:
        lines = await tx.rows(
            StatementLine,
            sql.lines_after,
            account_id=account_id,
            occurred_at=after.occurred_at,
            entry_key=after.entry_key,
            n=after.n,
            most=limit,
        )
        return lines[::-1]
    return await tx.rows(
        StatementLine,
        sql.lines_before,
        account_id=account_id,
        occurred_at=None if before is None else before.occurred_at,
        entry_key=None if before is None else before.entry_key,
        n=None if before is None else before.n,
        most=limit,
    )


async def write_statements(tx: Tx, *, most: int = 5000) -> int:
    """Copy about `most` posted entries into statement lines; how many. The worker's step, deaf to a second time."""
    return int(await tx.value(sql.write_statements, most=most))
