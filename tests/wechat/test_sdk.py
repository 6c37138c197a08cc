"""A stranger's judgement: the unmodified Python SDK `wechatpayv3`, in both of its modes."""

import asyncio
import json
from typing import Any

import pytest
import wechatpayv3
import wechatpayv3.core
from wechatpayv3 import WeChatPay, WeChatPayType

from dewpond import merchants
from dewpond.identity import Person
from dewpond.kit import crypto

from .conftest import NATIVE, Client, unique
from .test_callbacks import _delivery, _letter


def _sdk(client: Client, mode: merchants.KeyMode, monkeypatch: pytest.MonkeyPatch, **changed: Any) -> WeChatPay:
    """The SDK of one merchant, its gateway turned to us (contract §8)."""
    origin = f"http://127.0.0.1:{client.port}"

    class Core(wechatpayv3.core.Core):
        def __setattr__(self, name: str, value: Any) -> None:
            super().__setattr__(name, origin if name == "_gate_way" else value)

    monkeypatch.setattr(wechatpayv3.core, "Core", Core)
    keys = {
        merchants.KeyMode.CERTIFICATE: {},
        merchants.KeyMode.PUBLIC_KEY: {
            "public_key": client.shop.public_key.public_key,
            "public_key_id": client.shop.public_key.id,
        },
    }[mode]
    given = {
        "wechatpay_type": WeChatPayType.NATIVE,
        "mchid": client.mchid,
        "private_key": client.shop.private_key_pem.decode(),
        "cert_serial_no": client.shop.certificate.serial,
        "appid": client.shop.app.appid,
        "apiv3_key": client.shop.api_v3_key,
        "notify_url": "http://127.0.0.1:9/notify",
        "timeout": (30, 60),
        **keys,
        **changed,
    }
    return WeChatPay(**given)


@pytest.mark.parametrize("mode", list(merchants.KeyMode))
async def test_the_sdk_goes_from_order_to_refund(
    mode: merchants.KeyMode, new_client: Any, alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = await new_client(mode)
    sdk = await asyncio.to_thread(_sdk, client, mode, monkeypatch)

    async def call(verb: str, **given: Any) -> tuple[int, Any]:
        status, text = await asyncio.to_thread(getattr(sdk, verb), **given)
        return status, json.loads(text) if text else None

    number, back = unique("te|a*"), unique("back")
    status, told = await call(
        "pay", description="茉莉花茶", out_trade_no=number, amount={"total": 1800}, attach="<&>\"/'"
    )
    assert (status, list(told)) == (200, ["code_url"])
    assert (await call("query", out_trade_no=number))[1]["trade_state"] == "NOTPAY"
    payment = await client.paid_by(alice, number)
    status, told = await call("query", transaction_id=payment.public_number)
    assert (status, told["trade_state"], told["attach"]) == (200, "SUCCESS", "<&>\"/'")

    letter = await _letter(client, _delivery(payment.merchant_id, "payment.succeeded", payment.id))
    headers = dict(await letter.sign())
    read = await asyncio.to_thread(sdk.callback, headers, letter.body)
    assert read["event_type"] == "TRANSACTION.SUCCESS"
    assert read["resource"]["out_trade_no"] == number

    amount = {"refund": 600, "total": 1800, "currency": "CNY"}
    status, told = await call("refund", out_refund_no=back, out_trade_no=number, amount=amount)
    assert (status, told["status"]) == (200, "PROCESSING")
    refund = await client.settled(back)
    assert (await call("query_refund", out_refund_no=back))[1]["status"] == "SUCCESS"
    letter = await _letter(client, _delivery(refund.merchant_id, "refund.succeeded", refund.id))
    read = await asyncio.to_thread(sdk.callback, dict(await letter.sign()), letter.body)
    assert read["resource"]["refund_status"] == "SUCCESS"
    assert (await call("query", out_trade_no=number))[1]["trade_state"] == "REFUND"
    status, told = await call(
        "refund", out_refund_no=unique("back"), out_trade_no=number, amount={**amount, "refund": 1201}
    )
    assert (status, told["code"]) == (400, "INVALID_REQUEST")


@pytest.mark.parametrize("mode", list(merchants.KeyMode))
async def test_the_sdk_believes_a_close_and_reads_every_refusal(
    mode: merchants.KeyMode, new_client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = await new_client(mode)
    sdk = await asyncio.to_thread(_sdk, client, mode, monkeypatch)
    number = unique()
    order = {"description": "tea", "out_trade_no": number, "amount": {"total": 1}}
    assert (await asyncio.to_thread(lambda: sdk.pay(**order)))[0] == 200
    assert (await asyncio.to_thread(sdk.close, number))[0] == 204
    status, text = await asyncio.to_thread(lambda: sdk.query(out_trade_no=number))
    assert (status, json.loads(text)["trade_state"]) == (200, "CLOSED")
    for verb, given, expected in (
        (sdk.pay, order, (400, "ORDER_CLOSED")),
        (sdk.query, {"out_trade_no": unique("none")}, (404, "ORDER_NOT_EXIST")),
        (sdk.pay, {**order, "out_trade_no": unique(), "amount": {"total": "1"}}, (400, "PARAM_ERROR")),
    ):
        status, text = await asyncio.to_thread(verb, **given)
        assert (status, json.loads(text)["code"]) == expected


async def test_the_sdk_with_a_wrong_key_is_refused_and_told_why(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = crypto.new_private_key_pem().decode()
    mode = merchants.KeyMode.PUBLIC_KEY
    sdk = await asyncio.to_thread(lambda: _sdk(client, mode, monkeypatch, private_key=other))
    status, text = await asyncio.to_thread(lambda: sdk.query(out_trade_no=unique()))
    told = json.loads(text)
    assert (status, told["code"], told["detail"]["verdict"]) == (401, "SIGN_ERROR", "other_key")


async def test_the_sdk_with_a_wrong_api_v3_key_cannot_begin(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Exception, match="certificate"):
        await asyncio.to_thread(lambda: _sdk(client, merchants.KeyMode.CERTIFICATE, monkeypatch, apiv3_key="x" * 32))


async def test_a_new_platform_certificate_is_picked_up_by_a_running_sdk(
    new_client: Any, monkeypatch: pytest.MonkeyPatch, secrets: Any
) -> None:
    client = await new_client()
    sdk = await asyncio.to_thread(_sdk, client, merchants.KeyMode.CERTIFICATE, monkeypatch)
    now = await client.now()
    async with client.house.db.transaction() as tx:
        added = await merchants.rotate_platform_certificate(tx, secrets=secrets, wall_now=now.wall)
    heard = await client.ask("POST", NATIVE, client.order())
    assert heard.header("Wechatpay-Serial") == added.id
    status, _ = await asyncio.to_thread(lambda: sdk.pay(description="tea", out_trade_no=unique(), amount={"total": 1}))
    assert status == 200
