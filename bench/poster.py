"""A child that posts: entries with a fee leg, and their facts in the same transaction.

Entries and facts are made beforehand, as a caller has them; turning them into what the database takes is measured.
"""

import asyncio
import gc
import os
import random
import time
from collections import deque
from collections.abc import Sequence
from contextlib import AsyncExitStack
from datetime import datetime
from typing import Any
from uuid import UUID

from bench.child import serve
from bench.folder import folding
from dewpond import ledger, pay
from dewpond.kit import clock
from dewpond.kit.batch import Batch
from dewpond.kit.db import Database
from dewpond.kit.failures import Failure
from dewpond.kit.ids import new_id
from dewpond.kit.money import CNY, Money
from dewpond.kit.outbox import publish
from dewpond.ledger import AccountId, Entry, Outcome, Transfer

_HOLDERS = "select owner_id, id from ledger.accounts where code = $1"
_AMOUNT, _FEE = Money(1800, CNY), Money(11, CNY)
_FIRST_GUESS = 25_000  # entries a second, until a run has shown better

Work = tuple[Entry, pay.PaymentSucceeded]


class Poster:
    """Posts on the database that the environment names."""

    def __init__(self) -> None:
        self._db: Database | None = None
        self._payers: list[tuple[UUID, AccountId]] = []
        self._payees: list[tuple[UUID, AccountId]] = []
        self._work: deque[Work] = deque()
        self._guess: dict[str, float] = {}

    async def open(self) -> dict[str, Any]:
        """Connect, and learn who pays whom."""
        self._db = await Database.open(os.environ["DEWPOND_DATABASE_URL"], size=4, name="bench poster")
        async with self._db.transaction() as tx:
            self._payers = [tuple(row) for row in await tx.connection.fetch(_HOLDERS, "wallet")]
            self._payees = [tuple(row) for row in await tx.connection.fetch(_HOLDERS, "unsettled")]
        return {}

    async def ready(self, case: str, seconds: float, hot: bool, most: int = 10**7) -> dict[str, Any]:
        """Make entries for a run of this case, with some to spare, but not more than `most`."""
        self._work.clear()
        gc.unfreeze()
        wall = clock.wall_now()
        payees = self._payees[:1] if hot else self._payees
        for _ in range(min(most, int(self._guess.get(case, _FIRST_GUESS) * seconds * 1.3) + 1_000)):
            self._work.append(self._entry(payees, wall))
        gc.collect()
        gc.freeze()  # a server holds no such heap, and its collector would walk it again and again
        return {}

    def _entry(self, payees: Sequence[tuple[UUID, AccountId]], wall: datetime) -> Work:
        (person, wallet), (merchant, unsettled) = random.choice(self._payers), random.choice(payees)
        payment = new_id()
        transfers = (Transfer(wallet, unsettled, _AMOUNT), Transfer(unsettled, pay.fees_of(CNY), _FEE))
        fact = pay.PaymentSucceeded(
            payment_id=payment,
            merchant_id=merchant,
            app_id=merchant,
            person_id=person,
            minor=_AMOUNT.minor,
            fee_minor=_FEE.minor,
            currency=CNY,
            occurred_at=wall,
        )
        return Entry(pay.payment_entry_key(payment), transfers, wall), fact

    async def post(
        self, case: str, seconds: float, connections: int, size: int, folder: bool, statements: bool
    ) -> dict[str, Any]:
        """Batches of `size` on so many connections, each as soon as the one before has committed."""
        assert self._db is not None
        waits: list[float] = []
        began = time.perf_counter()

        async def lane() -> None:
            while time.perf_counter() - began < seconds and len(self._work) >= size:
                batch = [self._work.popleft() for _ in range(size)]
                at = time.perf_counter()
                await self._carry_out(batch)
                waits.append((time.perf_counter() - at) * 1000)

        async with AsyncExitStack() as stack:
            if folder:
                await stack.enter_async_context(folding(self._db, statements=statements))
            await asyncio.gather(*(lane() for _ in range(connections)))
            elapsed = time.perf_counter() - began
        return self._told(case, len(waits) * size, elapsed, waits)

    async def submit(self, case: str, seconds: float, callers: int) -> dict[str, Any]:
        """So many callers, each awaiting the outcome of its own entry through the house's batch."""
        assert self._db is not None
        waits: list[float] = []
        batch: Batch[Work, Outcome] = Batch(self._carry_out, key=lambda work: work[0].key)
        began = time.perf_counter()

        async def caller() -> None:
            while time.perf_counter() - began < seconds and self._work:
                at = time.perf_counter()
                await batch.submit(self._work.popleft())
                waits.append((time.perf_counter() - at) * 1000)

        async with folding(self._db):
            await asyncio.gather(*(caller() for _ in range(callers)))
            elapsed = time.perf_counter() - began
        return self._told(case, len(waits), elapsed, waits)

    async def _carry_out(self, batch: Sequence[Work]) -> Sequence[Outcome | Failure]:
        assert self._db is not None
        wall = clock.wall_now()
        async with self._db.transaction() as tx:
            outcomes = await ledger.post(tx, [entry for entry, _ in batch], wall_now=wall)
            await publish(tx, [fact for _, fact in batch], wall_now=wall)
        if any(outcome is not Outcome.POSTED for outcome in outcomes):
            raise ValueError(f"the ledger answers {set(outcomes)}")
        return outcomes

    def _told(self, case: str, operations: int, elapsed: float, waits: list[float]) -> dict[str, Any]:
        self._guess[case] = max(operations / elapsed, 100.0)
        return {"operations": operations, "seconds": elapsed, "waits": [round(wait, 3) for wait in waits]}

    async def leave(self) -> dict[str, Any]:
        """Disconnect."""
        if self._db is not None:
            await self._db.close()
        return {}


if __name__ == "__main__":
    poster = Poster()
    serve(
        {
            "open": poster.open,
            "ready": poster.ready,
            "post": poster.post,
            "submit": poster.submit,
            "leave": poster.leave,
        }
    )
