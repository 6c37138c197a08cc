"""`dewpond staff`: who comes in at the desk and at merchants, and by which link."""

import asyncio
import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from dewpond import merchants
from dewpond.kit import clock
from dewpond.kit.db import Database
from dewpond.merchants import StaffMember

from .conftest import Type


def let_in(dsn: str, link: str) -> StaffMember | None:
    """Whom a link would let in now."""

    async def look() -> StaffMember | None:
        db = await Database.open(dsn, size=1)
        async with db.transaction() as tx:
            found = await merchants.find_invited(tx, link.rpartition("/")[2], wall_now=clock.wall_now())
        await db.close()
        return found

    return asyncio.run(look())


@pytest.fixture(scope="module")
def coffee(dewpond: Type, shop: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder: Path = tmp_path_factory.mktemp("coffee")
    made: dict[str, Any] = dewpond("merchants", "create", "Coffee Shop", "--out", str(folder), "--json").json
    return made


@pytest.mark.usefixtures("shop")
def test_an_operator_comes_in_by_a_link(dewpond: Type, dsn: str) -> None:
    told = dewpond("staff", "operators", "create", "Anna Li", "--json").json
    assert (told["name"], told["sign_in_name"], told["is_operator"], told["roles"]) == ("Anna Li", "anna-li", True, [])
    assert told["link"].startswith("http://localhost:8603/invitations/")
    left = datetime.fromisoformat(told["expires_at"]) - clock.wall_now()
    assert timedelta(hours=71) < left <= timedelta(hours=72)
    member = let_in(dsn, told["link"])
    assert member is not None
    assert (member.text_id, member.is_operator) == (told["id"], True)
    [listed] = dewpond("staff", "operators", "list", "--json").json
    assert listed["sign_in_name"] == "anna-li"
    assert "anna-li" in dewpond("staff", "operators", "list").out


@pytest.mark.usefixtures("shop")
def test_a_person_reads_who_signs_in_how_and_until_when(dewpond: Type, dsn: str) -> None:
    ran = dewpond("staff", "operators", "create", "Boris")
    who, link = ran.out.splitlines()
    assert who == "Boris signs in as boris, operator"
    assert let_in(dsn, link) is not None
    assert "good once, until" in ran.err


@pytest.mark.usefixtures("shop")
def test_a_name_nobody_can_type_needs_another_to_sign_in_with(dewpond: Type) -> None:
    ran = dewpond("staff", "operators", "create", "李伟", "--json")
    assert ran.code == 1
    assert json.loads(ran.err)["error"]["code"] == "sign_in_name_invalid"
    told = dewpond("staff", "operators", "create", "李伟", "--sign-in-name", "li-wei", "--json").json
    assert (told["name"], told["sign_in_name"]) == ("李伟", "li-wei")
    ran = dewpond("staff", "operators", "create", "Li Wei", "--json")
    assert json.loads(ran.err)["error"]["code"] == "sign_in_name_taken"


def test_staff_are_invited_listed_and_sent_away(
    dewpond: Type, dsn: str, shop: dict[str, Any], coffee: dict[str, Any]
) -> None:
    mei = dewpond("staff", "invite", "Mei", "--merchant", "Tea Shop", "--role", "owner", "--json").json
    assert mei["roles"] == [{"mchid": shop["mchid"], "merchant": "Tea Shop", "role": "owner"}]
    dewpond("staff", "invite", "Jun", "--merchant", shop["mchid"], "--role", "cashier")
    again = dewpond("staff", "invite", "jun", "--merchant", coffee["id"], "--role", "analyst", "--json").json
    assert [one["role"] for one in again["roles"]] == ["analyst", "cashier"], "the same Jun"
    listed = dewpond("staff", "list", "Tea Shop", "--json").json
    assert [(one["sign_in_name"], one["role"]) for one in listed] == [("mei", "owner"), ("jun", "cashier")]
    assert "cashier" in dewpond("staff", "list", "Tea Shop").out

    assert dewpond("staff", "end", "jun", "--merchant", "Tea Shop").out == "Jun does not work at Tea Shop any more\n"
    assert [one["sign_in_name"] for one in dewpond("staff", "list", "Tea Shop", "--json").json] == ["mei"]
    assert [one["sign_in_name"] for one in dewpond("staff", "list", "Coffee Shop", "--json").json] == ["jun"]
    ended = dewpond("staff", "end", "jun", "--json").json
    assert (ended["roles"], ended["ended"]) == ([], True)
    assert let_in(dsn, again["link"]) is None
    ran = dewpond("staff", "end", "mei", "--merchant", "Tea Shop", "--json")
    assert json.loads(ran.err)["error"]["code"] == "last_owner"


@pytest.mark.usefixtures("shop")
def test_who_has_lost_the_way_in_gets_another_link(dewpond: Type, dsn: str) -> None:
    first = dewpond("staff", "invite", "Tao", "--merchant", "Tea Shop", "--role", "analyst", "--json").json
    second = dewpond("staff", "invite", first["id"], "--json").json
    assert second["roles"] == first["roles"]
    assert let_in(dsn, first["link"]) is None
    member = let_in(dsn, second["link"])
    assert member is not None
    assert member.sign_in_name == "tao"


@pytest.mark.usefixtures("shop")
@pytest.mark.parametrize(
    ("_case", "words", "code"),
    [
        ("nobody of that name", ["end", "nobody"], "staff_member_not_found"),
        ("somebody new without a place", ["invite", "Somebody"], "staff_member_not_found"),
        ("the same, with a sign-in name", ["invite", "Somebody", "--sign-in-name", "some"], "role_missing"),
        ("a role without a place", ["invite", "Somebody", "--role", "owner"], "wrong_call"),
        ("an unknown place", ["invite", "Somebody", "--role", "owner", "--merchant", "X"], "merchant_not_found"),
        ("no such merchant", ["list", "X"], "merchant_not_found"),
    ],
)
def test_what_cannot_be_is_refused(dewpond: Type, _case: str, words: list[str], code: str) -> None:
    ran = dewpond("staff", *words, "--json")
    assert ran.code != 0
    assert ran.out == ""
    assert json.loads(ran.err)["error"]["code"] == code


def test_a_refused_invitation_leaves_nobody_behind(dewpond: Type) -> None:
    assert dewpond("staff", "invite", "Ghost", "--merchant", "nowhere", "--role", "owner").code == 1
    assert dewpond("staff", "invite", "ghost").code == 1
