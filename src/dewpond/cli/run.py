"""`dewpond run`: everything at once on this machine — database, servers, worker — and watched."""

import asyncio
import os
import select
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import FrameType
from typing import Annotated

import msgspec
import typer

from dewpond import merchants
from dewpond.cli.desk import Desk, Place, find_place, found_world
from dewpond.cli.doors import OpenDoors, open_doors
from dewpond.cli.family import LOOK_SECONDS, Family
from dewpond.cli.lan import lan_host, prepare_tls
from dewpond.cli.running import RunFile, Running
from dewpond.cli.terminal import note, refuse
from dewpond.cli.welcome import Told, welcome
from dewpond.kit import clock, worlds
from dewpond.kit.db import Database
from dewpond.kit.secrets import MasterKeys
from dewpond.kit.worlds import Doors, World, WorldKind
from dewpond.settings import DEFAULT_PORT, Settings, read_settings

app = typer.Typer()


@app.command(epilog="Example: dewpond run --servers 2")
def run(
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help=f"Port of the wire; {DEFAULT_PORT}, or the next free one.")
    ] = None,
    phone_port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port of people's pages; the next free one.")
    ] = None,
    staff_port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port of the consoles and the desk; the next free one.")
    ] = None,
    servers: Annotated[int, typer.Option(min=1, max=64, help="How many server processes share it.")] = 1,
    bind: Annotated[str, typer.Option(help="Address to listen on; a sandbox stays on loopback by default.")] = "",
    public_url: Annotated[str, typer.Option(help="The origin people open; code links carry it.")] = "",
    wire_url: Annotated[str, typer.Option(help="The origin that merchants' software calls.")] = "",
    staff_url: Annotated[str, typer.Option(help="The origin of the consoles and the desk.")] = "",
    lan: Annotated[
        bool, typer.Option("--lan", help="Let phones on this network in, over https under an authority of our own.")
    ] = False,
    lan_name: Annotated[str, typer.Option(help="The name or address phones use; found by itself otherwise.")] = "",
    blank: Annotated[bool, typer.Option("--blank", help="A sandbox without the tea shop, Alice and Bob.")] = False,
    shop: Annotated[bool, typer.Option("--shop/--no-shop", help="Open the tea shop's own page in a sandbox.")] = True,
    live: Annotated[bool, typer.Option("--live", help="Make a live world: real clock, no sandbox doors.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Say where it runs as one JSON document.")] = False,
) -> None:
    """Start Dewpond here and keep it running until Ctrl-C: PostgreSQL, servers, worker.

    The first run makes the world: a sandbox with a tea shop and two people, unless told otherwise.
    """
    settings = read_settings()
    run_file = RunFile(settings)
    run_file.hold(Running(pid=os.getpid(), blank=blank))
    try:
        urls = _urls(settings, wire_url=wire_url, public_url=public_url, staff_url=staff_url)
        ports = {"wire": port, "phone": phone_port, "staff": staff_port}
        host = lan_host(lan_name) if lan or lan_name else ""
        if host:
            prepare_tls(settings.home, host, wall_now=clock.wall_now())
        with (
            _stopping() as signals,
            find_place(settings, make=True) as place,
            open_doors(bind, ports, urls, lan=host) as opened,
        ):
            running = Running(pid=os.getpid(), url=opened.doors.wire_url, listeners=opened.listeners, blank=blank)
            run_file.tell(running)
            kind = WorldKind.LIVE if live else None
            world = asyncio.run(_prepare(place, kind, opened, blank=blank))
            with ExitStack() as stack:
                house = Family(place, opened, servers, stack, has_shop=shop and world.is_sandbox)
                house.start()
                if not house.wait_until_ready(signals):
                    return
                running = msgspec.structs.replace(running, is_ready=True, neighbours=house.neighbours)
                run_file.tell(running)
                shop_url = house.shop.url if house.shop else ""
                said = Told(access_code=house.access_code, trust_url=opened.trust_url, shop_url=shop_url)
                welcome(place, world, said, json=json)
                _keep_going(house, signals, run_file, running)
    finally:
        run_file.leave()


# --- before -----------------------------------------------------------------------------------------------------------


def _urls(settings: Settings, **wished: str) -> Doors:
    """The origins somebody has named, on the command line or before."""
    return Doors(**{name: (wish or getattr(settings, name)).rstrip("/") for name, wish in wished.items()})


async def _prepare(place: Place, kind: WorldKind | None, opened: OpenDoors, *, blank: bool) -> World:
    doors = opened.doors
    world, made = await found_world(place, kind or WorldKind.SANDBOX, doors=doors)
    if kind is not None and world.kind is not kind:
        refuse(f"The world in {place.settings.home} is a {world.kind} one, and a world's kind is written once.")
    if made:
        note(f"Made a {world.kind} world in {place.settings.home}.")
    secrets = MasterKeys.load(place.settings.key_file)
    db = await Database.open(place.dsn, size=2, name="dewpond run")
    try:
        async with db.transaction() as tx:
            await worlds.require_durable(tx, world)
            worlds.require_safe_doors(world, doors, listens_near=opened.listens_near)
            await worlds.set_doors(tx, doors)
            await merchants.prepare_platform(tx, secrets=secrets, wall_now=clock.wall_now())
            world = await worlds.get_world(tx)
        if world.is_sandbox and not blank:
            from dewpond.cli.demo_world import furnish

            if await furnish(Desk(place=place, db=db, world=world)):
                note("Alice and Bob came in with 200.00 CNY each, and a tea shop opened.")
    finally:
        await db.close()
    return world


# --- while it runs ----------------------------------------------------------------------------------------------------


def _keep_going(family: Family, signals: "_Signals", run_file: RunFile, running: Running) -> None:
    while not signals.stop:
        signals.wait(LOOK_SECONDS)
        if signals.renew:
            signals.renew = False
            run_file.tell(msgspec.structs.replace(running, is_ready=False))
            family.renew()
            if not family.wait_until_ready(signals):
                return
            running = msgspec.structs.replace(running, generation=running.generation + 1)
            run_file.tell(running)
            note("Servers and worker were started anew.")
        family.look()
    note("Stopping …")


class _Signals:
    """What was asked of us from outside."""

    def __init__(self, wakes: int) -> None:
        self.stop = False
        self.renew = False
        self._wakes = wakes

    def wait(self, seconds: float) -> None:
        """A pause that a signal cuts short."""
        if select.select([self._wakes], [], [], seconds)[0]:
            os.read(self._wakes, 64)

    def heard(self, number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGUSR1:
            self.renew = True
        else:
            self.stop = True


@contextmanager
def _stopping() -> Iterator[_Signals]:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    os.set_blocking(reading, False)
    signals = _Signals(reading)
    before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGUSR1):
        signal.signal(number, signals.heard)
    try:
        yield signals
    finally:
        signal.set_wakeup_fd(before)
        os.close(reading)
        os.close(writing)
