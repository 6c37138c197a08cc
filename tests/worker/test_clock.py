"""World time is moved by one driver, through everything that is due on the way."""

import asyncio
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from dewpond.kit import jobs
from dewpond.kit.worlds import ClockCannotGoBack
from dewpond.worker import ClockBusy, advance, drain


async def test_every_due_time_on_the_way_is_stopped_at(house: Any, hands: Any, kitchen: Any, frozen: datetime) -> None:
    kitchen.snoozing["daily"] = timedelta(days=1)
    await hands.plan("daily", after=timedelta(days=1))
    await hands.plan("once", after=timedelta(days=2, hours=5))
    await hands.plan("later", after=timedelta(days=9))
    seen: list[datetime] = []
    await advance(house, frozen + timedelta(days=4, hours=1), seen.append)
    assert kitchen.done == ["daily", "daily", "once", "daily", "daily"]
    assert [moment - frozen for moment in seen] == [
        timedelta(days=1),
        timedelta(days=2),
        timedelta(days=2, hours=5),
        timedelta(days=3),
        timedelta(days=4),
        timedelta(days=4, hours=1),
    ]
    assert (await hands.now()).world == frozen + timedelta(days=4, hours=1)


async def test_a_running_clock_runs_on_from_the_target(house: Any, hands: Any, kitchen: Any) -> None:
    before = await hands.now()
    start = before.world
    await hands.plan("tomorrow", after=timedelta(days=1))
    await advance(house, start + timedelta(days=2))
    after = await hands.now()
    arrived = after.world
    assert timedelta(0) <= arrived - (start + timedelta(days=2)) <= after.wall - before.wall
    await asyncio.sleep(0.01)
    assert (await hands.now()).world > arrived
    assert kitchen.done == ["tomorrow"]


async def test_going_back_is_refused(house: Any, hands: Any) -> None:
    with pytest.raises(ClockCannotGoBack):
        await advance(house, (await hands.now()).world - timedelta(seconds=1))


async def test_a_second_driver_is_told_so(house: Any, hands: Any, another_house: Any, frozen: datetime) -> None:
    begun, enough = asyncio.Event(), asyncio.Event()

    async def long_one(house: Any, job: jobs.Job, now: Any) -> jobs.Outcome:
        begun.set()
        await enough.wait()
        return jobs.Done()

    house.jobs["wash"] = long_one
    await hands.plan("long one", after=timedelta(seconds=40))
    first = asyncio.create_task(advance(house, frozen + timedelta(minutes=1)))
    await begun.wait()
    async with another_house() as other:
        with pytest.raises(ClockBusy):
            await advance(other, frozen + timedelta(minutes=2))
        enough.set()
        await first
        assert (await hands.now()).world == frozen + timedelta(minutes=1)
        await advance(other, frozen + timedelta(minutes=2))  # the lock is free again


async def test_a_worker_beside_does_its_part_and_is_waited_for(
    house: Any, hands: Any, kitchen: Any, working: Any, frozen: datetime, pot: UUID
) -> None:
    async with working(), working():
        for day in range(1, 6):
            await hands.plan(*(f"{day} {n}" for n in range(20)), after=timedelta(days=day))
        await hands.brew(pot, *range(50))
        await advance(house, frozen + timedelta(days=6))
        assert len(kitchen.done) == len(set(kitchen.done)) == 100
        assert [int(subject.split()[0]) for subject in kitchen.done] == sorted(
            int(subject.split()[0]) for subject in kitchen.done
        ), "no day began before the last one was done"
        assert kitchen.served == [(pot, n) for n in range(50)]


async def test_draining_beside_a_worker_waits_for_what_that_has_taken(
    house: Any, hands: Any, kitchen: Any, working: Any, pot: UUID
) -> None:
    async with working():
        for _ in range(5):
            before = len(kitchen.done)
            await hands.plan(*(f"{before} {n}" for n in range(10)))
            await hands.brew(pot, before)
            await drain(house)
            assert len(kitchen.done) == before + 10
            assert kitchen.served[-1] == (pot, before)
