"""The clock at the desk: stood still, let run, moved through what is due, one step at a time."""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any

import pytest

from dewpond.kit import clock, wishes, worlds
from dewpond.kit.db import Database
from dewpond.kit.ids import new_id
from dewpond.kit.wishes import CLOCK_MOVE
from web.desks import hidden, plain, working
from web.notes import onward


@pytest.fixture
async def operator(visitors: Any, new_member: Any) -> Any:
    return await visitors.member(await new_member("Olga", is_operator=True))


@pytest.fixture(autouse=True)
async def as_before(database: Database, world: Any) -> AsyncIterator[None]:
    yield
    async with database.transaction() as tx:
        wall = clock.wall_now()
        for wish in await wishes.list_open(tx):
            await wishes.stop(tx, wish.kind, stopped_by=new_id(), wall_now=wall)
        await worlds.thaw_clock(tx, wall_now=wall)


async def world_time(database: Database) -> datetime:
    async with database.transaction() as tx:
        return (await worlds.read_clocks(tx)).world


async def step(operator: Any, count: str = "1", unit: str = "hours", **changed: str) -> Any:
    return await operator.send_form(
        "/desk/clock/moves", **({"key": str(new_id()), "count": count, "unit": unit} | changed)
    )


async def test_it_is_stood_still_and_let_run(operator: Any, database: Database) -> None:
    page = (await operator.get("/desk/clock")).text
    assert "/desk/clock/freeze" in page
    for _ in range(2):
        assert (await operator.send_form("/desk/clock/freeze")).status_code == 303
    stood = await world_time(database)
    await asyncio.sleep(0.05)
    assert await world_time(database) == stood
    page = (await operator.get("/desk/clock")).text
    assert ">Frozen<" in page
    for _ in range(2):
        assert (await operator.send_form("/desk/clock/thaw")).status_code == 303
    await asyncio.sleep(0.05)
    assert await world_time(database) > stood


async def test_it_is_moved_by_the_worker_while_the_page_looks_on(operator: Any, house: Any, database: Database) -> None:
    await operator.send_form("/desk/clock/freeze")
    begin = await world_time(database)
    key = hidden((await operator.get("/desk/clock")).text, "key")
    for _ in range(2):  # twice is once
        assert (await step(operator, "7", "days", key=key)).status_code == 303
    asked = await operator.get("/desk/clock", headers={"hx-request": "true"})
    assert "<html" not in asked.text
    assert "On the way to" in asked.text
    assert "asked by Olga" in asked.text
    assert await world_time(database) == begin
    async with working(house), asyncio.timeout(60):
        while "On the way" in (part := (await operator.get("/desk/clock", headers={"hx-request": "true"})).text):
            await asyncio.sleep(0.1)
    assert "Olga moved it to" in part
    assert await world_time(database) == begin + timedelta(days=7)
    again = await step(operator, "7", "days", key=key)
    assert again.status_code == 303
    async with database.transaction() as tx:
        assert await wishes.list_open(tx) == [], "the same form again is the same step"


async def test_who_moved_it_is_told_until_something_else_does(operator: Any, house: Any, database: Database) -> None:
    assert "There is no way back." in (await operator.get("/desk/clock")).text
    await step(operator)
    async with working(house), asyncio.timeout(60):
        while "On the way" in (page := (await operator.get("/desk/clock")).text):
            await asyncio.sleep(0.1)
    assert "Olga moved it to" in page
    async with database.transaction() as tx:  # as the command line does
        now = await worlds.read_clocks(tx)
        await worlds.move_clock(tx, now.world + timedelta(hours=1), wall_now=now.wall)
    assert "Olga moved it to" not in (await operator.get("/desk/clock")).text


async def test_a_second_step_waits_for_the_first(operator: Any) -> None:
    answers = await asyncio.gather(*(step(operator) for _ in range(5)))
    assert sorted(answer.status_code for answer in answers) == [303, 409, 409, 409, 409]
    refused = await step(operator)
    assert "being done already" in refused.text


async def test_it_is_stopped_where_it_has_come_to(operator: Any, database: Database) -> None:
    await step(operator, "400", "days")
    answer = await operator.send_form("/desk/clock/moves/stop")
    assert onward(answer) == (303, "/desk/clock", "clock-stopped")
    assert "Olga stopped the last step" in plain((await operator.get("/desk/clock")).text)
    assert (await operator.send_form("/desk/clock/moves/stop")).status_code == 303


async def test_without_a_worker_it_says_so(operator: Any, database: Database) -> None:
    await step(operator)
    async with database.transaction() as tx:
        await tx.connection.execute(
            "update kit.wishes set asked_at = asked_at - interval '1 minute' where ended_at is null"
        )
    assert "No worker has picked this up" in (await operator.get("/desk/clock")).text


@pytest.mark.parametrize(
    ("_case", "count", "unit"),
    [
        ("nothing", "", "hours"),
        ("not at all", "0", "days"),
        ("back", "-1", "days"),
        ("a part", "1.5", "hours"),
        ("words", "soon", "hours"),
        ("other digits", "１２", "hours"),
        ("further than ten years", "3661", "days"),
        ("very far", "9999999", "days"),
    ],
)
async def test_a_step_that_is_none_is_refused(
    operator: Any, database: Database, _case: str, count: str, unit: str
) -> None:
    answer = await step(operator, count, unit)
    assert answer.status_code == 422
    assert "A step goes forward" in answer.text
    async with database.transaction() as tx:
        assert await wishes.list_open(tx) == []


@pytest.mark.parametrize(("name", "value"), [("unit", "years"), ("key", "none"), ("until", "2099-01-01")])
async def test_a_form_that_is_none_of_ours_is_refused(operator: Any, name: str, value: str) -> None:
    assert (await step(operator, **{name: value})).status_code == 422


async def test_who_moved_it_is_written_down(operator: Any, database: Database) -> None:
    await step(operator, "15", "minutes")
    async with database.transaction() as tx:
        wish = await wishes.find_newest(tx, CLOCK_MOVE)
    assert wish is not None
    assert wish.asked_by is not None
