"""A shop's till for the tests of pay: opens, confirms and refunds, each in its own transaction."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import count
from typing import Any

import msgspec
import pytest

from dewpond import ledger, pay
from dewpond.identity import Person
from dewpond.identity.challenges import mark_verified, open_confirmation
from dewpond.identity.sessions import How, Realm, Session, open_session
from dewpond.kit import worlds
from dewpond.kit.clock import Now
from dewpond.kit.db import Database
from dewpond.kit.failures import Failure
from dewpond.kit.money import CNY, Money
from dewpond.kit.secrets import MasterKeys
from dewpond.pay import Opened, Payment, Refund

_numbers = count(1)


@dataclass(frozen=True)
class Till:
    """One merchant's side and everybody's phone, over one database."""

    database: Database
    secrets: MasterKeys
    shop: Any

    async def now(self) -> Now:
        async with self.database.transaction() as tx:
            return await worlds.read_clocks(tx)

    def opening(self, now: Now, minor: int = 1800, **changed: Any) -> pay.Opening:
        asked: dict[str, Any] = {
            "merchant_id": self.shop.merchant.id,
            "app_id": self.shop.app.id,
            "merchant_reference": f"tea-{next(_numbers):06d}",
            "description": "Jasmine tea",
            "amount": Money(minor, CNY),
            "fee_rate_bp": self.shop.merchant.fee_rate_bp,
            "expires_at": now.world + timedelta(days=7),
            "now": now,
            "request": pay.NewRequest(
                trade_type="NATIVE", request_hash=b"first", notify_url="http://localhost:9/notify"
            ),
        }
        return pay.Opening(**{**asked, **changed})

    async def open(self, minor: int = 1800, **changed: Any) -> Opened:
        now = changed.pop("now", None) or await self.now()
        async with self.database.transaction() as tx:
            outcome = (await pay.open_payments(tx, [self.opening(now, minor, **changed)]))[0]
        if isinstance(outcome, Failure):
            raise outcome
        return outcome

    async def confirm(
        self,
        opened: Opened,
        payer: Person,
        pin: str = "123456",
        now: Now | None = None,
        *,
        proof: pay.Proof | None = None,
    ) -> Payment:
        outcome = (await self.confirm_all([self.confirmation(opened, payer, proof or pay.PinProof(pin), now)]))[0]
        if isinstance(outcome, Failure):
            raise outcome
        return outcome

    def confirmation(
        self, opened: Opened, payer: Person, proof: pay.Proof, now: Now | None = None, **changed: Any
    ) -> pay.Confirmation:
        asked: dict[str, Any] = {
            "merchant_id": self.shop.merchant.id,
            "payment_id": opened.payment_id,
            "payer_id": payer.id,
            "proof": proof,
            "now": now,
        }
        return pay.Confirmation(**{**asked, **changed})

    async def confirm_all(self, confirmations: Sequence[pay.Confirmation]) -> list[Payment | Failure]:
        """In one batch; those that say no time are of this moment."""
        now = await self.now()
        timed = [each if each.now else msgspec.structs.replace(each, now=now) for each in confirmations]
        async with self.database.transaction() as tx:
            return await pay.confirm_payments(tx, timed, secrets=self.secrets)

    async def refund(self, payment_id: Any, minor: int, total: int = 1800, **changed: Any) -> Refund:
        now = changed.pop("now", None) or await self.now()
        currency = changed.pop("currency", CNY)
        asked: dict[str, Any] = {
            "merchant_id": self.shop.merchant.id,
            "payment_id": payment_id,
            "merchant_reference": f"back-{next(_numbers):06d}",
            "amount": Money(minor, currency),
            "total": Money(total, currency),
            "request_hash": b"first",
        }
        async with self.database.transaction() as tx:
            return await pay.request_refund(tx, pay.RefundRequest(**{**asked, **changed}), now=now)

    async def settle(self, refund: Refund) -> Refund:
        now = await self.now()
        async with self.database.transaction() as tx:
            return await pay.settle_refund(tx, refund.merchant_id, refund.id, now=now)

    async def payment(self, opened: Opened) -> Payment:
        async with self.database.transaction() as tx:
            return await pay.get_payment(tx, self.shop.merchant.id, opened.payment_id)

    async def holdings(self, owner_id: Any) -> tuple[int, int]:
        """What an owner has and what of it is held, in fen."""
        async with self.database.transaction() as tx:
            balances = await ledger.list_balances(tx, owner_id)
        return sum(b.posted for b in balances), sum(b.held for b in balances)

    async def phone(self, person: Person) -> Session:
        """A person's phone, signed in."""
        now = await self.now()
        async with self.database.transaction() as tx:
            session, _ = await open_session(
                tx, Realm.PERSON, person.id, device="phone", address="127.0.0.1", how=How.PASSKEY, wall_now=now.wall
            )
        return session

    async def sign(
        self,
        phone: Session,
        opened: Opened,
        minor: int = 1800,
        *,
        is_verified: bool = True,
        age: timedelta = timedelta(),
        **changed: Any,
    ) -> pay.PasskeyProof:
        """A challenge for this payment, whose signature was right."""
        now = await self.now()
        bound = {"merchant_id": self.shop.merchant.id, "payment_id": opened.payment_id, "amount": Money(minor, CNY)}
        async with self.database.transaction() as tx:
            challenge = await open_confirmation(tx, phone, **{**bound, **changed}, wall_now=now.wall - age)
            if is_verified:
                await mark_verified(tx, phone, challenge.id, wall_now=now.wall - age)
        return pay.PasskeyProof(challenge_id=challenge.id, session_id=phone.id)

    async def limit(self, person: Person, **changed: Any) -> None:
        """Let these be a person's limits."""
        now = await self.now()
        async with self.database.transaction() as tx:
            await pay.set_limits(tx, pay.Limits(person_id=person.id, **changed), now=now)

    async def movements(self, person: Person, **asked: Any) -> list[pay.Movement]:
        async with self.database.transaction() as tx:
            return await pay.list_movements(tx, person.id, **asked)


NewTill = Callable[..., Awaitable[Till]]


@pytest.fixture
async def till(database: Database, secrets: MasterKeys, new_merchant: Any) -> Till:
    """A fresh merchant's till."""
    return Till(database, secrets, await new_merchant())


@pytest.fixture
async def other_till(till: Till, dsn: str) -> AsyncIterator[Till]:
    """The same till as another process has it: over a pool of its own."""
    database = await Database.open(dsn, size=10, name="elsewhere")
    yield replace(till, database=database)
    await database.close()


@pytest.fixture
async def books(database: Database) -> AsyncIterator[None]:
    """After the test the books of the whole module's database must be right."""
    yield
    async with database.transaction() as tx:
        assert (await ledger.trial_balance(tx)).is_sound
