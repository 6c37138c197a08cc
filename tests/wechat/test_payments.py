"""Payments over a real socket: prepay, query, close, and what each state allows."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from dewpond import identity, pay
from dewpond.identity import Person, PersonId
from dewpond.kit import clock, worlds
from dewpond.kit.ids import new_id
from dewpond.kit.money import CNY, Money

from .conftest import NATIVE, Client, Heard, serving, unique

ABSENT = "absent"
#: Whoever has a phone.
ANYBODY = PersonId(new_id())


def _path(out_trade_no: str) -> str:
    return f"/v3/pay/transactions/out-trade-no/{out_trade_no}"


def rfc3339(moment: datetime, zone: str = "+08:00") -> str:
    offset = timedelta(hours=8) if zone == "+08:00" else timedelta(0)
    return (moment.astimezone(UTC) + offset).strftime("%Y-%m-%dT%H:%M:%S") + zone


# --- prepay -----------------------------------------------------------------------------------------------------------


async def test_a_native_prepay_gets_a_code_that_leads_to_the_payment(client: Client) -> None:
    order = client.order()
    heard = await client.ask("POST", NATIVE, order)
    assert heard.status == 200
    assert list(heard.json) == ["code_url"]
    origin, _, code = heard.json["code_url"].rpartition("/q/")
    assert origin == "http://localhost:8601"
    now = await client.now()
    async with client.house.db.transaction() as tx:
        payment = await pay.get_payment_by_code(tx, code, by=ANYBODY, now=now)
    assert payment.merchant_reference == order["out_trade_no"]
    assert (payment.minor, payment.description) == (1800, "茉莉花茶 & more")
    assert payment.expires_at - payment.opened_at == timedelta(days=7)


async def test_a_public_url_of_the_settings_goes_before_the_worlds(client: Client, new_client: Any) -> None:
    settings = replace(client.house.settings, public_url="https://pay.example")
    async with serving(replace(client.house, settings=settings)) as port:
        assert (await replace(client, port=port).prepay()).json["code_url"].startswith("https://pay.example/q/")


async def test_a_code_may_look_like_the_real_services(client: Client) -> None:
    settings = replace(client.house.settings, weixin_code_url=True)
    async with serving(replace(client.house, settings=settings)) as port:
        heard = await replace(client, port=port).prepay()
    before, _, code = heard.json["code_url"].partition("=")
    assert before == "weixin://wxpay/bizpayurl?pr"
    async with client.house.db.transaction() as tx:
        assert len(await pay.find_payments(tx, code)) == 1


async def test_the_other_trade_types_differ_only_in_what_the_client_is_given(client: Client, alice: Person) -> None:
    async with client.house.db.transaction() as tx:
        pair = (client.shop.app.id, alice.id)
        openid = (await identity.open_ids(tx, [pair], wall_now=clock.wall_now()))[pair]
    app = await client.ask("POST", "/v3/pay/transactions/app", client.order())
    jsapi = await client.ask("POST", "/v3/pay/transactions/jsapi", client.order(payer={"openid": openid}))
    for heard in (app, jsapi):
        assert heard.json["prepay_id"].startswith("wx2")
        assert len(heard.json["prepay_id"]) <= 64
    scene = {"payer_client_ip": "127.0.0.1", "h5_info": {"type": "Wap"}}
    h5 = await client.ask("POST", "/v3/pay/transactions/h5", client.order(scene_info=scene))
    assert h5.json["h5_url"].startswith("http://localhost:8601/q/")


async def test_what_jsapi_asks_of_one_person_is_paid_by_nobody_else(client: Client, new_person: Any) -> None:
    alice, bob = await new_person("Alice", "50.00"), await new_person("Bob", "50.00")
    pairs = [(client.shop.app.id, one.id) for one in (alice, bob)]
    async with client.house.db.transaction() as tx:
        open_ids = await identity.open_ids(tx, pairs, wall_now=clock.wall_now())
    order = client.order(payer={"openid": open_ids[pairs[0]]})
    heard = await client.ask("POST", "/v3/pay/transactions/jsapi", order)
    code, now = heard.json["prepay_id"][16:], await client.now()
    async with client.house.db.transaction() as tx:
        with pytest.raises(pay.CodeUnknown):
            await pay.get_payment_by_code(tx, code, by=bob.id, now=now)
        asked = await pay.get_payment_by_code(tx, code, by=alice.id, now=now)

    async def confirm(person: Person) -> pay.Payment:
        wish = pay.Confirmation(
            merchant_id=asked.merchant_id,
            payment_id=asked.id,
            payer_id=person.id,
            proof=pay.PinProof("123456"),
            now=now,
        )
        paid: pay.Payment = await client.house.confirmations.submit(wish)
        return paid

    with pytest.raises(pay.PaymentNotFound):
        await confirm(bob)
    assert (await client.ask("GET", f"{_path(order['out_trade_no'])}?mchid={client.mchid}")).json[
        "trade_state"
    ] == "NOTPAY"
    await confirm(alice)
    told = (await client.ask("GET", f"{_path(order['out_trade_no'])}?mchid={client.mchid}")).json
    assert (told["trade_state"], told["trade_type"], told["payer"]) == ("SUCCESS", "JSAPI", order["payer"])
    swapped = order | {"payer": {"openid": open_ids[pairs[1]]}}
    assert (await client.ask("POST", "/v3/pay/transactions/jsapi", swapped)).status != 200, (
        "nor is it anybody else's now"
    )


@pytest.mark.parametrize(
    ("_case", "path", "order", "field"),
    [
        ("JSAPI without a payer", "jsapi", {}, "/payer/openid"),
        ("JSAPI without an openid", "jsapi", {"payer": {}}, "/payer/openid"),
        ("JSAPI with nobody's openid", "jsapi", {"payer": {"openid": "o" * 28}}, "/payer/openid"),
        ("h5 without a scene", "h5", {}, "/scene_info/h5_info"),
        ("h5 without its page", "h5", {"scene_info": {"payer_client_ip": "::1"}}, "/scene_info/h5_info"),
    ],
)
async def test_other_trade_types_say_what_they_lack(
    _case: str, path: str, order: dict[str, Any], field: str, client: Client
) -> None:
    heard = await client.ask("POST", f"/v3/pay/transactions/{path}", client.order(**order))
    assert (heard.status, heard.code, heard.json["detail"]["field"]) == (400, "PARAM_ERROR", field)


WRONG: list[tuple[str, dict[str, Any], str]] = [
    *((f"{name} missing", {name: None}, f"/{name}") for name in
      ("appid", "mchid", "description", "out_trade_no", "notify_url", "amount")),
    *((f"{name} is a number", {name: 1}, f"/{name}") for name in
      ("appid", "mchid", "description", "out_trade_no", "notify_url", "time_expire", "attach", "goods_tag")),
    *((f"{name} is empty", {name: ""}, f"/{name}") for name in
      ("appid", "mchid", "description", "out_trade_no", "notify_url", "time_expire", "attach", "goods_tag")),
    ("appid too long", {"appid": "w" * 33}, "/appid"),
    ("appid with NUL", {"appid": "wx\0"}, "/appid"),
    ("mchid too long", {"mchid": "1" * 33}, "/mchid"),
    ("description too long", {"description": "茶" * 128}, "/description"),
    ("description blank", {"description": " \t\u3000"}, "/description"),
    ("description with NUL", {"description": "tea\0"}, "/description"),
    ("description with an escape", {"description": "\x1b[31mtea"}, "/description"),
    ("out_trade_no too short", {"out_trade_no": "tea-1"}, "/out_trade_no"),
    ("out_trade_no too long", {"out_trade_no": "t" * 33}, "/out_trade_no"),
    ("out_trade_no with a slash", {"out_trade_no": "tea/123"}, "/out_trade_no"),
    ("out_trade_no with @", {"out_trade_no": "tea@123"}, "/out_trade_no"),
    ("out_trade_no in Chinese", {"out_trade_no": "茶茶茶茶茶茶茶"}, "/out_trade_no"),
    ("out_trade_no with other digits", {"out_trade_no": "tea-١٢٣٤"}, "/out_trade_no"),
    ("out_trade_no with a line feed at its end", {"out_trade_no": "tea-1234\n"}, "/out_trade_no"),
    ("attach too long", {"attach": "a" * 129}, "/attach"),
    ("attach with NUL", {"attach": "a\0"}, "/attach"),
    ("goods_tag too long", {"goods_tag": "a" * 33}, "/goods_tag"),
    ("amount is a number", {"amount": 1800}, "/amount"),
    ("amount without total", {"amount": {"currency": "CNY"}}, "/amount/total"),
    ("total zero", {"amount": {"total": 0}}, "/amount/total"),
    ("total negative", {"amount": {"total": -1}}, "/amount/total"),
    ("total a string", {"amount": {"total": "1800"}}, "/amount/total"),
    ("total a float", {"amount": {"total": 18.5}}, "/amount/total"),
    ("total a whole float", {"amount": {"total": 18.0}}, "/amount/total"),
    ("total a boolean", {"amount": {"total": True}}, "/amount/total"),
    ("total null", {"amount": {"total": None}}, "/amount/total"),
    ("total too much", {"amount": {"total": 1_000_000_001}}, "/amount/total"),
    ("total beyond 64 bits", {"amount": {"total": 10**30}}, "/amount/total"),
    ("another currency", {"amount": {"total": 1, "currency": "USD"}}, "/amount/currency"),
    ("a currency in lower case", {"amount": {"total": 1, "currency": "cny"}}, "/amount/currency"),
    ("an empty currency", {"amount": {"total": 1, "currency": ""}}, "/amount/currency"),
    ("notify_url too long", {"notify_url": "http://127.0.0.1/" + "n" * 239}, "/notify_url"),
    ("notify_url of another scheme", {"notify_url": "ftp://127.0.0.1/n"}, "/notify_url"),
    ("notify_url without scheme", {"notify_url": "127.0.0.1/n"}, "/notify_url"),
    ("notify_url without host", {"notify_url": "http:///n"}, "/notify_url"),
    ("notify_url with a query", {"notify_url": "http://127.0.0.1/n?a=1"}, "/notify_url"),
    ("notify_url with an empty query", {"notify_url": "http://127.0.0.1/n?"}, "/notify_url"),
    ("notify_url with a fragment", {"notify_url": "http://127.0.0.1/n#a"}, "/notify_url"),
    ("notify_url with a user", {"notify_url": "http://a:b@127.0.0.1/n"}, "/notify_url"),
    ("notify_url with a blank", {"notify_url": "http://127.0.0.1/n n"}, "/notify_url"),
    ("notify_url with NUL", {"notify_url": "http://127.0.0.1/\0"}, "/notify_url"),
    ("notify_url with a port too high", {"notify_url": "http://127.0.0.1:99999/"}, "/notify_url"),
    ("time_expire a date", {"time_expire": "2030-01-01"}, "/time_expire"),
    ("time_expire without offset", {"time_expire": "2030-01-01T00:00:00"}, "/time_expire"),
    ("time_expire in V2 form", {"time_expire": "20300101000000"}, "/time_expire"),
    ("time_expire on no day", {"time_expire": "2030-02-30T00:00:00+08:00"}, "/time_expire"),
    ("time_expire at no hour", {"time_expire": "2030-01-01T25:00:00+08:00"}, "/time_expire"),
    ("time_expire in other digits", {"time_expire": "٢٠٣٠-01-01T00:00:00+08:00"}, "/time_expire"),
    ("time_expire at the end of time", {"time_expire": "9999-12-31T23:59:59-12:00"}, "/time_expire"),
    ("time_expire before time", {"time_expire": "0001-01-01T00:00:00+08:00"}, "/time_expire"),
    ("limit_pay of another kind", {"limit_pay": ["no_money"]}, "/limit_pay/0"),
    ("limit_pay no list", {"limit_pay": "no_credit"}, "/limit_pay"),
    ("support_fapiao a string", {"support_fapiao": "true"}, "/support_fapiao"),
    ("scene_info without an address", {"scene_info": {}}, "/scene_info/payer_client_ip"),
    ("device_id too long", {"scene_info": {"payer_client_ip": "::1", "device_id": "d" * 33}}, "/scene_info/device_id"),
    ("a shop without id", {"scene_info": {"payer_client_ip": "::1", "store_info": {}}}, "/scene_info/store_info/id"),
    ("profit_sharing a number", {"settle_info": {"profit_sharing": 1}}, "/settle_info/profit_sharing"),
    ("detail a string", {"detail": "tea"}, "/detail"),
    ("detail too long", {"detail": {"invoice_id": "1", "x": "x" * 6200}}, "/detail"),
    ("goods without a price", {"detail": {"goods_detail": [{"merchant_goods_id": "1", "quantity": 1}]}},
     "/detail/goods_detail/0/unit_price"),
]  # fmt: skip


@pytest.mark.parametrize(("_case", "changed", "field"), WRONG)
async def test_a_field_that_is_not_in_form_is_pointed_at(
    _case: str, changed: dict[str, Any], field: str, client: Client
) -> None:
    order = client.order(**changed)
    heard = await client.ask("POST", NATIVE, order)
    assert (heard.status, heard.code) == (400, "PARAM_ERROR"), heard.body
    detail = heard.json["detail"]
    assert (detail["field"], detail["location"]) == (field, "body")
    assert detail["issue"]
    assert f"/body{field}" in heard.json["message"]
    if isinstance(changed.get(field[1:]), str | int):
        assert detail["value"] == changed[field[1:]]


RIGHT: list[tuple[str, dict[str, Any]]] = [
    ("the least", {"amount": {"total": 1}}),
    ("the most", {"amount": {"total": 1_000_000_000, "currency": "CNY"}}),
    ("127 characters, each of three bytes", {"description": "茶" * 127}),
    ("a number of six", {"out_trade_no": "*|-_aZ"}),
    ("unknown fields", {"new_field": {"deep": [1, 2, {"x": None}]}, "amount": {"total": 1, "later": True}}),
    ("nulls where a field may be absent", {"attach": ABSENT, "detail": ABSENT, "scene_info": ABSENT}),
    ("attach of 128", {"attach": "附" * 128}),
    ("all that is optional", {
        "goods_tag": "WXG", "limit_pay": ["no_credit"], "support_fapiao": True,
        "detail": {"cost_price": 1, "invoice_id": "i", "goods_detail": [
            {"merchant_goods_id": "1", "quantity": 1, "unit_price": 1, "goods_name": "茶"}]},
        "scene_info": {"payer_client_ip": "::1", "device_id": "d1", "store_info": {"id": "s1", "name": "店"}},
        "settle_info": {"profit_sharing": False}, "payer": {}}),
    ("a notify_url with a port, in capitals", {"notify_url": "HTTP://LOCALHOST:8080/Notify"}),
    ("an IPv6 notify_url", {"notify_url": "http://[::1]:8080/n"}),
]  # fmt: skip


@pytest.mark.parametrize(("_case", "changed"), RIGHT)
async def test_what_is_in_form_is_taken(_case: str, changed: dict[str, Any], client: Client) -> None:
    order = {name: None if value == ABSENT else value for name, value in {**client.order(), **changed}.items()}
    heard = await client.ask("POST", NATIVE, order)
    assert heard.status == 200, heard.body


@pytest.mark.parametrize(
    ("_case", "ahead", "outcome"),
    [
        ("yesterday", timedelta(days=-1), (400, "INVALID_REQUEST")),
        ("now", timedelta(0), (400, "INVALID_REQUEST")),
        ("in less than a minute", timedelta(seconds=50), (400, "INVALID_REQUEST")),
        ("in two minutes", timedelta(minutes=2), (200, "")),
        ("in fifteen days", timedelta(days=14, hours=23), (200, "")),
        ("in more than fifteen days", timedelta(days=15, minutes=1), (400, "PARAM_ERROR")),
    ],
)
@pytest.mark.parametrize("zone", ["+08:00", "Z"])
async def test_an_expiry_lies_between_a_minute_and_fifteen_days_ahead(
    _case: str, ahead: timedelta, outcome: tuple[int, str], zone: str, client: Client
) -> None:
    moment = (await client.now()).world + ahead
    heard = await client.prepay(time_expire=rfc3339(moment, zone))
    assert (heard.status, heard.json.get("code", "")) == outcome


async def test_an_expiry_is_kept_but_never_longer_than_a_week(client: Client) -> None:
    for days, kept in ((3, 3), (14, 7)):
        before = (await client.now()).world
        order = client.order(time_expire=rfc3339(before + timedelta(days=days)))
        await client.ask("POST", NATIVE, order)
        after = (await client.now()).world
        async with client.house.db.transaction() as tx:
            payment = await pay.find_payment_by_reference(tx, client.shop.merchant.id, order["out_trade_no"])
        assert payment is not None
        second = timedelta(seconds=1)  # of which a time on the wire has no parts
        assert before - second <= payment.expires_at - timedelta(days=kept) <= after


# --- re-entry (contract §1.10, §2.7, §2.9) ----------------------------------------------------------------------------


async def test_the_same_prepay_again_gets_a_fresh_code_and_kills_the_old_one(client: Client) -> None:
    order = client.order(attach="a", time_expire=rfc3339((await client.now()).world + timedelta(days=1)))
    first = await client.ask("POST", NATIVE, json.dumps(order).encode())
    shuffled = dict(reversed(order.items())) | {"unknown": 1, "detail": None}
    again = await client.ask("POST", NATIVE, json.dumps(shuffled, indent=1, ensure_ascii=False).encode())
    assert (first.status, again.status) == (200, 200)
    old, new = (heard.json["code_url"].rpartition("/")[2] for heard in (first, again))
    now = await client.now()
    async with client.house.db.transaction() as tx:
        assert (await pay.get_payment_by_code(tx, new, by=ANYBODY, now=now)).merchant_reference == order["out_trade_no"]
        with pytest.raises(pay.CodeUnknown):
            await pay.get_payment_by_code(tx, old, by=ANYBODY, now=now)


OTHERWISE: list[tuple[str, dict[str, Any]]] = [
    ("total", {"amount": {"total": 1801}}),
    ("description", {"description": "other"}),
    ("attach", {"attach": "other"}),
    ("notify_url", {"notify_url": "http://127.0.0.1:9/other"}),
    ("goods_tag", {"goods_tag": "other"}),
    ("limit_pay", {"limit_pay": ["no_credit"]}),
    ("profit_sharing", {"settle_info": {"profit_sharing": True}}),
    ("device", {"scene_info": {"payer_client_ip": "::1", "device_id": "d2"}}),
    ("detail", {"detail": {"cost_price": 2}}),
]


@pytest.mark.parametrize(("_case", "changed"), OTHERWISE)
async def test_a_number_used_again_for_something_else_is_refused(
    _case: str, changed: dict[str, Any], client: Client
) -> None:
    order = client.order()
    await client.ask("POST", NATIVE, order)
    heard = await client.ask("POST", NATIVE, order | changed)
    assert (heard.status, heard.code) == (400, "INVALID_REQUEST")
    assert "detail" not in heard.json


async def test_a_number_used_again_with_another_expiry_or_trade_type_is_refused(client: Client) -> None:
    order = client.order()
    await client.ask("POST", NATIVE, order)
    later = order | {"time_expire": rfc3339((await client.now()).world + timedelta(days=1))}
    assert (await client.ask("POST", NATIVE, later)).code == "INVALID_REQUEST"
    assert (await client.ask("POST", "/v3/pay/transactions/app", order)).code == "INVALID_REQUEST"


async def test_the_payers_address_is_not_part_of_the_request(client: Client) -> None:
    order = client.order(scene_info={"payer_client_ip": "10.0.0.1"})
    assert (await client.ask("POST", NATIVE, order)).status == 200
    order["scene_info"] = {"payer_client_ip": "10.0.0.2"}
    assert (await client.ask("POST", NATIVE, order)).status == 200


async def test_a_refused_prepay_does_not_bind_its_number(client: Client) -> None:
    order = client.order()
    assert (await client.ask("POST", NATIVE, order | {"amount": {"total": 0}})).status == 400
    assert (await client.ask("POST", NATIVE, order | {"appid": "wx0000000000000000"})).status == 400
    assert (await client.ask("POST", NATIVE, order)).status == 200


async def test_two_merchants_may_use_one_number(client: Client, new_client: Any) -> None:
    other, number = await new_client(), unique()
    assert (await client.prepay(out_trade_no=number)).status == 200
    assert (await other.prepay(out_trade_no=number, amount={"total": 7})).status == 200
    assert (await client.query(number)).json["amount"]["total"] == 1800
    assert (await other.query(number)).json["amount"]["total"] == 7


async def test_a_hundred_of_the_same_at_once_are_one_payment(client: Client) -> None:
    order = client.order()
    heard = await asyncio.gather(*(client.ask("POST", NATIVE, order) for _ in range(100)))
    assert {each.status for each in heard} == {200}
    assert len({each.json["code_url"] for each in heard}) == 100
    async with client.house.db.transaction() as tx:
        assert len(await pay.find_payments(tx, order["out_trade_no"])) == 1


# --- which operation is legal in which state (contract §2.7) ----------------------------------------------------------

Stage = Callable[[Client, Person, str], Awaitable[None]]


async def _open(client: Client, _alice: Person, number: str) -> None:
    assert (await client.prepay(out_trade_no=number)).status == 200


async def _paid(client: Client, alice: Person, number: str) -> None:
    await _open(client, alice, number)
    await client.paid_by(alice, number)


async def _refunded(client: Client, alice: Person, number: str) -> None:
    await _paid(client, alice, number)
    assert (await client.refund(number, 600)).status == 200


async def _closed(client: Client, alice: Person, number: str) -> None:
    await _open(client, alice, number)
    assert (await client.close(number)).status == 204


async def _burnt(client: Client, _alice: Person, number: str) -> None:
    assert (await client.close(number)).status == 204


async def _fresh(_client: Client, _alice: Person, _number: str) -> None:
    return


async def _again(client: Client, number: str) -> Heard:
    return await client.prepay(out_trade_no=number)


async def _other(client: Client, number: str) -> Heard:
    return await client.prepay(out_trade_no=number, amount={"total": 1})


async def _query(client: Client, number: str) -> Heard:
    return await client.query(number)


async def _close(client: Client, number: str) -> Heard:
    return await client.close(number)


async def _refund(client: Client, number: str) -> Heard:
    return await client.refund(number, 100)


DIFFERS = (400, "INVALID_REQUEST")
LEGAL: list[tuple[Stage, Callable[[Client, str], Awaitable[Heard]], tuple[int, str]]] = [
    (_open, _again, (200, "")), (_open, _other, DIFFERS), (_open, _query, (200, "NOTPAY")),
    (_open, _close, (204, "")), (_open, _refund, (404, "RESOURCE_NOT_EXISTS")),
    (_paid, _again, (400, "ORDERPAID")), (_paid, _other, DIFFERS), (_paid, _query, (200, "SUCCESS")),
    (_paid, _close, (400, "ORDER_PAID")), (_paid, _refund, (200, "")),
    (_refunded, _again, (400, "ORDERPAID")), (_refunded, _other, DIFFERS), (_refunded, _query, (200, "REFUND")),
    (_refunded, _close, (400, "ORDER_PAID")), (_refunded, _refund, (200, "")),
    (_closed, _again, (400, "ORDER_CLOSED")), (_closed, _other, DIFFERS), (_closed, _query, (200, "CLOSED")),
    (_closed, _close, (204, "")), (_closed, _refund, (404, "RESOURCE_NOT_EXISTS")),
    (_burnt, _again, (400, "ORDER_CLOSED")), (_burnt, _query, (404, "ORDER_NOT_EXIST")), (_burnt, _close, (204, "")),
    (_burnt, _refund, (404, "RESOURCE_NOT_EXISTS")),
    (_fresh, _query, (404, "ORDER_NOT_EXIST")), (_fresh, _close, (204, "")),
    (_fresh, _refund, (404, "RESOURCE_NOT_EXISTS")),
]  # fmt: skip


@pytest.mark.parametrize(("stage", "act", "outcome"), LEGAL, ids=lambda each: getattr(each, "__name__", ""))
async def test_each_state_allows_what_the_contract_says(
    stage: Stage,
    act: Callable[[Client, str], Awaitable[Heard]],
    outcome: tuple[int, str],
    client: Client,
    alice: Person,
) -> None:
    number = unique()
    await stage(client, alice, number)
    heard = await act(client, number)
    said = "" if heard.status == 204 else heard.json.get("code") or heard.json.get("trade_state", "")
    assert (heard.status, said) == outcome


DOCUMENTED: list[tuple[Stage, Callable[[Client, str], Awaitable[Heard]], tuple[int, str]]] = [
    (_open, _other, (403, "OUT_TRADE_NO_USED")),
    (_paid, _again, (403, "OUT_TRADE_NO_USED")),
    (_paid, _close, (403, "TRADE_ERROR")),
    (_closed, _again, (400, "ORDER_CLOSED")),
    (_refunded, _refund, (429, "FREQUENCY_LIMITED")),
]


@pytest.mark.parametrize(("stage", "act", "outcome"), DOCUMENTED, ids=lambda each: getattr(each, "__name__", ""))
async def test_a_world_that_goes_by_the_documents_answers_in_their_words(
    stage: Stage,
    act: Callable[[Client, str], Awaitable[Heard]],
    outcome: tuple[int, str],
    client: Client,
    alice: Person,
) -> None:
    number = unique()
    await stage(client, alice, number)
    settings = replace(client.house.settings, strict_docs=True)
    async with serving(replace(client.house, settings=settings)) as port:
        heard = await act(replace(client, port=port), number)
    assert (heard.status, heard.code) == outcome


# --- query and close --------------------------------------------------------------------------------------------------


async def test_an_unpaid_payment_is_told_without_what_it_does_not_have(client: Client) -> None:
    order = client.order()
    await client.ask("POST", NATIVE, order)
    heard = await client.query(order["out_trade_no"])
    assert heard.json == {
        "mchid": client.mchid,
        "appid": order["appid"],
        "out_trade_no": order["out_trade_no"],
        "trade_state": "NOTPAY",
        "trade_state_desc": "订单未支付",
        "amount": {"total": 1800, "currency": "CNY"},
    }


async def test_a_paid_payment_is_told_whole_by_either_number(client: Client, alice: Person) -> None:
    order = client.order(attach='{"a":"<&>"}', scene_info={"payer_client_ip": "::1", "device_id": "till-7"})
    await client.ask("POST", NATIVE, order)
    payment = await client.paid_by(alice, order["out_trade_no"])
    heard = await client.query(order["out_trade_no"])
    told = heard.json
    assert payment.succeeded_at is not None
    assert len(told["payer"].pop("openid")) == 28
    assert told == {
        "mchid": client.mchid,
        "appid": order["appid"],
        "out_trade_no": order["out_trade_no"],
        "transaction_id": payment.public_number,
        "trade_type": "NATIVE",
        "trade_state": "SUCCESS",
        "trade_state_desc": "支付成功",
        "bank_type": "OTHERS",
        "attach": order["attach"],
        "success_time": rfc3339(payment.succeeded_at),
        "payer": {},
        "amount": {"total": 1800, "payer_total": 1800, "currency": "CNY", "payer_currency": "CNY"},
        "scene_info": {"device_id": "till-7"},
    }
    target = f"/v3/pay/transactions/id/{payment.public_number}?mchid={client.mchid}"
    assert (await client.ask("GET", target)).body == heard.body


async def test_another_merchant_sees_nothing_and_is_told_nothing_more_than_a_stranger(
    client: Client, new_client: Any, alice: Person
) -> None:
    other, number = await new_client(), unique()
    await _paid(client, alice, number)
    payment = await client.paid_by(alice, number)
    by_id = "/v3/pay/transactions/id/{}?mchid=" + other.mchid
    pairs = [
        (await other.query(number), await other.query(unique("none"))),
        (await other.ask("GET", by_id.format(payment.public_number)), await other.ask("GET", by_id.format("4200"))),
        (await other.refund(number, 1), await other.refund(unique("none"), 1)),
    ]
    for theirs, nobodys in pairs:
        assert theirs.status == 404
        assert (theirs.status, theirs.body) == (nobodys.status, nobodys.body)
    assert (await other.close(number)).status == 204
    assert (await client.query(number)).json["trade_state"] == "SUCCESS"


@pytest.mark.parametrize(
    ("_case", "target", "detail"),
    [
        ("no mchid", "/v3/pay/transactions/out-trade-no/tea-1234", ("mchid", "query")),
        ("an empty mchid", "/v3/pay/transactions/out-trade-no/tea-1234?mchid=", ("mchid", "query")),
        ("two mchids", "/v3/pay/transactions/out-trade-no/tea-1234?mchid=1&mchid=2", ("mchid", "query")),
        ("no mchid by our number", "/v3/pay/transactions/id/4200", ("mchid", "query")),
        ("a number too short", "/v3/pay/transactions/out-trade-no/tea?mchid=1", ("out_trade_no", "url")),
        ("a number with NUL", "/v3/pay/transactions/out-trade-no/tea-12%00?mchid=1", ("out_trade_no", "url")),
        ("a number that is not UTF-8", "/v3/pay/transactions/out-trade-no/tea-12%ff?mchid=1", ("out_trade_no", "url")),
        ("our number too long", "/v3/pay/transactions/id/" + "4" * 33 + "?mchid=1", ("transaction_id", "url")),
    ],
)
async def test_a_query_that_is_not_in_form_is_pointed_at(
    _case: str, target: str, detail: tuple[str, str], client: Client
) -> None:
    heard = await client.ask("GET", target)
    assert (heard.status, heard.code) == (400, "PARAM_ERROR")
    assert (heard.json["detail"]["field"], heard.json["detail"]["location"]) == detail


async def test_a_query_or_close_for_another_merchants_number_is_refused(client: Client) -> None:
    heard = await client.ask("GET", f"{_path('tea-1234')}?mchid=1111111111")
    assert (heard.status, heard.code) == (400, "PARAM_ERROR")
    heard = await client.ask("POST", f"{_path('tea-1234')}/close", {"mchid": "1111111111"})
    assert (heard.status, heard.code) == (400, "PARAM_ERROR")
    heard = await client.ask("POST", f"{_path('tea-1234')}/close", {})
    assert heard.json["detail"]["field"] == "/mchid"


# --- the world's clock ------------------------------------------------------------------------------------------------


async def test_a_moved_or_frozen_clock_moves_business_but_not_signatures(new_client: Any, alice: Person) -> None:
    client = await new_client()
    number, expiring = unique(), unique()
    await client.prepay(out_trade_no=number)
    await client.prepay(out_trade_no=expiring)
    await client.paid_by(alice, number)
    async with client.house.db.transaction() as tx:
        wall = clock.wall_now()
        await worlds.freeze_clock(tx, wall_now=wall)
        await worlds.move_clock(tx, wall + timedelta(days=400), wall_now=wall)
    try:
        assert (await client.query(expiring)).json["trade_state"] == "CLOSED"
        assert (await client.prepay(out_trade_no=expiring)).code == "ORDER_CLOSED"
        assert (await client.refund(number, 1)).status == 403
        soon = rfc3339(wall + timedelta(days=1))
        assert (await client.prepay(time_expire=soon)).code == "INVALID_REQUEST"
        fresh = unique()
        heard = await client.prepay(out_trade_no=fresh, time_expire=rfc3339(wall + timedelta(days=401)))
        assert heard.status == 200
        assert client.verifies(heard)
        payment = await client.paid_by(alice, fresh)
        assert (await client.query(fresh)).json["success_time"] == rfc3339(payment.succeeded_at)
    finally:
        async with client.house.db.transaction() as tx:
            await worlds.thaw_clock(tx, wall_now=clock.wall_now())


# --- printed codes ----------------------------------------------------------------------------------------------------


async def test_a_payment_by_a_printed_code_is_told_closed_and_refunded_like_any_other(
    client: Client, alice: Person
) -> None:
    """No server asked for it, but the merchant's software knows its number from the console or a bill."""
    now = await client.now()
    merchant_id = client.shop.merchant.id
    async with client.house.db.transaction() as tx:
        code = await pay.create_standing_code(tx, merchant_id, client.shop.app.id, "Counter", now=now)
        openings = [await pay.standing_opening(tx, code.code, Money(1800, CNY), now=now) for _ in range(2)]
    for opening in openings:
        await client.house.openings.submit(opening)
    number, unpaid = (opening.merchant_reference for opening in openings)

    assert (await client.query(number)).json["trade_state"] == "NOTPAY"
    assert (await client.close(unpaid)).status == 204
    assert (await client.query(unpaid)).json["trade_state"] == "CLOSED"
    again = await client.prepay(out_trade_no=number, description="Counter")  # the number is taken
    assert (again.status, again.code) == (400, "INVALID_REQUEST")

    payment = await client.paid_by(alice, number)
    heard = await client.query(number)
    assert client.verifies(heard)
    told = {name: heard.json[name] for name in ("appid", "out_trade_no", "transaction_id", "trade_type", "trade_state")}
    assert told == {
        "appid": client.shop.app.appid,
        "out_trade_no": number,
        "transaction_id": payment.public_number,
        "trade_type": "NATIVE",
        "trade_state": "SUCCESS",
    }
    back = unique("back")
    assert (await client.refund(number, 500, out_refund_no=back)).status == 200
    assert (await client.settled(back)).amount == Money(500, CNY)
    assert (await client.query(number)).json["trade_state"] == "REFUND"
