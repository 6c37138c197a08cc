"""A shop's counter for the tests of the phone: asks for money, gives some back, and lets its pool take in the drops."""

from dataclasses import dataclass
from datetime import timedelta
from itertools import count
from typing import Any

from dewpond import pay, reservoir
from dewpond.kit import outbox, worlds
from dewpond.kit.clock import Now
from dewpond.kit.money import CNY, Money
from dewpond.pay import NewRequest, Opened, Opening, Payment, Refund, RefundRequest, StandingCode

PIN = "123456"

_numbers = count(1)


@dataclass(frozen=True)
class Counter:
    """`counter = Counter(house, await new_merchant("Tea Shop"))`."""

    house: Any
    shop: Any

    async def now(self) -> Now:
        async with self.house.db.transaction() as tx:
            return await worlds.read_clocks(tx)

    async def ask(
        self, sum_: str = "18.00", *, what: str = "Jasmine tea", minutes: float = 10, meant_for: Any = None
    ) -> Opened:
        """Show a code for this sum, to everybody or to one person."""
        now = await self.now()
        opening = Opening(
            merchant_id=self.shop.merchant.id,
            app_id=self.shop.app.id,
            merchant_reference=f"tea-{next(_numbers):08d}",
            description=what,
            amount=Money.parse(sum_, CNY),
            fee_rate_bp=60,
            expires_at=now.world + timedelta(minutes=minutes),
            now=now,
            meant_for=meant_for,
            request=NewRequest(trade_type="NATIVE", request_hash=b"x", notify_url="http://localhost:9/notify"),
        )
        opened: Opened = await self.house.openings.submit(opening)
        return opened

    async def close(self, opened: Opened) -> None:
        """Take it back before anybody pays."""
        now = await self.now()
        async with self.house.db.transaction() as tx:
            payment = await pay.get_payment(tx, self.shop.merchant.id, opened.payment_id)
            await pay.close_payment(tx, payment.merchant_id, payment.merchant_reference, now=now)

    async def payment(self, opened: Opened) -> Payment:
        async with self.house.db.transaction() as tx:
            return await pay.get_payment(tx, self.shop.merchant.id, opened.payment_id)

    async def give_back(self, opened: Opened, sum_: str, *, reason: str | None = None, settle: bool = True) -> Refund:
        """Refund a part; unless it is to settle later, the money is back at once."""
        now, payment = await self.now(), await self.payment(opened)
        request = RefundRequest(
            merchant_id=payment.merchant_id,
            payment_id=payment.id,
            merchant_reference=f"back-{next(_numbers):08d}",
            amount=Money.parse(sum_, CNY),
            total=payment.amount,
            request_hash=b"x",
            reason=reason,
        )
        async with self.house.db.transaction() as tx:
            refund = await pay.request_refund(tx, request, now=now)
            if settle:
                await pay.settle_refund(tx, refund.merchant_id, refund.id, now=now)
        return refund

    async def put_up(self, title: str = "Counter") -> StandingCode:
        """Print a code."""
        now = await self.now()
        async with self.house.db.transaction() as tx:
            return await pay.create_standing_code(tx, self.shop.merchant.id, self.shop.app.id, title, now=now)

    async def take_in_drops(self) -> None:
        """Let everything that has happened reach the pools, as the worker does."""
        now = await self.now()
        async with self.house.db.transaction() as tx:
            while await outbox.relay(tx):
                pass
            facts = await outbox.page(tx, after=0, most=100_000)
            await reservoir.record_purchases(tx, facts, now)
            await reservoir.record_refunds(tx, facts, now)


async def pay_by_pin(client: Any, opened: Opened, pin: str = PIN, **headers: str) -> Any:
    """What the form of the checkout sends."""
    return await client.send_form(f"/q/{opened.code}/confirmation", headers=headers, pin=pin)


async def money_of(house: Any, person: Any) -> int:
    """What is in somebody's wallet, in minor units."""
    from dewpond.web.wallets import read_balance

    async with house.db.transaction() as tx:
        return (await read_balance(tx, person.id)).minor
