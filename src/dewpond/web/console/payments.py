"""Payments of a shop: the list, one payment with everything that happened to it, and giving money back."""

import hashlib
from collections.abc import Sequence
from datetime import datetime, time, timedelta
from typing import Any, Final
from urllib.parse import urlencode
from uuid import UUID

import msgspec
from litestar import Request, Response, get, post
from litestar.params import FromPath
from litestar.response import Redirect

from dewpond import identity, ledger, openplatform, pay, reservoir
from dewpond.kit import worlds
from dewpond.kit.clock import SHANGHAI
from dewpond.kit.db import Tx
from dewpond.kit.failures import Failure
from dewpond.kit.ids import IdInvalid, from_text, new_id, to_text
from dewpond.kit.money import AmountInvalid, Money
from dewpond.merchants import Capability, Deed, Merchant
from dewpond.openplatform import Delivery, DeliveryAttempt
from dewpond.pay import Payment, PaymentId, PaymentStatus, Refund, RefundRequest
from dewpond.web.acts import note_act
from dewpond.web.attempts import outcome_of
from dewpond.web.console.pool import address_of
from dewpond.web.console.shops import read_place, shop_page, shown, write_place
from dewpond.web.failures import FormInvalid, sentence, status_of
from dewpond.web.forms import form
from dewpond.web.live import settled
from dewpond.web.needs import needs
from dewpond.web.pages import go
from dewpond.web.sites import merchant_of, site_of

_PAGE: Final = 50
_REFUSALS: Final = (
    AmountInvalid,
    FormInvalid,
    pay.PaymentNotFound,
    pay.RefundTooMuch,
    pay.RefundTooLate,
    pay.RefundTooOften,
    pay.MerchantFundsShort,
    pay.RequestDiffers,
)


class _Wish(msgspec.Struct, frozen=True, kw_only=True):
    """What a list is asked for."""

    q: str = ""
    status: str = ""
    since: str = ""
    until: str = ""
    before: str = ""

    @property
    def is_filtered(self) -> bool:
        return bool(self.q.strip() or self.status or self.since or self.until)

    def from_here(self, last: Payment) -> str:
        """The query of the next page."""
        asked = self.asked() | {"before": write_place(last.opened_at, last.id)}
        return urlencode({name: value for name, value in asked.items() if value})

    def asked(self) -> dict[str, str]:
        return {"q": self.q, "status": self.status, "since": self.since, "until": self.until}


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """One delivery with its attempts, the first one first."""

    delivery: Delivery
    attempts: tuple[DeliveryAttempt, ...]


class _Refunding(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    amount: str
    #: Made with the form: the same form sent twice is one refund.
    key: UUID
    reason: str = ""


@get("/m/{mchid:str}/payments", opt=needs(Capability.PAYMENTS))
async def payments(request: Request[Any, Any, Any]) -> Response[str]:
    """A shop's payments, the newest first."""
    merchant = merchant_of(request)
    wish = msgspec.convert({name: request.query_params.get(name, "")[:200] for name in _Wish.__struct_fields__}, _Wish)
    async with site_of(request).house.db.transaction() as tx:
        position = await settled(tx)
        now = await worlds.read_clocks(tx)
        found = await pay.list_merchant_payments(
            tx,
            merchant.id,
            status=PaymentStatus(wish.status) if wish.status in {one.value for one in PaymentStatus} else None,
            text=wish.q,
            since=_midnight(wish.since),
            until=_midnight(wish.until, days=1),
            before=read_place(wish.before),
            most=_PAGE + 1,
        )
        rows = await shown(tx, merchant, found[:_PAGE], now.world)
    more = f"/m/{merchant.number}/payments?{wish.from_here(found[_PAGE - 1])}" if len(found) > _PAGE else ""
    return shop_page(
        request,
        "console/payments.html",
        shown=rows,
        more=more,
        position=position,
        is_live=not wish.before,
        is_filtered=wish.is_filtered,
        asked=wish.asked(),
    )


def _midnight(text: str, *, days: int = 0) -> datetime | None:
    """The beginning of a day in Shanghai, or of one after it; None for what is no day."""
    try:
        day = datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=SHANGHAI).date()
    except ValueError:
        return None
    return datetime.combine(day + timedelta(days=days), time(), SHANGHAI) if 1970 <= day.year < 9000 else None


# --- one payment ------------------------------------------------------------------------------------------------------


@get("/m/{mchid:str}/payments/{payment_id:str}", opt=needs(Capability.PAYMENTS))
async def payment(request: Request[Any, Any, Any], payment_id: FromPath[str]) -> Response[str]:
    """One payment and everything that happened to it; what may still happen asks for itself anew."""
    return await _payment(request, payment_id)


async def _payment(
    request: Request[Any, Any, Any], text: str, refusal: Failure | None = None, given: _Refunding | None = None
) -> Response[str]:
    merchant = merchant_of(request)
    async with site_of(request).house.db.transaction() as tx:
        now = await worlds.read_clocks(tx)
        one = await _find(tx, merchant, text)
        asked = await pay.get_request(tx, merchant.id, one.id)
        refunds = await pay.list_refunds(tx, merchant.id, one.id)
        payer = None if one.payer_id is None else await identity.get_person(tx, one.payer_id)
        in_pool = "" if payer is None else await address_of(tx, merchant, payer.id)
        told = await _told(tx, one, [asked.notify_url, *(refund.notify_url or "" for refund in refunds)])
        keys = [pay.payment_entry_key(one.id), *(pay.refund_entry_key(refund.id) for refund in refunds)]
        walked = await ledger.walk_entries(tx, keys)
    return shop_page(
        request,
        "console/payment_now.html" if request.headers.get("hx-request") else "console/payment.html",
        status=200 if refusal is None else status_of(refusal),
        payment=one,
        state=one.status_at(now.world),
        asked=asked,
        payer_name="" if payer is None else payer.name,
        in_pool=in_pool,
        happened=_happened(one, one.status_at(now.world), refunds, told),
        delivery_text=openplatform.to_text,
        outcome_of=outcome_of,
        walked=walked,
        names={merchant.id: merchant.name, one.payer_id: payer.name if payer else "", pay.HOUSE: "Dewpond"},
        left=Money(one.refundable_minor, one.currency),
        form_key=new_id() if given is None or isinstance(refusal, pay.RequestDiffers) else given.key,
        given=given,
        problem="" if refusal is None else sentence(refusal),
    )


def _happened(
    one: Payment, state: PaymentStatus, refunds: Sequence[Refund], told: Sequence[Told]
) -> list[tuple[datetime, int, str, Any]]:
    """Everything in the order of time; what has the same moment, as it follows from each other."""
    happened: list[tuple[datetime, int, str, Any]] = [(one.opened_at, 0, "asked", one)]
    if one.succeeded_at is not None:
        happened.append((one.succeeded_at, 1, "paid", one))
    if state is PaymentStatus.CLOSED:
        happened.append((one.closed_at or one.expires_at, 2, "closed", one))
    happened += [(refund.ended_at or refund.requested_at, 3, "refund", refund) for refund in refunds]
    happened += [(each.delivery.created_at, 4, "told", each) for each in told]
    return sorted(happened, key=lambda event: event[:2])


async def _find(tx: Tx, merchant: Merchant, text: str) -> Payment:
    try:
        return await pay.get_payment(tx, merchant.id, from_text("pay", text))
    except IdInvalid:
        raise pay.PaymentNotFound(payment=text) from None


async def _told(tx: Tx, one: Payment, urls: list[str]) -> list[Told]:
    """What the shop's server was told of this payment and its refunds."""
    if one.payer_id is None:
        return []
    facts = await reservoir.list_facts_of_payment(tx, one.merchant_id, one.payer_id, one.id)
    deliveries = await openplatform.list_deliveries_of_facts(tx, one.merchant_id, facts, urls)
    attempts = await openplatform.list_attempts_of(tx, [(one.merchant_id, one.id) for one in deliveries])
    return [Told(delivery=one, attempts=tuple(attempts[one.merchant_id, one.id])) for one in deliveries]


# --- giving back ------------------------------------------------------------------------------------------------------


@post("/m/{mchid:str}/payments/{payment_id:str}/refunds", status_code=303, opt=needs(Capability.REFUND))
async def refund(request: Request[Any, Any, Any], payment_id: FromPath[str]) -> Response[Any]:
    """Give money back by hand; the same form sent twice gives it once.

    Asks for no proof, unlike keys and staff: cashiers do it all day with customers waiting, and the money goes nowhere
    but to whoever paid it.
    """
    merchant = merchant_of(request)
    given: _Refunding = await form(request, _Refunding)
    try:
        async with site_of(request).house.db.transaction() as tx:
            now = await worlds.read_clocks(tx)
            one = await _find(tx, merchant, payment_id)
            amount = Money.parse(given.amount, one.currency)
            if amount.minor <= 0:
                raise AmountInvalid(text=given.amount)
            done = await pay.request_refund(tx, _request(merchant, one.id, one.amount, amount, given), now=now)
            await note_act(
                tx,
                request,
                Deed.REFUND_MADE,
                now=now,
                merchant_id=merchant.id,
                subject=one.text_id,
                detail=str(amount),
                once=done.id,
            )
    except _REFUSALS as refusal:
        return await _payment(request, payment_id, refusal, given)
    return go(f"/m/{merchant.number}/payments/{to_text('pay', done.payment_id)}", said="refund-asked")


@get("/m/{mchid:str}/payments/{payment_id:str}/refunds", status_code=303, opt=needs(Capability.PAYMENTS))
async def refunds(request: Request[Any, Any, Any], payment_id: FromPath[str]) -> Redirect:
    """Where a refused form leaves the browser: opened again, it is the payment."""
    async with site_of(request).house.db.transaction() as tx:
        one = await _find(tx, merchant_of(request), payment_id)
    return go(f"/m/{merchant_of(request).number}/payments/{one.text_id}")


def _request(
    merchant: Merchant, payment_id: PaymentId, total: Money, amount: Money, given: _Refunding
) -> RefundRequest:
    reason = given.reason.strip()[:80] or None
    content = f"{payment_id} {amount.minor} {amount.currency} {reason}"
    return RefundRequest(
        merchant_id=merchant.id,
        payment_id=payment_id,
        merchant_reference=f"desk{given.key.hex}",
        amount=amount,
        total=total,
        request_hash=hashlib.sha256(content.encode()).digest(),
        reason=reason,
    )


ROUTES = [payments, payment, refund, refunds]
