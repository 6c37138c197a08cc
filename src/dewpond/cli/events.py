"""`dewpond events`: what happened in this world, in its one order, and what is stuck of its consequences."""

import asyncio
import sys
from typing import Annotated, Any
from uuid import UUID

import typer

from dewpond.cli.desk import Desk, open_desk
from dewpond.cli.paper import Paper, Rows
from dewpond.cli.terminal import Json, answer, answer_json, answering, moment, refuse, telling
from dewpond.kit import jobs, outbox, worlds
from dewpond.kit.ids import from_text, to_text
from dewpond.kit.outbox import Fact

app = typer.Typer(no_args_is_help=True, help="What happened in this world.")

_PAUSE_SECONDS = 0.3
#: What the ids in the bodies of facts are called outside.
_PREFIXES = {"merchant_id": "mch", "payment_id": "pay", "person_id": "per", "refund_id": "rfd"}


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


@app.command(epilog="Example: dewpond events stuck --json")
@answering
async def stuck(json: Json = False) -> None:
    """Work that failed too often and waits for a person."""
    async with open_desk() as desk, desk.db.transaction() as tx:
        found = await jobs.quarantined(tx)
    told = [
        {
            "id": to_text("job", one.id),
            "kind": one.kind,
            "subject": one.subject,
            "tries": one.tries,
            "last_error": one.last_error,
            "due_at": one.due_at,
            "quarantined_at": one.quarantined_at,
        }
        for one in found
    ]

    def show(out: Paper) -> None:
        if not found:
            out.print("Nothing is stuck.")
            return
        rows = Rows("id", "kind", "subject", ">tries", "since", "last error")
        for one in found:
            rows.add_row(
                to_text("job", one.id), one.kind, one.subject, str(one.tries), moment(one.quarantined_at),
                one.last_error or "",
            )  # fmt: skip
        out.print_rows(rows)

    answer(told, json, show)


@app.command(epilog="Example: dewpond events release --all")
@answering
async def release(
    which: Annotated[str, typer.Argument(metavar="[JOB]", help="Its id (job_…), as `events stuck` tells it.")] = "",
    every: Annotated[bool, typer.Option("--all", help="All that is stuck.")] = False,
    json: Json = False,
) -> None:
    """Let stuck work be tried again, at once; the worker carries it out."""
    if bool(which) == every:
        raise typer.BadParameter("say which one (job_…) or --all")
    wanted = from_text("job", which) if which else None
    async with open_desk() as desk, desk.db.transaction() as tx:
        now = await worlds.read_clocks(tx)
        found = [one for one in await jobs.quarantined(tx) if wanted in (None, one.id)]
        if wanted and not found:
            refuse(f"{which} is not stuck: see `dewpond events stuck`.")
        for kind in {one.kind for one in found}:
            await jobs.schedule(tx, kind, [(one.subject, now.world) for one in found if one.kind == kind])
    told = {"released": [to_text("job", one.id) for one in found]}
    answer(told, json, lambda out: out.print(f"{len(found)} released"))


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
        "ids": _ids(fact),
    }


def _show(fact: Fact) -> None:
    body = fact.body | _ids(fact)
    told = " ".join(f"{name}={value}" for name, value in body.items() if name != "occurred_at")
    with telling():
        Paper().print(
            (f"{fact.position:>6}", "dim"), f" {moment(fact.occurred_at)} ", (fact.kind, "bold"), " ", (told, "dim")
        )
        sys.stdout.flush()


def _ids(fact: Fact) -> dict[str, str]:
    """The ids in a fact's body as the other commands take them."""
    return {
        name: to_text(_PREFIXES[name], UUID(value))
        for name, value in fact.body.items()
        if name in _PREFIXES and isinstance(value, str)
    }
