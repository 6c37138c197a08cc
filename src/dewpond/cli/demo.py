"""`dewpond demo`: the tea shop's story, played by a real shop's server over the wire, step by step."""

import json as jsonlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any, Final

import typer

from dewpond.cli.paper import Paper
from dewpond.cli.running import find_running
from dewpond.cli.shop import SDK_MISSING, has_sdk, shop_program
from dewpond.cli.terminal import Json, Refused, answer_json, note, refuse
from dewpond.kit.money import CNY, Money
from dewpond.settings import Settings, read_settings

app = typer.Typer()

SHOP: Final = "Tea Shop"
PAYER: Final = "Alice"
PRICE: Final = Money(1800, CNY)
FIRST_REFUND: Final = Money(500, CNY)

_START_SECONDS: Final = 120.0
_WAIT_SECONDS: Final = 30.0


@app.command(epilog="Example: dewpond demo")
def demo(json: Json = False) -> None:
    """Play the whole story: order, payment, callback, refunds, the customer in the pool, the books.

    Against the world that runs in this home, or against one of its own that is gone afterwards. Ends with exit code 1
    if a step fails.
    """
    settings = read_settings()
    with ExitStack() as stack:
        running = find_running(settings)
        teller = _Teller(json)
        if running is None or not running.is_ready:
            settings = stack.enter_context(_own_world(teller))
        story = _Story(_Terminal(settings), stack, teller)
        try:
            story.play()
        except Refused as failed:
            teller.failed(str(failed))
    teller.end()


class _Teller:
    """Tells the story: as it happens to a person, at the end as one document to a program."""

    def __init__(self, json: bool) -> None:
        self._json = json
        self._steps: list[dict[str, Any]] = []
        self._failed = False
        self._out = None if json else Paper()

    def begin(self, told: str) -> None:
        self._steps.append({"step": told, "ok": False})
        if self._out:
            self._out.print()
            self._out.print((f"{len(self._steps)}. {told}", "bold"))

    def happened(self, told: str, **facts: Any) -> None:
        """What came of the step; the last word of it makes it good."""
        self._steps[-1].setdefault("happened", []).append(told)
        self._steps[-1] |= facts
        if self._out:
            self._out.print(f"   {told}")

    def good(self) -> None:
        self._steps[-1]["ok"] = True

    def failed(self, told: str) -> None:
        self._failed = True
        if not self._steps:
            self._steps.append({"step": "begin", "ok": False})
        self._steps[-1]["problem"] = told
        if self._out:
            self._out.print("   ", ("✗", "red"), f" {told}")

    def aside(self, told: str) -> None:
        if not self._json:
            note(told)

    def end(self) -> None:
        """Close the story; a failed one with exit code 1."""
        if self._json:
            answer_json({"ok": not self._failed, "steps": self._steps}, indent=2)
        elif self._failed:
            note("The story ended early.")
        elif self._out:
            self._out.print()
            self._out.print(("✓ the whole story holds", "bold green"))
        if self._failed:
            raise typer.Exit(1)


class _Terminal:
    """Our own commands, run as anybody would run them."""

    def __init__(self, settings: Settings) -> None:
        self._environ = dict(os.environ) | {"DEWPOND_HOME": str(settings.home)}

    def ask(self, *words: str) -> Any:
        """The JSON answer of a command; refused with its sentence where it fails."""
        done = subprocess.run(
            [sys.executable, "-m", "dewpond", *words, "--json"],
            env=self._environ,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            refuse(f"dewpond {words[0]}: {_last_complaint(done.stderr) or done.stdout.strip()}")
        return jsonlib.loads(done.stdout)


def _last_complaint(said: str) -> str:
    try:
        return str(jsonlib.loads(said.strip().splitlines()[-1])["error"]["message"])
    except (ValueError, LookupError, TypeError):
        return said.strip()


class _Shop:
    """The shop's server, spoken to over its own door."""

    def __init__(self, address: str) -> None:
        self._address = address

    def ask(self, method: str, path: str, wish: Mapping[str, Any] | None = None) -> Any:
        connection = HTTPConnection(self._address, timeout=60)
        try:
            body = None if wish is None else jsonlib.dumps(wish)
            connection.request(method, path, body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            told = jsonlib.loads(answer.read())
        except (OSError, HTTPException, ValueError) as error:
            refuse(f"the shop's server does not answer: {error}")
        finally:
            connection.close()
        if answer.status != 200:
            refuse(f"the shop's server says {answer.status}: {told.get('message')}")
        return told


class _Story:
    def __init__(self, terminal: _Terminal, stack: ExitStack, teller: _Teller) -> None:
        self._terminal = terminal
        self._stack = stack
        self._teller = teller

    def play(self) -> None:
        """Every step in order; the first one that fails ends it."""
        shop = self._open_shop()
        number, code_url = self._order(shop)
        paid = self._pay(code_url)
        self._told_and_asked(shop, number)
        self._refund(shop, number, FIRST_REFUND, count=1)
        self._refund(shop, number, PRICE - FIRST_REFUND, count=2)
        self._pool(paid)
        self._books(paid)

    def _step(self, told: str) -> None:
        self._teller.begin(told)

    def _open_shop(self) -> _Shop:
        self._step("The tea shop opens its own server, with the SDK from PyPI")
        # Of its own: whatever there is of that name in this world may have another key, or no money.
        keys = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="teashop-")))
        self._terminal.ask("merchants", "create", f"{SHOP} (demo)", "--out", str(keys))
        merchant = jsonlib.loads((keys / "merchant.json").read_text())
        self._merchant = merchant["mchid"]
        mode = self._terminal.ask("merchants", "show", self._merchant)["key_mode"]
        address = self._stack.enter_context(_serving(keys, mode, self._terminal.ask("world", "show")["wire_url"]))
        self._teller.happened(f"{SHOP} is merchant {self._merchant}, in {mode} mode, at {address}")
        self._teller.good()
        return _Shop(address)

    def _order(self, shop: _Shop) -> tuple[str, str]:
        self._step(f"It asks for {PRICE}")
        order = shop.ask("POST", "/orders", {"description": "Longjing, one pot", "total": PRICE.minor})
        self._teller.happened(f"order {order['out_trade_no']} is shown as {order['code_url']}", **order)
        self._teller.good()
        return order["out_trade_no"], order["code_url"]

    def _pay(self, code_url: str) -> dict[str, Any]:
        payer, pin = PAYER, "246810"
        name = f"{payer} (demo)"
        self._step(f'{payer} scans it and pays: dewpond pay {code_url} --as "{name}" --pin {pin}')
        person = self._terminal.ask("people", "create", name, "--balance", "200.00", "--pin", pin)["id"]
        paid: dict[str, Any] = self._terminal.ask("pay", code_url, "--as", person, "--pin", pin)
        self._teller.happened(f"{paid['merchant']} asked for {PRICE}: {paid['description']}")
        left = Money(paid["balance"]["minor"], paid["balance"]["currency"])
        self._teller.happened(f"paid as {paid['transaction_id']}; {payer} has {left} left", payment=paid["payment"])
        self._teller.good()
        return paid

    def _told_and_asked(self, shop: _Shop, number: str) -> None:
        self._step("The shop is told, and asks by either number")
        order = _until(lambda: _has_told(shop.ask("GET", f"/orders/{number}"), "TRANSACTION.SUCCESS", 1))
        self._teller.happened("callback TRANSACTION.SUCCESS: verified and decrypted by the SDK")
        _expect("the order's state", order["now"]["trade_state"], "SUCCESS")
        openid = order["now"]["payer"]["openid"]
        self._teller.happened(f"the query says SUCCESS; the shop knows the payer as {openid}", open_id=openid)
        self._open_id = openid
        self._teller.good()

    def _refund(self, shop: _Shop, number: str, amount: Money, *, count: int) -> None:
        self._step(f"It gives {amount} back")
        refund = shop.ask("POST", f"/orders/{number}/refunds", {"amount": amount.minor})
        self._teller.happened(f"refund {refund['out_refund_no']} is {refund['status']}")
        order = _until(lambda: _has_told(shop.ask("GET", f"/orders/{number}"), "REFUND.SUCCESS", count))
        self._teller.happened("callback REFUND.SUCCESS: verified and decrypted by the SDK")
        now = shop.ask("GET", f"/orders/{number}/refunds/{refund['out_refund_no']}")
        _expect("the refund's state", now["status"], "SUCCESS")
        _expect("the order's state", order["now"]["trade_state"], "REFUND")
        self._teller.happened("the queries say SUCCESS for the refund, REFUND for the order", **refund)
        self._teller.good()

    def _pool(self, paid: dict[str, Any]) -> None:
        self._step(f"The customer stays: dewpond pool show {self._merchant}")

        def drop() -> dict[str, Any] | None:
            pool = self._terminal.ask("pool", "show", self._merchant, "--contact", self._open_id)
            for contact in pool["contacts"]:
                kinds = [one["kind"] for one in contact["touchpoints"] if one["payment"] == paid["payment"]]
                if sorted(kinds) == ["purchase", "refund", "refund"]:
                    return dict(contact)
            return None

        contact = _until(drop)
        spending = next(one for one in contact["spendings"] if one["currency"] == CNY)
        net = Money(spending["net"]["minor"], CNY)
        self._teller.happened(
            f"{self._open_id} first bought at {spending['first_bought_at']}, {spending['purchases']} × in all,"
            f" {net} after refunds"
        )
        self._teller.happened(f"the figures walk to {paid['payment']} and its two refunds")
        self._teller.good()

    def _books(self, paid: dict[str, Any]) -> None:
        self._step(f"The books: dewpond ledger check, dewpond ledger walk {paid['payment']}")
        book = self._terminal.ask("ledger", "check")
        for one in book["currencies"]:
            _expect(f"the sum of {one['currency']}", one["total"], 0)
        self._teller.happened(f"every currency sums to zero over {book['transfers']} transfers")
        walk = self._terminal.ask("ledger", "walk", paid["payment"])
        for step in walk["steps"]:
            for one in step["transfers"]:
                amount = Money(one["amount"]["minor"], one["amount"]["currency"])
                self._teller.happened(f"{step['step']}: {one['from']} → {one['to']} {amount}")
        for end in walk["ends"]:
            _expect(f"what {end['account']} is left with", end["amount"]["minor"], 0)
        self._teller.happened("every fen is back where it came from")
        self._teller.good()


def _has_told(order: dict[str, Any], event_type: str, count: int) -> dict[str, Any] | None:
    told = [one for one in order["told"] if one["event_type"] == event_type]
    return order if len(told) >= count else None


def _until(look: Callable[[], dict[str, Any] | None]) -> dict[str, Any]:
    """What a look finds, within half a minute."""
    until = time.monotonic() + _WAIT_SECONDS
    while (found := look()) is None:
        if time.monotonic() > until:
            refuse(f"it did not happen within {_WAIT_SECONDS:.0f} seconds")
        time.sleep(0.1)
    return found


def _expect(what: str, seen: object, wanted: object) -> None:
    if seen != wanted:
        refuse(f"{what} is {seen!r}, not {wanted!r}")


@contextmanager
def _serving(keys: Path, mode: str, base_url: str) -> Iterator[str]:
    """The shop's server as a process of its own; its host and port."""
    if not has_sdk():
        refuse(SDK_MISSING)
    words = ["--keys", str(keys), "--mode", mode, "--port", "0", "--base-url", base_url]
    with tempfile.TemporaryFile("w+") as log:
        server = subprocess.Popen(
            [sys.executable, str(shop_program()), *words], stdout=subprocess.PIPE, stderr=log, text=True
        )
        try:
            assert server.stdout is not None
            said = server.stdout.readline()
            if not said.startswith("open at http://"):
                log.seek(0)
                refuse(f"the shop's server does not start: {log.read()[-500:].strip()}")
            yield said.strip().removeprefix("open at http://")
        finally:
            server.terminate()
            server.wait()
            assert server.stdout is not None
            server.stdout.close()


@contextmanager
def _own_world(teller: _Teller) -> Iterator[Settings]:
    """A world for this story only, in a folder that is removed afterwards."""
    teller.aside("No world runs here: starting one for this story.")
    home = Path(tempfile.mkdtemp(prefix="dewpond-demo-"))
    home.chmod(0o755)  # so that an unprivileged database user of root's can live in it
    environ = {name: value for name, value in os.environ.items() if not name.startswith("DEWPOND_")}
    environ |= {"DEWPOND_HOME": str(home)}
    for name in list(os.environ):
        if name.startswith("DEWPOND_"):
            del os.environ[name]  # the story's commands go to its own world
    try:
        with tempfile.TemporaryFile("w+") as log:
            run = subprocess.Popen(
                [sys.executable, "-m", "dewpond", "run", "--port", "0", "--json"],
                env=environ,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                process_group=0,
            )
            try:
                settings = read_settings(environ)
                until = time.monotonic() + _START_SECONDS
                while (found := find_running(settings)) is None or not found.is_ready:
                    if run.poll() is not None or time.monotonic() > until:
                        log.seek(0)
                        refuse(f"the world does not start: {log.read()[-500:].strip()}")
                    time.sleep(0.1)
                yield settings
            finally:
                run.terminate()
                run.wait()
    finally:
        shutil.rmtree(home, ignore_errors=True)
