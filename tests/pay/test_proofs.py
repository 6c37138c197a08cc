"""What proves a yes: a PIN, a passkey's signature over exactly this payment, or nothing where the sum is small."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID

import msgspec
import pytest

from dewpond import identity, pay
from dewpond.kit.ids import new_id
from dewpond.kit.money import CNY, Currency, Money

pytestmark = pytest.mark.usefixtures("books")

EUR = Currency("EUR")
WRONG = pay.PinProof("000000")


async def is_unspent(till: Any, proof: pay.PasskeyProof) -> bool:
    now = await till.now()
    async with till.database.transaction() as tx:
        return bool(await identity.consume_confirmations(tx, [proof.challenge_id], wall_now=now.wall))


async def test_a_passkey_pays_without_a_pin(till: Any, new_person: Any) -> None:
    alice = await new_person("Alice", "100.00", pin=None)
    opened, phone = await till.open(), await till.phone(alice)
    payment = await till.confirm(opened, alice, proof=await till.sign(phone, opened))
    assert payment.payer_id == alice.id
    assert [movement.proof for movement in await till.movements(alice, kinds=[pay.MovementKind.PAYMENT])] == ["passkey"]


@pytest.mark.parametrize(
    ("_case", "changed"),
    [
        ("another merchant", {"merchant_id": UUID(int=1)}),
        ("another payment", {"payment_id": UUID(int=1)}),
        ("less", {"amount": Money(1799, CNY)}),
        ("more", {"amount": Money(1801, CNY)}),
        ("another currency", {"amount": Money(1800, EUR)}),
        ("no verified signature", {"is_verified": False}),
        ("a signature of two minutes ago", {"age": timedelta(minutes=2)}),
    ],
)
async def test_a_passkeys_proof_is_of_this_payment(
    _case: str, changed: dict[str, Any], till: Any, new_person: Any
) -> None:
    alice = await new_person("Alice", "100.00")
    opened, phone = await till.open(), await till.phone(alice)
    with pytest.raises(pay.ProofRefused):
        await till.confirm(opened, alice, proof=await till.sign(phone, opened, **changed))
    assert (await till.payment(opened)).status is pay.PaymentStatus.OPEN
    assert await till.holdings(alice.id) == (10_000, 0)


@pytest.mark.parametrize("stolen", ["challenge_id", "session_id"])
async def test_a_passkeys_proof_is_of_this_session(stolen: str, till: Any, new_person: Any) -> None:
    alice = await new_person("Alice", "100.00")
    opened, phone = await till.open(), await till.phone(alice)
    proof = msgspec.structs.replace(await till.sign(phone, opened), **{stolen: new_id()})
    with pytest.raises(pay.ProofRefused):
        await till.confirm(opened, alice, proof=proof)


async def test_a_passkeys_proof_is_of_this_person(till: Any, new_person: Any) -> None:
    alice, mallory = await new_person("Alice", "100.00"), await new_person("Mallory", "100.00")
    opened = await till.open()
    for thief, owner in ((mallory, alice), (alice, mallory)):  # to pay as another, and to let another pay
        proof = await till.sign(await till.phone(owner), opened)
        with pytest.raises(pay.ProofRefused):
            await till.confirm(opened, thief, proof=proof)


async def test_a_challenge_serves_once(till: Any, new_person: Any) -> None:
    alice = await new_person("Alice", "5.00")
    opened, phone = await till.open(), await till.phone(alice)
    proof = await till.sign(phone, opened)
    with pytest.raises(pay.InsufficientFunds):
        await till.confirm(opened, alice, proof=proof)
    with pytest.raises(pay.ProofRefused):  # it is spent although nothing was paid
        await till.confirm(opened, alice, proof=proof)
    assert not await is_unspent(till, proof)


async def test_a_challenge_is_spent_whatever_refuses_the_payment(till: Any, new_person: Any) -> None:
    alice, bob = await new_person("Alice", "100.00"), await new_person("Bob", "100.00")
    phone = await till.phone(alice)
    await till.limit(alice, per_payment_minor=1799)
    open_, taken, closed = await till.open(), await till.open(), await till.open(merchant_reference="closed-0001")
    await till.confirm(taken, bob)
    now = await till.now()
    async with till.database.transaction() as tx:
        await pay.close_payment(tx, till.shop.merchant.id, "closed-0001", now=now)
    for opened, refused in ((open_, pay.AboveLimit), (taken, pay.PaymentTaken), (closed, pay.PaymentAlreadyClosed)):
        proof = await till.sign(phone, opened)
        with pytest.raises(refused):
            await till.confirm(opened, alice, proof=proof)
        assert not await is_unspent(till, proof)


async def test_a_repeated_yes_spends_nothing(till: Any, new_person: Any) -> None:
    alice = await new_person("Alice", "100.00")
    opened, phone = await till.open(), await till.phone(alice)
    paid = await till.confirm(opened, alice)
    proof = await till.sign(phone, opened)
    for again in (proof, WRONG, pay.SmallSum()):
        assert await till.confirm(opened, alice, proof=again) == paid
    assert await is_unspent(till, proof)
    with pytest.raises(identity.PinWrong) as refused:
        await till.confirm(await till.open(), alice, proof=WRONG)
    assert refused.value.facts["tries_left"] == 4  # this is the first


async def test_two_processes_with_one_signature_take_the_money_once(
    till: Any, other_till: Any, new_person: Any
) -> None:
    alice = await new_person("Alice", "100.00")
    phone = await till.phone(alice)
    for _ in range(5):
        opened = await till.open(100)
        proof = await till.sign(phone, opened, minor=100)
        paid = await asyncio.gather(*(one.confirm(opened, alice, proof=proof) for one in (till, other_till) * 3))
        assert len({payment.public_number for payment in paid}) == 1
    assert await till.holdings(alice.id) == (9500, 0)


async def test_signatures_in_one_batch_stand_alone(till: Any, new_person: Any) -> None:
    alice, bob = await new_person("Alice", "100.00"), await new_person("Bob", "100.00")
    phones = {person.id: await till.phone(person) for person in (alice, bob)}
    opened = [await till.open() for _ in range(4)]
    good = [await till.sign(phones[alice.id], opened[0]), await till.sign(phones[bob.id], opened[1])]
    asked = [
        till.confirmation(opened[0], alice, good[0]),
        till.confirmation(opened[1], bob, good[1]),
        till.confirmation(opened[2], alice, good[0]),  # the same again for something else
        till.confirmation(opened[3], bob, pay.PinProof("123456")),
    ]
    names = [type(outcome).__name__ for outcome in await till.confirm_all(asked)]
    assert names == ["Payment", "Payment", "ProofRefused", "Payment"]


async def test_a_locked_pin_leaves_the_passkey_and_nothing_else(till: Any, new_person: Any) -> None:
    alice = await new_person("Alice", "100.00")
    await till.limit(alice, without_pin_minor=5000)
    opened, phone = await till.open(), await till.phone(alice)
    for _ in range(5):
        with pytest.raises((identity.PinWrong, identity.PinLocked)):
            await till.confirm(opened, alice, proof=WRONG)
    with pytest.raises(identity.PinLocked):
        await till.confirm(opened, alice, proof=pay.SmallSum())
    assert (await till.confirm(opened, alice, proof=await till.sign(phone, opened))).payer_id == alice.id


async def test_a_pin_is_not_told_by_what_holds_it() -> None:
    assert "123456" not in repr(pay.PinProof("123456"))


@pytest.mark.parametrize(
    ("_case", "proof", "limited", "statements"),
    [
        ("a PIN", "pin", False, ["pins", "limits", "payments", "post", "save", "publish"]),
        (
            "a PIN of somebody with limits",
            "pin",
            True,
            ["pins", "limits", "payments", "spent", "post", "save", "publish"],
        ),
        ("a small sum", "small", True, ["pins", "limits", "payments", "spent", "post", "save", "publish"]),
        ("a passkey", "passkey", False, ["limits", "payments", "challenges", "post", "save", "publish"]),
    ],
)
async def test_a_confirmation_costs_so_many_statements(
    _case: str, proof: str, limited: bool, statements: list[str], till: Any, new_person: Any
) -> None:
    """The hot verb: each statement more is a round trip for everybody."""
    alice = await new_person("Alice", "100.00")
    if limited:
        await till.limit(alice, per_day_minor=100_000, without_pin_minor=2000)
    opened = await till.open()
    proofs = {"pin": pay.PinProof("123456"), "small": pay.SmallSum()}
    given = proofs.get(proof) or await till.sign(await till.phone(alice), opened)
    marks = {
        "from identity.pins": "pins",
        "from pay.limits": "limits",
        "delete from identity.challenges": "challenges",
        "order by p.merchant_id, p.id for no key update": "payments",
        "left join pay.movements": "spent",
        "ledger.post": "post",
        "insert into pay.movements": "save",
        "insert into kit.outbox": "publish",
    }
    heard: list[str] = []
    async with till.database.transaction() as tx:
        asked = till.confirmation(opened, alice, given, await till.now())
        with tx.connection.query_logger(lambda record: heard.append(record.query)):
            await pay.confirm_payments(tx, [asked], secrets=till.secrets)
    assert [next((name for mark, name in marks.items() if mark in query), query) for query in heard] == statements
