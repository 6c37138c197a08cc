"""Entries: what is posted together, once per key, all of it or nothing.

An entry is an ordered list of transfers. Only accounts whose *net* in it is negative must have the money, so "Alice →
shop 18.00, shop → fees 0.11" asks Alice alone, and the statements still show gross and fee. Nothing is ever edited; a
mistake is undone by `reverse`. The law itself is in the database: migrations/0002_ledger.sql.
"""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from hashlib import sha256
from itertools import groupby
from operator import attrgetter
from typing import NewType, cast
from uuid import UUID

import msgspec
from asyncpg.pgproto.pgproto import UUID as WireUUID

from dewpond.kit.db import Tx, queries
from dewpond.kit.failures import Failure, Kind
from dewpond.kit.money import Currency, Money
from dewpond.ledger.accounts import AccountCode, AccountId

sql = queries(__file__)

EntryKey = NewType("EntryKey", UUID)

#: The largest amount of one transfer, in minor units; the database refuses more as invalid.
MOST_MINOR = 10**15


class EntryNotFound(Failure):
    """There is no such entry."""

    code, kind = "entry_not_found", Kind.NOT_FOUND


class EntryAlreadyReversed(Failure):
    """This entry was undone before."""

    code, kind = "entry_already_reversed", Kind.CONFLICT


class Outcome(StrEnum):
    """What became of an entry or a hold; of several reasons against it the one that stands higher here."""

    POSTED = "posted"
    INVALID = "invalid"
    REPEAT = "repeat"
    KEY_REUSED = "key_reused"
    NO_DEBIT_ACCOUNT = "no_debit_account"
    NO_CREDIT_ACCOUNT = "no_credit_account"
    CURRENCY_DIFFERS = "currency_differs"
    INSUFFICIENT = "insufficient"


class Transfer(msgspec.Struct, frozen=True):
    """Money from one account to another."""

    debit: AccountId
    credit: AccountId
    amount: Money


class Entry(msgspec.Struct, frozen=True):
    """Transfers that are posted together; `occurred_at` is world time."""

    key: EntryKey
    transfers: tuple[Transfer, ...]
    occurred_at: datetime


class Side(msgspec.Struct, frozen=True):
    """One side of a transfer, with what is known of its account."""

    account_id: AccountId
    owner_id: UUID
    code: AccountCode


class WalkedTransfer(msgspec.Struct, frozen=True):
    """A transfer as it was posted."""

    n: int
    debit: Side
    credit: Side
    amount: Money


class WalkedEntry(msgspec.Struct, frozen=True, kw_only=True):
    """An entry as it was posted, and the entry that undid it, if any."""

    key: EntryKey
    occurred_at: datetime
    recorded_at: datetime
    reversed_by: EntryKey | None
    transfers: tuple[WalkedTransfer, ...]


def content_of(transfers: Sequence[Transfer], about: UUID | None = None) -> UUID:
    """The digest by which a repeat is told from a reused key: the transfers in order, and what they are about.

    `about` is the hold an entry is posted out of. The database knows the same digest as `ledger.content_of`.
    """
    parts = [] if about is None else [about.bytes]
    for t in transfers:
        minor = _minor(t.amount.minor).to_bytes(8, "big")
        parts += (t.debit.bytes, t.credit.bytes, minor, t.amount.currency.encode(), b"\0")
    return cast(UUID, WireUUID(sha256(b"".join(parts)).digest()[:16]))


def _minor(minor: int) -> int:
    # What no transfer may carry becomes 0, which the database refuses as invalid: a wider number does not fit a bigint.
    return minor if 0 < minor <= MOST_MINOR else 0


async def post(tx: Tx, entries: Sequence[Entry], *, wall_now: datetime) -> list[Outcome]:
    """Post entries, each standing or falling alone; one outcome per entry, in order.

    Money that an account has just received can be spent at once, also within the batch. Equal keys should be merged by
    the caller: a second copy in one batch never posts, and reads as a repeat even if the first was refused.
    """
    if len(entries) == 1:
        return [Outcome(await post_single(tx, entries[0], hold_key=None, wall_now=wall_now))]
    keys: list[UUID] = []
    contents: list[UUID] = []
    times: list[datetime] = []
    places: list[int] = []
    debits: list[UUID] = []
    credits: list[UUID] = []
    minors: list[int] = []
    currencies: list[str] = []
    for place, entry in enumerate(entries, start=1):
        keys.append(entry.key)
        contents.append(content_of(entry.transfers))
        times.append(entry.occurred_at)
        for transfer in entry.transfers:
            places.append(place)
            debits.append(transfer.debit)
            credits.append(transfer.credit)
            minors.append(_minor(transfer.amount.minor))
            currencies.append(transfer.amount.currency)
    words = await tx.value(
        sql.post,
        keys=keys,
        contents=contents,
        occurred_at=times,
        recorded_at=wall_now,
        entry=places,
        debit=debits,
        credit=credits,
        minor=minors,
        currency=currencies,
    )
    return [Outcome(word) for word in words]


async def post_single(tx: Tx, entry: Entry, *, hold_key: UUID | None, wall_now: datetime) -> str:
    """The short road, for the room's own use; the answer is a word of `Outcome`, or one about the hold."""
    return str(
        await tx.value(
            sql.post_one,
            key=entry.key,
            content=content_of(entry.transfers, hold_key),
            occurred_at=entry.occurred_at,
            recorded_at=wall_now,
            debit=[t.debit for t in entry.transfers],
            credit=[t.credit for t in entry.transfers],
            minor=[_minor(t.amount.minor) for t in entry.transfers],
            currency=[t.amount.currency for t in entry.transfers],
            hold=hold_key,
        )
    )


async def reverse(tx: Tx, entry_key: EntryKey, *, key: EntryKey, occurred_at: datetime, wall_now: datetime) -> Outcome:
    """Undo an entry by a new one, `key`, with debit and credit exchanged; those who received must still have the money.

    Refuses an unknown entry with `EntryNotFound` and one undone under another key with `EntryAlreadyReversed`.
    """
    word = await tx.value(sql.reverse, entry=entry_key, key=key, occurred_at=occurred_at, recorded_at=wall_now)
    if word == "no_entry":
        raise EntryNotFound(entry_key=entry_key)
    if word == "already_reversed":
        raise EntryAlreadyReversed(entry_key=entry_key)
    return Outcome(word)


class _WalkRow(msgspec.Struct, frozen=True, kw_only=True):
    key: EntryKey
    occurred_at: datetime
    recorded_at: datetime
    reversed_by: EntryKey | None
    n: int
    minor: int
    currency: Currency
    debit: AccountId
    debit_owner_id: UUID
    debit_code: AccountCode
    credit: AccountId
    credit_owner_id: UUID
    credit_code: AccountCode

    def transfer(self) -> WalkedTransfer:
        return WalkedTransfer(
            n=self.n,
            debit=Side(self.debit, self.debit_owner_id, self.debit_code),
            credit=Side(self.credit, self.credit_owner_id, self.credit_code),
            amount=Money(self.minor, self.currency),
        )


async def walk_entries(tx: Tx, keys: Sequence[EntryKey]) -> list[WalkedEntry]:
    """The posted entries of these keys, in the order asked, each with its transfers and whose accounts they touch."""
    rows = await tx.rows(_WalkRow, sql.walk, keys=list(dict.fromkeys(keys)))
    walked = []
    for _, group in groupby(rows, key=attrgetter("key")):
        lines = list(group)
        first = lines[0]
        walked.append(
            WalkedEntry(
                key=first.key,
                occurred_at=first.occurred_at,
                recorded_at=first.recorded_at,
                reversed_by=first.reversed_by,
                transfers=tuple(line.transfer() for line in lines),
            )
        )
    return walked
