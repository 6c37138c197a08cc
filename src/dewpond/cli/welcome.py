"""What `run` says once it is ready."""

import os
import shutil
import sys
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import segno

from dewpond.cli.demo_world import shop_folder
from dewpond.cli.desk import Place
from dewpond.cli.paper import Paper
from dewpond.cli.terminal import answer_json, moment
from dewpond.kit.clock import wall_now
from dewpond.kit.worlds import World


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What only the run itself knows; empty where there is none."""

    access_code: str
    trust_url: str
    shop_url: str


def welcome(place: Place, world: World, told_of: Told, *, json: bool) -> None:
    """Say where everything is and what to try, or all of it as one JSON document."""
    access_code, trust_url, shop_url = told_of.access_code, told_of.trust_url, told_of.shop_url
    settings = place.settings
    keys = shop_folder(settings)
    has_shop = world.is_sandbox and (keys / "merchant.json").exists()
    if json:
        told = {"ready": True, "url": world.wire_url, "phone": world.public_url, "staff": world.staff_url}
        told |= {"kind": world.kind, "home": str(settings.home), "pid": os.getpid()}
        if has_shop:
            told["tea_shop"] = str(keys)
        if access_code and world.is_sandbox:
            told["access_code"] = access_code
        if trust_url:
            told["trust"] = trust_url
        if shop_url:
            told["shop"] = shop_url
        answer_json(told)
        return
    out = Paper()
    out.print()
    out.print(("ready", "bold green"), f"  a {world.kind} world in {settings.home}")
    out.print()
    doors = [
        ("the phone", world.public_url, "open it, come in, scan and pay"),
        ("for staff", world.staff_url, "the shop's live console and the operator's desk"),
        ("the wire", world.wire_url, "what SDKs of WeChat Pay call"),
    ]
    doors[:0] = [("a tea shop", shop_url, "buy a cup: it shows the code to scan")] if shop_url else []
    doors[:0] = [("first", trust_url, "on each phone, once: install the certificate")] if trust_url else []
    for name, url, about in doors:
        out.print(f"  {name:<11}", (f"{url:<28}", "bold"), " ", (about, "dim"))
    if trust_url and sys.stdout.isatty():
        segno.make(trust_url, error="m").terminal(out=sys.stdout, compact=True, border=2)
    if trust_url:
        out.print("  Type https:// in front of the others: without it a browser asks by http, and nobody answers.")
    if _is_address(world.public_url):
        out.print("  Phones know passkeys by a name only: here people pay by PIN. --lan-name pond.local gives a name.")
    _tell_time(out, world)
    if has_shop:
        out.print(f"  the tea shop's keys are in {keys}")
    if access_code and world.is_sandbox:
        out.print("  access code for whoever comes from elsewhere: ", (access_code, "bold"))
    if world.is_sandbox:
        _what_to_try(out, has_shop=has_shop)
    out.print()
    out.print("Ctrl-C stops everything.")
    sys.stdout.flush()


def _what_to_try(out: Paper, *, has_shop: bool) -> None:
    for told_of in ("", "In another terminal:", ""):
        out.print(told_of)
    tries = [
        ("dewpond demo", "the whole story, step by step"),
        ('dewpond merchants create "My Shop" --out keys/', "a merchant of your own"),
        ("dewpond pay CODE_URL --as Alice", "pay an order, as a phone does"),
    ]
    tries += [('dewpond pool show "Tea Shop"', "who settled in the pool")] if has_shop else []
    tries += [("dewpond ledger check", "the books, added up")]
    shown = [(command.replace("dewpond", ours(), 1), told_of) for command, told_of in tries]
    widest = max(len(command) for command, _ in shown)
    for command, told_of in shown:
        out.print("  ", (command.ljust(widest), "bold"), "  ", (told_of, "dim"))


def ours() -> str:
    """How this program is called where it runs: by its name, or by the way to it where the shell does not know it."""
    if shutil.which("dewpond"):
        return "dewpond"
    here = os.path.relpath(sys.argv[0])
    return here if Path(here).name == "dewpond" and not here.startswith("..") else "dewpond"


def _is_address(url: str) -> bool:
    try:
        return not ip_address(urlsplit(url).hostname or "").is_loopback
    except ValueError:
        return False


def _tell_time(out: Paper, world: World) -> None:
    """A clock that was moved or stands is easily forgotten, and then nothing falls due when one expects it."""
    now = world.time(wall_now())
    if world.frozen_at is not None:
        out.print("  world time stands at ", (moment(now.world), "bold"), " (Beijing)")
    elif abs(now.world - now.wall) > timedelta(minutes=1):
        out.print("  world time is ", (moment(now.world), "bold"), " (Beijing): its clock was moved ahead")
