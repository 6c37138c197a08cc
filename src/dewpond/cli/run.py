"""`dewpond run`: everything at once on this machine — database, servers, worker — and watched."""

import asyncio
import errno
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection, HTTPException
from ipaddress import ip_address
from types import FrameType
from typing import Annotated, Final

import msgspec
import typer

from dewpond import merchants
from dewpond.cli.children import STOP_SECONDS, Child, child_words
from dewpond.cli.desk import Desk, Place, find_place, found_world
from dewpond.cli.paper import Paper
from dewpond.cli.running import RunFile, Running
from dewpond.cli.terminal import note, refuse
from dewpond.kit import clock, worlds
from dewpond.kit.db import Database
from dewpond.kit.postgres import PostgresUnavailable
from dewpond.kit.secrets import MasterKeys
from dewpond.kit.worlds import World, WorldKind
from dewpond.settings import DEFAULT_PORT, Settings, read_settings

app = typer.Typer()

_LOOK_SECONDS: Final = 0.1
_READY_SECONDS: Final = 60.0
_PORTS_TRIED: Final = 50


@app.command(epilog="Example: dewpond run --servers 2")
def run(
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help=f"Port of the wire; {DEFAULT_PORT}, or the next free one.")
    ] = None,
    servers: Annotated[int, typer.Option(min=1, max=64, help="How many server processes share it.")] = 1,
    bind: Annotated[str, typer.Option(help="Address to listen on; a sandbox stays on loopback by default.")] = "",
    public_url: Annotated[str, typer.Option(help="The origin that code links and merchants carry.")] = "",
    blank: Annotated[bool, typer.Option("--blank", help="A sandbox without the tea shop, Alice and Bob.")] = False,
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
        with _stopping() as signals, find_place(settings, make=True) as place, _listen(bind, port) as listening:
            url = (public_url or settings.public_url or _url(listening)).rstrip("/")
            door: tuple[str, int] = listening.getsockname()[:2]
            running = Running(pid=os.getpid(), url=url, listeners=(door,), blank=blank)
            run_file.tell(running)
            kind = WorldKind.LIVE if live else None
            world = asyncio.run(_prepare(place, kind, url, blank=blank))
            with ExitStack() as stack:
                house = _Family(place, listening, servers, stack)
                house.start()
                if not house.wait_until_ready(signals):
                    return
                running = msgspec.structs.replace(running, is_ready=True)
                run_file.tell(running)
                _welcome(place, world, url, blank=blank, json=json)
                _keep_going(house, signals, run_file, running)
    finally:
        run_file.leave()


# --- before -----------------------------------------------------------------------------------------------------------


async def _prepare(place: Place, kind: WorldKind | None, url: str, *, blank: bool) -> World:
    world, made = await found_world(place, kind or WorldKind.SANDBOX, public_url=url)
    if kind is not None and world.kind is not kind:
        refuse(f"The world in {place.settings.home} is a {world.kind} one, and a world's kind is written once.")
    if made:
        note(f"Made a {world.kind} world in {place.settings.home}.")
    secrets = MasterKeys.load(place.settings.key_file)
    db = await Database.open(place.dsn, size=2, name="dewpond run")
    try:
        async with db.transaction() as tx:
            await worlds.require_durable(tx, world)
            await worlds.set_public_url(tx, url)
            await merchants.prepare_platform(tx, secrets=secrets, wall_now=clock.wall_now())
            world = await worlds.get_world(tx)
        if world.is_sandbox and not blank:
            from dewpond.cli.demo_world import furnish

            if await furnish(Desk(place=place, db=db, world=world)):
                note("Alice and Bob came in with 200.00 CNY each, and a tea shop opened.")
    finally:
        await db.close()
    return world


@contextmanager
def _listen(bind: str, port: int | None) -> Iterator[socket.socket]:
    """The listening socket, bound once for all servers; without a wish the next free port is taken."""
    host = bind or "127.0.0.1"
    try:
        family = socket.AF_INET6 if ip_address(host).version == 6 else socket.AF_INET
    except ValueError:
        refuse(f"--bind takes an address like 0.0.0.0 or 192.168.1.10, not {host!r}.")
    wanted = [port] if port is not None else list(range(DEFAULT_PORT, DEFAULT_PORT + _PORTS_TRIED))
    for tried in wanted:
        listening = socket.socket(family, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((host, tried))
            listening.listen(1024)
        except OSError as error:
            listening.close()
            if error.errno == errno.EADDRINUSE:
                continue
            refuse(f"Nothing can listen on {host}:{tried}: {os.strerror(error.errno or 0)}.")
        with listening:
            yield listening
        return
    refuse(f"Port {wanted[0]} is taken; say another one with --port.")


def _url(listening: socket.socket) -> str:
    return f"http://localhost:{listening.getsockname()[1]}"


# --- while it runs ----------------------------------------------------------------------------------------------------


class _Family:
    """The servers and the worker of one run."""

    def __init__(self, place: Place, listening: socket.socket, servers: int, stack: ExitStack) -> None:
        self._place = place
        self._listening = listening
        self._lifeline, keep = os.pipe()
        stack.callback(os.close, keep)  # closed when we end, however: then the children end too
        stack.callback(os.close, self._lifeline)
        home = place.settings.home if place.postgres else None
        logs = place.settings.home / "logs"
        environ = self._environ(place.settings)
        self._servers = [
            Child(f"server {n}", child_words("dewpond.app", self._lifeline, home), environ=environ,
                  log=logs / f"server-{n}.log")
            for n in range(1, servers + 1)
        ]  # fmt: skip
        worker = Child(
            "worker", child_words("dewpond.worker", self._lifeline, home), environ=environ, log=logs / "worker.log"
        )
        self._children = [*self._servers, worker]
        stack.callback(self.stop)

    def _environ(self, settings: Settings) -> dict[str, str]:
        host, port = self._listening.getsockname()[:2]
        told = {
            "DEWPOND_HOME": str(settings.home),
            "DEWPOND_DATABASE_URL": self._place.dsn,
            # Settings ask for both; a server has no business with the owner's.
            "DEWPOND_OWNER_DATABASE_URL": self._place.dsn,
            "DEWPOND_LISTEN_FD": str(self._listening.fileno()),
            "DEWPOND_LISTENERS": f"[{host}]:{port}" if ":" in host else f"{host}:{port}",
        }
        return dict(os.environ) | told

    @property
    def _fds(self) -> tuple[int, int]:
        return self._lifeline, self._listening.fileno()

    def start(self) -> None:
        for child in self._children:
            child.start(self._fds)

    def look(self) -> None:
        """One look at everybody: the dead are started again, warnings are passed on."""
        if self._place.postgres is not None:
            try:
                if self._place.postgres.ensure():
                    note("PostgreSQL had died; it is up again.")
            except PostgresUnavailable as error:
                note(f"{error} Trying again.")
        for child in self._children:
            if told := child.look(self._fds):
                note(told)
            if alarm := child.alarm():
                note(alarm)

    def wait_until_ready(self, signals: "_Signals") -> bool:
        """Until the wire answers; False if we were told to stop before."""
        until = time.monotonic() + _READY_SECONDS
        while not self._answers():
            if signals.stop:
                return False
            if time.monotonic() > until:
                refuse(f"The servers do not answer; read {self._servers[0].log}.")
            self.look()
            signals.wait(_LOOK_SECONDS)
        return True

    def _answers(self) -> bool:
        host, port = self._listening.getsockname()[:2]
        near = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - read, not bound
        connection = HTTPConnection(near, port, timeout=1)
        try:
            connection.request("GET", "/v3/certificates")
            return connection.getresponse().getheader("Request-ID") is not None
        except (OSError, HTTPException):
            return False
        finally:
            connection.close()

    def renew(self) -> None:
        """End everybody, to be started anew by the next looks."""
        self.stop()
        self.start()

    def stop(self) -> None:
        """Ask everybody to finish, and see to it that they do."""
        until = time.monotonic() + STOP_SECONDS
        for child in self._children:
            child.terminate()
        for child in self._children:
            child.finish(until)


def _keep_going(family: _Family, signals: "_Signals", run_file: RunFile, running: Running) -> None:
    while not signals.stop:
        signals.wait(_LOOK_SECONDS)
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


# --- what it says -----------------------------------------------------------------------------------------------------


def _welcome(place: Place, world: World, url: str, *, blank: bool, json: bool) -> None:
    from dewpond.cli.demo_world import shop_folder
    from dewpond.cli.terminal import answer_json

    settings = place.settings
    keys = shop_folder(settings)
    has_shop = world.is_sandbox and (keys / "merchant.json").exists()
    if json:
        told = {"ready": True, "url": url, "kind": world.kind, "home": str(settings.home), "pid": os.getpid()}
        if has_shop:
            told["tea_shop"] = str(keys)
        answer_json(told)
        return
    out = Paper()
    out.print()
    out.print(("ready", "bold green"), "  Dewpond speaks WeChat Pay's wire at ", (url, "bold"))
    out.print(f"       a {world.kind} world in {settings.home}")
    if has_shop:
        out.print(f"       the tea shop's keys are in {keys}")
    if world.is_sandbox:
        for told_of in ("", "In another terminal:", ""):
            out.print(told_of)
        tries = [
            ("dewpond demo", "the whole story, step by step"),
            ('dewpond merchants create "My Shop" --out keys/', "a merchant of your own"),
            ("dewpond pay CODE_URL --as Alice", "pay an order, as a phone does"),
        ]
        tries += [('dewpond pool show "Tea Shop"', "who settled in the pool")] if has_shop else []
        tries += [("dewpond ledger check", "the books, added up")]
        for command, told_of in tries:
            out.print("  ", (f"{command:<50}", "bold"), " ", (told_of, "dim"))
    out.print()
    out.print("Ctrl-C stops everything.")
    sys.stdout.flush()
