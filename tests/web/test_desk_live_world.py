"""The desk of a live world: two for large sums, no list of people, and a clock that nobody moves."""

import asyncio
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from dewpond import ledger, merchants, pay
from dewpond.kit import clock, worlds
from dewpond.kit.db import Database
from dewpond.kit.ids import new_id
from dewpond.kit.money import CNY, Money
from dewpond.merchants import StaffMember
from dewpond.pay import TopUpProposal
from web.desks import plain
from web.live_worlds import world
from web.notes import note_of, onward

__all__ = ["world"]  # a fixture, found here by its name


@pytest.fixture(scope="module")
def new_operator(world: worlds.World, database: Database) -> Any:
    """`await new_operator("Olga")`: an operator let in from the terminal two days ago; or otherwise."""

    async def make(name: str, *, by: Any = None, age: timedelta = timedelta(days=2)) -> StaffMember:
        async with database.transaction() as tx:
            return await merchants.create_staff_member(
                tx,
                f"{name.lower()}-{new_id().hex}",
                name,
                is_operator=True,
                by=None if by is None else by.id,
                wall_now=clock.wall_now() - age,
            )

    return make


class Desk:
    """Two operators and somebody who tops up."""

    def __init__(self, database: Database, members: tuple[Any, Any], olga: Any, anna: Any, alice: Any) -> None:
        self.database = database
        self.members = members
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
async def desk(visitors: Any, new_operator: Any, new_person: Any, database: Database) -> Desk:
    members = await new_operator("Olga"), await new_operator("Anna")
    olga, anna = [await visitors.member(one) for one in members]
    return Desk(database, members, olga, anna, await new_person("Alice"))


async def test_a_small_sum_one_may_alone(desk: Desk) -> None:
    answer = await desk.ask(desk.olga, "1000.00")
    assert note_of(answer) == "desk-topped-up"
    assert await desk.balance() == Money(100_000, CNY)


async def test_a_large_sum_waits_for_another_operator(desk: Desk) -> None:
    answer = await desk.ask(desk.olga, "1000.01")
    assert onward(answer) == (303, "/desk/top-ups", "top-up-proposed")
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
    assert onward(agreed) == (303, "/desk/top-ups", "top-up-agreed")
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


async def test_of_many_who_agree_at_once_one_is_heard(desk: Desk, visitors: Any, new_operator: Any) -> None:
    await desk.ask(desk.olga, "5000")
    (proposal,) = await desk.waiting()
    others = [await visitors.member(await new_operator("Ben")) for _ in range(5)]
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
    assert onward(after) == (303, "/desk/top-ups", "top-up-ended")
    assert await desk.waiting() == []
    assert await desk.balance() == Money(0, CNY)


async def test_ones_own_is_taken_back(desk: Desk) -> None:
    await desk.ask(desk.olga, "5000")
    (proposal,) = await desk.waiting()
    assert (await desk.say(desk.olga, proposal, "refusal")).status_code == 303
    assert (await desk.say(desk.anna, proposal, "agreement")).status_code == 409
    assert await desk.balance() == Money(0, CNY)


async def test_an_operator_whose_time_has_ended_agrees_to_nothing(desk: Desk, visitors: Any, new_operator: Any) -> None:
    await desk.ask(desk.olga, "5000")
    (proposal,) = await desk.waiting()
    ben = await new_operator("Ben")
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


# --- two accounts, two people -----------------------------------------------------------------------------------------


async def test_who_let_the_other_in_gives_no_second_yes(desk: Desk, visitors: Any, new_operator: Any) -> None:
    olga, _ = desk.members
    ben = await visitors.member(await new_operator("Ben", by=olga))
    for asks, agrees in ((desk.olga, ben), (ben, desk.olga)):
        await desk.ask(asks, "5000")
        (proposal,) = await desk.waiting()
        page = (await agrees.get("/desk/top-ups")).text
        assert f"{proposal.id}/agreement" not in page
        assert f"{proposal.id}/refusal" in page
        assert "An operator who is not connected with them must agree" in page
        refused = await desk.say(agrees, proposal, "agreement")
        assert refused.status_code == 403
        assert "An operator who is not connected with them must agree" in refused.text
        assert await desk.balance() == Money(0, CNY)
        assert (await desk.say(agrees, proposal, "refusal")).status_code == 303
    await desk.ask(ben, "5000")
    (proposal,) = await desk.waiting()
    assert (await desk.say(desk.anna, proposal, "agreement")).status_code == 303


async def test_puppets_of_one_operator_are_one(desk: Desk, visitors: Any, new_operator: Any) -> None:
    """However many one lets in: what one may alone stays one sum, and none of them is another's second person."""
    olga, _ = desk.members
    ben = await new_operator("Ben", by=olga)
    members = [ben, await new_operator("Cleo", by=olga), await new_operator("Dora", by=ben)]
    puppets = [desk.olga] + [await visitors.member(one) for one in members]
    await asyncio.gather(*(desk.ask(one, "400.00") for one in puppets * 2))
    assert await desk.balance() == Money(80_000, CNY)
    waiting = await desk.waiting()
    assert len(waiting) == 6
    for proposal in waiting:
        for one in puppets:
            assert (await desk.say(one, proposal, "agreement")).status_code == 403
    assert await desk.balance() == Money(80_000, CNY)
    page = plain((await puppets[3].get(f"/desk/people/{desk.alice.text_id}")).text)
    assert "connected with you by invitations can top up" in page
    assert (await desk.say(desk.anna, waiting[0], "agreement")).status_code == 303
    assert await desk.balance() == Money(120_000, CNY)


async def test_where_nobody_can_agree_the_desk_says_so(desk: Desk, visitors: Any, new_operator: Any) -> None:
    olga, _ = desk.members
    ben = await new_operator("Ben", by=olga)
    async with desk.database.transaction() as tx:
        others = [one for one in await merchants.list_operators(tx) if one.id not in {olga.id, ben.id}]
        for one in others:
            await merchants.end_staff_member(tx, one.id, wall_now=clock.wall_now())
    client = await visitors.member(ben)
    for one in (desk.olga, client):
        page = plain((await one.get("/desk/top-ups")).text)
        assert "Nobody here can agree to your top-ups" in page
        assert "dewpond staff operators create NAME" in page
    chinese = await visitors.member(olga, headers={"accept-language": "zh"})
    assert "没有人能同意你的充值" in (await chinese.get("/desk/top-ups")).text
    await new_operator("Anna", by=ben)
    assert "Nobody here can agree" in (await client.get("/desk/top-ups")).text
    await new_operator("Anna")
    assert "Nobody here can agree" not in (await client.get("/desk/top-ups")).text


async def test_who_made_the_link_may_have_used_it(desk: Desk, visitors: Any, new_operator: Any) -> None:
    """An account from the terminal that nobody has used, and another operator's link into it."""
    ben = await new_operator("Ben")
    assert (await desk.olga.send_form(f"/desk/staff/{ben.text_id}/invitation")).status_code == 200
    async with desk.database.transaction() as tx:
        await merchants.invite(tx, ben.id, wall_now=clock.wall_now())  # by the terminal: that washes nothing off
    await desk.ask(desk.olga, "5000")
    (proposal,) = await desk.waiting()
    assert (await desk.say(await visitors.member(ben), proposal, "agreement")).status_code == 403
    assert f"link created by {desk.members[0].name}" in plain((await desk.anna.get("/desk/staff")).text)


async def test_on_the_first_day_a_yes_does_not_count(desk: Desk, visitors: Any, new_operator: Any) -> None:
    ben = await visitors.member(await new_operator("Ben", age=timedelta(hours=23, minutes=59)))
    await desk.ask(desk.olga, "5000")
    (proposal,) = await desk.waiting()
    refused = await desk.say(ben, proposal, "agreement")
    assert refused.status_code == 403
    assert "Your account is new. You can agree to top-ups from" in refused.text
    assert "account is new" in (await ben.get("/desk/top-ups")).text
    chinese = await visitors.member(await new_operator("Bo", age=timedelta()), headers={"accept-language": "zh"})
    assert (await desk.say(chinese, proposal, "agreement")).status_code == 403
    assert await desk.balance() == Money(0, CNY)


async def test_the_day_begins_when_somebody_comes_in(desk: Desk, visitors: Any, new_operator: Any) -> None:
    ben = await new_operator("Ben", age=timedelta(days=30))
    async with desk.database.transaction() as tx:
        token = await merchants.invite(tx, ben.id, wall_now=clock.wall_now())
    client = visitors.stranger("staff")
    password = "a long password"
    assert (await client.send_form(f"/invitations/{token}", password=password, again=password)).status_code == 303
    await desk.ask(desk.olga, "5000")
    (proposal,) = await desk.waiting()
    assert (await desk.say(client, proposal, "agreement")).status_code == 403
    assert "You can agree to top-ups from" in (await client.get("/desk/top-ups")).text


async def test_the_others_see_who_let_whom_in(desk: Desk) -> None:
    name = f"dora-{new_id().hex[-8:]}"
    assert (await desk.olga.send_form("/desk/staff", name="Dora", sign_in_name=name)).status_code == 201
    text = plain((await desk.anna.get("/desk/staff")).text)
    assert name in text
    assert "invited by Olga · can agree to top-ups from" in text
    assert "added from the terminal" in text


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
