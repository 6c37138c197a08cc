"""`dewpond deliveries`: what merchants were told, and how it went."""

from collections.abc import Sequence
from typing import Annotated, Any, Final

import msgspec
import typer

from dewpond import merchants, openplatform
from dewpond.cli.desk import open_desk
from dewpond.cli.merchants import find_merchant
from dewpond.cli.paper import Paper, Rows
from dewpond.cli.terminal import Json, answer, answering, moment
from dewpond.kit import worlds
from dewpond.merchants import Deed, MerchantId
from dewpond.openplatform import Delivery, DeliveryStatus

app = typer.Typer(no_args_is_help=True, help="What merchants were told, and how it went.")

#: So many letters hold an id, both times and an address that folds before the id does.
_WIDE: Final = 160

Which = Annotated[str, typer.Argument(metavar="DELIVERY", help="The delivery's id (dlv_…).")]


def _told(one: Delivery) -> dict[str, Any]:
    return {
        "id": openplatform.to_text(one.id),
        "notification_id": str(one.id),
        "event": one.event_kind,
        "url": one.url,
        "status": one.status,
        "attempts": one.attempts,
        "created_at": one.created_at,
        "next_attempt_at": one.next_attempt_at,
        "ended_at": one.ended_at,
    }


@app.command("list", epilog='Example: dewpond deliveries list --merchant "Tea Shop" --status dead')
@answering
async def list_(
    merchant: Annotated[str, typer.Option(help="Only this merchant's: name, number or id.")] = "",
    status: Annotated[DeliveryStatus | None, typer.Option(help="Only those that are …")] = None,
    most: Annotated[int, typer.Option(min=1, max=1000, help="How many at most.")] = 20,
    json: Json = False,
) -> None:
    """The newest deliveries."""
    async with open_desk() as desk, desk.db.transaction() as tx:
        owner = (await find_merchant(tx, desk, merchant)).id if merchant else None
        found = await openplatform.list_deliveries(tx, merchant_id=owner, status=status, most=most)

    answer([_told(one) for one in found], json, lambda out: out.print_rows(listed(found, out.width)))


def listed(found: Sequence[Delivery], width: int) -> Rows:
    """Deliveries as rows of so many letters. An id stays in one piece, for it is what the other commands are given:
    what a narrow window has no room for is told by `show`."""
    is_wide = width >= _WIDE
    rows = Rows("id", "event", "status", ">attempts", *(("created", "next", "to") if is_wide else ()))
    for one in found:
        cells = [openplatform.to_text(one.id), one.event_kind, one.status, str(one.attempts)]
        if is_wide:
            cells += [moment(one.created_at), moment(one.next_attempt_at), one.url]
        rows.add_row(*cells)
    return rows


@app.command(epilog="Example: dewpond deliveries show dlv_01jd…")
@answering
async def show(which: Which, json: Json = False) -> None:
    """One delivery, with each attempt and what came back."""
    async with open_desk() as desk, desk.db.transaction() as tx:
        one = await openplatform.find_delivery(tx, openplatform.from_text(which))
        attempts = await openplatform.list_attempts(tx, one.merchant_id, one.id)
    told = _told(one) | {"body": None if one.body is None else msgspec.Raw(one.body), "log": []}
    told["log"] = [
        {
            "number": attempt.number,
            "attempted_at": attempt.attempted_at,
            "elapsed_ms": attempt.elapsed_ms,
            "http_status": attempt.http_status,
            "outcome": attempt.outcome,
            "answer": attempt.answer,
        }
        for attempt in attempts
    ]

    def show(out: Paper) -> None:
        out.print((one.event_kind, "bold"), f" to {one.url}: {one.status}")
        if one.next_attempt_at:
            out.print(f"next attempt {moment(one.next_attempt_at)}")
        rows = Rows(">no", "when", ">ms", ">HTTP", "outcome", "answer")
        for attempt in attempts:
            rows.add_row(
                str(attempt.number), moment(attempt.attempted_at), str(attempt.elapsed_ms),
                str(attempt.http_status or ""), attempt.outcome, attempt.answer or "",
            )  # fmt: skip
        out.print_rows(rows)

    answer(told, json, show)


@app.command(epilog="Example: dewpond deliveries resend dlv_01jd…")
@answering
async def resend(which: Which, json: Json = False) -> None:
    """Send a delivery once more, at once; the worker carries it out."""
    async with open_desk() as desk:
        async with desk.db.transaction() as tx:
            now = await worlds.read_clocks(tx)
            one = await openplatform.find_delivery(tx, openplatform.from_text(which))
            delivery_id, merchant_id = one.id, MerchantId(one.merchant_id)
            await openplatform.resend(tx, None, delivery_id, now=now)
            await merchants.record_act(
                tx, Deed.DELIVERY_RESENT, by=None, now=now, merchant_id=merchant_id, subject=which
            )
        told = {"id": openplatform.to_text(delivery_id), "asked_at": now.world}
        answer(told, json, lambda out: out.print(f"{told['id']} is sent once more"))
