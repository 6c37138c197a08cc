"""Confirming a payment: once, by one person, with the right PIN and enough money."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from dewpond import identity, pay
from dewpond.kit import outbox
from dewpond.kit.clock import SHANGHAI
from dewpond.kit.failures import Failure

pytestmark = pytest.mark.usefixtures("books")


async def _facts_of(till: Any, payment_id: Any) -> list[str]:
    async with till.database.transaction() as tx:
        while await outbox.relay(tx):
            pass
        facts = await outbox.page(tx, after=0, most=100_000)
    return [fact.kind for fact in facts if fact.aggregate_id == payment_id]


async def test_money_goes_from_wallet_to_shop_less_the_fee(till: Any, new_person: Any) -> None:
    alice = await new_person("Alice", "100.00")
    payment = await till.confirm(await till.open(), alice)
    assert await till.holdings(alice.id) == (8200, 0)
    assert await till.holdings(till.shop.merchant.id) == (1789, 0)
    assert (payment.fee_minor, payment.payer_id, payment.rail) == (11, alice.id, "wallet")
    assert await _facts_of(till, payment.id) == ["payment.succeeded"]


async def test_our_number_has_28_digits_and_the_day_in_shanghai(till: Any, new_person: Any) -> None:
    payment = await till.confirm(await till.open(), await new_person("Alice", "100.00"))
    assert payment.public_number is not None
    assert payment.succeeded_at is not None
    assert len(payment.public_number) == 28
    assert payment.public_number.isdigit()
    assert payment.public_number[:4] == "4200"
    assert payment.public_number[10:18] == f"{payment.succeeded_at.astimezone(SHANGHAI):%Y%m%d}"


async def test_a_double_tap_is_not_an_error_and_takes_nothing_twice(till: Any, new_person: Any) -> None:
    alice = await new_person("Alice", "100.00")
    opened = await till.open()
    first = await till.confirm(opened, alice)
    again = await till.confirm(opened, alice)
    assert again == first
    assert await till.holdings(alice.id) == (8200, 0)
    assert await _facts_of(till, first.id) == ["payment.succeeded"]


async def test_two_people_at_once_and_one_pays(till: Any, new_person: Any) -> None:
    alice, bob = await new_person("Alice", "100.00"), await new_person("Bob", "100.00")
    for _ in range(5):
        opened = await till.open(100)
        outcomes = await asyncio.gather(till.confirm(opened, alice), till.confirm(opened, bob), return_exceptions=True)
        assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Payment", "PaymentTaken"]
    left = (await till.holdings(alice.id))[0] + (await till.holdings(bob.id))[0]
    assert left == 20_000 - 5 * 100


@pytest.mark.parametrize(
    ("_case", "balance", "asked", "refused"),
    [("all of it", "18.00", 1800, False), ("one fen too much", "17.99", 1800, True), ("an empty wallet", "0", 1, True)],
)
async def test_a_wallet_never_overdraws(
    _case: str, balance: str, asked: int, refused: bool, till: Any, new_person: Any
) -> None:
    alice = await new_person("Alice", balance)
    opened = await till.open(asked)
    if refused:
        with pytest.raises(pay.InsufficientFunds):
            await till.confirm(opened, alice)
        assert (await till.payment(opened)).status is pay.PaymentStatus.OPEN  # she can top up and try again
    else:
        await till.confirm(opened, alice)
        assert await till.holdings(alice.id) == (0, 0)


async def test_five_wrong_pins_lock_and_the_payment_stays_open(till: Any, new_person: Any) -> None:
    alice = await new_person("Alice", "100.00")
    opened = await till.open()
    left = []
    for _ in range(4):
        with pytest.raises(identity.PinWrong) as refused:
            await till.confirm(opened, alice, pin="000000")
        left.append(refused.value.facts["tries_left"])
    assert left == [4, 3, 2, 1]
    for pin in ("000000", "123456"):
        with pytest.raises(identity.PinLocked):
            await till.confirm(opened, alice, pin=pin)
    assert (await till.payment(opened)).status is pay.PaymentStatus.OPEN
    assert await till.holdings(alice.id) == (10_000, 0)


async def test_a_pin_try_stays_spent_when_the_money_is_not_there(till: Any, new_person: Any) -> None:
    alice = await new_person("Alice", "1.00")
    opened = await till.open()
    with pytest.raises(identity.PinWrong):
        await till.confirm(opened, alice, pin="000000")
    with pytest.raises(pay.InsufficientFunds):
        await till.confirm(opened, alice)  # the right PIN clears the wrong one, though nothing was paid
    with pytest.raises(identity.PinWrong) as refused:
        await till.confirm(opened, alice, pin="000000")
    assert refused.value.facts["tries_left"] == 4


async def test_a_person_without_a_pin_cannot_pay(till: Any, new_person: Any) -> None:
    with pytest.raises(identity.PinNotSet):
        await till.confirm(await till.open(), await new_person("Carol", "100.00", pin=None))


async def test_a_batch_answers_each_confirmation_in_its_place(till: Any, new_person: Any) -> None:
    alice, bob = await new_person("Alice", "30.00"), await new_person("Bob", "5.00")
    now = await till.now()
    opened = [await till.open() for _ in range(4)]
    wrong = {1: "000000"}
    payers = [alice, alice, bob, alice]
    asked = [
        pay.Confirmation(
            merchant_id=till.shop.merchant.id,
            payment_id=one.payment_id,
            payer_id=payers[at].id,
            proof=pay.PinProof(wrong.get(at, "123456")),
            now=now,
        )
        for at, one in enumerate(opened)
    ]
    async with till.database.transaction() as tx:
        outcomes = await pay.confirm_payments(tx, asked, secrets=till.secrets)
    names = [type(outcome).__name__ for outcome in outcomes]
    assert names == ["Payment", "PinWrong", "InsufficientFunds", "InsufficientFunds"]
    assert await till.holdings(alice.id) == (1200, 0)
    assert await till.holdings(bob.id) == (500, 0)


async def test_an_unknown_payment_is_not_found(till: Any, new_person: Any, new_merchant: Any) -> None:
    alice = await new_person("Alice", "10.00")
    rival = await new_merchant("Coffee Shop")
    opened = await till.open(100)
    now = await till.now()
    foreign = pay.Confirmation(
        merchant_id=rival.merchant.id,
        payment_id=opened.payment_id,
        payer_id=alice.id,
        proof=pay.PinProof("123456"),
        now=now,
    )
    async with till.database.transaction() as tx:
        assert isinstance((await pay.confirm_payments(tx, [foreign], secrets=till.secrets))[0], pay.PaymentNotFound)


async def test_money_just_received_can_be_spent_at_once(till: Any, new_person: Any) -> None:
    for _ in range(10):
        alice = await new_person("Alice", "18.00")
        await till.confirm(await till.open(), alice)


async def test_confirming_against_closing_ends_in_one_legal_state(till: Any, new_person: Any) -> None:
    alice = await new_person("Alice", "100.00")

    async def close(reference: str) -> None:
        now = await till.now()
        async with till.database.transaction() as tx:
            await pay.close_payment(tx, till.shop.merchant.id, reference, now=now)

    for number in range(10):
        reference = f"race-{number:03d}"
        opened = await till.open(100, merchant_reference=reference)
        outcomes = await asyncio.gather(till.confirm(opened, alice), close(reference), return_exceptions=True)
        refused = [outcome for outcome in outcomes if isinstance(outcome, Failure)]
        assert len(refused) == 1
        status = (await till.payment(opened)).status
        assert (status, type(refused[0])) in {
            (pay.PaymentStatus.SUCCEEDED, pay.PaymentAlreadySucceeded),
            (pay.PaymentStatus.CLOSED, pay.PaymentAlreadyClosed),
        }


async def test_the_lock_out_ends_by_the_wall_clock(till: Any, new_person: Any) -> None:
    alice = await new_person("Alice", "100.00")
    opened = await till.open()
    for _ in range(5):
        with pytest.raises((identity.PinWrong, identity.PinLocked)):
            await till.confirm(opened, alice, pin="000000")
    now = await till.now()
    tomorrow = type(now)(world=now.world, wall=now.wall + timedelta(hours=24, seconds=1))
    assert (await till.confirm(opened, alice, now=tomorrow)).payer_id == alice.id
