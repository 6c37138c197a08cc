"""Subjects: a person as one app knows them. The value is random and pairwise, so two shops cannot compare notes."""

import base64
import re
import secrets
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec

from dewpond.identity.people import PersonId
from dewpond.kit.db import Tx, columns, queries

sql = queries(__file__)

_OPEN_ID: Final = re.compile(r"o[A-Za-z0-9_-]{27}")


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """One person in one app."""

    app_id: UUID
    person_id: PersonId
    open_id: str


async def open_ids(tx: Tx, pairs: Sequence[tuple[UUID, UUID]], *, wall_now: datetime) -> dict[tuple[UUID, UUID], str]:
    """The open ids of (app, person) pairs, made where they are missing."""
    wanted = sorted(set(pairs))
    found = await find_open_ids(tx, wanted)
    missing = [pair for pair in wanted if pair not in found]
    if missing:
        await make_open_ids(tx, missing, wall_now=wall_now)
        found |= await find_open_ids(tx, missing)  # another process may have been first
    return found


async def find_open_ids(tx: Tx, pairs: Collection[tuple[UUID, UUID]]) -> dict[tuple[UUID, UUID], str]:
    """The open ids of those of these (app, person) pairs that have one; for who only looks."""
    apps, people = columns(list(pairs), 2)
    rows = await tx.rows(Subject, sql.find_open_ids, app_ids=apps, person_ids=people)
    return {(row.app_id, row.person_id): row.open_id for row in rows}


async def make_open_ids(tx: Tx, pairs: Collection[tuple[UUID, UUID]], *, wall_now: datetime) -> None:
    """See to it that each of these (app, person) pairs has an open id; deaf to the second time."""
    apps, people = columns(sorted(set(pairs)), 2)
    open_ids = [_new_open_id() for _ in apps]
    await tx.run(sql.make_open_ids, app_ids=apps, person_ids=people, open_ids=open_ids, created_at=wall_now)


async def person_by_open_id(tx: Tx, app_id: UUID, open_id: str) -> PersonId | None:
    """Who an app means by an open id; None if it is not one of this app's."""
    person_id: PersonId | None = await tx.value(sql.person_by_open_id, app_id=app_id, open_id=open_id)
    return person_id


async def person_of_apps(tx: Tx, app_ids: Sequence[UUID], open_id: str) -> PersonId | None:
    """Who one of these apps means by an open id; None if it is none of theirs, or no open id at all."""
    if not _OPEN_ID.fullmatch(open_id):
        return None
    person_id: PersonId | None = await tx.value(sql.person_of_apps, app_ids=list(app_ids), open_id=open_id)
    return person_id


def _new_open_id() -> str:
    return "o" + base64.urlsafe_b64encode(secrets.token_bytes(21)).decode()[:27]
