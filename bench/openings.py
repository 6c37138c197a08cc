"""Payments that are opened beforehand, and who asks for them."""

import os
import random
from collections.abc import Sequence
from datetime import timedelta
from itertools import count
from uuid import UUID

from dewpond import pay
from dewpond.kit import clock, worlds
from dewpond.kit.db import Database
from dewpond.kit.failures import Failure
from dewpond.kit.ids import new_id
from dewpond.kit.money import CNY, Money
from dewpond.merchants import AppId, MerchantId
from dewpond.pay import NewRequest, Opened, Opening

_APPS = "select merchant_id, id from merchants.apps order by id"
_PAYEES = "select owner_id from ledger.accounts where code = 'unsettled'"
_AT_ONCE = 500

App = tuple[UUID, UUID]

_numbers = count(1)


async def list_apps(db: Database) -> list[App]:
    """Who can be paid: (merchant id, app id), in the order in which they came. Merchants that are known to the ledger
    alone get an app made up."""
    async with db.transaction() as tx:
        apps = [tuple(row) for row in await tx.connection.fetch(_APPS)]
        return apps or [(row[0], new_id()) for row in await tx.connection.fetch(_PAYEES)]


async def open_payments(
    db: Database, apps: Sequence[App], wanted: int, *, notify_url: str = ""
) -> list[tuple[MerchantId, Opened]]:
    """So many open payments of 18.00, each of a merchant drawn by lot; with their codes."""
    async with db.transaction() as tx:
        world = await worlds.get_world(tx)
    opened: list[tuple[MerchantId, Opened]] = []
    while len(opened) < wanted:
        now = world.time(clock.wall_now())
        openings = [
            Opening(
                merchant_id=MerchantId(merchant),
                app_id=AppId(app),
                merchant_reference=f"bench-{os.getpid()}-{next(_numbers):010d}",
                description="Jasmine tea",
                amount=Money(1800, CNY),
                fee_rate_bp=60,
                expires_at=now.world + timedelta(days=7),
                now=now,
                request=NewRequest(trade_type="NATIVE", request_hash=b"first", notify_url=notify_url),
            )
            for merchant, app in random.choices(apps, k=min(wanted - len(opened), _AT_ONCE))
        ]
        async with db.transaction() as tx:
            for opening, outcome in zip(openings, await pay.open_payments(tx, openings), strict=True):
                if isinstance(outcome, Failure):
                    raise outcome
                opened.append((opening.merchant_id, outcome))
    return opened
