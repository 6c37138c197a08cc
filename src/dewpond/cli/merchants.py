"""`dewpond merchants`: merchants, their keys and certificates."""

import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
import typer

from dewpond import ledger, merchants, pay
from dewpond.cli.desk import Desk, open_desk
from dewpond.cli.paper import Paper, Rows
from dewpond.cli.terminal import Json, answer, answering, choose, moment, note, refuse
from dewpond.kit import crypto, worlds
from dewpond.kit.db import Tx
from dewpond.kit.money import Money
from dewpond.merchants import Deed, FeeRateInvalid, KeyMode, Merchant

app = typer.Typer(no_args_is_help=True, help="Merchants, their keys and certificates.")

Which = Annotated[str, typer.Argument(help="Name, number (mchid) or id (mch_…).")]

_KEY_FILES: Final = ("apiclient_key.pem", "merchant.json", "apiclient_cert.pem", "platform_cert.pem", "pub_key.pem")
_SECRET: Final = frozenset({"apiclient_key.pem", "merchant.json"})


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
    out: Annotated[str, typer.Option(help="Folder for its key files; the private key is made there and stays there.")],
    key_mode: Annotated[Mode, typer.Option(help="Which platform key signs callbacks and answers.")] = Mode.CERTIFICATE,
    fee_rate: Annotated[str, typer.Option(help="The platform's share of each payment.")] = "0.60%",
    json: Json = False,
) -> None:
    """Make a merchant with an app, keys and a certificate, and write all its software needs into a folder."""
    rate, folder = _basis_points(fee_rate), _folder(out)
    _refuse_used(folder, _KEY_FILES)  # before a world is made for it
    async with open_desk(make=True) as desk, desk.db.transaction() as tx:
        told = await create_merchant(tx, desk, name, folder, key_mode=key_mode.key_mode, fee_rate_bp=rate)

    def show(console: Paper) -> None:
        console.print((name, "bold"), f" is merchant {told['mchid']} with app {told['appid']}")
        console.print(f"Key files and merchant.json are in {out}")
        console.print(
            "A way into its console: ",
            (f'dewpond staff invite "{name}" --merchant {told["mchid"]} --role owner', "bold"),
        )

    answer(told, json, show)


async def create_merchant(
    tx: Tx, desk: Desk, name: str, out: Path, *, key_mode: KeyMode = KeyMode.CERTIFICATE, fee_rate_bp: int = 60
) -> dict[str, Any]:
    """A merchant whose private key is made in `out`; what `merchant.json` says.

    Refuses a folder that has any of its files; one that is not there yet is made when there is something to write.
    """
    _refuse_used(out, _KEY_FILES)
    key_pem = crypto.new_private_key_pem()
    now = await worlds.read_clocks(tx)
    made = await merchants.onboard_merchant(
        tx, name, secrets=desk.secrets, wall_now=now.wall, fee_rate_bp=fee_rate_bp, key_mode=key_mode
    )
    csr = crypto.certificate_signing_request(key_pem, made.merchant.number)
    certificate = await merchants.issue_certificate(tx, made.merchant, csr, secrets=desk.secrets, wall_now=now.wall)
    await pay.open_merchant_accounts(tx, made.merchant.id, now=now)
    await merchants.record_act(tx, Deed.MERCHANT_MADE, by=None, now=now, merchant_id=made.merchant.id)
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
        "base_url": world.wire_url,
    }
    _write_keys(
        out,
        {
            "apiclient_key.pem": key_pem,
            "merchant.json": msgspec.json.format(msgspec.json.encode(told), indent=2) + b"\n",
            "apiclient_cert.pem": certificate.pem.encode(),
            "platform_cert.pem": (made.platform_certificate.certificate or "").encode(),
            "pub_key.pem": made.public_key.public_key.encode(),
        },
    )
    return told


def _folder(out: str) -> Path:
    if not out.strip():
        raise typer.BadParameter("--out wants the name of a folder")
    return Path(out)


def _refuse_used(out: Path, names: Iterable[str]) -> None:
    """Refuse a folder that has one of these files."""
    for file in (out / name for name in names):
        if os.path.lexists(file):
            refuse(f"{file} exists: a merchant's key is never written over. Choose another folder.", "folder_used")


def _write_keys(out: Path, files: Mapping[str, bytes]) -> None:
    """Write key files into a folder, all of them or none; a folder that is made for them goes again with them.

    Called before the commit: a full disk must not leave a merchant whose key nobody has. The folder tells git to
    leave it alone.
    """
    made: list[Path] = []
    try:
        for folder in reversed([step for step in (out, *out.parents) if not step.exists()]):
            folder.mkdir()
            made.append(folder)
        ignored = {} if os.path.lexists(out / ".gitignore") else {".gitignore": b"*\n"}
        for name, text in (ignored | dict(files)).items():
            handle = os.open(out / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600 if name in _SECRET else 0o644)
            made.append(out / name)
            with os.fdopen(handle, "wb") as file:
                file.write(text)
    except OSError:
        for path in reversed(made):
            with suppress(OSError):
                path.rmdir() if path.is_dir() else path.unlink()
        raise


def _basis_points(text: str) -> int:
    try:
        return merchants.read_fee_rate(text)
    except FeeRateInvalid:
        raise typer.BadParameter(f"{text!r} is no rate from 0% to 100%: write 0.60%, to a hundredth of one") from None


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

    def show(console: Paper) -> None:
        rows = Rows("name", "mchid", "id", ">fee", "key mode", "since (real time)")
        for one in found:
            mode = one.key_mode.value.replace("_", "-")
            rows.add_row(one.name, one.number, one.text_id, _percent(one.fee_rate_bp), mode, moment(one.created_at))
        console.print_rows(rows)

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

    def show(console: Paper) -> None:
        console.print((merchant.name, "bold"), f" {merchant.number} ({merchant.text_id})")
        fee = _percent(merchant.fee_rate_bp)
        console.print(f"fee {fee}, {merchant.key_mode.value.replace('_', '-')} mode")
        for app in apps:
            console.print(f"app {app.appid} {app.name}")
        for one in balances:
            held = f", {Money(one.held, one.currency)} held" if one.held else ""
            console.print(f"{one.code} {Money(one.available, one.currency)}{held}")
        rows = Rows("certificate", "valid until", "revoked")
        for certificate in certificates:
            rows.add_row(certificate.serial, moment(certificate.not_after), moment(certificate.revoked_at))
        console.print_rows(rows)

    answer(told, json, show)


@app.command(epilog='Example: dewpond merchants certify "Tea Shop" --out new-keys/')
@answering
async def certify(
    which: Which,
    out: Annotated[
        str | None, typer.Option(help="Folder for the new private key, which is made there, and its certificate.")
    ] = None,
    csr: Annotated[
        Path | None,
        typer.Option(help="Sign this request instead, of a key you have made yourself.", exists=True, dir_okay=False),
    ] = None,
    json: Json = False,
) -> None:
    """Give a merchant one more certificate. The older ones stay good until they are revoked or end."""
    if (out is None) == (csr is None):
        raise typer.BadParameter("say where the new key is to go (--out DIR) or what to sign (--csr FILE)")
    folder = _folder("csr" if out is None else out)
    if out is not None:
        _refuse_used(folder, ("apiclient_key.pem", "apiclient_cert.pem"))
    async with open_desk() as desk, desk.db.transaction() as tx:
        merchant = await find_merchant(tx, desk, which)
        now = await worlds.read_clocks(tx)
        if csr is not None:
            request = csr.read_bytes()
            made = await merchants.issue_certificate(tx, merchant, request, secrets=desk.secrets, wall_now=now.wall)
        else:
            key_pem = crypto.new_private_key_pem()
            request = crypto.certificate_signing_request(key_pem, merchant.number)
            made = await merchants.issue_certificate(tx, merchant, request, secrets=desk.secrets, wall_now=now.wall)
            _write_keys(folder, {"apiclient_key.pem": key_pem, "apiclient_cert.pem": made.pem.encode()})
        await merchants.record_act(
            tx, Deed.CERTIFICATE_ISSUED, by=None, now=now, merchant_id=merchant.id, subject=made.serial
        )
    told = {
        "mchid": merchant.number,
        "serial_no": made.serial,
        "not_before": made.not_before,
        "not_after": made.not_after,
        "certificate": made.pem,
    }

    def show(console: Paper) -> None:
        if out is None:
            for line in made.pem.strip().splitlines():
                console.print(line)
        else:
            console.print(f"Key and certificate {made.serial} of {merchant.name} are in {out}")

    answer(told, json, show)
    if not json:
        note(f"Once your software uses {made.serial}: dewpond merchants revoke {merchant.number} OLD_SERIAL")


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
            serial, now = serial_no.upper(), await worlds.read_clocks(tx)
            await merchants.revoke_certificate(tx, merchant.id, serial, wall_now=now.wall)
            await merchants.record_act(
                tx, Deed.CERTIFICATE_REVOKED, by=None, now=now, merchant_id=merchant.id, subject=serial
            )
        told = {"mchid": merchant.number, "serial_no": serial, "revoked": True}
        answer(told, json, lambda console: console.print(f"{serial} is revoked"))


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
            now = await worlds.read_clocks(tx)
            await merchants.record_act(
                tx, Deed.KEY_MODE_CHOSEN, by=None, now=now, merchant_id=merchant.id, detail=mode.key_mode
            )
        told = {"mchid": merchant.number, "key_mode": mode.value}
        answer(told, json, lambda console: console.print(f"{merchant.name} is in {mode.value} mode"))
