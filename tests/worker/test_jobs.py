"""Jobs run side by side, once, in world time; what fails is tried again and then set aside."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from dewpond.kit import jobs, worlds
from dewpond.worker import advance, drain
from dewpond.worker.runner import Runner


async def test_jobs_run_side_by_side_but_not_all_at_once(house: Any, hands: Any, kitchen: Any) -> None:
    await hands.plan(*(f"cup {n:03d}" for n in range(400)))
    await drain(house)
    assert sorted(kitchen.done) == [f"cup {n:03d}" for n in range(400)]
    assert 64 < kitchen.most_at_once <= 256


async def test_a_job_that_fails_is_tried_five_times_and_holds_up_nobody(
    house: Any, hands: Any, kitchen: Any, frozen: Any
) -> None:
    kitchen.failing.add("bad")
    await hands.plan("bad", "good")
    await drain(house)
    assert kitchen.done == ["good"]
    await advance(house, frozen + timedelta(hours=1))
    [aside] = await hands.quarantined()
    assert (aside.subject, aside.tries) == ("bad", 5)
    assert "the brush is gone" in (aside.last_error or "")
    kitchen.failing.clear()
    await hands.plan("bad")
    await drain(house)
    assert kitchen.done == ["good", "bad"]


async def test_a_kind_of_job_nobody_knows_is_set_aside_at_once(house: Any, hands: Any) -> None:
    async with hands.database.transaction() as tx:
        await jobs.schedule(tx, "nonsense", [("x", (await hands.now()).world)])
    await drain(house)
    [aside] = await hands.quarantined()
    assert (aside.kind, aside.last_error) == ("nonsense", "nobody does jobs of kind nonsense")


async def test_two_workers_do_nothing_twice(house: Any, hands: Any, kitchen: Any, working: Any, pot: Any) -> None:
    async with working(), working():
        for batch in range(10):
            await hands.plan(*(f"cup {batch} {n}" for n in range(40)))
            await hands.brew(pot, *range(batch * 30, batch * 30 + 30))
            await asyncio.sleep(0.02)
        await hands.until(lambda: len(kitchen.done) >= 400 and len(kitchen.served) >= 300)
        await asyncio.sleep(0.3)
    assert len(kitchen.done) == len(set(kitchen.done)) == 400
    assert kitchen.served == [(pot, n) for n in range(300)]


async def test_a_job_whose_worker_died_is_taken_up_after_its_lease(
    house: Any, hands: Any, kitchen: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "LEASE", timedelta(minutes=10))
    await hands.plan("orphan")
    async with hands.database.transaction() as tx:
        [job] = await jobs.claim(tx, await worlds.read_clocks(tx), most=10)
    async with hands.database.transaction() as tx:
        assert await jobs.claim(tx, await worlds.read_clocks(tx), most=10) == [], "it is still waited for"
        await tx.connection.execute("update kit.jobs set leased_until = leased_until - interval '1 hour'")
    await drain(house)
    assert kitchen.done == ["orphan"]
    async with hands.database.transaction() as tx:
        await jobs.schedule(tx, "wash", [("orphan", (await hands.now()).world + timedelta(days=1))])
        await jobs.settle(tx, [(job, jobs.Done())], await worlds.read_clocks(tx))  # the dead one wakes up
        assert len(await jobs.list_like(tx, "wash", "orphan")) == 1, "its word does not count any more"


async def test_a_job_that_stands_back_is_waited_for_and_that_is_no_try(house: Any, hands: Any) -> None:
    seen: list[int] = []

    async def shy(house: Any, job: jobs.Job, now: Any) -> jobs.Outcome:
        seen.append(job.tries)
        return jobs.Done() if len(seen) == 4 else jobs.Again(timedelta(milliseconds=30))

    house.jobs["wash"] = shy
    await hands.plan("shy")
    await drain(house)
    assert seen == [1, 1, 1, 1]


async def test_a_lost_connection_is_a_try_but_needs_no_world_time(house: Any, hands: Any, frozen: Any) -> None:
    seen: list[int] = []

    async def unlucky(house: Any, job: jobs.Job, now: Any) -> jobs.Outcome:
        seen.append(job.tries)
        if len(seen) < 3:
            raise ConnectionResetError
        return jobs.Done()

    house.jobs["wash"] = unlucky
    await hands.plan("unlucky")
    await drain(house)
    assert seen == [1, 2, 3]


async def test_who_stops_lets_running_jobs_end(house: Any, hands: Any, kitchen: Any) -> None:
    await hands.plan("last cup")
    runner = Runner(house)
    await runner.take()
    await runner.finish(120)
    assert kitchen.done == ["last cup"]
    async with hands.database.transaction() as tx:
        assert await jobs.list_like(tx, "wash", "%") == []


async def test_who_cannot_wait_leaves_the_job_to_others(house: Any, hands: Any) -> None:
    async def endless(house: Any, job: jobs.Job, now: Any) -> jobs.Outcome:
        await asyncio.sleep(3600)
        return jobs.Done()

    house.jobs["wash"] = endless
    await hands.plan("endless")
    runner = Runner(house)
    await runner.take()
    async with asyncio.timeout(60):
        await runner.finish(0.1)
    async with hands.database.transaction() as tx:
        [job] = await jobs.list_like(tx, "wash", "%")
    assert job.quarantined_at is None
