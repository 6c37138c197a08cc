"""What a person allows: at once, in a day, and without a proof. Two phones cannot exceed it together."""

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from dewpond import pay
from dewpond.identity import PersonId
from dewpond.kit.clock import Now
from dewpond.kit.failures import Failure
from dewpond.kit.ids import new_id
from dewpond.kit.money import CNY, Currency, Money

pytestmark = pytest.mark.usefixtures("books")

EUR = Currency("EUR")
PIN, NOTHING, WRONG = pay.PinProof("123456"), pay.SmallSum(), pay.PinProof("000000")
NOBODY = PersonId(new_id())


def facts_of(refused: Failure) -> tuple[Any, ...]:
    return tuple(refused.facts[name] for name in ("limit", "allowed", "left"))


@pytest.mark.parametrize(
    ("_case", "limits", "sums", "outcomes"),
    [
        ("no limits", None, [(5000, PIN)] * 2, ["Payment"] * 2),
        ("nobody allowed a small sum", None, [(1, NOTHING)], ["ProofMissing"]),
        ("limits, but no small sum", {"per_day_minor": 9000}, [(1, NOTHING)], ["ProofMissing"]),
        ("a payment up to its limit", {"per_payment_minor": 500}, [(500, PIN), (501, PIN)], ["Payment", "AboveLimit"]),
        (
            "a day up to its limit",
            {"per_day_minor": 1000},
            [(600, PIN), (401, PIN), (400, PIN), (1, PIN)],
            ["Payment", "AboveLimit", "Payment", "AboveLimit"],
        ),
        ("a small sum", {"without_pin_minor": 200}, [(200, NOTHING), (201, NOTHING)], ["Payment", "ProofMissing"]),
        (
            "five small sums a day",
            {"without_pin_minor": 200},
            [(200, NOTHING)] * 4 + [(150, NOTHING), (51, NOTHING), (50, NOTHING), (1, NOTHING), (200, PIN)],
            ["Payment"] * 5 + ["ProofMissing", "Payment", "ProofMissing", "Payment"],
        ),
        (
            "what is proven does not use up the small sums",
            {"without_pin_minor": 200},
            [(3000, PIN), (200, NOTHING)],
            ["Payment", "Payment"],
        ),
        (
            "small sums use up the day",
            {"without_pin_minor": 200, "per_day_minor": 300},
            [(200, NOTHING), (101, PIN), (101, NOTHING), (100, NOTHING)],
            ["Payment", "AboveLimit", "AboveLimit", "Payment"],
        ),
        ("a small sum is a payment", {"without_pin_minor": 9, "per_payment_minor": 5}, [(6, NOTHING)], ["AboveLimit"]),
    ],
)
async def test_a_person_pays_within_their_limits(
    _case: str, limits: dict[str, int] | None, sums: list[Any], outcomes: list[str], till: Any, new_person: Any
) -> None:
    alice = await new_person("Alice", "100.00")
    if limits is not None:
        await till.limit(alice, **limits)
    names = []
    for minor, proof in sums:
        opened = await till.open(minor)
        (outcome,) = await asyncio.gather(till.confirm(opened, alice, proof=proof), return_exceptions=True)
        names.append(type(outcome).__name__)
        if isinstance(outcome, Failure):
            assert (await till.payment(opened)).status is pay.PaymentStatus.OPEN
    assert names == outcomes
    paid = sum(minor for (minor, _), name in zip(sums, names, strict=True) if name == "Payment")
    assert await till.holdings(alice.id) == (10_000 - paid, 0)


@pytest.mark.parametrize(
    ("_case", "limits", "sums", "outcomes"),
    [
        (
            "one after the other",
            {"per_day_minor": 1000},
            [(600, PIN), (600, PIN), (400, PIN)],
            ["Payment", "AboveLimit", "Payment"],
        ),
        ("small sums", {"without_pin_minor": 100}, [(100, NOTHING)] * 6, ["Payment"] * 5 + ["ProofMissing"]),
        (
            "a wrong PIN takes no room",
            {"per_day_minor": 1000},
            [(1000, WRONG), (1000, PIN)],
            ["PinWrong", "Payment"],
        ),
        (
            "nor does what the wallet does not hold, also to those that stood behind it",
            {"per_day_minor": 30_000},
            [(20_000, PIN), (10_001, PIN), (500, PIN), (9_000, PIN)],
            ["InsufficientFunds", "InsufficientFunds", "Payment", "Payment"],
        ),
        (
            "one that was crowded out may still be above the limit",
            {"per_day_minor": 20_000},
            [(20_000, PIN), (20_001, PIN), (1, WRONG), (9_000, PIN)],
            ["InsufficientFunds", "AboveLimit", "PinWrong", "Payment"],
        ),
        (
            "small sums behind one that was crowded out",
            {"per_day_minor": 20_000, "without_pin_minor": 100},
            [(20_000, PIN), (100, NOTHING), (101, NOTHING)],
            ["InsufficientFunds", "Payment", "ProofMissing"],
        ),
    ],
)
async def test_several_of_one_person_share_a_batch(
    _case: str, limits: dict[str, int], sums: list[Any], outcomes: list[str], till: Any, new_person: Any
) -> None:
    alice = await new_person("Alice", "100.00")
    await till.limit(alice, **limits)
    asked = [till.confirmation(await till.open(minor), alice, proof) for minor, proof in sums]
    names = [type(outcome).__name__ for outcome in await till.confirm_all(asked)]
    assert names == outcomes
    paid = sum(minor for (minor, _), name in zip(sums, names, strict=True) if name == "Payment")
    assert await till.holdings(alice.id) == (10_000 - paid, 0)


async def test_a_refusal_says_which_limit_and_what_is_left(till: Any, new_person: Any) -> None:
    alice = await new_person("Alice", "100.00")
    await till.limit(alice, per_payment_minor=800, per_day_minor=1000)
    with pytest.raises(pay.AboveLimit) as refused:
        await till.confirm(await till.open(801), alice)
    assert facts_of(refused.value) == (pay.LimitKind.PER_PAYMENT, Money(800, CNY), Money(800, CNY))
    await till.confirm(await till.open(700), alice)
    with pytest.raises(pay.AboveLimit) as refused:
        await till.confirm(await till.open(301), alice)
    assert facts_of(refused.value) == (pay.LimitKind.PER_DAY, Money(1000, CNY), Money(300, CNY))
    await till.limit(alice, per_day_minor=100)  # lowered below what was paid: nothing is left, not less
    with pytest.raises(pay.AboveLimit) as refused:
        await till.confirm(await till.open(1), alice)
    assert facts_of(refused.value) == (pay.LimitKind.PER_DAY, Money(100, CNY), Money(0, CNY))


async def test_a_limit_in_the_way_spends_no_pin_try(till: Any, new_person: Any) -> None:
    alice = await new_person("Alice", "100.00")
    await till.limit(alice, per_payment_minor=100)
    for _ in range(7):
        with pytest.raises(pay.AboveLimit):
            await till.confirm(await till.open(101), alice, proof=WRONG)
    assert (await till.confirm(await till.open(100), alice)).payer_id == alice.id


async def test_limits_are_of_their_currency(till: Any, new_person: Any) -> None:
    alice = await new_person("Alice", "100.00")
    now = await till.now()
    async with till.database.transaction() as tx:
        await pay.open_merchant_accounts(tx, till.shop.merchant.id, now=now, currency=EUR)
        await pay.top_up(tx, alice.id, Money(10_000, EUR), now=now)
    await till.limit(alice, per_day_minor=1000, currency=CNY)
    await till.limit(alice, without_pin_minor=300, currency=EUR)
    await till.confirm(await till.open(amount=Money(5000, EUR)), alice)
    await till.confirm(await till.open(1000), alice)
    await till.confirm(await till.open(amount=Money(300, EUR)), alice, proof=NOTHING)
    with pytest.raises(pay.AboveLimit):
        await till.confirm(await till.open(1), alice)
    with pytest.raises(pay.ProofMissing):
        await till.confirm(await till.open(amount=Money(301, EUR)), alice, proof=NOTHING)


async def test_a_day_is_the_worlds_in_shanghai(till: Any, new_person: Any) -> None:
    alice = await new_person("Alice", "100.00")
    await till.limit(alice, per_day_minor=1000)
    wall = (await till.now()).wall
    last_second = datetime(2030, 5, 1, 15, 59, 59, tzinfo=UTC)  # a second before midnight in Shanghai
    midnight = last_second + timedelta(seconds=1)

    async def pays(minor: int, at: datetime) -> None:
        opened = await till.open(minor, expires_at=at + timedelta(days=7))
        await till.confirm(opened, alice, now=Now(world=at, wall=wall))

    await pays(600, last_second)
    await pays(900, midnight)
    await pays(400, last_second)  # by a process that is a moment behind
    with pytest.raises(pay.AboveLimit):
        await pays(1, last_second)
    with pytest.raises(pay.AboveLimit):
        await pays(101, midnight + timedelta(hours=23, minutes=59))
    await pays(100, midnight + timedelta(hours=23, minutes=59))
    await pays(1000, midnight + timedelta(days=1))


async def test_one_batch_may_span_midnight(till: Any, new_person: Any) -> None:
    alice = await new_person("Alice", "100.00")
    await till.limit(alice, per_day_minor=1000)
    wall, midnight = (await till.now()).wall, datetime(2030, 5, 1, 16, tzinfo=UTC)
    moments = [midnight - timedelta(seconds=1), midnight, midnight - timedelta(seconds=1), midnight]
    asked = [
        till.confirmation(
            await till.open(minor, expires_at=midnight + timedelta(days=1)), alice, PIN, Now(world=at, wall=wall)
        )
        for minor, at in zip((1000, 900, 1, 100), moments, strict=True)
    ]
    names = [type(outcome).__name__ for outcome in await till.confirm_all(asked)]
    assert names == ["Payment", "Payment", "AboveLimit", "Payment"]


async def test_a_refund_gives_no_day_back(till: Any, new_person: Any) -> None:
    alice = await new_person("Alice", "100.00")
    await till.limit(alice, per_day_minor=1000)
    payment = await till.confirm(await till.open(1000), alice)
    await till.settle(await till.refund(payment.id, 1000, total=1000))
    with pytest.raises(pay.AboveLimit):
        await till.confirm(await till.open(1), alice)


async def test_limits_hold_from_the_next_payment_on(till: Any, new_person: Any) -> None:
    alice = await new_person("Alice", "100.00")
    await till.confirm(await till.open(900), alice)
    await till.limit(alice, per_day_minor=1000)  # what was paid before counts
    with pytest.raises(pay.AboveLimit):
        await till.confirm(await till.open(101), alice)
    await till.limit(alice, per_day_minor=1001)
    await till.confirm(await till.open(101), alice)
    await till.limit(alice)
    await till.confirm(await till.open(5000), alice)


# --- many at once -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("_case", "limits", "proof", "paid"),
    [
        ("the day's limit", {"per_day_minor": 1000}, PIN, 10),
        ("the day's limit, by passkey", {"per_day_minor": 1000}, None, 10),
        ("what goes without a proof", {"without_pin_minor": 100}, NOTHING, 5),
    ],
)
async def test_two_phones_cannot_exceed_it_together(
    _case: str, limits: dict[str, int], proof: pay.Proof | None, paid: int, till: Any, other_till: Any, new_person: Any
) -> None:
    """Over two pools, one payment a batch and several a batch, all at once; a passkey's payments lock no PIN."""
    alice = await new_person("Alice", "1000.00")
    await till.limit(alice, **limits)
    opened, phone = [await till.open(100) for _ in range(28)], await till.phone(alice)
    asked = [till.confirmation(one, alice, proof or await till.sign(phone, one, 100)) for one in opened]
    batches = [[one] for one in asked[:16]] + [asked[16:20], asked[20:24], asked[24:28]]
    outcomes = await asyncio.gather(
        *(one.confirm_all(batch) for batch, one in zip(batches, [till, other_till] * 10, strict=False))
    )
    told = Counter(type(outcome).__name__ for batch in outcomes for outcome in batch)
    assert told["Payment"] == paid
    assert sum(told.values()) == 28
    assert set(told) == {"Payment", "ProofMissing" if proof is NOTHING else "AboveLimit"}
    assert await till.holdings(alice.id) == (100_000 - paid * 100, 0)


async def test_batches_of_the_same_people_never_wait_crosswise(till: Any, other_till: Any, new_person: Any) -> None:
    people = [await new_person(f"Person {n}", "100.00") for n in range(8)]
    for person in people:
        await till.limit(person, per_day_minor=400, without_pin_minor=100)

    async def batch(one: Any, order: list[Any], proof: pay.Proof) -> list[Any]:
        asked = [one.confirmation(await one.open(100), person, proof) for person in order]
        return list(await one.confirm_all(asked))

    async with asyncio.timeout(60):
        outcomes = await asyncio.gather(
            *(
                batch(one, people[::step], proof)
                for _ in range(3)
                for one, step, proof in ((till, 1, PIN), (other_till, -1, NOTHING))
            ),
            *(till.limit(person, per_day_minor=400, without_pin_minor=100) for person in people),
        )
    told = Counter(type(outcome).__name__ for batch_ in outcomes if batch_ for outcome in batch_)
    assert told == {"Payment": 8 * 4, "AboveLimit": 8 * 2}


# --- set, asked and compared ------------------------------------------------------------------------------------------


async def test_limits_are_kept_as_set_and_none_at_first(till: Any, new_person: Any) -> None:
    alice = await new_person("Alice")
    async with till.database.transaction() as tx:
        assert await pay.get_limits(tx, alice.id) == pay.Limits(person_id=alice.id)
    await till.limit(alice, per_payment_minor=1, per_day_minor=2, without_pin_minor=3)
    await till.limit(alice, per_payment_minor=4, without_pin_minor=5)
    async with till.database.transaction() as tx:
        assert await pay.get_limits(tx, alice.id) == pay.Limits(
            person_id=alice.id, per_payment_minor=4, without_pin_minor=5
        )
        assert await pay.get_limits(tx, alice.id, EUR) == pay.Limits(person_id=alice.id, currency=EUR)


@pytest.mark.parametrize(
    ("_case", "changed"),
    [
        ("nothing at once", {"per_payment_minor": 0}),
        ("nothing in a day", {"per_day_minor": 0}),
        ("less than nothing without a proof", {"without_pin_minor": -1}),
        ("an absurd sum", {"per_day_minor": 10**15 + 1}),
        ("an absurd small sum", {"without_pin_minor": 10**15 + 1}),
    ],
)
async def test_nonsense_is_no_limit(_case: str, changed: dict[str, int], till: Any, new_person: Any) -> None:
    with pytest.raises(pay.LimitInvalid):
        await till.limit(await new_person("Alice"), **changed)


@pytest.mark.parametrize(
    ("_case", "held", "asked", "wider"),
    [
        ("the same", {"per_day_minor": 5}, {"per_day_minor": 5}, False),
        ("a first limit", {}, {"per_day_minor": 5}, False),
        ("none any more", {"per_day_minor": 5}, {}, True),
        ("a lower one", {"per_payment_minor": 5}, {"per_payment_minor": 4}, False),
        ("a higher one", {"per_payment_minor": 5}, {"per_payment_minor": 6}, True),
        ("more without a proof", {"without_pin_minor": 5}, {"without_pin_minor": 6}, True),
        ("less without a proof", {"without_pin_minor": 5}, {}, False),
        ("one lower, one higher", {"per_day_minor": 5}, {"per_day_minor": 4, "without_pin_minor": 1}, True),
    ],
)
def test_wider_limits_are_told_from_narrower_ones(
    _case: str, held: dict[str, int], asked: dict[str, int], wider: bool
) -> None:
    assert pay.Limits(person_id=NOBODY, **asked).is_wider_than(pay.Limits(person_id=NOBODY, **held)) is wider


async def test_a_page_knows_what_the_limits_will_say(till: Any, new_person: Any) -> None:
    alice = await new_person("Alice", "100.00")

    async def foreseen(minor: int, currency: Currency = CNY) -> Any:
        now = await till.now()
        async with till.database.transaction() as tx:
            refusal = await pay.find_limit_refusal(tx, alice.id, Money(minor, currency), now=now)
        return refusal and (refusal.code, refusal.facts.get("left"))

    asks = ("proof_missing", None)
    assert await foreseen(1) == asks
    await till.limit(alice, without_pin_minor=100)
    assert [await foreseen(100), await foreseen(101), await foreseen(1, EUR)] == [None, asks, asks]
    for _ in range(5):
        await till.confirm(await till.open(99), alice, proof=NOTHING)
    assert [await foreseen(5), await foreseen(6)] == [None, asks]
    await till.limit(alice, without_pin_minor=100, per_payment_minor=400, per_day_minor=600)
    assert await foreseen(105) == asks
    assert await foreseen(106) == ("above_limit", Money(105, CNY))
    assert await foreseen(401) == ("above_limit", Money(400, CNY))
    now = await till.now()
    async with till.database.transaction() as tx:
        spent = await pay.get_spent(tx, alice.id, world_now=now.world)
        tomorrow = await pay.get_spent(tx, alice.id, world_now=now.world + timedelta(days=1))
    assert (spent.paid_minor, spent.without_pin_minor) == (495, 495)
    assert (tomorrow.paid_minor, tomorrow.without_pin_minor) == (0, 0)


async def test_who_compares_before_setting_waits_for_who_sets(till: Any, new_person: Any) -> None:
    alice, bob = await new_person("Alice"), await new_person("Bob")
    await till.limit(alice, per_payment_minor=100)
    async with till.database.transaction() as tx:
        held = await pay.lock_limits(tx, alice.id)
        assert held == await pay.get_limits(tx, alice.id)
        assert await pay.lock_limits(tx, bob.id) == pay.Limits(person_id=bob.id)
        assert await pay.lock_limits(tx, alice.id, EUR) == pay.Limits(person_id=alice.id, currency=EUR)
        other = asyncio.create_task(till.limit(alice, per_payment_minor=50))
        done, _ = await asyncio.wait([other], timeout=0.2)
        assert not done
        await pay.set_limits(tx, pay.Limits(person_id=alice.id, per_payment_minor=80), now=await till.now())
    await other
    async with till.database.transaction() as tx:
        assert (await pay.get_limits(tx, alice.id)).per_payment_minor == 50
