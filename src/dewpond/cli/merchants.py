"""`dewpond merchants`: merchants, their keys and certificates."""

import os
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from dewpond import ledger, merchants, pay
from dewpond.cli.desk import Desk, open_desk
from dewpond.cli.terminal import Json, answer, answering, choose, moment, refuse, table
from dewpond.kit import clock, crypto, worlds
from dewpond.kit.db import Tx
from dewpond.kit.money import Money
from dewpond.merchants import KeyMode, Merchant

app = typer.Typer(no_args_is_help=True, help="Merchants, their keys and certificates.")

Which = Annotated[str, typer.Argument(help="Name, number (mchid) or id (mch_…).")]


class Mode(StrEnum):
    """How the terminal writes the key modes."""

    CERTIFICATE = "certificate"
    PUBLIC_KEY = "public-key"

    @property
    def key_mode(self) -> KeyMode:
        return KeyMode(self.value.replace("-", "_"))


async def find_merchant(tx: Tx, desk: Desk, text: str) -> Merchant:
    """The merchant that was meant; its number or id wins over everybody's name."""
    found = await merchants.find_merchants(tx, text)
    found = [one for one in found if one.number == text] or found
    return choose(found, text, desk.world, what="merchant", call=lambda one: one.number)


@app.command(epilog='Example: dewpond merchants create "Tea Shop" --out keys/')
@answering
async def create(
    name: Annotated[str, typer.Argument(help="What the merchant is called.")],
    out: Annotated[Path, typer.Option(help="Folder for its key files; the private key is made there and stays there.")],
    key_mode: Annotated[Mode, typer.Option(help="Which platform key signs callbacks and answers.")] = Mode.CERTIFICATE,
    fee_rate: Annotated[str, typer.Option(help="The platform's share of each payment.")] = "0.60%",
    json: Json = False,
) -> None:
    """Make a merchant with an app, keys and a certificate, and write all its software needs into a folder."""
    rate = _basis_points(fee_rate)
    async with open_desk(make=True) as desk:
        told = await create_merchant(desk, name, out, key_mode=key_mode.key_mode, fee_rate_bp=rate)

    def show(console: Any) -> None:
        console.print(f"[bold]{name}[/] is merchant {told['mchid']} with app {told['appid']}", soft_wrap=True)
        console.print(f"Key files and merchant.json are in {out}", soft_wrap=True)

    answer(told, json, show)


async def create_merchant(
    desk: Desk, name: str, out: Path, *, key_mode: KeyMode = KeyMode.CERTIFICATE, fee_rate_bp: int = 60
) -> dict[str, Any]:
    """A merchant whose private key is made in `out`; what `merchant.json` says. Refuses a folder that has a key."""
    key_file = out / "apiclient_key.pem"
    if key_file.exists():
        refuse(f"{key_file} exists: a merchant's key is never written over. Choose another folder.")
    out.mkdir(parents=True, exist_ok=True)
    key_pem = crypto.new_private_key_pem()
    async with desk.db.transaction() as tx:
        now = await worlds.read_clocks(tx)
        made = await merchants.onboard_merchant(
            tx, name, secrets=desk.secrets, wall_now=now.wall, fee_rate_bp=fee_rate_bp, key_mode=key_mode
        )
        csr = crypto.certificate_signing_request(key_pem, made.merchant.number)
        certificate = await merchants.issue_certificate(tx, made.merchant, csr, secrets=desk.secrets, wall_now=now.wall)
        await pay.open_merchant_accounts(tx, made.merchant.id, now=now)
        world = await worlds.get_world(tx)
        told = {
            "mchid": made.merchant.number,
            "id": made.merchant.text_id,
            "name": made.merchant.name,
            "appid": made.app.appid,
            "serial_no": certificate.serial,
            "apiv3_key": made.api_v3_key,
            "platform_serial_no": made.platform_certificate.id,
            "public_key_id": made.public_key.id,
            "key_mode": key_mode.value.replace("_", "-"),
            "base_url": world.public_url,
        }
        # Before the commit: a full disk must not leave a merchant whose key nobody has.
        _write_secret(key_file, key_pem)
        _write_secret(out / "merchant.json", msgspec.json.format(msgspec.json.encode(told), indent=2) + b"\n")
        (out / "apiclient_cert.pem").write_text(certificate.pem)
        (out / "platform_cert.pem").write_text(made.platform_certificate.certificate or "")
        (out / "pub_key.pem").write_text(made.public_key.public_key)
    return told


def _write_secret(path: Path, text: bytes) -> None:
    path.unlink(missing_ok=True)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(text)


def _basis_points(text: str) -> int:
    try:
        scaled = Decimal(text.strip().removesuffix("%")).scaleb(2)
    except InvalidOperation:
        scaled = Decimal("NaN")
    if not scaled.is_finite() or scaled != scaled.to_integral_value():
        raise typer.BadParameter(f"{text!r} is not a rate: write 0.60%, to a hundredth of a percent")
    return int(scaled)


def _told(merchant: Merchant) -> dict[str, Any]:
    return {
        "mchid": merchant.number,
        "id": merchant.text_id,
        "name": merchant.name,
        "key_mode": merchant.key_mode.value.replace("_", "-"),
        "fee_rate_bp": merchant.fee_rate_bp,
        "created_at": merchant.created_at,
    }


def _percent(rate_bp: int) -> str:
    return f"{Decimal(rate_bp).scaleb(-2):.2f}%"


@app.command("list", epilog="Example: dewpond merchants list --json")
@answering
async def list_(json: Json = False) -> None:
    """Every merchant, the oldest first."""
    async with open_desk() as desk, desk.db.transaction() as tx:
        found = await merchants.list_merchants(tx)

    def show(console: Any) -> None:
        rows = table("name", "mchid", "id", ">fee", "key mode", "since")
        for one in found:
            mode = one.key_mode.value.replace("_", "-")
            rows.add_row(one.name, one.number, one.text_id, _percent(one.fee_rate_bp), mode, moment(one.created_at))
        console.print(rows)

    answer([_told(one) for one in found], json, show)


@app.command(epilog='Example: dewpond merchants show "Tea Shop"')
@answering
async def show(which: Which, json: Json = False) -> None:
    """One merchant: its apps, certificates and money."""
    async with open_desk() as desk, desk.db.transaction() as tx:
        merchant = await find_merchant(tx, desk, which)
        apps = await merchants.apps_of(tx, merchant.id)
        certificates = await merchants.list_certificates(tx, merchant.id)
        balances = await ledger.list_balances(tx, merchant.id)
    told = _told(merchant) | {
        "apps": [{"appid": one.appid, "name": one.name} for one in apps],
        "certificates": [
            {
                "serial_no": one.serial,
                "not_before": one.not_before,
                "not_after": one.not_after,
                "revoked_at": one.revoked_at,
            }
            for one in certificates
        ],
        "accounts": [
            {"code": one.code, "currency": one.currency, "available": one.available, "held": one.held}
            for one in balances
        ],
    }

    def show(console: Any) -> None:
        console.print(f"[bold]{merchant.name}[/] {merchant.number} ({merchant.text_id})", soft_wrap=True)
        fee = _percent(merchant.fee_rate_bp)
        console.print(f"fee {fee}, {merchant.key_mode.value.replace('_', '-')} mode", soft_wrap=True)
        for app in apps:
            console.print(f"app {app.appid} {app.name}", soft_wrap=True)
        for one in balances:
            held = f", {Money(one.held, one.currency)} held" if one.held else ""
            console.print(f"{one.code} {Money(one.available, one.currency)}{held}", soft_wrap=True)
        rows = table("certificate", "valid until", "revoked")
        for certificate in certificates:
            rows.add_row(certificate.serial, moment(certificate.not_after), moment(certificate.revoked_at))
        console.print(rows)

    answer(told, json, show)


@app.command(epilog='Example: dewpond merchants revoke "Tea Shop" 5157F09EFDC096DE15EBE81A47057A7232F1B8E1')
@answering
async def revoke(
    which: Which,
    serial_no: Annotated[str, typer.Argument(help="Serial number of the certificate, 40 hex digits.")],
    json: Json = False,
) -> None:
    """Stop trusting a certificate, from the next request on."""
    async with open_desk() as desk:
        async with desk.db.transaction() as tx:
            merchant = await find_merchant(tx, desk, which)
            serial = serial_no.upper()
            await merchants.revoke_certificate(tx, merchant.id, serial, wall_now=clock.wall_now())
        told = {"mchid": merchant.number, "serial_no": serial, "revoked": True}
        answer(told, json, lambda console: console.print(f"{serial} is revoked", soft_wrap=True))


@app.command("key-mode", epilog='Example: dewpond merchants key-mode "Tea Shop" public-key')
@answering
async def key_mode(
    which: Which, mode: Annotated[Mode, typer.Argument(help="certificate or public-key.")], json: Json = False
) -> None:
    """Choose which platform key signs what names none."""
    async with open_desk() as desk:
        async with desk.db.transaction() as tx:
            merchant = await find_merchant(tx, desk, which)
            await merchants.set_key_mode(tx, merchant.id, mode.key_mode)
        told = {"mchid": merchant.number, "key_mode": mode.value}
        answer(told, json, lambda console: console.print(f"{merchant.name} is in {mode.value} mode"))
