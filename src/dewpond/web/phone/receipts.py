"""Receipts: what was paid, to whom and when, and what came back of it. Shown to whoever paid, and to nobody else."""

from datetime import timedelta
from typing import Any, Final

from litestar import Request, Response, get
from litestar.params import FromPath

from dewpond import merchants, pay
from dewpond.kit import worlds
from dewpond.kit.ids import from_text
from dewpond.kit.money import Money
from dewpond.pay import RefundStatus
from dewpond.web.needs import Needs, needs
from dewpond.web.pages import page
from dewpond.web.sites import site_of, visitor_of

#: So long a receipt is the end of paying, and not yet something to look up.
_JUST_NOW: Final = timedelta(minutes=1)


@get("/receipts/{payment:str}", opt=needs(Needs.PERSON))
async def receipt(request: Request[Any, Any, Any], payment: FromPath[str]) -> Response[str]:
    """The receipt of a payment of this person."""
    payment_id, person_id = from_text("pay", payment), visitor_of(request).session.holder_id
    async with site_of(request).house.db.transaction() as tx:
        now = await worlds.read_clocks(tx)
        paid = await pay.get_payment_of(tx, person_id, payment_id)
        refunds = await pay.list_refunds_of(tx, person_id, payment_id)
        merchant = await merchants.get_merchant(tx, paid.merchant_id)
    assert paid.succeeded_at is not None
    returned = sum(one.minor for one in refunds if one.status is RefundStatus.SUCCEEDED)
    return page(
        request,
        "phone/receipt.html",
        payment=paid,
        merchant=merchant,
        refunds=refunds,
        returned=Money(returned, paid.currency),
        kept=Money(paid.minor - returned, paid.currency),
        is_new=now.world - paid.succeeded_at < _JUST_NOW,
    )


ROUTES = [receipt]
