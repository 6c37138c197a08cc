"""People: who pays and is paid back."""

from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from dewpond.identity import (
    NameInvalid,
    PersonId,
    PersonNotFound,
    create_person,
    find_people,
    find_person_by_number,
    get_person,
    list_demo_people,
    list_people,
    newest_people,
    rename_person,
)
from dewpond.identity.people import check_digit
from dewpond.kit.db import Database
from dewpond.kit.ids import new_id

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


async def test_a_person_is_found_again_by_id(database: Database) -> None:
    async with database.transaction() as tx:
        alice = await create_person(tx, "Alice", wall_now=NOON)
        demo = await create_person(tx, "Demo", wall_now=NOON, is_demo=True)
    async with database.transaction() as tx:
        assert await get_person(tx, alice.id) == alice
        assert await get_person(tx, demo.id) == demo
        assert [person.is_demo for person in (alice, demo)] == [False, True]
        assert await find_people(tx, alice.text_id) == [alice]
        assert alice.text_id.startswith("per_")


async def test_an_unknown_person_is_refused(database: Database) -> None:
    nobody = PersonId(new_id())
    async with database.transaction() as tx:
        with pytest.raises(PersonNotFound) as refused:
            await get_person(tx, nobody)
        assert str(refused.value.facts["person"]).startswith("per_")
        assert await list_people(tx, [nobody]) == []
        assert await find_people(tx, refused.value.facts["person"]) == []


async def test_names_need_not_be_unique_and_the_newest_comes_first(database: Database) -> None:
    async with database.transaction() as tx:
        older = await create_person(tx, "Namesake", wall_now=NOON)
        newer = await create_person(tx, "Namesake", wall_now=NOON + timedelta(seconds=1))
        other = await create_person(tx, "namesake", wall_now=NOON)
        assert await find_people(tx, "Namesake") == [newer, older]
        assert await find_people(tx, " namesake ") == [other]
        assert await find_people(tx, "Nobody") == []


async def test_the_newest_people_are_told_first(database: Database) -> None:
    later = NOON + timedelta(days=3650)
    async with database.transaction() as tx:
        people = [await create_person(tx, f"P{n}", wall_now=later + timedelta(seconds=n)) for n in range(4)]
        assert await newest_people(tx, most=3) == people[:0:-1]


async def test_many_are_listed_at_once_those_that_exist(database: Database) -> None:
    async with database.transaction() as tx:
        people = [await create_person(tx, f"Person {n}", wall_now=NOON) for n in range(3)]
        listed = await list_people(tx, [people[2].id, new_id(), people[0].id])
        assert sorted(listed, key=lambda person: person.name) == [people[0], people[2]]
        assert await list_people(tx, []) == []


@pytest.mark.parametrize(
    ("_case", "given", "kept"),
    [
        ("Chinese", "小明", "小明"),
        ("with space around", "  Alice  ", "Alice"),
        ("one letter", "A", "A"),
        ("the longest", "长" * 64, "长" * 64),
        ("outside the first plane", "𠮷" * 64, "𠮷" * 64),
        ("quotes", """O'Neil "x" --""", """O'Neil "x" --"""),
    ],
)
async def test_names_are_kept_as_people_write_them(database: Database, _case: str, given: str, kept: str) -> None:
    async with database.transaction() as tx:
        person = await create_person(tx, given, wall_now=NOON)
    async with database.transaction() as tx:
        assert (await get_person(tx, person.id)).name == kept


@pytest.mark.parametrize(
    ("_case", "name"),
    [
        ("nothing", ""),
        ("only space", "   "),
        ("too long", "x" * 65),
        ("a new line", "Alice\nBob"),
        ("a null byte", "Al\x00ice"),
        ("half a pair", "Al\ud800ice"),
        ("text that turns around", "Alice\u202eecilA"),
    ],
)
async def test_unusable_names_are_refused(database: Database, _case: str, name: str) -> None:
    async with database.transaction() as tx:
        with pytest.raises(NameInvalid):
            await create_person(tx, name, wall_now=NOON)


async def test_people_are_never_removed_by_the_application(database: Database) -> None:
    async with database.transaction() as tx:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await tx.connection.execute("delete from identity.people")


async def test_people_are_found_by_their_number_and_slips_of_the_finger_are_caught(database: Database) -> None:
    async with database.transaction() as tx:
        alice = await create_person(tx, "Alice", wall_now=NOON)
        grouped = f"{alice.number[:3]} {alice.number[3:6]}-{alice.number[6:]}"
        assert await find_person_by_number(tx, grouped) == alice
        for place in range(10):
            slip = alice.number[:place] + str((int(alice.number[place]) + 1) % 10) + alice.number[place + 1 :]
            assert await find_person_by_number(tx, slip) is None
        for text in ("", "12", "abcdefghij", alice.number + "0", "１２３４５６７８９０"):
            assert await find_person_by_number(tx, text) is None


async def test_the_database_and_python_agree_on_check_digits(owner_dsn: str) -> None:
    """The migration gives numbers to those who were there before; Luhn's own example is 7992739871 → 3."""
    assert check_digit("7992739871") == "3"
    connection = await asyncpg.connect(owner_dsn)
    try:
        for drawn in ("100000000", "999999999", "123456789", "987654321"):
            asked = await connection.fetchval("select identity.with_check_digit($1)", drawn)
            assert asked == drawn + check_digit(drawn)
    finally:
        await connection.close()


async def test_the_first_two_demo_people_stay_however_many_come_and_nobody_else_is_told(database: Database) -> None:
    async with database.transaction() as tx:
        made = [await create_person(tx, f"D{n}", wall_now=NOON, is_demo=n != 5) for n in range(7)]
        told = await list_demo_people(tx, most=4)
        assert told[2:] == [made[4], made[6]]
        assert told[:2] == (await list_demo_people(tx, most=1_000))[:2]


async def test_a_person_is_called_something_else_and_stays_who_they_are(database: Database) -> None:
    async with database.transaction() as tx:
        alice = await create_person(tx, "Alice", wall_now=NOON, is_demo=True)
        other = await create_person(tx, "Alice", wall_now=NOON)
        await rename_person(tx, alice.id, "  小明 ")
        renamed = await get_person(tx, alice.id)
        assert (renamed.name, renamed.created_at, renamed.is_demo) == ("小明", NOON, True)
        assert await get_person(tx, other.id) == other
        for bad in ("", " ", "x" * 65, "a\u202eb"):
            with pytest.raises(NameInvalid):
                await rename_person(tx, alice.id, bad)
        with pytest.raises(PersonNotFound):
            await rename_person(tx, PersonId(new_id()), "Nobody")
        assert await get_person(tx, alice.id) == renamed
