"""The world: one running Dewpond, with its kind written once and its clock.

live      real clock, real people; sandbox doors are shut
sandbox   a clock that can be frozen and moved, and doors that tests need
"""

from datetime import datetime, timedelta
from enum import StrEnum
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit
from uuid import UUID

import msgspec

from dewpond.kit import clock
from dewpond.kit.clock import Now
from dewpond.kit.db import Tx, queries
from dewpond.kit.failures import Failure, Kind
from dewpond.kit.ids import new_id

sql = queries(__file__)

_FREEZE_AHEAD: Final = timedelta(seconds=1)


class WorldKind(StrEnum):
    """What a world is for; written once, held by a trigger."""

    LIVE = "live"
    SANDBOX = "sandbox"


class NoWorld(Failure):
    """This database holds no world yet; `dewpond run` makes one."""

    code, kind = "no_world", Kind.NOT_FOUND


class OnlyInSandbox(Failure):
    """That door is open in sandbox worlds only."""

    code, kind = "only_in_sandbox", Kind.FORBIDDEN


class ClockCannotGoBack(Failure):
    """World time only moves forward."""

    code, kind = "clock_cannot_go_back", Kind.INVALID


class NotDurable(Failure):
    """A live world needs a server with fsync and synchronous_commit on."""

    code, kind = "not_durable", Kind.UNAVAILABLE


class DoorsUnsafe(Failure):
    """A live world's pages are served over https, and people and staff have an origin each."""

    code, kind = "doors_unsafe", Kind.UNAVAILABLE


class Doors(msgspec.Struct, frozen=True, kw_only=True):
    """Where a world is entered, each by its origin; empty where a door was never opened."""

    #: What merchants' software calls.
    wire_url: str
    #: What people open: the origin of code links, and their relying party.
    public_url: str
    #: What staff open: the merchants' consoles and the operator's desk.
    staff_url: str = ""

    @property
    def are_near(self) -> bool:
        """Whether each is named as only this machine can reach it."""
        return all(is_near(url) for url in (self.wire_url, self.public_url, self.staff_url) if url)


class World(msgspec.Struct, frozen=True, kw_only=True):
    """The world's row."""

    id: UUID
    kind: WorldKind
    created_at: datetime
    #: The origin of code links, as the running server last said it; so are the two below.
    public_url: str
    clock_offset: timedelta
    frozen_at: datetime | None
    wire_url: str = ""
    staff_url: str = ""

    @property
    def doors(self) -> Doors:
        return Doors(wire_url=self.wire_url, public_url=self.public_url, staff_url=self.staff_url)

    def time(self, wall: datetime) -> Now:
        """Both clocks, for a reading of the wall clock."""
        return Now(world=clock.world_time(wall, offset=self.clock_offset, frozen_at=self.frozen_at), wall=wall)

    @property
    def is_sandbox(self) -> bool:
        return self.kind is WorldKind.SANDBOX


class Server(msgspec.Struct, frozen=True, kw_only=True):
    """The database server under the world."""

    version: str
    fsync: str
    synchronous_commit: str
    bytes: int

    @property
    def is_durable(self) -> bool:
        """Whether what was acknowledged outlives a power failure."""
        return self.fsync == "on" and self.synchronous_commit != "off"


async def create_world(
    tx: Tx, kind: WorldKind, *, public_url: str, wall_now: datetime, wire_url: str = "", staff_url: str = ""
) -> World:
    """Make the world if there is none; otherwise the one that is there, its kind unchanged.

    Without a `wire_url` of its own the wire is at the public one.
    """
    doors = Doors(wire_url=wire_url or public_url, public_url=public_url, staff_url=staff_url)
    await tx.run(sql.create_world, id=new_id(), kind=kind, created_at=wall_now, **msgspec.structs.asdict(doors))
    return await get_world(tx)


async def get_world(tx: Tx) -> World:
    """The world of this database, or `NoWorld`."""
    world = await tx.row(World, sql.find_world)
    if world is None:
        raise NoWorld
    return world


async def read_clocks(tx: Tx) -> Now:
    """Both clocks, once; the reading is passed on to every verb of this request or job."""
    return (await get_world(tx)).time(clock.wall_now())


async def require_sandbox(tx: Tx) -> World:
    """The world, if sandbox doors are open in it; else `OnlyInSandbox`."""
    world = await get_world(tx)
    if not world.is_sandbox:
        raise OnlyInSandbox
    return world


async def require_durable(tx: Tx, world: World) -> None:
    """Refuse to serve a live world on a server that may lose acknowledged commits."""
    if not world.is_sandbox and not await tx.value(sql.server_durability):
        raise NotDurable


def require_safe_doors(world: World, doors: Doors, *, listens_near: bool) -> None:
    """Refuse to open a live world's pages over http, or people's and staff's under one origin (`DoorsUnsafe`).

    Where only this machine can come in (`listens_near`) and the origin says so, http has nobody to be read by; browsers
    take loopback for secure too.
    """
    if world.is_sandbox:
        return
    for url in (doors.public_url, doors.staff_url):
        if not url.startswith("https://") and not (listens_near and is_near(url)):
            raise DoorsUnsafe(url=url)
    if doors.public_url == doors.staff_url:
        raise DoorsUnsafe(url=doors.staff_url)


def is_near(url: str) -> bool:
    """Whether only this machine can open this origin, by its name."""
    name = urlsplit(url).hostname or ""
    try:
        return name == "localhost" or ip_address(name).is_loopback
    except ValueError:
        return False


async def read_server(tx: Tx) -> Server:
    """What the database server says of itself."""
    server = await tx.row(Server, sql.read_server)
    assert server is not None
    return server


async def set_doors(tx: Tx, doors: Doors) -> None:
    """Tell the world where it can be reached now."""
    await tx.run(sql.set_doors, **msgspec.structs.asdict(doors))


async def freeze_clock(tx: Tx, *, wall_now: datetime) -> World:
    """Stop world time, a second ahead; again is no change.

    Ahead, because others have read the running clock and not yet committed what they do: nothing that is due at their
    moment may lie beyond the frozen one.
    """
    await require_sandbox(tx)
    world = await _lock(tx)
    if world.frozen_at is None:
        frozen_at = world.time(wall_now).world + _FREEZE_AHEAD
        await tx.run(sql.set_clock, clock_offset=world.clock_offset, frozen_at=frozen_at)
    return await get_world(tx)


async def thaw_clock(tx: Tx, *, wall_now: datetime) -> World:
    """Let world time run again from where it stood."""
    await require_sandbox(tx)
    world = await _lock(tx)
    if world.frozen_at is not None:
        await tx.run(sql.set_clock, clock_offset=world.frozen_at - wall_now, frozen_at=None)
    return await get_world(tx)


async def move_clock(tx: Tx, to: datetime, *, wall_now: datetime) -> World:
    """Set world time to `to`; a frozen clock stays frozen there. Going back is refused."""
    await require_sandbox(tx)
    world = await _lock(tx)
    if to < world.time(wall_now).world:
        raise ClockCannotGoBack(to=to.isoformat())
    if world.frozen_at is not None:
        await tx.run(sql.set_clock, clock_offset=world.clock_offset, frozen_at=to)
    else:
        await tx.run(sql.set_clock, clock_offset=to - wall_now, frozen_at=None)
    return await get_world(tx)


async def _lock(tx: Tx) -> World:
    world = await tx.row(World, sql.lock_world)
    if world is None:
        raise NoWorld
    return world
