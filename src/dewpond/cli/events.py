"""`dewpond events`: what happened in this world, in its one order."""

import asyncio
from typing import Annotated, Any

import typer

from dewpond.cli.desk import Desk, open_desk
from dewpond.cli.terminal import answer_json, answering, console, moment
from dewpond.kit import outbox
from dewpond.kit.ids import to_text
from dewpond.kit.outbox import Fact

app = typer.Typer(no_args_is_help=True, help="What happened in this world.")

_PAUSE_SECONDS = 0.3


@app.callback()
def _events() -> None:
    """Every fact has a position; each reader pages by it."""


@app.command(epilog="Example: dewpond events tail -f --json")
@answering
async def tail(
    start: Annotated[
        int | None, typer.Option("--from", min=1, help="Begin with this position; without it the last ones are shown.")
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as things happen, until Ctrl-C.")] = False,
    most: Annotated[int, typer.Option(min=1, max=100_000, help="How many at most to begin with.")] = 20,
    json: Annotated[bool, typer.Option("--json", help="One JSON document per line and event.")] = False,
) -> None:
    """The newest events, oldest of them first."""
    async with open_desk() as desk:
        async with desk.db.transaction() as tx:
            await outbox.relay(tx)  # also where no worker runs
        async with desk.db.transaction() as tx:
            newest = await outbox.last_position(tx)
        after = start - 1 if start is not None else max(0, newest - most)
        after = await _tell(desk, after, most, json)
        while follow:
            await asyncio.sleep(_PAUSE_SECONDS)
            after = await _tell(desk, after, 500, json)


async def _tell(desk: Desk, after: int, most: int, json: bool) -> int:
    """Tell what comes after a position; the last one told."""
    while most > 0:
        async with desk.db.transaction() as tx:
            facts = await outbox.page(tx, after=after, most=min(most, 500))
        if not facts:
            break
        for fact in facts:
            if json:
                answer_json(_told(fact))
            else:
                _show(fact)
        after, most = facts[-1].position, most - len(facts)
    return after


def _told(fact: Fact) -> dict[str, Any]:
    return {
        "position": fact.position,
        "id": to_text("evt", fact.id),
        "kind": fact.kind,
        "occurred_at": fact.occurred_at,
        "recorded_at": fact.recorded_at,
        "merchant": fact.merchant_id and to_text("mch", fact.merchant_id),
        "person": fact.person_id and to_text("per", fact.person_id),
        "body": {name: value for name, value in fact.body.items() if name != "occurred_at"},
    }


def _show(fact: Fact) -> None:
    told = " ".join(f"{name}={value}" for name, value in fact.body.items() if name != "occurred_at")
    console().print(
        f"[dim]{fact.position:>6}[/] {moment(fact.occurred_at)} [bold]{fact.kind}[/] [dim]{told}[/]", soft_wrap=True
    )
