"""The books at the desk: at zero, added up on demand, every coin followed, everybody's accounts found."""

import asyncio
from typing import Any

import pytest

from dewpond import ledger, pay
from dewpond.kit import clock, wishes, worlds
from dewpond.kit.db import Database
from dewpond.kit.ids import new_id, to_text
from dewpond.kit.money import Money
from dewpond.pay import RefundRequest
from dewpond.worker import drain
from web.desks import always_read_again, fact, hidden, plain, sell, working

__all__ = ["always_read_again"]  # a fixture, found here by its name


@pytest.fixture
async def operator(visitors: Any, new_member: Any, always_read_again: None) -> Any:
    return await visitors.member(await new_member("Olga", is_operator=True))


async def give_back(house: Any, database: Database, paid: Any, amount: str) -> Any:
    async with database.transaction() as tx:
        now = await worlds.read_clocks(tx)
        asked = RefundRequest(
            merchant_id=paid.merchant_id,
            payment_id=paid.id,
            merchant_reference=new_id().hex,
            amount=Money.parse(amount),
            total=paid.amount,
            request_hash=b"h",
        )
        refund = await pay.request_refund(tx, asked, now=now)
        return await pay.settle_refund(tx, refund.merchant_id, refund.id, now=now)


async def test_the_books_are_at_zero(
    operator: Any, house: Any, database: Database, new_merchant: Any, new_person: Any
) -> None:
    await sell(house, database, await new_merchant(), await new_person("Alice", "50.00"))
    text = (await operator.get("/desk/ledger")).text
    assert "The books balance" in text
    assert "All accounts in CNY together: ¥0.00" in plain(text)
    for group in ("Wallets", "Unsettled", "Fees", "Bank"):
        assert group in text
    assert "Not done from the desk yet" in text


async def test_a_book_that_is_off_is_told(operator: Any, owner_dsn: str, database: Database, new_person: Any) -> None:
    import asyncpg

    alice = await new_person("Alice", "50.00")
    connection = await asyncpg.connect(owner_dsn)
    change = "update ledger.accounts set balance = balance + $2 where id = $1"
    account = pay.wallet_of(alice.id, Money.parse("1").currency)
    try:
        await connection.execute(change, account, 700)
        text = (await operator.get("/desk/ledger")).text
        assert "The books do not balance" in text
        assert "All accounts in CNY together: ¥7.00" in plain(text)
        overview = (await operator.get("/desk")).text
        assert "The books do not balance" in overview
        assert "Adds up to zero" not in overview
    finally:
        await connection.execute(change, account, -700)
        await connection.close()


async def test_the_whole_book_is_added_up_by_the_worker(operator: Any, house: Any, database: Database) -> None:
    form = (await operator.get("/desk/ledger")).text
    given = {"key": hidden(form, "key")}
    for _ in range(2):
        assert (await operator.send_form("/desk/ledger/checks", **given)).status_code == 303
    other = await operator.send_form("/desk/ledger/checks", key=str(new_id()))
    assert other.status_code == 303, "it is being done already"
    asked = (await operator.get("/desk/ledger")).text
    assert "Adding up the whole book since" in asked
    assert 'hx-trigger="every 1s"' in asked
    async with working(house), asyncio.timeout(60):
        while "Adding up" in (part := (await operator.get("/desk/ledger", headers={"hx-request": "true"})).text):
            await asyncio.sleep(0.1)
    assert "<html" not in part
    assert "No fault found" in part
    assert fact(part, "Asked by") == "Olga"
    assert int(fact(part, "Entries")) > 0
    async with database.transaction() as tx:
        assert (await wishes.list_open(tx)) == []


async def test_adding_up_is_stopped(operator: Any, database: Database) -> None:
    await operator.send_form("/desk/ledger/checks", key=str(new_id()))
    for _ in range(2):
        assert (await operator.send_form("/desk/ledger/checks/stop")).status_code == 303
    async with database.transaction() as tx:
        assert (await wishes.list_open(tx)) == []
        stopped = await wishes.find_newest(tx, ledger.TRIAL_BALANCE_WISH)
    assert stopped is not None
    assert stopped.stopped_by is not None


async def test_every_coin_of_a_payment_is_followed(
    operator: Any, house: Any, database: Database, new_merchant: Any, new_person: Any
) -> None:
    shop, alice = await new_merchant("Tea <Shop>"), await new_person("Alice", "50.00")
    paid = await sell(house, database, shop, alice, "18.00")
    refund = await give_back(house, database, paid, "6.00")
    for asked in (paid.text_id, paid.public_number, paid.merchant_reference):
        text = plain((await operator.get(f"/desk/ledger?walk={asked}")).text)
        assert "Alice wallet → Tea &lt;Shop&gt; unsettled money ¥18.00" in text
        assert "Tea &lt;Shop&gt; unsettled money → Dewpond fees ¥0.11" in text
        assert "Tea &lt;Shop&gt; unsettled money → Alice wallet ¥6.00" in text
        assert "It adds up to zero" in text
        assert "Alice wallet−¥12.00" in text.replace(" −", "−")
    refund_only = (await operator.get(f"/desk/ledger?walk={to_text('rfd', refund.id)}")).text
    assert "¥6.00" in refund_only
    assert "¥18.00" not in plain(refund_only.split('id="way"')[1])
    by_key = (await operator.get(f"/desk/ledger?walk={pay.payment_entry_key(paid.id)}")).text
    assert "¥18.00" in by_key.split('id="way"')[1]


@pytest.mark.parametrize(
    "asked",
    ["pay_00000000000000000000000001", "rfd_00000000000000000000000001", "nonsense", "1" * 28, "%00", "x" * 5000,
     "<script>alert(1)</script>", "00000000-0000-0000-0000-000000000001", "' or 1=1 --"],
)  # fmt: skip
async def test_nothing_is_followed(operator: Any, asked: str) -> None:
    answer = await operator.get("/desk/ledger", params={"walk": asked})
    assert answer.status_code == 200
    assert "No money has moved" in answer.text
    assert "<script>alert" not in answer.text


async def test_an_unpaid_order_has_moved_nothing(operator: Any, new_person: Any) -> None:
    assert "No money has moved" in (await operator.get(f"/desk/ledger?walk={to_text('pay', new_id())}")).text


async def test_a_number_that_is_not_found_in_time_says_so(operator: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dewpond.web.desk.ledger._SEARCH_SECONDS", 0.0)
    assert "too large to look for that number" in (await operator.get("/desk/ledger?walk=4711")).text


async def test_whose_accounts_are_found(
    operator: Any, house: Any, database: Database, new_merchant: Any, new_person: Any
) -> None:
    shop, alice = await new_merchant("Tea Shop"), await new_person("Alice", "50.00")
    await sell(house, database, shop, alice, "18.00")
    await drain(house)
    for owner, name, sum_ in (
        (alice.number, "Alice", "¥32.00"),
        (alice.text_id, "Alice", "¥32.00"),
        (shop.merchant.number, "Tea Shop", "¥17.89"),
        (shop.merchant.text_id, "Tea Shop", "¥17.89"),
        ("house", "Dewpond", "−¥"),
    ):
        text = plain((await operator.get(f"/desk/ledger?owner={owner}")).text.split('id="holder"')[1])
        assert name in text
        assert sum_ in text


@pytest.mark.parametrize(
    "owner", ["nobody", "per_00000000000000000000000001", "mch_00000000000000000000000001", "9" * 10]
)
async def test_nobodys_accounts_are_not(operator: Any, owner: str) -> None:
    assert "Nobody found" in (await operator.get(f"/desk/ledger?owner={owner}")).text


async def test_what_an_older_dewpond_wrote_down_is_not_shown(operator: Any, house: Any, database: Database) -> None:
    async with database.transaction() as tx:
        wall = clock.wall_now()
        wish = await wishes.ask(tx, new_id(), ledger.TRIAL_BALANCE_WISH, asked_by=new_id(), wall_now=wall)
        await wishes.end(tx, wish.id, wishes.WishOutcome.GRANTED, {"sound": True}, wall_now=wall)
    answer = await operator.get("/desk/ledger")
    assert answer.status_code == 200
    assert "Not done from the desk yet" in answer.text
