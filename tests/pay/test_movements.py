"""A person's own list: everything that moved in their wallet, nothing of anybody else, always the balance."""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dewpond import ledger, pay
from dewpond.kit import migrations
from dewpond.kit.clock import Now
from dewpond.kit.ids import new_id
from dewpond.kit.migrations import migrate
from dewpond.kit.money import CNY, Currency, Money
from dewpond.kit.postgres import Postgres
from dewpond.pay import MovementKind

pytestmark = pytest.mark.usefixtures("books")

EUR = Currency("EUR")


async def test_each_move_is_told_with_what_it_was(till: Any, new_person: Any) -> None:
    alice = await new_person("Alice", "100.00")
    payment = await till.confirm(await till.open(1800, description="Oolong"), alice)
    refund = await till.settle(await till.refund(payment.id, 500))
    back, paid, came = await till.movements(alice)
    assert (came.kind, came.amount, came.title) == (MovementKind.TOP_UP, Money(10_000, CNY), "")
    assert (came.merchant_id, came.payment_id, came.refund_id, came.proof) == (None, None, None, None)
    assert (paid.kind, paid.amount, paid.title) == (MovementKind.PAYMENT, Money(-1800, CNY), "Oolong")
    assert (paid.id, paid.payment_id, paid.refund_id) == (payment.id, payment.id, None)
    assert (paid.merchant_id, paid.proof, paid.occurred_at) == (payment.merchant_id, "pin", payment.succeeded_at)
    assert (back.kind, back.amount, back.title) == (MovementKind.REFUND, Money(500, CNY), "Oolong")
    assert (back.id, back.payment_id, back.refund_id) == (refund.id, payment.id, refund.id)
    assert (back.merchant_id, back.proof, back.occurred_at) == (payment.merchant_id, None, refund.ended_at)


async def test_what_came_to_nothing_is_not_told(till: Any, new_person: Any) -> None:
    alice = await new_person("Alice", "1.00")
    with pytest.raises(pay.InsufficientFunds):
        await till.confirm(await till.open(), alice)
    payment = await till.confirm(await till.open(100), alice)
    await till.confirm(pay.Opened(payment_id=payment.id, code=""), alice)  # a double tap
    asked = await till.refund(payment.id, 100, total=100)
    assert [each.kind for each in await till.movements(alice)] == [MovementKind.PAYMENT, MovementKind.TOP_UP]
    await till.settle(asked)
    await till.settle(asked)
    assert [each.minor for each in await till.movements(alice)] == [100, -100, 100]


async def test_pages_follow_each_other_without_gap_or_repeat(till: Any, new_person: Any) -> None:
    alice = await new_person("Alice", "100.00")
    now = await till.now()
    for at in (now, Now(world=now.world + timedelta(days=1), wall=now.wall)):  # five at the same moment, twice
        asked = [till.confirmation(await till.open(100), alice, pay.PinProof("123456"), at) for _ in range(5)]
        await till.confirm_all(asked)
    whole = await till.movements(alice)
    assert len(whole) == 11
    assert all((a.occurred_at, a.id) > (b.occurred_at, b.id) for a, b in pairwise(whole))
    paged: list[pay.Movement] = []
    while page := await till.movements(alice, before=(paged[-1].occurred_at, paged[-1].id) if paged else None, most=3):
        paged += page
    assert paged == whole


@pytest.mark.parametrize(
    ("_case", "asked", "titles"),
    [
        ("everything", {}, ["Dragon well", "Dragon well", "100% Jasmine", ""]),
        ("a word in any case", {"text": "dRAGON"}, ["Dragon well", "Dragon well"]),
        ("a sign that is no joker", {"text": "0% j"}, ["100% Jasmine"]),
        ("a joker that is a sign", {"text": "drag_n"}, []),
        ("with spaces around it", {"text": "  jasmine "}, ["100% Jasmine"]),
        ("payments", {"kinds": [MovementKind.PAYMENT]}, ["Dragon well", "100% Jasmine"]),
        ("money that came", {"kinds": [MovementKind.REFUND, MovementKind.TOP_UP]}, ["Dragon well", ""]),
        ("no kind at all", {"kinds": []}, []),
        ("a word among payments", {"text": "well", "kinds": [MovementKind.PAYMENT]}, ["Dragon well"]),
        ("a shop", {"merchant_ids": ["shop"]}, ["Dragon well", "Dragon well", "100% Jasmine"]),
        ("another shop", {"merchant_ids": ["rival"]}, []),
        ("a word, or a shop of that name", {"text": "rival", "merchant_ids": ["rival"]}, []),
        ("a word, or a shop", {"text": "zz", "merchant_ids": ["shop"]}, ["Dragon well", "Dragon well", "100% Jasmine"]),
    ],
)
async def test_movements_are_found(
    _case: str, asked: dict[str, Any], titles: list[str], till: Any, new_person: Any, new_merchant: Any
) -> None:
    alice = await new_person("Alice", "100.00")
    await till.confirm(await till.open(100, description="100% Jasmine"), alice)
    payment = await till.confirm(await till.open(100, description="Dragon well"), alice)
    await till.settle(await till.refund(payment.id, 1, total=100))
    if "merchant_ids" in asked:
        shops = {"shop": till.shop, "rival": await new_merchant("Coffee")}
        asked = {**asked, "merchant_ids": [shops[name].merchant.id for name in asked["merchant_ids"]]}
    assert [each.title for each in await till.movements(alice, **asked)] == titles


async def test_a_person_sees_their_own_payment_and_no_other(till: Any, new_person: Any) -> None:
    alice, bob = await new_person("Alice", "100.00"), await new_person("Bob", "100.00")
    payment = await till.confirm(await till.open(), alice)
    open_one = await till.open()
    refund = await till.refund(payment.id, 500)
    async with till.database.transaction() as tx:
        assert (await pay.get_payment_of(tx, alice.id, payment.id)).public_number == payment.public_number
        assert await pay.list_refunds_of(tx, alice.id, payment.id) == [refund]
        for person, payment_id in (
            (bob, payment.id),
            (alice, open_one.payment_id),
            (alice, new_id()),
            (alice, refund.id),
        ):
            for verb in (pay.get_payment_of, pay.list_refunds_of):
                with pytest.raises(pay.PaymentNotFound):
                    await verb(tx, person.id, payment_id)


moves = st.one_of(
    st.tuples(st.just("top_up"), st.integers(0, 1), st.integers(1, 5000), st.sampled_from([CNY, CNY, EUR])),
    st.tuples(st.just("pay"), st.integers(0, 1), st.integers(1, 2000), st.sampled_from([CNY, CNY, EUR])),
    st.tuples(st.just("refund"), st.integers(0, 20), st.integers(1, 2000), st.just(CNY)),
)


# The till keeps nothing between examples: each has people of its own.
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(script=st.lists(moves, min_size=1, max_size=20))
async def test_movements_always_add_up_to_the_balance(script: Any, till: Any, new_person: Any) -> None:
    people = [await new_person("Alice", "10.00"), await new_person("Bob")]
    paid: list[pay.Payment] = []
    now = await till.now()
    async with till.database.transaction() as tx:
        await pay.open_merchant_accounts(tx, till.shop.merchant.id, now=now, currency=EUR)
    for verb, which, minor, currency in script:
        try:
            if verb == "top_up":
                async with till.database.transaction() as tx:
                    await pay.top_up(tx, people[which].id, Money(minor, currency), now=now)
            elif verb == "pay":
                opened = await till.open(amount=Money(minor, currency))
                paid.append(await till.confirm(opened, people[which]))
            elif paid:
                payment = paid[which % len(paid)]
                await till.settle(await till.refund(payment.id, minor, payment.minor, currency=payment.currency))
        except (pay.InsufficientFunds, pay.RefundTooMuch, pay.MerchantFundsShort):
            pass
    for person in people:
        sums: dict[str, int] = {}
        for movement in await till.movements(person, most=1000):
            sums[movement.currency] = sums.get(movement.currency, 0) + movement.minor
        async with till.database.transaction() as tx:
            held = {each.currency: each.posted for each in await ledger.list_balances(tx, person.id)}
        assert {currency: minor for currency, minor in held.items() if minor} == {
            currency: minor for currency, minor in sums.items() if minor
        }


# --- worlds that are older than the list ------------------------------------------------------------------------------


@pytest.fixture
async def older_world(
    cluster: Postgres, database_name: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator["asyncpg.Connection[Any]"]:
    """The schema as it was before movements, as its owner."""
    name, every = f"{database_name}_older", migrations.migrations()
    server = await asyncpg.connect(cluster.dsn("dewpond_super", "postgres"))
    await server.execute(f'create database "{name}" owner dewpond_owner template template0')
    with monkeypatch.context() as patch:
        patch.setattr(migrations, "migrations", lambda: [one for one in every if one.name < "0011"])
        await migrate(cluster.dsn("dewpond_owner", name))
    connection = await asyncpg.connect(cluster.dsn("dewpond_owner", name))
    yield connection
    await connection.close()
    await server.execute(f'drop database "{name}" with (force)')
    await server.close()


async def test_an_older_world_gets_its_movements(older_world: "asyncpg.Connection[Any]", cluster: Postgres) -> None:
    at = datetime.fromisoformat("2026-05-01T12:00:00+00:00")
    shop, alice, bob, refund, top_up = (new_id() for _ in range(5))
    payments = {payer: new_id() for payer in (alice, bob)}
    for payer, payment_id in payments.items():
        await older_world.execute(
            """
            insert into pay.payments (merchant_id, id, app_id, merchant_reference, description, minor, currency,
              fee_rate_bp, status, opened_at, expires_at, payer_id, rail, fee_minor, public_number, succeeded_at)
            values ($1, $2, $1, $2::uuid::text, 'Tea', 700, 'CNY', 0, 'succeeded', $3, $3, $4, 'wallet', 0,
              $2::text, $3)
            """,
            shop, payment_id, at, payer,
        )  # fmt: skip
    await older_world.execute(
        """
        insert into pay.payments (merchant_id, id, app_id, merchant_reference, description, minor, currency,
          fee_rate_bp, status, opened_at, expires_at) values ($1, $2, $1, 'open', 'Tea', 1, 'CNY', 0, 'open', $3, $3)
        """,
        shop, new_id(), at,
    )  # fmt: skip
    for refund_id, status, ended_at in ((refund, "succeeded", at + timedelta(days=1)), (new_id(), "processing", None)):
        await older_world.execute(
            """
            insert into pay.refunds (merchant_id, id, payment_id, merchant_reference, public_number, minor, fee_minor,
              currency, status, request_hash, requested_at, ended_at)
            values ($1, $2, $3, $2::uuid::text, '50', 300, 0, 'CNY', $4, '', $5, $6)
            """,
            shop, refund_id, payments[alice], status, at, ended_at,
        )  # fmt: skip
    await older_world.execute("insert into pay.top_ups values ($1, $2, 900, 'CNY', $3)", alice, top_up, at)

    name = await older_world.fetchval("select current_database()")
    await migrate(cluster.dsn("dewpond_owner", name))
    rows = await older_world.fetch("select * from pay.movements order by person_id, occurred_at, kind")
    told = {row["id"]: (row["person_id"], row["kind"], row["minor"], row["payment_id"], row["title"]) for row in rows}
    assert told == {
        payments[alice]: (alice, "payment", -700, payments[alice], "Tea"),
        payments[bob]: (bob, "payment", -700, payments[bob], "Tea"),
        refund: (alice, "refund", 300, payments[alice], "Tea"),
        top_up: (alice, "top_up", 900, None, ""),
    }
    assert {row["occurred_at"] for row in rows if row["kind"] == "refund"} == {at + timedelta(days=1)}


async def test_movements_are_history(till: Any) -> None:
    for statement in ("update pay.movements set minor = 1", "delete from pay.movements"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            async with till.database.transaction() as tx:
                await tx.connection.execute(statement)


async def test_a_person_knows_whom_they_paid(till: Any, new_person: Any) -> None:
    alice, bob = await new_person("Alice", "10.00"), await new_person("Bob", "10.00")
    for _ in range(2):
        await till.confirm(await till.open(100), alice)
    async with till.database.transaction() as tx:
        assert await pay.list_payees(tx, alice.id) == [till.shop.merchant.id]
        assert await pay.list_payees(tx, bob.id) == []
