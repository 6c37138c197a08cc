"""New devices: on its first day one pays only so much, however many phones try at once."""

import asyncio
from collections import Counter
from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest

from dewpond import pay
from dewpond.kit.clock import Now
from dewpond.kit.failures import Failure
from dewpond.kit.money import CNY, Money

pytestmark = pytest.mark.usefixtures("books")

PIN, NOTHING, WRONG = pay.PinProof("123456"), pay.SmallSum(), pay.PinProof("000000")
DAY = timedelta(hours=24)
MOMENT = timedelta(microseconds=1)


async def confirm(till: Any, alice: Any, minor: int, *, since: datetime | None, proof: Any = PIN) -> str:
    """What comes of a payment with a device that somebody has been signed in on since then."""
    asked = till.confirmation(await till.open(minor), alice, proof, device_since=since)
    [outcome] = await till.confirm_all([asked])
    return type(outcome).__name__


async def wall(till: Any) -> datetime:
    now: Now = await till.now()
    return now.wall


@pytest.mark.parametrize(
    ("_case", "sums", "outcomes"),
    [
        ("as much as it may, at once", [(100_000, PIN), (1, PIN)], ["Payment", "DeviceNew"]),
        ("a little more than that", [(100_001, PIN), (100_000, PIN)], ["DeviceNew", "Payment"]),
        ("in parts", [(60_000, PIN), (40_001, PIN), (40_000, PIN), (1, PIN)], ["Payment", "DeviceNew"] * 2),
        ("small sums are a part of it", [(99_900, PIN), (100, NOTHING), (1, NOTHING)], ["Payment"] * 2 + ["DeviceNew"]),
        ("a sum that needs a proof still does", [(5_000, NOTHING)], ["ProofMissing"]),
        ("a wrong PIN takes no room", [(100_000, WRONG), (100_000, PIN)], ["PinWrong", "Payment"]),
    ],
)
async def test_a_new_device_pays_so_much_in_a_day(
    _case: str, sums: list[Any], outcomes: list[str], till: Any, new_person: Any
) -> None:
    alice = await new_person("Alice", "5000.00")
    await till.limit(alice, without_pin_minor=1000)
    since = await wall(till)
    assert [await confirm(till, alice, minor, since=since, proof=proof) for minor, proof in sums] == outcomes
    paid = sum(minor for (minor, _), name in zip(sums, outcomes, strict=True) if name == "Payment")
    assert await till.holdings(alice.id) == (500_000 - paid, 0)


async def test_in_one_batch_as_well(till: Any, new_person: Any) -> None:
    """What comes to nothing gives its room back, and a known device is not held up by its neighbour's."""
    alice, bob = await new_person("Alice", "900.00"), await new_person("Bob", "5000.00")
    since = await wall(till)
    sums = [
        (alice, 95_000, since),  # more than there is in the wallet
        (bob, 100_000, since),
        (bob, 1, since),
        (bob, 200_000, None),
        (alice, 50_000, since),
        (alice, 40_000, None),
    ]
    asked = [till.confirmation(await till.open(minor), who, PIN, device_since=since) for who, minor, since in sums]
    names = [type(outcome).__name__ for outcome in await till.confirm_all(asked)]
    assert names == ["InsufficientFunds", "Payment", "DeviceNew", "Payment", "Payment", "Payment"]


@pytest.mark.parametrize(
    ("_case", "age", "outcome"),
    [
        ("signed in this moment", timedelta(), "DeviceNew"),
        ("signed in by a machine whose clock is ahead", -timedelta(minutes=1), "DeviceNew"),
        ("the last moment of its first day", DAY - MOMENT, "DeviceNew"),
        ("a day later", DAY, "Payment"),
        ("long known", 90 * DAY, "Payment"),
        ("a terminal is no device", None, "Payment"),
    ],
)
async def test_a_device_is_new_for_a_day(
    _case: str, age: timedelta | None, outcome: str, till: Any, new_person: Any
) -> None:
    alice, now = await new_person("Alice", "5000.00"), await till.now()
    asked = till.confirmation(await till.open(100_001), alice, PIN, now)
    asked = msgspec.structs.replace(asked, device_since=None if age is None else now.wall - age)
    [told] = await till.confirm_all([asked])
    assert type(told).__name__ == outcome


async def test_the_refusal_says_until_when_and_what_is_left(till: Any, new_person: Any) -> None:
    alice, since = await new_person("Alice", "5000.00"), await wall(till)
    assert await confirm(till, alice, 30_000, since=since) == "Payment"
    [refused] = await till.confirm_all([till.confirmation(await till.open(70_001), alice, WRONG, device_since=since)])
    assert isinstance(refused, pay.DeviceNew)
    assert isinstance(refused, pay.AboveLimit)
    assert refused.facts == {
        "limit": pay.LimitKind.NEW_DEVICE,
        "allowed": Money(100_000, CNY),
        "left": Money(70_000, CNY),
        "until": since + DAY,
    }
    for _ in range(6):  # no PIN is tried on it
        assert await confirm(till, alice, 70_001, since=since, proof=WRONG) == "DeviceNew"
    assert await confirm(till, alice, 70_000, since=since) == "Payment"


async def test_what_other_devices_paid_that_day_counts_and_only_that_day(till: Any, new_person: Any) -> None:
    alice, now = await new_person("Alice", "9000.00"), await till.now()
    assert await confirm(till, alice, 150_000, since=None) == "Payment"
    [refused] = await till.confirm_all([till.confirmation(await till.open(1), alice, PIN, device_since=now.wall)])
    assert isinstance(refused, pay.DeviceNew)
    assert refused.facts["left"] == Money(0, CNY)
    assert await confirm(till, alice, 150_000, since=None) == "Payment", "which has no such limit"
    tomorrow = Now(world=now.world + DAY, wall=now.wall + DAY - MOMENT)
    opened = await till.open(100_000, expires_at=now.world + 7 * DAY)
    asked = till.confirmation(opened, alice, PIN, tomorrow, device_since=now.wall)
    [paid] = await till.confirm_all([asked])
    assert not isinstance(paid, Failure)


async def test_a_persons_own_limits_hold_as_well_and_are_told_first(till: Any, new_person: Any) -> None:
    alice, since = await new_person("Alice", "5000.00"), await wall(till)
    await till.limit(alice, per_payment_minor=50_000, per_day_minor=60_000)
    told = [await confirm(till, alice, minor, since=since) for minor in (50_001, 50_000, 10_001, 10_000)]
    assert told == ["AboveLimit", "Payment", "AboveLimit", "Payment"]
    await till.limit(alice, per_payment_minor=10**9, per_day_minor=10**9)  # wider than a new device's: no use
    told = [await confirm(till, alice, minor, since=since) for minor in (40_001, 40_000)]
    assert told == ["DeviceNew", "Payment"]


@pytest.mark.parametrize("proof", ["pin", "passkey"])
async def test_two_new_phones_cannot_exceed_it_together(
    proof: str, till: Any, other_till: Any, new_person: Any
) -> None:
    """Somebody without limits of their own, by passkey: neither a PIN nor a limit is there to be locked."""
    alice, since = await new_person("Alice", "9000.00"), await wall(till)
    phones = [await till.phone(alice), await till.phone(alice)]
    asked = []
    for n in range(24):
        opened = await till.open(15_000)
        given = PIN if proof == "pin" else await till.sign(phones[n % 2], opened, 15_000)
        asked.append(till.confirmation(opened, alice, given, device_since=since))
    batches = [[one] for one in asked[:16]] + [asked[16:20], asked[20:24]]
    outcomes = await asyncio.gather(
        *(one.confirm_all(batch) for batch, one in zip(batches, [till, other_till] * 9, strict=True))
    )
    told = Counter(type(outcome).__name__ for batch in outcomes for outcome in batch)
    assert told == {"Payment": 6, "DeviceNew": 18}
    assert await till.holdings(alice.id) == (900_000 - 90_000, 0)


async def test_many_people_on_new_phones_never_wait_crosswise(till: Any, other_till: Any, new_person: Any) -> None:
    people, since = [await new_person(f"Person {n}", "100.00") for n in range(8)], await wall(till)
    batches = []
    for n in range(12):
        order = people if n % 2 else people[::-1]
        batches.append([till.confirmation(await till.open(100), who, PIN, device_since=since) for who in order])
    outcomes = await asyncio.gather(
        *(one.confirm_all(batch) for batch, one in zip(batches, [till, other_till] * 6, strict=True))
    )
    assert {type(outcome).__name__ for batch in outcomes for outcome in batch} == {"Payment"}


@pytest.mark.parametrize(
    ("_case", "minor", "is_new", "says"),
    [
        ("within it", 100_000, True, "ProofMissing"),
        ("above it", 100_001, True, "DeviceNew"),
        ("above it, on a known one", 100_001, False, "ProofMissing"),
        ("a small sum", 1_000, True, "NoneType"),
    ],
)
async def test_a_page_knows_beforehand(
    _case: str, minor: int, is_new: bool, says: str, till: Any, new_person: Any
) -> None:
    alice, now = await new_person("Alice", "5000.00"), await till.now()
    await till.limit(alice, without_pin_minor=1000)
    since = now.wall - (timedelta() if is_new else DAY)
    async with till.database.transaction() as tx:
        told = await pay.find_limit_refusal(tx, alice.id, Money(minor, CNY), now=now, device_since=since)
    assert type(told).__name__ == says
