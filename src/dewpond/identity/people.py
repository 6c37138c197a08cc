"""People: who pays and is paid back. A person belongs to nobody; shops know them by `open_id` only."""

import secrets as random
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
    #: What they tell at a desk: ten digits, the last one a check digit.
    number: str
    name: str
    created_at: datetime
    #: Made by the sandbox for trying things out.
    is_demo: bool

    @property
    def text_id(self) -> str:
        return to_text("per", self.id)


async def create_person(
    tx: Tx, name: str, *, wall_now: datetime, is_demo: bool = False, person_id: PersonId | None = None
) -> Person:
    """Make an account for a person; names need not be unique. Refuses an unusable name with `NameInvalid`.

    `person_id` where the id was told to an authenticator before there was an account.
    """
    name = name.strip()
    if not is_name(name):
        raise NameInvalid(name=name)
    own_id = person_id or PersonId(new_id())
    number = _draw_number()
    while not await tx.run(sql.draw_number, number=number, person_id=own_id):
        number = _draw_number()  # somebody has that one
    person = Person(id=own_id, number=number, name=name, created_at=wall_now, is_demo=is_demo)
    await tx.run(sql.create_person, **msgspec.structs.asdict(person))
    return person


def _draw_number() -> str:
    drawn = str(random.randbelow(9 * 10**8) + 10**8)
    return drawn + check_digit(drawn)


def check_digit(digits: str) -> str:
    """The digit that makes these a number Luhn accepts (ISO/IEC 7812-1, annex B)."""
    doubled = [int(digit) * (2 if place % 2 == 0 else 1) for place, digit in enumerate(reversed(digits))]
    return str(-sum(value // 10 + value % 10 for value in doubled) % 10)


async def find_person_by_number(tx: Tx, text: str) -> Person | None:
    """The person who tells this number, however it is grouped; None where it is mistyped or nobody's."""
    number = "".join(text.split()).replace("-", "")
    if len(number) != 10 or not (number.isascii() and number.isdigit()) or check_digit(number[:-1]) != number[-1]:
        return None
    person_id = await tx.value(sql.find_by_number, number=number)
    return None if person_id is None else await get_person(tx, person_id)


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


async def count_people(tx: Tx) -> int:
    """How many people have an account; read by looking at all of them."""
    return int(await tx.value(sql.count_people))


async def list_demo_people(tx: Tx, *, most: int) -> list[Person]:
    """People with a sandbox's one-tap door in the order they came: the first two, whom every guide calls by name, and
    those who came last."""
    return await tx.rows(Person, sql.list_demo_people, most=most)


async def lock_people(tx: Tx, ids: Sequence[PersonId]) -> None:
    """Hold these people until this transaction ends: who looks at all of somebody's doings before the next takes turns
    by this, where there is no row yet that says it."""
    await tx.run(sql.lock_people, ids=list(ids))


async def rename_person(tx: Tx, person_id: PersonId, name: str) -> None:
    """Call a person something else. Refuses with `NameInvalid` or `PersonNotFound`."""
    name = name.strip()
    if not is_name(name):
        raise NameInvalid(name=name)
    if not await tx.run(sql.rename_person, id=person_id, name=name):
        raise PersonNotFound(person=to_text("per", person_id))
