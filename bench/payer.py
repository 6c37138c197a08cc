"""A child that pays: it opens payments beforehand and confirms them, through the house's batch or all at once."""

import asyncio
import gc
import os
import random
import time
from collections import deque
from contextlib import AsyncExitStack
from typing import Any

from bench.child import serve
from bench.folder import folding
from bench.openings import App, list_apps, open_payments
from bench.people import PIN
from dewpond import pay
from dewpond.identity import PersonId
from dewpond.kit import clock, worlds
from dewpond.kit.failures import Failure
from dewpond.merchants import MerchantId
from dewpond.pay import Confirmation, PaymentId, PinProof
from dewpond.settings import read_settings
from dewpond.wiring import House, open_house

_PEOPLE = "select owner_id from ledger.accounts where code = 'wallet'"
_AT_ONCE = 500
_FIRST_GUESS = 6_000

Key = tuple[MerchantId, PaymentId]


class Payer:
    """Pays on the database that the environment names."""

    def __init__(self) -> None:
        self._stack = AsyncExitStack()
        self._house: House | None = None
        self._world: worlds.World | None = None
        self._people: list[PersonId] = []
        self._apps: list[App] = []
        self._open: deque[Key] = deque()
        self._guess: dict[int, float] = {}

    @property
    def house(self) -> House:
        assert self._house is not None
        return self._house

    async def open(self) -> dict[str, Any]:
        """Connect, and learn who pays whom; merchants that have no app are known to the ledger alone."""
        dsn = os.environ["DEWPOND_DATABASE_URL"]
        self._house = await self._stack.enter_async_context(open_house(read_settings(), dsn=dsn, name="bench payer"))
        async with self.house.db.transaction() as tx:
            self._world = await worlds.get_world(tx)
            self._people = [row[0] for row in await tx.connection.fetch(_PEOPLE)]
        self._apps = await list_apps(self.house.db)
        return {}

    async def ready(self, seconds: float, callers: int) -> dict[str, Any]:
        """Have enough open payments for a run, with some to spare."""
        wanted = int(self._guess.get(callers, _FIRST_GUESS) * seconds * 1.3) + 1_000
        gc.unfreeze()
        await self._open_payments(wanted - len(self._open), "http://127.0.0.1:9/notify")
        gc.collect()
        gc.freeze()  # a server holds no such heap, and its collector would walk it again and again
        return {}

    async def _open_payments(self, wanted: int, notify_url: str) -> None:
        opened = await open_payments(self.house.db, self._apps, wanted, notify_url=notify_url)
        self._open += [(merchant_id, one.payment_id) for merchant_id, one in opened]

    async def confirm(self, seconds: float, callers: int) -> dict[str, Any]:
        """So many callers, each awaiting its own payment, as a phone's request does."""
        waits: list[float] = []
        began = time.perf_counter()

        async def caller() -> None:
            while time.perf_counter() - began < seconds and self._open:
                at = time.perf_counter()
                await self.house.confirmations.submit(self._confirmation())
                waits.append((time.perf_counter() - at) * 1000)

        async with folding(self.house.db):
            await asyncio.gather(*(caller() for _ in range(callers)))
            elapsed = time.perf_counter() - began
        self._guess[callers] = len(waits) / elapsed
        return {"operations": len(waits), "seconds": elapsed, "waits": [round(wait, 3) for wait in waits]}

    def _confirmation(self) -> Confirmation:
        assert self._world is not None
        merchant_id, payment_id = self._open.popleft()
        return Confirmation(
            merchant_id=merchant_id,
            payment_id=payment_id,
            payer_id=random.choice(self._people),
            proof=PinProof(PIN),
            now=self._world.time(clock.wall_now()),
        )

    async def stock(self, payments: int, notify_url: str) -> dict[str, Any]:
        """Have so many open payments whose merchants want to be told at a URL."""
        self._open.clear()
        await self._open_payments(payments, notify_url)
        return {}

    async def burst(self, payments: int) -> dict[str, Any]:
        """Confirm so many at once; when each was committed, by the wall clock."""
        committed: list[float] = []
        while payments:
            size = min(payments, _AT_ONCE)
            payments -= size
            async with self.house.db.transaction() as tx:
                confirmations = [self._confirmation() for _ in range(size)]
                for outcome in await pay.confirm_payments(tx, confirmations, secrets=self.house.secrets):
                    if isinstance(outcome, Failure):
                        raise outcome
            committed += [clock.wall_now().timestamp()] * size
        return {"committed": committed}

    async def leave(self) -> dict[str, Any]:
        """Disconnect."""
        await self._stack.aclose()
        return {}


if __name__ == "__main__":
    payer = Payer()
    serve(
        {
            "open": payer.open,
            "ready": payer.ready,
            "confirm": payer.confirm,
            "stock": payer.stock,
            "burst": payer.burst,
            "leave": payer.leave,
        }
    )
