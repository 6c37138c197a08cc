"""Snapshots of a world: backup and restore by PostgreSQL's own tools, and the reset of a sandbox.

A restored or new world is made in a database beside the old one, looked over there, and takes its place by rename:
servers lose their connections for a moment, go on with what they find, and are then started anew.
"""

import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

import asyncpg

from dewpond import ledger, merchants
from dewpond.cli.desk import Desk, Place, found_world, has_schema
from dewpond.cli.running import find_running, reload
from dewpond.cli.seals import check_seal, seal
from dewpond.cli.terminal import Refused, refuse
from dewpond.kit import clock, worlds
from dewpond.kit.db import Database
from dewpond.kit.migrations import migrate
from dewpond.kit.postgres import SWAP_LOCK, Postgres
from dewpond.kit.secrets import MasterKeys
from dewpond.kit.worlds import NoWorld, World, WorldKind

_WORLD: Final = "dewpond"
_NEW: Final = "dewpond_new"
_OLD: Final = "dewpond_old"
#: Two at once would take each other's new database for their own.
_ONE_AT_A_TIME: Final = "select pg_try_advisory_lock(7401, 6)"


async def back_up(place: Place, file: Path) -> None:
    """Write the world into a file in `pg_dump`'s own form, sealed (`seals.py`), whole or not at all."""
    keys = MasterKeys.load(place.settings.key_file)
    beside = file.with_name(f".{file.name}.new")
    beside.touch(mode=0o600)
    try:
        _run(place, "pg_dump", place.owner_dsn, "--format=custom", f"--file={beside}")
        seal(beside, keys)
        beside.replace(file)
    finally:
        beside.unlink(missing_ok=True)


async def restore(place: Place, file: Path, *, replace_live: bool) -> World:
    """Put a backup in the place of this home's world, if it is sound and its secrets open here.

    Refuses a file that was altered, a backup of another kind of world, and to replace a live world without
    `replace_live`.
    """
    postgres = _own(place)
    check_seal(file, place.settings.key_file)
    present = await _present(place)
    if present is not None and not present.is_sandbox and not replace_live:
        refuse("This is a live world: its payments since the backup would be lost. Say --yes if that is meant.")
    async with _beside(postgres) as (new, server):
        # As the owner, who is nobody on this machine: a dump is a program.
        words = ("--no-owner", "--exit-on-error", "--single-transaction", str(file))
        _run(new, "pg_restore", new.owner_dsn, *words)
        await migrate(new.owner_dsn)
        world = await _look_over(new, present)
        await _swap(server)
    reload(place.settings)
    return world


async def reset(place: Place, *, blank: bool) -> World:
    """Begin this home's sandbox anew, with the tea shop unless it is to be blank."""
    from dewpond.cli.demo_world import furnish, shop_folder

    postgres = _own(place)
    present = await _present(place)
    if present is not None and not present.is_sandbox:
        raise worlds.OnlyInSandbox
    running = find_running(place.settings)
    keys = shop_folder(place.settings)
    fresh_keys = keys.with_name(f"{keys.name}.new")
    shutil.rmtree(fresh_keys, ignore_errors=True)  # of a reset that failed
    async with _beside(postgres) as (new, server):
        world, _ = await found_world(new, WorldKind.SANDBOX, doors=None if present is None else present.doors)
        if not blank and not (running and running.blank):
            async with _opened(new) as db:
                await furnish(Desk(place=new, db=db, world=world), fresh_keys)
        await _swap(server)
    # Not before: had the swap failed, the world would have lost the only copy of its shop's keys.
    shutil.rmtree(keys, ignore_errors=True)
    if fresh_keys.exists():
        fresh_keys.rename(keys)
    reload(place.settings)
    return world


def _own(place: Place) -> Postgres:
    if place.postgres is None:
        refuse(
            "This world lives on a PostgreSQL that is not Dewpond's own: a database is put in another's place there"
            " with that server's own tools (createdb, pg_restore)."
        )
    return place.postgres


async def _present(place: Place) -> World | None:
    """The world that is to be replaced. Refused where it cannot be read: what is not known is not overwritten."""
    if not await has_schema(place):
        return None
    async with _opened(place) as db, db.transaction() as tx:
        try:
            return await worlds.get_world(tx)
        except NoWorld:
            return None


@asynccontextmanager
async def _opened(place: Place) -> AsyncIterator[Database]:
    db = await Database.open(place.dsn, size=2, name="dewpond snapshots", query_seconds=None)  # it adds up whole books
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
        if present is not None and present.wire_url:
            await worlds.set_doors(tx, present.doors)
        return await worlds.get_world(tx)


@asynccontextmanager
async def _beside(postgres: Postgres) -> AsyncIterator[tuple[Place, "asyncpg.Connection[Any]"]]:
    """An empty database beside the world's, dropped again unless it took its place, and a session on the server."""
    from dewpond.settings import read_settings

    settings = replace(read_settings(), database_url="", owner_database_url="")
    server: asyncpg.Connection[Any] = await asyncpg.connect(postgres.dsn("dewpond_super", "postgres"))
    try:
        if not await server.fetchval(_ONE_AT_A_TIME):
            refuse("Another restore or reset goes on in this home; wait until it has ended.")
        await server.execute(f"drop database if exists {_NEW} with (force)")
        await server.execute(f"create database {_NEW} owner dewpond_owner template template0 encoding 'UTF8'")
        try:
            yield (
                Place(
                    settings=settings,
                    dsn=postgres.dsn("dewpond_app", _NEW),
                    owner_dsn=postgres.dsn("dewpond_owner", _NEW),
                    postgres=postgres,
                ),
                server,
            )
        finally:
            await server.execute(f"drop database if exists {_NEW} with (force)")
    finally:
        await server.close()


async def _swap(server: "asyncpg.Connection[Any]") -> None:
    """Let the new database take the world's name. The renames are one transaction.

    Who is killed in between leaves the world without doors: whoever starts next opens them again (`kit/postgres.py`),
    and waits for the lock before.
    """
    await server.execute(f"drop database if exists {_OLD} with (force)")
    await server.execute(SWAP_LOCK)
    try:
        for name in (_WORLD, _NEW):
            await server.execute(f"alter database {name} with allow_connections false")
            await server.fetch("select pg_terminate_backend(pid, 5000) from pg_stat_activity where datname = $1", name)
        async with server.transaction():
            await server.execute(f"alter database {_WORLD} rename to {_OLD}")
            await server.execute(f"alter database {_NEW} rename to {_WORLD}")
            await server.execute(f"alter database {_WORLD} with allow_connections true")
    finally:
        await server.execute(f"alter database {_WORLD} with allow_connections true")
    with suppress(asyncpg.PostgresError):  # the next swap drops it as well
        await server.execute(f"drop database {_OLD} with (force)")


def _run(place: Place, program: str, dsn: str, *words: str) -> None:
    """Run one of PostgreSQL's programs on a database. The password goes by the environment: the list of processes is
    everybody's to read."""
    postgres = place.postgres or Postgres(place.settings.home)  # for its programs only
    # Another server is found as we found it, by the operator's own PGPASSFILE and the like.
    environ = postgres.environment() if place.postgres else dict(os.environ) | {"LC_ALL": "C"}
    dsn, password = _without_password(dsn)
    if password:
        environ["PGPASSWORD"] = password
    try:
        done = subprocess.run(
            [str(postgres.program(program)), f"--dbname={dsn}", *words],
            env=environ, capture_output=True, text=True, check=False,
        )  # fmt: skip
    except FileNotFoundError:
        raise Refused(f"{program} is not beside this PostgreSQL's programs; install its client package.") from None
    if done.returncode != 0:
        said = " ".join(done.stderr.split())
        refuse(f"{program} failed: {said[:500]}")


def _without_password(dsn: str) -> tuple[str, str]:
    """A DSN taken apart: without its password, wherever it stood, and the password."""
    parts = urlsplit(dsn)  # its counterpart would lose the slashes of a DSN without a host
    who, at, where = parts.netloc.rpartition("@")
    name, _, quoted = who.partition(":")
    asked = parse_qsl(parts.query, keep_blank_values=True)
    passwords = [unquote(quoted), *(value for key, value in asked if key == "password")]
    query = urlencode([(key, value) for key, value in asked if key != "password"], quote_via=quote)
    bare = f"{parts.scheme}://{name}{at}{where}{parts.path}" + (f"?{query}" if query else "")
    return bare, next(filter(None, passwords), "")
