"""The overview: the world in figures, what is stuck in it, and sums that never keep a page waiting."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from dewpond.kit import jobs, worlds
from dewpond.kit.db import Database, Query, Tx
from dewpond.kit.ids import new_id, to_text
from dewpond.kit.jobs import GiveUp
from dewpond.web.desk.sums import Sum
from dewpond.worker import drain
from web.desks import always_read_again, fact, fen, figure, sell

__all__ = ["always_read_again"]  # a fixture, found here by its name


@pytest.fixture
async def operator(visitors: Any, new_member: Any, always_read_again: None) -> Any:
    return await visitors.member(await new_member("Olga", is_operator=True))


async def test_it_shows_the_world_in_figures(
    operator: Any, house: Any, database: Database, new_person: Any, new_merchant: Any
) -> None:
    before = (await operator.get("/desk")).text
    shop, alice = await new_merchant("Tea Shop"), await new_person("Alice", "50.00")
    await sell(house, database, shop, alice, "18.00")
    await drain(house)
    text = (await operator.get("/desk")).text
    for label in ("Merchants", "People", "Payments today"):
        assert int(figure(text, label)) == int(figure(before, label)) + 1
    assert "Adds up to zero" in text
    assert fen(figure(text, "Taken today")) == fen(figure(before, "Taken today")) + 1800
    assert fact(text, "Fees") != "¥0.00"
    assert fact(text, "Bank").startswith("−¥")
    assert "Sandbox" in fact(text, "Kind")
    assert fact(text, "PostgreSQL").startswith("1")
    assert "fsync off" in fact(text, "Durable"), "the tests' server may forget, and the desk says so"
    assert fact(text, "Platform certificate").startswith("until")
    assert "0 waiting" in fact(text, "Deliveries")


async def test_it_asks_for_itself_anew(operator: Any) -> None:
    part = await operator.get("/desk", headers={"hx-request": "true"})
    assert part.status_code == 200
    assert part.text.lstrip().startswith(
        '<div class="stack stack--loose" id="now" hx-get="/desk" hx-trigger="every 5s"'
    )
    assert "<html" not in part.text


async def test_whoever_was_signed_out_meanwhile_is_led_to_the_door(operator: Any) -> None:
    await operator.send_form("/sign-out")
    part = await operator.get("/desk", headers={"hx-request": "true"})
    assert part.headers["hx-redirect"].startswith("/sign-in")


async def test_stuck_work_is_shown_and_tried_again(operator: Any, database: Database) -> None:
    subject = f"<b>{new_id()}</b>"
    async with database.transaction() as tx:
        now = await worlds.read_clocks(tx)
        await jobs.schedule(tx, "nonsense", [(subject, now.world)])
        (job,) = [one for one in await jobs.claim(tx, now, most=100) if one.subject == subject]
        await jobs.settle(tx, [(job, GiveUp("nobody <i>knows</i> how"))], now)
    text = (await operator.get("/desk")).text
    assert "<b>" not in text
    assert "&lt;i&gt;knows" in text
    answer = await operator.send_form(f"/desk/stuck/{to_text('job', job.id)}/release")
    assert answer.status_code == 303
    async with database.transaction() as tx:
        assert job.id not in {one.id for one in await jobs.quarantined(tx)}
        assert await jobs.count_due(tx, (await worlds.read_clocks(tx)).world) == 1
        await tx.connection.execute("delete from kit.jobs")
    again = await operator.send_form(f"/desk/stuck/{to_text('job', job.id)}/release")
    assert again.status_code == 303, "twice is once"


async def test_work_that_nobody_does_is_told(operator: Any, database: Database) -> None:
    async with database.transaction() as tx:
        now = await worlds.read_clocks(tx)
        await jobs.schedule(tx, "nonsense", [("late", now.world - timedelta(minutes=5))])
    assert "No worker seems to be running" in (await operator.get("/desk")).text
    async with database.transaction() as tx:
        await tx.connection.execute("delete from kit.jobs")
    assert "No worker seems to be running" not in (await operator.get("/desk")).text


# --- sums -------------------------------------------------------------------------------------------------------------


class Slow:
    """A sum over a large world."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.times = 0

    async def read(self, tx: Tx) -> int:
        self.times += 1
        await tx.value(Query("sleep", "select pg_sleep($1)", ("seconds",)), seconds=self.seconds)
        return self.times


async def test_a_sum_that_takes_too_long_is_shown_as_it_was(database: Database, world: Any) -> None:
    slow = Slow()
    one = Sum(database, slow.read)
    assert (await one.look(is_asked=True)).value == 1
    read_at = one.read_at
    slow.seconds = 30
    async with asyncio.timeout(10):
        await one.look(limit_seconds=0.2, is_asked=True)
    assert (one.value, one.read_at, one.is_whole) == (1, read_at, False)
    await one.look()
    assert slow.times == 2, "not tried again by itself for a while"
    slow.seconds = 0
    await one.look(is_asked=True)
    assert (one.value, one.is_whole) == (3, True)
    async with database.transaction() as tx:
        running = (
            "select count(*) from pg_stat_activity"
            " where query like '%pg_sleep%' and state = 'active' and pid <> pg_backend_pid()"
        )
        assert await tx.connection.fetchval(running) == 0, "what was given up does not go on in the server"


async def test_many_who_look_at_once_read_once(database: Database, world: Any) -> None:
    slow = Slow()
    slow.seconds = 0.1
    one = Sum(database, slow.read)
    await asyncio.gather(*(one.look() for _ in range(20)))
    assert slow.times == 1


async def test_the_page_says_when_its_sums_are_old(operator: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    await operator.send_form("/desk/sums")
    monkeypatch.setattr("dewpond.web.desk.sums._LIMIT_SECONDS", 0.0)
    text = (await operator.get("/desk")).text
    assert "too large to be added up at every glance" in text
    assert "Add up now" in text
    assert "Adds up to zero" in text, "as it was last"
    answer = await operator.send_form("/desk/sums")
    assert answer.status_code == 303
