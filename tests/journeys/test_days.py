"""What a day brings: a receiver that fails, codes that expire, a world that is stopped, backed up and moved on."""

from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from journeys.running import a_world, open_shop, until

pytestmark = pytest.mark.journey

#: The contract's pauses between attempts, in seconds (§4.2).
PAUSES = [15, 15, 30, 180, 600, 1200, 1800, 1800, 1800, 3600, 10800, 10800, 10800, 21600, 21600]


def test_a_callback_follows_the_whole_schedule_and_can_be_sent_again(world: Any) -> None:
    shop = open_shop(world, "Deaf Shop")
    world.terminal("people", "create", "Dora", "--balance", "100.00")
    world.terminal("world", "clock", "freeze")
    shop.answers = [500] * 16
    world.terminal("pay", shop.order("deaf-0001"), "--as", "Dora")
    until("the first attempt", lambda: len(shop.heard) == 1)
    world.terminal("world", "clock", "advance", "25h")
    assert len(shop.heard) == 16
    assert len({told["id"] for told in shop.heard}) == 1
    (delivery,) = world.ask("deliveries", "list", "--merchant", "Deaf Shop")
    assert delivery["status"] == "dead"
    attempts = world.ask("deliveries", "show", delivery["id"])["log"]
    moments = [datetime.fromisoformat(attempt["attempted_at"]) for attempt in attempts]
    assert [later - earlier for earlier, later in pairwise(moments)] == [timedelta(seconds=pause) for pause in PAUSES]
    world.terminal("deliveries", "resend", delivery["id"])
    until("it was sent again", lambda: len(shop.heard) == 17)
    until("it is delivered", lambda: world.ask("deliveries", "show", delivery["id"])["status"] == "delivered")
    world.terminal("world", "clock", "thaw")


def test_an_order_expires_in_world_time(world: Any) -> None:
    shop = open_shop(world, "Slow Shop")
    world.terminal("people", "create", "Emma", "--balance", "100.00")
    code_url = shop.order("slow-0001")
    world.terminal("world", "clock", "advance", "8d")
    assert shop.state("slow-0001")["trade_state"] == "CLOSED"
    refused = world.terminal("pay", code_url, "--as", "Emma", check=False)
    assert refused.returncode == 1
    assert refused.stderr.strip()
    assert "Traceback" not in refused.stderr
    status, told = shop.call("pay", description="茉莉花茶 & more", out_trade_no="slow-0001", amount={"total": 1800})
    assert (status, told["code"]) == (400, "ORDER_CLOSED")


def test_a_backup_brings_the_day_back_under_a_running_world(world: Any) -> None:
    shop = open_shop(world, "Safe Shop")
    world.terminal("people", "create", "Fritz", "--balance", "50.00")
    world.terminal("pay", shop.order("safe-0001"), "--as", "Fritz")
    shop.hears("TRANSACTION.SUCCESS")
    backup = world.home / "day.backup"
    world.terminal("world", "backup", str(backup))
    world.terminal("pay", shop.order("safe-0002"), "--as", "Fritz")
    world.terminal("world", "restore", str(backup), "--yes")
    until("the wire answers again", world.answers)
    assert shop.state("safe-0001")["trade_state"] == "SUCCESS"
    assert shop.call("query", out_trade_no="safe-0002")[0] == 404
    world.terminal("ledger", "check")
    world.terminal("pay", shop.order("safe-0003"), "--as", "Fritz")
    until("callbacks go on", lambda: [told for told in shop.heard if told["resource"]["out_trade_no"] == "safe-0003"])


def test_ctrl_c_leaves_nothing_and_it_starts_again() -> None:
    with a_world() as world:
        shop = open_shop(world)
        world.terminal("people", "create", "Alice", "--balance", "100.00")
        world.terminal("pay", shop.order("tea-0001"), "--as", "Alice")
        shop.hears("TRANSACTION.SUCCESS")
        living = world.children()
        assert living["server"]
        assert living["worker"]
        assert living["postgres"]
        world.stop()
        assert world.children() == {"server": [], "worker": [], "postgres": []}
        world.start()
        assert shop.state("tea-0001")["trade_state"] == "SUCCESS"
        world.terminal("pay", shop.order("tea-0002"), "--as", "Alice")
        shop.hears("TRANSACTION.SUCCESS", 2)


def test_a_killed_parent_leaves_nothing_either() -> None:
    with a_world(servers=2) as world:
        assert world.process is not None
        world.process.kill()
        world.process.wait()
        until(
            "children end with their parent",
            lambda: not world.children()["server"] and not world.children()["worker"],
        )
        world.process = None
        world.log.close()
        world.start()
        world.terminal("people", "create", "Alice", "--balance", "1.00")
