"""The shop's day, its payments, and giving money back."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from dewpond import pay
from dewpond.kit import worlds
from dewpond.kit.db import Database
from dewpond.kit.ids import new_id
from dewpond.kit.money import Money
from dewpond.merchants import Role
from dewpond.pay import Confirmation, NewRequest, Opening, Payment, PinProof
from dewpond.worker import drain


@dataclass
class Counter:
    """A shop that sells."""

    house: Any
    database: Database
    shop: Any
    payer: Any

    @property
    def path(self) -> str:
        return f"/m/{self.shop.merchant.number}"

    async def ask(self, amount: str = "18.00", description: str = "Longjing") -> pay.Opened:
        async with self.database.transaction() as tx:
            now = await worlds.read_clocks(tx)
        opening = Opening(
            merchant_id=self.shop.merchant.id,
            app_id=self.shop.app.id,
            merchant_reference=new_id().hex,
            description=description,
            amount=Money.parse(amount),
            fee_rate_bp=60,
            expires_at=now.world + timedelta(hours=2),
            now=now,
            request=NewRequest(trade_type="NATIVE", request_hash=b"h", notify_url="http://127.0.0.1:9/none"),
        )
        return await self.house.openings.submit(opening)

    async def sell(self, amount: str = "18.00", description: str = "Longjing") -> Payment:
        opened = await self.ask(amount, description)
        async with self.database.transaction() as tx:
            now = await worlds.read_clocks(tx)
        return await self.house.confirmations.submit(
            Confirmation(
                merchant_id=self.shop.merchant.id,
                payment_id=opened.payment_id,
                payer_id=self.payer.id,
                proof=PinProof(pin="123456"),
                now=now,
            )
        )


@pytest.fixture
async def counter(house: Any, database: Database, new_merchant: Any, new_person: Any) -> Counter:
    return Counter(house, database, await new_merchant("Tea <b>Shop</b>"), await new_person("Alice", "500.00"))


@pytest.fixture
async def owner(counter: Counter, visitors: Any, new_member: Any) -> Any:
    return await visitors.member(await new_member(shop=counter.shop))


async def test_the_day_shows_what_was_taken_and_who_came(counter: Counter, owner: Any) -> None:
    empty = await owner.get(counter.path)
    assert empty.status_code == 200
    assert "No payments yet" in empty.text
    await counter.sell("18.00", "Longjing <script>alert(1)</script>")
    await drain(counter.house)
    text = (await owner.get(counter.path)).text
    assert "¥18.00" in text
    assert "1 payment" in text
    assert "Longjing &lt;script&gt;" in text
    assert "<script>alert" not in text
    assert "Tea &lt;b&gt;Shop" in text
    assert (await owner.get(counter.path, headers={"accept-language": "zh"})).status_code == 200


async def test_payments_are_found_by_number_state_and_day(counter: Counter, owner: Any) -> None:
    paid = await counter.sell("7.00", "Oolong")
    await counter.ask("9.00", "Pu'er")
    listed = await owner.get(f"{counter.path}/payments")
    assert listed.text.index("Pu&#39;er") < listed.text.index("Oolong"), "the newest first"
    for query, found, left_out in [
        ("status=succeeded", "Oolong", "Pu&#39;er"),
        ("status=open", "Pu&#39;er", "Oolong"),
        (f"q={paid.public_number}", "Oolong", "Pu&#39;er"),
        (f"q={paid.text_id}", "Oolong", "Pu&#39;er"),
        ("q=ool", "Oolong", "Pu&#39;er"),
    ]:
        text = (await owner.get(f"{counter.path}/payments?{query}")).text
        assert found in text, query
        assert left_out not in text, query
    for query in ("q=nothing-like-it", "since=2099-01-01", "until=2001-01-01"):
        assert "Nothing found" in (await owner.get(f"{counter.path}/payments?{query}")).text, query
    for nonsense in ("before=x", "before=2020-01-01~1", "status=paid&since=31.12.&until=9999-99-99"):
        assert (await owner.get(f"{counter.path}/payments?{nonsense}")).status_code == 200, nonsense


async def test_long_lists_go_on(counter: Counter, owner: Any) -> None:
    for number in range(53):
        await counter.ask("1.00", f"Cup {number:02d}")
    first = (await owner.get(f"{counter.path}/payments")).text
    assert "Cup 52" in first
    assert "Cup 02" not in first
    more = first.split('class="button button--secondary" href="', 1)[1].split('"', 1)[0].replace("&amp;", "&")
    second = (await owner.get(more)).text
    assert "Cup 02" in second
    assert "Cup 00" in second
    assert "Cup 03" not in second


async def test_a_payment_tells_everything_that_happened_to_it(counter: Counter, owner: Any) -> None:
    paid = await counter.sell()
    await drain(counter.house)
    text = (await owner.get(f"{counter.path}/payments/{paid.text_id}")).text
    for part in (
        "Alice",
        paid.public_number,
        paid.merchant_reference,
        "Wallet of Alice",
        "¥0.11",
        "127.0.0.1:9",
        "Attempt 1",
    ):
        assert part in text, part


async def test_money_is_given_back_once_per_form(counter: Counter, owner: Any) -> None:
    paid = await counter.sell()
    path = f"{counter.path}/payments/{paid.text_id}"
    key = str(new_id())
    for _ in range(2):
        answer = await owner.send_form(f"{path}/refunds", amount="5.00", key=key, reason="cold tea")
        assert answer.status_code == 303, answer.text
    await drain(counter.house)
    text = (await owner.get(path)).text
    assert "¥5.00 given back" in text
    assert "cold tea" in text
    assert 'value="13.00"' in text
    part = (await owner.get(path, headers={"hx-request": "true"})).text
    assert part.count("Partly refunded") == 1
    assert "<html" not in part
    assert "¥5.00 given back" in part
    async with counter.database.transaction() as tx:
        again = await pay.get_payment(tx, counter.shop.merchant.id, paid.id)
    assert again.refunded_minor == 500


@pytest.mark.parametrize(
    ("_case", "amount", "said"),
    [
        ("more than there is", "18.01", "more than is left"),
        ("nothing", "0", "not an amount"),
        ("less than nothing", "-1", "not an amount"),
        ("no number", "much", "not an amount"),
        ("parts of a fen", "1.001", "not an amount"),
    ],
)
async def test_what_cannot_be_given_back_is_said_on_the_page(
    counter: Counter, owner: Any, _case: str, amount: str, said: str
) -> None:
    paid = await counter.sell()
    path = f"{counter.path}/payments/{paid.text_id}/refunds"
    answer = await owner.send_form(path, amount=amount, key=str(new_id()))
    assert answer.status_code in {409, 422}
    assert said in answer.text
    opened_again = await owner.get(path)
    assert (opened_again.status_code, opened_again.headers["location"]) == (303, path.removesuffix("/refunds"))
    assert (await owner.get(f"{counter.path}/payments/pay_none/refunds")).status_code == 404


async def test_others_see_nothing(counter: Counter, visitors: Any, new_member: Any, new_merchant: Any) -> None:
    paid = await counter.sell()
    elsewhere = await new_merchant("Bakery")
    stranger = await visitors.member(await new_member("Eve", shop=elsewhere))
    for path in ("", "/payments", f"/payments/{paid.text_id}", "/live"):
        assert (await stranger.get(f"{counter.path}{path}")).status_code == 404, path
    their_own = f"/m/{elsewhere.merchant.number}/payments/{paid.text_id}"
    assert (await stranger.get(their_own)).status_code == 404, "another shop's payment under one's own"
    answer = await stranger.send_form(f"{their_own}/refunds", amount="1", key=str(new_id()))
    assert answer.status_code == 404
    analyst = await visitors.member(await new_member("Ann", shop=counter.shop, role=Role.ANALYST))
    refused = await analyst.send_form(f"{counter.path}/payments/{paid.text_id}/refunds", amount="1", key=str(new_id()))
    assert refused.status_code == 403
    assert "Give money back" not in (await analyst.get(f"{counter.path}/payments/{paid.text_id}")).text
