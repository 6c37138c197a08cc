"""Deliveries at the desk: what all merchants' servers were told, how it went, and telling one again."""

import asyncio
from typing import Any, Final
from urllib.parse import urlencode, urlsplit
from uuid import UUID

import msgspec
from litestar import Request, Response, get, post
from litestar.params import FromPath
from litestar.response import Redirect

from dewpond import merchants, openplatform
from dewpond.kit import worlds
from dewpond.kit.ids import IdInvalid
from dewpond.merchants import Deed, Merchant, MerchantId
from dewpond.openplatform import Delivery, DeliveryId, DeliveryNotFound, DeliveryStatus
from dewpond.web.acts import note_act
from dewpond.web.attempts import outcome_of
from dewpond.web.desk.frame import desk_page, read_desk
from dewpond.web.desk.sums import sums_of
from dewpond.web.forms import Nothing, form
from dewpond.web.needs import Needs, needs
from dewpond.web.pages import go
from dewpond.web.sites import site_of

_PAGE: Final = 50
#: Those that were given up are looked for among all there ever were.
_SEARCH_SECONDS: Final = 4.0


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A delivery as a row shows it."""

    delivery: Delivery
    merchant: Merchant | None

    @property
    def text_id(self) -> str:
        return openplatform.to_text(self.delivery.id)

    @property
    def host(self) -> str:
        """Where it goes, as far as a row has room."""
        return urlsplit(self.delivery.url).netloc


@get("/desk/deliveries", opt=needs(Needs.OPERATOR))
async def deliveries(request: Request[Any, Any, Any]) -> Response[str]:
    """All merchants' deliveries, the newest first; by their state."""
    state = request.query_params.get("status", "")
    status = DeliveryStatus(state) if state in {one.value for one in DeliveryStatus} else None
    db, found, is_cut = site_of(request).house.db, list[Delivery](), False
    try:
        async with asyncio.timeout(_SEARCH_SECONDS), db.transaction() as tx:
            before_id = _id_before(request.query_params.get("before", ""))
            found = await openplatform.list_newest_deliveries(tx, status=status, before_id=before_id, most=_PAGE + 1)
    except TimeoutError:
        is_cut = True
    counts = await sums_of(request).deliveries.look()
    async with db.transaction() as tx:
        desk = await read_desk(tx, request)
        shops = {one.id: one for one in await merchants.list_merchants(tx, list({one.merchant_id for one in found}))}
    more = ""
    if len(found) > _PAGE:
        more = "/desk/deliveries?" + urlencode({"status": state, "before": found[_PAGE - 1].id})
    return desk_page(
        request,
        desk,
        "desk/deliveries.html",
        rows=[Row(delivery=one, merchant=shops.get(MerchantId(one.merchant_id))) for one in found[:_PAGE]],
        more=more,
        asked=status.value if status else "",
        counts=counts.value,
        is_cut=is_cut,
    )


def _id_before(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


@get("/desk/deliveries/{delivery_id:str}", opt=needs(Needs.OPERATOR))
async def delivery(request: Request[Any, Any, Any], delivery_id: FromPath[str]) -> Response[str]:
    """One delivery with every attempt and what came back."""
    async with site_of(request).house.db.transaction() as tx:
        desk = await read_desk(tx, request)
        one = await openplatform.find_delivery(tx, _id_of(delivery_id))
        attempts = await openplatform.list_attempts(tx, one.merchant_id, one.id)
        shops = await merchants.list_merchants(tx, [one.merchant_id])
    row = Row(delivery=one, merchant=next(iter(shops), None))
    return desk_page(request, desk, "desk/delivery.html", row=row, attempts=attempts, outcome_of=outcome_of)


@post("/desk/deliveries/{delivery_id:str}/attempts", status_code=303, opt=needs(Needs.OPERATOR))
async def send_again(request: Request[Any, Any, Any], delivery_id: FromPath[str]) -> Redirect:
    """Let one more attempt be made at once, beside the schedule."""
    await form(request, Nothing)
    async with site_of(request).house.db.transaction() as tx:
        now = await worlds.read_clocks(tx)
        one = await openplatform.find_delivery(tx, _id_of(delivery_id))
        await openplatform.resend(tx, None, one.id, now=now)
        merchant_id = MerchantId(one.merchant_id)
        await note_act(tx, request, Deed.DELIVERY_RESENT, now=now, merchant_id=merchant_id, subject=delivery_id)
    return go(f"/desk/deliveries/{delivery_id}", said="sent-again")


def _id_of(text: str) -> DeliveryId:
    try:
        return openplatform.from_text(text)
    except IdInvalid:
        raise DeliveryNotFound(id=text) from None


ROUTES = [deliveries, delivery, send_again]
