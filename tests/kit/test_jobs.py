"""Jobs: each due one is done by one worker, a failing one is given up on in time, and a dead worker is waited for."""

import asyncio
import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from dewpond.kit import jobs
from dewpond.kit.clock import Now
from dewpond.kit.db import Database
from dewpond.kit.jobs import (
    LEASE,
    TRIES_BEFORE_QUARANTINE,
    Again,
    Done,
    Failed,
    GiveUp,
    Job,
    Outcome,
    QuarantinedJob,
    Snooze,
)

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)


def at(moment: datetime, wall: datetime | None = None) -> Now:
    """World time, and wall time where it is another."""
    return Now(world=moment, wall=wall or moment)


@pytest.fixture(autouse=True)
async def _nothing_to_do(database: Database) -> None:
    async with database.transaction() as tx:
        await tx.connection.execute("delete from kit.jobs")


async def schedule(database: Database, *due: tuple[str, datetime], kind: str = "brew") -> None:
    async with database.transaction() as tx:
        await jobs.schedule(tx, kind, due)


async def claim(database: Database, now: Now, most: int = 100) -> list[Job]:
    async with database.transaction() as tx:
        return await jobs.claim(tx, now, most=most)


async def settle(database: Database, now: Now, *ended: tuple[Job, Outcome]) -> None:
    async with database.transaction() as tx:
        await jobs.settle(tx, ended, now)


async def in_quarantine(database: Database) -> list[QuarantinedJob]:
    async with database.transaction() as tx:
        return await jobs.quarantined(tx)


async def count_due(database: Database, moment: datetime) -> int:
    async with database.transaction() as tx:
        return await jobs.count_due(tx, moment)


async def next_due(database: Database) -> datetime | None:
    async with database.transaction() as tx:
        return await jobs.next_due(tx)


# --- due --------------------------------------------------------------------------------------------------------------


async def test_a_job_is_claimed_when_it_is_due_in_world_time(database: Database) -> None:
    await schedule(database, ("oolong", NOON))
    assert await next_due(database) == NOON
    assert await claim(database, at(NOON - SECOND, wall=NOON + HOUR)) == []
    (job,) = await claim(database, at(NOON, wall=NOON - HOUR))
    assert (job.kind, job.subject, job.due_at, job.tries) == ("brew", "oolong", NOON, 1)


async def test_the_longest_due_come_first_and_no_more_than_asked(database: Database) -> None:
    minutes = [5, 3, 9, 1, 7, 4, 8, 2, 6, 0]
    await schedule(database, *((f"{n}", NOON + n * timedelta(minutes=1)) for n in minutes))
    assert [job.subject for job in await claim(database, at(NOON + HOUR), most=4)] == ["0", "1", "2", "3"]
    assert [job.subject for job in await claim(database, at(NOON + HOUR), most=4)] == ["4", "5", "6", "7"]
    assert [job.subject for job in await claim(database, at(NOON + HOUR), most=4)] == ["8", "9"]


async def test_there_is_one_open_job_per_kind_and_subject(database: Database) -> None:
    await schedule(database, ("oolong", NOON), ("oolong", NOON + SECOND))
    await schedule(database, ("oolong", NOON + HOUR))
    await schedule(database, ("oolong", NOON), kind="pour")
    assert [(job.kind, job.due_at) for job in await claim(database, at(NOON + HOUR))] == [
        ("pour", NOON),
        ("brew", NOON + HOUR),
    ]


async def test_a_subject_named_twice_at_once_keeps_the_last_word(database: Database) -> None:
    await schedule(database, ("oolong", NOON + HOUR), ("pu'er", NOON), ("oolong", NOON + 2 * HOUR))
    assert await claim(database, at(NOON + HOUR)) != []
    assert await next_due(database) is not None
    (oolong,) = await claim(database, at(NOON + 2 * HOUR, wall=NOON))
    assert oolong.due_at == NOON + 2 * HOUR


async def test_scheduling_nothing_wakes_nobody(database: Database) -> None:
    async with database.transaction() as tx:
        await jobs.schedule(tx, "brew", [])
        assert not tx.wakes
        await jobs.schedule(tx, "brew", [("oolong", NOON)])
        assert tx.wakes


async def test_jobs_of_a_kind_are_found_by_their_subject(database: Database) -> None:
    await schedule(database, ("cup/1", NOON), ("cup/2", NOON), ("pot/1", NOON))
    await schedule(database, ("cup/3", NOON), kind="pour")
    async with database.transaction() as tx:
        assert sorted(job.subject for job in await jobs.list_like(tx, "brew", "cup/%")) == ["cup/1", "cup/2"]


# --- who does it ------------------------------------------------------------------------------------------------------


async def test_a_claimed_job_is_nobody_elses_while_the_lease_lasts(database: Database) -> None:
    await schedule(database, ("oolong", NOON))
    (mine,) = await claim(database, at(NOON))
    assert await claim(database, at(NOON + HOUR, wall=NOON + LEASE)) == []  # the lease is wall time
    (theirs,) = await claim(database, at(NOON, wall=NOON + LEASE + SECOND))
    assert (theirs.id, theirs.tries) == (mine.id, 2)
    assert theirs.lease != mine.lease


async def test_a_job_under_another_workers_lock_is_passed_over(database: Database) -> None:
    await schedule(database, ("a", NOON), ("b", NOON))
    async with database.transaction() as one, database.transaction() as other:
        first = await jobs.claim(one, at(NOON), most=1)
        async with asyncio.timeout(60):
            second = await jobs.claim(other, at(NOON), most=2)
    assert sorted(job.subject for job in first + second) == ["a", "b"]


async def test_two_workers_do_each_job_once(database: Database, dsn: str) -> None:
    elsewhere = await Database.open(dsn, size=5, name="other worker")
    subjects = [f"cup {n}" for n in range(400)]
    await schedule(database, *((subject, NOON) for subject in subjects))
    done: list[str] = []

    async def work(pool: Database, seed: int) -> None:
        chance = random.Random(seed)
        while claimed := await claim(pool, at(NOON), most=chance.choice([1, 3, 10])):
            done.extend(job.subject for job in claimed)
            await asyncio.sleep(chance.choice([0, 0.001]))
            await settle(pool, at(NOON), *((job, Done()) for job in claimed))

    async with asyncio.timeout(300):
        await asyncio.gather(*(work(pool, seed) for seed, pool in enumerate([database, elsewhere] * 3)))
    await elsewhere.close()
    assert Counter(done) == Counter(subjects)
    assert await count_due(database, NOON) == 0


async def test_settling_after_the_lease_has_passed_on_changes_nothing(database: Database) -> None:
    """The slow worker comes back: what it says of its job no longer counts, whichever word it is."""
    await schedule(database, ("oolong", NOON))
    (slow,) = await claim(database, at(NOON))
    (quick,) = await claim(database, at(NOON, wall=NOON + LEASE + SECOND))
    for word in (Done(), Snooze(NOON + HOUR), GiveUp("lost"), Failed("late")):
        await settle(database, at(NOON), (slow, word))
    assert await in_quarantine(database) == []
    assert await count_due(database, NOON) == 1
    assert await claim(database, at(NOON, wall=NOON + 2 * LEASE)) == []  # the quick one's lease still holds
    await settle(database, at(NOON), (quick, Done()))
    assert await next_due(database) is None


async def test_a_worker_can_ask_whether_its_word_still_counts(database: Database) -> None:
    await schedule(database, ("oolong", NOON))
    (slow,) = await claim(database, at(NOON))
    async with database.transaction() as tx:
        assert await jobs.keep(tx, slow)
    (quick,) = await claim(database, at(NOON, wall=NOON + LEASE + SECOND))
    async with database.transaction() as tx:
        assert not await jobs.keep(tx, slow)
        assert await jobs.keep(tx, quick)
        await jobs.settle(tx, [(quick, Done())], at(NOON))
        assert not await jobs.keep(tx, quick)


async def test_a_job_that_is_scheduled_again_while_it_runs_runs_again(database: Database) -> None:
    await schedule(database, ("oolong", NOON))
    (running,) = await claim(database, at(NOON))
    await schedule(database, ("oolong", NOON + HOUR))
    await settle(database, at(NOON), (running, Done()))
    assert await claim(database, at(NOON)) == []
    (again,) = await claim(database, at(NOON + HOUR))
    assert (again.subject, again.tries) == ("oolong", 1)


# --- how it ends ------------------------------------------------------------------------------------------------------


async def test_a_job_that_is_done_is_gone(database: Database) -> None:
    await schedule(database, ("a", NOON), ("b", NOON))
    a, b = sorted(await claim(database, at(NOON)), key=lambda job: job.subject)
    await settle(database, at(NOON), (a, Done()))
    assert await count_due(database, NOON) == 1
    await settle(database, at(NOON), (b, Done()))
    assert await next_due(database) is None


async def test_a_snoozed_job_goes_on_later_and_has_not_failed(database: Database) -> None:
    await schedule(database, ("oolong", NOON))
    for hour in range(2 * TRIES_BEFORE_QUARANTINE):
        now = NOON + hour * HOUR
        (job,) = await claim(database, at(now))
        assert job.tries == 1
        await settle(database, at(now), (job, Snooze(now + HOUR)))
        assert await claim(database, at(now + HOUR - SECOND)) == []
    assert await in_quarantine(database) == []


@pytest.mark.parametrize(("_case", "counts", "tries"), [("not a failure", False, 1), ("one of the tries", True, 2)])
async def test_a_job_that_the_machine_kept_from_being_done_stays_due(
    database: Database, _case: str, counts: bool, tries: int
) -> None:
    """Its pause is wall time: a frozen world would never bring it back."""
    await schedule(database, ("oolong", NOON))
    (job,) = await claim(database, at(NOON))
    await settle(database, at(NOON), (job, Again(HOUR, counts=counts)))
    assert await count_due(database, NOON) == 1
    assert await claim(database, at(NOON, wall=NOON + HOUR)) == []
    (again,) = await claim(database, at(NOON, wall=NOON + HOUR + SECOND))
    assert (again.due_at, again.tries) == (NOON, tries)


async def test_a_failing_job_is_tried_again_with_growing_pauses_then_quarantined(database: Database) -> None:
    """In wall time: a world whose clock stands still gets its mended jobs done too."""
    await schedule(database, ("oolong", NOON), ("green", NOON + HOUR))
    wall = NOON
    for tries, pause in enumerate((1, 2, 4, 8, None), start=1):
        (job,) = await claim(database, at(NOON, wall=wall))
        assert (job.subject, job.tries) == ("oolong", tries)
        await settle(database, at(NOON, wall=wall), (job, Failed(f"too hot, {tries}")))
        if pause is not None:
            assert await claim(database, at(NOON, wall=wall + pause * SECOND)) == []
            wall += pause * SECOND + timedelta(milliseconds=1)
    assert tries == TRIES_BEFORE_QUARANTINE
    assert await next_due(database) == NOON + HOUR, "what is in quarantine is not waited for"
    (stuck,) = await in_quarantine(database)
    assert (stuck.subject, stuck.tries, stuck.last_error) == ("oolong", 5, "too hot, 5")
    assert [job.subject for job in await claim(database, at(NOON + 9 * HOUR))] == ["green"]


async def test_a_quarantined_job_starts_afresh_when_it_is_scheduled_again(database: Database) -> None:
    await schedule(database, ("oolong", NOON))
    (job,) = await claim(database, at(NOON))
    await settle(database, at(NOON), (job, GiveUp("there is no tea")))
    await schedule(database, ("oolong", NOON))
    assert await in_quarantine(database) == []
    (again,) = await claim(database, at(NOON))
    assert again.tries == 1


async def test_what_is_given_up_waits_for_a_person_at_once(database: Database) -> None:
    await schedule(database, ("oolong", NOON))
    (job,) = await claim(database, at(NOON))
    await settle(database, at(NOON, wall=NOON + HOUR), (job, GiveUp("there is no tea")))
    (stuck,) = await in_quarantine(database)
    assert (stuck.last_error, stuck.tries, stuck.quarantined_at) == ("there is no tea", 1, NOON + HOUR)
    assert await count_due(database, NOON + 9 * HOUR) == 0


@pytest.mark.parametrize("words", ["x" * 100_000, "a\x00b", "half a pair: \ud800", ""])
@pytest.mark.parametrize("word", [Failed, GiveUp])
async def test_any_error_can_be_written_down(database: Database, word: Any, words: str) -> None:
    await schedule(database, ("oolong", NOON))
    now = NOON
    while claimed := await claim(database, at(now)):
        await settle(database, at(now), (claimed[0], word(words)))
        now += HOUR
    (stuck,) = await in_quarantine(database)
    assert stuck.last_error is not None
    assert stuck.last_error[:1] == words[:1]
    assert len(stuck.last_error) <= 2000


async def test_each_of_many_ends_in_its_own_way(database: Database) -> None:
    await schedule(database, *((subject, NOON) for subject in ("done", "fail", "give up", "snooze")))
    done, fail, give_up, snooze = sorted(await claim(database, at(NOON)), key=lambda job: job.subject)
    await settle(
        database,
        at(NOON),
        (done, Done()),
        (fail, Failed("no water")),
        (give_up, GiveUp("no tea")),
        (snooze, Snooze(NOON + 2 * HOUR)),
    )
    assert [job.subject for job in await in_quarantine(database)] == ["give up"]
    assert [job.subject for job in await claim(database, at(NOON + HOUR))] == ["fail"]
    assert [job.subject for job in await claim(database, at(NOON + 2 * HOUR, wall=NOON + HOUR))] == ["snooze"]


async def test_schedulers_and_workers_of_the_same_jobs_do_not_wait_for_each_other(database: Database) -> None:
    """Each locks many rows at once; taken in different orders, some of them would die of it."""
    subjects = [f"cup {n}" for n in range(60)]
    await schedule(database, *((subject, NOON) for subject in subjects))

    async def plan(seed: int) -> None:
        chance = random.Random(seed)
        for _ in range(40):
            some = chance.sample(subjects, 30)
            await schedule(database, *((subject, NOON) for subject in some))

    async def work(seed: int) -> None:
        chance = random.Random(seed)
        for _ in range(40):
            claimed = await claim(database, at(NOON), most=40)
            chance.shuffle(claimed)
            words: list[Outcome] = [Snooze(NOON), Done(), Failed("again")]
            await settle(database, at(NOON), *((job, chance.choice(words)) for job in claimed))

    async with asyncio.timeout(300):
        await asyncio.gather(*(plan(seed) for seed in range(4)), *(work(seed) for seed in range(4)))


async def test_a_job_that_ends_its_workers_is_set_aside(database: Database) -> None:
    await schedule(database, ("deadly", NOON), ("harmless", NOON))
    wall = NOON
    for _ in range(jobs.TRIES_BEFORE_FATAL):
        claimed = {job.subject: job for job in await claim(database, at(NOON, wall=wall))}
        assert "deadly" in claimed  # and whoever took it was never heard of again
        if "harmless" in claimed:
            await settle(database, at(NOON, wall=wall), (claimed["harmless"], Done()))
        wall += LEASE + SECOND
    assert await claim(database, at(NOON, wall=wall)) == []
    [aside] = await in_quarantine(database)
    assert aside.subject == "deadly"
    assert aside.last_error == "each worker that tried it ended before it did"


async def test_jobs_of_two_claims_settled_together_are_ended_each_by_its_own_lease(database: Database) -> None:
    """A stale word about one must not end it because its neighbour's lease is right."""
    await schedule(database, ("parked", NOON))
    (stale,) = await claim(database, at(NOON))
    await schedule(database, ("parked", NOON), ("other", NOON))  # moved by its sibling, and claimed anew
    fresh = {job.subject: job for job in await claim(database, at(NOON))}
    assert fresh["parked"].lease == fresh["other"].lease != stale.lease
    await settle(database, at(NOON), (stale, Done()), (fresh["other"], Done()))
    await settle(database, at(NOON), (fresh["parked"], Again(SECOND)))
    (left,) = await claim(database, at(NOON, wall=NOON + 2 * SECOND))
    assert left.subject == "parked"


async def test_one_in_quarantine_is_let_go(database: Database) -> None:
    async with database.transaction() as tx:
        await jobs.schedule(tx, "k", [(f"{n}", NOON) for n in range(3)])
        taken = await jobs.claim(tx, at(NOON), most=10)
        for n, job in enumerate(taken):
            await jobs.settle(tx, [(job, GiveUp("no"))], at(NOON, NOON + n * SECOND))
        assert await jobs.count_quarantined(tx) == 3
        assert [one.id for one in await jobs.quarantined(tx, most=2)] == [job.id for job in taken[:2]]
        assert await jobs.release(tx, taken[0].id, world_now=NOON + HOUR)
        assert not await jobs.release(tx, taken[0].id, world_now=NOON + HOUR), "it is no longer in quarantine"
        assert await jobs.count_quarantined(tx) == 2
        (again,) = await jobs.claim(tx, at(NOON + HOUR), most=10)
    assert (again.id, again.tries, again.due_at) == (taken[0].id, 1, NOON + HOUR)
