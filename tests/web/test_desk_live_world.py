"""The desk of a live world: two for large sums, no list of people, and a clock that nobody moves."""

import asyncio
from typing import Any

import msgspec
import pytest

from dewpond import ledger, merchants, pay
from dewpond.kit import clock, worlds
from dewpond.kit.db import Database
from dewpond.kit.ids import new_id
from dewpond.kit.money import CNY, Money
from dewpond.kit.secrets import MasterKeys
from dewpond.kit.worlds import WorldKind
from dewpond.pay import TopUpProposal
from web.desks import plain


@pytest.fixture(scope="module")
async def world(database: Database, secrets: MasterKeys, taken_for_durable: None) -> worlds.World:
    """A live world in the module's database."""
    wall = clock.wall_now()
    async with database.transaction() as tx:
        world = await worlds.create_world(tx, WorldKind.LIVE, public_url="http://localhost:8601", wall_now=wall)
        await merchants.prepare_platform(tx, secrets=secrets, wall_now=wall)
        await pay.open_house_accounts(tx, now=world.time(wall))
    return world


class Desk:
    """Two operators and somebody who tops up."""

    def __init__(self, database: Database, olga: Any, anna: Any, alice: Any) -> None:
        self.database = database
        self.olga, self.anna, self.alice = olga, anna, alice

    async def ask(self, client: Any, amount: str, **changed: str) -> Any:
        given = {"key": str(new_id()), "amount": amount, "reason": "cash"} | changed
        return await client.send_form(f"/desk/people/{self.alice.text_id}/top-ups", **given)

    async def waiting(self) -> list[TopUpProposal]:
        async with self.database.transaction() as tx:
            every = await pay.list_open_top_up_proposals(tx)
        return [one for one in every if one.person_id == self.alice.id]

    async def say(self, client: Any, proposal: TopUpProposal, word: str) -> Any:
        return await client.send_form(f"/desk/top-ups/{self.alice.text_id}/{proposal.id}/{word}")

    async def balance(self) -> Money:
        async with self.database.transaction() as tx:
            return Money((await ledger.get_balance(tx, pay.wallet_of(self.alice.id, CNY))).available, CNY)


@pytest.fixture
async def desk(visitors: Any, new_member: Any, new_person: Any, database: Database) -> Desk:
    olga = await visitors.member(await new_member("Olga", is_operator=True))
    anna = await visitors.member(await new_member("Anna", is_operator=True))
    return Desk(database, olga, anna, await new_person("Alice"))


async def test_a_small_sum_one_may_alone(desk: Desk) -> None:
    answer = await desk.ask(desk.olga, "1000.00")
    assert answer.headers["location"].endswith("said=desk-topped-up")
    assert await desk.balance() == Money(100_000, CNY)


async def test_a_large_sum_waits_for_another_operator(desk: Desk) -> None:
    answer = await desk.ask(desk.olga, "1000.01")
    assert answer.headers["location"] == "/desk/top-ups?said=top-up-proposed"
    assert await desk.balance() == Money(0, CNY)
    (proposal,) = await desk.waiting()
    own = await desk.olga.get("/desk/top-ups")
    assert f"{proposal.id}/agreement" not in own.text
    assert f"{proposal.id}/refusal" in own.text
    refused = await desk.say(desk.olga, proposal, "agreement")
    assert refused.status_code == 403
    assert "another operator must agree" in refused.text
    assert await desk.balance() == Money(0, CNY)
    other = await desk.anna.get("/desk/top-ups")
    assert f"{proposal.id}/agreement" in other.text
    assert "asked by Olga" in plain(other.text)
    assert 'nav__count">1<' in other.text
    agreed = await desk.say(desk.anna, proposal, "agreement")
    assert (agreed.status_code, agreed.headers["location"]) == (303, "/desk/top-ups?said=top-up-agreed")
    assert await desk.balance() == Money(100_001, CNY)
    again = await desk.say(desk.anna, proposal, "agreement")
    assert again.status_code == 409
    assert await desk.balance() == Money(100_001, CNY)
    async with desk.database.transaction() as tx:
        (done,) = [one for one in await pay.list_top_ups_by_staff(tx) if one.person_id == desk.alice.id]
    assert done.agreed_staff_id is not None
    assert done.agreed_staff_id != done.by_staff_id
    assert done.reason == "cash"


async def test_a_large_sum_cut_up_is_still_large(desk: Desk) -> None:
    for _ in range(3):
        await desk.ask(desk.olga, "400.00")
    assert await desk.balance() == Money(80_000, CNY)
    assert len(await desk.waiting()) == 1


async def test_of_many_who_agree_at_once_one_is_heard(desk: Desk, visitors: Any, new_member: Any) -> None:
    await desk.ask(desk.olga, "5000")
    (proposal,) = await desk.waiting()
    others = [await visitors.member(await new_member("Ben", is_operator=True)) for _ in range(5)]
    answers = await asyncio.gather(
        *(desk.say(client, proposal, "agreement") for client in others), desk.say(desk.anna, proposal, "refusal")
    )
    codes = sorted(answer.status_code for answer in answers)
    assert codes == [303, 409, 409, 409, 409, 409]
    assert await desk.balance() in {Money(500_000, CNY), Money(0, CNY)}


async def test_the_same_form_asks_once(desk: Desk) -> None:
    key = str(new_id())
    await asyncio.gather(*(desk.ask(desk.olga, "5000", key=key) for _ in range(5)))
    (proposal,) = await desk.waiting()
    assert (await desk.say(desk.anna, proposal, "refusal")).status_code == 303
    after = await desk.ask(desk.olga, "5000", key=key)
    assert after.headers["location"] == "/desk/top-ups?said=top-up-ended"
    assert await desk.waiting() == []
    assert await desk.balance() == Money(0, CNY)


async def test_ones_own_is_taken_back(desk: Desk) -> None:
    await desk.ask(desk.olga, "5000")
    (proposal,) = await desk.waiting()
    assert (await desk.say(desk.olga, proposal, "refusal")).status_code == 303
    assert (await desk.say(desk.anna, proposal, "agreement")).status_code == 409
    assert await desk.balance() == Money(0, CNY)


async def test_an_operator_whose_time_has_ended_agrees_to_nothing(desk: Desk, visitors: Any, new_member: Any) -> None:
    await desk.ask(desk.olga, "5000")
    (proposal,) = await desk.waiting()
    ben = await new_member("Ben", is_operator=True)
    client = await visitors.member(ben)
    async with desk.database.transaction() as tx:
        await merchants.end_staff_member(tx, ben.id, wall_now=clock.wall_now())
    assert (await desk.say(client, proposal, "agreement")).status_code == 303, "to the door"
    assert len(await desk.waiting()) == 1


@pytest.mark.parametrize(
    "path", ["per_00000000000000000000000001/{id}", "nobody/{id}", "{person}/" + "01890000-0000-7000-8000-000000000000"]
)
async def test_there_is_no_such_proposal(desk: Desk, path: str) -> None:
    await desk.ask(desk.olga, "5000")
    (proposal,) = await desk.waiting()
    target = path.format(id=proposal.id, person=desk.alice.text_id)
    assert (await desk.anna.send_form(f"/desk/top-ups/{target}/agreement")).status_code == 404


async def test_people_are_never_listed(desk: Desk) -> None:
    text = (await desk.olga.get("/desk/people")).text
    assert "Alice" not in text
    assert "per_" not in text.replace("(per_…)", "")


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("freeze", {}),
        ("thaw", {}),
        ("moves", {"key": "01890000-0000-7000-8000-000000000001", "count": "1", "unit": "hours"}),
    ],
)
async def test_nobody_moves_the_clock(desk: Desk, path: str, fields: dict[str, str]) -> None:
    page = (await desk.olga.get("/desk/clock")).text
    assert "/desk/clock/" not in page
    assert (await desk.olga.send_form(f"/desk/clock/{path}", **fields)).status_code == 403
    async with desk.database.transaction() as tx:
        world = await worlds.get_world(tx)
    assert (world.frozen_at, bool(world.clock_offset)) == (None, False)


async def test_there_are_no_samples(visitors: Any) -> None:
    assert (await visitors.stranger("staff").get("/design")).status_code == 404


async def test_the_overview_says_that_it_is_live(desk: Desk) -> None:
    text = (await desk.olga.get("/desk")).text
    assert "may forget what it has acknowledged" in text, "the tests' server runs without fsync"
    assert msgspec.json.encode(text)
