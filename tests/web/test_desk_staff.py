"""The operators: invited by a link that is good once, ended at once, and never the last one."""

import asyncio
import re
from typing import Any

import pytest

from dewpond import merchants
from dewpond.kit import clock
from dewpond.kit.db import Database
from dewpond.kit.ids import new_id
from web.accounts import claim
from web.desks import plain


@pytest.fixture
async def olga(new_member: Any) -> Any:
    return await new_member("Olga", is_operator=True)


@pytest.fixture
async def operator(visitors: Any, olga: Any) -> Any:
    return await visitors.member(olga)


async def operators(database: Database) -> list[Any]:
    async with database.transaction() as tx:
        return list(await merchants.list_operators(tx))


def link_in(text: str) -> str:
    (found,) = re.findall(r'data-copy="http://localhost:\d+(/invitations/[^"]+)"', text)
    return str(found)


async def test_another_is_invited_and_comes_in(operator: Any, visitors: Any, database: Database) -> None:
    name = f"anna-{new_id().hex[-6:]}"
    answer = await operator.send_form("/desk/staff", name="Anna", sign_in_name=name)
    assert answer.status_code == 201
    path = link_in(answer.text)
    assert path not in (await operator.get("/desk/staff")).text
    anna = visitors.stranger("staff")
    welcome = await anna.send_form(path, password="a long password", again="a long password")
    assert welcome.status_code == 303
    assert (await anna.get("/desk")).status_code == 200
    assert (await visitors.stranger("staff").get(path)).status_code == 404, "good once"


@pytest.mark.parametrize(
    ("_case", "name", "sign_in_name", "said", "status"),
    [
        ("no name", " ", "somebody", "A name has 1 to 64", 422),
        ("no sign-in name", "Anna", "", "A sign-in name has", 422),
        ("spaces", "Anna", "anna b", "A sign-in name has", 422),
    ],
)
async def test_a_refused_invitation_makes_nobody(
    operator: Any, database: Database, _case: str, name: str, sign_in_name: str, said: str, status: int
) -> None:
    before = await operators(database)
    answer = await operator.send_form("/desk/staff", name=name, sign_in_name=sign_in_name)
    assert answer.status_code == status
    assert said in plain(answer.text)
    assert await operators(database) == before


async def test_a_name_is_somebodys_already(operator: Any, olga: Any) -> None:
    answer = await operator.send_form("/desk/staff", name="Anna", sign_in_name=olga.sign_in_name)
    assert answer.status_code == 409
    assert "signs in with that name already" in answer.text


async def test_only_who_has_not_come_in_gets_another_link(operator: Any, database: Database, new_member: Any) -> None:
    anna, mei = await new_member("Anna", is_operator=True), await new_member("Mei")
    path = "/desk/staff/{}/invitation"
    assert link_in((await operator.send_form(path.format(anna.text_id))).text)
    assert (await operator.send_form(path.format(mei.text_id))).status_code == 404, "no operator"
    await claim(database, anna)
    assert (await operator.send_form(path.format(anna.text_id))).status_code == 409


async def test_an_operators_time_ends_at_once(
    operator: Any, visitors: Any, database: Database, new_member: Any
) -> None:
    anna = await new_member("Anna", is_operator=True)
    client = await visitors.member(anna)
    assert (await client.get("/desk")).status_code == 200
    answer = await operator.send_form(f"/desk/staff/{anna.text_id}/end")
    assert answer.status_code == 303
    assert (await client.get("/desk")).headers["location"].startswith("/sign-in")
    assert anna.id not in {one.id for one in await operators(database)}
    assert (await operator.send_form(f"/desk/staff/{anna.text_id}/end")).status_code == 404


async def test_a_cashier_is_not_ended_from_here(operator: Any, new_member: Any, new_merchant: Any) -> None:
    mei = await new_member("Mei", shop=await new_merchant())
    assert (await operator.send_form(f"/desk/staff/{mei.text_id}/end")).status_code == 404


async def test_the_last_one_stays(operator: Any, olga: Any, visitors: Any, database: Database, new_member: Any) -> None:
    anna = await new_member("Anna", is_operator=True)
    async with database.transaction() as tx:
        for one in await merchants.list_operators(tx):
            if one.id not in {olga.id, anna.id}:
                await merchants.end_operator(tx, one.id, by=olga.id, wall_now=clock.wall_now())
    other = await visitors.member(anna)
    answers = await asyncio.gather(
        operator.send_form(f"/desk/staff/{anna.text_id}/end"), other.send_form(f"/desk/staff/{olga.text_id}/end")
    )
    assert sorted(answer.status_code for answer in answers)[0] == 303
    (left,) = await operators(database)
    client = operator if left.id == olga.id else other
    refused = await client.send_form(f"/desk/staff/{left.text_id}/end")
    assert refused.status_code == 409
    assert "keeps at least one operator" in refused.text
    assert f"/desk/staff/{left.text_id}/end" not in (await client.get("/desk/staff")).text
