"""Receivers of bad manners, who must hold up nobody but themselves."""

import asyncio
from collections import Counter as Counted
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest

from dewpond import wiring
from dewpond.kit import jobs
from dewpond.kit.ids import new_id
from dewpond.openplatform import courier as courier_module
from dewpond.openplatform import lanes as lanes_module
from dewpond.openplatform.lanes import ENDPOINT_CALLS, Call, Lanes


@pytest.fixture
def lanes() -> Lanes:
    return Lanes()


async def enter(lanes: Lanes, endpoint_id: Any, *, times: int = 1) -> list[Call]:
    """Places for calls that the other side has not answered yet."""
    calls = []
    for _ in range(times):
        call = await lanes.enter(endpoint_id)
        assert call is not None
        call.begin()
        calls.append(call)
    return calls


def leave(lanes: Lanes, endpoint_id: Any, *calls: Call) -> None:
    for call in calls:
        call.end()
        lanes.leave(endpoint_id, call)


async def test_trust_is_earned_by_answering_and_lost_by_silence(lanes: Lanes, monkeypatch: Any) -> None:
    monkeypatch.setattr(lanes_module, "SLOW_SECONDS", 0.05)
    shop = new_id()
    calls = await enter(lanes, shop, times=2)
    assert [call.is_slow for call in calls] == [False, True], "until the first call is answered the others are slow"
    leave(lanes, shop, *calls)
    calls = await enter(lanes, shop, times=2)
    assert [call.is_slow for call in calls] == [False, False], "a prompt one may have several calls at once"
    await asyncio.sleep(0.06)
    calls += await enter(lanes, shop)
    assert calls[-1].is_slow, "one unanswered for long speaks for all"
    leave(lanes, shop, *reversed(calls))
    calls = await enter(lanes, shop)
    assert calls[0].is_slow, "the last answer was slow"
    leave(lanes, shop, *calls)
    [call] = await enter(lanes, shop)
    assert not call.is_slow, "and now it is prompt again"


async def test_where_slow_ones_have_no_place_they_stand_back_and_newcomers_do_not(
    lanes: Lanes, monkeypatch: Any
) -> None:
    monkeypatch.setattr(lanes_module, "_SLOW_CALLS", ENDPOINT_CALLS + 10)
    shop, other = new_id(), new_id()
    monkeypatch.setattr(lanes_module, "SLOW_SECONDS", 0.05)
    calls = await enter(lanes, shop, times=ENDPOINT_CALLS)
    assert not lanes.is_blocked(shop), "its first answer may be here in a moment"
    await asyncio.sleep(0.06)
    assert lanes.is_blocked(shop)
    assert await lanes.enter(shop) is None, "one endpoint has so many places"
    await enter(lanes, other, times=12)
    assert lanes.is_blocked(other), "and all the slow ones together"
    assert await lanes.enter(other) is None
    [call] = await enter(lanes, new_id())
    assert not call.is_slow, "a newcomer may show itself"
    leave(lanes, shop, *calls[1:])
    assert not lanes.is_blocked(shop)


async def test_a_place_at_a_prompt_one_is_waited_for_but_not_long(lanes: Lanes, monkeypatch: Any) -> None:
    monkeypatch.setattr(lanes_module, "SLOW_SECONDS", 0.1)
    monkeypatch.setattr(lanes_module, "_WAIT_SECONDS", 0.2)
    shop = new_id()
    leave(lanes, shop, *await enter(lanes, shop))
    calls = await enter(lanes, shop, times=ENDPOINT_CALLS)
    waiting = [asyncio.create_task(lanes.enter(shop)) for _ in range(3)]
    await asyncio.sleep(0.02)
    leave(lanes, shop, calls.pop())
    assert [call is not None for call in await asyncio.gather(*waiting)] == [True, False, False]
    assert lanes.is_blocked(shop), "nobody has answered in the meantime"


async def test_only_busy_endpoints_are_never_forgotten(lanes: Lanes, monkeypatch: Any) -> None:
    monkeypatch.setattr(lanes_module, "_REMEMBERED", 5)
    busy = new_id()
    await enter(lanes, busy)
    for shop in [new_id() for _ in range(20)]:
        leave(lanes, shop, *await enter(lanes, shop))
    [call] = await enter(lanes, busy)
    assert call.is_slow, "its first call is still remembered"


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


# --- a fifth of the time ----------------------------------------------------------------------------------------------


@dataclass
class Dark:
    """A receiver that is prompt until the lights go out."""

    is_dark: bool = False

    async def __call__(self, request: Any, writer: Any) -> tuple[int, bytes] | None:
        if not self.is_dark:
            return 200, b""
        await asyncio.sleep(1.5)
        return None


@pytest.fixture
async def hasty(counter: Any, another_house: Any, monkeypatch: Any) -> AsyncIterator[Any]:
    """A counter where everything that is waited for takes a fifth of its time."""
    monkeypatch.setattr(wiring, "_CALLBACK_SECONDS", 1.0)
    monkeypatch.setattr(lanes_module, "SLOW_SECONDS", 0.2)
    monkeypatch.setattr(lanes_module, "_WAIT_SECONDS", 0.6)
    monkeypatch.setattr(courier_module, "_STAND_BACK", timedelta(seconds=1))
    monkeypatch.setattr(jobs, "LEASE", timedelta(seconds=4))
    async with another_house() as house:
        yield replace(counter, house=house)


async def test_one_that_goes_dark_is_called_once_for_each_place_of_the_schedule(hasty: Any, receiver: Any) -> None:
    lights = Dark()
    url = receiver.url("/going-dark", lights)
    await hasty.sell(url, times=3)
    await hasty.drain()
    assert len(receiver.heard("/going-dark")) == 3
    lights.is_dark = True
    await hasty.sell(url, times=150)
    await hasty.drain()
    heard = Counted(request.said["id"] for request in receiver.heard("/going-dark"))
    assert len(heard) == 153
    assert set(heard.values()) == {1}, "no job outlived its lease"
    lights.is_dark = False
    page = await hasty.deliveries(most=200)
    assert Counted(delivery.attempts for delivery in page) == {1: 153}


async def test_one_that_goes_dark_does_not_keep_its_neighbours_waiting(hasty: Any, receiver: Any) -> None:
    loop = asyncio.get_running_loop()
    at: list[float] = []

    async def healthy(request: Any, writer: Any) -> tuple[int, bytes]:
        at.append(loop.time())
        return 200, b""

    lights = Dark()
    dark = receiver.url("/dark", lights)
    neighbours = [receiver.url(f"/neighbour-{number}", healthy) for number in range(12)]
    for url in (dark, *neighbours):
        await hasty.sell(url)
    await hasty.drain()
    lights.is_dark = True
    at.clear()
    await hasty.sell(dark, times=300)
    for url in neighbours:
        await hasty.sell(url, times=5)
    began = loop.time()
    await hasty.drain()
    lights.is_dark = False
    assert len(at) == 60
    assert max(at) - began < 1.0, "less than one call to the dark one takes"
