"""Refunds on the wire."""

from datetime import timedelta
from typing import Any, Final

import msgspec

from dewpond import pay
from dewpond.kit.db import Tx
from dewpond.kit.money import CNY, Money
from dewpond.pay import Payment, Refund, RefundRequest, RefundStatus
from dewpond.wechat import requests
from dewpond.wechat.answers import ANSWERS, Issue, ParameterInvalid, Reply
from dewpond.wechat.door import Call, House, Result, Visit
from dewpond.wechat.payments import in_shanghai
from dewpond.wechat.requests import Form, RefundBody

#: Documented between two refunds of one payment; asked of merchants only by worlds that go by the documents.
APART: Final = timedelta(minutes=1)

RECEIVED_ON: Final = "支付用户零钱"

_STATUSES: Final = {
    RefundStatus.PROCESSING: "PROCESSING",
    RefundStatus.SUCCEEDED: "SUCCESS",
    RefundStatus.CLOSED: "CLOSED",
    RefundStatus.ABNORMAL: "ABNORMAL",
}


async def request(house: House, visit: Visit, asked: RefundBody) -> Result:
    """Give money back. The same request again tells what became of it."""
    _check(asked, https_only=not visit.in_sandbox)
    async with house.db.transaction() as tx:
        payment = await _payment(tx, visit, asked)
        refund = await pay.request_refund(
            tx,
            RefundRequest(
                merchant_id=visit.caller.merchant_id,
                payment_id=payment.id,
                merchant_reference=asked.out_refund_no,
                amount=Money(asked.amount.refund, CNY),
                total=Money(asked.amount.total, CNY),
                request_hash=requests.fingerprint(
                    asked.amount, asked.reason, asked.notify_url, asked.funds_account, asked.goods_detail
                ),
                reason=asked.reason,
                notify_url=asked.notify_url,
                platform_key_id=visit.key_named,
                apart=APART if house.settings.strict_docs else timedelta(0),
            ),
            now=visit.now,
        )
        # It may have been paid since it was looked up: only under the refund's lock is it certain what it is.
        payment = await pay.get_payment(tx, payment.merchant_id, payment.id)
    return Result(200, msgspec.json.encode(told(refund, payment)))


def _check(asked: RefundBody, *, https_only: bool) -> None:
    """What the body's types do not say."""
    if asked.transaction_id is None and asked.out_trade_no is None:
        issue = Issue("transaction_id or out_trade_no is required", "transaction_id和out_trade_no须二选一")
        raise ParameterInvalid("/transaction_id", issue)
    if asked.amount.refund > asked.amount.total:
        issue = Issue("is more than the total", "退款金额大于订单金额")
        raise ParameterInvalid("/amount/refund", issue, value=asked.amount.refund)
    requests.check_notify_url(asked.notify_url, https_only=https_only)


async def _payment(tx: Tx, visit: Visit, asked: RefundBody) -> Payment:
    """The payment it is about; our number wins where both are given."""
    merchant_id = visit.caller.merchant_id
    if asked.transaction_id is not None:
        payment = await pay.find_payment_by_public_number(tx, merchant_id, asked.transaction_id)
    else:
        assert asked.out_trade_no is not None
        payment = await pay.find_payment_by_reference(tx, merchant_id, asked.out_trade_no)
    if payment is None:
        raise pay.PaymentNotFound
    return payment


async def query(house: House, visit: Visit, _asked: None) -> Result:
    """What became of a refund."""
    reference = requests.check_path(visit.path["out_refund_no"], "out_refund_no", requests.OUT_REFUND_NO)
    async with house.db.transaction() as tx:
        refund = await pay.find_refund(tx, visit.caller.merchant_id, reference)
        if refund is None:
            raise pay.RefundNotFound
        payment = await pay.get_payment(tx, refund.merchant_id, refund.payment_id)
    return Result(200, msgspec.json.encode(told(refund, payment)))


def told(refund: Refund, payment: Payment) -> dict[str, Any]:
    """The refund object (contract §3.2); what is absent has no key."""
    said: dict[str, Any] = {
        "refund_id": refund.public_number,
        "out_refund_no": refund.merchant_reference,
        "transaction_id": payment.public_number,
        "out_trade_no": payment.merchant_reference,
        "channel": "ORIGINAL",
        "user_received_account": RECEIVED_ON,
    }
    if refund.status is RefundStatus.SUCCEEDED and refund.ended_at is not None:
        said["success_time"] = in_shanghai(refund.ended_at)
    return said | {
        "create_time": in_shanghai(refund.requested_at),
        "status": _STATUSES[refund.status],
        "funds_account": "AVAILABLE",
        "amount": {
            "total": payment.minor,
            "refund": refund.minor,
            "payer_total": payment.minor,
            "payer_refund": refund.minor,
            "settlement_refund": refund.minor,
            "settlement_total": payment.minor,
            "discount_refund": 0,
            "currency": refund.currency,
            "refund_fee": refund.fee_minor,
        },
    }


def wire_status(refund: Refund) -> str:
    """The refund's state in the wire's word."""
    return _STATUSES[refund.status]


_PATH: Final = "/v3/refund/domestic/refunds"
_DIFFERS: Final = ANSWERS[pay.TotalDiffers]

CALLS: Final[tuple[Call[Any], ...]] = (
    Call(
        method="POST",
        path=_PATH,
        carry_out=request,
        form=Form(RefundBody),
        needs_agent=True,
        replies={
            pay.RequestDiffers: _DIFFERS,
            pay.PaymentNotFound: Reply(404, "RESOURCE_NOT_EXISTS", "订单不存在", number=268512771),
        },
    ),
    Call(method="GET", path=f"{_PATH}/{{out_refund_no:str}}", carry_out=query, needs_agent=True),
)
