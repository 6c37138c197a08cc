"""Commands as somebody at a terminal types them, in this process: what they answer, say beside it, and end with."""

import asyncio
import contextlib
import io
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from dewpond import merchants, pay
from dewpond.cli import commands
from dewpond.kit import worlds
from dewpond.kit.db import Database
from dewpond.kit.money import Money
from dewpond.settings import read_settings
from dewpond.wiring import open_house
from dewpond.worker import drain


@dataclass(frozen=True, slots=True)
class Ran:
    """What came of a command."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one JSON document on stdout; there is nothing else there."""
        assert self.code == 0, self.err
        return json.loads(self.out)


Type = Callable[..., Ran]


def run(*words: str) -> Ran:
    """Type a command."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    argv, sys.argv = sys.argv, ["dewpond", *words]
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            commands.main()
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(bool(ended.code))
    finally:
        sys.argv = argv
    return Ran(code, out.getvalue(), err.getvalue())


@pytest.fixture(scope="module")
def dewpond(dsn: str, owner_dsn: str, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Type commands into the module's own database, which is an empty one to begin with."""
    home: Path = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DEWPOND_HOME", str(home))
        patch.setenv("DEWPOND_DATABASE_URL", dsn)
        patch.setenv("DEWPOND_OWNER_DATABASE_URL", owner_dsn)
        yield run


# --- a shop that asks, and a worker ----------------------------------------------------------------------------------

NOWHERE = "http://127.0.0.1:9/notify"


@dataclass(frozen=True, slots=True)
class Asked:
    """An open payment, as the shop holds it."""

    code_url: str
    number: str
    payment: str


Ask = Callable[..., Asked]


@pytest.fixture(scope="module")
def shop(dewpond: Type, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder: Path = tmp_path_factory.mktemp("shop")
    made: dict[str, Any] = dewpond("merchants", "create", "Tea Shop", "--out", str(folder), "--json").json
    return made


@pytest.fixture(scope="module")
def ask(shop: dict[str, Any], dsn: str) -> Ask:
    """`ask("tea1", "18.00")`: the shop asks for money."""

    async def open_payment(
        number: str, amount: str, minutes: int, mchid: str, description: str, meant_for: Any
    ) -> Asked:
        db = await Database.open(dsn, size=1)
        async with db.transaction() as tx:
            merchant = (await merchants.find_merchants(tx, mchid or shop["mchid"]))[0]
            app = (await merchants.apps_of(tx, merchant.id))[0]
            now = await worlds.read_clocks(tx)
            opening = pay.Opening(
                merchant_id=merchant.id,
                app_id=app.id,
                merchant_reference=number,
                description=description,
                amount=Money.parse(amount),
                fee_rate_bp=merchant.fee_rate_bp,
                expires_at=now.world + timedelta(minutes=minutes),
                now=now,
                meant_for=meant_for,
                request=pay.NewRequest(trade_type="NATIVE", request_hash=b"1", notify_url=NOWHERE),
            )
            opened = (await pay.open_payments(tx, [opening]))[0]
            assert isinstance(opened, pay.Opened)
            payment = await pay.get_payment(tx, merchant.id, opened.payment_id)
        await db.close()
        return Asked(f"http://localhost:8601/q/{opened.code}", number, payment.text_id)

    def asking(
        number: str,
        amount: str = "18.00",
        minutes: int = 60,
        mchid: str = "",
        description: str = "Longjing",
        meant_for: Any = None,
    ) -> Asked:
        return asyncio.run(open_payment(number, amount, minutes, mchid, description, meant_for))

    return asking


def work(dsn: str) -> None:
    """Do what a worker does, until nothing is left to do now."""

    async def once() -> None:
        async with open_house(read_settings(), dsn=dsn, name="tests", listeners=()) as house:
            await drain(house)

    asyncio.run(once())
