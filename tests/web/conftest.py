"""The sites over real HTTP: servers on sockets of their own, visitors with cookies; Chromium where a test needs it."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx2
import msgspec
import pytest

from browser import chromium, chromium_path
from dewpond import identity, merchants, web
from dewpond.app import create_page_server
from dewpond.identity import How, Person, Realm
from dewpond.kit import clock, worlds
from dewpond.kit.db import Database
from dewpond.merchants import Role, StaffMember

__all__ = ["chromium", "chromium_path"]  # fixtures, found here by their names

Create = Callable[[Any, worlds.World], web.Porch]


@dataclass(frozen=True, slots=True)
class Doors:
    """Where the sites of a module's world are."""

    phone: str
    staff: str


@asynccontextmanager
async def serving(house: Any, world: worlds.World, create: Create, door: str) -> AsyncIterator[str]:
    """A site on a port of its own, under the origin `http://localhost:<port>`, which the world takes for its own."""
    listening = socket.create_server(("127.0.0.1", 0))
    origin = f"http://localhost:{listening.getsockname()[1]}"
    porch = create(house, msgspec.structs.replace(world, **{door: origin}))
    server = create_page_server(porch, proxies=house.settings.trusted_proxies)
    running = asyncio.create_task(server.serve([listening]))
    try:
        yield origin
    finally:
        server.stop()
        await porch.close()
        await asyncio.wait_for(running, 20)


@pytest.fixture(scope="module")
async def doors(house: Any, world: worlds.World, database: Database) -> AsyncIterator[Doors]:
    """Both sites of the module's world."""
    async with (
        serving(house, world, web.create_phone_site, "public_url") as phone,
        serving(house, world, web.create_staff_site, "staff_url") as staff,
    ):
        async with database.transaction() as tx:
            told = worlds.Doors(wire_url=world.wire_url, public_url=phone, staff_url=staff)
            await worlds.set_doors(tx, told)
        yield Doors(phone=phone, staff=staff)


class Client(httpx2.AsyncClient):
    """A visitor's browser, as far as HTTP goes: keeps cookies, sends its origin with forms, follows nothing."""

    def __init__(self, origin: str, **options: Any) -> None:
        headers = {"accept": "text/html", "accept-language": "en"} | options.pop("headers", {})
        super().__init__(base_url=origin, headers=headers, timeout=30, trust_env=False, **options)
        self.origin = origin

    async def send_form(self, path: str, headers: dict[str, str] | None = None, **fields: str) -> httpx2.Response:
        """POST a form as a browser would from a page of this site."""
        return await self.post(path, data=fields, headers={"origin": self.origin} | (headers or {}))


@dataclass
class Visitors:
    """Makes clients that are signed in, by opening sessions as the sites do."""

    doors: Doors
    database: Database
    clients: list[Client] = field(default_factory=list)

    def stranger(self, site: str = "phone", **options: Any) -> Client:
        """Somebody who has not signed in."""
        client = Client(getattr(self.doors, site), **options)
        self.clients.append(client)
        return client

    async def person(self, person: Person, *, is_proven: bool = True, **options: Any) -> Client:
        """Somebody's phone."""
        return await self._signed_in("phone", Realm.PERSON, person.id, is_proven, options)

    async def member(self, member: StaffMember, *, is_proven: bool = True, **options: Any) -> Client:
        """A browser at a shop's counter, or at the desk."""
        return await self._signed_in("staff", Realm.STAFF, member.id, is_proven, options)

    async def _signed_in(self, site: str, realm: Realm, holder_id: Any, is_proven: bool, options: Any) -> Client:
        async with self.database.transaction() as tx:
            _, token = await identity.open_session(
                tx,
                realm,
                holder_id,
                device="Tests",
                address="127.0.0.1",
                how=How.ONE_TAP,
                wall_now=clock.wall_now(),
                is_proven=is_proven,
            )
        client = self.stranger(site, **options)
        client.cookies.set(f"dewpond-{realm}", token)
        return client


@pytest.fixture
async def visitors(doors: Doors, database: Database) -> AsyncIterator[Visitors]:
    """`await visitors.person(alice)`, `await visitors.member(owner)`, `visitors.stranger("staff")`."""
    visitors = Visitors(doors, database)
    yield visitors
    for client in visitors.clients:
        await client.aclose()


NewMember = Callable[..., Awaitable[StaffMember]]


@pytest.fixture(scope="module")
def new_member(world: worlds.World, database: Database) -> NewMember:
    """`await new_member("Mei", shop=shop, role=Role.OWNER)` or `await new_member("Olga", is_operator=True)`."""
    made = 0

    async def make(
        name: str = "Mei", *, shop: Any = None, role: Role = Role.OWNER, is_operator: bool = False
    ) -> StaffMember:
        nonlocal made
        made += 1
        plain = "".join(letter for letter in name.lower() if letter.isascii() and letter.isalnum()) or "staff"
        async with database.transaction() as tx:
            wall = clock.wall_now()
            member = await merchants.create_staff_member(
                tx, f"{plain}-{made}", name, is_operator=is_operator, wall_now=wall
            )
            if shop is not None:
                await merchants.give_role(tx, shop.merchant.id, member.id, role, wall_now=wall)
        return member

    return make
