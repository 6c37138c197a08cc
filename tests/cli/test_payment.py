"""Paying from the terminal, and what it leaves behind in the pool, the books and the deliveries."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from dewpond.cli.running import RunFile, Running
from dewpond.settings import read_settings

from .conftest import Ask, Type, work


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


@pytest.mark.parametrize(
    ("_case", "form"),
    [
        ("WeChat's own", "weixin://wxpay/bizpayurl?pr={}"),
        ("WeChat's with more behind it", "weixin://wxpay/bizpayurl?pr={}&from=tea"),
        ("ours with a slash", "http://localhost:8601/q/{}/"),
        ("ours with somebody's query", "http://localhost:8601/q/{}?from=tea"),
    ],
)
def test_a_code_is_read_out_of_every_form_of_link(_case: str, form: str, ask: Ask, dewpond: Type) -> None:
    person = dewpond("people", "create", "Reader", "--balance", "18", "--json").json["id"]
    asked = ask(f"tea{abs(hash(_case)):010d}"[:20])
    link = form.format(asked.code_url.rpartition("/")[2])
    assert dewpond("pay", link, "--as", person, "--json").json["payment"] == asked.payment


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


def test_of_one_number_in_two_shops_none_is_guessed(ask: Ask, dewpond: Type, tmp_path: Path) -> None:
    other = dewpond("merchants", "create", "Rice Shop", "--out", str(tmp_path / "rice"), "--json").json
    mine, theirs = ask("twice00001"), ask("twice00001", mchid=other["mchid"])
    person = dewpond("people", "create", "Careful", "--balance", "50", "--json").json["id"]
    ran = dewpond("pay", "twice00001", "--as", person)
    assert (ran.code, ran.out) == (1, "")
    for told in (mine.payment, theirs.payment, "Rice Shop", "Tea Shop"):
        assert told in ran.err
    assert dewpond("pay", theirs.payment, "--as", person, "--json").json["mchid"] == other["mchid"]


def test_events_name_things_as_other_commands_take_them(ask: Ask, dewpond: Type) -> None:
    person = dewpond("people", "create", "Eventful", "--balance", "50", "--json").json["id"]
    asked = ask("event00001")
    dewpond("pay", asked.code_url, "--as", person)
    told = dewpond("events", "tail", "--most", "1").out
    assert f"payment_id={asked.payment}" in told
    assert f"person_id={person}" in told
    fact = json.loads(dewpond("events", "tail", "--most", "1", "--json").out)
    assert (fact["ids"]["payment_id"], fact["ids"]["person_id"]) == (asked.payment, person)
    assert fact["body"]["payment_id"] != asked.payment


@pytest.mark.parametrize(
    ("_case", "number", "neighbours", "said"),
    [
        ("its own shop", "lan1", (("127.0.0.1", 9),), "connection refused"),
        ("anybody else near", "lan2", (("127.0.0.1", 10),), "loopback"),
    ],
)
def test_a_clock_that_is_moved_beside_open_doors_calls_the_sandboxs_shop_only(
    _case: str, number: str, neighbours: tuple[tuple[str, int], ...], said: str, ask: Ask, dewpond: Type
) -> None:
    asked = ask(number)
    person = dewpond("people", "create", "Open", "--balance", "18", "--json").json["id"]
    assert dewpond("pay", asked.payment, "--as", person).code == 0
    run_file = RunFile(read_settings())
    run_file.hold(Running(pid=os.getpid(), listeners=(("0.0.0.0", 8601),), neighbours=neighbours))  # noqa: S104 - told, never bound
    try:
        assert dewpond("world", "clock", "advance", "1s").code == 0
    finally:
        run_file.leave()
    newest = dewpond("deliveries", "list", "--most", "1", "--json").json[0]
    assert dewpond("deliveries", "show", newest["id"], "--json").json["log"][0]["outcome"] == said
