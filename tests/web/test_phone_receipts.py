"""Receipts: shown to whoever paid, with what came back since; to nobody else, by nothing that differs."""

from typing import Any

import pytest

from dewpond.kit.ids import new_id, to_text
from web.counters import Counter, pay_by_pin


@pytest.fixture
async def counter(house: Any, new_merchant: Any) -> Counter:
    return Counter(house, await new_merchant("Tea Shop"))


@pytest.fixture
async def alice(new_person: Any) -> Any:
    return await new_person("Alice", "100.00")


async def paid(phone: Any, counter: Counter, sum_: str = "18.00") -> tuple[Any, str]:
    opened = await counter.ask(sum_, what="Jasmine, large")
    return opened, (await pay_by_pin(phone, opened)).headers["location"]


async def test_a_receipt_says_what_was_paid(visitors: Any, counter: Counter, alice: Any) -> None:
    phone = await visitors.person(alice)
    opened, path = await paid(phone, counter)
    answer, payment = await phone.get(path), await counter.payment(opened)
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
    assert payment.public_number
    told = answer.text.replace("<wbr>", "")
    for fact in ("Tea Shop", "Jasmine, large", payment.public_number, payment.merchant_reference):
        assert fact in told, fact
    assert 'class="paid"' in told  # just now: the drop falls
    assert f"/pools/{counter.shop.merchant.number}" in told


async def test_refunds_appear_as_they_come(visitors: Any, counter: Counter, alice: Any) -> None:
    phone = await visitors.person(alice)
    opened, path = await paid(phone, counter)
    assert "Refunded so far" not in (await phone.get(path)).text
    await counter.give_back(opened, "6.00", reason="<b>Spilt</b>")
    await counter.give_back(opened, "2.00", settle=False)
    text = (await phone.get(path)).text
    for fact in ("Partly refunded", "+¥6.00", "+¥2.00", "On its way", "&lt;b&gt;Spilt&lt;/b&gt;", "¥12.00"):
        assert fact in text, fact
    await counter.give_back(opened, "10.00")
    assert "Partly refunded" in (await phone.get(path)).text  # a part of it is still on its way


async def test_a_receipt_of_somebody_else_is_not_there(
    visitors: Any, counter: Counter, alice: Any, new_person: Any
) -> None:
    bob = await new_person("Bob", "100.00")
    phone, other = await visitors.person(alice), await visitors.person(bob)
    _, path = await paid(phone, counter)
    unpaid = f"/receipts/{to_text('pay', (await counter.ask()).payment_id)}"
    nobodys = f"/receipts/{to_text('pay', new_id())}"
    answers = [await other.get(one) for one in (path, unpaid, nobodys)]
    assert [answer.status_code for answer in answers] == [404] * 3
    bodies = {answer.text.replace(answer.headers["x-request-id"], "") for answer in answers}
    assert len(bodies) == 1, "they can be told apart"
    assert "Tea Shop" not in bodies.pop()


@pytest.mark.parametrize(
    "path", ["/receipts/x", "/receipts/pay_", "/receipts/rfd_" + "0" * 26, "/receipts/pay_" + "z" * 26]
)
async def test_what_is_no_number_of_a_payment_is_not_there(visitors: Any, alice: Any, path: str) -> None:
    assert (await (await visitors.person(alice)).get(path)).status_code == 404


async def test_a_receipt_wants_somebody_signed_in(visitors: Any, counter: Counter, alice: Any) -> None:
    _, path = await paid(await visitors.person(alice), counter)
    answer = await visitors.stranger().get(path)
    assert (answer.status_code, answer.headers["location"]) == (303, f"/sign-in?next={path}")
