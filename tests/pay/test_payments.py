"""Opening, closing and expiry of payments."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from dewpond import pay
from dewpond.identity import PersonId
from dewpond.kit import worlds
from dewpond.kit.failures import Failure
from dewpond.kit.ids import new_id
from dewpond.kit.money import CNY, Money
from dewpond.pay import PaymentStatus

pytestmark = pytest.mark.usefixtures("books")

#: Whoever has a phone.
ANYBODY = PersonId(new_id())


def test_the_life_of_a_payment_has_no_way_back(till: Any) -> None:
    assert {status.value for status in PaymentStatus} == {"open", "succeeded", "closed"}


async def test_an_opened_payment_is_found_by_its_code_and_by_the_merchants_number(till: Any) -> None:
    opened = await till.open(merchant_reference="tea-by-code")
    now = await till.now()
    async with till.database.transaction() as tx:
        by_code = await pay.get_payment_by_code(tx, opened.code, by=ANYBODY, now=now)
        by_number = await pay.find_payment_by_reference(tx, till.shop.merchant.id, "tea-by-code")
    assert by_code == by_number
    assert by_code.amount == Money(1800, CNY)
    assert by_code.status_at(now.world) is PaymentStatus.OPEN


async def test_the_same_request_again_gets_a_fresh_code_and_the_old_one_dies(till: Any) -> None:
    first = await till.open(merchant_reference="tea-again")
    second = await till.open(merchant_reference="tea-again")
    now = await till.now()
    assert second.payment_id == first.payment_id
    assert second.code != first.code
    async with till.database.transaction() as tx:
        assert (await pay.get_payment_by_code(tx, second.code, by=ANYBODY, now=now)).id == first.payment_id
        with pytest.raises(pay.CodeUnknown):
            await pay.get_payment_by_code(tx, first.code, by=ANYBODY, now=now)


async def _close(till: Any, reference: str) -> None:
    now = await till.now()
    async with till.database.transaction() as tx:
        await pay.close_payment(tx, till.shop.merchant.id, reference, now=now)


OTHER = pay.NewRequest(trade_type="NATIVE", request_hash=b"other", notify_url="http://localhost:9/notify")


@pytest.mark.parametrize(
    ("_case", "state", "changed", "refusal"),
    [
        ("open, other content", "open", {"request": OTHER}, pay.RequestDiffers),
        ("closed, same content", "closed", {}, pay.PaymentAlreadyClosed),
        ("closed, other content", "closed", {"request": OTHER}, pay.RequestDiffers),
        ("paid, same content", "paid", {}, pay.PaymentAlreadySucceeded),
        ("paid, other content", "paid", {"request": OTHER}, pay.RequestDiffers),
        ("never opened but closed", "burnt", {}, pay.PaymentAlreadyClosed),
    ],
)
async def test_a_number_in_use_is_refused(
    _case: str, state: str, changed: dict[str, Any], refusal: type[Failure], till: Any, new_person: Any
) -> None:
    reference = f"used-{state}-{len(changed)}"
    if state != "burnt":
        opened = await till.open(merchant_reference=reference)
    if state in {"closed", "burnt"}:
        await _close(till, reference)
    if state == "paid":
        await till.confirm(opened, await new_person("Alice", "20.00"))
    with pytest.raises(refusal):
        await till.open(merchant_reference=reference, **changed)


async def test_a_batch_answers_each_opening_in_its_place(till: Any) -> None:
    await till.open(merchant_reference="batch-used")
    now = await till.now()
    openings = [
        till.opening(now, merchant_reference="batch-1"),
        till.opening(now, merchant_reference="batch-used", request=OTHER),
        till.opening(now, merchant_reference="batch-2"),
    ]
    async with till.database.transaction() as tx:
        one, refused, two = await pay.open_payments(tx, openings)
    assert isinstance(one, pay.Opened)
    assert isinstance(refused, pay.RequestDiffers)
    assert isinstance(two, pay.Opened)
    assert one.payment_id != two.payment_id


async def test_openings_of_one_number_at_once_open_one_payment(till: Any) -> None:
    opened = await asyncio.gather(*(till.open(merchant_reference="at-once") for _ in range(8)))
    assert len({one.payment_id for one in opened}) == 1
    alive = 0
    now = await till.now()
    for one in opened:
        async with till.database.transaction() as tx:
            try:
                await pay.get_payment_by_code(tx, one.code, by=ANYBODY, now=now)
                alive += 1
            except pay.CodeUnknown:
                pass
    assert alive == 1


async def test_closing_is_final_repeatable_and_refused_once_paid(till: Any, new_person: Any) -> None:
    opened = await till.open(merchant_reference="to-close")
    await _close(till, "to-close")
    await _close(till, "to-close")
    assert (await till.payment(opened)).status is PaymentStatus.CLOSED
    alice = await new_person("Alice", "20.00")
    with pytest.raises(pay.PaymentAlreadyClosed):
        await till.confirm(opened, alice)
    paid = await till.open(merchant_reference="to-pay")
    await till.confirm(paid, alice)
    with pytest.raises(pay.PaymentAlreadySucceeded):
        await _close(till, "to-pay")


async def test_an_expired_payment_reads_as_closed_and_is_written_down_as_of_its_end(till: Any, new_person: Any) -> None:
    now = await till.now()
    opened = await till.open(expires_at=now.world + timedelta(minutes=5))
    later = worlds.Now(world=now.world + timedelta(minutes=5), wall=now.wall)
    payment = await till.payment(opened)
    assert payment.status is PaymentStatus.OPEN
    assert payment.status_at(later.world) is PaymentStatus.CLOSED
    with pytest.raises(pay.PaymentAlreadyClosed):
        await till.confirm(opened, await new_person("Alice", "20.00"), now=later)
    async with till.database.transaction() as tx:
        assert await pay.sweep_expired(tx, now=later) >= 1
    swept = await till.payment(opened)
    assert swept.status is PaymentStatus.CLOSED
    assert swept.closed_at == payment.expires_at


async def test_a_code_ends_before_its_payment_does(till: Any) -> None:
    now = await till.now()
    opened = await till.open()
    later = worlds.Now(world=now.world + pay.CODE_LIFE + timedelta(seconds=1), wall=now.wall)
    async with till.database.transaction() as tx:
        with pytest.raises(pay.CodeExpired):
            await pay.get_payment_by_code(tx, opened.code, by=ANYBODY, now=later)


async def test_many_codes_are_looked_up_in_their_order(till: Any, new_person: Any) -> None:
    now, alice = await till.now(), await new_person("Alice", "20.00")
    first, second, paid = [await till.open() for _ in range(3)]
    await till.confirm(paid, alice)
    codes = [second.code, "nobody-has-this", first.code, second.code, paid.code]
    later = worlds.Now(world=now.world + pay.CODE_LIFE + timedelta(seconds=1), wall=now.wall)
    async with till.database.transaction() as tx:
        found = await pay.list_scanned(tx, [(code, ANYBODY) for code in codes], now=now)
        after = await pay.list_scanned(tx, [(code, ANYBODY) for code in codes], now=later)
        assert await pay.list_scanned(tx, [], now=now) == []
    leads = [one.payment.id if isinstance(one, pay.Scanned) else type(one) for one in found]
    assert leads == [second.payment_id, pay.CodeUnknown, first.payment_id, second.payment_id, paid.payment_id]
    leads = [one.payment.id if isinstance(one, pay.Scanned) else type(one) for one in after]
    assert leads == [pay.CodeExpired, pay.CodeUnknown, pay.CodeExpired, pay.CodeExpired, paid.payment_id]


async def test_a_code_tells_until_when_it_can_be_paid_by_it(till: Any) -> None:
    now = await till.now()
    soon, late = now.world + timedelta(minutes=15), now.world + pay.CODE_LIFE
    codes = [(await till.open(now=now, expires_at=soon)).code, (await till.open(now=now)).code]
    async with till.database.transaction() as tx:
        told = await pay.list_scanned(tx, [(code, ANYBODY) for code in codes], now=now)
    assert [one.expires_at for one in told if isinstance(one, pay.Scanned)] == [soon, late]


async def test_another_merchant_never_sees_it(till: Any, new_merchant: Any) -> None:
    opened = await till.open(merchant_reference="mine-alone")
    rival = await new_merchant("Coffee Shop")
    async with till.database.transaction() as tx:
        assert await pay.find_payment_by_reference(tx, rival.merchant.id, "mine-alone") is None
        with pytest.raises(pay.PaymentNotFound):
            await pay.get_payment(tx, rival.merchant.id, opened.payment_id)
