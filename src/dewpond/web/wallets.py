"""Wallets: what a person has, and what moved in it, as pages show it."""

from collections.abc import Iterable, Sequence
from datetime import date, datetime
from typing import Any
from uuid import UUID

import msgspec

from dewpond import ledger, merchants, pay
from dewpond.kit.clock import SHANGHAI
from dewpond.kit.db import Tx
from dewpond.kit.ids import to_text
from dewpond.kit.money import CNY, Currency, Money
from dewpond.ledger import AccountNotFound
from dewpond.merchants import Merchant
from dewpond.pay import Movement, MovementKind


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """A movement as its owner reads it."""

    movement: Movement
    #: Who was paid, or gave back; None where money came from outside.
    shop: Merchant | None

    @property
    def amount(self) -> Money:
        """Without its sign."""
        return Money(abs(self.movement.minor), self.movement.currency)

    @property
    def is_income(self) -> bool:
        return self.movement.minor > 0

    @property
    def is_refund(self) -> bool:
        return self.movement.kind is MovementKind.REFUND

    @property
    def path(self) -> str:
        """The receipt of the payment it belongs to."""
        payment_id = self.movement.payment_id
        return "" if payment_id is None else receipt_path(payment_id)

    @property
    def at(self) -> datetime:
        return self.movement.occurred_at

    @property
    def day(self) -> date:
        return day_in_world(self.at)


def day_in_world(at: datetime) -> date:
    """The day on which it happened, where this world's days begin and end."""
    return at.astimezone(SHANGHAI).date()


def receipt_path(payment_id: UUID) -> str:
    """Where the receipt of a payment is."""
    return f"/receipts/{to_text('pay', payment_id)}"


async def read_balance(tx: Tx, person_id: UUID, currency: Currency = CNY) -> Money:
    """What this person can spend; nothing where they have no wallet in this currency yet."""
    try:
        balance = await ledger.get_balance(tx, pay.wallet_of(person_id, currency))
    except AccountNotFound:
        return Money(0, currency)
    return Money(balance.available, currency)


async def list_lines(tx: Tx, person_id: UUID, **filters: Any) -> list[Line]:
    """A page of a person's movements with the shops' names; `filters` as `pay.list_movements` takes them."""
    movements = await pay.list_movements(tx, person_id, **filters)
    shops = await shops_by_id(tx, (one.merchant_id for one in movements if one.merchant_id is not None))
    return [Line(movement=one, shop=shops.get(one.merchant_id) if one.merchant_id else None) for one in movements]


async def shops_by_id(tx: Tx, merchant_ids: Iterable[UUID]) -> dict[UUID, Merchant]:
    """Who they are."""
    wanted = list(set(merchant_ids))
    return {one.id: one for one in await merchants.list_merchants(tx, wanted)} if wanted else {}


async def shops_named(tx: Tx, person_id: UUID, text: str) -> Sequence[UUID]:
    """Whom of those they paid a person may mean by a word."""
    paid = await merchants.list_merchants(tx, await pay.list_payees(tx, person_id))
    return [shop.id for shop in paid if text.casefold() in shop.name.casefold()]
