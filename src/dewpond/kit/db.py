"""Database access: SQL in files beside the noun, transactions at the edge, rows decoded into frozen structs.

    sql = queries(__file__)                       # payments.py reads payments.sql

    async with db.transaction() as tx:            # the edge: a request, a job, a batch
        payment = await tx.row(Payment, sql.find_payment, merchant_id=…, id=…)

A query in a file is a block that begins with `-- name: find_payment`; its parameters are `%(name)s`. A house test
prepares every query against the real schema and holds its result columns against the fields of the struct.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final, TypeVar, cast

import asyncpg
import msgspec

T = TypeVar("T")

#: What asyncpg raises when the server or the way to it is gone; whether a commit happened is then unknown.
CONNECTION_LOST: tuple[type[BaseException], ...] = (
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    ConnectionError,
    TimeoutError,
    OSError,
)

#: Classes of SQLSTATE that pass by themselves: rolled back, too many connections, not now, ended by an operator.
_PASSING: Final = frozenset({"40", "53", "55", "57"})


def is_lost(error: BaseException) -> bool:
    """Whether the connection was lost, so that a commit may or may not have happened."""
    # asyncpg says InterfaceError also of values it cannot send; those are ValueErrors, and nothing was sent
    return isinstance(error, CONNECTION_LOST) and not isinstance(error, ValueError)


def is_passing(error: BaseException) -> bool:
    """Whether the same question may be answered in a moment."""
    return is_lost(error) or (isinstance(error, asyncpg.PostgresError) and (error.sqlstate or "")[:2] in _PASSING)


#: The channel on which workers listen for "there is something to do".
BELL: Final = "dewpond"
_BELL_SECONDS: Final = 0.03

_in_transaction: ContextVar[bool] = ContextVar("in_transaction", default=False)


@dataclass(frozen=True, slots=True)
class Query:
    """One named statement: its text with `$1…` and the names of its parameters in that order."""

    name: str
    text: str
    parameters: tuple[str, ...]

    def arguments(self, given: dict[str, Any]) -> list[Any]:
        if len(given) != len(self.parameters):
            raise TypeError(f"{self.name} takes {self.parameters}, not {tuple(given)}")
        return [given[name] for name in self.parameters]


class Queries:
    """The statements of one file, each an attribute."""

    def __init__(self, path: Path) -> None:
        self.path = path
        for block in re.split(r"^-- name: *", path.read_text(encoding="utf-8"), flags=re.M)[1:]:
            name, _, body = block.partition("\n")
            setattr(self, name.strip(), _parse(name.strip(), body))

    def __getattr__(self, name: str) -> Query:
        raise AttributeError(f"{self.path.name} has no query {name}")


def _parse(name: str, body: str) -> Query:
    names: list[str] = []

    def number(match: re.Match[str]) -> str:
        if match[1] not in names:
            names.append(match[1])
        return f"${names.index(match[1]) + 1}"

    body = re.sub(r"--[^\n]*", "", body)  # comments may hold examples of parameters
    return Query(name, re.sub(r"%\((\w+)\)s", number, body).strip().rstrip(";"), tuple(names))


@cache
def queries(module_file: str) -> Queries:
    """The statements that lie beside a module: `queries(__file__)` in payments.py reads payments.sql."""
    return Queries(Path(module_file).with_suffix(".sql"))


class Tx:
    """An open transaction; the only way to the database. It is committed or rolled back where it was opened."""

    def __init__(self, connection: "asyncpg.pool.PoolConnectionProxy[Any] | asyncpg.Connection[Any]") -> None:
        self.connection = connection
        self._wakes = False

    @property
    def wakes(self) -> bool:
        """Whether somebody should look at facts or jobs once this transaction is committed."""
        return self._wakes

    def wake(self) -> None:
        """Once committed, tell the workers that there is something to do."""
        self._wakes = True

    async def rows(self, kind: type[T], query: Query, /, **given: Any) -> list[T]:
        """Every row of the answer as `kind`."""
        records = await self.connection.fetch(query.text, *query.arguments(given))
        return [_decode(kind, record) for record in records]

    async def row(self, kind: type[T], query: Query, /, **given: Any) -> T | None:
        """The only row as `kind`, or None."""
        record = await self.connection.fetchrow(query.text, *query.arguments(given))
        return None if record is None else _decode(kind, record)

    async def value(self, query: Query, /, **given: Any) -> Any:
        """The first column of the first row, or None."""
        return await self.connection.fetchval(query.text, *query.arguments(given))

    async def values(self, query: Query, /, **given: Any) -> list[Any]:
        """The first column of every row."""
        return [record[0] for record in await self.connection.fetch(query.text, *query.arguments(given))]

    async def run(self, query: Query, /, **given: Any) -> int:
        """Carry out a statement; the number of rows it touched."""
        status = await self.connection.execute(query.text, *query.arguments(given))
        return int(status.rsplit(" ", 1)[-1]) if status[-1:].isdigit() else 0


class Reading(Tx):
    """A connection without a transaction, to look at things with."""

    async def run(self, query: Query, /, **_given: Any) -> int:
        raise RuntimeError(f"{query.name} writes, and only a transaction does")


def _decode(kind: type[T], record: Any) -> T:
    return msgspec.convert(dict(record), type=kind)


async def _prepare(connection: "asyncpg.Connection[Any]") -> None:
    await connection.set_type_codec(
        "jsonb", schema="pg_catalog", format="text", encoder=_encode_json, decoder=msgspec.json.decode
    )


def _encode_json(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


async def _keep(_connection: Any) -> None:
    """Nothing to reset: no code of ours changes a session, and asking the server each time would cost a round trip."""


class Database:
    """A pool of connections to the world's database."""

    def __init__(self, pool: "asyncpg.Pool[Any]", dsn: str, session_dsn: str) -> None:
        self._pool = pool
        self.dsn = dsn
        self.session_dsn = session_dsn
        self._bell: asyncio.Task[None] | None = None

    @classmethod
    async def open(
        cls,
        dsn: str,
        *,
        session_dsn: str = "",
        size: int = 10,
        name: str = "dewpond",
        query_seconds: float | None = 30,
    ) -> "Database":
        """Connect; `size` bounds the connections. `session_dsn` is where `listen` and advisory locks may live.

        A query that takes longer than `query_seconds` is ended; None lets those run on that read a whole book.
        """
        pool = await asyncpg.create_pool(
            dsn,
            min_size=1,
            max_size=size,
            init=_prepare,
            reset=_keep,
            command_timeout=query_seconds,
            server_settings={
                "application_name": name,
                "timezone": "UTC",
                "jit": "off",
                "idle_in_transaction_session_timeout": "60s",
            },
        )
        assert pool is not None
        return cls(pool, dsn, session_dsn or dsn)

    def _ring(self) -> None:
        # At most one notification per process and interval, outside of any transaction: a `notify` inside one
        # would halve the rate of commits.
        if self._bell is None or self._bell.done():
            self._bell = asyncio.create_task(self._notify())

    async def _notify(self) -> None:
        await asyncio.sleep(_BELL_SECONDS)
        try:
            async with self._pool.acquire() as connection:
                await connection.execute(f"notify {BELL}")
        except CONNECTION_LOST:
            pass  # the worker also looks by itself; the bell only makes it faster

    async def close(self) -> None:
        """Ring once more if somebody waits for it, and give back every connection."""
        if self._bell is not None:
            await self._bell
        try:
            async with asyncio.timeout(5):
                await self._pool.close()
        except TimeoutError:
            self._pool.terminate()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Tx]:
        """One transaction, READ COMMITTED, committed when the block ends and rolled back when it raises."""
        async with self._pool.acquire() as connection:
            token = _in_transaction.set(True)
            try:
                async with connection.transaction():
                    tx = Tx(connection)
                    yield tx
            finally:
                _in_transaction.reset(token)
        if tx.wakes:
            self._ring()

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[Reading]:
        """For looking only, and half as dear: without begin and commit, each of which is a round trip.

        Each statement sees what was committed before it began; READ COMMITTED promises no more within a transaction.
        """
        async with self._pool.acquire() as connection:
            token = _in_transaction.set(True)
            try:
                yield Reading(connection)
            finally:
                _in_transaction.reset(token)

    async def session(self) -> "asyncpg.Connection[Any]":
        """A connection of its own for `listen` and session locks; the caller closes it."""
        connection = cast(
            "asyncpg.Connection[Any]",
            await asyncpg.connect(
                self.session_dsn, server_settings={"application_name": "dewpond session", "timezone": "UTC"}
            ),
        )
        await _prepare(connection)
        return connection


def in_transaction() -> bool:
    """Whether this task holds an open transaction; who awaits a batch must not, or the pool could starve."""
    return _in_transaction.get()


def columns(rows: Sequence[Sequence[Any]], width: int) -> list[list[Any]]:
    """Turn rows into the arrays that `unnest` takes; `width` arrays also when there are no rows."""
    return [list(column) for column in zip(*rows, strict=True)] if rows else [[] for _ in range(width)]
