"""Every reaction sees every fact of its kinds, in order per aggregate, whatever one of them does."""

from datetime import timedelta
from typing import Any
from uuid import UUID

from dewpond.kit import jobs
from dewpond.kit.ids import new_id
from dewpond.wiring import REACTIONS
from dewpond.worker import advance, drain
from dewpond.worker.readers import readers_of


def test_readers_are_called_by_room_and_function() -> None:
    readers = {reader.name: reader.kinds for reader in readers_of(REACTIONS)}
    assert readers == {
        "reservoir.record_purchases": {"payment.succeeded"},
        "reservoir.record_refunds": {"refund.succeeded"},
        "openplatform.notify_merchant": {
            "payment.succeeded",
            "refund.succeeded",
            "refund.closed",
            "refund.abnormal",
        },
    }


async def test_facts_reach_those_who_want_them_in_their_order(house: Any, hands: Any, kitchen: Any, pot: UUID) -> None:
    await hands.brew(pot, *range(1200))
    await hands.smash(pot)
    await drain(house)
    assert kitchen.served == [(pot, number) for number in range(1200)]
    assert kitchen.smashed == [pot]
    await drain(house)
    assert len(kitchen.served) == 1200, "what was read is not read again"


async def test_a_fact_that_cannot_be_handled_waits_and_the_others_go_on(
    house: Any, hands: Any, kitchen: Any, pot: UUID
) -> None:
    other = new_id()
    kitchen.bad.add((pot, 1))
    await hands.brew(other, 0)
    await hands.brew(pot, 0, 1, 2)
    await hands.brew(other, 1, 2)
    await hands.smash(pot)
    from dewpond.worker.readers import read_page, register, relay

    await register(house)
    await relay(house)
    for reader in readers_of(house.reactions):
        await read_page(house, reader)
    assert kitchen.served == [(other, 0), (pot, 0), (other, 1), (other, 2)]
    assert kitchen.smashed == [pot], "the other reader does not care"
    kitchen.bad.clear()
    await drain(house)
    assert kitchen.served[4:] == [(pot, 1), (pot, 2)], "the one that waited, and the one behind it"
    assert await hands.quarantined() == []


async def test_poison_is_set_aside_after_five_tries_with_its_followers_behind_it(
    house: Any, hands: Any, kitchen: Any, pot: UUID, frozen: Any
) -> None:
    other = new_id()
    kitchen.bad.add((pot, 1))
    await hands.brew(pot, 1, 2)
    await drain(house)
    await advance(house, frozen + timedelta(minutes=5))
    await hands.brew(pot, 3)
    await hands.brew(other, 1)
    await drain(house)
    assert kitchen.served == [(other, 1)]
    # once when its page failed and it stood alone, then five times as a job
    assert kitchen.tries.count((pot, 1)) == 6
    aside = await hands.quarantined()
    assert len(aside) == 3
    assert "cup 1 is broken" in (aside[0].last_error or "")
    assert all("waits behind" in (job.last_error or "") for job in aside[1:])
    async with hands.database.transaction() as tx:
        assert await jobs.next_due(tx) is None, "what waits for a person keeps no clock busy"

    kitchen.bad.clear()  # a person mends it and lets the first one go
    async with hands.database.transaction() as tx:
        await jobs.schedule(tx, "reaction", [(aside[0].subject, (await hands.now()).world)])
    await drain(house)
    assert kitchen.served[1:] == [(pot, 1), (pot, 2), (pot, 3)]
    assert await hands.quarantined() == []
    await hands.brew(pot, 4)
    await drain(house)
    assert kitchen.served[-1] == (pot, 4), "nothing waits any more"


async def test_an_event_nobody_can_read_is_parked_like_any_other(
    house: Any, hands: Any, kitchen: Any, pot: UUID
) -> None:
    """A bad row: its body lacks what the event needs."""
    async with hands.database.transaction() as tx:
        now = await hands.now()
        await tx.connection.execute(
            """insert into kit.outbox (id, kind, aggregate_id, body, occurred_at, recorded_at)
               values ($1, 'tests.cup_brewed', $2, '{}', $3, $3)""",
            new_id(),
            pot,
            now.world,
        )
    await hands.brew(new_id(), 7)
    await drain(house)
    assert [number for _, number in kitchen.served] == [7]
    async with hands.database.transaction() as tx:
        assert len(await jobs.list_like(tx, "reaction", f"%{pot}%")) == 1
        await tx.connection.execute("delete from kit.jobs")


async def test_facts_committed_late_are_not_passed_over(house: Any, hands: Any, kitchen: Any, pot: UUID) -> None:
    """A number drawn early and committed late: positions are given after the commit, so no reader skips it."""
    late = new_id()
    now = await hands.now()
    async with hands.database.transaction() as tx:
        await tx.connection.execute(
            """insert into kit.outbox (id, kind, aggregate_id, body, occurred_at, recorded_at)
               values ($1, 'tests.cup_brewed', $2, $3, $4, $4)""",
            new_id(),
            late,
            {"pot_id": str(late), "number": 1, "occurred_at": now.world.isoformat()},
            now.world,
        )
        await hands.brew(pot, 1)
        await drain(house)
        assert kitchen.served == [(pot, 1)]
    await drain(house)
    assert kitchen.served == [(pot, 1), (late, 1)]
