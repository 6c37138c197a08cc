"""`dewpond pay`: pay as a person, on the whole way a phone takes."""

import sys
from collections.abc import Sequence
from typing import Annotated
from urllib.parse import parse_qs, urlsplit

import typer

from dewpond import ledger, merchants, pay
from dewpond.cli.desk import Desk, open_desk
from dewpond.cli.paper import Paper, short
from dewpond.cli.people import SANDBOX_PIN, find_person
from dewpond.cli.terminal import Json, answer, answering, choose, moment, refuse
from dewpond.identity import PersonId
from dewpond.kit import worlds
from dewpond.kit.batch import Batch
from dewpond.kit.clock import Now
from dewpond.kit.db import Tx
from dewpond.kit.failures import Failure
from dewpond.kit.money import Money
from dewpond.pay import Confirmation, Payment, PaymentStatus, PinProof

app = typer.Typer()


@app.command(epilog="Example: dewpond pay https://…/q/7h2kq… --as Alice")
@answering
async def pay_(
    what: Annotated[
        str, typer.Argument(metavar="CODE_URL_OR_NUMBER", help="The scanned code, or a payment's number or id.")
    ],
    who: Annotated[str, typer.Option("--as", help="Who pays: name or id (per_…).")],
    pin: Annotated[str, typer.Option(help="The payment PIN.")] = SANDBOX_PIN,
    json: Json = False,
) -> None:
    """Pay as a person (sandbox): look the code up, show who asks for what, PIN, confirm.

    Exit code 0 means paid, also when this person had paid it before; a refusal says why and is not 0.
    """
    async with open_desk() as desk:
        async with desk.db.transaction() as tx:
            await worlds.require_sandbox(tx)
            now = await worlds.read_clocks(tx)
            person = await find_person(tx, desk, who)
            payment = await _look_up(tx, desk, what, person.id, now)
            merchant = await merchants.get_merchant(tx, payment.merchant_id)
        if not json:
            _ask(merchant.name, payment, person.name)
        was_paid = payment.status is PaymentStatus.SUCCEEDED
        confirmation = Confirmation(
            merchant_id=payment.merchant_id, payment_id=payment.id, payer_id=person.id, proof=PinProof(pin), now=now
        )
        paid = await _confirm(desk, confirmation)
        async with desk.db.transaction() as tx:
            left = await ledger.get_balance(tx, pay.wallet_of(person.id, paid.currency))
        told = {
            "payment": paid.text_id,
            "transaction_id": paid.public_number,
            "out_trade_no": paid.merchant_reference,
            "mchid": merchant.number,
            "merchant": merchant.name,
            "description": paid.description,
            "amount": paid.amount,
            "payer": person.text_id,
            "succeeded_at": paid.succeeded_at,
            "was_paid": was_paid,
            "balance": Money(left.available, paid.currency),
        }

        def show(out: Paper) -> None:
            said = "had been paid before" if was_paid else "paid"
            out.print(("✓", "green"), f" {said} {moment(paid.succeeded_at)}, number {paid.public_number}")
            out.print(f"  {person.name} has {told['balance']} left")

        answer(told, json, show)


async def _look_up(tx: Tx, desk: Desk, text: str, payer_id: PersonId, now: Now) -> Payment:
    """What a scanned code leads to, refused as a phone would be refused; or a payment by any of its numbers. What is
    meant for another is not there."""
    if "://" in text:
        return await pay.get_payment_by_code(tx, _code_of(text), by=payer_id, now=now)
    found = [one for one in await pay.find_payments(tx, text) if one.is_for(payer_id)]
    shops = {one.merchant_id: (await merchants.get_merchant(tx, one.merchant_id)).name for one in found}
    # Money moves: nobody guesses whose order is meant, in a sandbox neither.
    call = {one.id: f"{one.text_id} ({one.amount}, {short(shops[one.merchant_id])})" for one in found}
    return choose(found, text, desk.world, what="payment", call=lambda one: call[one.id], guess=False)


def _code_of(link: str) -> str:
    """The code in a link: WeChat's own carries it as `pr`, ours at the end of its path."""
    parts = urlsplit(link)
    asked = parse_qs(parts.query).get("pr")
    return asked[0] if asked else parts.path.rstrip("/").rpartition("/")[2]


def _ask(merchant: str, payment: Payment, payer: str) -> None:
    told = f": {payment.description} ({payment.merchant_reference})"
    try:
        Paper().print((merchant, "bold"), f" asks {payer} for ", (str(payment.amount), "bold"), told)
        sys.stdout.flush()
    except OSError as error:
        refuse(f"Nothing was paid: what is asked for could not be shown ({error.strerror}).", "not_shown")


async def _confirm(desk: Desk, confirmation: Confirmation) -> Payment:
    """Through a batch of one, which asks again where the connection is lost at the commit."""
    secrets = desk.secrets

    async def carry_out(items: Sequence[Confirmation]) -> Sequence[Payment | Failure]:
        async with desk.db.transaction() as tx:
            return await pay.confirm_payments(tx, items, secrets=secrets)

    batch: Batch[Confirmation, Payment] = Batch(carry_out, key=lambda item: item.key)
    try:
        return await batch.submit(confirmation)
    finally:
        await batch.close()
