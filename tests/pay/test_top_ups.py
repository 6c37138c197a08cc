"""Money from outside: by one member of the staff up to a set sum a day, by two above it."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from dewpond import merchants, pay
from dewpond.kit.clock import Now
from dewpond.kit.failures import Failure
from dewpond.kit.ids import new_id
from dewpond.kit.money import CNY, AmountInvalid, Currency, Money
from dewpond.merchants import StaffId

pytestmark = pytest.mark.usefixtures("books")

EUR = Currency("EUR")


async def wish(till: Any, person: Any, minor: int, by: UUID, alone: int | None, **changed: Any) -> Any:
    now = changed.pop("now", None) or await till.now()
    amount = Money(minor, changed.pop("currency", CNY))
    async with till.database.transaction() as tx:
        return await pay.propose_top_up(tx, person.id, amount, by_staff_id=by, alone_minor=alone, now=now)


async def agree(
    till: Any,
    proposal: pay.TopUpProposal,
    by: UUID,
    *,
    age: timedelta = pay.SECOND_PERSON_AFTER,
    kin: frozenset[UUID] = frozenset(),
) -> pay.TopUp:
    now = await till.now()
    second = pay.SecondPerson(staff_id=by, since=now.wall - age, kin=kin)
    async with till.database.transaction() as tx:
        return await pay.agree_top_up(tx, proposal.person_id, proposal.id, by=second, now=now)


async def refuse(till: Any, proposal: pay.TopUpProposal, by: UUID) -> None:
    now = await till.now()
    async with till.database.transaction() as tx:
        await pay.refuse_top_up(tx, proposal.person_id, proposal.id, by_staff_id=by, now=now)


async def waiting(till: Any, person: Any) -> list[pay.TopUpProposal]:
    async with till.database.transaction() as tx:
        every = await pay.list_open_top_up_proposals(tx, most=10_000)
    return [each for each in every if each.person_id == person.id]


async def test_who_put_money_in_is_written_down(till: Any, new_person: Any) -> None:
    alice, carol = await new_person("Alice"), new_id()
    now = await till.now()
    async with till.database.transaction() as tx:
        by_hand = await pay.top_up(tx, alice.id, Money(100, CNY), now=now, by_staff_id=carol)
        by_door = await pay.top_up(tx, alice.id, Money(100, CNY), now=now)
        rows = await tx.connection.fetch("select id, by_staff_id from pay.top_ups where person_id = $1", alice.id)
    assert {row["id"]: row["by_staff_id"] for row in rows} == {by_hand.id: carol, by_door.id: None}


@pytest.mark.parametrize(
    ("_case", "alone", "sums", "done"),
    [
        ("no set sum", None, [10**12], [True]),
        ("up to the set sum", 1000, [1000], [True]),
        ("above it", 1000, [1001], [False]),
        ("cut into slices", 1000, [600, 401, 400, 1], [True, False, True, False]),
        ("nothing alone", 0, [1], [False]),
    ],
)
async def test_one_may_only_so_much_a_day(
    _case: str, alone: int | None, sums: list[int], done: list[bool], till: Any, new_person: Any
) -> None:
    carol = new_id()
    people = [await new_person("Alice"), await new_person("Bob")]  # nor is anything gained by taking turns among them
    outcomes = [await wish(till, people[at % 2], minor, carol, alone) for at, minor in enumerate(sums)]
    assert [isinstance(outcome, pay.TopUp) for outcome in outcomes] == done
    came = sum(minor for minor, now in zip(sums, done, strict=True) if now)
    assert sum([(await till.holdings(person.id))[0] for person in people]) == came
    assert sum([len(await waiting(till, person)) for person in people]) == done.count(False)


async def test_the_set_sum_is_of_one_hand_one_day_and_one_currency(till: Any, new_person: Any) -> None:
    alice, carol, dan = await new_person("Alice"), new_id(), new_id()
    now = await till.now()
    tomorrow = Now(world=now.world + timedelta(days=1), wall=now.wall)
    assert isinstance(await wish(till, alice, 1000, carol, 1000), pay.TopUp)
    assert isinstance(await wish(till, alice, 1, carol, 1000), pay.TopUpProposal)
    assert isinstance(await wish(till, alice, 1000, dan, 1000), pay.TopUp)
    assert isinstance(await wish(till, alice, 1000, carol, 1000, currency=EUR), pay.TopUp)
    assert isinstance(await wish(till, alice, 1000, carol, 1000, now=tomorrow), pay.TopUp)


async def test_what_two_agreed_does_not_use_up_what_one_may(till: Any, new_person: Any) -> None:
    alice, carol, dan = await new_person("Alice"), new_id(), new_id()
    await agree(till, await wish(till, alice, 5000, carol, 1000), dan)
    assert isinstance(await wish(till, alice, 1000, carol, 1000), pay.TopUp)


async def test_requests_at_once_cannot_exceed_it_together(till: Any, other_till: Any, new_person: Any) -> None:
    alice, carol = await new_person("Alice"), new_id()
    outcomes = await asyncio.gather(*(wish(one, alice, 300, carol, 1000) for one in (till, other_till) * 4))
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["TopUp"] * 3 + ["TopUpProposal"] * 5
    assert await till.holdings(alice.id) == (900, 0)


# --- many accounts, one root ------------------------------------------------------------------------------------------


async def operator(till: Any, host: UUID | None = None) -> UUID:
    """Somebody at the desk, let in by `host` or from the terminal."""
    now = await till.now()
    async with till.database.transaction() as tx:
        made = await merchants.create_staff_member(
            tx,
            f"op-{new_id().hex}",
            "Operator",
            is_operator=True,
            by=None if host is None else StaffId(host),
            wall_now=now.wall,
        )
    return made.id


async def test_the_set_sum_is_of_all_whom_one_let_in(till: Any, new_person: Any) -> None:
    alice, carol = await new_person("Alice"), await operator(till)
    puppet, sibling = await operator(till, carol), await operator(till, carol)
    below = await operator(till, puppet)
    assert isinstance(await wish(till, alice, 400, sibling, 1000), pay.TopUp)
    now = await till.now()
    async with till.database.transaction() as tx:  # what they put in stays put in
        await merchants.end_staff_member(tx, StaffId(sibling), wall_now=now.wall)
    assert isinstance(await wish(till, alice, 600, below, 1000), pay.TopUp)
    for one in (carol, puppet, below, await operator(till, below)):
        assert isinstance(await wish(till, alice, 1, one, 1000), pay.TopUpProposal)
    assert isinstance(await wish(till, alice, 1000, await operator(till), 1000), pay.TopUp), "another root"


async def test_a_link_from_the_terminal_gives_no_sum_of_ones_own(till: Any, new_person: Any) -> None:
    alice, carol = await new_person("Alice"), await operator(till)
    puppet, late = await operator(till, carol), await operator(till)
    now = await till.now()
    async with till.database.transaction() as tx:
        await merchants.invite(tx, StaffId(late), by=StaffId(carol), wall_now=now.wall)
        for one in (puppet, late):
            await merchants.invite(tx, StaffId(one), wall_now=now.wall)
    assert isinstance(await wish(till, alice, 1000, carol, 1000), pay.TopUp)
    for one in (puppet, late):
        assert isinstance(await wish(till, alice, 1, one, 1000), pay.TopUpProposal)


async def test_who_has_two_roots_uses_up_what_both_may(till: Any, new_person: Any) -> None:
    alice, carol, dan = await new_person("Alice"), await operator(till), await operator(till)
    between, now = await operator(till, carol), await till.now()
    async with till.database.transaction() as tx:
        await merchants.invite(tx, StaffId(between), by=StaffId(dan), wall_now=now.wall)
    assert isinstance(await wish(till, alice, 600, between, 1000), pay.TopUp)
    for one in (carol, dan):
        assert isinstance(await wish(till, alice, 401, one, 1000), pay.TopUpProposal)
        assert isinstance(await wish(till, alice, 400, one, 1000), pay.TopUp)


async def test_puppets_at_once_cannot_exceed_it_together(till: Any, other_till: Any, new_person: Any) -> None:
    alice, carol = await new_person("Alice"), await operator(till)
    puppets = [await operator(till, carol) for _ in range(2)]
    puppets.append(await operator(till, puppets[0]))
    outcomes = await asyncio.gather(
        *(wish(one, alice, 300, puppet, 1000) for puppet in puppets for one in (till, other_till, till))
    )
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["TopUp"] * 3 + ["TopUpProposal"] * 6
    assert await till.holdings(alice.id) == (900, 0)


async def test_who_is_let_in_while_one_waits_counts_too(till: Any, other_till: Any, new_person: Any) -> None:
    """A request that waits for its turn learns who is kin when its turn has come, not before."""
    alice, carol, now = await new_person("Alice"), await operator(till), await till.now()
    async with other_till.database.transaction() as tx:
        await tx.connection.execute("select pg_advisory_xact_lock(hashtextextended('top-up at the desk', 0))")
        waits = asyncio.create_task(wish(till, alice, 300, carol, 1000))
        await asyncio.sleep(0.2)
        assert not waits.done()
        puppet = await operator(till, carol)
        amount = Money(1000, CNY)
        done = await pay.propose_top_up(tx, alice.id, amount, by_staff_id=puppet, alone_minor=1000, now=now)
        assert isinstance(done, pay.TopUp)
    assert isinstance(await waits, pay.TopUpProposal)


# --- two for a large sum ----------------------------------------------------------------------------------------------


async def test_another_must_agree(till: Any, new_person: Any) -> None:
    alice, carol, dan = await new_person("Alice"), new_id(), new_id()
    proposal = await wish(till, alice, 5000, carol, 1000)
    assert (proposal.amount, proposal.status) == (Money(5000, CNY), pay.TopUpProposalStatus.OPEN)
    assert await waiting(till, alice) == [proposal]
    with pytest.raises(pay.SecondPersonNeeded):
        await agree(till, proposal, carol)
    assert await till.holdings(alice.id) == (0, 0)
    done = await agree(till, proposal, dan)
    assert (done.id, done.amount) == (proposal.id, proposal.amount)
    assert (done.by_staff_id, done.agreed_staff_id) == (carol, dan)
    assert await till.holdings(alice.id) == (5000, 0)
    assert [each.id for each in await till.movements(alice)] == [done.id]
    assert await waiting(till, alice) == []


@pytest.mark.parametrize(
    ("_case", "age", "is_kin", "refusal"),
    [
        ("a day old", timedelta(days=1), False, None),
        ("a moment less", timedelta(days=1) - timedelta(microseconds=1), False, pay.SecondPersonTooNew),
        ("of today", timedelta(), False, pay.SecondPersonTooNew),
        ("old, and one let the other in", timedelta(days=900), True, pay.SecondPersonRelated),
        ("new besides", timedelta(), True, pay.SecondPersonRelated),
    ],
)
async def test_whose_yes_is_anothers(
    _case: str, age: timedelta, is_kin: bool, refusal: type[Failure] | None, till: Any, new_person: Any
) -> None:
    alice, carol, dan = await new_person("Alice"), new_id(), new_id()
    proposal = await wish(till, alice, 5000, carol, 0)
    kin = frozenset({new_id(), carol} if is_kin else {new_id()})
    if refusal is None:
        await agree(till, proposal, dan, age=age, kin=kin)
        return
    with pytest.raises(refusal) as refused:
        await agree(till, proposal, dan, age=age, kin=kin)
    assert await till.holdings(alice.id) == (0, 0)
    assert await waiting(till, alice) == [proposal], "it still waits for somebody else"
    if refusal is pay.SecondPersonTooNew:
        now = await till.now()
        assert timedelta() <= refused.value.facts["counts_from"] - (now.wall - age) <= pay.SECOND_PERSON_AFTER


@pytest.mark.parametrize("by", ["carol", "dan"])
async def test_anybody_may_refuse(by: str, till: Any, new_person: Any) -> None:
    alice, staff = await new_person("Alice"), {"carol": new_id(), "dan": new_id()}
    proposal = await wish(till, alice, 5000, staff["carol"], 0)
    await refuse(till, proposal, staff[by])
    assert await waiting(till, alice) == []
    assert await till.holdings(alice.id) == (0, 0)


@pytest.mark.parametrize("first", [agree, refuse])
@pytest.mark.parametrize("second", [agree, refuse])
async def test_a_proposal_ends_once(first: Any, second: Any, till: Any, new_person: Any) -> None:
    alice = await new_person("Alice")
    proposal = await wish(till, alice, 5000, new_id(), 0)
    await first(till, proposal, new_id())
    with pytest.raises(pay.TopUpProposalEnded):
        await second(till, proposal, new_id())
    assert (await till.holdings(alice.id))[0] == (5000 if first is agree else 0)


async def test_two_who_agree_at_once_agree_once(till: Any, other_till: Any, new_person: Any) -> None:
    alice = await new_person("Alice")
    proposal = await wish(till, alice, 5000, new_id(), 0)
    outcomes = await asyncio.gather(
        *(agree(one, proposal, new_id()) for one in (till, other_till) * 3), return_exceptions=True
    )
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["TopUp"] + ["TopUpProposalEnded"] * 5
    assert await till.holdings(alice.id) == (5000, 0)


async def test_a_proposal_is_found_by_whom_it_is_for(till: Any, new_person: Any) -> None:
    alice, bob, now = await new_person("Alice"), await new_person("Bob"), await till.now()
    proposal, dan = await wish(till, alice, 5000, new_id(), 0), new_id()
    second = pay.SecondPerson(staff_id=dan, since=now.wall - pay.SECOND_PERSON_AFTER, kin=frozenset())
    async with till.database.transaction() as tx:
        with pytest.raises(pay.TopUpProposalNotFound):
            await pay.agree_top_up(tx, bob.id, proposal.id, by=second, now=now)
        with pytest.raises(pay.TopUpProposalNotFound):
            await pay.refuse_top_up(tx, bob.id, proposal.id, by_staff_id=dan, now=now)


@pytest.mark.parametrize("minor", [0, -1, 10**12 + 1])
async def test_absurd_sums_are_neither_put_in_nor_proposed(minor: int, till: Any, new_person: Any) -> None:
    alice = await new_person("Alice")
    for alone in (None, 0):
        with pytest.raises(AmountInvalid):
            await wish(till, alice, minor, new_id(), alone)


async def test_the_table_holds_that_two_are_two(till: Any, new_person: Any) -> None:
    alice, carol = await new_person("Alice"), new_id()
    proposal = await wish(till, alice, 5000, carol, 0)
    for statement in (
        "update pay.top_up_proposals set status = 'agreed', ended_staff_id = $2, ended_at = proposed_at where id = $1",
        "insert into pay.top_ups select person_id, $1, 1, 'CNY', proposed_at, $2, $2 from pay.top_up_proposals"
        " where id = $1",
    ):
        with pytest.raises(asyncpg.CheckViolationError):
            async with till.database.transaction() as tx:
                await tx.connection.execute(statement, proposal.id, carol)


async def test_a_sandbox_has_a_door_of_its_own(till: Any, new_person: Any) -> None:
    alice, now = await new_person("Alice"), await till.now()
    async with till.database.transaction() as tx:
        for _ in range(2):
            done = await pay.top_up_by_door(tx, alice.id, Money(pay.DOOR_MINOR, CNY), now=now)
        assert (done.minor, done.by_staff_id) == (pay.DOOR_MINOR, None)
        with pytest.raises(pay.TopUpTooMuch) as refused:
            await pay.top_up_by_door(tx, alice.id, Money(pay.DOOR_MINOR + 1, CNY), now=now)
        assert refused.value.facts == {"most": Money(pay.DOOR_MINOR, CNY)}
        with pytest.raises(AmountInvalid):
            await pay.top_up_by_door(tx, alice.id, Money(0, CNY), now=now)


# --- the same form twice ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("_case", "alone"), [("at once", None), ("as a proposal", 10)])
async def test_the_same_key_asks_once(till: Any, new_person: Any, _case: str, alone: int | None) -> None:
    alice, carol, key = await new_person("Alice"), new_id(), new_id()

    async def ask(minor: int = 500, person: Any = alice, by: UUID = carol) -> Any:
        now = await till.now()
        async with till.database.transaction() as tx:
            return await pay.propose_top_up(
                tx,
                person.id,
                Money(minor, CNY),
                by_staff_id=by,
                alone_minor=alone,
                now=now,
                key=key,
                reason="for tea" * 100,
            )

    answers = await asyncio.gather(*(ask() for _ in range(6)))
    assert all(answer == answers[0] for answer in answers)
    assert answers[0].reason == ("for tea" * 100)[: pay.REASON_LENGTH]
    with pytest.raises(pay.TopUpDiffers):
        await ask(501)
    assert (await ask(by=new_id())).id != answers[0].id, "another's form"
    bob = await new_person("Bob")
    assert (await ask(person=bob)).id != answers[0].id
    async with till.database.transaction() as tx:
        rows = await tx.connection.fetch(
            "select id from pay.top_ups where person_id = $1 union all"
            " select id from pay.top_up_proposals where person_id = $1",
            alice.id,
        )
    assert len(rows) == 2


async def test_a_sandboxes_door_hears_the_same_key_once(till: Any, new_person: Any) -> None:
    alice, key, now = await new_person("Alice"), new_id(), await till.now()

    async def tap(minor: int = 500) -> Any:
        async with till.database.transaction() as tx:
            return await pay.top_up_by_door(tx, alice.id, Money(minor, CNY), now=now, key=key)

    answers = await asyncio.gather(*(tap() for _ in range(6)))
    assert len({answer.id for answer in answers}) == 1
    assert await till.holdings(alice.id) == (500, 0)
    with pytest.raises(pay.TopUpDiffers):
        await tap(501)
    with pytest.raises(AmountInvalid):
        await tap(0)


async def test_a_proposal_that_was_decided_is_what_its_key_answers(till: Any, new_person: Any) -> None:
    alice, carol, dave, key = await new_person("Alice"), new_id(), new_id(), new_id()

    async def ask() -> Any:
        now = await till.now()
        async with till.database.transaction() as tx:
            amount = Money(500, CNY)
            return await pay.propose_top_up(tx, alice.id, amount, by_staff_id=carol, alone_minor=10, now=now, key=key)

    proposal = await ask()
    done = await agree(till, proposal, dave)
    assert await ask() == done
    async with till.database.transaction() as tx:
        assert done in await pay.list_top_ups_by_staff(tx)
