"""Holds: money reserved on an account until it is known how much of it is owed.

    pending ──▶ posted    by `post_hold`: the whole or a part is taken, the rest is available again
       ├──────▶ voided    by `void_hold`
       └──────▶ expired   when `expires_at` has come, in world time

`available = balance - held`. An expired hold can no longer be posted from its `expires_at` on; what it reserves is
available again when the sweeper has written that down (`expire_holds`).
"""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum

import msgspec

from dewpond.kit.db import Tx, columns, queries
from dewpond.kit.failures import Failure, Kind
from dewpond.kit.money import Currency, Money
from dewpond.ledger.accounts import AccountId
from dewpond.ledger.entries import MOST_MINOR, Entry, EntryKey, Outcome, post_single

sql = queries(__file__)


class HoldNotFound(Failure):
    """There is no such hold."""

    code, kind = "hold_not_found", Kind.NOT_FOUND


class HoldEnded(Failure):
    """This hold was posted, voided or has expired."""

    code, kind = "hold_ended", Kind.CONFLICT


class HoldStatus(StrEnum):
    """Where a hold is in its life."""

    PENDING = "pending"
    POSTED = "posted"
    VOIDED = "voided"
    EXPIRED = "expired"


class NewHold(msgspec.Struct, frozen=True, kw_only=True):
    """Money to reserve; times are world time, and without `expires_at` it is held until somebody ends it."""

    key: EntryKey
    account_id: AccountId
    amount: Money
    occurred_at: datetime
    expires_at: datetime | None = None


class Hold(msgspec.Struct, frozen=True, kw_only=True):
    """A hold as it stands at a moment of world time."""

    key: EntryKey
    account_id: AccountId
    minor: int
    currency: Currency
    status: HoldStatus
    occurred_at: datetime
    expires_at: datetime | None
    ended_at: datetime | None
    posted_minor: int | None
    entry_key: EntryKey | None

    @property
    def amount(self) -> Money:
        """What was reserved."""
        return Money(self.minor, self.currency)


async def hold(tx: Tx, holds: Sequence[NewHold], *, wall_now: datetime) -> list[Outcome]:
    """Reserve money, each hold standing or falling alone; `POSTED` means it is held. Idempotent by key.

    The outcomes and their precedence are those of `post`; a repeat may carry other times.
    """
    if not holds:
        return []
    rows = [
        (
            h.key,
            h.account_id,
            h.amount.minor if 0 < h.amount.minor <= MOST_MINOR else 0,
            h.amount.currency,
            h.occurred_at,
            h.expires_at,
        )
        for h in holds
    ]
    keys, accounts, minors, currencies, occurred, expires = columns(rows, 6)
    words = await tx.value(
        sql.hold,
        keys=keys,
        accounts=accounts,
        minors=minors,
        currencies=currencies,
        occurred_at=occurred,
        expires_at=expires,
        recorded_at=wall_now,
    )
    return [Outcome(word) for word in words]


async def post_hold(tx: Tx, entry: Entry, hold_key: EntryKey, *, wall_now: datetime) -> Outcome:
    """Post `entry` out of a hold: the hold ends whole, the entry takes all or a part of it, in one step.

    The hold stays as it is unless the outcome is `POSTED`. An entry that takes more from the held account than is
    held, or nothing, is `INVALID`. Refuses an unknown hold with `HoldNotFound`, an ended or expired one (at the
    entry's `occurred_at`) with `HoldEnded`; the same entry again is a `REPEAT`.
    """
    word = await post_single(tx, entry, hold_key=hold_key, wall_now=wall_now)
    if word == "no_hold":
        raise HoldNotFound(hold_key=hold_key)
    if word == "hold_ended":
        raise HoldEnded(hold_key=hold_key)
    return Outcome(word)


async def void_hold(tx: Tx, hold_key: EntryKey, *, at: datetime) -> bool:
    """Give back what a hold reserves; False if there is no such hold or it ended in another way. `at` is world time."""
    return bool(await tx.value(sql.void_hold, key=hold_key, at=at))


async def expire_holds(tx: Tx, *, now: datetime, most: int = 500) -> int:
    """Write down which holds have expired by world time `now` and give back what they reserve; how many."""
    return int(await tx.value(sql.expire_holds, now=now, most=most))


async def get_hold(tx: Tx, hold_key: EntryKey, *, now: datetime) -> Hold:
    """The hold as it stands at world time `now`; refuses an unknown one with `HoldNotFound`."""
    found = await tx.row(Hold, sql.get_hold, key=hold_key, now=now)
    if found is None:
        raise HoldNotFound(hold_key=hold_key)
    return found


async def list_holds(tx: Tx, account_id: AccountId, *, now: datetime, most: int = 100) -> list[Hold]:
    """What reserves money on an account at world time `now`, the oldest first."""
    return await tx.rows(Hold, sql.list_holds, account_id=account_id, now=now, most=most)
