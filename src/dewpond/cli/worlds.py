"""`dewpond world`: the clock, backup and restore, reset, keys."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from dewpond.cli.desk import Desk, open_desk
from dewpond.cli.terminal import Json, answer, answering, moment, note, refuse
from dewpond.kit import clock, worlds
from dewpond.kit.worlds import World

app = typer.Typer(no_args_is_help=True, help="Clock, backup, restore, reset, keys.")
clock_app = typer.Typer(no_args_is_help=True, help="World time: what makes orders expire and callbacks due.")
app.add_typer(clock_app, name="clock")

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def _told(world: World) -> dict[str, Any]:
    now = world.time(clock.wall_now())
    return {
        "id": str(world.id),
        "kind": world.kind,
        "created_at": world.created_at,
        "public_url": world.public_url,
        "world_time": now.world,
        "wall_time": now.wall,
        "frozen": world.frozen_at is not None,
    }


def _show_clock(out: Any, told: dict[str, Any]) -> None:
    state = "[cyan]frozen[/]" if told["frozen"] else "running"
    ahead = told["world_time"] - told["wall_time"]
    seconds = round(ahead.total_seconds())
    apart = (
        f", {timedelta(seconds=abs(seconds))} {'ahead of' if seconds > 0 else 'behind'} wall time" if seconds else ""
    )
    out.print(f"world time is [bold]{moment(told['world_time'])}[/] (Beijing), {state}{apart}", soft_wrap=True)


@app.command(epilog="Example: dewpond world show --json")
@answering
async def show(json: Json = False) -> None:
    """What this world is, where it answers, and what time it is in it."""
    async with open_desk() as desk:
        told = _told(desk.world) | {"home": str(desk.place.settings.home)}

    def show(out: Any) -> None:
        out.print(f"[bold]{told['kind']}[/] world in {told['home']}, made {moment(told['created_at'])}", soft_wrap=True)
        out.print(f"answers at {told['public_url']}", soft_wrap=True)
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
            told = _told(await worlds.freeze_clock(tx, wall_now=clock.wall_now()))
        answer(told, json, lambda out: _show_clock(out, told))


@clock_app.command(epilog="Example: dewpond world clock thaw")
@answering
async def thaw(json: Json = False) -> None:
    """Let world time run again from where it stood (sandbox)."""
    async with open_desk() as desk:
        async with desk.db.transaction() as tx:
            told = _told(await worlds.thaw_clock(tx, wall_now=clock.wall_now()))
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
            world = await worlds.require_sandbox(tx)
        target = moment_ or world.time(clock.wall_now()).world + (step or timedelta())
        await _advance(desk, target, quiet=json)
        async with desk.db.transaction() as tx:
            told = _told(await worlds.get_world(tx))
        answer(told, json, lambda out: _show_clock(out, told))


async def _advance(desk: Desk, target: datetime, *, quiet: bool) -> None:
    from dewpond.wiring import open_house
    from dewpond.worker import advance

    async with open_house(desk.place.settings, dsn=desk.place.dsn, name="dewpond clock", pool_size=8) as house:
        if quiet:
            await advance(house, target)
            return
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        begin = desk.world.time(clock.wall_now()).world
        columns = (TextColumn("{task.description}"), BarColumn())
        with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
            task = progress.add_task(moment(begin), total=max((target - begin).total_seconds(), 1))

            def tell(at: datetime) -> None:
                progress.update(task, completed=(at - begin).total_seconds(), description=moment(at))

            await advance(house, target, tell)


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

    async with open_desk() as desk:
        await snapshots.back_up(desk.place, file)
        told = {"file": str(file), "bytes": file.stat().st_size, "master_key": str(desk.place.settings.key_file)}

    def show(out: Any) -> None:
        out.print(f"[green]✓[/] {file} ({told['bytes']} bytes)", soft_wrap=True)
        out.print(f"Its secrets open with {told['master_key']}, which is not in it: keep a copy.", soft_wrap=True)

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

    with find_place(make=True) as place:
        world = await snapshots.restore(place, file, replace_live=yes)
        told = _told(world)
    answer(told, json, lambda out: out.print(f"[green]✓[/] the world is as in {file}", soft_wrap=True))


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

    with find_place() as place:
        if not yes and not typer.confirm("Everything in this world is lost. Go on?", err=True):
            refuse("Nothing was changed.")
        world = await snapshots.reset(place, blank=blank)
        told = _told(world)
    answer(told, json, lambda out: out.print("[green]✓[/] the world is new", soft_wrap=True))


@app.command("rotate-certificate", epilog="Example: dewpond world rotate-certificate")
@answering
async def rotate_certificate(json: Json = False) -> None:
    """Add a platform certificate; SDKs fetch it by themselves, the older one stays valid beside it."""
    from dewpond import merchants

    async with open_desk() as desk:
        async with desk.db.transaction() as tx:
            made = await merchants.rotate_platform_certificate(tx, secrets=desk.secrets, wall_now=clock.wall_now())
        told = {"platform_serial_no": made.id, "not_before": made.not_before, "not_after": made.not_after}
        answer(told, json, lambda out: out.print(f"[green]✓[/] new platform certificate {made.id}", soft_wrap=True))


@app.command("rotate-key", epilog="Example: dewpond world rotate-key")
@answering
async def rotate_key(json: Json = False) -> None:
    """Add a master key and seal every secret anew under it; running servers load it first."""
    from dewpond import merchants
    from dewpond.cli import running
    from dewpond.kit.secrets import MasterKeys, add_key

    async with open_desk() as desk:
        settings = desk.place.settings
        key_id = add_key(settings.key_file)
        if not running.reload(settings):
            note("No `dewpond run` was found in this home; servers elsewhere must be restarted before this.")
        async with desk.db.transaction() as tx:
            sealed = await merchants.reseal_secrets(tx, secrets=MasterKeys.load(settings.key_file))
        told = {"key_id": key_id, "sealed": sealed}

    def show(out: Any) -> None:
        out.print(f"[green]✓[/] {sealed} secrets sealed anew under {key_id}", soft_wrap=True)
        out.print("Older keys stay in the file: PINs move to the new one as they are set.", soft_wrap=True)

    answer(told, json, show)
