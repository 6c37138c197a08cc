"""People: who pays and is paid back. A person belongs to nobody; shops know them by `open_id` only."""

from collections.abc import Sequence
from datetime import datetime
from typing import NewType
from uuid import UUID

import msgspec

from dewpond.kit.db import Tx, queries
from dewpond.kit.failures import Failure, Kind
from dewpond.kit.ids import IdInvalid, from_text, new_id, to_text
from dewpond.kit.names import is_name

sql = queries(__file__)

PersonId = NewType("PersonId", UUID)


class PersonNotFound(Failure):
    """There is no such person."""

    code, kind = "person_not_found", Kind.NOT_FOUND


class NameInvalid(Failure):
    """A name has 1 to 64 characters and no control characters."""

    code, kind = "name_invalid", Kind.INVALID


class Person(msgspec.Struct, frozen=True, kw_only=True):
    """A human being with an account."""

    id: PersonId
    name: str
    created_at: datetime
    #: Made by the sandbox for trying things out.
    is_demo: bool

    @property
    def text_id(self) -> str:
        return to_text("per", self.id)


async def create_person(tx: Tx, name: str, *, wall_now: datetime, is_demo: bool = False) -> Person:
    """Make an account for a person; names need not be unique. Refuses an unusable name with `NameInvalid`."""
    name = name.strip()
    if not is_name(name):
        raise NameInvalid(name=name)
    person = Person(id=PersonId(new_id()), name=name, created_at=wall_now, is_demo=is_demo)
    await tx.run(sql.create_person, id=person.id, name=name, created_at=wall_now, is_demo=is_demo)
    return person


async def list_people(tx: Tx, ids: Sequence[UUID]) -> list[Person]:
    """The people with these ids, those that exist."""
    return await tx.rows(Person, sql.list_people, ids=list(ids))


async def get_person(tx: Tx, person_id: PersonId) -> Person:
    """The person, or `PersonNotFound`."""
    found = await list_people(tx, [person_id])
    if not found:
        raise PersonNotFound(person=to_text("per", person_id))
    return found[0]


async def find_people(tx: Tx, text: str) -> list[Person]:
    """Everybody of this name, newest first; or the one person with this id (`per_…`)."""
    try:
        return await list_people(tx, [from_text("per", text)])
    except IdInvalid:
        return await tx.rows(Person, sql.find_people_by_name, name=text.strip())


async def newest_people(tx: Tx, *, most: int = 100) -> list[Person]:
    """The people who came last, the newest first; for the operator's terminal."""
    return await tx.rows(Person, sql.newest_people, most=most)
