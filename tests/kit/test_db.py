"""The way to the database: queries from files, rows into structs, transactions at the edge, one bell for many."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import asyncpg
import msgspec
import pytest

from dewpond.kit import db, outbox
from dewpond.kit.db import BELL, Database, Queries, Tx, columns, in_transaction, queries
from dewpond.kit.ids import new_id

TEXT = """
What stands before the first name is not a query: %(not_a_parameter)s.

-- name: greet
-- Says hello, for example to %(nobody)s.
select %(greeting)s::text || ' ' || %(name)s::text as words, %(name)s::text as name;

-- name: add
select %(one)s::int + %(other)s::int as total

-- name: nothing
select 1 as one where false;

-- name: many
select n, 'row ' || n as words from generate_series(1, %(most)s::int) n order by n;

-- name: document
select %(body)s::jsonb as body, %(bytes)s::bytea as bytes, %(at)s::timestamptz as at, %(id)s::uuid as id;

-- name: add_reader
insert into kit.readers (name) values (%(name)s);

-- name: count_readers
select count(*) from kit.readers where name = %(name)s;

-- name: advance_all
update kit.readers set position = position + 1 where name like %(pattern)s;
"""


class Row(msgspec.Struct, frozen=True, kw_only=True):
    n: int
    words: str


class Greeting(msgspec.Struct, frozen=True, kw_only=True):
    words: str
    name: str


class Document(msgspec.Struct, frozen=True, kw_only=True):
    body: dict[str, Any]
    bytes: bytes
    at: datetime
    id: UUID


@pytest.fixture(scope="module")
def sql(tmp_path_factory: pytest.TempPathFactory) -> Queries:
    path = tmp_path_factory.mktemp("sql") / "words.sql"
    path.write_text(TEXT, encoding="utf-8")
    return Queries(path)


# --- queries ----------------------------------------------------------------------------------------------------------


def test_a_file_is_read_as_its_named_queries(sql: Queries) -> None:
    assert sql.greet.name == "greet"
    assert sql.greet.parameters == ("greeting", "name")
    assert sql.greet.text == "select $1::text || ' ' || $2::text as words, $2::text as name"
    assert sql.add.text == "select $1::int + $2::int as total"
    assert sql.nothing.parameters == ()


def test_a_query_that_is_not_there_is_named(sql: Queries) -> None:
    with pytest.raises(AttributeError, match=r"words\.sql has no query farewell"):
        _ = sql.farewell


def test_queries_lie_beside_their_module(tmp_path: Path, sql: Queries) -> None:
    shutil.copy(sql.path, tmp_path / "greetings.sql")
    beside = queries(str(tmp_path / "greetings.py"))
    assert beside.greet == sql.greet
    assert queries(str(tmp_path / "greetings.py")) is beside


async def test_parameters_are_given_by_name_all_of_them_and_no_others(database: Database, sql: Queries) -> None:
    async with database.transaction() as tx:
        assert await tx.value(sql.greet, name="Alice", greeting="Hello") == "Hello Alice"
        with pytest.raises(TypeError, match="greet takes"):
            await tx.value(sql.greet, name="Alice")
        with pytest.raises(TypeError, match="greet takes"):
            await tx.value(sql.greet, name="Alice", greeting="Hello", more=1)
        with pytest.raises((TypeError, KeyError)):
            await tx.value(sql.greet, name="Alice", greetings="Hello")


async def test_a_parameter_is_never_sql(database: Database, sql: Queries) -> None:
    async with database.transaction() as tx:
        assert await tx.value(sql.greet, greeting="'; drop table kit.jobs; --", name="%(name)s") == (
            "'; drop table kit.jobs; -- %(name)s"
        )


# --- rows -------------------------------------------------------------------------------------------------------------


async def test_rows_come_as_structs(database: Database, sql: Queries) -> None:
    async with database.transaction() as tx:
        assert await tx.rows(Row, sql.many, most=2) == [Row(n=1, words="row 1"), Row(n=2, words="row 2")]
        assert await tx.rows(Row, sql.many, most=0) == []
        assert await tx.row(Greeting, sql.greet, greeting="Hi", name="Bob") == Greeting(words="Hi Bob", name="Bob")
        assert await tx.values(sql.many, most=3) == [1, 2, 3]
        assert await tx.value(sql.nothing) is None


async def test_no_row_is_none(database: Database, sql: Queries) -> None:
    async with database.transaction() as tx:
        assert await tx.row(Row, sql.nothing) is None


async def test_a_row_that_does_not_fit_its_struct_is_refused(database: Database, sql: Queries) -> None:
    async with database.transaction() as tx:
        with pytest.raises(msgspec.ValidationError):
            await tx.row(Row, sql.greet, greeting="Hi", name="Bob")


async def test_documents_bytes_moments_and_ids_come_back_as_they_went(database: Database, sql: Queries) -> None:
    at, body = datetime(2026, 5, 1, 12, tzinfo=UTC), {"name": "小明", "list": [1, None, {"deep": True}]}
    told = Document(body=body, bytes=b"\x00\xff", at=at, id=new_id())
    async with database.transaction() as tx:
        assert await tx.row(Document, sql.document, **msgspec.structs.asdict(told)) == told
        given = {**msgspec.structs.asdict(told), "body": msgspec.json.encode(body).decode()}
        assert await tx.row(Document, sql.document, **given) == told


def test_rows_are_turned_into_columns_for_unnest() -> None:
    assert columns([(1, "a"), (2, "b"), (3, "c")], 2) == [[1, 2, 3], ["a", "b", "c"]]
    assert columns([], 3) == [[], [], []]
    with pytest.raises(ValueError, match="shorter"):
        columns([(1, "a"), (2,)], 2)


# --- transactions -----------------------------------------------------------------------------------------------------


async def readers_called(database: Database, sql: Queries, name: str) -> int:
    async with database.transaction() as tx:
        return int(await tx.value(sql.count_readers, name=name))


async def test_a_block_that_ends_is_committed(database: Database, sql: Queries) -> None:
    async with database.transaction() as tx:
        assert await tx.run(sql.add_reader, name="kept") == 1
        assert await readers_called(database, sql, "kept") == 0
    assert await readers_called(database, sql, "kept") == 1


async def test_a_block_that_raises_leaves_nothing(database: Database, sql: Queries) -> None:
    async def fail() -> None:
        async with database.transaction() as tx:
            await tx.run(sql.add_reader, name="gone")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert await readers_called(database, sql, "gone") == 0


async def test_a_block_that_is_cancelled_leaves_nothing_and_gives_its_connection_back(
    database: Database, sql: Queries, dsn: str
) -> None:
    alone = await Database.open(dsn, size=1, name="alone")
    begun = asyncio.Event()

    async def never_ends() -> None:
        async with alone.transaction() as tx:
            await tx.run(sql.add_reader, name="cancelled")
            begun.set()
            await asyncio.sleep(60)

    task = asyncio.create_task(never_ends())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with asyncio.timeout(60):
        assert await readers_called(alone, sql, "cancelled") == 0
    await alone.close()


async def test_a_statement_says_how_many_rows_it_touched(database: Database, sql: Queries) -> None:
    async with database.transaction() as tx:
        for name in ("touch-a", "touch-b"):
            await tx.run(sql.add_reader, name=name)
        assert await tx.run(sql.advance_all, pattern="touch-%") == 2
        assert await tx.run(sql.advance_all, pattern="nobody") == 0


async def test_reading_sees_what_is_committed_meanwhile_and_writes_nothing(database: Database, sql: Queries) -> None:
    name = f"reader {new_id()}"
    async with database.reading() as looking:
        assert in_transaction(), "it holds a connection, so it awaits no batch"
        assert await looking.value(sql.count_readers, name=name) == 0
        async with database.transaction() as tx:
            await tx.run(sql.add_reader, name=name)
        assert await looking.value(sql.count_readers, name=name) == 1
        with pytest.raises(RuntimeError, match="add_reader writes"):
            await looking.run(sql.add_reader, name=f"{name}, again")
    assert not in_transaction()


async def test_a_task_knows_whether_it_holds_a_transaction(database: Database) -> None:
    async def elsewhere() -> bool:
        return in_transaction()

    assert not in_transaction()
    other = asyncio.create_task(elsewhere())
    async with database.transaction():
        assert in_transaction()
        assert not await other
        async with database.transaction():
            assert in_transaction()
        assert in_transaction()
    assert not in_transaction()
    with pytest.raises(ZeroDivisionError):
        async with database.transaction():
            raise ZeroDivisionError
    assert not in_transaction()


async def test_connections_speak_utc_and_read_committed(database: Database) -> None:
    async with database.transaction() as tx:
        assert await tx.connection.fetchval("show timezone") == "UTC"
        assert await tx.connection.fetchval("show transaction_isolation") == "read committed"
        assert await tx.connection.fetchval("select current_user") == "dewpond_app"


# --- the bell ---------------------------------------------------------------------------------------------------------


class Listener:
    def __init__(self, database: Database, connection: Any) -> None:
        self.database = database
        self.connection = connection
        self.heard = 0

    def hear(self, *_: object) -> None:
        self.heard += 1

    async def settle(self) -> int:
        """What was heard once everything that could ring has rung."""
        if self.database._bell is not None:
            await self.database._bell
        await self.connection.execute("select 1")  # PostgreSQL tells before it answers
        return self.heard


@pytest.fixture
async def listener(database: Database) -> AsyncIterator[Listener]:
    connection = await database.session()
    listener = Listener(database, connection)
    await connection.add_listener(BELL, listener.hear)
    yield listener
    await connection.close()


def wake(tx: Tx) -> None:
    assert not tx.wakes
    tx.wake()
    assert tx.wakes


async def test_the_bell_rings_after_the_commit(database: Database, listener: Listener) -> None:
    async with database.transaction() as tx:
        wake(tx)
        assert await listener.settle() == 0
    assert await listener.settle() == 1


async def test_many_commits_ring_it_seldom(
    database: Database, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once per interval, however many there were in it."""
    for times in (1, 2):
        interval_is_over = asyncio.Event()

        async def interval(_seconds: float, is_over: asyncio.Event = interval_is_over) -> None:
            await is_over.wait()

        with monkeypatch.context() as patch:
            patch.setattr(db, "asyncio", SimpleNamespace(create_task=asyncio.create_task, sleep=interval))
            for _ in range(100):
                async with database.transaction() as tx:
                    wake(tx)
            await listener.connection.execute("select 1")
            assert listener.heard == times - 1, "not before the interval is over"
            interval_is_over.set()
            assert await listener.settle() == times


async def test_it_rings_again_for_what_comes_later(database: Database, listener: Listener) -> None:
    for times in (1, 2, 3):
        async with database.transaction() as tx:
            wake(tx)
        assert await listener.settle() == times


async def test_what_was_rolled_back_or_woke_nobody_is_silent(database: Database, listener: Listener) -> None:
    async def fail() -> None:
        async with database.transaction() as tx:
            wake(tx)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    async with database.transaction() as tx:
        await outbox.register_reader(tx, "silent")
    assert await listener.settle() == 0


async def test_closing_rings_once_more_for_whoever_waits(listener: Listener, dsn: str) -> None:
    closing = await Database.open(dsn, size=1, name="closing")
    async with closing.transaction() as tx:
        wake(tx)
    await closing.close()
    assert await listener.settle() == 1
    with pytest.raises(asyncpg.InterfaceError):
        async with closing.transaction():
            pass
