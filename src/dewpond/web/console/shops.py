"""What the pages of a console have alike: whose it is, payments with the names of those who paid, places in lists."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from litestar import Request, Response

from dewpond import identity, merchants
from dewpond.kit.db import Tx
from dewpond.merchants import Merchant, Role
from dewpond.pay import Payment, PaymentStatus
from dewpond.web.pages import page
from dewpond.web.sites import merchant_of


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """A payment as a row shows it."""

    merchant_number: str
    payment: Payment
    #: What it is at this moment: an expired one is closed.
    status: PaymentStatus
    payer_name: str


def role_of(request: Request[Any, Any, Any]) -> Role:
    """What the visitor is at this shop."""
    role: Role = request.scope["state"]["role"]
    return role


def shop_page(request: Request[Any, Any, Any], template: str, *, status: int = 200, **context: Any) -> Response[str]:
    """A page in the frame of the shop it belongs to."""
    role = role_of(request)
    can = {capability.value for capability in merchants.CAPABILITIES[role]}
    return page(request, template, status=status, merchant=merchant_of(request), role=role, can=can, **context)


async def shown(tx: Tx, merchant: Merchant, payments: Sequence[Payment], world_now: datetime) -> list[Shown]:
    """Payments of a shop with the names of those who paid, in their order."""
    return await shown_of(tx, {merchant.id: merchant}, payments, world_now)


async def shown_of(
    tx: Tx, shops: Mapping[UUID, Merchant], payments: Sequence[Payment], world_now: datetime
) -> list[Shown]:
    """The same for payments of several shops."""
    payers = [payment.payer_id for payment in payments if payment.payer_id is not None]
    names = {person.id: person.name for person in await identity.list_people(tx, payers)}
    return [
        Shown(
            merchant_number=shops[payment.merchant_id].number,
            payment=payment,
            status=payment.status_at(world_now),
            payer_name=names.get(payment.payer_id, "") if payment.payer_id else "",
        )
        for payment in payments
    ]


def write_place(at: datetime, last_id: UUID) -> str:
    """Where the next page of a list begins, as an address carries it."""
    return f"{at.isoformat()}~{last_id}"


def read_place(text: str) -> tuple[datetime, UUID] | None:
    """Read it back; None for what is none: the list then begins at its beginning."""
    at, _, last_id = text.partition("~")
    try:
        moment = read_moment(at)
        return None if moment is None else (moment, UUID(last_id))
    except ValueError:
        return None


def read_moment(text: str) -> datetime | None:
    """A moment as an address carries it; None for what is none."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo is not None and 1970 <= moment.year < 9000 else None
