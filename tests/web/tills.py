"""A shop's till for the tests of the console: sells, gives back, and lets the worker do what follows."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from dewpond import identity, pay, reservoir
from dewpond.kit import clock, outbox
from dewpond.kit.clock import Now
from dewpond.kit.ids import new_id
from dewpond.pay import Confirmation, Opened, Payment, PinProof, Refund
from dewpond.worker import drain
from web.counters import PIN, Counter


@dataclass(frozen=True)
class Till(Counter):
    """`till = Till(house, await new_merchant("Tea Shop"))`; `await till.sell(alice, "18.00")`."""

    @property
    def path(self) -> str:
        """Where its console is."""
        return f"/m/{self.shop.merchant.number}"

    async def open_id(self, person: Any) -> str:
        """What this shop calls somebody."""
        pair = (self.shop.app.id, person.id)
        async with self.house.db.transaction() as tx:
            return (await identity.open_ids(tx, [pair], wall_now=clock.wall_now()))[pair]

    async def sell(
        self, payer: Any, sum_: str = "18.00", *, what: str = "Longjing", at: datetime | None = None
    ) -> Payment:
        """Somebody pays this sum; `at` for a moment of the world's past."""
        opened = await self.ask(sum_, what=what)
        now = await self.now()
        return await self.house.confirmations.submit(
            Confirmation(
                merchant_id=self.shop.merchant.id,
                payment_id=opened.payment_id,
                payer_id=payer.id,
                proof=PinProof(pin=PIN),
                now=Now(world=at, wall=now.wall) if at else now,
            )
        )

    async def settle(self) -> None:
        """Let everything that follows be done: drops fall, deliveries are tried."""
        await drain(self.house)

    async def refund(self, paid: Payment, sum_: str) -> Refund:
        """Give a part of a payment back, at once."""
        return await self.give_back(Opened(payment_id=paid.id, code=""), sum_)

    async def fill(self, people: Sequence[Any], *, currency: str = "CNY") -> None:
        """Let people settle in the pool as the reaction to their payments does; each has paid a little while ago."""
        now = await self.now()
        events = [
            pay.PaymentSucceeded(
                merchant_id=self.shop.merchant.id,
                payment_id=new_id(),
                person_id=person.id,
                app_id=self.shop.app.id,
                minor=900 + number // 2,
                fee_minor=0,
                currency=currency,
                occurred_at=now.world - timedelta(minutes=number // 3),
            )
            for number, person in enumerate(people)
        ]
        async with self.house.db.transaction() as tx:
            await outbox.publish(tx, events, wall_now=now.wall)
            while await outbox.relay(tx):
                pass
            last = await outbox.last_position(tx)
            facts = await outbox.page(tx, after=last - len(events), most=len(events))
            await reservoir.record_purchases(tx, facts, now)
