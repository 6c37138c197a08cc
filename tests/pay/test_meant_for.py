"""Payments that are meant for one person: to everybody else they do not exist."""

from datetime import timedelta
from typing import Any

import pytest

from dewpond import pay
from dewpond.kit.clock import Now
from dewpond.pay import PaymentStatus

pytestmark = pytest.mark.usefixtures("books")


async def scan(till: Any, code: str, person: Any, *, later: timedelta = timedelta()) -> pay.Payment:
    now = await till.now()
    async with till.database.transaction() as tx:
        return await pay.get_payment_by_code(tx, code, by=person.id, now=Now(world=now.world + later, wall=now.wall))


async def test_the_code_leads_nobody_else_to_it(till: Any, new_person: Any) -> None:
    alice, bob = await new_person("Alice", "50.00"), await new_person("Bob", "50.00")
    opened = await till.open(meant_for=alice.id)
    assert (await scan(till, opened.code, alice)).meant_for == alice.id
    with pytest.raises(pay.CodeUnknown):
        await scan(till, opened.code, bob)
    with pytest.raises(pay.CodeUnknown):  # an expired code is told only to whom it was alive
        await scan(till, opened.code, bob, later=pay.CODE_LIFE)
    with pytest.raises(pay.CodeExpired):
        await scan(till, opened.code, alice, later=pay.CODE_LIFE)
    await till.confirm(opened, alice)
    assert (await scan(till, opened.code, alice)).was_paid_by(alice.id)
    with pytest.raises(pay.CodeUnknown):
        await scan(till, opened.code, bob)


@pytest.mark.parametrize("way", ["pin", "wrong pin", "passkey", "small sum"])
async def test_nobody_else_pays_it_and_nothing_is_spent_on_trying(way: str, till: Any, new_person: Any) -> None:
    alice, bob = await new_person("Alice", "50.00"), await new_person("Bob", "50.00")
    opened = await till.open(meant_for=alice.id)
    await till.limit(bob, without_pin_minor=10_000)
    proof: pay.Proof = pay.SmallSum()
    if "pin" in way:
        proof = pay.PinProof("123456" if way == "pin" else "000000")
    elif way == "passkey":
        proof = await till.sign(await till.phone(bob), opened)
    for _ in range(6):  # one more than there are tries
        with pytest.raises(pay.PaymentNotFound):
            await till.confirm(opened, bob, proof=proof)
    assert (await till.payment(opened)).status is PaymentStatus.OPEN
    assert await till.holdings(bob.id) == (5000, 0)
    await till.confirm(await till.open(), bob)  # his PIN is not locked
    paid = await till.confirm(opened, alice)
    assert paid.was_paid_by(alice.id)
    with pytest.raises(pay.PaymentNotFound):  # and not that somebody else has paid it
        await till.confirm(opened, bob)


async def test_in_one_batch_each_finds_their_own(till: Any, new_person: Any) -> None:
    alice, bob = await new_person("Alice", "50.00"), await new_person("Bob", "50.00")
    for_alice, for_bob, for_all = (
        await till.open(meant_for=alice.id),
        await till.open(meant_for=bob.id),
        await till.open(),
    )
    pin = pay.PinProof("123456")
    outcomes = await till.confirm_all(
        [
            till.confirmation(for_alice, bob, pin),
            till.confirmation(for_bob, bob, pin),
            till.confirmation(for_all, alice, pin),
        ]
    )
    assert isinstance(outcomes[0], pay.PaymentNotFound)
    assert [one.payer_id for one in outcomes[1:] if isinstance(one, pay.Payment)] == [bob.id, alice.id]


async def test_asked_for_again_it_is_still_theirs(till: Any, new_person: Any) -> None:
    alice, bob = await new_person("Alice"), await new_person("Bob")
    first = await till.open(merchant_reference="for-alice", meant_for=alice.id)
    again = await till.open(merchant_reference="for-alice", meant_for=alice.id)
    assert again.payment_id == first.payment_id
    with pytest.raises(pay.CodeUnknown):
        await scan(till, again.code, bob)
    assert (await scan(till, again.code, alice)).meant_for == alice.id
