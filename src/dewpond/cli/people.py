"""`dewpond people`: people, their wallets and PINs."""

from typing import Annotated, Any

import typer

from dewpond import identity, ledger, merchants, pay
from dewpond.cli.desk import Desk, open_desk
from dewpond.cli.paper import Paper, Rows
from dewpond.cli.terminal import Json, answer, answering, choose, moment, note
from dewpond.identity import Person
from dewpond.kit import worlds
from dewpond.kit.db import Tx
from dewpond.kit.money import Money
from dewpond.merchants import Deed

app = typer.Typer(no_args_is_help=True, help="People, their wallets and PINs.")

Who = Annotated[str, typer.Argument(help="Name, or id (per_…).")]

#: What people of a sandbox pay with unless told otherwise.
SANDBOX_PIN = "123456"


async def find_person(tx: Tx, desk: Desk, text: str) -> Person:
    """The person that was meant."""
    found = await identity.find_people(tx, text)
    return choose(found, text, desk.world, what="person", call=lambda one: one.text_id)


async def _told(tx: Tx, person: Person) -> dict[str, Any]:
    balances = await ledger.list_balances(tx, person.id)
    wallets = [
        {"currency": one.currency, "available": one.available, "held": one.held}
        for one in balances
        if one.code is ledger.AccountCode.WALLET
    ]
    return {"id": person.text_id, "name": person.name, "created_at": person.created_at, "wallets": wallets}


def _money(told: dict[str, Any]) -> str:
    return ", ".join(str(Money(one["available"], one["currency"])) for one in told["wallets"]) or "nothing"


@app.command(epilog="Example: dewpond people create Alice --balance 100.00")
@answering
async def create(
    name: Annotated[str, typer.Argument(help="What the person is called.")],
    balance: Annotated[str, typer.Option(help="Money in the wallet to begin with (sandbox).")] = "0",
    pin: Annotated[
        str | None, typer.Option(help=f"Payment PIN, six digits; {SANDBOX_PIN} in a sandbox if none is given.")
    ] = None,
    json: Json = False,
) -> None:
    """Make a person, with a wallet and a payment PIN."""
    amount = Money.parse(balance)
    async with open_desk(make=True) as desk:
        async with desk.db.transaction() as tx:
            person = await create_person(tx, desk, name, amount, pin=pin)
            told = await _told(tx, person)
        answer(
            told,
            json,
            lambda out: out.print((person.name, "bold"), f" {person.text_id} has {_money(told)}"),
        )


async def create_person(tx: Tx, desk: Desk, name: str, balance: Money, *, pin: str | None = None) -> Person:
    """A person with a wallet, some money and a PIN; giving money is a sandbox door."""
    if balance.minor:
        await worlds.require_sandbox(tx)
    now = await worlds.read_clocks(tx)
    person = await identity.create_person(tx, name, wall_now=now.wall, is_demo=desk.world.is_sandbox)
    await pay.open_wallets(tx, [person.id], now=now)
    if pin or desk.world.is_sandbox:
        await identity.set_pin(tx, person.id, pin or SANDBOX_PIN, secrets=desk.secrets, wall_now=now.wall)
    if balance.minor:
        await pay.top_up(tx, person.id, balance, now=now)
    return person


@app.command("list", epilog="Example: dewpond people list --json")
@answering
async def list_(json: Json = False) -> None:
    """Everybody, the newest first."""
    async with open_desk() as desk, desk.db.transaction() as tx:
        told = [await _told(tx, person) for person in await identity.newest_people(tx)]

        def show(out: Paper) -> None:
            rows = Rows("name", "id", ">money", "since (real time)")
            for one in told:
                rows.add_row(one["name"], one["id"], _money(one), moment(one["created_at"]))
            out.print_rows(rows)

        answer(told, json, show)


@app.command(epilog="Example: dewpond people show Alice")
@answering
async def show(who: Who, json: Json = False) -> None:
    """One person: wallet, and the last moves on it."""
    async with open_desk() as desk, desk.db.transaction() as tx:
        person = await find_person(tx, desk, who)
        told = await _told(tx, person)
        lines = []
        for wallet in told["wallets"]:
            account = ledger.account_of(person.id, ledger.AccountCode.WALLET, wallet["currency"])
            lines += await ledger.list_statement(tx, account, limit=20)
        told["statement"] = [
            {"at": one.occurred_at, "minor": one.minor, "currency": one.currency, "other": one.other_code}
            for one in lines
        ]

        def show(out: Paper) -> None:
            out.print((person.name, "bold"), f" {person.text_id} has {_money(told)}")
            rows = Rows("when", ">amount", "other side")
            for one in lines:
                rows.add_row(moment(one.occurred_at), str(one.amount), one.other_code)
            if lines:
                out.print_rows(rows)

        answer(told, json, show)


@app.command("top-up", epilog="Example: dewpond people top-up Alice 50.00")
@answering
async def top_up(
    who: Who, amount: Annotated[str, typer.Argument(help="How much, e.g. 50 or 50.00.")], json: Json = False
) -> None:
    """Put money into a wallet (sandbox)."""
    money = Money.parse(amount)
    async with open_desk() as desk:
        async with desk.db.transaction() as tx:
            await worlds.require_sandbox(tx)
            person = await find_person(tx, desk, who)
            now = await worlds.read_clocks(tx)
            await pay.top_up(tx, person.id, money, now=now)
            await merchants.record_act(
                tx, Deed.TOP_UP_MADE, by=None, now=now, subject=person.text_id, detail=str(money)
            )
            told = await _told(tx, person)
        answer(told, json, lambda out: out.print(f"{person.name} now has {_money(told)}"))


@app.command("set-pin", epilog="Example: dewpond people set-pin Alice 246810")
@answering
async def set_pin(who: Who, pin: Annotated[str, typer.Argument(help="Six digits.")], json: Json = False) -> None:
    """Set a payment PIN; wrong tries are forgotten and a locked one opens."""
    async with open_desk() as desk:
        async with desk.db.transaction() as tx:
            person = await find_person(tx, desk, who)
            now = await worlds.read_clocks(tx)
            await identity.set_pin(tx, person.id, pin, secrets=desk.secrets, wall_now=now.wall)
            await merchants.record_act(tx, Deed.PIN_SET, by=None, now=now, subject=person.text_id)
        if not desk.world.is_sandbox:
            note("The PIN stands in your shell's history now: let the person choose another one soon.")
        answer({"id": person.text_id, "name": person.name}, json, lambda out: out.print(f"{person.name} has a new PIN"))
