"""Refunds over a real socket."""

import asyncio
import contextvars
from typing import Any

import pytest

from dewpond import ledger, pay
from dewpond.identity import Person
from dewpond.kit.ids import new_id
from dewpond.kit.money import CNY, Money
from dewpond.ledger import EntryKey, NewHold, Outcome
from dewpond.wechat import refunds

from .conftest import REFUNDS, Client, unique
from .test_payments import rfc3339


@pytest.fixture
async def paid(client: Client, alice: Person) -> str:
    """The merchant's number of a payment over 1800 fen that is paid."""
    number = unique()
    assert (await client.prepay(out_trade_no=number)).status == 200
    await client.paid_by(alice, number)
    return number


async def test_a_refund_is_accepted_at_once_and_told_when_it_has_succeeded(client: Client, paid: str) -> None:
    payment = (await client.query(paid)).json
    number = unique("back")
    accepted = await client.refund(paid, 600, out_refund_no=number, reason="凉了")
    assert accepted.status == 200
    assert client.verifies(accepted)
    told = accepted.json
    created = told.pop("create_time")
    assert created.endswith("+08:00")
    public_number = told.pop("refund_id")
    assert (len(public_number), public_number[:2], public_number.isdigit()) == (29, "50", True)
    assert told == {
        "out_refund_no": number,
        "transaction_id": payment["transaction_id"],
        "out_trade_no": paid,
        "channel": "ORIGINAL",
        "user_received_account": "支付用户零钱",
        "status": "PROCESSING",
        "funds_account": "AVAILABLE",
        "amount": {
            "total": 1800,
            "refund": 600,
            "payer_total": 1800,
            "payer_refund": 600,
            "settlement_refund": 600,
            "settlement_total": 1800,
            "discount_refund": 0,
            "currency": "CNY",
            "refund_fee": 4,
        },
    }
    assert (await client.query(paid)).json["trade_state"] == "REFUND"
    refund = await client.settled(number)
    queried = (await client.ask("GET", f"{REFUNDS}/{number}")).json
    assert refund.ended_at is not None
    assert queried == {
        **told,
        "status": "SUCCESS",
        "refund_id": public_number,
        "create_time": created,
        "success_time": rfc3339(refund.ended_at),
    }


async def test_a_payment_that_succeeds_while_its_refund_is_looked_up_is_told_with_its_number(
    client: Client, alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = unique()
    await client.prepay(out_trade_no=number)
    look_up = refunds._payment

    async def look_up_just_before_it_is_paid(*given: Any) -> pay.Payment:
        found = await look_up(*given)
        await asyncio.create_task(client.paid_by(alice, number), context=contextvars.Context())
        return found

    monkeypatch.setattr(refunds, "_payment", look_up_just_before_it_is_paid)
    heard = await client.refund(number, 600)
    assert heard.json["transaction_id"] == (await client.query(number)).json["transaction_id"]


async def test_our_number_goes_before_the_merchants(client: Client, paid: str) -> None:
    ours = (await client.query(paid)).json["transaction_id"]
    heard = await client.refund("nobodys-number", 1, transaction_id=ours)
    assert heard.json["out_trade_no"] == paid


async def test_the_same_refund_again_tells_what_became_of_it(client: Client, paid: str) -> None:
    number = unique("back")
    first = await client.refund(paid, 600, out_refund_no=number)
    assert (await client.refund(paid, 600, out_refund_no=number)).body == first.body
    ours = first.json["transaction_id"]
    assert (await client.refund(paid, 600, out_refund_no=number, transaction_id=ours)).body == first.body
    await client.settled(number)
    assert (await client.refund(paid, 600, out_refund_no=number)).json["status"] == "SUCCESS"
    assert (await client.refund(paid, 1200)).status == 200


@pytest.mark.parametrize(
    ("_case", "changed"),
    [
        ("other amount", {"refund": 601}),
        ("other reason", {"reason": "other"}),
        ("other notify_url", {"notify_url": "http://127.0.0.1:9/other"}),
        ("other account", {"funds_account": "AVAILABLE"}),
    ],
)
async def test_the_same_number_for_another_refund_is_refused(
    _case: str, changed: dict[str, Any], client: Client, paid: str
) -> None:
    number = unique("back")
    assert (await client.refund(paid, 600, out_refund_no=number)).status == 200
    changed = {"refund": 600, **changed}
    heard = await client.refund(paid, changed.pop("refund"), out_refund_no=number, **changed)
    assert (heard.status, heard.code) == (400, "INVALID_REQUEST")


async def test_the_same_number_for_another_payment_is_refused(client: Client, paid: str, alice: Person) -> None:
    other, number = unique(), unique("back")
    await client.prepay(out_trade_no=other)
    await client.paid_by(alice, other)
    assert (await client.refund(paid, 600, out_refund_no=number)).status == 200
    assert (await client.refund(other, 600, out_refund_no=number)).code == "INVALID_REQUEST"


async def test_no_more_than_was_paid_goes_back(client: Client, paid: str) -> None:
    assert (await client.refund(paid, 1000)).status == 200
    assert (await client.refund(paid, 801)).code == "INVALID_REQUEST"
    assert (await client.refund(paid, 800)).status == 200
    heard = await client.refund(paid, 1)
    assert (heard.status, heard.code) == (400, "INVALID_REQUEST")


async def test_twenty_refunds_at_once_give_back_no_more_than_was_paid(client: Client, paid: str) -> None:
    heard = await asyncio.gather(*(client.refund(paid, 500) for _ in range(20)))
    assert sorted(each.status for each in heard) == [200] * 3 + [400] * 17


async def test_a_merchant_without_money_cannot_give_it_back(new_client: Any, alice: Person) -> None:
    client, number, refused = await new_client(), unique(), unique("back")
    await client.prepay(out_trade_no=number)
    await client.paid_by(alice, number)
    now = await client.now()
    account_id = pay.unsettled_of(client.shop.merchant.id, CNY)
    async with client.house.db.transaction() as tx:  # something else holds most of it
        hold = NewHold(key=EntryKey(new_id()), account_id=account_id, amount=Money(1000, CNY), occurred_at=now.world)
        assert await ledger.hold(tx, [hold], wall_now=now.wall) == [Outcome.POSTED]
    heard = await client.refund(number, 1800, out_refund_no=refused)
    assert (heard.status, heard.code) == (403, "NOT_ENOUGH")
    assert (await client.query(number)).json["trade_state"] == "SUCCESS"
    assert (await client.refund(number, 700, out_refund_no=refused)).status == 200  # the number stayed free


@pytest.mark.parametrize(
    ("_case", "changed", "field"),
    [
        ("neither number", {"out_trade_no": None}, "/transaction_id"),
        ("no out_refund_no", {"out_refund_no": None}, "/out_refund_no"),
        ("an empty out_refund_no", {"out_refund_no": ""}, "/out_refund_no"),
        ("an out_refund_no too long", {"out_refund_no": "b" * 65}, "/out_refund_no"),
        ("an out_refund_no with a blank", {"out_refund_no": "back 1"}, "/out_refund_no"),
        ("a transaction_id too long", {"transaction_id": "4" * 33}, "/transaction_id"),
        ("an out_trade_no too short", {"out_trade_no": "tea"}, "/out_trade_no"),
        ("no amount", {"amount": None}, "/amount"),
        ("no currency", {"amount": {"refund": 1, "total": 1800}}, "/amount/currency"),
        ("another currency", {"amount": {"refund": 1, "total": 1800, "currency": "USD"}}, "/amount/currency"),
        ("no refund", {"amount": {"total": 1800, "currency": "CNY"}}, "/amount/refund"),
        ("refund zero", {"amount": {"refund": 0, "total": 1800, "currency": "CNY"}}, "/amount/refund"),
        ("refund negative", {"amount": {"refund": -5, "total": 1800, "currency": "CNY"}}, "/amount/refund"),
        ("refund a string", {"amount": {"refund": "5", "total": 1800, "currency": "CNY"}}, "/amount/refund"),
        ("refund a float", {"amount": {"refund": 5.0, "total": 1800, "currency": "CNY"}}, "/amount/refund"),
        ("more than the total", {"amount": {"refund": 1801, "total": 1800, "currency": "CNY"}}, "/amount/refund"),
        ("no total", {"amount": {"refund": 1, "currency": "CNY"}}, "/amount/total"),
        ("a reason too long", {"reason": "茶" * 81}, "/reason"),
        ("a reason with NUL", {"reason": "\0"}, "/reason"),
        ("a notify_url with a query", {"notify_url": "http://127.0.0.1/n?a=1"}, "/notify_url"),
        ("a notify_url too short", {"notify_url": "http://"}, "/notify_url"),
        ("an account of no kind", {"funds_account": "MINE"}, "/funds_account"),
        ("goods without price", {"goods_detail": [{"merchant_goods_id": "1"}]}, "/goods_detail/0/unit_price"),
    ],
)
async def test_a_field_that_is_not_in_form_is_pointed_at(
    _case: str, changed: dict[str, Any], field: str, client: Client, paid: str
) -> None:
    heard = await client.refund(paid, 1, **changed)
    assert (heard.status, heard.code, heard.json["detail"]["field"]) == (400, "PARAM_ERROR", field)
    assert (await client.query(paid)).json["trade_state"] == "SUCCESS"


async def test_all_that_is_optional_is_taken(client: Client, paid: str) -> None:
    goods = {"merchant_goods_id": "1", "unit_price": 600, "refund_amount": 600, "refund_quantity": 1}
    heard = await client.refund(
        paid,
        600,
        reason="茶" * 80,
        notify_url="http://127.0.0.1:9/back",
        funds_account="AVAILABLE",
        goods_detail=[goods],
        out_refund_no="b|*@_-" + unique(),
        amount={
            "refund": 600, "total": 1800, "currency": "CNY", "from": [{"account": "AVAILABLE", "amount": 600}]
        },
    )  # fmt: skip
    assert heard.status == 200, heard.body
    number = heard.json["out_refund_no"]
    escaped = number.replace("|", "%7C").replace("*", "%2A").replace("@", "%40")
    assert (await client.ask("GET", f"{REFUNDS}/{escaped}", signed_target=f"{REFUNDS}/{number}")).status == 200


async def test_a_wrong_total_is_refused(client: Client, paid: str) -> None:
    heard = await client.refund(paid, 1, total=1799)
    assert (heard.status, heard.code) == (400, "INVALID_REQUEST")


async def test_an_unknown_refund_and_another_merchants_look_alike(client: Client, new_client: Any, paid: str) -> None:
    number, other = unique("back"), await new_client()
    await client.refund(paid, 600, out_refund_no=number)
    theirs = await other.ask("GET", f"{REFUNDS}/{number}")
    nobodys = await other.ask("GET", f"{REFUNDS}/{unique('none')}")
    assert (theirs.status, theirs.code) == (404, "RESOURCE_NOT_EXISTS")
    assert theirs.body == nobodys.body


async def test_a_refund_number_that_is_not_in_form_is_pointed_at(client: Client) -> None:
    heard = await client.ask("GET", f"{REFUNDS}/{'b' * 65}")
    assert (heard.status, heard.json["detail"]["location"]) == (400, "url")


async def test_refunds_need_no_more_than_a_moment_between_them(client: Client, paid: str) -> None:
    assert [(await client.refund(paid, 10)).status for _ in range(3)] == [200, 200, 200]


async def test_the_fiftieth_part_is_the_last(client: Client, paid: str) -> None:
    heard = [await client.refund(paid, 1) for _ in range(51)]
    assert [each.status for each in heard] == [200] * 50 + [400]
    assert heard[-1].code == "INVALID_REQUEST"
