"""What the database refuses, whoever asks: the application's role cannot write, and the books cannot be edited."""

import asyncpg
import pytest

from dewpond import ledger
from dewpond.kit.db import Database
from dewpond.kit.ids import new_id

TABLES = [
    "accounts",
    "chart",
    "entries",
    "holds",
    "reversals",
    "slips",
    "statement_lines",
    "transfers",
    "unlisted",
]


@pytest.fixture(scope="module")
async def owner(owner_dsn: str, anyio_backend: str):
    """A pool of the role that owns the tables."""
    database = await Database.open(owner_dsn, size=2, name="owner")
    yield database
    await database.close()


async def test_every_table_is_known_here_and_says_how_it_lies(database):
    async with database.transaction() as tx:
        rows = await tx.connection.fetch(
            "select c.relname, obj_description(c.oid) as lies from pg_class c "
            "where c.relnamespace = 'ledger'::regnamespace and c.relkind = 'r' order by 1"
        )
    assert [row["relname"] for row in rows] == TABLES
    assert all((row["lies"] or "").startswith(("distributed by ", "reference", "local")) for row in rows)


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize(
    "statement",
    [
        "insert into <table> default values",
        "update <table> set <column> = null",
        "delete from <table>",
        "truncate <table>",
    ],
)
async def test_the_application_only_reads(table, statement, database):
    async with database.transaction() as tx:
        assert await tx.connection.fetchval("select count(*) from <table>".replace("<table>", f"ledger.{table}")) >= 0
        column = await tx.connection.fetchval(
            "select attname from pg_attribute where attrelid = $1::regclass and attnum = 1", f"ledger.{table}"
        )
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with database.transaction() as tx:
            await tx.connection.execute(statement.replace("<table>", f"ledger.{table}").replace("<column>", column))


async def test_functions_that_run_as_the_owner_have_a_fixed_search_path_and_are_closed_to_the_public(database):
    async with database.transaction() as tx:
        rows = await tx.connection.fetch(
            """
            select p.proname, p.prosecdef, p.proconfig, r.rolname as owner,
                   has_function_privilege('dewpond_app', p.oid, 'execute') as for_app,
                   exists (select from aclexplode(p.proacl) where grantee = 0) or p.proacl is null as for_all
            from pg_proc p join pg_roles r on r.oid = p.proowner where p.pronamespace = 'ledger'::regnamespace
            """
        )
    assert {row["owner"] for row in rows} == {"dewpond_owner"}
    assert not [row["proname"] for row in rows if row["for_all"]]
    for row in rows:
        if row["prosecdef"]:
            assert "search_path=ledger, pg_temp" in row["proconfig"], row["proname"]
    assert {row["proname"] for row in rows if row["for_app"]} == {
        "content_of",
        "expire_holds",
        "fold",
        "hold",
        "open_accounts",
        "post",
        "post_one",
        "reverse",
        "void_hold",
        "write_statements",
    }


async def test_a_stranger_in_the_path_is_not_called(books, database):
    """Objects of a session's own making never stand in for those of the ledger."""
    alice, shop = await books.wallet(100), await books.shop()
    async with database.transaction() as tx:
        await tx.connection.execute("create temp table accounts (id uuid, floor bigint, balance bigint, held bigint)")
        await tx.connection.execute("set local search_path = pg_temp, public")
        assert await ledger.post(tx, [books.entry((alice, shop, 101))], wall_now=books.entry().occurred_at) == [
            ledger.Outcome.INSUFFICIENT
        ]
        await tx.connection.execute("drop table pg_temp.accounts")


BACKSTOPS = [
    ("overdrawn", "update ledger.accounts set balance = -1 where id = $1", "account_not_below_floor"),
    ("held beyond the balance", "update ledger.accounts set held = 101 where id = $1", "account_not_below_floor"),
    ("held below nothing", "update ledger.accounts set held = -1 where id = $1", "held_not_negative"),
    (
        "nothing moved",
        "insert into ledger.transfers values (gen_random_uuid(), 1, $1, gen_random_uuid(), 0, 'CNY')",
        "transfer_is_positive",
    ),
    (
        "one side",
        "insert into ledger.transfers values (gen_random_uuid(), 1, $1, $1, 5, 'CNY')",
        "transfer_has_two_sides",
    ),
    (
        "more posted than held",
        "insert into ledger.holds values (gen_random_uuid(), $1, 5, 'CNY', 'posted', now(), now(), null, now(), 6, $1)",
        "holds_check",
    ),
    (
        "posted by nothing",
        "insert into ledger.holds values (gen_random_uuid(), $1, 5, 'CNY', 'posted', now(), now(), null, now(), 5)",
        "hold_posted_by_entry",
    ),
    (
        "ended without a time",
        "insert into ledger.holds values (gen_random_uuid(), $1, 5, 'CNY', 'voided', now(), now())",
        "hold_ends_once",
    ),
]


@pytest.mark.parametrize(("_case", "statement", "constraint"), BACKSTOPS, ids=[case for case, *_ in BACKSTOPS])
async def test_constraints_refuse_even_the_owner(_case, statement, constraint, books, owner):
    alice = await books.wallet(100)
    await books.fold()
    with pytest.raises(asyncpg.CheckViolationError) as refused:
        async with owner.transaction() as tx:
            await tx.connection.execute(statement, alice)
    assert refused.value.constraint_name == constraint


@pytest.mark.parametrize(
    "statement",
    [
        "update ledger.transfers set minor = 1",
        "delete from ledger.transfers",
        "truncate ledger.transfers",
        "update ledger.entries set occurred_at = now()",
        "delete from ledger.entries",
        "truncate ledger.entries",
        "update ledger.slips set minor = 1",
        "truncate ledger.slips",
        "update ledger.accounts set floor = -1000000",
        "update ledger.accounts set owner_id = gen_random_uuid()",
        "delete from ledger.accounts",
        "truncate ledger.accounts",
        "update ledger.reversals set key = gen_random_uuid()",
        "delete from ledger.reversals",
        "truncate ledger.reversals",
        "update ledger.holds set status = 'pending', ended_at = null where status = 'voided'",
        "delete from ledger.holds where status = 'voided'",
        "update ledger.holds set minor = 1 where status = 'pending'",
        "truncate ledger.holds",
    ],
)
async def test_the_owner_cannot_edit_the_books(statement, books, owner):
    alice, shop = await books.wallet(100), await books.shop()
    paid = books.entry((alice, shop, 10))
    await books.post(paid)
    at = paid.occurred_at
    async with books.database.transaction() as tx:
        holds = [
            ledger.NewHold(key=books.key(), account_id=alice, amount=paid.transfers[0].amount, occurred_at=at)
            for _ in range(2)
        ]
        await ledger.hold(tx, holds, wall_now=at)
        await ledger.void_hold(tx, holds[0].key, at=at)
        await ledger.reverse(tx, paid.key, key=books.key(), occurred_at=at, wall_now=at)
    with pytest.raises(asyncpg.RestrictViolationError):
        async with owner.transaction() as tx:
            await tx.connection.execute(statement)


@pytest.mark.parametrize(
    ("_case", "code", "currency", "balance"),
    [("not in the chart", "purse", "CNY", 0), ("no currency", "wallet", "", 0), ("not empty", "wallet", "CNY", 5)],
)
async def test_an_account_begins_empty_and_in_the_chart(_case, code, currency, balance, owner):
    with pytest.raises((asyncpg.NoDataFoundError, asyncpg.CheckViolationError)):
        async with owner.transaction() as tx:
            await tx.connection.execute(
                "insert into ledger.accounts (id, owner_id, code, currency, balance, opened_at) "
                "values ($1, $1, $2, $3, $4, now())",
                new_id(),
                code,
                currency,
                balance,
            )


async def test_the_floor_is_the_charts_whatever_is_asked(owner):
    async with owner.transaction() as tx:
        floor = await tx.connection.fetchval(
            "insert into ledger.accounts (id, owner_id, code, currency, floor, opened_at) "
            "values ($1, $1, 'wallet', 'CNY', -1000000, now()) returning floor",
            new_id(),
        )
    assert floor == 0
