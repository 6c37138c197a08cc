"""Jobs: units of work due at a moment of world time.

A job is claimed under a lease in wall time, so that a worker that died is waited for only that long; it ends with one
of four words: `Done`, `Snooze(until)`, `Again(pause)`, `GiveUp(because)`. A job that raises is tried again with
growing pauses and quarantined after five tries: it then waits for a person and holds up nobody else. There is one open
job per kind and subject; scheduling it again moves it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import msgspec

from dewpond.kit.clock import Now
from dewpond.kit.db import Tx, columns, queries
from dewpond.kit.ids import new_id

sql = queries(__file__)

#: Longer than any job may take: the longest is a callback with its deadline of five seconds.
LEASE: Final = timedelta(seconds=20)

TRIES_BEFORE_QUARANTINE: Final = 5

#: A job whose workers ended before it did is tried more often than one that raised: mostly somebody else killed them.
TRIES_BEFORE_FATAL: Final = 10


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """A claimed job."""

    id: UUID
    kind: str
    subject: str
    due_at: datetime
    tries: int
    lease: UUID


class OpenJob(msgspec.Struct, frozen=True, kw_only=True):
    """A job that is not done yet, whether it is due, being worked on or in quarantine."""

    subject: str
    due_at: datetime
    quarantined_at: datetime | None


class QuarantinedJob(msgspec.Struct, frozen=True, kw_only=True):
    """A job that failed too often and waits for a person."""

    id: UUID
    kind: str
    subject: str
    due_at: datetime
    tries: int
    last_error: str | None
    quarantined_at: datetime


class _Released(msgspec.Struct, frozen=True, kw_only=True):
    kind: str
    subject: str


@dataclass(frozen=True, slots=True)
class Done:
    """The job has ended."""


@dataclass(frozen=True, slots=True)
class Snooze:
    """The job goes on at a later moment of world time; not a failure."""

    until: datetime


@dataclass(frozen=True, slots=True)
class Again:
    """The job stays due and is taken up again after a pause of wall time: the machine, not the world, was in the way.

    `counts` makes it one of the five tries.
    """

    pause: timedelta
    counts: bool = False


@dataclass(frozen=True, slots=True)
class GiveUp:
    """The job can never succeed; a person must look."""

    because: str


@dataclass(frozen=True, slots=True)
class Failed:
    """The job raised; it is tried again later."""

    error: str


Outcome = Done | Snooze | Again | GiveUp | Failed


async def schedule(tx: Tx, kind: str, due: Sequence[tuple[str, datetime]]) -> None:
    """Let work of a kind be done for each (subject, due_at); one already waiting is moved, the last word counts."""
    if not due:
        return
    subjects, moments = columns(list(dict(due).items()), 2)
    ids = [new_id() for _ in subjects]
    await tx.run(sql.schedule, id=ids, kind=[kind] * len(ids), subject=subjects, due_at=moments)
    tx.wake()


async def claim(tx: Tx, now: Now, *, most: int) -> list[Job]:
    """Take up to `most` due jobs, the longest due first, for as long as the lease lasts.

    One that has outlived its workers too often is quarantined instead: it may be what ends them.
    """
    claimed = await tx.rows(
        Job,
        sql.claim,
        lease=new_id(),
        leased_until=now.wall + LEASE,
        world_now=now.world,
        wall_now=now.wall,
        most=most,
    )
    fatal = [job for job in claimed if job.tries > TRIES_BEFORE_FATAL]
    await settle(tx, [(job, GiveUp("each worker that tried it ended before it did")) for job in fatal], now)
    return [job for job in claimed if job.tries <= TRIES_BEFORE_FATAL]


async def keep(tx: Tx, job: Job) -> bool:
    """Whether a claimed job is still this worker's; if so nobody can take it away before the transaction ends."""
    return bool(await tx.value(sql.keep, id=job.id, lease=job.lease))


async def settle(tx: Tx, ended: Sequence[tuple[Job, Outcome]], now: Now) -> None:
    """Write down how claimed jobs ended. A job whose lease has passed to another worker is left alone."""
    if not ended:
        return
    await tx.run(sql.lock_jobs, ids=[job.id for job, _ in ended])
    done = [job for job, outcome in ended if isinstance(outcome, Done)]
    if done:
        await tx.run(sql.finish, ids=[job.id for job in done], leases=[job.lease for job in done])
    later = [(job, *_put_off(job, outcome, now)) for job, outcome in ended if not isinstance(outcome, Done)]
    if later:
        jobs, due_at, tries, errors, quarantined, paused_until = columns(later, 6)
        await tx.run(
            sql.put_off,
            ids=[job.id for job in jobs],
            due_at=due_at,
            tries=tries,
            last_error=errors,
            quarantined_at=quarantined,
            paused_until=paused_until,
            leases=[job.lease for job in jobs],
        )


_PutOff = tuple[datetime, int, str | None, datetime | None, datetime | None]


def _put_off(job: Job, outcome: Outcome, now: Now) -> _PutOff:
    """The new due_at, tries, last_error, quarantined_at, and until when nobody takes it."""
    match outcome:
        case Snooze(until=until):
            return until, 0, None, None, None
        case Again(pause=pause, counts=counts):
            return job.due_at, job.tries - (not counts), None, None, now.wall + pause
        case GiveUp(because=because):
            return job.due_at, job.tries, _storable(because), now.wall, None
        case Failed(error=error):
            # In wall time: what raised is mended by people and machines, whether or not the world's clock stands still.
            quarantined = now.wall if job.tries >= TRIES_BEFORE_QUARANTINE else None
            return job.due_at, job.tries, _storable(error), quarantined, now.wall + _pause_after(job.tries)
        case Done():
            raise ValueError("a job that is done is not put off")


def _pause_after(tries: int) -> timedelta:
    """1, 2, 4, 8 seconds."""
    return timedelta(seconds=2 ** (tries - 1))


def _storable(words: str) -> str:
    """What a text column takes: an error may quote whatever was sent to us."""
    return words[:2000].encode("utf-8", "replace").decode().replace("\x00", "\ufffd")


async def next_due(tx: Tx) -> datetime | None:
    """World time of the next open job, if there is one."""
    moment: datetime | None = await tx.value(sql.next_due)
    return moment


async def count_due(tx: Tx, world_now: datetime) -> int:
    """How many open jobs are due now, those being worked on included."""
    return int(await tx.value(sql.count_due, world_now=world_now))


async def list_like(tx: Tx, kind: str, pattern: str) -> list[OpenJob]:
    """The open and quarantined jobs of a kind whose subject matches a `like` pattern."""
    return await tx.rows(OpenJob, sql.list_like, kind=kind, pattern=pattern)


async def quarantined(tx: Tx, *, most: int | None = None) -> list[QuarantinedJob]:
    """What waits for a person, the longest waiting first; all of it, or so much of it."""
    return await tx.rows(QuarantinedJob, sql.quarantined, most=most)


async def count_quarantined(tx: Tx) -> int:
    """How much waits for a person."""
    return int(await tx.value(sql.count_quarantined))


async def release(tx: Tx, job_id: UUID, *, world_now: datetime) -> bool:
    """Let a job in quarantine be tried again at once; whether it was in quarantine."""
    found = await tx.row(_Released, sql.find_quarantined, id=job_id)
    if found is None:
        return False
    await schedule(tx, found.kind, [(found.subject, world_now)])
    return True
