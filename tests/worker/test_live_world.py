"""What a live world does not let itself be told."""

import asyncio
from datetime import timedelta
from ipaddress import ip_address, ip_network
from typing import Any

import msgspec
import pytest

from dewpond.kit import clock, wishes, worlds
from dewpond.kit.db import Database
from dewpond.kit.ids import new_id
from dewpond.kit.wishes import CLOCK_MOVE, ClockMove, WishOutcome
from dewpond.kit.worlds import OnlyInSandbox, World, WorldKind
from dewpond.settings import Settings
from dewpond.wiring import outgoing_policy
from dewpond.worker import advance, drain


@pytest.fixture(scope="module")
async def world(database: Database, taken_for_durable: None) -> World:
    async with database.transaction() as tx:
        return await worlds.create_world(
            tx, WorldKind.LIVE, public_url="https://pay.example", wall_now=clock.wall_now()
        )


async def test_its_clock_is_not_moved(house: Any, hands: Any) -> None:
    with pytest.raises(OnlyInSandbox):
        await advance(house, (await hands.now()).world + timedelta(days=1))


async def test_a_wish_to_move_its_clock_is_refused(house: Any, hands: Any, database: Database, working: Any) -> None:
    begin = (await hands.now()).world
    move = ClockMove(since=begin, until=begin + timedelta(days=1))
    async with database.transaction() as tx:
        asked = await wishes.ask(tx, new_id(), CLOCK_MOVE, move, asked_by=new_id(), wall_now=clock.wall_now())
    async with working(), asyncio.timeout(60):
        while True:
            async with database.transaction() as tx:
                wish = await wishes.find(tx, asked.id)
            if wish is not None and wish.ended_at is not None:
                break
            await asyncio.sleep(0.02)
    assert (wish.outcome, wish.told) == (WishOutcome.REFUSED, {"code": "only_in_sandbox"})


async def test_it_works_all_the_same(house: Any, hands: Any, kitchen: Any) -> None:
    await hands.plan("cup")
    await drain(house)
    assert kitchen.done == ["cup"]


@pytest.mark.parametrize(
    ("_case", "kind", "listeners", "networks", "address", "port", "objection"),
    [
        ("a live world and a private address", "live", [], [], "10.0.0.7", 80, "private"),
        ("a live world and what its operator lists", "live", [], ["10.0.0.0/24"], "10.0.0.7", 80, None),
        ("a live world and the public", "live", [], [], "8.8.8.8", 443, None),
        ("a sandbox on loopback", "sandbox", [("127.0.0.1", 8601)], [], "10.0.0.7", 80, None),
        ("its own door", "sandbox", [("127.0.0.1", 8601)], [], "127.0.0.1", 8601, "our own listener"),
        ("a sandbox that others can reach", "sandbox", [("0.0.0.0", 8601)], [], "10.0.0.7", 80, "private"),  # noqa: S104 - judged, never bound
        (
            "one door of two is open to others",
            "sandbox",
            [("::1", 1), ("192.168.1.2", 2)],
            [],
            "127.0.0.1",
            80,
            "loopback",
        ),
        ("a sandbox whose doors nobody knows", "sandbox", None, [], "127.0.0.1", 81, "loopback"),
        ("and the public", "sandbox", None, [], "8.8.8.8", 443, None),
        ("a sandbox that nobody serves", "sandbox", [], [], "127.0.0.1", 443, None),
        ("and its last door", "sandbox", [], [], "127.0.0.1", 80, "our own listener"),
        (
            "metadata, whatever is listed",
            "sandbox",
            [("localhost", 1)],
            ["169.254.0.0/16"],
            "169.254.169.254",
            80,
            "cloud metadata",
        ),
    ],
)
def test_whom_a_world_may_call(
    _case: str,
    kind: str,
    listeners: list[tuple[str, int]] | None,
    networks: list[str],
    address: str,
    port: int,
    objection: str | None,
    world: World,
    settings: Settings,
) -> None:
    from dataclasses import replace

    policy = outgoing_policy(
        msgspec.structs.replace(world, kind=WorldKind(kind), public_url="http://localhost", wire_url="", staff_url=""),
        replace(settings, callback_networks=tuple(ip_network(network) for network in networks)),
        listeners,
    )
    assert policy.objection(ip_address(address), port) == objection


def test_a_sandbox_behind_a_tunnel_calls_nothing_private(world: World, settings: Settings) -> None:
    """Its doors listen on loopback, and others come in through them all the same."""
    tunnelled = msgspec.structs.replace(world, kind=WorldKind.SANDBOX, public_url="https://pond.tunnel.example")
    policy = outgoing_policy(tunnelled, settings, [("127.0.0.1", 8601)])
    assert policy.objection(ip_address("10.0.0.7"), 80) == "private"
