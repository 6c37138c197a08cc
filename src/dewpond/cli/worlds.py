"""`dewpond world`: the clock, backup and restore, reset, keys."""

import asyncio
import re
import signal
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dewpond import merchants
from dewpond.cli.desk import Desk, Place, open_desk
from dewpond.cli.paper import Paper
from dewpond.cli.running import Running, find_running
from dewpond.cli.terminal import Json, answer, answering, moment, refuse
from dewpond.kit import clock, worlds
from dewpond.kit.worlds import World
from dewpond.merchants import Deed

if TYPE_CHECKING:
    from dewpond.wiring import House

app = typer.Typer(no_args_is_help=True, help="Clock, backup, restore, reset, keys.")
clock_app = typer.Typer(no_args_is_help=True, help="World time: what makes orders expire and callbacks due.")
app.add_typer(clock_app, name="clock")

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


class RotationStep(StrEnum):
    """The two steps of replacing a master key."""

    ADD = "add"
    RESEAL = "reseal"


def _told(world: World) -> dict[str, Any]:
    now = world.time(clock.wall_now())
    return {
        "id": str(world.id),
        "kind": world.kind,
        "created_at": world.created_at,
        "wire_url": world.wire_url,
        "public_url": world.public_url,
        "staff_url": world.staff_url,
        "world_time": now.world,
        "wall_time": now.wall,
        "frozen": world.frozen_at is not None,
    }


def _show_clock(out: Paper, told: dict[str, Any]) -> None:
    state = ("frozen", "cyan") if told["frozen"] else "running"
    ahead = told["world_time"] - told["wall_time"]
    seconds = round(ahead.total_seconds())
    apart = (
        f", {timedelta(seconds=abs(seconds))} {'ahead of' if seconds > 0 else 'behind'} wall time" if seconds else ""
    )
    out.print("world time is ", (moment(told["world_time"]), "bold"), " (Beijing), ", state, apart)


@app.command(epilog="Example: dewpond world show --json")
@answering
async def show(json: Json = False) -> None:
    """What this world is, where it answers, and what time it is in it."""
    async with open_desk() as desk:
        told = _told(desk.world) | {"home": str(desk.place.settings.home)}

    def show(out: Paper) -> None:
        out.print((told["kind"], "bold"), f" world in {told['home']}, made {moment(told['created_at'])} (real time)")
        out.print(f"answers at {told['public_url']}")
        _show_clock(out, told)

    answer(told, json, show)


@clock_app.command("show", epilog="Example: dewpond world clock show")
@answering
async def clock_show(json: Json = False) -> None:
    """What time it is in this world."""
    async with open_desk() as desk:
        told = _told(desk.world)
        answer(told, json, lambda out: _show_clock(out, told))


@clock_app.command(epilog="Example: dewpond world clock freeze")
@answering
async def freeze(json: Json = False) -> None:
    """Stop world time where it is (sandbox)."""
    async with open_desk() as desk:
        async with desk.db.transaction() as tx:
            now = await worlds.read_clocks(tx)
            told = _told(await worlds.freeze_clock(tx, wall_now=now.wall))
            await merchants.record_act(tx, Deed.CLOCK_FROZEN, by=None, now=now)
        answer(told, json, lambda out: _show_clock(out, told))


@clock_app.command(epilog="Example: dewpond world clock thaw")
@answering
async def thaw(json: Json = False) -> None:
    """Let world time run again from where it stood (sandbox)."""
    async with open_desk() as desk:
        async with desk.db.transaction() as tx:
            now = await worlds.read_clocks(tx)
            told = _told(await worlds.thaw_clock(tx, wall_now=now.wall))
            await merchants.record_act(tx, Deed.CLOCK_THAWED, by=None, now=now)
        answer(told, json, lambda out: _show_clock(out, told))


@clock_app.command(epilog="Example: dewpond world clock advance 24h")
@answering
async def advance(
    by: Annotated[str, typer.Argument(metavar="[DURATION]", help="How far: 90s, 15m, 24h, 400d, 2w, or 1d12h.")] = "",
    to: Annotated[str, typer.Option(metavar="TIME", help="Until this moment instead, RFC 3339.")] = "",
    json: Json = False,
) -> None:
    """Move world time on, doing everything that falls due on the way (sandbox)."""
    if bool(by) == bool(to):
        raise typer.BadParameter("say how far (24h) or until when (--to 2027-01-01T00:00:00+08:00)")
    step = _duration(by) if by else None
    moment_ = _time(to) if to else None
    async with open_desk() as desk:
        async with desk.db.transaction() as tx:
            await worlds.require_sandbox(tx)
        await _advance(desk, moment_ or step or timedelta(), quiet=json)
        async with desk.db.transaction() as tx:
            told = _told(await worlds.get_world(tx))
        answer(told, json, lambda out: _show_clock(out, told))


async def _advance(desk: Desk, wish: datetime | timedelta, *, quiet: bool) -> None:
    """Move the clock to a moment, or by a step from where it stands once nobody else moves it."""
    from dewpond.wiring import open_house
    from dewpond.worker import advance

    settings, running = desk.place.settings, find_running(desk.place.settings)
    async with (
        open_house(
            settings,
            dsn=desk.place.dsn,
            name="dewpond clock",
            pool_size=8,
            listeners=_listeners(desk.place, running),
            neighbours=running.neighbours if running else (),
        ) as house,
        _driving(house),
    ):
        async with desk.db.transaction() as tx:
            now = await worlds.read_clocks(tx)
            begin = now.world
            try:
                target = wish if isinstance(wish, datetime) else begin + wish
            except OverflowError:
                refuse("That is too far.", "too_far")
            if target >= begin:
                await merchants.record_act(tx, Deed.CLOCK_MOVED, by=None, now=now, detail=target.isoformat())
        with _progress(begin, target, quiet=quiet) as tell, _stopped_by_signals():
            try:
                await advance(house, target, tell)
            except asyncio.CancelledError:
                async with desk.db.transaction() as tx:
                    reached = (await worlds.read_clocks(tx)).world
                refuse(f"Stopped at {moment(reached)} (Beijing); advance once more to go on.", "stopped")


@asynccontextmanager
async def _driving(house: "House") -> AsyncIterator[None]:
    """As the only one at this desk's clock: two steps at once would both count from the same moment."""
    from dewpond.worker import ClockBusy

    connection = await house.db.session()
    try:
        if not await connection.fetchval("select pg_try_advisory_lock(7401, 7)"):
            raise ClockBusy
        yield
    finally:
        await connection.close(timeout=5)


@contextmanager
def _progress(begin: datetime, target: datetime, *, quiet: bool) -> Iterator[Callable[[datetime], None]]:
    """A bar for somebody who looks on; nothing where nobody does."""
    if quiet or not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    columns = (TextColumn("{task.description}"), BarColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(moment(begin), total=max((target - begin).total_seconds(), 1))
        yield lambda at: progress.update(task, completed=(at - begin).total_seconds(), description=moment(at))


@contextmanager
def _stopped_by_signals() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM cancel this task, which can then say how far it came."""
    task, loop = asyncio.current_task(), asyncio.get_running_loop()
    numbers = (signal.SIGINT, signal.SIGTERM)
    if task is None or threading.current_thread() is not threading.main_thread():
        yield  # only a main thread hears signals
        return
    for number in numbers:
        loop.add_signal_handler(number, task.cancel)
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)


def _listeners(place: Place, running: Running | None) -> Sequence[tuple[str, int]] | None:
    """The doors of this world's servers, by which it is judged whom callbacks may reach; None where nobody knows."""
    if running is not None:
        return running.listeners
    return None if place.postgres is None else ()  # a database of another's may be served from elsewhere


def _duration(text: str) -> timedelta:
    parts = re.findall(r"(\d+)([smhdw])", text)
    if not parts or "".join(number + unit for number, unit in parts) != text.strip():
        raise typer.BadParameter(f"{text!r} is not a duration: write 90s, 15m, 24h, 400d or 1d12h")
    try:
        return timedelta(**{_UNITS[unit]: int(number) for number, unit in parts})
    except OverflowError:
        raise typer.BadParameter(f"{text!r} is too far") from None


def _time(text: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a time: write 2027-01-01T00:00:00+08:00") from None
    if at.tzinfo is None:
        raise typer.BadParameter(f"{text!r} says no time zone: add +08:00 or Z")
    return at.astimezone(UTC)


@app.command(epilog="Example: dewpond world backup tea.dump")
@answering
async def backup(
    file: Annotated[Path, typer.Argument(help="Where to write it.", dir_okay=False)], json: Json = False
) -> None:
    """Write the whole world into a file, without its master key: keep that one elsewhere."""
    from dewpond.cli import snapshots

    if not file.name:
        raise typer.BadParameter("say which file to write")
    async with open_desk() as desk:
        await snapshots.back_up(desk.place, file)
        told = {"file": str(file), "bytes": file.stat().st_size, "master_key": str(desk.place.settings.key_file)}

    def show(out: Paper) -> None:
        out.print(("✓", "green"), f" {file} ({told['bytes']} bytes)")
        out.print(f"Its secrets open with {told['master_key']}, which is not in it: keep a copy.")

    answer(told, json, show)


@app.command(epilog="Example: dewpond world restore tea.dump")
@answering
async def restore(
    file: Annotated[Path, typer.Argument(help="A file made by `world backup`.", exists=True, dir_okay=False)],
    yes: Annotated[bool, typer.Option("--yes", help="Replace a live world without asking again.")] = False,
    json: Json = False,
) -> None:
    """Put a backup in this world's place; checked first, swapped at once, also while servers run."""
    from dewpond.cli import snapshots
    from dewpond.cli.desk import find_place
    from dewpond.cli.seals import check_seal
    from dewpond.settings import read_settings

    settings = read_settings()
    check_seal(file, settings.key_file)  # before a server is made for it
    with find_place(settings, make=True) as place:
        world = await snapshots.restore(place, file, replace_live=yes)
        told = _told(world)
    answer(told, json, lambda out: out.print(("✓", "green"), f" the world is as in {file}"))


@app.command(epilog="Example: dewpond world reset --yes")
@answering
async def reset(
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    blank: Annotated[bool, typer.Option("--blank", help="Without the tea shop, Alice and Bob.")] = False,
    json: Json = False,
) -> None:
    """Begin again with an empty sandbox world (sandbox only)."""
    from dewpond.cli import snapshots
    from dewpond.cli.desk import find_place

    if json and not yes:
        refuse("Everything in this world would be lost: say --yes if that is meant.", "not_confirmed")
    with find_place() as place:
        if not yes and not typer.confirm("Everything in this world is lost. Go on?", err=True):
            refuse("Nothing was changed.", "not_confirmed")
        world = await snapshots.reset(place, blank=blank)
        told = _told(world)
    answer(told, json, lambda out: out.print(("✓", "green"), " the world is new"))


@app.command("rotate-certificate", epilog="Example: dewpond world rotate-certificate")
@answering
async def rotate_certificate(json: Json = False) -> None:
    """Add a platform certificate; SDKs fetch it by themselves, the older one stays valid beside it."""
    from dewpond import merchants

    async with open_desk() as desk:
        async with desk.db.transaction() as tx:
            now = await worlds.read_clocks(tx)
            made = await merchants.rotate_platform_certificate(tx, secrets=desk.secrets, wall_now=now.wall)
            await merchants.record_act(tx, Deed.PLATFORM_CERTIFICATE_ADDED, by=None, now=now, subject=made.id)
        told = {"platform_serial_no": made.id, "not_before": made.not_before, "not_after": made.not_after}
        answer(told, json, lambda out: out.print(("✓", "green"), f" new platform certificate {made.id}"))


@app.command("rotate-key", epilog="Example: dewpond world rotate-key")
@answering
async def rotate_key(
    step: Annotated[
        RotationStep | None,
        typer.Option(help="Only this step; copy the file to machines that have one of their own in between."),
    ] = None,
    json: Json = False,
) -> None:
    """Add a master key and seal every secret anew under it. Whoever runs reads the new key from the file by itself."""
    from dewpond import merchants
    from dewpond.kit.secrets import MasterKeys, add_key

    async with open_desk() as desk:
        key_file = desk.place.settings.key_file
        if step is not RotationStep.RESEAL:
            add_key(key_file)
        secrets, sealed = MasterKeys.load(key_file), 0
        async with desk.db.transaction() as tx:
            now = await worlds.read_clocks(tx)
            if step is not RotationStep.RESEAL:
                await merchants.record_act(tx, Deed.MASTER_KEY_ADDED, by=None, now=now, detail=secrets.current_id)
            if step is not RotationStep.ADD:
                sealed = await merchants.reseal_secrets(tx, secrets=secrets)
            if sealed:
                await merchants.record_act(tx, Deed.SECRETS_SEALED, by=None, now=now, detail=secrets.current_id)
        told = {"key_id": secrets.current_id, "sealed": sealed}

    def show(out: Paper) -> None:
        if step is RotationStep.ADD:
            out.print(("✓", "green"), f" {secrets.current_id} is in {key_file}; nothing is sealed anew yet")
            return
        out.print(("✓", "green"), f" {sealed} secrets sealed anew under {secrets.current_id}")
        out.print("Older keys stay in the file: PINs move to the new one as they are set.")

    answer(told, json, show)
