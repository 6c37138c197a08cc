"""Paying from the terminal, and what it leaves behind in the pool, the books and the deliveries."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from dewpond import merchants, pay
from dewpond.kit import worlds
from dewpond.kit.db import Database
from dewpond.kit.money import Money
from dewpond.settings import read_settings
from dewpond.wiring import open_house
from dewpond.worker import drain

from .conftest import Type

NOWHERE = "http://127.0.0.1:9/notify"


@dataclass(frozen=True, slots=True)
class Asked:
    """An open payment, as the shop holds it."""

    code_url: str
    number: str
    payment: str


Ask = Callable[..., Asked]


@pytest.fixture(scope="module")
def shop(dewpond: Type, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder: Path = tmp_path_factory.mktemp("shop")
    made: dict[str, Any] = dewpond("merchants", "create", "Tea Shop", "--out", str(folder), "--json").json
    return made


@pytest.fixture(scope="module")
def ask(shop: dict[str, Any], dsn: str) -> Ask:
    """`ask("tea1", "18.00")`: the shop asks for money."""

    async def open_payment(number: str, amount: str, minutes: int) -> Asked:
        db = await Database.open(dsn, size=1)
        async with db.transaction() as tx:
            merchant = (await merchants.find_merchants(tx, shop["mchid"]))[0]
            app = (await merchants.apps_of(tx, merchant.id))[0]
            now = await worlds.read_clocks(tx)
            opening = pay.Opening(
                merchant_id=merchant.id,
                app_id=app.id,
                merchant_reference=number,
                description="Longjing",
                amount=Money.parse(amount),
                fee_rate_bp=merchant.fee_rate_bp,
                expires_at=now.world + timedelta(minutes=minutes),
                now=now,
                request=pay.NewRequest(trade_type="NATIVE", request_hash=b"1", notify_url=NOWHERE),
            )
            opened = (await pay.open_payments(tx, [opening]))[0]
            assert isinstance(opened, pay.Opened)
            payment = await pay.get_payment(tx, merchant.id, opened.payment_id)
        await db.close()
        return Asked(f"http://localhost:8601/q/{opened.code}", number, payment.text_id)

    return lambda number, amount="18.00", minutes=60: asyncio.run(open_payment(number, amount, minutes))


def work(dsn: str) -> None:
    """Do what a worker does, until nothing is left to do now."""

    async def once() -> None:
        async with open_house(read_settings(), dsn=dsn, name="tests") as house:
            await drain(house)

    asyncio.run(once())


def test_a_code_is_paid_as_a_phone_does(ask: Ask, dewpond: Type) -> None:
    dewpond("people", "create", "Alice", "--balance", "100.00")
    asked = ask("tea000001")
    ran = dewpond("pay", asked.code_url, "--as", "Alice")
    assert ran.code == 0, ran.err
    assert "Tea Shop asks Alice for 18.00 CNY: Longjing" in ran.out
    assert "82.00 CNY left" in ran.out


@pytest.mark.parametrize("called", ["number", "payment", "code_url", "bare code"])
def test_a_payment_is_called_by_any_of_its_names(called: str, ask: Ask, dewpond: Type) -> None:
    person = dewpond("people", "create", "Bob", "--balance", "20", "--json").json
    asked = ask(f"tea{abs(hash(called)):010d}"[:20])
    name = asked.code_url.rpartition("/")[2] if called == "bare code" else getattr(asked, called)
    paid = dewpond("pay", name, "--as", person["id"], "--json").json
    assert (paid["payment"], paid["was_paid"]) == (asked.payment, False)
    assert paid["balance"]["minor"] == 200
    again = dewpond("pay", paid["transaction_id"], "--as", person["id"], "--json").json
    assert again["was_paid"]
    assert again["balance"]["minor"] == 200


def test_a_refused_payment_says_why_and_takes_nothing(ask: Ask, dewpond: Type) -> None:
    poor = dewpond("people", "create", "Poor", "--balance", "17.99", "--json").json["id"]
    rich = dewpond("people", "create", "Rich", "--balance", "100", "--json").json["id"]
    asked = ask("tea000002")
    for words, told in (
        (["--as", poor], "not enough money"),
        (["--as", rich, "--pin", "000000"], "not the PIN"),
        (["--as", "Nobody"], "no person"),
    ):
        ran = dewpond("pay", asked.number, *words, "--json")
        assert (ran.code, ran.out) == (1, "")
        assert told in ran.err
    assert dewpond("pay", asked.number, "--as", rich).code == 0
    late = dewpond("pay", asked.number, "--as", poor)
    assert late.code == 1
    assert "else has paid" in late.err


def test_an_expired_payment_is_refused(ask: Ask, dewpond: Type) -> None:
    asked = ask("tea000003", minutes=0)
    ran = dewpond("pay", asked.number, "--as", "Alice")
    assert ran.code == 1
    assert "closed" in ran.err


def test_the_pool_the_walk_and_the_deliveries_tell_the_same_story(
    ask: Ask, dewpond: Type, shop: dict[str, Any], dsn: str
) -> None:
    carol = dewpond("people", "create", "Carol", "--balance", "100", "--json").json["id"]
    paid = [dewpond("pay", ask(f"tea00001{n}").number, "--as", carol, "--json").json for n in range(2)]
    work(dsn)

    drop = dewpond("pool", "show", shop["mchid"], "--contact", carol, "--json").json["contacts"][0]
    assert drop["name"] == "Carol"
    spending = drop["spendings"][0]
    assert (spending["purchases"], spending["net"]["minor"]) == (2, 3600)
    assert sorted(point["payment"] for point in drop["touchpoints"]) == sorted(one["payment"] for one in paid)
    assert sum(point["amount"]["minor"] for point in drop["touchpoints"]) == spending["spent"]["minor"]
    by_open_id = dewpond("pool", "show", "Tea Shop", "--contact", drop["open_id"]).out
    assert "tea000010" in by_open_id
    assert "tea000011" in by_open_id

    walk = dewpond("ledger", "walk", paid[0]["transaction_id"], "--json").json
    moved = [(one["from"], one["to"], one["amount"]["minor"]) for one in walk["steps"][0]["transfers"]]
    assert moved == [
        ("Carol: wallet", "Tea Shop: unsettled", 1800),
        ("Tea Shop: unsettled", "house: fees", 11),
    ]
    assert sum(end["amount"]["minor"] for end in walk["ends"]) == 0
    assert "together 0" in dewpond("ledger", "walk", paid[0]["payment"]).out

    deliveries = dewpond("deliveries", "list", "--merchant", shop["mchid"], "--json").json
    assert {one["event"] for one in deliveries} == {"payment.succeeded"}
    first = dewpond("deliveries", "show", deliveries[0]["id"], "--json").json
    assert first["status"] == "pending"
    assert first["log"][0]["http_status"] is None
    assert dewpond("deliveries", "resend", deliveries[0]["id"], "--json").json["id"] == deliveries[0]["id"]
    work(dsn)
    log = dewpond("deliveries", "show", deliveries[0]["id"], "--json").json["log"]
    assert len(log) >= len(first["log"]) + 1
    assert dewpond("deliveries", "list").out.count("payment.succeeded") >= 2
    assert dewpond("ledger", "check").code == 0
