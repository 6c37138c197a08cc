"""Receivers of bad manners, who must hold up nobody but themselves."""

import asyncio
from collections import Counter as Counted
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from dewpond import openplatform, wiring
from dewpond.kit import jobs
from dewpond.kit.ids import new_id
from dewpond.openplatform import courier as courier_module
from dewpond.openplatform import lanes as lanes_module
from dewpond.openplatform.lanes import ENDPOINT_CALLS, SLOW_SECONDS, Call, Lanes
from dewpond.worker import drain
from dewpond.worker import runner as runner_module

#: Longer than any machine takes; ends only what hangs.
FOR_EVER = 600.0

#: What a delivery takes at most of its lease.
LONGEST = timedelta(seconds=lanes_module._WAIT_SECONDS + wiring._CALLBACK_SECONDS)


@dataclass
class Watch:
    """The lanes' watch, moved by hand: how slow this machine is does not show."""

    reading: float = 0.0

    def wait(self, seconds: float) -> None:
        self.reading += seconds


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Watch:
    watch = Watch()
    monkeypatch.setattr(lanes_module, "time", SimpleNamespace(perf_counter=lambda: watch.reading))
    return watch


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


async def test_trust_is_earned_by_answering_and_lost_by_silence(lanes: Lanes, watch: Watch) -> None:
    shop = new_id()
    calls = await enter(lanes, shop, times=2)
    assert [call.is_slow for call in calls] == [False, True], "until the first call is answered the others are slow"
    watch.wait(SLOW_SECONDS)
    leave(lanes, shop, *calls)
    calls = await enter(lanes, shop, times=2)
    assert [call.is_slow for call in calls] == [False, False], "a prompt one may have several calls at once"
    watch.wait(SLOW_SECONDS + 0.01)
    calls += await enter(lanes, shop)
    assert calls[-1].is_slow, "one unanswered for long speaks for all"
    leave(lanes, shop, *reversed(calls))
    calls = await enter(lanes, shop)
    assert calls[0].is_slow, "the last answer was slow"
    leave(lanes, shop, *calls)
    [call] = await enter(lanes, shop)
    assert not call.is_slow, "and now it is prompt again"


async def test_where_slow_ones_have_no_place_they_stand_back_and_newcomers_do_not(
    lanes: Lanes, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lanes_module, "_SLOW_CALLS", ENDPOINT_CALLS + 10)
    shop, other = new_id(), new_id()
    calls = await enter(lanes, shop, times=ENDPOINT_CALLS)
    assert not lanes.is_blocked(shop), "its first answer may be here in a moment"
    watch.wait(SLOW_SECONDS + 0.01)
    assert lanes.is_blocked(shop)
    assert await lanes.enter(shop) is None, "one endpoint has so many places"
    await enter(lanes, other, times=12)
    assert lanes.is_blocked(other), "and all the slow ones together"
    assert await lanes.enter(other) is None
    [call] = await enter(lanes, new_id())
    assert not call.is_slow, "a newcomer may show itself"
    leave(lanes, shop, *calls[1:])
    assert not lanes.is_blocked(shop)


async def test_a_place_at_a_prompt_one_is_waited_for_but_not_long(
    lanes: Lanes, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = new_id()
    leave(lanes, shop, *await enter(lanes, shop))
    calls = await enter(lanes, shop, times=ENDPOINT_CALLS)
    monkeypatch.setattr(lanes_module, "_WAIT_SECONDS", FOR_EVER)
    waiting = asyncio.create_task(lanes.enter(shop))
    for _ in range(20):
        await asyncio.sleep(0)
    assert not waiting.done(), "it is worth a moment"
    leave(lanes, shop, calls.pop())
    assert await waiting is not None
    monkeypatch.setattr(lanes_module, "_WAIT_SECONDS", 0.05)
    assert await lanes.enter(shop) is None
    watch.wait(SLOW_SECONDS + 0.01)
    assert lanes.is_blocked(shop), "nobody has answered in the meantime"


def test_waiting_and_calling_fit_into_half_of_a_lease() -> None:
    """Or a job would be taken up by a second worker while the first one is still at it."""
    assert jobs.LEASE / 2 >= LONGEST


async def test_only_busy_endpoints_are_never_forgotten(lanes: Lanes, monkeypatch: Any) -> None:
    monkeypatch.setattr(lanes_module, "_REMEMBERED", 5)
    busy = new_id()
    await enter(lanes, busy)
    for shop in [new_id() for _ in range(20)]:
        leave(lanes, shop, *await enter(lanes, shop))
    [call] = await enter(lanes, busy)
    assert call.is_slow, "its first call is still remembered"


# --- in a house of an eighth of the places, where nothing is hurried --------------------------------------------------

PLACES, EVERYTHING, AT_ONE, SLOW_ONES = 32, 128, 8, 48


@pytest.fixture
async def small(counter: Any, another_house: Any, frozen: None, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Any]:
    """A counter with few places, where no call ends but by its receiver: what waits for it waits for ever.

    World time stands still, so that nothing is tried a second time however long it takes.
    """
    monkeypatch.setattr(runner_module, "_PLACES", PLACES)
    monkeypatch.setattr(runner_module, "_CEILING", EVERYTHING)
    monkeypatch.setattr(lanes_module, "ENDPOINT_CALLS", AT_ONE)
    monkeypatch.setattr(lanes_module, "_SLOW_CALLS", SLOW_ONES)
    monkeypatch.setattr(wiring, "_CALLBACK_SECONDS", FOR_EVER)
    monkeypatch.setattr(jobs, "LEASE", timedelta(seconds=2 * FOR_EVER))
    monkeypatch.setattr(courier_module, "_STAND_BACK", timedelta(seconds=3))
    async with another_house() as house:
        yield replace(counter, house=house)


@dataclass
class Prompt:
    """Receivers that answer at once; `all_told` once so many have been heard."""

    expected: int
    told: int = 0
    all_told: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, request: Any, writer: Any) -> tuple[int, bytes]:
        self.told += 1
        if self.told == self.expected:
            self.all_told.set()
        return 200, b""


@dataclass
class Held:
    """How many calls receivers hold open at once. None ends before the prompt ones are told, unless all have lost:
    slow ones have then every place there is."""

    prompt: Prompt
    now: int = 0
    most: int = 0

    async def wait(self) -> None:
        self.now += 1
        if not self.prompt.all_told.is_set():
            self.most = max(self.most, self.now)
        if self.now == EVERYTHING:
            self.prompt.all_told.set()
        try:
            await self.prompt.all_told.wait()
        finally:
            self.now -= 1


async def outcomes_of(counter: Any) -> dict[str, Counted[str]]:
    """What came of the attempts at each path."""
    outcomes: dict[str, Counted[str]] = {}
    before = None
    while page := await counter.deliveries(before=before, most=100):
        for delivery in page:
            told = outcomes.setdefault(delivery.url.rpartition("/")[2].partition("-")[0], Counted())
            told.update(attempt.outcome for attempt in await counter.attempts(delivery))
        before = (page[-1].created_at, page[-1].id)
    return outcomes


@pytest.mark.parametrize(
    ("_case", "endpoints", "times", "slow_seconds"),
    [
        ("a few with many calls each", 1, 50, 0.2),
        # Nobody is known to be slow: the first calls are not answered, and that is enough.
        ("many with a few calls each", 7, 8, FOR_EVER),
    ],
)
async def test_slow_silent_and_dripping_receivers_hold_up_nobody(
    _case: str, endpoints: int, times: int, slow_seconds: float, small: Any, receiver: Any, monkeypatch: Any
) -> None:
    monkeypatch.setattr(lanes_module, "SLOW_SECONDS", slow_seconds)
    prompt = Prompt(100)
    held = Held(prompt)
    newcomers = 3 * endpoints

    async def slow(request: Any, writer: Any) -> tuple[int, bytes]:
        await held.wait()
        return 200, b""

    async def silent(request: Any, writer: Any) -> None:
        await held.wait()

    async def drip(request: Any, writer: Any) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nx")
        await held.wait()
        writer.write(b"x")

    async def flood(request: Any, writer: Any) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        for _ in range(1000):
            writer.write(b"x" * 100_000)
            await writer.drain()

    assert newcomers * times > EVERYTHING, "enough to take every place"
    for number in range(endpoints):
        for name, manner in {"slow": slow, "silent": silent, "drip": drip}.items():
            await small.sell(receiver.url(f"/{name}-{number}", manner), times=times)
    await small.sell(receiver.url("/flood", flood), times=10)
    await small.sell(receiver.url("/prompt", prompt), times=prompt.expected)
    async with asyncio.timeout(FOR_EVER / 2):
        await small.drain()
    assert prompt.told == prompt.expected
    assert held.most <= min(newcomers * AT_ONE, newcomers + SLOW_ONES), "the prompt ones did not wait for a slow one"
    assert await outcomes_of(small) == {
        "prompt": {"delivered": 100},
        "flood": {"delivered": 10},
        "slow": {"delivered": endpoints * times},
        "silent": {"closed without an answer": endpoints * times},
        "drip": {"the answer is not HTTP/1.1": endpoints * times},
    }


@dataclass
class Lights:
    """A receiver that is prompt until the lights go out, and then answers when they are on again."""

    on: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, request: Any, writer: Any) -> tuple[int, bytes]:
        await self.on.wait()
        return 200, b""


async def test_one_that_goes_dark_is_called_once_for_each_place_and_the_others_stand_back(
    small: Any, receiver: Any, monkeypatch: Any
) -> None:
    """Before any of the calls has ended: nobody waits at its door so long that a lease could run out."""
    monkeypatch.setattr(lanes_module, "SLOW_SECONDS", 0.2)
    monkeypatch.setattr(lanes_module, "_WAIT_SECONDS", 0.3)
    monkeypatch.setattr(courier_module, "_STAND_BACK", timedelta(seconds=1))
    lights, times = Lights(), 60
    lights.on.set()
    url = receiver.url("/going-dark", lights)
    await small.sell(url, times=3)
    await small.drain()
    assert len(receiver.heard("/going-dark")) == 3
    stood_back: set[str] = set()
    all_others = asyncio.Event()

    async def attempt(house: Any, job: jobs.Job, now: Any) -> jobs.Outcome:
        outcome = await wiring.JOBS[openplatform.JOB](house, job, now)
        if isinstance(outcome, jobs.Again):
            stood_back.add(job.subject)
            if len(stood_back) == times - AT_ONE:
                all_others.set()
        return outcome

    lights.on.clear()
    await small.sell(url, times=times)
    draining = asyncio.create_task(drain(replace(small.house, jobs={**small.house.jobs, openplatform.JOB: attempt})))
    async with asyncio.timeout(60):
        await all_others.wait()
    assert len(receiver.heard("/going-dark")) == 3 + AT_ONE
    lights.on.set()
    await draining
    heard = Counted(request.said["id"] for request in receiver.heard("/going-dark"))
    assert len(heard) == 3 + times
    assert set(heard.values()) == {1}
    assert Counted(delivery.attempts for delivery in await small.deliveries(most=200)) == {1: 3 + times}


async def test_one_that_goes_dark_does_not_keep_its_neighbours_waiting(
    small: Any, receiver: Any, monkeypatch: Any
) -> None:
    monkeypatch.setattr(lanes_module, "SLOW_SECONDS", 0.2)
    lights, first, healthy = Lights(), Prompt(12), Prompt(60)
    lights.on.set()
    dark = receiver.url("/dark", lights)
    for url in (dark, *(receiver.url(f"/neighbour-{number}", first) for number in range(12))):
        await small.sell(url)
    await small.drain()
    held = Held(healthy)

    async def gone_dark(request: Any, writer: Any) -> tuple[int, bytes]:
        await held.wait()
        return 200, b""

    await small.sell(receiver.url("/dark", gone_dark), times=150)
    for number in range(12):
        await small.sell(receiver.url(f"/neighbour-{number}", healthy), times=5)
    async with asyncio.timeout(FOR_EVER / 2):
        await small.drain()
    assert healthy.told == 60
    assert held.most == AT_ONE, "the neighbours were told while the dark one's first calls were still open"
    assert await outcomes_of(small) == {"dark": {"delivered": 151}, "neighbour": {"delivered": 72}}


# --- a deadline ------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("frozen")
async def test_who_does_not_answer_in_time_is_a_timeout_and_is_asked_once(
    counter: Any, another_house: Any, receiver: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fifth of the deadline: both run into it however slow this machine is."""
    monkeypatch.setattr(wiring, "_CALLBACK_SECONDS", 1.0)
    monkeypatch.setattr(jobs, "LEASE", timedelta(seconds=FOR_EVER))
    is_over = asyncio.Event()

    async def silent(request: Any, writer: Any) -> None:
        await is_over.wait()

    async def drip(request: Any, writer: Any) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
        while not is_over.is_set():
            writer.write(b"x")
            await asyncio.sleep(0.05)

    async with another_house() as house:
        hasty = replace(counter, house=house)
        for name, manner in {"silent": silent, "drip": drip}.items():
            await hasty.sell(receiver.url(f"/late-{name}", manner), times=20)
        async with asyncio.timeout(FOR_EVER / 2):
            await hasty.drain()
        is_over.set()
        assert await outcomes_of(hasty) == {"late": {"timeout": 40}}
        assert Counted(delivery.attempts for delivery in await hasty.deliveries(most=100)) == {1: 40}
