"""What tests of the desk have in hand: shops that sell, and figures read off a page."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest

from dewpond.kit import worlds
from dewpond.kit.db import Database
from dewpond.kit.ids import new_id
from dewpond.kit.money import Money
from dewpond.pay import Confirmation, NewRequest, Opening, Payment, PinProof
from dewpond.worker import work

PIN = "123456"


@asynccontextmanager
async def working(house: Any) -> AsyncIterator[None]:
    """Somebody does what falls due meanwhile."""
    stop = asyncio.Event()
    task = asyncio.create_task(work(house, stop))
    try:
        yield
    finally:
        stop.set()
        await asyncio.wait_for(task, 60)


async def sell(
    house: Any,
    database: Database,
    shop: Any,
    payer: Any,
    amount: str = "18.00",
    description: str = "Longjing",
    notify_url: str = "http://127.0.0.1:9/none",
) -> Payment:
    """Somebody buys something."""
    async with database.transaction() as tx:
        now = await worlds.read_clocks(tx)
    opened = await house.openings.submit(
        Opening(
            merchant_id=shop.merchant.id,
            app_id=shop.app.id,
            merchant_reference=new_id().hex,
            description=description,
            amount=Money.parse(amount),
            fee_rate_bp=60,
            expires_at=now.world + timedelta(hours=2),
            now=now,
            request=NewRequest(trade_type="NATIVE", request_hash=b"h", notify_url=notify_url),
        )
    )
    paid: Payment = await house.confirmations.submit(
        Confirmation(
            merchant_id=shop.merchant.id,
            payment_id=opened.payment_id,
            payer_id=payer.id,
            proof=PinProof(PIN),
            now=now,
        )
    )
    return paid


@pytest.fixture
def always_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The desk's sums are of the moment of each look, also on a slow machine."""
    monkeypatch.setattr("dewpond.web.desk.sums._AGAIN_SECONDS", 0.0)
    monkeypatch.setattr("dewpond.web.desk.sums._AGAIN_SLOWLY_SECONDS", 0.0)


def plain(html: str) -> str:
    """What a reader sees of a piece of a page."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", html)).strip()


def figure(text: str, label: str) -> str:
    """What stands on a tile."""
    tile = re.search(rf'tile__label">(?:<a[^>]*>)?{label}(?:</a>)?</dt>\s*<dd[^>]*>(.*?)</dd>', text, re.S)
    assert tile is not None, label
    return plain(tile[1])


def fen(text: str) -> int:
    """What an amount on a page is in minor units; a dash is nothing."""
    return int(re.sub(r"[^0-9-]", "", text.replace("−", "-")) or 0)


def fact(text: str, label: str) -> str:
    """What stands beside a label."""
    found = re.search(rf"<dt>{label}</dt><dd>(.*?)</dd>", text, re.S)
    assert found is not None, label
    return plain(found[1])


def hidden(text: str, name: str) -> str:
    """What a form carries along."""
    found = re.search(rf'name="{name}" value="([^"]*)"', text)
    assert found is not None, name
    return found[1]
