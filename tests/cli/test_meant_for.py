"""What a shop asked of one person is paid from the terminal as that person only, and shown to nobody else."""

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest

from dewpond import identity
from dewpond.kit.db import Database

from .conftest import Ask, Asked, Type


@pytest.fixture(scope="module")
def people(dewpond: Type) -> dict[str, Any]:
    made = {}
    for name in ("Alice", "Bob"):
        made[name] = dewpond("people", "create", name, "--balance", "50", "--json").json
    return made


def test_only_who_was_asked_pays(dewpond: Type, people: dict[str, Any], ask: Ask, dsn: str) -> None:
    asked = ask("for-alice", meant_for=asyncio.run(id_of(dsn, people["Alice"]["id"])))
    nothing = replace(asked, code_url=asked.code_url[:-8] + "A" * 8, number="for-nobody", payment="pay_" + "0" * 26)
    for way in ("code_url", "number", "payment"):
        refused, unknown = (refusal(dewpond, one, way) for one in (asked, nothing))
        assert refused == unknown
        assert refused["code"] in {"code_unknown", "payment_not_found"}
    paid = dewpond("pay", asked.code_url, "--as", "Alice", "--json").json
    assert paid["payer"] == people["Alice"]["id"]
    assert refusal(dewpond, asked, "code_url") == refusal(dewpond, nothing, "code_url")
    wallets = dewpond("people", "show", "Bob", "--json").json["wallets"]
    assert [one["available"] for one in wallets] == [50_00]


def refusal(dewpond: Type, asked: Asked, way: str) -> dict[str, Any]:
    """What Bob is told, without the words he asked with."""
    text = getattr(asked, way)
    ran = dewpond("pay", text, "--as", "Bob", "--json")
    assert (ran.code, ran.out) == (1, "")
    told: dict[str, Any] = json.loads(ran.err.replace(text, "TEXT"))["error"]
    return told


async def id_of(dsn: str, text: str) -> identity.PersonId:
    db = await Database.open(dsn, size=1)
    async with db.transaction() as tx:
        [person] = await identity.find_people(tx, text)
    await db.close()
    return person.id
