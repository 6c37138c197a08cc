"""Callbacks: what is written, encrypted and signed, judged as a merchant's software would."""

import json
import time
from typing import Any
from uuid import UUID

import msgspec
import pytest

from dewpond import merchants, pay
from dewpond.identity import Person
from dewpond.kit import clock
from dewpond.kit.ids import new_id
from dewpond.openplatform import Delivery, DeliveryId, DeliveryStatus, Letter
from dewpond.wechat import CallbackScribe

from .conftest import NATIVE, Client, Heard, unique
from .test_payments import rfc3339


def _delivery(merchant_id: UUID, kind: str, subject_id: UUID, **changed: Any) -> Delivery:
    fields: dict[str, Any] = {
        "merchant_id": merchant_id,
        "id": DeliveryId(new_id()),
        "endpoint_id": new_id(),
        "url": "http://127.0.0.1:9/notify",
        "fact_id": new_id(),
        "event_kind": kind,
        "encoder": "wechat",
        "subject_id": subject_id,
        "status": DeliveryStatus.PENDING,
        "attempts": 0,
        "slot": 0,
        "body": None,
        "created_at": clock.wall_now(),
        "next_attempt_at": clock.wall_now(),
        "asked_at": None,
        "ended_at": None,
    }
    return Delivery(**{**fields, **changed})


async def _written(client: Client, *deliveries: Delivery) -> list[Letter | Exception]:
    now = await client.now()
    async with client.house.db.transaction() as tx:
        return list(await CallbackScribe().write(tx, deliveries, secrets=client.house.secrets, now=now))


async def _letter(client: Client, delivery: Delivery) -> Letter:
    (letter,) = await _written(client, delivery)
    assert isinstance(letter, Letter), letter
    return letter


def _plain(client: Client, body: bytes) -> Any:
    resource = json.loads(body)["resource"]
    return json.loads(client.cipher.open(resource["ciphertext"], resource["associated_data"], resource["nonce"]))


async def _signed(client: Client, letter: Letter) -> Heard:
    """The letter as if it were an answer, so that the same eyes judge it."""
    return Heard(200, await letter.sign(), letter.body)


@pytest.fixture
async def payment(client: Client, alice: Person) -> pay.Payment:
    order = client.order(attach="桌7", scene_info={"payer_client_ip": "::1", "device_id": "till-7"})
    assert (await client.ask("POST", NATIVE, order)).status == 200
    return await client.paid_by(alice, order["out_trade_no"])


async def test_a_payment_is_told_as_the_query_tells_it(client: Client, payment: pay.Payment) -> None:
    delivery = _delivery(payment.merchant_id, "payment.succeeded", payment.id)
    letter = await _letter(client, delivery)
    told = json.loads(letter.body)
    assert {name: value for name, value in told.items() if name != "resource"} == {
        "id": str(delivery.id),
        "create_time": rfc3339(delivery.created_at),
        "resource_type": "encrypt-resource",
        "event_type": "TRANSACTION.SUCCESS",
        "summary": "支付成功",
    }
    assert told["resource"]["original_type"] == told["resource"]["associated_data"] == "transaction"
    assert _plain(client, letter.body) == (await client.query(payment.merchant_reference)).json
    assert client.verifies(await _signed(client, letter))


async def test_the_body_survives_being_parsed_and_written_again(client: Client, payment: pay.Payment) -> None:
    letter = await _letter(client, _delivery(payment.merchant_id, "payment.succeeded", payment.id))
    again = json.dumps(json.loads(letter.body), ensure_ascii=False, separators=(",", ":")).encode()
    assert again == letter.body
    assert list(json.loads(letter.body)) == [
        "id", "create_time", "resource_type", "event_type", "summary", "resource",
    ]  # fmt: skip


async def test_a_payment_refunded_meanwhile_is_still_told_as_paid(client: Client, payment: pay.Payment) -> None:
    await client.refund(payment.merchant_reference, 1800)
    letter = await _letter(client, _delivery(payment.merchant_id, "payment.succeeded", payment.id))
    assert _plain(client, letter.body)["trade_state"] == "SUCCESS"


async def test_a_refund_is_told_with_its_own_words(client: Client, payment: pay.Payment) -> None:
    number = unique("back")
    await client.refund(payment.merchant_reference, 600, out_refund_no=number)
    refund = await client.settled(number)
    letter = await _letter(client, _delivery(refund.merchant_id, "refund.succeeded", refund.id))
    told = json.loads(letter.body)
    assert (told["event_type"], told["summary"]) == ("REFUND.SUCCESS", "退款成功")
    assert told["resource"]["original_type"] == told["resource"]["associated_data"] == "refund"
    assert refund.ended_at is not None
    assert _plain(client, letter.body) == {
        "mchid": client.mchid,
        "transaction_id": payment.public_number,
        "out_trade_no": payment.merchant_reference,
        "refund_id": refund.public_number,
        "out_refund_no": number,
        "refund_status": "SUCCESS",
        "success_time": rfc3339(refund.ended_at),
        "user_received_account": "支付用户零钱",
        "amount": {"total": 1800, "refund": 600, "payer_total": 1800, "payer_refund": 600},
    }


@pytest.mark.parametrize(
    ("kind", "event_type", "summary"),
    [("refund.abnormal", "REFUND.ABNORMAL", "退款异常"), ("refund.closed", "REFUND.CLOSED", "退款关闭")],
)
async def test_every_end_of_a_refund_has_its_event(
    kind: str, event_type: str, summary: str, client: Client, payment: pay.Payment
) -> None:
    number = unique("back")
    await client.refund(payment.merchant_reference, 600, out_refund_no=number)
    async with client.house.db.transaction() as tx:
        refund = await pay.find_refund(tx, payment.merchant_id, number)
    assert refund is not None
    letter = await _letter(client, _delivery(refund.merchant_id, kind, refund.id))
    told = json.loads(letter.body)
    assert (told["event_type"], told["summary"]) == (event_type, summary)
    assert "success_time" not in _plain(client, letter.body)


async def test_each_attempt_is_signed_anew_over_the_same_body(client: Client, payment: pay.Payment) -> None:
    delivery = _delivery(payment.merchant_id, "payment.succeeded", payment.id)
    letter = await _letter(client, delivery)
    kept = await _letter(client, msgspec.structs.replace(delivery, body=letter.body))
    assert kept.body == letter.body
    began = int(time.time())
    first, second, third = [await _signed(client, each) for each in (letter, letter, kept)]
    assert len({each.header("Wechatpay-Nonce") for each in (first, second, third)}) == 3
    assert all(client.verifies(each) for each in (first, second, third))
    assert began <= int(first.header("Wechatpay-Timestamp") or 0) <= time.time()
    names = [name for name, _ in first.headers]
    assert {"Content-Type", "Accept", "User-Agent", "Request-ID", "Wechatpay-Signature-Type"} <= set(names)
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("_case", "mode", "named", "signs"),
    [
        ("certificate mode", merchants.KeyMode.CERTIFICATE, None, "certificate"),
        ("public key mode", merchants.KeyMode.PUBLIC_KEY, None, "public"),
        ("certificate mode, the public key named", merchants.KeyMode.CERTIFICATE, "public", "public"),
        ("public key mode, the certificate named", merchants.KeyMode.PUBLIC_KEY, "certificate", "certificate"),
        ("public key mode, nobody's key named", merchants.KeyMode.PUBLIC_KEY, "PUB_KEY_ID_1", "public"),
    ],
)
async def test_the_key_is_the_one_the_prepay_named_or_the_merchants_own(
    _case: str, mode: merchants.KeyMode, named: str | None, signs: str, new_client: Any, alice: Person
) -> None:
    client = await new_client(mode)
    ids = {"certificate": client.shop.platform_certificate.id, "public": client.shop.public_key.id}
    order = client.order()
    await client.ask("POST", NATIVE, order, headers={"Wechatpay-Serial": ids.get(named or "", named)})
    payment = await client.paid_by(alice, order["out_trade_no"])
    letter = await _letter(client, _delivery(payment.merchant_id, "payment.succeeded", payment.id))
    heard = await _signed(client, letter)
    assert heard.header("Wechatpay-Serial") == ids[signs]
    assert client.verifies(heard)


async def test_one_that_cannot_be_written_does_not_hold_up_the_others(
    client: Client, new_client: Any, payment: pay.Payment, alice: Person
) -> None:
    other, number = await new_client(merchants.KeyMode.PUBLIC_KEY), unique()
    await other.prepay(out_trade_no=number)
    theirs = await other.paid_by(alice, number)
    letters = await _written(
        client,
        _delivery(payment.merchant_id, "payment.succeeded", payment.id),
        _delivery(payment.merchant_id, "payment.succeeded", new_id()),
        _delivery(payment.merchant_id, "refund.succeeded", new_id()),
        _delivery(payment.merchant_id, "somebody.sneezed", payment.id),
        _delivery(theirs.merchant_id, "payment.succeeded", theirs.id),
        _delivery(theirs.merchant_id, "payment.succeeded", payment.id),
    )
    assert [isinstance(letter, Letter) for letter in letters] == [True, False, False, False, True, False]
    mine, other_ones = letters[0], letters[4]
    assert isinstance(mine, Letter)
    assert isinstance(other_ones, Letter)
    assert _plain(client, mine.body)["mchid"] == client.mchid
    assert _plain(other, other_ones.body)["mchid"] == other.mchid
