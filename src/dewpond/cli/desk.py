"""The desk: where a command finds the world, by itself, whether or not a server runs."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

import msgspec

from dewpond import merchants, pay
from dewpond.cli.doors import usual_doors
from dewpond.cli.terminal import note, refuse
from dewpond.kit import clock, worlds
from dewpond.kit.db import Database
from dewpond.kit.migrations import migrate, migrations, pending
from dewpond.kit.postgres import Postgres
from dewpond.kit.secrets import KeyFileUnusable, MasterKeys
from dewpond.kit.worlds import Doors, NoWorld, World, WorldKind
from dewpond.settings import Settings, read_settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where the world's database is; `postgres` is our own server, if it is our own."""

    settings: Settings
    dsn: str
    owner_dsn: str
    postgres: Postgres | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """An open world, with everything a command needs."""

    place: Place
    db: Database
    world: World

    @property
    def secrets(self) -> MasterKeys:
        """The world's master keys; `KeyFileUnusable` where they are not."""
        return MasterKeys.load(self.place.settings.key_file)


@contextmanager
def find_place(settings: Settings | None = None, *, make: bool = False) -> Iterator[Place]:
    """The world's database, its server started if it is our own and stopped again if nobody else uses it.

    Without `make` a home in which nothing was ever started is left untouched and refused with `NoWorld`.
    """
    settings = settings or read_settings()
    if settings.database_url:
        yield Place(settings=settings, dsn=settings.database_url, owner_dsn=settings.owner_database_url, postgres=None)
        return
    if not make and not settings.home.exists():
        raise NoWorld(home=settings.home)
    postgres = Postgres(settings.home)
    if not (postgres.data_dir / "PG_VERSION").exists():
        if not make:
            raise NoWorld(home=settings.home)
        note(f"Setting up PostgreSQL in {settings.home} …")
    with postgres:
        yield Place(settings=settings, dsn=postgres.dsn(), owner_dsn=postgres.dsn("dewpond_owner"), postgres=postgres)


@asynccontextmanager
async def open_desk(*, make: bool = False, query_seconds: float | None = 30) -> AsyncIterator[Desk]:
    """The world of this home. With `make` a sandbox world is made where there is none, so that tests can begin.

    `query_seconds` bounds each query; None is for those that read a whole book.
    """
    with find_place(make=make) as place:
        if make:
            world, made = await found_world(place, WorldKind.SANDBOX)
            if made:
                note(f"Made a sandbox world in {place.settings.home}.")
        elif not await has_schema(place):
            raise NoWorld
        db = await Database.open(place.dsn, size=4, name="dewpond terminal", query_seconds=query_seconds)
        try:
            async with db.transaction() as tx:
                world = await worlds.get_world(tx)
            yield Desk(place=place, db=db, world=world)
        finally:
            await db.close()


async def has_schema(place: Place) -> bool:
    """Whether the database has our schema, up to date; an older one is refused: it may hold anything."""
    missing = await pending(place.dsn)
    if missing and len(missing) < len(migrations()):
        refuse(f"The database is older than this Dewpond ({', '.join(missing)} missing): start `dewpond run` once.")
    return not missing


async def found_world(place: Place, kind: WorldKind, *, doors: Doors | None = None) -> tuple[World, bool]:
    """Bring the schema up to date and make the world if there is none; the world, and whether it is new.

    A new world gets a master key (unless its file is there), its platform's keys and the house's accounts, all of it
    or nothing. Several processes may do this at once. An older world keeps its kind.
    """
    await migrate(place.owner_dsn)
    db = await Database.open(place.dsn, size=2, name="dewpond founding")
    try:
        async with db.transaction() as tx:
            try:
                return await worlds.get_world(tx), False
            except NoWorld:
                pass
        secrets = _keys(place.settings)
        wall = clock.wall_now()
        doors = doors or usual_doors(place.settings)
        async with db.transaction() as tx:
            world = await worlds.create_world(tx, kind, wall_now=wall, **msgspec.structs.asdict(doors))
            await worlds.require_durable(tx, world)
            await merchants.prepare_platform(tx, secrets=secrets, wall_now=wall)
            await pay.open_house_accounts(tx, now=world.time(wall))
        return world, True
    finally:
        await db.close()


def _keys(settings: Settings) -> MasterKeys:
    try:
        return MasterKeys.create(settings.key_file)
    except KeyFileUnusable:
        return MasterKeys.load(settings.key_file)  # it is there already; or says why it cannot be used
