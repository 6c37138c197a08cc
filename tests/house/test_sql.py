"""Every query against the real schema: it can be prepared, the application may run it, and its columns fit its struct.

The catalogue is asked as `dewpond_app`, so a missing grant shows here and not in production.
"""

import ast
import importlib
import re
import types
import typing
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import msgspec
import pytest

from dewpond.kit.db import Database, Queries, Query, Tx

HOUSE = Path(__file__).resolve().parents[2] / "src" / "dewpond"
FILES = [path for path in sorted(HOUSE.rglob("*.sql")) if path.parent.name != "migrations"]
FOUND = [
    pytest.param(query, id=f"{path.relative_to(HOUSE).with_suffix('')}.{query.name}")
    for path in FILES
    for query in vars(Queries(path)).values()
    if isinstance(query, Query)
]

#: The verbs of `Tx`.
VERBS = ("rows", "row", "value", "values", "run")

#: How PostgreSQL's types come into Python.
KINDS: dict[str, type] = {
    "uuid": UUID, "timestamptz": datetime, "date": date, "time": time, "interval": timedelta, "numeric": Decimal,
    "int2": int, "int4": int, "int8": int, "text": str, "varchar": str, "bpchar": str, "name": str, "bytea": bytes,
    "bool": bool,
}  # fmt: skip

ASKS_FOR_TIME = re.compile(
    r"\b(?:now\s*\(|(?:clock|statement|transaction)_timestamp\b|timeofday\b|current_(?:timestamp|date|time)\b|"
    r"localtime(?:stamp)?\b)|'(?:now|today|tomorrow|yesterday)'",
    re.I,
)


@dataclass(frozen=True)
class Call:
    """`tx.rows(Payment, sql.find_payments, merchant_id=…)`: one use of a query in Python."""

    source: Any
    node: ast.Call
    verb: str
    query: Query
    kind: ast.expr | None
    given: frozenset[str]
    #: There is a `**…` among the arguments, so more may be given than is written.
    more: bool

    @property
    def where(self) -> str:
        return f"{self.source.at(self.node)}: {self.query.name}"


def plain(text: str) -> str:
    """A statement without comments."""
    return re.sub(r"--[^\n]*", "", text)


def queries_of(source: Any) -> dict[str, Query]:
    """The queries that lie beside a Python file."""
    if not source.sql.exists():
        return {}
    return {name: query for name, query in vars(Queries(source.sql)).items() if isinstance(query, Query)}


def used(source: Any) -> list[ast.Attribute]:
    """Every `sql.<name>` of a file."""
    return [
        node
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "sql"
    ]


def calls(source: Any) -> Iterator[Call]:
    """Every `tx.<verb>(…, sql.<name>, …)` of a file, also where a function of the file is handed the query."""
    known = queries_of(source)
    handed = handed_on(source)
    for node in ast.walk(source.tree):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in VERBS):
            continue
        for place, argument in enumerate(node.args):
            names = (
                {argument.attr}
                if ast.unparse(argument).startswith("sql.") and isinstance(argument, ast.Attribute)
                else handed.get(ast.unparse(argument), set())
            )
            for name in sorted(names & known.keys()):
                yield Call(
                    source=source,
                    node=node,
                    verb=node.func.attr,
                    query=known[name],
                    kind=node.args[0] if place else None,
                    given=frozenset(word.arg for word in node.keywords if word.arg),
                    more=any(word.arg is None for word in node.keywords),
                )


def handed_on(source: Any) -> dict[str, set[str]]:
    """By variable, the queries it may stand for: a parameter of type `Query`, or what a `for` takes from a table."""
    handed: dict[str, set[str]] = {}

    def hand(variable: str, given: ast.expr) -> None:
        if isinstance(given, ast.Attribute) and ast.unparse(given.value) == "sql":
            handed.setdefault(variable, set()).add(given.attr)

    for node in ast.walk(source.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            for place, argument in enumerate(node.args.args):
                if argument.annotation is not None and ast.unparse(argument.annotation) == "Query":
                    for call in ast.walk(source.tree):
                        if (
                            isinstance(call, ast.Call)
                            and ast.unparse(call.func) == node.name
                            and len(call.args) > place
                        ):
                            hand(argument.arg, call.args[place])
        elif isinstance(node, ast.For) and isinstance(node.iter, ast.Tuple) and isinstance(node.target, ast.Tuple):
            for row in node.iter.elts:
                if isinstance(row, ast.Tuple):
                    for variable, given in zip(node.target.elts, row.elts, strict=False):
                        hand(ast.unparse(variable), given)
    return handed


@pytest.fixture(scope="module")
def all_calls(sources: list[Any]) -> list[Call]:
    found = [call for source in sources for call in calls(source)]
    assert len(found) > 50, "these are not the calls of the house"
    return found


# --- files and calls --------------------------------------------------------------------------------------------------


def test_queries_have_names_of_their_own() -> None:
    offenders = []
    for path in FILES:
        text = path.read_text(encoding="utf-8")
        names = re.findall(r"^-- name: *(.*)$", text, flags=re.M)
        offenders += [f"{path.name}: {name} twice" for name, times in Counter(names).items() if times > 1]
        offenders += [f"{path.name}: {name}" for name in names if not re.fullmatch(r"[a-z_]+", name) or name == "path"]
        if plain(text.partition("-- name:")[0]).strip():
            offenders.append(f"{path.name}: something stands before the first name")
    assert not offenders, "\n".join(offenders)


def test_a_query_is_one_statement(sources: list[Any]) -> None:
    offenders = [
        f"{source.sql.name}: {query.name}"
        for source in sources
        for query in queries_of(source).values()
        if ";" in re.sub(r"'(?:[^']|'')*'", "", query.text)
    ]
    assert not offenders, "\n".join(offenders)


def test_every_query_is_called_and_every_called_one_exists(sources: list[Any]) -> None:
    offenders = []
    for source in sources:
        named, asked = set(queries_of(source)), {node.attr for node in used(source)}
        offenders += [f"{source.path.name} uses sql.{name}, which is not there" for name in sorted(asked - named)]
        offenders += [f"{source.sql.name}: nobody calls {name}" for name in sorted(named - asked)]
    assert not offenders, "\n".join(offenders)


def test_every_call_gives_exactly_the_parameters(sources: list[Any], all_calls: list[Call]) -> None:
    offenders = []
    for call in all_calls:
        wanted = set(call.query.parameters)
        if call.given - wanted or (wanted - call.given and not call.more):
            offenders.append(f"{call.where} takes {sorted(wanted)}, is given {sorted(call.given)}")
    through_verbs = {(call.source.name, call.query.name) for call in all_calls}
    for source in sources:
        for name in sorted({node.attr for node in used(source)}):
            if (source.name, name) not in through_verbs:
                offenders.append(f"{source.path.name}: no tx.<verb>(…, sql.{name}, …) can be seen")
    assert not offenders, "\n".join(offenders)


def test_a_rooms_queries_stay_in_its_own_schema(sources: list[Any]) -> None:
    """And in the kit's, which every room stands on; what another room has is asked through its front door."""
    schemas = {path.stem[5:] for path in (HOUSE / "migrations").glob("*.sql")}
    assert {"kit", "pay", "ledger"} <= schemas
    offenders = []
    for source in sources:
        if source.sql.exists():
            foreign = schemas - {source.room, "kit"}
            text = re.sub(r"'(?:[^']|'')*'", "", plain(source.sql.read_text(encoding="utf-8")))
            offenders += [f"{source.sql.name}: {name}" for name in re.findall(r"\b(\w+)\.\w+", text) if name in foreign]
    assert not offenders, "\n".join(offenders)


def test_sql_is_told_the_time() -> None:
    """World time can be frozen and moved: who asks the server lives in another year."""
    offenders = [
        f"{path.relative_to(HOUSE)}: {found[0]}"
        for path in sorted(HOUSE.rglob("*.sql"))
        for found in ASKS_FOR_TIME.finditer(plain(path.read_text(encoding="utf-8")))
    ]
    assert not offenders, "\n".join(offenders)


@pytest.mark.parametrize(
    ("_case", "text", "asks"),
    [
        ("a call", "select now()", True),
        ("a word", "where due_at <= current_timestamp", True),
        ("a literal", "values ('now')", True),
        ("an argument", "where due_at <= %(world_now)s and leased_until < %(wall_now)s", False),
        ("a column", "select known, current_timestamps from t", False),
    ],
)
def test_the_question_for_the_time_is_recognised(_case: str, text: str, asks: bool) -> None:
    assert bool(ASKS_FOR_TIME.search(text)) is asks


# --- against the schema -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("query", FOUND)
async def test_the_application_may_run_it(database: Database, query: Query) -> None:
    """`explain` looks up every name and right as a run would, and touches nothing."""
    async with database.transaction() as tx:
        await tx.connection.execute(f"explain (generic_plan) {query.text}")


async def test_a_missing_grant_would_show(database: Database) -> None:
    async with database.transaction() as tx:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await tx.connection.execute("explain (generic_plan) delete from kit.facts where position = $1")


async def test_rows_fit_their_structs(database: Database, all_calls: list[Call]) -> None:
    """The columns are the struct's fields, neither more nor fewer, and of their types."""
    offenders: list[str] = []
    decoded = [call for call in all_calls if call.verb in ("row", "rows")]
    assert len(decoded) > 20
    async with database.transaction() as tx:
        nullable = await nullable_columns(tx.connection)
        for call in decoded:
            struct = resolve(call)
            if not (isinstance(struct, type) and issubclass(struct, msgspec.Struct)):
                offenders.append(f"{call.where}: rows are decoded into a struct")
                continue
            columns = await columns_of(tx, call.query)
            fields = {
                field.encode_name: field.type
                for field in msgspec.structs.fields(struct)
                if field.encode_name in columns or field.default != ()  # `= ()`: rows of another query come in later
            }
            if columns.keys() != fields.keys():
                offenders.append(f"{call.where}: {sorted(columns)} are not the fields {sorted(fields)}")
            for name in columns.keys() & fields.keys():
                if not fits(columns[name], fields[name]):
                    offenders.append(f"{call.where}: {name} is {columns[name].name}, the field {fields[name]}")
                if may_be_null(call.query, name, nullable) and type(None) not in alternatives(fields[name]):
                    offenders.append(f"{call.where}: {name} can be null, the field cannot")
    assert not offenders, "\n".join(offenders)


async def test_single_values_come_from_one_column(database: Database, all_calls: list[Call]) -> None:
    offenders = []
    async with database.transaction() as tx:
        for call in all_calls:
            columns = list(await columns_of(tx, call.query))
            if call.verb in ("value", "values") and len(columns) != 1:
                offenders.append(f"{call.where}: one value out of {columns}")
            if call.verb == "run" and columns and not is_for_its_effect(call.query):
                offenders.append(f"{call.where}: nobody reads {columns}")
    assert not offenders, "\n".join(offenders)


def test_decoded_rows_are_spelled_out(all_calls: list[Call]) -> None:
    """`select *` from a table changes its shape with the table; a function's columns are its own to say."""
    offenders = [call.where for call in all_calls if call.verb in ("row", "rows") and takes_everything(call.query.text)]
    assert not offenders, "\n".join(offenders)


@pytest.mark.parametrize(
    ("_case", "text", "everything"),
    [
        ("a table", "select * from pay.payments where id = $1", True),
        ("a table by its alias", "select p.* from pay.payments p", True),
        ("a deletion", "delete from pay.codes returning *", True),
        ("inside of a list of columns", "select id from (select * from pay.payments) p", False),
        ("a function", "select * from ledger.post($1, $2)", False),
        ("a product", "select minor * 2 as twice from pay.payments", False),
        ("a count", "select count(*) from pay.payments", False),
    ],
)
def test_stars_are_told_apart(_case: str, text: str, everything: bool) -> None:
    assert takes_everything(text) is everything


# --- how the pieces are compared --------------------------------------------------------------------------------------


async def columns_of(tx: Tx, query: Query) -> dict[str, asyncpg.Type]:
    """The columns of a query's answer; none for one that cannot be prepared, which has a test of its own."""
    try:
        async with tx.connection.transaction():
            prepared = await tx.connection.prepare(query.text)
    except asyncpg.PostgresError:
        return {}
    return {attribute.name: attribute.type for attribute in prepared.get_attributes()}


def takes_everything(text: str) -> bool:
    while text != (flat := re.sub(r"\([^()]*\)", "‹›", text)):
        text = flat
    return bool(re.search(r"\b(?:select|returning)\s+\*(?!\s+from\s+[\w.]+‹›)|\b\w+\.\*", text))


def is_for_its_effect(query: Query) -> bool:
    """A lock pass, or a function called for what it does: `select ledger.open_accounts(…)`."""
    return bool(re.fullmatch(r"select [\w.]+\(.*\)|.*\bfor (?:no key )?update(?: of \w+)?", query.text, flags=re.S))


def resolve(call: Call) -> Any:
    """The struct that a call names, as its own module knows it."""
    assert call.kind is not None, call.where
    spelled = ast.unparse(call.kind)
    module = importlib.import_module(call.source.name)
    found: Any = module
    try:
        for part in spelled.split("."):
            found = getattr(found, part)
    except AttributeError:
        return None
    return found


def alternatives(kind: Any) -> tuple[Any, ...]:
    """The members of a union without their names: `PersonId | None` is (UUID, NoneType)."""
    while hasattr(kind, "__supertype__"):
        kind = kind.__supertype__
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        return tuple(member for part in typing.get_args(kind) for member in alternatives(part))
    if typing.get_origin(kind) is typing.Annotated:
        return alternatives(typing.get_args(kind)[0])
    return (kind,)


def fits(column: asyncpg.Type, field: Any) -> bool:
    """Whether values of a column's type come into a field."""
    wanted = [one for one in alternatives(field) if one is not type(None)]
    if Any in wanted or column.name in ("json", "jsonb"):
        return Any in wanted or not any(one in KINDS.values() for one in wanted)
    if column.kind == "array":
        element = asyncpg.Type(oid=0, name=column.name.removesuffix("[]"), kind="scalar", schema=column.schema)
        return all(typing.get_origin(one) in (list, tuple) for one in wanted) and all(
            fits(element, typing.get_args(one)[0]) for one in wanted
        )
    kind = KINDS.get(column.name)
    return all(one is kind or (kind is str and isinstance(one, type) and issubclass(one, Enum)) for one in wanted)


async def nullable_columns(connection: Any) -> dict[str, dict[str, set[str]]]:
    """By table, the columns that can be null, each with those that are null together with it."""
    rows = await connection.fetch(
        """
        select c.oid::regclass::text as name,
               array_agg(a.attname::text) filter (where not a.attnotnull) as nullable,
               (select string_agg(pg_get_constraintdef(oid), ' ') from pg_constraint
                where conrelid = c.oid and contype = 'c') as checks
        from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
        where c.relkind in ('r', 'p') and c.relnamespace::regnamespace::text not in ('pg_catalog', 'information_schema')
        group by c.oid
        """
    )
    together = re.compile(r"\(\((\w+) IS NULL\) = \((\w+) IS NULL\)\)")
    found: dict[str, dict[str, set[str]]] = {}
    for row in rows:
        pairs = [set(pair) for pair in together.findall(row["checks"] or "")]
        found[row["name"]] = {
            column: {column}.union(*(pair for pair in pairs if column in pair)) for column in row["nullable"] or ()
        }
    return found


def may_be_null(query: Query, column: str, nullable: Mapping[str, Mapping[str, set[str]]]) -> bool:
    """For queries on one table: whether this column can come out as null, as far as the text tells."""
    tables = set(re.findall(r"\b[a-z]+\.[a-z_]+\b", query.text)) & nullable.keys()
    if len(tables) != 1 or column not in (known := nullable[tables.pop()]):
        return False
    return not any(
        re.search(rf"\b{one}\b\s+is\s+not\s+null|\b{one}\s*=|\bas\s+{one}\b", query.text) for one in known[column]
    )


@pytest.mark.parametrize(
    ("_case", "column", "field", "fitting"),
    [
        ("an id", "uuid", typing.NewType("SomeId", UUID), True),
        ("an id that may be missing", "uuid", typing.NewType("SomeId", UUID) | None, True),
        ("an id as text", "uuid", str, False),
        ("a number as text", "int8", str, False),
        ("a moment", "timestamptz", datetime, True),
        ("a moment without its zone", "timestamp", datetime, False),
        ("a document", "jsonb", dict[str, Any], True),
        ("a document as text", "jsonb", str, False),
        ("bytes", "bytea", bytes | None, True),
    ],
)
def test_types_are_compared(_case: str, column: str, field: Any, fitting: bool) -> None:
    told = asyncpg.Type(oid=0, name=column, kind="scalar", schema="pg_catalog")
    assert fits(told, field) is fitting
