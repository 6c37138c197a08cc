"""Giving money back: never more than was paid, the fee with it, once per number."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dewpond import pay
from dewpond.kit.clock import Now
from dewpond.kit.failures import Failure
from dewpond.kit.money import CNY, Money, round_half_up
from dewpond.pay import RefundStatus

pytestmark = pytest.mark.usefixtures("books")


async def _paid(till: Any, new_person: Any, minor: int = 1800) -> tuple[Any, Any]:
    alice = await new_person("Alice", Money(minor, CNY))
    return alice, await till.confirm(await till.open(minor), alice)


async def test_a_refund_holds_first_and_then_gives_back(till: Any, new_person: Any) -> None:
    alice, payment = await _paid(till, new_person)
    asked = await till.refund(payment.id, 500)
    assert asked.status is RefundStatus.PROCESSING
    assert await till.holdings(till.shop.merchant.id) == (1789, 497)
    assert await till.holdings(alice.id) == (0, 0)
    ended = await till.settle(asked)
    assert ended.status is RefundStatus.SUCCEEDED
    assert await till.holdings(alice.id) == (500, 0)
    assert await till.holdings(till.shop.merchant.id) == (1292, 0)


async def test_settling_twice_gives_back_once(till: Any, new_person: Any) -> None:
    alice, payment = await _paid(till, new_person)
    asked = await till.refund(payment.id, 500)
    await asyncio.gather(till.settle(asked), till.settle(asked))
    assert await till.holdings(alice.id) == (500, 0)


async def test_part_by_part_everything_returns_and_so_does_the_fee(till: Any, new_person: Any) -> None:
    alice, payment = await _paid(till, new_person)
    parts = [await till.refund(payment.id, minor) for minor in (500, 333, 967)]
    for part in parts:
        await till.settle(part)
    assert sum(part.fee_minor for part in parts) == payment.fee_minor == 11
    assert await till.holdings(alice.id) == (1800, 0)
    assert await till.holdings(till.shop.merchant.id) == (0, 0)
    with pytest.raises(pay.RefundTooMuch):
        await till.refund(payment.id, 1)


@given(
    minor=st.integers(1, 10**12),
    rate_bp=st.integers(0, 10_000),
    cuts=st.lists(st.integers(1, 10**12), max_size=8),
)
def test_shares_of_a_fee_are_never_negative_and_add_up(minor: int, rate_bp: int, cuts: list[int]) -> None:
    """The law behind `_fee_back`, for any amount, rate and way of cutting."""
    fee = Money(minor, CNY).share(rate_bp).minor
    edges = [*sorted({cut % (minor + 1) for cut in cuts}), minor]
    given_back = [round_half_up(fee * edge, minor) for edge in edges]
    shares = [high - low for low, high in zip([0, *given_back], given_back, strict=False)]
    assert all(share >= 0 for share in shares)
    assert sum(shares) == fee
    parts = [high - low for low, high in zip([0, *edges], edges, strict=False)]
    assert all(share <= part for share, part in zip(shares, parts, strict=True))


async def test_the_same_request_again_returns_the_refund_and_another_is_refused(till: Any, new_person: Any) -> None:
    _, payment = await _paid(till, new_person)
    first = await till.refund(payment.id, 500, merchant_reference="back-same")
    again = await till.refund(payment.id, 500, merchant_reference="back-same")
    assert again == first
    with pytest.raises(pay.RequestDiffers):
        await till.refund(payment.id, 600, merchant_reference="back-same", request_hash=b"other")
    _, other = await _paid(till, new_person)
    with pytest.raises(pay.RequestDiffers):
        await till.refund(other.id, 500, merchant_reference="back-same")


async def test_one_number_for_two_payments_at_once_makes_one_refund(till: Any, new_person: Any) -> None:
    (_, one), (_, two) = await _paid(till, new_person), await _paid(till, new_person)
    outcomes = await asyncio.gather(
        till.refund(one.id, 500, merchant_reference="back-race", request_hash=b"one"),
        till.refund(two.id, 500, merchant_reference="back-race", request_hash=b"two"),
        return_exceptions=True,
    )
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Refund", "RequestDiffers"]
    assert (await till.holdings(till.shop.merchant.id))[1] == 497


async def test_fifty_at_once_over_the_sum_and_one_stands(till: Any, new_person: Any) -> None:
    _, payment = await _paid(till, new_person, 10_000)
    outcomes = await asyncio.gather(
        *(till.refund(payment.id, 6000, total=10_000) for _ in range(50)), return_exceptions=True
    )
    names = sorted(type(outcome).__name__ for outcome in outcomes)
    assert names == ["Refund"] + ["RefundTooMuch"] * 49


@pytest.mark.parametrize(
    ("_case", "minor", "changed", "refusal"),
    [
        ("more than was paid", 1801, {}, pay.RefundTooMuch),
        ("another total", 500, {"total": 1799}, pay.TotalDiffers),
        ("another currency", 500, {"amount": Money(500, "JPY")}, pay.TotalDiffers),
    ],
)
async def test_a_refund_that_does_not_fit_is_refused(
    _case: str, minor: int, changed: dict[str, Any], refusal: type[Failure], till: Any, new_person: Any
) -> None:
    _, payment = await _paid(till, new_person)
    with pytest.raises(refusal):
        await till.refund(payment.id, minor, **changed)
    assert (await till.holdings(till.shop.merchant.id))[1] == 0


async def test_an_unpaid_payment_has_nothing_to_give_back(till: Any) -> None:
    opened = await till.open()
    with pytest.raises(pay.PaymentNotFound):
        await till.refund(opened.payment_id, 500)


async def test_a_year_later_it_is_too_late(till: Any, new_person: Any) -> None:
    _, payment = await _paid(till, new_person)
    now = await till.now()
    last = Now(world=payment.succeeded_at + timedelta(days=365), wall=now.wall)
    await till.refund(payment.id, 100, now=last)
    with pytest.raises(pay.RefundTooLate):
        await till.refund(payment.id, 100, now=Now(world=last.world + timedelta(seconds=1), wall=now.wall))


async def test_fifty_parts_are_the_most(till: Any, new_person: Any) -> None:
    _, payment = await _paid(till, new_person)
    for _ in range(50):
        await till.refund(payment.id, 1)
    with pytest.raises(pay.RefundTooOften):
        await till.refund(payment.id, 1)


async def test_a_merchant_without_money_cannot_give_back_and_the_number_stays_free(till: Any, new_person: Any) -> None:
    _, one = await _paid(till, new_person)
    await till.refund(one.id, 1800)  # holds all the shop has
    # what it no longer has: another payment's money is spent by a second refund of the first kind
    _, two = await _paid(till, new_person, 1000)
    await till.refund(two.id, 1000, total=1000)
    from dewpond import ledger
    from dewpond.kit.ids import new_id
    from dewpond.ledger import EntryKey, NewHold

    _, three = await _paid(till, new_person, 700)
    now = await till.now()
    rest = await till.holdings(till.shop.merchant.id)
    async with till.database.transaction() as tx:
        hold = NewHold(
            key=EntryKey(new_id()),
            account_id=pay.unsettled_of(till.shop.merchant.id, CNY),
            amount=Money(rest[0] - rest[1], CNY),
            occurred_at=now.world,
        )
        assert (await ledger.hold(tx, [hold], wall_now=now.wall))[0] is ledger.Outcome.POSTED
    with pytest.raises(pay.MerchantFundsShort):
        await till.refund(three.id, 700, total=700, merchant_reference="back-short")
    async with till.database.transaction() as tx:
        assert await pay.find_refund(tx, till.shop.merchant.id, "back-short") is None
        await ledger.void_hold(tx, hold.key, at=now.world)
    assert (await till.refund(three.id, 700, total=700, merchant_reference="back-short")).status is (
        RefundStatus.PROCESSING
    )


async def test_refund_and_settle_in_any_order_leave_the_sum(till: Any, new_person: Any) -> None:
    alice, payment = await _paid(till, new_person)
    asked = await asyncio.gather(*(till.refund(payment.id, 100) for _ in range(10)))
    await asyncio.gather(*(till.settle(one) for one in reversed(asked)))
    assert await till.holdings(alice.id) == (1000, 0)
    assert (await till.payment(payment_of(payment))).refunded_minor == 1000


def payment_of(payment: Any) -> Any:
    """As the till knows an opened payment."""
    return pay.Opened(payment_id=payment.id, code="")
