"""Steps: what is done of facts, credits and expiries at one go, by every round and at each moment of a moved clock."""

import asyncio
from typing import Final

from dewpond import identity, ledger, pay
from dewpond.kit import budgets, worlds
from dewpond.wiring import House
from dewpond.worker.readers import read_page, readers_of, relay

_SWEEP_MOST: Final = 500


async def read_facts(house: House) -> int:
    """Relay, and let every reader take a page; how many facts moved."""
    moved = await relay(house)
    async with asyncio.TaskGroup() as group:
        pages = [group.create_task(read_page(house, reader)) for reader in readers_of(house.reactions)]
    return moved + sum(page.result() for page in pages)


async def fold(house: House) -> int:
    """Add waiting credits up and write statements; how many of both."""
    async with house.db.transaction() as tx:
        folded = await ledger.fold(tx)
    async with house.db.transaction() as tx:
        return folded + await ledger.write_statements(tx)


async def sweep(house: House) -> int:
    """Write down what has expired, how much of the world's business; and forget sign-ins and budgets that are over."""
    total = 0
    while True:
        async with house.db.transaction() as tx:
            now = await worlds.read_clocks(tx)
            swept = await pay.sweep_expired(tx, now=now, most=_SWEEP_MOST)
            expired = await ledger.expire_holds(tx, now=now.world, most=_SWEEP_MOST)
            forgotten = await identity.forget_expired(tx, wall_now=now.wall, most=_SWEEP_MOST)
            whole = await budgets.forget_whole(tx, wall_now=now.wall, most=_SWEEP_MOST)
        total += swept + expired
        if max(swept, expired, forgotten, whole) < _SWEEP_MOST:
            return total
