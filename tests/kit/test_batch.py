"""Natural batching: a lone caller is served at once, a crowd is served together, and nobody is forgotten."""

import asyncio
from collections.abc import Sequence
from typing import Any

import asyncpg
import pytest

from dewpond.kit import batch
from dewpond.kit.batch import Batch
from dewpond.kit.db import Database
from dewpond.kit.failures import Busy, Failure, Kind, OutcomeUnknown


class Refused(Failure):
    """That will not be done."""

    code, kind = "refused_in_test", Kind.CONFLICT


class Desk:
    """What carries items out: keeps what came together, and waits at the door while it is shut."""

    def __init__(self) -> None:
        self.served: list[list[Any]] = []
        self.door = asyncio.Event()
        self.door.set()
        self.inside = 0
        self.most_inside = 0
        self.faults: dict[Any, list[BaseException]] = {}

    async def carry_out(self, items: Sequence[Any]) -> Sequence[Any]:
        self.served.append(list(items))
        self.inside += 1
        self.most_inside = max(self.most_inside, self.inside)
        try:
            await self.door.wait()
            for item in items:
                if self.faults.get(item):
                    raise self.faults[item].pop()
            return [Refused(item=item) if item == "refuse me" else f"done {item}" for item in items]
        finally:
            self.inside -= 1


def by_itself(item: Any) -> Any:
    return item


async def until_waiting(desk: Desk, batches: int) -> None:
    """Let everybody run until so many batches have come to the desk."""
    async with asyncio.timeout(60):
        while len(desk.served) < batches:
            await asyncio.sleep(0)


async def some_steps() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


@pytest.fixture
def desk() -> Desk:
    return Desk()


async def test_a_lone_caller_is_served_at_once(desk: Desk) -> None:
    """Without a timer: a few steps of the loop and not a moment of waiting."""
    calls: Batch[str, str] = Batch(desk.carry_out, key=by_itself)
    asked = asyncio.ensure_future(calls.submit("Alice"))
    await some_steps()
    assert asked.done()
    assert asked.result() == "done Alice"
    assert desk.served == [["Alice"]]


async def test_while_one_commits_the_next_one_fills(desk: Desk) -> None:
    calls: Batch[int, str] = Batch(desk.carry_out, key=by_itself, lanes=1)
    desk.door.clear()
    first = asyncio.ensure_future(calls.submit(0))
    await until_waiting(desk, 1)
    rest = [asyncio.ensure_future(calls.submit(number)) for number in range(1, 50)]
    await some_steps()
    assert desk.served == [[0]]
    desk.door.set()
    assert await asyncio.gather(first, *rest) == [f"done {number}" for number in range(50)]
    assert desk.served == [[0], list(range(1, 50))]


async def test_a_batch_has_a_largest_size(desk: Desk) -> None:
    calls: Batch[int, str] = Batch(desk.carry_out, key=by_itself, lanes=1, most=20)
    await asyncio.gather(*(calls.submit(number) for number in range(50)))
    assert [len(served) for served in desk.served] == [20, 20, 10]


async def test_no_more_batches_than_lanes_at_once(desk: Desk) -> None:
    calls: Batch[int, str] = Batch(desk.carry_out, key=by_itself, lanes=3, most=5)
    desk.door.clear()
    asked = [asyncio.ensure_future(calls.submit(number)) for number in range(100)]
    await until_waiting(desk, 3)
    await some_steps()
    assert desk.inside == 3
    desk.door.set()
    await asyncio.gather(*asked)
    assert desk.most_inside == 3


async def test_a_further_lane_is_for_a_crowd(desk: Desk) -> None:
    calls: Batch[int, str] = Batch(desk.carry_out, key=by_itself, lanes=2, crowd=10)
    desk.door.clear()
    asked = [asyncio.ensure_future(calls.submit(0))]
    await until_waiting(desk, 1)
    asked += [asyncio.ensure_future(calls.submit(number)) for number in range(1, 10)]
    await some_steps()
    assert desk.inside == 1, "nine are no crowd"
    asked.append(asyncio.ensure_future(calls.submit(10)))
    await until_waiting(desk, 2)
    assert desk.served == [[0], list(range(1, 11))]
    asked += [asyncio.ensure_future(calls.submit(number)) for number in range(11, 14)]
    await some_steps()
    desk.door.set()
    assert await asyncio.gather(*asked) == [f"done {number}" for number in range(14)]
    assert desk.served[2:] == [[11, 12, 13]], "one lane is enough for the rest, and does not end before it"
    assert await calls.submit(14) == "done 14"


async def test_equal_keys_never_share_a_batch_and_keep_their_order(desk: Desk) -> None:
    calls: Batch[tuple[str, int], str] = Batch(desk.carry_out, key=lambda item: item[0], lanes=1)
    items = [(name, number) for number in range(5) for name in ("Alice", "Bob")]
    await asyncio.gather(*(calls.submit(item) for item in items))
    for served in desk.served:
        names = [name for name, _ in served]
        assert len(names) == len(set(names))
    for name in ("Alice", "Bob"):
        assert [number for served in desk.served for one, number in served if one == name] == list(range(5))


async def test_a_full_queue_says_busy_at_once(desk: Desk) -> None:
    calls: Batch[int, str] = Batch(desk.carry_out, key=by_itself, lanes=1, waiting=10)
    desk.door.clear()
    first = asyncio.ensure_future(calls.submit(0))
    await until_waiting(desk, 1)
    accepted = [asyncio.ensure_future(calls.submit(number)) for number in range(1, 11)]
    await some_steps()
    with pytest.raises(Busy):
        await calls.submit(11)
    desk.door.set()
    await asyncio.gather(first, *accepted)
    assert await calls.submit(12) == "done 12"


async def test_a_refusal_is_raised_to_its_own_caller_only(desk: Desk) -> None:
    calls: Batch[str, str] = Batch(desk.carry_out, key=by_itself)
    alice, nobody, bob = await asyncio.gather(
        calls.submit("Alice"), calls.submit("refuse me"), calls.submit("Bob"), return_exceptions=True
    )
    assert (alice, bob) == ("done Alice", "done Bob")
    assert isinstance(nobody, Refused)
    assert nobody.facts == {"item": "refuse me"}


async def test_one_items_fault_is_not_its_neighbours(desk: Desk) -> None:
    """The batch raises, so its items are carried out again one by one; only the faulty one hears of it."""
    calls: Batch[str, str] = Batch(desk.carry_out, key=by_itself, lanes=1)
    desk.faults["broken"] = [ZeroDivisionError("again"), ZeroDivisionError("at first")]
    alice, broken, bob = await asyncio.gather(
        calls.submit("Alice"), calls.submit("broken"), calls.submit("Bob"), return_exceptions=True
    )
    assert (alice, bob) == ("done Alice", "done Bob")
    assert isinstance(broken, ZeroDivisionError)
    assert desk.served == [["Alice", "broken", "Bob"], ["Alice"], ["broken"], ["Bob"]]


@pytest.mark.parametrize(
    "lost",
    [
        ConnectionResetError("gone"),
        asyncpg.ConnectionDoesNotExistError("gone"),
        asyncpg.InterfaceError("connection is closed"),
        asyncpg.CannotConnectNowError("starting up"),
        asyncpg.AdminShutdownError("stopping"),
        TimeoutError(),
    ],
    ids=lambda lost: type(lost).__name__,
)
async def test_a_lost_connection_is_asked_again_and_not_answered(desk: Desk, lost: Exception) -> None:
    calls: Batch[str, str] = Batch(desk.carry_out, key=by_itself)
    desk.faults["Alice"] = [lost, lost]
    assert await calls.submit("Alice") == "done Alice"
    assert desk.served == [["Alice"]] * 3


@pytest.mark.parametrize(
    ("_case", "faults", "told"),
    [
        ("lost, then crowded", [asyncpg.TooManyConnectionsError("full"), ConnectionResetError("gone")], "done Alice"),
        ("lost, then in a restore", [asyncpg.ObjectNotInPrerequisiteStateError("x"), TimeoutError()], "done Alice"),
        ("a deadlock's victim", [asyncpg.DeadlockDetectedError("you")], "done Alice"),
        ("lost, then a fault of ours", [ZeroDivisionError("ours"), ConnectionResetError("gone")], OutcomeUnknown),
    ],
)
async def test_what_may_have_been_done_is_never_answered_as_failed(
    _case: str, faults: list[BaseException], told: Any, desk: Desk
) -> None:
    calls: Batch[str, str] = Batch(desk.carry_out, key=by_itself)
    desk.faults["Alice"] = faults  # the last one first
    (outcome,) = await asyncio.gather(calls.submit("Alice"), return_exceptions=True)
    assert outcome == told or type(outcome) is told


async def test_a_connection_that_stays_lost_leaves_the_outcome_unknown(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And nobody waits for all who stood before: one deadline for the whole batch."""
    monkeypatch.setattr(batch, "_PATIENCE_SECONDS", 0.2)
    calls: Batch[int, str] = Batch(desk.carry_out, key=by_itself, lanes=1)
    desk.faults = {number: [ConnectionRefusedError() for _ in range(100)] for number in range(50)}
    outcomes = await asyncio.gather(*(calls.submit(number) for number in range(50)), return_exceptions=True)
    assert desk.served[0] == list(range(50))
    assert [served for served in desk.served[1:] if served != [0]] == [], "only the first one was asked again"
    assert {type(outcome) for outcome in outcomes} == {OutcomeUnknown}
    assert isinstance(outcomes[0], OutcomeUnknown)
    assert isinstance(outcomes[0].__cause__, ConnectionRefusedError)
    assert await calls.submit(99) == "done 99"


async def test_outcomes_that_belong_to_nobody_do_not_leave_callers_waiting() -> None:
    async def forgetful(items: Sequence[str]) -> Sequence[str]:
        return [f"done {item}" for item in items if item != "forgotten"]

    calls: Batch[str, str] = Batch(forgetful, key=by_itself, lanes=1)
    async with asyncio.timeout(60):
        alice, forgotten = await asyncio.gather(
            calls.submit("Alice"), calls.submit("forgotten"), return_exceptions=True
        )
    assert alice == "done Alice"
    assert isinstance(forgotten, ValueError)


async def test_a_caller_that_leaves_does_not_stop_the_others(desk: Desk) -> None:
    calls: Batch[str, str] = Batch(desk.carry_out, key=by_itself, lanes=1)
    desk.door.clear()
    impatient, alice = (asyncio.ensure_future(calls.submit(name)) for name in ("impatient", "Alice"))
    await until_waiting(desk, 1)
    impatient.cancel()
    desk.door.set()
    assert await alice == "done Alice"
    assert impatient.cancelled()
    assert desk.served == [["impatient", "Alice"]]  # what was begun is done all the same


async def test_who_holds_a_transaction_may_not_wait_for_a_batch(database: Database, desk: Desk) -> None:
    """The batch needs a connection of the same pool: with enough such callers nobody would ever get one."""
    calls: Batch[str, str] = Batch(desk.carry_out, key=by_itself)
    async with database.transaction():
        with pytest.raises(RuntimeError, match="must hold no transaction"):
            await calls.submit("Alice")
    assert await calls.submit("Alice") == "done Alice"
    assert desk.served == [["Alice"]]


async def test_closing_waits_for_what_was_accepted(desk: Desk) -> None:
    calls: Batch[int, str] = Batch(desk.carry_out, key=by_itself, lanes=1)
    desk.door.clear()
    asked = [asyncio.ensure_future(calls.submit(number)) for number in range(5)]
    await until_waiting(desk, 1)
    closing = asyncio.ensure_future(calls.close())
    await some_steps()
    assert not closing.done()
    desk.door.set()
    await closing
    assert [one.result() for one in asked] == [f"done {number}" for number in range(5)]


@pytest.mark.parametrize("lanes", [1, 2, 5])
async def test_of_thousands_none_is_stuck_or_carried_out_twice(lanes: int) -> None:
    """Callers come while lanes end: no item may slip between a lane's last look and its end."""
    done: list[int] = []

    async def carry_out(items: Sequence[int]) -> Sequence[int]:
        await asyncio.sleep(0)
        done.extend(items)
        return [-item for item in items]

    async def ask_in_a_row(calls: Batch[int, int], first: int) -> list[int]:
        answers = []
        for number in range(first, first + 50):
            answers.append(await calls.submit(number))
            for _ in range(number % 4):  # out of step with the lanes
                await asyncio.sleep(0)
        return answers

    calls: Batch[int, int] = Batch(carry_out, key=lambda item: item % 7, lanes=lanes, most=3)
    async with asyncio.timeout(300):
        answers = await asyncio.gather(*(ask_in_a_row(calls, 50 * caller) for caller in range(100)))
    assert [one for row in answers for one in row] == [-number for number in range(5000)]
    assert sorted(done) == list(range(5000))


async def test_without_a_key_equal_items_share_a_batch() -> None:
    desk = Desk()
    batch: Batch[str, str] = Batch(desk.carry_out, lanes=1, most=3)
    desk.door.clear()
    callers = [asyncio.create_task(batch.submit(item)) for item in ("first", "a", "a", "b", "a")]
    await until_waiting(desk, 1)
    await some_steps()
    desk.door.set()
    assert await asyncio.gather(*callers) == ["done first", "done a", "done a", "done b", "done a"]
    assert desk.served == [["first", "a", "a"], ["b", "a"]]
