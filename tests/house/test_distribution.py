"""Room for ten thousand times more: the schema can be spread over many servers, and the application cannot harm it.

Every table says in its comment how it lies: `distributed by <column>`, `reference` (a copy everywhere) or `local`.
"""

import re
from typing import Any

import asyncpg
import msgspec
import pytest

from dewpond.kit.db import Database

LIES = re.compile(r"(?:distributed by (?P<column>\w+)|reference|local)(?:[,:] .+)?", re.S)


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """A table of the house with its comment."""

    name: str
    comment: str | None

    @property
    def lies(self) -> str:
        """`distributed`, `reference` or `local`."""
        return (self.comment or "").partition(" ")[0].rstrip(",:")

    @property
    def column(self) -> str | None:
        """What it is distributed by."""
        found = LIES.fullmatch(self.comment or "")
        return found["column"] if found else None


async def ask(database: Database, question: str) -> list[Any]:
    async with database.transaction() as tx:
        return list(await tx.connection.fetch(question))


@pytest.fixture(scope="module")
async def tables(database: Database) -> dict[str, Table]:
    """Every table of the house by its name with schema."""
    rows = await ask(
        database,
        """
        select oid::regclass::text as name, obj_description(oid, 'pg_class') as comment from pg_class
        where relkind in ('r', 'p') and relnamespace::regnamespace::text not in ('pg_catalog', 'information_schema')
          and oid::regclass::text <> 'alembic_version'
        """,
    )
    found = {row["name"]: Table(**dict(row)) for row in rows}
    assert {"kit.worlds", "ledger.accounts", "pay.payments"} <= found.keys()
    return found


async def test_every_table_says_how_it_lies(tables: dict[str, Table]) -> None:
    offenders = [f"{one.name}: {one.comment!r}" for one in tables.values() if not LIES.fullmatch(one.comment or "")]
    assert not offenders, "\n".join(offenders)


async def test_a_table_is_distributed_by_a_column_it_always_has(database: Database, tables: dict[str, Table]) -> None:
    rows = await ask(database, "select attrelid::regclass::text, attname from pg_attribute where attnotnull")
    always = {(row["attrelid"], row["attname"]) for row in rows}
    offenders = [one.name for one in tables.values() if one.column and (one.name, one.column) not in always]
    assert not offenders, "\n".join(offenders)


async def test_what_is_unique_is_unique_on_one_server(database: Database, tables: dict[str, Table]) -> None:
    """Primary keys, unique constraints and unique indexes contain the column, or two servers would have to agree."""
    rows = await ask(
        database,
        """
        select i.indrelid::regclass::text as table_name, i.indexrelid::regclass::text as name,
               array(select attname::text from pg_attribute where attrelid = i.indrelid and attnum = any (i.indkey))
                 as columns
        from pg_index i where i.indisunique
        """,
    )
    offenders = [
        f"{row['name']} on {row['table_name']} ({', '.join(row['columns'])})"
        for row in rows
        if (table := tables.get(row["table_name"])) and table.column and table.column not in row["columns"]
    ]
    assert not offenders, "\n".join(offenders)


async def test_what_is_distributed_or_copied_has_a_primary_key(database: Database, tables: dict[str, Table]) -> None:
    """The slips of the ledger have none on purpose: they are never looked up, only taken."""
    rows = await ask(database, "select conrelid::regclass::text as name from pg_constraint where contype = 'p'")
    keyed = {row["name"] for row in rows} | {"ledger.slips"}
    offenders = [one.name for one in tables.values() if one.lies != "local" and one.name not in keyed]
    assert not offenders, "\n".join(offenders)


async def test_foreign_keys_stay_in_the_room_and_on_the_server(database: Database, tables: dict[str, Table]) -> None:
    rows = await ask(
        database,
        """
        select conname as name, conrelid::regclass::text as child, confrelid::regclass::text as parent,
               array(select attname::text from unnest(conkey) with ordinality k (n, place)
                     join pg_attribute on attrelid = conrelid and attnum = n order by place) as here,
               array(select attname::text from unnest(confkey) with ordinality k (n, place)
                     join pg_attribute on attrelid = confrelid and attnum = n order by place) as there
        from pg_constraint where contype = 'f'
        """,
    )
    assert rows
    offenders = []
    for row in rows:
        child, parent = tables[row["child"]], tables[row["parent"]]
        if child.name.partition(".")[0] != parent.name.partition(".")[0]:
            offenders.append(f"{row['name']}: from {child.name} into another room, {parent.name}")
        together = (child.column, parent.column) in zip(row["here"], row["there"], strict=True)
        if parent.lies != "reference" and not together and not (child.lies == parent.lies == "local"):
            offenders.append(f"{row['name']}: {child.name} ({child.comment}) → {parent.name} ({parent.comment})")
    assert not offenders, "\n".join(offenders)


# --- what the application may -----------------------------------------------------------------------------------------


async def test_the_application_is_nobody_special(database: Database) -> None:
    (role,) = await ask(database, "select * from pg_roles where rolname = current_user")
    assert role["rolname"] == "dewpond_app"
    assert not any(role[f"rol{power}"] for power in ("super", "createrole", "createdb", "replication", "bypassrls"))
    assert await ask(database, "select from pg_auth_members where member = 'dewpond_app'::regrole") == []


async def test_the_application_owns_nothing_and_makes_nothing(database: Database) -> None:
    owned = await ask(
        database,
        """
        select oid::regclass::text as name from pg_class where relowner = 'dewpond_app'::regrole
        union all select oid::regprocedure::text from pg_proc where proowner = 'dewpond_app'::regrole
        union all select nspname from pg_namespace where nspowner = 'dewpond_app'::regrole
        union all select datname from pg_database where datdba = 'dewpond_app'::regrole
        """,
    )
    assert [row["name"] for row in owned] == []
    open_to_it = await ask(
        database, "select nspname from pg_namespace where has_schema_privilege('dewpond_app', oid, 'create')"
    )
    assert [row["nspname"] for row in open_to_it] == []


@pytest.mark.parametrize(
    ("_case", "tables_like", "rights"),
    [
        ("the ledger is read only", "ledger.%", "insert, update, delete, truncate, references, trigger"),
        ("facts are history", "kit.facts", "update, delete, truncate"),
        ("the world is never removed", "kit.worlds", "delete, truncate"),
        ("attempts are history", "openplatform.delivery_attempts", "update, delete, truncate"),
        ("nothing is emptied", "%", "truncate, references, trigger"),
        ("payments stay", "pay.payments", "delete, truncate"),
        ("refunds stay", "pay.refunds", "delete, truncate"),
        ("people stay", "identity.people", "delete, truncate"),
        ("PINs are replaced, never removed", "identity.pins", "delete, truncate"),
        ("the names apps know people by stay", "identity.subjects", "update, delete, truncate"),
        ("a credential changes no hands", "identity.credentials", "update, truncate"),
        ("merchants and keys stay", "merchants.%", "delete, truncate"),
    ],
)
async def test_the_application_has_no_right_to(database: Database, _case: str, tables_like: str, rights: str) -> None:
    async with database.transaction() as tx:
        rows = await tx.connection.fetch(
            """
            select c.oid::regclass::text as name,
                   has_table_privilege('dewpond_app', c.oid, $2) as on_table,
                   has_any_column_privilege('dewpond_app', c.oid, case when $3 then 'update, insert' else 'update' end)
                     as on_columns
            from pg_class c
            where c.relkind in ('r', 'p') and c.oid::regclass::text like $1
              and c.relnamespace::regnamespace::text not in ('pg_catalog', 'information_schema')
            """,
            tables_like,
            rights,
            "insert" in rights,
        )
    assert rows
    offenders = [row["name"] for row in rows if row["on_table"] or ("update" in rights and row["on_columns"])]
    assert not offenders, "\n".join(offenders)


@pytest.mark.parametrize(
    "statement",
    [
        "update ledger.accounts set balance = balance + 1",
        "delete from ledger.transfers",
        "insert into ledger.slips (account_id, minor) values (gen_random_uuid(), 1)",
        "update kit.facts set body = '{}'",
        "truncate pay.payments",
        "create table public.mine (a int)",
        "alter table pay.payments disable trigger all",
        "set role dewpond_owner",
    ],
)
async def test_the_server_refuses_it_when_tried(database: Database, statement: str) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with database.transaction() as tx:
            await tx.connection.execute(statement)


async def test_functions_that_run_as_the_owner_cannot_be_led_astray(database: Database) -> None:
    """A fixed search path, and nobody may call them who was not named."""
    rows = await ask(
        database,
        """
        select oid::regprocedure::text as name, coalesce(array_to_string(proconfig, ','), '') as config,
               exists (select from aclexplode(coalesce(proacl, acldefault('f', proowner)))
                       where grantee = 0 and privilege_type = 'EXECUTE') as for_everybody
        from pg_proc where prosecdef and pronamespace::regnamespace::text not in ('pg_catalog', 'information_schema')
        """,
    )
    assert rows
    offenders = [row["name"] for row in rows if "search_path=" not in row["config"] or row["for_everybody"]]
    assert not offenders, "\n".join(offenders)
    assert all(row["config"].endswith("pg_temp") for row in rows), "temporary tables must be looked at last"
