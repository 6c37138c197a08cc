"""Many at once, over two servers and two processes: one effect, clear answers, books at zero."""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from journeys.running import RunningWorld, Shop, a_world, open_shop

pytestmark = pytest.mark.journey


@pytest.fixture(scope="module")
def world() -> Iterator[RunningWorld]:
    with a_world(servers=2) as running:
        for name in ("Alice", "Bob"):
            running.terminal("people", "create", name, "--balance", "1000.00")
        yield running
        assert running.terminal("ledger", "check").returncode == 0


@pytest.fixture(scope="module")
def shop(world: RunningWorld) -> Shop:
    return open_shop(world)


def _at_once(world: RunningWorld, *crowds: list[list[Any]]) -> Counter[str]:
    """Let processes confirm at the same moment; what their copies were told."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "journeys.crowd", str(world.home), json.dumps(wishes)],
            env={**world.environment, "PYTHONPATH": str(Path(__file__).parent.parent)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for wishes in crowds
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    told: Counter[str] = Counter()
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        out, _ = process.communicate(timeout=600)
        assert process.returncode == 0
        told.update(json.loads(out))
    return told


def _left(world: RunningWorld, name: str) -> int:
    return int(world.ask("people", "show", name)["wallets"][0]["available"])


def test_a_hundred_copies_of_one_confirmation_pay_once(world: RunningWorld, shop: Shop) -> None:
    shop.order("crowd-0001")
    before = _left(world, "Alice")
    told = _at_once(world, *([[["crowd-0001", "Alice", "123456", 50]]] * 2))
    ((answer, count),) = told.items()  # all hundred are told the same
    assert answer.startswith("Payment 4200")
    assert count == 100
    assert _left(world, "Alice") == before - 1800
    assert len(shop.hears("TRANSACTION.SUCCESS")) == 1


def test_of_two_people_paying_one_order_one_pays(world: RunningWorld, shop: Shop) -> None:
    for number in range(5):
        reference = f"crowd-1{number:03d}"
        shop.order(reference, 100)
        before = _left(world, "Alice") + _left(world, "Bob")
        told = _at_once(world, [[reference, "Alice", "123456", 3]], [[reference, "Bob", "123456", 3]])
        assert told["PaymentTaken"] == 3
        assert sum(count for answer, count in told.items() if answer.startswith("Payment 4200")) == 3
        assert _left(world, "Alice") + _left(world, "Bob") == before - 100


def test_five_wrong_pins_are_looked_at_however_many_come(world: RunningWorld, shop: Shop) -> None:
    world.terminal("people", "create", "Carol", "--balance", "100.00", "--pin", "271828")
    for number in range(10):
        shop.order(f"crowd-2{number:03d}", 100)
    wrong = [[f"crowd-2{number:03d}", "Carol", f"{number:06d}", 2] for number in range(10)]
    told = _at_once(world, wrong, wrong)
    assert told["PinWrong"] == 4  # the fifth locks
    assert told["PinLocked"] == 36
    assert _left(world, "Carol") == 10_000
    refused = world.terminal("pay", "crowd-2000", "--as", "Carol", "--pin", "271828", check=False)
    assert refused.returncode == 1
    assert shop.state("crowd-2000")["trade_state"] == "NOTPAY"


def test_a_wallet_is_not_spent_twice_by_two_processes(world: RunningWorld, shop: Shop) -> None:
    world.terminal("people", "create", "Dave", "--balance", "10.00")
    for number in range(10):
        shop.order(f"crowd-3{number:03d}", 300)
    wishes = [[f"crowd-3{number:03d}", "Dave", "123456", 1] for number in range(10)]
    told = _at_once(world, wishes[:5], wishes[5:])
    assert told["InsufficientFunds"] == 7
    assert _left(world, "Dave") == 100


def test_fifty_refunds_above_the_sum_in_parallel_and_one_stands(world: RunningWorld, shop: Shop) -> None:
    world.terminal("pay", shop.order("crowd-4000", 10_000), "--as", "Bob")

    def refund(number: int) -> Any:
        status, told = shop.call(
            "refund",
            out_trade_no="crowd-4000",
            out_refund_no=f"back-{number:04d}",
            amount={"refund": 6000, "total": 10_000, "currency": "CNY"},
        )
        return status, told.get("code", "accepted")

    with ThreadPoolExecutor(10) as crowd:
        told = Counter(crowd.map(refund, range(50)))
    assert told == {(200, "accepted"): 1, (400, "INVALID_REQUEST"): 49}


def test_one_refund_number_in_parallel_is_one_refund(world: RunningWorld, shop: Shop) -> None:
    world.terminal("pay", shop.order("crowd-5000", 1000), "--as", "Bob")

    def refund(_: int) -> Any:
        status, told = shop.call(
            "refund",
            out_trade_no="crowd-5000",
            out_refund_no="back-same",
            amount={"refund": 100, "total": 1000, "currency": "CNY"},
        )
        return status, told.get("refund_id")

    with ThreadPoolExecutor(10) as crowd:
        told = Counter(crowd.map(refund, range(30)))
    assert len(told) == 1
    assert next(iter(told))[0] == 200


def test_one_order_number_in_parallel_is_one_order(world: RunningWorld, shop: Shop) -> None:
    with ThreadPoolExecutor(10) as crowd:
        links = set(crowd.map(lambda _: shop.order("crowd-6000", 100), range(30)))
    before = _left(world, "Bob")
    with ThreadPoolExecutor(4) as crowd:
        ran = list(crowd.map(lambda link: world.terminal("pay", link, "--as", "Bob", "--json", check=False), links))
    paid = [json.loads(one.stdout) for one in ran if one.returncode == 0]
    assert len(paid) == 1, "one code is alive, the others died with each repeat"
    assert not paid[0]["was_paid"]
    dead = [one for one in ran if one.returncode != 0]
    assert {one.returncode for one in dead} <= {1}
    assert all("code" in one.stderr for one in dead)
    assert _left(world, "Bob") == before - 100
    assert shop.state("crowd-6000")["transaction_id"] == paid[0]["transaction_id"]
    again = world.terminal("pay", "crowd-6000", "--as", "Bob", "--json")
    assert again.stderr == "", "of several orders it would say which one it means"
    assert json.loads(again.stdout)["payment"] == paid[0]["payment"]
    assert _left(world, "Bob") == before - 100
