"""Payments on the wire: prepay, query, close. WeChat calls them transactions.

Each trade type asks for the same payment and differs only in what the client is given to open it with.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final

import msgspec

from dewpond import identity, merchants, pay
from dewpond.identity import PersonId
from dewpond.kit.clock import SHANGHAI
from dewpond.kit.db import Tx
from dewpond.kit.money import CNY, Money
from dewpond.pay import NewRequest, Opening, Payment, PaymentRequest, PaymentStatus
from dewpond.wechat import requests
from dewpond.wechat.answers import AppNotBound, ExpiryTooSoon, Issue, ParameterInvalid, Reply
from dewpond.wechat.door import Call, House, Result, Visit
from dewpond.wechat.requests import Closing, Form, Prepay

SOONEST: Final = timedelta(minutes=1)
LATEST: Final = timedelta(days=15)
#: An unpaid payment is closed after a week whatever it asked for (contract §2.6).
OPEN_FOR: Final = timedelta(days=7)


class Trade(msgspec.Struct, frozen=True, kw_only=True):
    """One way to pay, as the wire knows it."""

    path: str
    trade_type: str
    #: What the client gets, from house, visit and code.
    given: Callable[[House, Visit, str], dict[str, str]]
    needs_openid: bool = False
    needs_page: bool = False


def _code_url(house: House, visit: Visit, code: str) -> dict[str, str]:
    if house.settings.weixin_code_url:
        return {"code_url": f"weixin://wxpay/bizpayurl?pr={code}"}
    return {"code_url": f"{visit.public_url}/q/{code}"}


def _h5_url(_house: House, visit: Visit, code: str) -> dict[str, str]:
    return {"h5_url": f"{visit.public_url}/q/{code}"}


def _prepay_id(_house: House, visit: Visit, code: str) -> dict[str, str]:
    return {"prepay_id": f"wx{visit.now.world.astimezone(SHANGHAI):%Y%m%d%H%M%S}{code}"}


TRADES: Final = (
    Trade(path="native", trade_type="NATIVE", given=_code_url),
    Trade(path="jsapi", trade_type="JSAPI", given=_prepay_id, needs_openid=True),
    Trade(path="app", trade_type="APP", given=_prepay_id),
    Trade(path="h5", trade_type="MWEB", given=_h5_url, needs_page=True),
)


# --- prepay -----------------------------------------------------------------------------------------------------------


async def prepay(trade: Trade, house: House, visit: Visit, asked: Prepay) -> Result:
    """Ask for money. The same request again gets a fresh code for the same payment, and the old code dies."""
    expires = _check(trade, visit, asked)
    detail = requests.read_detail(asked.detail)
    visit.require_mchid(asked.mchid)
    if visit.app_id is None:
        raise AppNotBound(appid=asked.appid)
    if expires is not None:
        _check_expiry(expires, asked, visit)
    openid = asked.payer.openid if asked.payer else None
    payer_id = await _find_payer(house, visit, openid) if trade.needs_openid else None
    scene, settle = asked.scene_info, asked.settle_info
    opened = await house.openings.submit(
        Opening(
            merchant_id=visit.caller.merchant_id,
            app_id=visit.app_id,
            merchant_reference=asked.out_trade_no,
            description=asked.description,
            amount=Money(asked.amount.total, CNY),
            fee_rate_bp=visit.caller.fee_rate_bp,
            expires_at=min(expires or datetime.max.replace(tzinfo=SHANGHAI), visit.now.world + OPEN_FOR),
            now=visit.now,
            meant_for=payer_id,
            request=NewRequest(
                trade_type=trade.trade_type,
                request_hash=requests.fingerprint(
                    asked.appid,
                    asked.description,
                    asked.amount.total,
                    expires.timestamp() if expires else None,
                    asked.notify_url,
                    asked.attach,
                    asked.goods_tag,
                    sorted(asked.limit_pay) if asked.limit_pay else None,
                    bool(asked.support_fapiao),
                    openid if trade.needs_openid else None,
                    detail,
                    (scene.device_id, scene.store_info) if scene else None,
                    bool(settle and settle.profit_sharing),
                ),
                notify_url=asked.notify_url,
                attach=asked.attach,
                device_id=scene.device_id if scene else None,
                platform_key_id=visit.key_named,
            ),
        )
    )
    return Result(200, msgspec.json.encode(trade.given(house, visit, opened.code)))


def _check(trade: Trade, visit: Visit, asked: Prepay) -> datetime | None:
    """What the body's types do not say; the asked expiry."""
    requests.check_notify_url(asked.notify_url, https_only=not visit.in_sandbox)
    expires = requests.read_time(asked.time_expire, "/time_expire") if asked.time_expire is not None else None
    if trade.needs_openid and (asked.payer is None or asked.payer.openid is None):
        raise ParameterInvalid("/payer/openid", Issue("JSAPI needs an openid", "JSAPI支付必须传openid"))
    if trade.needs_page and (asked.scene_info is None or asked.scene_info.h5_info is None):
        raise ParameterInvalid("/scene_info/h5_info", Issue("a required field is missing", "必填字段缺失"))
    return expires


def _check_expiry(expires: datetime, asked: Prepay, visit: Visit) -> None:
    now = visit.now.world
    if expires < now + SOONEST:
        if not visit.in_sandbox:
            raise ExpiryTooSoon
        # A sandbox's clock may have been moved, and then this is the first place to notice it.
        told = {"field": "/time_expire", "value": asked.time_expire, "issue": f"the world's time is {in_shanghai(now)}"}
        raise ExpiryTooSoon(explanation={**told, "location": "body"})
    if expires > now + LATEST:
        issue = Issue("is more than 15 days ahead", "超过15天")
        raise ParameterInvalid("/time_expire", issue, value=asked.time_expire)


async def _find_payer(house: House, visit: Visit, openid: str | None) -> PersonId:
    """Who alone shall pay it: whom this app knows by the openid."""
    async with house.db.transaction() as tx:
        assert visit.app_id is not None
        assert openid is not None
        person_id = await identity.person_by_open_id(tx, visit.app_id, openid)
    if person_id is None:
        issue = Issue("is not an openid of this appid", "无效的openid")
        raise ParameterInvalid("/payer/openid", issue, value=openid)
    return person_id


# --- query ------------------------------------------------------------------------------------------------------------


async def query_by_reference(house: House, visit: Visit, _asked: None) -> Result:
    """The state of the payment with the merchant's number."""
    reference = requests.check_path(visit.path["out_trade_no"], "out_trade_no", requests.OUT_TRADE_NO)
    visit.require_mchid(requests.read_query(visit.query, "mchid"))
    async with house.db.transaction() as tx:
        payment = await pay.find_payment_by_reference(tx, visit.caller.merchant_id, reference)
        return await _told(tx, visit, payment)


async def query_by_transaction_id(house: House, visit: Visit, _asked: None) -> Result:
    """The state of the payment with our number."""
    number = requests.check_path(visit.path["transaction_id"], "transaction_id", requests.TRANSACTION_ID)
    visit.require_mchid(requests.read_query(visit.query, "mchid"))
    async with house.db.transaction() as tx:
        payment = await pay.find_payment_by_public_number(tx, visit.caller.merchant_id, number)
        return await _told(tx, visit, payment)


async def _told(tx: Tx, visit: Visit, payment: Payment | None) -> Result:
    if payment is None:
        raise pay.PaymentNotFound
    request = await pay.get_request(tx, payment.merchant_id, payment.id)
    (app,) = await merchants.list_apps(tx, [payment.app_id])
    pairs = [(payment.app_id, payment.payer_id)] if payment.payer_id else []
    open_ids = await identity.open_ids(tx, pairs, wall_now=visit.now.wall) if pairs else {}
    told = transaction(
        payment,
        request,
        mchid=visit.caller.number,
        appid=app.appid,
        openid=open_ids[pairs[0]] if pairs else None,
        state=trade_state(payment, visit.now.world),
    )
    return Result(200, msgspec.json.encode(told))


_STATES: Final = {
    "NOTPAY": "订单未支付",
    "SUCCESS": "支付成功",
    "REFUND": "转入退款",
    "CLOSED": "订单已关闭",
}


#: What began elsewhere, in the wire's nearest word: a printed code is scanned as a shown one is.
_TRADE_TYPES: Final = {pay.STANDING: "NATIVE"}


def transaction(
    payment: Payment, request: PaymentRequest, *, mchid: str, appid: str, openid: str | None, state: str
) -> dict[str, Any]:
    """The transaction object (contract §2.5); what is absent has no key. `openid` is the payer's, once there is one."""
    told: dict[str, Any] = {"mchid": mchid, "appid": appid, "out_trade_no": payment.merchant_reference}
    if payment.public_number is not None:
        trade_type = _TRADE_TYPES.get(request.trade_type, request.trade_type)
        told |= {"transaction_id": payment.public_number, "trade_type": trade_type}
    told |= {"trade_state": state, "trade_state_desc": _STATES[state]}
    if payment.payer_id is not None:
        told["bank_type"] = "OTHERS"
    if request.attach is not None:
        told["attach"] = request.attach
    if payment.succeeded_at is None:
        told["amount"] = {"total": payment.minor, "currency": payment.currency}
    else:
        told["success_time"] = in_shanghai(payment.succeeded_at)
        told["payer"] = {"openid": openid}
        told["amount"] = {
            "total": payment.minor,
            "payer_total": payment.minor,
            "currency": payment.currency,
            "payer_currency": payment.currency,
        }
    if request.device_id is not None:
        told["scene_info"] = {"device_id": request.device_id}
    return told


def trade_state(payment: Payment, world_now: datetime) -> str:
    """The payment's state in the wire's word."""
    match payment.status_at(world_now):
        case PaymentStatus.OPEN:
            return "NOTPAY"
        case PaymentStatus.CLOSED:
            return "CLOSED"
        case PaymentStatus.SUCCEEDED:
            return "REFUND" if payment.refunded_minor else "SUCCESS"


def in_shanghai(moment: datetime) -> str:
    """RFC 3339 as the wire writes it: seconds, `+08:00`."""
    return moment.astimezone(SHANGHAI).isoformat(timespec="seconds")


# --- close ------------------------------------------------------------------------------------------------------------


async def close(house: House, visit: Visit, asked: Closing) -> Result:
    """Take back what was asked; again, or for a number never seen, is the same quiet yes."""
    reference = requests.check_path(visit.path["out_trade_no"], "out_trade_no", requests.OUT_TRADE_NO)
    visit.require_mchid(asked.mchid)
    async with house.db.transaction() as tx:
        await pay.close_payment(tx, visit.caller.merchant_id, reference, now=visit.now)
    return Result(204, b"")


_PREPAY: Final = Form(Prepay)
_NUMBER: Final = "/v3/pay/transactions/out-trade-no/{out_trade_no:str}"

CALLS: Final[tuple[Call[Any], ...]] = (
    *(
        Call(
            method="POST",
            path=f"/v3/pay/transactions/{trade.path}",
            carry_out=partial(prepay, trade),
            form=_PREPAY,
        )
        for trade in TRADES
    ),
    Call(method="GET", path=_NUMBER, carry_out=query_by_reference),
    Call(
        method="GET",
        path="/v3/pay/transactions/id/{transaction_id:str}",
        carry_out=query_by_transaction_id,
    ),
    Call(
        method="POST",
        path=f"{_NUMBER}/close",
        carry_out=close,
        form=Form(Closing),
        replies={
            pay.PaymentAlreadySucceeded: Reply(
                400, "ORDER_PAID", "该订单已支付，不能关闭", number=268498689, documented=(403, "TRADE_ERROR")
            )
        },
    ),
)
