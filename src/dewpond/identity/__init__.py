"""Who is here and how we know: people, their payment PIN, and the names by which apps know them."""

from dewpond.identity.people import (
    NameInvalid,
    Person,
    PersonId,
    PersonNotFound,
    create_person,
    find_people,
    get_person,
    list_people,
    newest_people,
)
from dewpond.identity.pins import PinInvalid, PinLocked, PinNotSet, PinTries, PinWrong, set_pin
from dewpond.identity.subjects import open_ids, person_by_open_id

__all__ = [
    "NameInvalid",
    "Person",
    "PersonId",
    "PersonNotFound",
    "PinInvalid",
    "PinLocked",
    "PinNotSet",
    "PinTries",
    "PinWrong",
    "create_person",
    "find_people",
    "get_person",
    "list_people",
    "newest_people",
    "open_ids",
    "person_by_open_id",
    "set_pin",
]
