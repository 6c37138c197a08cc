"""Wishes: what somebody asks of the worker that takes longer than a request may.

    asked ──▶ begun ──▶ granted | refused     (told: what came of it)
      └─────────┴─────▶ stopped               (by a member of staff)

A job is done within its lease and is part of the world's business; a wish may take minutes, moves the world as a whole
or reads all of it, and somebody waits for it. There is one open wish of a kind at a time. A worker that dies leaves it
open and another takes it up, so granting one must be deaf to having been begun before.
"""

from datetime import datetime
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

import msgspec

from dewpond.kit.db import Tx, queries
from dewpond.kit.failures import Failure, Kind

sql = queries(__file__)

#: To move a sandbox's clock; `wanted` and `told` are a `ClockMove`.
CLOCK_MOVE: Final = "clock_move"


class WishOpen(Failure):
    """The same is being done already; wait until it has ended, or stop it."""

    code, kind = "wish_open", Kind.CONFLICT


class WishEnded(Failure):
    """There is nothing to stop: it has ended."""

    code, kind = "wish_ended", Kind.CONFLICT


class WishOutcome(StrEnum):
    """How a wish ended."""

    GRANTED = "granted"
    #: The house would not; `told` says why.
    REFUSED = "refused"
    STOPPED = "stopped"


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """Something asked; all times are wall time."""

    id: UUID
    kind: str
    wanted: dict[str, Any]
    asked_by: UUID
    asked_at: datetime
    begun_at: datetime | None
    ended_at: datetime | None
    outcome: WishOutcome | None
    told: dict[str, Any] | None
    stopped_by: UUID | None


class ClockMove(msgspec.Struct, frozen=True, kw_only=True):
    """How far world time is to go, or went: from `since` to `until`."""

    since: datetime
    until: datetime


async def ask(
    tx: Tx, wish_id: UUID, kind: str, wanted: msgspec.Struct | None = None, *, asked_by: UUID, wall_now: datetime
) -> Wish:
    """Ask for something; the same `wish_id` again is the same wish, as it stands by now.

    Refuses with `WishOpen` while another of its kind is open.
    """
    await tx.run(
        sql.create_wish,
        id=wish_id,
        kind=kind,
        wanted={} if wanted is None else msgspec.to_builtins(wanted),
        asked_by=asked_by,
        asked_at=wall_now,
    )
    wish = await find(tx, wish_id)
    if wish is None:
        raise WishOpen
    return wish


async def find(tx: Tx, wish_id: UUID) -> Wish | None:
    """The wish with this id."""
    return await tx.row(Wish, sql.find_wish, id=wish_id)


async def find_newest(tx: Tx, kind: str) -> Wish | None:
    """What is open of a kind, else what was asked last."""
    return await tx.row(Wish, sql.find_newest, kind=kind)


async def find_newest_granted(tx: Tx, kind: str) -> Wish | None:
    """What was granted last of a kind."""
    return await tx.row(Wish, sql.find_newest_granted, kind=kind)


async def list_open(tx: Tx) -> list[Wish]:
    """What waits to be granted or is being granted."""
    return await tx.rows(Wish, sql.list_open)


async def begin(tx: Tx, wish_id: UUID, *, wall_now: datetime) -> bool:
    """Note that a worker is at it; False where it has ended meanwhile."""
    return bool(await tx.run(sql.begin, id=wish_id, wall_now=wall_now))


async def end(tx: Tx, wish_id: UUID, outcome: WishOutcome, told: dict[str, Any], *, wall_now: datetime) -> bool:
    """Write down what came of a wish; False where somebody stopped it meanwhile: what was said first stands."""
    return bool(await tx.run(sql.end, id=wish_id, outcome=outcome, told=told, wall_now=wall_now))


async def stop(tx: Tx, kind: str, *, stopped_by: UUID, wall_now: datetime) -> None:
    """Ask for it no longer; what is done already stays done. Refuses with `WishEnded` where none of a kind is open."""
    if not await tx.run(sql.stop, kind=kind, stopped_by=stopped_by, wall_now=wall_now):
        raise WishEnded
