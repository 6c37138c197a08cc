"""Migrations: plain SQL files in `dewpond/migrations/`, run in the order of their names, forward only.

Alembic keeps the book of what has run and is set up here in code. All that is missing runs in one transaction under an
advisory lock: processes that start at once take turns, and a migration that fails leaves the schema as it was.
"""

import hashlib
from collections.abc import Iterator, Sequence
from importlib.resources import files
from typing import Any, Final

import asyncpg
import msgspec

from dewpond.kit.failures import Failure, Kind

#: Who holds it may change the schema; beside the relay's and the platform's numbers of the house.
_LOCK: Final = (7401, 3)
#: A migration that waits longer for a table would make every query behind it wait as well.
_LOCK_TIMEOUT: Final = "5s"


class RoleMissing(Failure):
    """The application's role does not exist and the owner may not create it; let an administrator do so."""

    code, kind = "role_missing", Kind.UNAVAILABLE


class SchemaBlocked(Failure):
    """Another session holds a table that a migration needs; nothing was changed, try again when it has ended."""

    code, kind = "schema_blocked", Kind.UNAVAILABLE


class SchemaNewer(Failure):
    """This database was made by a newer Dewpond; it is never changed backwards."""

    code, kind = "schema_newer", Kind.UNAVAILABLE


class Migration(msgspec.Struct, frozen=True, kw_only=True):
    """One file: `0004_merchants` and its text."""

    name: str
    text: str


def migrations() -> list[Migration]:
    """Every migration of this Dewpond, in order."""
    found = (file for file in files("dewpond").joinpath("migrations").iterdir() if file.name.endswith(".sql"))
    return [
        Migration(name=file.name.removesuffix(".sql"), text=file.read_text(encoding="utf-8"))
        for file in sorted(found, key=lambda file: file.name)
    ]


def schema_mark() -> str:
    """A short mark of the whole schema: another one as soon as a single character of a migration is another."""
    told = "\0".join(f"{one.name}\0{one.text}" for one in migrations())
    return hashlib.sha256(told.encode()).hexdigest()[:12]


async def pending(dsn: str) -> list[str]:
    """The names of the migrations that this database still lacks."""
    connection = await asyncpg.connect(dsn)
    try:
        return [one.name for one in _missing(await _newest(connection))]
    finally:
        await connection.close()


async def migrate(owner_dsn: str) -> list[str]:
    """Bring the database of `dewpond_owner` up to date; the names of what was run.

    All or nothing. Refuses with `RoleMissing`, `SchemaNewer` and, where a table is held for long, `SchemaBlocked`.
    """
    if not await pending(owner_dsn):
        return []
    await _prepare_role(owner_dsn)
    # Half a second of imports that a world which is up to date never pays.
    from sqlalchemy.ext.asyncio import create_async_engine
    from sqlalchemy.pool import NullPool

    engine = create_async_engine(
        "postgresql+asyncpg://", async_creator=lambda: asyncpg.connect(owner_dsn), poolclass=NullPool
    )
    try:
        async with engine.begin() as connection:
            return await connection.run_sync(_run)
    except asyncpg.LockNotAvailableError as held:
        raise SchemaBlocked(waited=_LOCK_TIMEOUT) from held
    finally:
        await engine.dispose()


async def _newest(connection: "asyncpg.Connection[Any]") -> str | None:
    try:
        name: str | None = await connection.fetchval("select version_num from alembic_version")
    except asyncpg.UndefinedTableError:
        return None
    return name


def _missing(newest: str | None) -> Sequence[Migration]:
    every = migrations()
    names = [one.name for one in every]
    if newest is None:
        return every
    if newest not in names:
        raise SchemaNewer(schema=newest)
    return every[names.index(newest) + 1 :]


async def _prepare_role(owner_dsn: str) -> None:
    connection = await asyncpg.connect(owner_dsn)
    try:
        if await connection.fetchval("select true from pg_roles where rolname = 'dewpond_app'"):
            return
        try:
            await connection.execute("create role dewpond_app login nosuperuser nocreatedb nocreaterole")
        except asyncpg.DuplicateObjectError:
            pass  # another process was first
        except asyncpg.InsufficientPrivilegeError as refused:
            raise RoleMissing(command="create role dewpond_app login password '…'") from refused
    finally:
        await connection.close()


def _run(connection: Any) -> list[str]:
    """Inside one transaction: wait for our turn, then let Alembic run and write down what is missing."""
    from alembic.runtime.migration import MigrationContext, RevisionStep
    from alembic.script.revision import Revision, RevisionMap

    class SqlFile(Revision):
        """A file as Alembic's revision; it is its own module, whose `upgrade` runs the text."""

        def __init__(self, one: Migration, before: str | None) -> None:
            super().__init__(one.name, before)
            self.module = self
            self.text = one.text
            self.doc = one.name

        def upgrade(self) -> None:
            # The raw connection: a prepared statement, which SQLAlchemy would use, holds one command only.
            connection.connection.dbapi_connection.run_async(lambda raw: raw.execute(self.text))

    connection.exec_driver_sql(f"select pg_advisory_xact_lock({_LOCK[0]}, {_LOCK[1]})")
    connection.exec_driver_sql(f"set local lock_timeout = '{_LOCK_TIMEOUT}'")
    every = migrations()
    before = [None, *(one.name for one in every)]
    revision_map = RevisionMap(lambda: [SqlFile(one, name) for one, name in zip(every, before, strict=False)])
    ran: list[str] = []

    def steps(heads: tuple[str, ...], _: MigrationContext) -> Iterator[RevisionStep]:
        if not _missing(heads[0] if heads else None):
            return
        for revision in reversed(list(revision_map.iterate_revisions(every[-1].name, heads[0] if heads else "base"))):
            ran.append(revision.revision)
            yield RevisionStep(revision_map, revision, True)  # type: ignore[arg-type]  # a Script is a Revision

    context = MigrationContext.configure(connection, opts={"fn": steps})
    context.run_migrations()
    # Servers look at it to see whether they fit the database.
    connection.exec_driver_sql("grant select on alembic_version to dewpond_app")
    return ran
