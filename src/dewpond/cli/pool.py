"""`dewpond pool`: who settled in a merchant's pool, each figure walking to its payments."""

from typing import Annotated, Any
from uuid import UUID

import typer

from dewpond import identity, merchants, pay, reservoir
from dewpond.cli.desk import Desk, open_desk
from dewpond.cli.merchants import Which, find_merchant
from dewpond.cli.paper import Paper, Rows, short
from dewpond.cli.terminal import Json, answer, answering, moment, refuse
from dewpond.kit import clock
from dewpond.kit.db import Tx
from dewpond.kit.ids import to_text
from dewpond.merchants import Merchant
from dewpond.reservoir import Contact, Touchpoint, TouchpointKind

app = typer.Typer(no_args_is_help=True, help="Who settled in a merchant's pool.")


@app.callback()
def _pool() -> None:
    """A pool is filled drop by drop: each person who buys settles in it."""


@app.command(epilog='Example: dewpond pool show "Tea Shop"')
@answering
async def show(
    which: Which,
    contact: Annotated[
        str, typer.Option(help="One drop only, with its timeline: open id, or the person's name or id.")
    ] = "",
    most: Annotated[int, typer.Option(min=1, max=1000, help="How many drops at most.")] = 50,
    json: Json = False,
) -> None:
    """The drops of a pool, the last seen first: first bought, how often, how much after refunds."""
    async with open_desk() as desk, desk.db.transaction() as tx:
        merchant = await find_merchant(tx, desk, which)
        summary = await reservoir.pool_summary(tx, merchant.id)
        contacts = (
            [await _find_contact(tx, desk, merchant, contact)]
            if contact
            else await reservoir.list_contacts(tx, merchant.id, most=most)
        )
        drops = await _drops(tx, desk, contacts)
    told = {
        "mchid": merchant.number,
        "merchant": merchant.name,
        "people": summary.people,
        "returning": summary.returning,
        "totals": [
            {"currency": one.currency, "purchases": one.purchases, "spent": one.spent, "net": one.net}
            for one in summary.totals
        ],
        "contacts": drops,
    }

    def show(out: Paper) -> None:
        nets = ", ".join(str(one.net) for one in summary.totals) or "nothing yet"
        people = "1 drop" if summary.people == 1 else f"{summary.people} drops"
        out.print((merchant.name, "bold"), f"'s pool: {people}, {summary.returning} came back, {nets} after refunds")
        _show_drops(out, drops, timeline=bool(contact))

    answer(told, json, show)


async def _drops(tx: Tx, desk: Desk, contacts: list[Contact]) -> list[dict[str, Any]]:
    names = {one.id: one.name for one in await identity.list_people(tx, [one.person_id for one in contacts])}
    known_as = await identity.open_ids(tx, [(one.app_id, one.person_id) for one in contacts], wall_now=clock.wall_now())
    apps = {one.id: one.appid for one in await merchants.list_apps(tx, [one.app_id for one in contacts])}
    drops = []
    for one in contacts:
        touchpoints = await reservoir.list_touchpoints(tx, one.merchant_id, one.person_id)
        drops.append(
            {
                "open_id": known_as[one.app_id, one.person_id],
                "appid": apps.get(merchants.AppId(one.app_id)),
                # A shop knows people by open id; whose it is only a sandbox's operator is told.
                "name": names.get(identity.PersonId(one.person_id)) if desk.world.is_sandbox else None,
                "first_seen_at": one.first_seen_at,
                "last_seen_at": one.last_seen_at,
                "spendings": [
                    {
                        "currency": spending.currency,
                        "first_bought_at": spending.first_bought_at,
                        "last_bought_at": spending.last_bought_at,
                        "purchases": spending.purchases,
                        "spent": spending.spent,
                        "refunds": spending.refunds,
                        "refunded": spending.refunded,
                        "net": spending.net,
                    }
                    for spending in one.spendings
                ],
                "touchpoints": [await _touchpoint(tx, point) for point in touchpoints],
            }
        )
    return drops


async def _touchpoint(tx: Tx, point: Touchpoint) -> dict[str, Any]:
    payment = await pay.get_payment(tx, point.merchant_id, point.payment_id)
    return {
        "kind": point.kind,
        "payment": to_text("pay", point.payment_id),
        "out_trade_no": payment.merchant_reference,
        "amount": point.amount,
        "occurred_at": point.occurred_at,
    }


def _show_drops(out: Paper, drops: list[dict[str, Any]], *, timeline: bool) -> None:
    rows = Rows("open id", "who", "first bought", ">often", ">spent", ">given back", ">net", "from")
    for drop in drops:
        for spending in drop["spendings"]:
            currency = spending["currency"]
            points = [one for one in drop["touchpoints"] if one["amount"].currency == currency]
            payments = dict.fromkeys(one["payment"] for one in points)
            rows.add_row(
                drop["open_id"],
                drop["name"] or "",
                moment(spending["first_bought_at"]),
                str(spending["purchases"]),
                str(spending["spent"]),
                str(spending["refunded"]),
                (str(spending["net"]), "bold"),
                list(payments),
            )
    if drops:
        out.print_rows(rows)
    if timeline:
        line = Rows("when", "what", ">amount", "payment", "shop's number")
        for point in drops[0]["touchpoints"]:
            minus = "-" if point["kind"] is TouchpointKind.REFUND else ""
            line.add_row(
                moment(point["occurred_at"]), point["kind"], minus + str(point["amount"]), point["payment"],
                point["out_trade_no"],
            )  # fmt: skip
        out.print_rows(line)


async def _find_contact(tx: Tx, desk: Desk, merchant: Merchant, text: str) -> Contact:
    people: list[UUID] = []
    for app in await merchants.apps_of(tx, merchant.id):
        if (known := await identity.person_by_open_id(tx, app.id, text)) is not None:
            people.append(known)
    if not people and desk.world.is_sandbox:
        people = [one.id for one in await identity.find_people(tx, text)]
    for person_id in people:
        if (found := await reservoir.find_contact(tx, merchant.id, person_id)) is not None:
            return found
    return refuse(f"{merchant.name} knows nobody as {short(text)!r}.", "contact_not_found")
