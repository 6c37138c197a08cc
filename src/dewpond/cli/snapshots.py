"""Snapshots of a world: backup and restore by PostgreSQL's own tools, and the reset of a sandbox.

A restored or new world is made in a database beside the old one, looked over there, and takes its place by rename:
servers lose their connections for a moment, go on with what they find, and are then started anew.
"""

import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import asyncpg

from dewpond import ledger, merchants
from dewpond.cli.desk import Desk, Place, found_world
from dewpond.cli.running import find_running, reload
from dewpond.cli.terminal import Refused, refuse
from dewpond.kit import clock, worlds
from dewpond.kit.db import Database
from dewpond.kit.migrations import migrate, pending
from dewpond.kit.postgres import Postgres
from dewpond.kit.secrets import MasterKeys
from dewpond.kit.worlds import NoWorld, World, WorldKind

_WORLD: Final = "dewpond"
_NEW: Final = "dewpond_new"
_OLD: Final = "dewpond_old"
_DUMP: Final = b"PGDMP"


async def back_up(place: Place, file: Path) -> None:
    """Write the world into a file in `pg_dump`'s own form, whole or not at all."""
    beside = file.with_name(f".{file.name}.new")
    beside.touch(mode=0o600)
    try:
        _run(_postgres(place), "pg_dump", "--format=custom", f"--file={beside}", f"--dbname={place.owner_dsn}")
        beside.replace(file)
    finally:
        beside.unlink(missing_ok=True)


async def restore(place: Place, file: Path, *, replace_live: bool) -> World:
    """Put a backup in the place of this home's world, if it is sound and its secrets open here.

    Refuses a backup of another kind of world, and to replace a live world without `replace_live`.
    """
    postgres = _own(place)
    with file.open("rb") as dump:
        if dump.read(len(_DUMP)) != _DUMP:
            refuse(f"{file} is not a backup made by `dewpond world backup`.")
    present = await _present(place)
    if present is not None and not present.is_sandbox and not replace_live:
        refuse("This is a live world: its payments since the backup would be lost. Say --yes if that is meant.")
    async with _beside(postgres) as new:
        # As the owner, who is nobody on this machine: a dump is a program.
        _run(
            postgres, "pg_restore", "--no-owner", "--exit-on-error", "--single-transaction",
            f"--dbname={new.owner_dsn}", str(file),
        )  # fmt: skip
        await migrate(new.owner_dsn)
        world = await _look_over(new, present)
        await _swap(postgres)
    reload(place.settings)
    return world


async def reset(place: Place, *, blank: bool) -> World:
    """Begin this home's sandbox anew, with the tea shop unless it is to be blank."""
    from dewpond.cli.demo_world import furnish

    postgres = _own(place)
    present = await _present(place)
    if present is not None and not present.is_sandbox:
        raise worlds.OnlyInSandbox
    running = find_running(place.settings)
    async with _beside(postgres) as new:
        url = "" if present is None else present.public_url
        world, _ = await found_world(new, WorldKind.SANDBOX, public_url=url)
        if not blank and not (running and running.blank):
            db = await Database.open(new.dsn, size=2, name="dewpond reset")
            try:
                await furnish(Desk(place=new, db=db, world=world))
            finally:
                await db.close()
        await _swap(postgres)
    reload(place.settings)
    return world


def _own(place: Place) -> Postgres:
    if place.postgres is None:
        refuse(
            "This world lives on a PostgreSQL that is not Dewpond's own: a database is put in another's place there"
            " with that server's own tools (createdb, pg_restore)."
        )
    return place.postgres


def _postgres(place: Place) -> Postgres:
    return place.postgres or Postgres(place.settings.home)  # for its programs only


async def _present(place: Place) -> World | None:
    if await pending(place.dsn):
        return None
    async with _opened(place) as db, db.transaction() as tx:
        try:
            return await worlds.get_world(tx)
        except NoWorld:
            return None


@asynccontextmanager
async def _opened(place: Place) -> AsyncIterator[Database]:
    db = await Database.open(place.dsn, size=1, name="dewpond snapshots")
    try:
        yield db
    finally:
        await db.close()


async def _look_over(new: Place, present: World | None) -> World:
    """The restored world, if it may take the place of the present one."""
    async with _opened(new) as db, db.transaction() as tx:
        world = await worlds.get_world(tx)
        if present is not None and present.kind is not world.kind:
            refuse(f"The backup is of a {world.kind} world and this one is {present.kind}: restore it in another home.")
        if not (await ledger.trial_balance(tx)).is_sound:
            refuse("The books in this backup do not add up; the world was left as it is.")
        secrets = MasterKeys.load(new.settings.key_file)
        for certificate in await merchants.list_platform_certificates(tx, wall_now=clock.wall_now()):
            certificate.private_key_pem(secrets)  # refuses where it was sealed under a key we do not have
        if present is not None and present.public_url:
            await worlds.set_public_url(tx, present.public_url)
        return await worlds.get_world(tx)


@asynccontextmanager
async def _beside(postgres: Postgres) -> AsyncIterator[Place]:
    """An empty database beside the world's; dropped again unless it took its place."""
    from dewpond.settings import read_settings

    settings = replace(read_settings(), database_url="", owner_database_url="")
    await _on_server(postgres, f"drop database if exists {_NEW} with (force)")
    await _on_server(postgres, f"create database {_NEW} owner dewpond_owner template template0 encoding 'UTF8'")
    try:
        yield Place(
            settings=settings,
            dsn=postgres.dsn("dewpond_app", _NEW),
            owner_dsn=postgres.dsn("dewpond_owner", _NEW),
            postgres=postgres,
        )
    finally:
        await _on_server(postgres, f"drop database if exists {_NEW} with (force)")


async def _swap(postgres: Postgres) -> None:
    """Let the new database take the world's name. The renames are one transaction."""
    server = await asyncpg.connect(postgres.dsn("dewpond_super", "postgres"))
    try:
        await server.execute(f"drop database if exists {_OLD} with (force)")
        for name in (_WORLD, _NEW):
            await server.execute(f"alter database {name} with allow_connections false")
            await server.fetch("select pg_terminate_backend(pid, 5000) from pg_stat_activity where datname = $1", name)
        async with server.transaction():
            await server.execute(f"alter database {_WORLD} rename to {_OLD}")
            await server.execute(f"alter database {_NEW} rename to {_WORLD}")
            await server.execute(f"alter database {_WORLD} with allow_connections true")
        await server.execute(f"drop database {_OLD} with (force)")
    finally:
        await server.execute(f"alter database {_WORLD} with allow_connections true")
        await server.close()


async def _on_server(postgres: Postgres, statement: str) -> None:
    server: asyncpg.Connection[Any] = await asyncpg.connect(postgres.dsn("dewpond_super", "postgres"))
    try:
        await server.execute(statement)
    finally:
        await server.close()


def _run(postgres: Postgres, program: str, *words: str) -> None:
    try:
        done = subprocess.run(
            [str(postgres.program(program)), *words],
            env=postgres.environment(), capture_output=True, text=True, check=False,
        )  # fmt: skip
    except FileNotFoundError:
        raise Refused(f"{program} is not beside this PostgreSQL's programs; install its client package.") from None
    if done.returncode != 0:
        said = " ".join(done.stderr.split())
        refuse(f"{program} failed: {said[:500]}")
