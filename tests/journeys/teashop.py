"""The tea shop's server as its README starts it, spoken to as browsers do; and its modules, as the server has them."""

import contextlib
import http.client
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import urlencode

import pytest

from journeys.running import RunningWorld

PROGRAM = Path(__file__).parents[2] / "examples" / "teashop" / "server.py"
#: A name that would be markup if anybody forgot to escape it.
NAME = "Tea & <b>Shop</b>"


@dataclass(frozen=True)
class Answer:
    status: int
    headers: http.client.HTTPMessage
    text: str


@dataclass(frozen=True)
class Shop:
    """The shop's server, in a process of its own."""

    world: RunningWorld
    keys: Path
    port: int
    process: subprocess.Popen[str] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """As a browser would; fields of a form as a mapping, anything else as it is."""
        told = {"Accept": "text/html", **{name.replace("_", "-"): value for name, value in headers.items()}}
        if isinstance(body, dict):
            body = urlencode(body)
            told.setdefault("Content-Type", "application/x-www-form-urlencoded")
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)) as connection:
            connection.request(method, path, body, told)
            answer = connection.getresponse()
            return Answer(answer.status, answer.headers, answer.read().decode())

    def page(self, path: str, language: str = "en") -> str:
        """An order's page."""
        return self.ask("GET", f"{path}/page", Accept_Language=language).text

    def state(self, path: str) -> Any:
        """An order as programs see it."""
        return json.loads(self.ask("GET", path, Accept="*/*").text)

    def order(self, **fields: str) -> str:
        """The path of a new order, by the counter's form."""
        answer = self.ask("POST", "/orders", fields or {"tea": "longjing"})
        assert answer.status == 303, answer.text
        return answer.headers["Location"].removesuffix("/page")

    def pay(self, path: str) -> dict[str, Any]:
        """Somebody scans the code on the page."""
        paid: dict[str, Any] = self.world.ask("pay", code_on(self.page(path)), "--as", "Alice")
        return paid

    def kill(self) -> None:
        """It gets no chance to tidy up."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()


def code_on(page: str) -> str:
    found = re.search(r'<code id="code-url">([^<]+)</code>', page)
    assert found, page
    return found[1]


@contextlib.contextmanager
def open_shop(world: RunningWorld, keys: Path, *more: str, port: int = 0) -> Iterator[Shop]:
    """Start it as its README says."""
    words = [sys.executable, str(PROGRAM), "--keys", str(keys), "--port", str(port), *more]
    with (world.home / "shop.out").open("ab") as log:
        process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=log, text=True)
    assert process.stdout is not None
    try:
        said = process.stdout.readline()
        assert said.startswith("open at http://127.0.0.1:"), (world.home / "shop.out").read_text()
        yield Shop(world, keys, int(said.rpartition(":")[2]), process)
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


@pytest.fixture(scope="module")
def keys(world: RunningWorld) -> Path:
    """A merchant's key files, and Alice with money to spend."""
    folder = world.home / "tea-shop"
    world.terminal("merchants", "create", NAME, "--out", str(folder))
    world.terminal("people", "create", "Alice", "--balance", "1000.00")
    return folder


@pytest.fixture(scope="module")
def shop(world: RunningWorld, keys: Path) -> Iterator[Shop]:
    """It is open for the tests of a module."""
    with open_shop(world, keys) as shop:
        yield shop


@pytest.fixture(scope="module")
def teashop() -> Iterator[dict[str, ModuleType]]:
    """The shop's own modules, as its server imports them."""
    names = ("words", "orders", "shop", "pages", "server")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(PROGRAM.parent))
        yield {name: __import__(name) for name in names}
    for name in names:
        sys.modules.pop(name)
