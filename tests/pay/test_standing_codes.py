"""Printed codes: whoever scans one says how much they pay, and the payment is one like any other."""

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from dewpond import openplatform, pay
from dewpond.kit import outbox
from dewpond.kit.failures import Failure
from dewpond.kit.ids import new_id
from dewpond.kit.money import CNY, AmountInvalid, Currency, Money

pytestmark = pytest.mark.usefixtures("books")

EUR = Currency("EUR")


async def put_up(till: Any, title: str = "Counter", **changed: Any) -> pay.StandingCode:
    now = await till.now()
    asked = {"merchant_id": till.shop.merchant.id, "app_id": till.shop.app.id, **changed}
    async with till.database.transaction() as tx:
        return await pay.create_standing_code(tx, title=title, now=now, **asked)


async def scan(till: Any, code: str, amount: Money, **asked: Any) -> pay.Opened:
    """What a phone does: ask what the code stands for, and have it opened."""
    now = await till.now()
    async with till.database.transaction() as tx:
        opening = await pay.standing_opening(tx, code, amount, now=now, **asked)
        outcome = (await pay.open_payments(tx, [opening]))[0]
    if isinstance(outcome, Failure):
        raise outcome
    return outcome


async def test_a_scanned_code_is_paid_like_any_other_payment(till: Any, new_person: Any) -> None:
    alice = await new_person("Alice", "100.00")
    poster = await put_up(till, "  Counter 1 ")
    opened = await scan(till, poster.code, Money(1800, CNY))
    payment = await till.payment(opened)
    assert (payment.amount, payment.description, payment.app_id) == (Money(1800, CNY), "Counter 1", till.shop.app.id)
    assert payment.expires_at - payment.opened_at == timedelta(minutes=15) == pay.STANDING_LIFE
    assert payment.merchant_reference.startswith("std_")
    assert len(payment.merchant_reference) <= 32  # the longest that the wire takes
    paid = await till.confirm(opened, alice)
    assert (paid.fee_minor, paid.fee_rate_bp) == (11, till.shop.merchant.fee_rate_bp)
    assert await till.holdings(till.shop.merchant.id) == (1789, 0)
    await till.settle(await till.refund(paid.id, 1800))
    assert await till.holdings(alice.id) == (10_000, 0)


async def test_each_scan_is_a_payment_of_its_own(till: Any) -> None:
    poster = await put_up(till)
    opened = [await scan(till, poster.code, Money(100, CNY)) for _ in range(3)]
    assert len({one.payment_id for one in opened}) == len({one.code for one in opened}) == 3


async def test_the_same_scan_again_is_the_same_payment(till: Any) -> None:
    poster, key = await put_up(till), new_id()
    first = await scan(till, poster.code, Money(100, CNY), key=key, note="table 4")
    again = await scan(till, poster.code, Money(100, CNY), key=key, note="table 4")
    assert again.payment_id == first.payment_id
    for asked in ({"amount": Money(101, CNY), "note": "table 4"}, {"amount": Money(100, CNY), "note": "table 5"}):
        with pytest.raises(pay.RequestDiffers):
            await scan(till, poster.code, key=key, **asked)
    other = await put_up(till)
    assert (await scan(till, other.code, Money(100, CNY), key=key, note="table 4")).payment_id != first.payment_id


async def test_nobody_is_called_back(till: Any, new_person: Any) -> None:
    alice = await new_person("Alice", "100.00")
    poster = await put_up(till)
    paid = await till.confirm(await scan(till, poster.code, Money(1800, CNY)), alice)
    await till.settle(await till.refund(paid.id, 300))
    now = await till.now()
    async with till.database.transaction() as tx:
        while await outbox.relay(tx):
            pass
        facts = [fact for fact in await outbox.page(tx, after=0, most=100_000) if fact.aggregate_id == paid.id]
        assert [fact.kind for fact in facts] == ["payment.succeeded", "refund.succeeded"]
        await openplatform.notify_merchant(tx, facts, now)
        assert await openplatform.list_deliveries(tx, merchant_id=till.shop.merchant.id) == []


@pytest.mark.parametrize(
    ("_case", "amount"),
    [
        ("nothing", Money(0, CNY)),
        ("less than nothing", Money(-1, CNY)),
        ("another currency", Money(100, EUR)),
        ("an absurd sum", Money(10**9 + 1, CNY)),
    ],
)
async def test_a_sum_must_be_one(_case: str, amount: Money, till: Any) -> None:
    poster = await put_up(till)
    with pytest.raises(AmountInvalid):
        await scan(till, poster.code, amount)


@pytest.mark.parametrize(
    ("_case", "note", "description"),
    [
        ("none", "", "Counter"),
        ("nothing but blanks", "  ", "Counter"),
        ("a note", " table 4, 多加冰 ", "Counter · table 4, 多加冰"),
        ("the longest", "n" * pay.NOTE_LENGTH, "Counter · " + "n" * pay.NOTE_LENGTH),
        ("too long", "n" * (pay.NOTE_LENGTH + 1), None),
        ("two lines", "a\nb", None),
        ("turned around", "a\u202eb", None),
    ],
)
async def test_who_scans_may_leave_a_note(_case: str, note: str, description: str | None, till: Any) -> None:
    poster, now = await put_up(till), await till.now()
    async with till.database.transaction() as tx:
        if description is None:
            with pytest.raises(pay.StandingNoteInvalid):
                await pay.standing_opening(tx, poster.code, Money(100, CNY), now=now, note=note)
        else:
            opening = await pay.standing_opening(tx, poster.code, Money(100, CNY), now=now, note=note)
            assert opening.description == description


async def test_a_code_may_ask_in_another_currency(till: Any, new_person: Any) -> None:
    alice, now = await new_person("Alice"), await till.now()
    async with till.database.transaction() as tx:
        await pay.top_up(tx, alice.id, Money(1000, EUR), now=now)
    poster = await put_up(till, currency=EUR)
    paid = await till.confirm(await scan(till, poster.code, Money(1000, EUR)), alice)
    assert paid.amount == Money(1000, EUR)


async def test_a_code_that_was_taken_down_asks_nobody(till: Any, new_merchant: Any) -> None:
    poster, now, rival = await put_up(till), await till.now(), await new_merchant("Coffee Shop")
    async with till.database.transaction() as tx:
        assert await pay.get_standing_code(tx, poster.code) == poster
        with pytest.raises(pay.StandingCodeUnknown):
            await pay.end_standing_code(tx, rival.merchant.id, poster.code, now=now)
        await pay.end_standing_code(tx, till.shop.merchant.id, poster.code, now=now)
        await pay.end_standing_code(
            tx, till.shop.merchant.id, poster.code, now=type(now)(world=now.world + timedelta(days=1), wall=now.wall)
        )
    with pytest.raises(pay.StandingCodeEnded):
        await scan(till, poster.code, Money(100, CNY))
    with pytest.raises(pay.StandingCodeUnknown):
        await scan(till, "no-such-code-at-all", Money(100, CNY))
    async with till.database.transaction() as tx:
        (listed,) = await pay.list_standing_codes(tx, till.shop.merchant.id)
    assert listed == msgspec.structs.replace(poster, ended_at=now.world)


async def test_a_merchant_lists_its_own_codes_the_newest_first(till: Any, new_merchant: Any) -> None:
    made = [await put_up(till, f"Table {number}") for number in range(3)]
    rival = await new_merchant("Coffee Shop")
    await put_up(till, merchant_id=rival.merchant.id, app_id=rival.app.id)
    async with till.database.transaction() as tx:
        assert await pay.list_standing_codes(tx, till.shop.merchant.id) == made[::-1]
    assert len({one.code for one in made}) == 3
    assert all(len(one.code) >= 16 and one.code.replace("-", "").replace("_", "").isalnum() for one in made)


@pytest.mark.parametrize("title", ["", "   ", "x" * 65, "a\nb", "a\u202eb"])
async def test_a_title_is_one_that_shows(title: str, till: Any) -> None:
    with pytest.raises(pay.StandingCodeTitleInvalid):
        await put_up(till, title)


async def test_a_code_belongs_to_an_app_of_its_merchant(till: Any, new_merchant: Any) -> None:
    rival = await new_merchant("Coffee Shop")
    for app_id in (rival.app.id, new_id()):
        with pytest.raises(pay.AppUnknown):
            await put_up(till, app_id=app_id)
