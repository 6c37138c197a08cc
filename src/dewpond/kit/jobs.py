"""Jobs: units of work due at a moment of world time.

A job is claimed under a lease in wall time, so that a worker that died is waited for only that long; it ends with one
of three words: `Done`, `Snooze(until)`, `GiveUp(because)`. A job that raises is tried again with growing pauses and
quarantined after five tries: it then waits for a person and holds up nobody else. There is one open job per kind and
subject; scheduling it again moves it.
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


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """A claimed job."""

    id: UUID
    kind: str
    subject: str
    due_at: datetime
    tries: int
    lease: UUID


class QuarantinedJob(msgspec.Struct, frozen=True, kw_only=True):
    """A job that failed too often and waits for a person."""

    id: UUID
    kind: str
    subject: str
    due_at: datetime
    tries: int
    last_error: str | None
    quarantined_at: datetime


@dataclass(frozen=True, slots=True)
class Done:
    """The job has ended."""


@dataclass(frozen=True, slots=True)
class Snooze:
    """The job goes on at a later moment of world time; not a failure."""

    until: datetime


@dataclass(frozen=True, slots=True)
class GiveUp:
    """The job can never succeed; a person must look."""

    because: str


@dataclass(frozen=True, slots=True)
class Failed:
    """The job raised; it is tried again later."""

    error: str


Outcome = Done | Snooze | GiveUp | Failed


async def schedule(tx: Tx, kind: str, due: Sequence[tuple[str, datetime]]) -> None:
    """Let work of a kind be done for each (subject, due_at); a subject already waiting is moved."""
    if not due:
        return
    subjects, moments = columns(due, 2)
    await tx.run(sql.schedule, id=[new_id() for _ in due], kind=[kind] * len(due), subject=subjects, due_at=moments)
    tx.wake()


async def claim(tx: Tx, now: Now, *, most: int) -> list[Job]:
    """Take up to `most` due jobs, the longest due first, for as long as the lease lasts."""
    return await tx.rows(
        Job,
        sql.claim,
        lease=new_id(),
        leased_until=now.wall + LEASE,
        world_now=now.world,
        wall_now=now.wall,
        most=most,
    )


async def settle(tx: Tx, ended: Sequence[tuple[Job, Outcome]], now: Now) -> None:
    """Write down how claimed jobs ended. A job whose lease has passed to another worker is left alone."""
    done = [job for job, outcome in ended if isinstance(outcome, Done)]
    if done:
        await tx.run(sql.finish, ids=[job.id for job in done], leases=[job.lease for job in done])
    later = [(job, *_put_off(job, outcome, now)) for job, outcome in ended if not isinstance(outcome, Done)]
    if later:
        jobs, due_at, tries, errors, quarantined = columns(later, 5)
        await tx.run(
            sql.put_off,
            ids=[job.id for job in jobs],
            due_at=due_at,
            tries=tries,
            last_error=errors,
            quarantined_at=quarantined,
            leases=[job.lease for job in jobs],
        )


def _put_off(job: Job, outcome: Outcome, now: Now) -> tuple[datetime, int, str | None, datetime | None]:
    match outcome:
        case Snooze(until=until):
            return until, 0, None, None
        case GiveUp(because=because):
            return job.due_at, job.tries, because, now.wall
        case Failed(error=error):
            quarantined = now.wall if job.tries >= TRIES_BEFORE_QUARANTINE else None
            return now.world + timedelta(seconds=2**job.tries), job.tries, error[:2000], quarantined
        case Done():
            raise ValueError("a job that is done is not put off")


async def next_due(tx: Tx) -> datetime | None:
    """World time of the next open job, if there is one."""
    moment: datetime | None = await tx.value(sql.next_due)
    return moment


async def count_due(tx: Tx, world_now: datetime) -> int:
    """How many open jobs are due now, those being worked on included."""
    return int(await tx.value(sql.count_due, world_now=world_now))


async def subjects_like(tx: Tx, kind: str, patterns: Sequence[str]) -> list[str]:
    """The subjects of open and quarantined jobs of a kind that match any `like` pattern."""
    return list(await tx.values(sql.subjects_like, kind=kind, patterns=list(patterns)))


async def quarantined(tx: Tx) -> list[QuarantinedJob]:
    """What waits for a person."""
    return await tx.rows(QuarantinedJob, sql.quarantined)
