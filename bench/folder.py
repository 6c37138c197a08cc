"""The folder as a worker runs it, beside the load of a child."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from dewpond import ledger
from dewpond.kit.db import Database

_EVERY_SECONDS = 0.2


@asynccontextmanager
async def folding(db: Database, *, statements: bool = False) -> AsyncIterator[None]:
    """Fold each 200 ms while the block runs, and write statements if asked to; a step that fails raises here."""
    stop = asyncio.Event()
    task = asyncio.create_task(_fold(db, stop, statements))
    try:
        yield
    finally:
        stop.set()
        await task


async def _fold(db: Database, stop: asyncio.Event, statements: bool) -> None:
    while not stop.is_set():
        async with db.transaction() as tx:
            await ledger.fold(tx)
        if statements:
            async with db.transaction() as tx:
                await ledger.write_statements(tx)
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), _EVERY_SECONDS)
