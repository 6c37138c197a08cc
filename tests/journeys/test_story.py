"""The story: an unmodified SDK takes a real payment over the wire, and the customer stays in the pool.

The same in every weather: time as it is, time standing still, time moved by more than a year, one server and two.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from journeys.running import Shop, a_world, open_shop, until

pytestmark = pytest.mark.journey

Weather = Callable[[Any], None]


def _as_it_is(_world: Any) -> None:
    """Nothing is done to the clock."""


def _frozen(world: Any) -> None:
    world.terminal("world", "clock", "freeze")


def _a_year_on(world: Any) -> None:
    world.terminal("world", "clock", "advance", "400d")


def _a_year_on_and_frozen(world: Any) -> None:
    world.terminal("world", "clock", "freeze")
    world.terminal("world", "clock", "advance", "400d")


@pytest.mark.parametrize(
    ("_case", "servers", "weather", "key_mode"),
    [
        ("one server, certificate mode", 1, _as_it_is, "certificate"),
        ("one server, public-key mode", 1, _as_it_is, "public-key"),
        ("two servers", 2, _as_it_is, "certificate"),
        ("clock frozen", 1, _frozen, "certificate"),
        ("clock moved by 400 days", 1, _a_year_on, "public-key"),
        ("frozen and moved by 400 days", 2, _a_year_on_and_frozen, "certificate"),
    ],
)
def test_a_payment_its_refunds_and_the_drop_in_the_pool(
    _case: str, servers: int, weather: Weather, key_mode: str
) -> None:
    with a_world(servers) as world:
        weather(world)
        shop = open_shop(world, key_mode=key_mode)
        world.terminal("people", "create", "Alice", "--balance", "100.00")
        _pay(world, shop)
        _refund_in_two_parts(world, shop)
        _look_at_the_pool(world)
        _look_at_the_books(world)
        _nothing_was_told_twice(shop)


def _pay(world: Any, shop: Shop) -> None:
    code_url = shop.order("tea-0001", attach='table <7> & "window"/left')
    assert shop.state("tea-0001")["trade_state"] == "NOTPAY"
    before = _world_time(world)
    paid = world.ask("pay", code_url, "--as", "Alice")
    after = _world_time(world)
    assert paid["out_trade_no"] == "tea-0001"
    (told,) = shop.hears("TRANSACTION.SUCCESS")
    by_our_number = shop.call("query", transaction_id=told["transaction_id"])[1]
    by_their_number = shop.state("tea-0001")
    assert by_our_number == by_their_number == told
    assert told["trade_state"] == "SUCCESS"
    assert told["amount"] == {"total": 1800, "payer_total": 1800, "currency": "CNY", "payer_currency": "CNY"}
    assert told["attach"] == 'table <7> & "window"/left'
    assert len(told["payer"]["openid"]) == 28
    second = timedelta(seconds=1)  # of which a time on the wire has no parts
    assert before - second <= datetime.fromisoformat(told["success_time"]) <= after


def _world_time(world: Any) -> datetime:
    return datetime.fromisoformat(world.ask("world", "clock", "show")["world_time"])


def _refund_in_two_parts(world: Any, shop: Shop) -> None:
    for number, part in enumerate((500, 1300), start=1):
        status, told = shop.call(
            "refund",
            out_trade_no="tea-0001",
            out_refund_no=f"back-000{number}",
            amount={"refund": part, "total": 1800, "currency": "CNY"},
            notify_url=shop.notify_url,
        )
        assert status == 200
        assert told["status"] in {"PROCESSING", "SUCCESS"}
        heard = shop.hears("REFUND.SUCCESS", number)
        assert {one["out_refund_no"] for one in heard} >= {f"back-000{number}"}
        status, told = shop.call("query_refund", out_refund_no=f"back-000{number}")
        assert (status, told["status"], told["amount"]["refund"]) == (200, "SUCCESS", part)
        assert shop.state("tea-0001")["trade_state"] == "REFUND"
    status, told = shop.call(
        "refund",
        out_trade_no="tea-0001",
        out_refund_no="back-0003",
        amount={"refund": 1, "total": 1800, "currency": "CNY"},
    )
    assert (status, told["code"]) == (400, "INVALID_REQUEST")


def _look_at_the_pool(world: Any) -> None:
    def settled() -> Any:
        pool = world.ask("pool", "show", "Tea Shop")
        (drop,) = pool["contacts"] or [None]
        return drop if drop and drop["spendings"][0]["refunds"] == 2 else None

    drop = until("the refunds reach the pool", settled)
    (spending,) = drop["spendings"]
    assert drop["name"] == "Alice"
    assert spending["purchases"] == 1
    assert (spending["spent"]["minor"], spending["refunded"]["minor"], spending["net"]["minor"]) == (1800, 1800, 0)
    assert spending["first_bought_at"] is not None
    # each figure walks to its payments
    assert [point["kind"] for point in drop["touchpoints"]] in (
        ["purchase", "refund", "refund"],
        ["refund", "refund", "purchase"],
    )
    assert {point["out_trade_no"] for point in drop["touchpoints"]} == {"tea-0001"}


def _look_at_the_books(world: Any) -> None:
    assert world.terminal("ledger", "check").returncode == 0
    alice = world.ask("people", "show", "Alice")
    assert alice["wallets"][0]["available"] == 10_000
    walk = world.terminal("ledger", "walk", "tea-0001").stdout
    for word in ("18.00", "0.11", "5.00", "13.00", "wallet", "unsettled", "fees"):
        assert word in walk


def _nothing_was_told_twice(shop: Shop) -> None:
    ids = [told["id"] for told in shop.heard]
    assert len(ids) == len(set(ids)) == 3
