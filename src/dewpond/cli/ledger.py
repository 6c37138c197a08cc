"""`dewpond ledger`: the books. Check them, read balances, follow every fen of a payment."""

from typing import Annotated, Any
from uuid import UUID

import msgspec
import typer

from dewpond import identity, ledger, merchants, pay
from dewpond.cli.desk import open_desk
from dewpond.cli.merchants import find_merchant
from dewpond.cli.paper import Paper, Rows
from dewpond.cli.people import find_person
from dewpond.cli.terminal import Json, answer, answering, choose, moment, patience, refuse
from dewpond.kit.db import Tx
from dewpond.kit.money import Currency, Money
from dewpond.ledger import EntryKey, Side, WalkedEntry
from dewpond.pay import Payment, PaymentStatus

app = typer.Typer(no_args_is_help=True, help="Books: check, balances, every fen's way.")


@app.command(epilog="Example: dewpond ledger check")
@answering
async def check(json: Json = False) -> int:
    """Add the whole book up again: every currency sums to zero, nothing disagrees. Exit code 1 if anything is off."""
    # However long the book is: what takes its time is not cut off.
    async with open_desk(query_seconds=None) as desk, desk.db.transaction() as tx:
        with patience("Adding up the whole book …"):
            book = await ledger.trial_balance(tx)
    faults = {name: count for name, count in msgspec.structs.asdict(book.faults).items() if count}
    told = {
        "sound": book.is_sound,
        "entries": book.entries,
        "transfers": book.transfers,
        "currencies": [msgspec.structs.asdict(one) for one in book.currencies],
        "codes": [msgspec.structs.asdict(one) for one in book.codes],
        "faults": faults,
    }

    def show(out: Paper) -> None:
        rows = Rows("account", "currency", ">how many", ">sum", ">held")
        for one in book.codes:
            posted, held = Money(one.posted, one.currency), Money(one.held, one.currency)
            rows.add_row(one.code, one.currency, str(one.accounts), str(posted), str(held) if one.held else "")
        out.print_rows(rows)
        for total in book.currencies:
            mark = ("✗", "red") if total.total or total.drift else ("✓", "green")
            drift = f", {Money(total.drift, total.currency)} adrift" if total.drift else ""
            out.print(mark, f" {total.currency} sums to {Money(total.total, total.currency)}{drift}")
        for name, count in faults.items():
            out.print(("✗", "red"), f" {name.replace('_', ' ')}: {count}")
        said = ("the books are sound", "green") if book.is_sound else ("the books are off", "red")
        out.print(said, f": {book.entries} entries, {book.transfers} transfers")

    answer(told, json, show)
    return 0 if book.is_sound else 1


@app.command(epilog="Example: dewpond ledger balances Alice")
@answering
async def balances(
    whose: Annotated[str, typer.Argument(help="A person or a merchant; `house` or nobody is the house.")] = "",
    json: Json = False,
) -> None:
    """What somebody holds: a person, a merchant, or the house."""
    async with open_desk() as desk, desk.db.transaction() as tx:
        if whose in ("", "house"):
            owner, name = pay.HOUSE, "the house"
        elif await identity.find_people(tx, whose):
            person = await find_person(tx, desk, whose)
            owner, name = person.id, person.name
        elif await merchants.find_merchants(tx, whose):
            merchant = await find_merchant(tx, desk, whose)
            owner, name = merchant.id, merchant.name
        else:
            refuse(f"There is no person and no merchant {whose!r}.")
        found = await ledger.list_balances(tx, owner)

    def show(out: Paper) -> None:
        out.print((name, "bold"))
        rows = Rows("account", ">posted", ">held", ">available")
        for one in found:
            moneys = (Money(minor, one.currency) for minor in (one.posted, one.held, one.available))
            rows.add_row(one.code, *map(str, moneys))
        out.print_rows(rows)

    told = [
        {"account": one.code, "currency": one.currency, "posted": one.posted, "held": one.held,
         "available": one.available} for one in found
    ]  # fmt: skip
    answer({"owner": name, "accounts": told}, json, show)


@app.command(epilog="Example: dewpond ledger walk 4200001234202611220123456789")
@answering
async def walk(
    what: Annotated[str, typer.Argument(metavar="PAYMENT", help="pay_…, transaction id, or the shop's number.")],
    json: Json = False,
) -> None:
    """Every fen's way: from the wallet to the shop and the fees, and back with each refund."""
    async with open_desk() as desk, desk.db.transaction() as tx:
        found = await pay.find_payments(tx, what)
        payment = choose(found, what, desk.world, what="payment", call=lambda one: one.text_id)
        steps = await _steps(tx, payment)
        names = await _names(tx, payment)
    told: dict[str, Any] = {
        "payment": payment.text_id,
        "out_trade_no": payment.merchant_reference,
        "transaction_id": payment.public_number,
        "status": payment.status,
        "amount": payment.amount,
        "refunded": payment.refunded,
        "steps": [_told(label, entry, names) for label, entry in steps],
        "ends": _ends(steps, names, payment.currency),
    }

    def show(out: Paper) -> None:
        out.print((payment.text_id, "bold"), f" {payment.description}, {payment.amount}")
        if payment.status is not PaymentStatus.SUCCEEDED:
            out.print("Nobody has paid it, so no money has moved.")
            return
        rows = Rows("step", "when", "from", "to", ">amount")
        for step in told["steps"]:
            label = step["step"]
            for one in step["transfers"]:
                rows.add_row(label, moment(step["occurred_at"]), one["from"], one["to"], str(one["amount"]))
                label = ""
        out.print_rows(rows)
        ends = ", ".join(f"{one['account']} {one['amount']}" for one in told["ends"])
        out.print(f"in the end: {ends}; together 0")

    answer(told, json, show)


async def _steps(tx: Tx, payment: Payment) -> list[tuple[str, WalkedEntry]]:
    """The entries of a payment and its refunds, each with what it was for."""
    refunds = await pay.list_refunds(tx, payment.merchant_id, payment.id)
    labels: dict[EntryKey, str] = {pay.payment_entry_key(payment.id): "payment"}
    for refund in refunds:
        labels[pay.refund_entry_key(refund.id)] = f"refund {refund.merchant_reference}"
    walked = await ledger.walk_entries(tx, list(labels))
    return [(labels[entry.key], entry) for entry in walked]


async def _names(tx: Tx, payment: Payment) -> dict[UUID, str]:
    merchant = await merchants.get_merchant(tx, payment.merchant_id)
    names: dict[UUID, str] = {pay.HOUSE: "house", merchant.id: merchant.name}
    if payment.payer_id is not None:
        names[payment.payer_id] = (await identity.get_person(tx, payment.payer_id)).name
    return names


def _side(side: Side, names: dict[UUID, str]) -> str:
    return f"{names.get(side.owner_id, '?')}: {side.code}"


def _told(label: str, entry: WalkedEntry, names: dict[UUID, str]) -> dict[str, Any]:
    return {
        "step": label,
        "entry": entry.key,
        "occurred_at": entry.occurred_at,
        "transfers": [
            {"from": _side(one.debit, names), "to": _side(one.credit, names), "amount": one.amount}
            for one in entry.transfers
        ],
    }


def _ends(steps: list[tuple[str, WalkedEntry]], names: dict[UUID, str], currency: Currency) -> list[dict[str, Any]]:
    """What each account gained or lost by all of it; these add up to zero."""
    gained: dict[str, int] = {}
    for _, entry in steps:
        for one in entry.transfers:
            for side, sign in ((one.debit, -1), (one.credit, 1)):
                name = _side(side, names)
                gained[name] = gained.get(name, 0) + sign * one.amount.minor
    return [{"account": name, "amount": Money(minor, currency)} for name, minor in gained.items()]
