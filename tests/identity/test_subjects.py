"""Subjects: an app knows a person by a name that means nothing elsewhere."""

import asyncio
import re
from datetime import UTC, datetime
from uuid import UUID

from dewpond.identity import (
    PersonId,
    find_open_ids,
    make_open_ids,
    open_ids,
    person_by_open_id,
    person_of_apps,
)
from dewpond.kit.db import Database
from dewpond.kit.ids import new_id

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


async def ask(database: Database, *pairs: tuple[UUID, UUID]) -> dict[tuple[UUID, UUID], str]:
    async with database.transaction() as tx:
        return await open_ids(tx, pairs, wall_now=NOON)


async def test_a_person_has_another_name_in_every_app(database: Database) -> None:
    """Two shops that lay their books side by side learn nothing."""
    alice, apps = new_id(), [new_id() for _ in range(10)]
    names = await ask(database, *((app, alice) for app in apps))
    assert len(set(names.values())) == 10
    assert all(re.fullmatch(r"o[A-Za-z0-9_-]{27}", name) for name in names.values())


async def test_the_name_stays(database: Database) -> None:
    pair = (new_id(), new_id())
    assert await ask(database, pair) == await ask(database, pair)


async def test_who_only_looks_makes_no_name(database: Database) -> None:
    app, alice, bob = new_id(), new_id(), new_id()
    named = await ask(database, (app, alice))
    async with database.reading() as tx:
        assert await find_open_ids(tx, [(app, alice), (app, bob)]) == named
        assert await find_open_ids(tx, []) == {}


async def test_names_are_made_once(database: Database) -> None:
    app, people = new_id(), [new_id() for _ in range(3)]

    async def make(some: list[UUID]) -> None:
        async with database.transaction() as tx:
            await make_open_ids(tx, [(app, person) for person in some], wall_now=NOON)

    await asyncio.gather(make(people), make(people[::-1]), make([*people, *people]))
    named = await ask(database, *((app, person) for person in people))
    await make(people)
    assert await ask(database, *((app, person) for person in people)) == named
    async with database.transaction() as tx:
        assert await tx.connection.fetchval("select count(*) from identity.subjects where app_id = $1", app) == 3


async def test_known_and_unknown_pairs_can_be_asked_together(database: Database) -> None:
    app, alice, bob = new_id(), new_id(), new_id()
    first = await ask(database, (app, alice))
    both = await ask(database, (app, bob), (app, alice), (app, bob))
    assert both[app, alice] == first[app, alice]
    assert both.keys() == {(app, alice), (app, bob)}
    assert both[app, alice] != both[app, bob]
    assert await ask(database) == {}


async def test_an_app_finds_its_own_people_only(database: Database) -> None:
    tea, coffee, alice = new_id(), new_id(), PersonId(new_id())
    name = (await ask(database, (tea, alice)))[tea, alice]
    async with database.transaction() as tx:
        assert await person_by_open_id(tx, tea, name) == alice
        assert await person_by_open_id(tx, coffee, name) is None
        assert await person_by_open_id(tx, tea, "o" + "x" * 27) is None


async def test_some_apps_find_whom_any_of_them_calls_so(database: Database) -> None:
    tea, snacks, coffee, alice = new_id(), new_id(), new_id(), PersonId(new_id())
    names = await ask(database, (tea, alice), (snacks, alice), (coffee, alice))
    async with database.transaction() as tx:
        for app in (tea, snacks):
            assert await person_of_apps(tx, [tea, snacks], names[app, alice]) == alice
        for apps, text in (([tea, snacks], names[coffee, alice]), ([], names[tea, alice])):
            assert await person_of_apps(tx, apps, text) is None
        for text in ("", "o", "x" * 28, names[tea, alice] + "x", names[tea, alice] + "\n", "o" + "é" * 27, "o\0" * 14):
            assert await person_of_apps(tx, [tea], text) is None


async def test_asked_for_at_once_there_is_one_name(database: Database, dsn: str) -> None:
    """In two processes, in all orders, over many pairs: everybody hears the same, and nobody waits for ever."""
    elsewhere = await Database.open(dsn, size=5, name="elsewhere")
    app, people = new_id(), [new_id() for _ in range(15)]
    pairs = [(app, person) for person in people]
    async with asyncio.timeout(120):
        answers = await asyncio.gather(
            *(ask((database, elsewhere)[n % 2], *pairs[n:], *pairs[:n]) for n in range(15)),
            *(ask((database, elsewhere)[n % 2], *pairs[::-1]) for n in range(15)),
        )
    await elsewhere.close()
    assert all(answer == answers[0] for answer in answers)
    assert len(set(answers[0].values())) == 15
    assert await ask(database, *pairs) == answers[0]


async def test_a_name_that_was_rolled_back_was_never_given(database: Database) -> None:
    pair = (new_id(), new_id())
    given: dict[tuple[UUID, UUID], str] = {}
    try:
        async with database.transaction() as tx:
            given = await open_ids(tx, [pair], wall_now=NOON)
            raise ZeroDivisionError
    except ZeroDivisionError:
        pass
    async with database.transaction() as tx:
        assert await person_by_open_id(tx, pair[0], given[pair]) is None
