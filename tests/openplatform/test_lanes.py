"""Receivers of bad manners, who must hold up nobody but themselves."""

import asyncio
from contextlib import AsyncExitStack
from typing import Any

from dewpond.kit.addresses import Policy
from dewpond.kit.http import Outgoing
from dewpond.kit.ids import new_id
from dewpond.openplatform import lanes as lanes_module
from dewpond.openplatform.lanes import Lanes


async def test_trust_is_earned_by_answering_and_lost_by_silence(monkeypatch: Any) -> None:
    monkeypatch.setattr(lanes_module, "SLOW_SECONDS", 0.05)
    lanes, shop = Lanes(lambda: Outgoing(Policy())), new_id()
    probe = lanes.lane(shop)
    with lanes.watch(shop):
        aside = lanes.lane(shop)
        assert aside is not probe, "until the first call is answered the others wait elsewhere"
    assert lanes.lane(shop) is probe
    with lanes.watch(shop):
        assert lanes.lane(shop) is probe, "a prompt one may have several calls at once"
        await asyncio.sleep(0.06)
        assert lanes.lane(shop) is aside, "one unanswered for long speaks for all"
    assert lanes.lane(shop) is aside, "the last answer was slow"
    with lanes.watch(shop):
        pass
    assert lanes.lane(shop) is probe, "and now it is prompt again"
    await lanes.close()


async def test_a_full_lane_of_slow_ones_is_no_place_to_wait() -> None:
    lanes, shop = Lanes(lambda: Outgoing(Policy())), new_id()
    async with AsyncExitStack() as calls:
        calls.enter_context(lanes.watch(shop))
        assert not lanes.is_blocked(shop)
        for _ in range(90):
            await calls.enter_async_context(lanes.lane(shop).place())
        assert lanes.is_blocked(shop)
        assert not lanes.is_blocked(new_id()), "a newcomer may show itself"
    assert not lanes.is_blocked(shop)
    await lanes.close()


async def test_slow_silent_and_dripping_receivers_hold_up_nobody(counter: Any, receiver: Any) -> None:
    loop = asyncio.get_running_loop()
    prompt_at: list[float] = []

    async def prompt(request: Any, writer: Any) -> tuple[int, bytes]:
        prompt_at.append(loop.time())
        return 200, b""

    async def slow(request: Any, writer: Any) -> tuple[int, bytes]:
        await asyncio.sleep(3.5)
        return 200, b""

    async def silent(request: Any, writer: Any) -> None:
        await asyncio.sleep(8)

    async def drip(request: Any, writer: Any) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        for _ in range(10):
            writer.write(b"x")
            await asyncio.sleep(1)

    async def flood(request: Any, writer: Any) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        for _ in range(1000):
            writer.write(b"x" * 100_000)
            await writer.drain()

    for name, manner in {"slow": slow, "silent": silent, "drip": drip, "flood": flood}.items():
        await counter.sell(receiver.url(f"/{name}", manner), times=40)
    await counter.sell(receiver.url("/prompt", prompt), times=200)
    began = loop.time()
    await counter.drain()
    assert len(prompt_at) == 200
    assert max(prompt_at) - began < 3.5, "the prompt ones did not wait for a slow one to end"
    outcomes: dict[str, set[str]] = {}
    before = None
    while page := await counter.deliveries(before=before, most=100):
        for delivery in page:
            for attempt in await counter.attempts(delivery):
                outcomes.setdefault(delivery.url.rpartition("/")[2], set()).add(attempt.outcome)
        before = (page[-1].created_at, page[-1].id)
    assert outcomes == {
        "prompt": {"delivered"},
        "slow": {"delivered"},
        "silent": {"timeout"},
        "drip": {"timeout"},
        "flood": {"delivered"},
    }
