"""`python -m bench`: measure, show, record. `make bench ARGS="--seconds 2 --only ledger"` for a short look."""

import argparse
import asyncio
import sys
from collections.abc import Awaitable, Callable, Sequence

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from bench import machine, picture, report
from bench.child import Broken
from bench.figures import Figure
from bench.ground import open_ground
from bench.scenarios import callbacks, checkout, confirm, consoles, growth, ledger, orders
from bench.stage import Stage, Wish

SCENARIOS: dict[str, Callable[[Stage], Awaitable[list[Figure]]]] = {
    each.NAME: each.play for each in (ledger, confirm, checkout, orders, callbacks, consoles, growth)
}


def main() -> int:
    """0 unless a scenario broke; how fast anything was never decides."""
    wish, only, keep = _read(sys.argv[1:])
    console = Console(width=None if sys.stdout.isatty() else 160)
    try:
        return asyncio.run(_run(console, wish, only, keep))
    except (KeyboardInterrupt, asyncio.CancelledError):
        console.print("stopped; nothing was recorded")
        return 130


def _read(words: Sequence[str]) -> tuple[Wish, list[str], bool]:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each case in each round (5)")
    parser.add_argument("--rounds", type=int, default=5, help="how often each case and its limit are measured (5)")
    parser.add_argument("--only", nargs="+", choices=list(SCENARIOS), metavar="NAME", help=f"of {', '.join(SCENARIOS)}")
    parser.add_argument("--scale", type=int, default=50, help="pgbench's scale (50)")
    parser.add_argument("--people", type=int, default=100_000, help="who pays (100,000)")
    parser.add_argument("--full", action="store_true", help="let the ledger grow to 10⁷ entries instead of 10⁶")
    parser.add_argument("--profile", action="store_true", help="say where the time goes instead of how fast it is")
    parser.add_argument("--no-record", action="store_true", help="leave RESULTS.md and the picture as they are")
    asked = parser.parse_args(words)
    if asked.seconds <= 0 or asked.rounds < 1:
        parser.error("--seconds and --rounds are positive")
    wish = Wish(
        seconds=asked.seconds,
        rounds=asked.rounds,
        scale=asked.scale,
        people=asked.people,
        entries=10**7 if asked.full else 10**6,
        profile=asked.profile,
    )
    return wish, asked.only or list(SCENARIOS), not (asked.no_record or asked.profile)


async def _run(console: Console, wish: Wish, only: Sequence[str], keep: bool) -> int:
    results: dict[str, list[Figure]] = {}
    broken: list[str] = []
    with _progress(console) as progress:
        task = progress.add_task("setting a server up", total=0)
        async with open_ground(watched=wish.profile) as ground:
            seen = await machine.look(ground)
            console.print(f"[bold]{seen.commit}[/bold] on {seen}", highlight=False)

            def more(steps: int) -> None:
                progress.update(task, total=(progress.tasks[0].total or 0) + steps)

            def tell(what: str) -> None:
                progress.update(task, description=what, advance=1 if progress.tasks[0].total else 0)

            stage = Stage(ground, wish, tell, more)
            for name in only:
                try:
                    results[name] = await SCENARIOS[name](stage)
                except Broken as error:
                    broken.append(name)
                    console.print(f"[red]{name} broke:[/red] {error}", highlight=False)
                    continue
                if results[name]:
                    report.show(console, name, results[name])
            for title, text in stage.profiles:
                console.rule(title)
                console.print(text, highlight=False, markup=False)
    for note in stage.notes:
        console.print(note, highlight=False)
    results = {name: figures for name, figures in results.items() if figures}
    if keep and results:
        how = f"{wish.rounds} × {wish.seconds:g} s, scale {wish.scale}"
        console.print(f"recorded in {report.record(seen, results, stage.notes, how).name}")
        if len(results) == len(SCENARIOS):
            console.print(f"drawn in {picture.draw(results, seen).name}")
    return 1 if broken else 0


def _progress(console: Console) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=console, transient=True)


if __name__ == "__main__":
    sys.exit(main())
