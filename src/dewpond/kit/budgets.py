"""Budgets: how often somebody may do a thing that costs something, or that could be guessed at.

    await budgets.spend(db, [Charge(SCANS, address)], secrets=secrets, wall_now=wall)     # or TooManyTries
    …                                                                                     # what it was spent for

A budget of ten in five minutes is ten at once, and then one every half a minute: the generic cell rate algorithm, which
remembers one moment for each key, from when on its budget is whole again. No window begins or ends in which twice as
much would go, and a row whose moment is over says the same as none.

It is spent in a transaction of its own, committed before what it is spent for begins: however many come at once, at
however many servers, they are counted one after the other. That is what no library at hand does: Litestar's middleware
reads a history and writes it back, guarded within one process, and `limits` has no store in PostgreSQL.
"""

import hashlib
import hmac
from collections.abc import Sequence
from datetime import datetime, timedelta

import msgspec

from dewpond.kit.db import Database, Tx, in_transaction, queries
from dewpond.kit.failures import Failure, Kind
from dewpond.kit.secrets import MasterKeys

sql = queries(__file__)


class TooManyTries(Failure):
    """This was done too often just now; wait a little before you do it again."""

    code, kind = "too_many_tries", Kind.TOO_MANY


class Budget(msgspec.Struct, frozen=True):
    """So many of one thing within so long a time, all at once or one after the other."""

    #: Whatever has the same name is counted together.
    name: str
    most: int
    window: timedelta


class Charge(msgspec.Struct, frozen=True):
    """One thing done, and on whose account."""

    budget: Budget
    #: Empty where all of the world share it.
    whose: str = ""
    #: Here the budget is so many times as large.
    times: int = 1

    @property
    def step(self) -> timedelta:
        """How long it takes until what this costs has come back."""
        return self.budget.window / (self.budget.most * self.times)


async def spend(db: Database, charges: Sequence[Charge], *, secrets: MasterKeys, wall_now: datetime) -> None:
    """Spend all of these or, with `TooManyTries`, none; that tells `until` when to wait, and how many `seconds`.

    Committed when it returns, so whoever calls it must not hold a transaction.
    """
    assert not in_transaction(), "what is spent must be committed before what it is spent for"
    async with db.transaction() as tx:
        for bucket, charge in _in_order(charges, secrets):
            step, window = charge.step, charge.budget.window
            if await tx.value(sql.spend, bucket=bucket, step=step, window=window, wall_now=wall_now) is None:
                whole_at: datetime = await tx.value(sql.find_whole_at, bucket=bucket)
                raise _wait(whole_at + step - window, wall_now)


async def give_back(db: Database, charges: Sequence[Charge], *, secrets: MasterKeys) -> None:
    """Count these no more: what was spent before a guess, when it was none."""
    async with db.transaction() as tx:
        for bucket, charge in _in_order(charges, secrets):
            await tx.run(sql.give_back, bucket=bucket, step=charge.step)


async def forget_whole(tx: Tx, *, wall_now: datetime, most: int) -> int:
    """Forget budgets that are whole again, at most so many; how many there were. It changes nobody's budget."""
    return await tx.run(sql.forget, wall_now=wall_now, most=most)


def _in_order(charges: Sequence[Charge], secrets: MasterKeys) -> list[tuple[int, Charge]]:
    """With the bucket of each, always in one order: two who spend the same ones cannot wait for each other."""
    key = secrets.derive("budgets", secrets.current_id)
    return sorted(((_bucket(charge, key), charge) for charge in charges), key=lambda pair: pair[0])


def _bucket(charge: Charge, key: bytes) -> int:
    """Keyed: from the database alone nobody learns whose it is. Under another master key all budgets are whole."""
    digest = hmac.new(key, f"{charge.budget.name}\0{charge.whose}".encode(), hashlib.sha256).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


def _wait(until: datetime, wall_now: datetime) -> TooManyTries:
    until = max(until, wall_now)
    return TooManyTries(until=until, seconds=max(1, -((wall_now - until) // timedelta(seconds=1))))
