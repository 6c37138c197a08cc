"""Deliveries of a shop: what its server was told, each attempt, and telling it again."""

from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import urlencode
from uuid import UUID

import msgspec
from litestar import Request, Response, get, post
from litestar.params import FromPath
from litestar.response import Redirect

from dewpond import openplatform, pay
from dewpond.kit import worlds
from dewpond.kit.db import Tx
from dewpond.kit.ids import IdInvalid
from dewpond.merchants import Capability, Deed, Merchant
from dewpond.openplatform import Delivery, DeliveryId, DeliveryNotFound, DeliveryStatus
from dewpond.pay import Payment, PaymentId
from dewpond.web.acts import note_act
from dewpond.web.attempts import outcome_of
from dewpond.web.console.shops import read_place, shop_page, write_place
from dewpond.web.forms import form
from dewpond.web.needs import needs
from dewpond.web.pages import go, safe_path
from dewpond.web.sites import merchant_of, site_of

_PAGE: Final = 50


class _Back(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    next: str = ""


class Telling(msgspec.Struct, frozen=True, kw_only=True):
    """A delivery as a row shows it, with the payment it is about."""

    delivery: Delivery
    text_id: str
    payment: Payment | None


@get("/m/{mchid:str}/deliveries", opt=needs(Capability.DELIVERIES))
async def deliveries(request: Request[Any, Any, Any]) -> Response[str]:
    """What this shop's server was told, the newest first."""
    merchant = merchant_of(request)
    state = request.query_params.get("status", "")
    status = DeliveryStatus(state) if state in {one.value for one in DeliveryStatus} else None
    before = read_place(request.query_params.get("before", ""))
    async with site_of(request).house.db.transaction() as tx:
        found = await openplatform.list_deliveries(
            tx, merchant_id=merchant.id, status=status, before=before, most=_PAGE + 1
        )
        rows = await _told(tx, merchant, found[:_PAGE])
    more = ""
    if len(found) > _PAGE:
        last = found[_PAGE - 1]
        query = {"status": status or "", "before": write_place(last.created_at, last.id)}
        more = f"/m/{merchant.number}/deliveries?{urlencode(query)}"
    return shop_page(request, "console/deliveries.html", shown=rows, more=more, status_asked=status or "")


async def _told(tx: Tx, merchant: Merchant, found: Sequence[Delivery]) -> list[Telling]:
    """Deliveries with their payments; one of a refund is about the payment that was refunded."""
    refunds = await pay.list_refunds_by_key(
        tx, [(merchant.id, one.subject_id) for one in found if one.event_kind.startswith("refund.")]
    )
    payment_of: dict[UUID, UUID] = {one.id: one.payment_id for one in refunds}
    about = {one.id: payment_of.get(one.subject_id, one.subject_id) for one in found}
    payments = {one.id: one for one in await pay.list_payments(tx, [(merchant.id, id_) for id_ in set(about.values())])}
    return [
        Telling(delivery=one, text_id=openplatform.to_text(one.id), payment=payments.get(PaymentId(about[one.id])))
        for one in found
    ]


@get("/m/{mchid:str}/deliveries/{delivery_id:str}", opt=needs(Capability.DELIVERIES))
async def delivery(request: Request[Any, Any, Any], delivery_id: FromPath[str]) -> Response[str]:
    """One delivery with every attempt and what came back."""
    merchant = merchant_of(request)
    async with site_of(request).house.db.transaction() as tx:
        one = await openplatform.get_delivery(tx, merchant.id, _id_of(delivery_id))
        attempts = await openplatform.list_attempts(tx, merchant.id, one.id)
        [told] = await _told(tx, merchant, [one])
    body = "" if one.body is None else one.body.decode("utf-8", "replace")
    return shop_page(
        request,
        "console/delivery.html",
        told=told,
        delivery=one,
        attempts=attempts,
        outcome_of=outcome_of,
        body=body,
    )


@post("/m/{mchid:str}/deliveries/{delivery_id:str}/attempts", status_code=303, opt=needs(Capability.DELIVERIES))
async def send_again(request: Request[Any, Any, Any], delivery_id: FromPath[str]) -> Redirect:
    """Let one more attempt be made at once, beside the schedule."""
    merchant = merchant_of(request)
    given: _Back = await form(request, _Back)
    async with site_of(request).house.db.transaction() as tx:
        now = await worlds.read_clocks(tx)
        await openplatform.resend(tx, merchant.id, _id_of(delivery_id), now=now)
        await note_act(tx, request, Deed.DELIVERY_RESENT, now=now, merchant_id=merchant.id, subject=delivery_id)
    return go(safe_path(given.next, f"/m/{merchant.number}/deliveries/{delivery_id}"), said="sent-again")


def _id_of(text: str) -> DeliveryId:
    try:
        return openplatform.from_text(text)
    except IdInvalid:
        raise DeliveryNotFound(id=text) from None


ROUTES = [deliveries, delivery, send_again]
