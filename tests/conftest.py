"""What every test stands on: one PostgreSQL for the whole run, one database per module, no way out of this machine.

Async tests and fixtures run by anyio's plugin on asyncio, one loop per module; `async def test_…` is all it takes.
Everything is committed, so each test makes its own merchants and people.
"""

import asyncio
import hashlib
import inspect
import os
import re
import socket
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any, NoReturn

import asyncpg
import hypothesis
import pytest

from dewpond import merchants, pay
from dewpond.identity import Person, create_person, set_pin
from dewpond.kit import clock, crypto, worlds
from dewpond.kit.db import Database
from dewpond.kit.migrations import migrate, schema_mark
from dewpond.kit.money import Money
from dewpond.kit.postgres import Postgres
from dewpond.kit.secrets import MasterKeys
from dewpond.kit.worlds import WorldKind
from dewpond.settings import Settings

#: Every person of the tests pays with it.
PIN = "123456"

# Examples are checked, not timed: a slow machine is no counterexample.
hypothesis.settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("any machine")

# --- no way out -------------------------------------------------------------------------------------------------------

_real_connect = socket.socket.connect


def _connect(self: socket.socket, address: Any) -> None:
    if self.family in (socket.AF_INET, socket.AF_INET6) and not ip_address(address[0].partition("%")[0]).is_loopback:
        _refuse(address)
    _real_connect(self, address)


def _refuse(address: Any) -> NoReturn:
    raise AssertionError(f"tests talk to this machine only, not to {address}")


# Patched for the whole run: every client, also those inside of libraries, goes through it.
socket.socket.connect = _connect  # type: ignore[method-assign, assignment]


# --- async tests ------------------------------------------------------------------------------------------------------


@pytest.hookimpl(tryfirst=True)
def pytest_pycollect_makeitem(collector: pytest.Module | pytest.Class, name: str, obj: Any) -> None:
    """Let every coroutine test run under anyio, without a mark on each."""
    if collector.istestfunction(obj, name):
        inner = obj.hypothesis.inner_test if hasattr(obj, "hypothesis") else obj
        if inspect.iscoroutinefunction(inner):
            pytest.mark.anyio(obj)


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


# --- the cluster, shared by all workers of all runs that go on at once ------------------------------------------------


def _test_home() -> Path:
    mark = hashlib.sha256(f"{Path(__file__).parent}".encode()).hexdigest()[:8]
    return Path(tempfile.gettempdir()) / f"dewpond-tests-{os.getuid()}-{mark}"


@pytest.fixture(scope="session")
def cluster() -> Iterator[Postgres]:
    """A server without fsync; it stays set up for the next run, and stops with the last worker."""
    home = _test_home()
    home.mkdir(mode=0o755, exist_ok=True)
    home.chmod(0o755)
    options = {"fsync": "off", "full_page_writes": "off", "shared_buffers": "128MB", "autovacuum_naptime": "10s"}
    with Postgres(home, options=options) as postgres:
        yield postgres


@pytest.fixture(scope="session")
def template(cluster: Postgres) -> str:
    """The name of a database with the whole schema in it, from which the modules' databases are copied."""
    return asyncio.run(_make_template(cluster))


async def _make_template(cluster: Postgres) -> str:
    name = f"template_{schema_mark()}"
    server = await asyncpg.connect(cluster.dsn("dewpond_super", "postgres"))
    try:
        await server.execute("select pg_advisory_lock(7401)")
        found = [row[0] for row in await server.fetch("select datname from pg_database")]
        for left in found:
            owner = re.fullmatch(r"test_(\d+)_.*", left)
            if (owner and not _lives(int(owner[1]))) or left == f"{name}_new":
                await server.execute(f'drop database "{left}" with (force)')
        if name not in found:
            await server.execute(f'create database "{name}_new" owner dewpond_owner template template0')
            await migrate(cluster.dsn("dewpond_owner", f"{name}_new"))
            await server.execute(f'alter database "{name}_new" rename to "{name}"')
    finally:
        await server.close()
    return name


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


async def _on_server(cluster: Postgres, statement: str) -> None:
    server = await asyncpg.connect(cluster.dsn("dewpond_super", "postgres"))
    try:
        await server.execute(statement)
    finally:
        await server.close()


@pytest.fixture(scope="module")
def database_name(cluster: Postgres, template: str, request: pytest.FixtureRequest) -> Iterator[str]:
    """A fresh database of this module's own, with the schema and nothing in it."""
    mark = hashlib.sha256(request.node.nodeid.encode()).hexdigest()[:8]
    name = f"test_{os.getpid()}_{mark}"
    asyncio.run(_on_server(cluster, f'create database "{name}" owner dewpond_owner template "{template}"'))
    yield name
    asyncio.run(_on_server(cluster, f'drop database "{name}" with (force)'))


@pytest.fixture(scope="module")
def dsn(cluster: Postgres, database_name: str) -> str:
    """The module's database, as the application's role."""
    return cluster.dsn("dewpond_app", database_name)


@pytest.fixture(scope="module")
def owner_dsn(cluster: Postgres, database_name: str) -> str:
    """The module's database, as the role that owns the schema."""
    return cluster.dsn("dewpond_owner", database_name)


@pytest.fixture(scope="module")
async def database(anyio_backend: str, dsn: str) -> AsyncIterator[Database]:
    """A pool of the application's role."""
    database = await Database.open(dsn, size=10, name="tests")
    yield database
    await database.close()


# --- a world in it ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def settings(cluster: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Settings with a home and a master key of this run."""
    home = tmp_path_factory.mktemp("home")
    settings = Settings(home=home)
    MasterKeys.create(settings.key_file)
    return settings


@pytest.fixture(scope="session")
def secrets(settings: Settings) -> MasterKeys:
    return MasterKeys.load(settings.key_file)


@pytest.fixture(scope="module")
async def world(database: Database, secrets: MasterKeys) -> worlds.World:
    """A sandbox world in the module's database, with its platform's keys and the house's accounts."""
    wall = clock.wall_now()
    async with database.transaction() as tx:
        world = await worlds.create_world(tx, WorldKind.SANDBOX, public_url="http://localhost:8601", wall_now=wall)
        await merchants.prepare_platform(tx, secrets=secrets, wall_now=wall)
        await pay.open_house_accounts(tx, now=world.time(wall))
    return world


@pytest.fixture(scope="module")
def taken_for_durable() -> Iterator[None]:
    """A live world may be served although the tests' server runs without fsync."""
    from dewpond.kit.db import Query

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(worlds.sql, "server_durability", Query("server_durability", "select true", ()))
        yield


@pytest.fixture(scope="module")
async def house(world: worlds.World, settings: Settings, dsn: str) -> AsyncIterator[Any]:
    """The house as servers and workers open it."""
    from dewpond.wiring import open_house

    doors = [("127.0.0.1", 8601)]
    async with open_house(settings, dsn=dsn, name="tests", pool_size=10, listeners=doors) as house:
        yield house


@pytest.fixture(scope="session")
def merchant_key_pem() -> bytes:
    """One private key for all merchants of a run: making one takes some tenths of a second."""
    return crypto.new_private_key_pem()


@dataclass(frozen=True, slots=True, kw_only=True)
class Shop:
    """A merchant with everything its software needs."""

    merchant: merchants.Merchant
    app: merchants.App
    api_v3_key: str
    private_key_pem: bytes
    certificate: merchants.Certificate
    public_key: merchants.PlatformKey
    platform_certificate: merchants.PlatformKey


NewPerson = Callable[..., Awaitable[Person]]
NewMerchant = Callable[..., Awaitable[Shop]]


@pytest.fixture(scope="module")
def new_person(world: worlds.World, database: Database, secrets: MasterKeys) -> NewPerson:
    """`await new_person("Alice", "100.00")`: somebody with a PIN and some money."""

    async def make(name: str = "Alice", balance: str | Money = "0", *, pin: str | None = PIN) -> Person:
        amount = balance if isinstance(balance, Money) else Money.parse(balance)
        async with database.transaction() as tx:
            now = await worlds.read_clocks(tx)
            person = await create_person(tx, name, wall_now=now.wall, is_demo=True)
            if pin is not None:
                await set_pin(tx, person.id, pin, secrets=secrets, wall_now=now.wall)
            await pay.open_wallets(tx, [person.id], now=now)
            if amount.minor:
                await pay.top_up(tx, person.id, amount, now=now)
        return person

    return make


@pytest.fixture(scope="module")
def new_merchant(world: worlds.World, database: Database, secrets: MasterKeys, merchant_key_pem: bytes) -> NewMerchant:
    """`await new_merchant()`: a merchant with an app, a certificate, an API v3 key and accounts."""

    async def make(
        name: str = "Tea Shop",
        *,
        fee_rate_bp: int = 60,
        key_mode: merchants.KeyMode = merchants.KeyMode.CERTIFICATE,
    ) -> Shop:
        async with database.transaction() as tx:
            now = await worlds.read_clocks(tx)
            onboarded = await merchants.onboard_merchant(
                tx, name, secrets=secrets, wall_now=now.wall, fee_rate_bp=fee_rate_bp, key_mode=key_mode
            )
            csr = crypto.certificate_signing_request(merchant_key_pem, onboarded.merchant.number)
            certificate = await merchants.issue_certificate(
                tx, onboarded.merchant, csr, secrets=secrets, wall_now=now.wall
            )
            await pay.open_merchant_accounts(tx, onboarded.merchant.id, now=now)
        told = {field: getattr(onboarded, field) for field in onboarded.__struct_fields__}
        return Shop(private_key_pem=merchant_key_pem, certificate=certificate, **told)

    return make
