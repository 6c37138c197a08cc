"""What reviewers should not have to look for. Each offender is named with its file and line."""

import ast
import io
import re
import tokenize
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

LONGEST_FUNCTION = 70
LONGEST_FILE = 500

#: Names that say a duty or nothing; a file is named for a noun.
EMPTY_FILE_NAMES = {
    "base", "common", "data", "helper", "helpers", "info", "manager", "managers", "misc", "models", "services",
    "util", "utils",
}  # fmt: skip

#: Words that have another word in this house (the "Not" column of the glossary): word → (instead, where it is at home).
FOREIGN_WORDS: dict[str, tuple[str, set[str]]] = {
    "txn": ("payment", set()),
    "cents": ("minor", set()),
    "fen": ("minor", {"wechat"}),
    "yuan": ("minor", set()),
    "customer": ("person or contact", set()),
    "user": ("person", {"kit.postgres"}),  # the server's user on this machine is one
    "helper": ("a noun", set()),
    "util": ("a noun", set()),
    "utils": ("a noun", set()),
    "chargeback": ("dispute", set()),
    "mchid": ("merchant number", {"wechat", "cli"}),
    "openid": ("open_id", {"wechat", "cli"}),
    "prepay": ("opening", {"wechat", "cli"}),
    "unionid": ("union_id", {"wechat", "cli"}),
}
#: The same for names of several words.
FOREIGN_NAMES: dict[str, tuple[str, set[str]]] = {
    "trade_no": ("merchant_reference", {"wechat", "cli"}),
    "order_no": ("merchant_reference", set()),
    "out_refund_no": ("merchant_reference", {"wechat", "cli"}),
}

#: Files in which money is reckoned: whole numbers only.
MONEY = ("kit.money", "ledger", "pay", "reservoir", "merchants")


def within(source: Any, places: set[str] | tuple[str, ...]) -> bool:
    name = source.name.removeprefix("dewpond").removeprefix(".")
    return any(name == place or name.startswith(f"{place}.") for place in places)


def functions(source: Any) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(source.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def dotted(node: ast.AST) -> str:
    """`datetime.now` for a name reached through names, empty for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (before := dotted(node.value)):
        return f"{before}.{node.attr}"
    return ""


# --- size -------------------------------------------------------------------------------------------------------------


def test_functions_are_short(sources: list[Any]) -> None:
    offenders = [
        f"{source.at(function)}: {function.name} has {lines} lines"
        for source in sources
        for function in functions(source)
        if (lines := (function.end_lineno or 0) - function.lineno + 1) > LONGEST_FUNCTION
    ]
    assert not offenders, "\n".join(offenders)


def test_files_are_short(sources: list[Any]) -> None:
    offenders = [
        f"{source.path.name}: {lines} lines"
        for source in sources
        if (lines := len(source.text.splitlines())) > LONGEST_FILE
    ]
    assert not offenders, "\n".join(offenders)


# --- time, money, talk ------------------------------------------------------------------------------------------------


def test_only_the_clock_asks_for_the_time(sources: list[Any]) -> None:
    """Everything else is told `world_now` or `wall_now`; monotonic clocks measure, they do not tell the time."""
    askers = re.compile(
        r"(?:^|\.)(?:datetime\.(?:now|utcnow|today)|date\.today|time\.(?:time|time_ns|localtime|gmtime))$"
    )
    offenders = [
        f"{source.at(node)}: {dotted(node)}"
        for source in sources
        if not within(source, {"kit.clock"})
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Attribute) and askers.search(dotted(node))
    ]
    assert not offenders, "\n".join(offenders)


def test_money_is_never_a_float(sources: list[Any]) -> None:
    """No float and no true division where money is reckoned; no hundredth anywhere."""
    offenders = []
    for source in sources:
        for node in ast.walk(source.tree):
            if within(source, {"kit.postgres"}):  # reckons with memory
                continue
            hundredth = isinstance(node, ast.BinOp) and (
                (isinstance(node.op, ast.Div | ast.FloorDiv | ast.Mod) and ast.unparse(node.right) in ("100", "100.0"))
                or (isinstance(node.op, ast.Mult) and "0.01" in (ast.unparse(node.left), ast.unparse(node.right)))
            )
            reckoned = within(source, MONEY) and (
                (isinstance(node, ast.Constant) and isinstance(node.value, float))
                or (isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div))
                or (isinstance(node, ast.Call) and dotted(node.func) == "float")
            )
            if hundredth or reckoned:
                offenders.append(f"{source.at(node)}: {ast.unparse(node)}")
    assert not offenders, "\n".join(offenders)


def test_nothing_prints(sources: list[Any]) -> None:
    """Terminals are spoken to through the console of the command line, logs through structlog."""
    offenders = [
        source.at(node)
        for source in sources
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Call)
        and (
            dotted(node.func) in ("print", "pprint")
            or (dotted(node.func) == "sys.stdout.write" and not within(source, {"cli"}))
        )
    ]
    assert not offenders, "\n".join(offenders)


def test_sql_lies_in_sql_files(sources: list[Any]) -> None:
    """Only what asks the server about itself may stand in Python."""
    statement = re.compile(r"\s*(?:select\b.+\bfrom\b|insert\s+into\b|update\b.+\bset\b|delete\s+from\b)", re.I | re.S)
    offenders = [
        source.at(node)
        for source in sources
        if not within(source, {"kit.migrations", "kit.postgres"})
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and statement.match(node.value)
        and not re.search(r"\bfrom pg_\w+", node.value)
    ]
    assert not offenders, "\n".join(offenders)


# --- refusals ---------------------------------------------------------------------------------------------------------


def failures(sources: list[Any]) -> Iterator[tuple[Any, ast.ClassDef]]:
    """Every class that is a `Failure`, also by another one."""
    known = {"Failure"}
    found: dict[int, tuple[Any, ast.ClassDef]] = {}
    while True:
        before = len(found)
        for source in sources:
            for node in ast.walk(source.tree):
                if isinstance(node, ast.ClassDef) and any(dotted(base).split(".")[-1] in known for base in node.bases):
                    found[id(node)] = (source, node)
                    known.add(node.name)
        if len(found) == before:
            return iter(found.values())


def assigned(node: ast.ClassDef) -> dict[str, str]:
    """What a class body assigns; `code, kind = "x", Kind.Y` counts as two."""
    values: dict[str, str] = {}
    for statement in node.body:
        if isinstance(statement, ast.AnnAssign) and statement.value is not None:
            values[ast.unparse(statement.target)] = ast.unparse(statement.value)
        elif isinstance(statement, ast.Assign):
            target, value = statement.targets[0], statement.value
            if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
                pairs = zip(target.elts, value.elts, strict=True)
                values |= {ast.unparse(one): ast.unparse(other) for one, other in pairs}
            else:
                values[ast.unparse(target)] = ast.unparse(value)
    return values


def test_every_refusal_says_in_words_what_is_wrong(sources: list[Any]) -> None:
    """The docstring is the message people see: one sentence or two, for them."""
    offenders = []
    for source, node in failures(sources):
        message = ast.get_docstring(node) or ""
        if len(message.split()) < 3 or not message.endswith("."):
            offenders.append(f"{source.at(node)}: {node.name}: {message!r}")
    assert not offenders, "\n".join(offenders)


def test_every_refusal_has_a_code_of_its_own(sources: list[Any]) -> None:
    used = defaultdict(list)
    offenders = []
    for source, node in failures(sources):
        values = assigned(node)
        if not re.fullmatch(r"'[a-z0-9_]+'", values.get("code", "")):
            offenders.append(f"{source.at(node)}: {node.name} has no code of its own")
        if not values.get("kind", "").startswith("Kind."):
            offenders.append(f"{source.at(node)}: {node.name} does not say its kind")
        used[values.get("code")].append(f"{source.at(node)}: {node.name}")
    offenders += [f"{code} is used twice: {', '.join(places)}" for code, places in used.items() if len(places) > 1]
    assert not offenders, "\n".join(offenders)


# --- words ------------------------------------------------------------------------------------------------------------


def test_public_functions_and_classes_are_explained(sources: list[Any]) -> None:
    """What it is for and what it promises. A method of a few lines may speak for itself."""
    offenders = []
    for source in sources:
        if source.path.stem == "__main__":
            continue
        for node in source.tree.body:
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) or node.name[0] == "_":
                continue
            if not ast.get_docstring(node):
                offenders.append(f"{source.at(node)}: {node.name}")
            if isinstance(node, ast.ClassDef):
                offenders += [
                    f"{source.at(method)}: {node.name}.{method.name}"
                    for method in node.body
                    if isinstance(method, ast.FunctionDef | ast.AsyncFunctionDef)
                    and method.name[0] != "_"
                    and len(method.body) > 3
                    and not ast.get_docstring(method)
                ]
    assert not offenders, "\n".join(offenders)


def test_every_file_says_what_it_is(sources: list[Any]) -> None:
    offenders = [source.at(source.tree) for source in sources if source.text and not ast.get_docstring(source.tree)]
    assert not offenders, "\n".join(offenders)


def test_a_front_door_has_one_sentence(sources: list[Any]) -> None:
    offenders = []
    for source in sources:
        sentence = ast.get_docstring(source.tree) or ""
        if (
            source.is_front_door
            and source.name.count(".") < 2
            and (not sentence.endswith(".") or re.search(r"[.!?]\s|\n", sentence))
        ):
            offenders.append(f"{source.at(source.tree)}: {sentence!r}")
    assert not offenders, "\n".join(offenders)


def listed(source: Any) -> list[str] | None:
    for node in source.tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return list(ast.literal_eval(node.value))
    return None


def test_a_front_door_lists_what_it_shows(sources: list[Any]) -> None:
    """Constants, then types, then verbs, each in the order of the alphabet; nothing is shown by accident."""
    offenders = []
    for source in sources:
        if not source.is_front_door:
            continue
        shown = [
            alias.asname or alias.name
            for node in source.tree.body
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(f"{source.name}.")
            for alias in node.names
        ]
        shown += [
            node.name
            for node in source.tree.body
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and node.name[0] != "_"
        ]
        names = listed(source)
        if names is None:
            if shown and source.room != "cli":
                offenders.append(f"{source.at(source.tree)}: no __all__")
            continue
        if set(shown) - set(names):
            offenders.append(f"{source.at(source.tree)}: not listed: {sorted(set(shown) - set(names))}")
        if names != sorted(names, key=lambda name: (0 if name.isupper() else 1 if name[0].isupper() else 2, name)):
            offenders.append(f"{source.at(source.tree)}: __all__ is not in order")
        if len(names) != len(set(names)):
            offenders.append(f"{source.at(source.tree)}: __all__ names something twice")
    assert not offenders, "\n".join(offenders)


def words_of(name: str) -> list[str]:
    """`PinLocked` and `pin_locked` are both pin, locked."""
    return [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z0-9]+", name)]


def named(source: Any) -> Iterator[tuple[ast.AST, str]]:
    """Every name that this file gives to something."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node, node.name
        elif isinstance(node, ast.arg):
            yield node, node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node, node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node, node.attr


@pytest.mark.parametrize(
    ("_case", "name", "words"),
    [
        ("snake", "list_by_number", ["list", "by", "number"]),
        ("camel", "PinLocked", ["pin", "locked"]),
        ("shouted", "PUBLIC_KEY", ["public", "key"]),
        ("mixed", "_APIKeyCipher", ["api", "key", "cipher"]),
    ],
)
def test_names_are_cut_into_words(_case: str, name: str, words: list[str]) -> None:
    assert words_of(name) == words


def test_things_are_called_by_the_words_of_the_house(sources: list[Any]) -> None:
    offenders = set()
    for source in sources:
        for node, name in [*named(source), (source.tree, source.path.stem)]:
            words = words_of(name)
            for word in words:
                if word in FOREIGN_WORDS and not within(source, FOREIGN_WORDS[word][1]):
                    offenders.add(f"{source.at(node)}: {name}: say {FOREIGN_WORDS[word][0]}")
            for phrase, (instead, places) in FOREIGN_NAMES.items():
                if f"_{phrase}_" in f"_{'_'.join(words)}_" and not within(source, places):
                    offenders.add(f"{source.at(node)}: {name}: say {instead}")
    assert not offenders, "\n".join(sorted(offenders))


def test_tables_and_columns_are_called_by_the_words_of_the_house(root: Path) -> None:
    foreign = {word for word in FOREIGN_WORDS if word != "fen"}
    offenders = []
    for path in sorted((root / "src" / "dewpond").rglob("*.sql")):
        text = re.sub(r"--[^\n]*|'(?:[^']|'')*'", "", path.read_text(encoding="utf-8"))
        for name in set(re.findall(r"\b[a-z_][a-z0-9_]*\b", text)):
            if foreign & set(words_of(name)) or any(f"_{phrase}_" in f"_{name}_" for phrase in FOREIGN_NAMES):
                offenders.append(f"{path.name}: {name}")
    assert not offenders, "\n".join(offenders)


def test_files_are_named_for_nouns(sources: list[Any], root: Path) -> None:
    offenders = [source.at(source.tree) for source in sources if source.path.stem.strip("_") in EMPTY_FILE_NAMES]
    offenders += [str(path) for path in (root / "src").rglob("*") if path.is_dir() and path.name in EMPTY_FILE_NAMES]
    assert not offenders, "\n".join(offenders)


# --- nothing dead, nothing waved through ------------------------------------------------------------------------------


def started_by_name(sources: list[Any], name: str) -> bool:
    """Whether a file's name is written somewhere whole, or put together from the folder and a name in a table."""
    folder, _, stem = name.rpartition(".")
    return any(
        f'"{name}' in source.text or (f'f"{folder}.{{' in source.text and f'"{stem}"' in source.text)
        for source in sources
    )


def test_every_file_is_imported(sources: list[Any], by_name: dict[str, Any], root: Path) -> None:
    """By another file, or by a name that something starts it by."""
    alive = {"dewpond", *(name for name in by_name if name.endswith(".__main__"))}
    for source in sources:
        for _, module, name in source.imports():
            alive |= {one for one in (module, f"{module}.{name}") if one != source.name}
    scripts = (root / "pyproject.toml").read_text(encoding="utf-8")
    offenders = [
        source.at(source.tree)
        for name, source in by_name.items()
        if name not in alive
        and f'"{name}:' not in scripts
        and not started_by_name(sources, name)
        and not (source.is_front_door and any(one.startswith(f"{name}.") for one in alive))
    ]
    assert not offenders, "\n".join(offenders)


def test_exceptions_to_the_checks_say_why(sources: list[Any], root: Path) -> None:
    """On their line, or in the comment above it."""
    paths = [source.path for source in sources]
    for folder in ("tests", "bench", "scripts", "examples"):
        paths += sorted((root / folder).rglob("*.py"))
    directive = re.compile(r"#\s*(?:noqa\b(?::\s*[A-Z0-9, ]+)?|type:\s*ignore(?:\[[^]]*\])?|pragma:\s*no\s+\w+)")
    offenders = []
    for path in paths:
        text = path.read_text(encoding="utf-8")
        lines = text.split("\n")
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type != tokenize.COMMENT or not directive.search(token.string):
                continue
            reason = directive.sub("", token.string).strip(" -–#:")
            above = lines[token.start[0] - 2].strip() if token.start[0] > 1 else ""
            if len(reason.split()) < 2 and not above.startswith("#"):
                offenders.append(f"{path.relative_to(root)}:{token.start[0]}: {token.string}")
    assert not offenders, "\n".join(offenders)


def test_files_name_no_machine_and_no_registry(project_files: list[Path], root: Path) -> None:
    """What one machine has, others have not; where packages come from is their owner's choice."""
    places = re.compile(
        rb"(?<![\w.~-])/(?:w[o]rk|f[a]rm|r[o]ot|Us[e]rs|home/\w+)/\w"
        rb"|pyp[i]\.org|pythonhost[e]d\.org|registry\.np[m]js|npmm[i]rror|m[i]rrors?\.\w+\.\w+|tuna\.tsin[g]hua"
    )
    offenders = [
        f"{path.relative_to(root)}:{content.count(bytes([10]), 0, found.start()) + 1}: {found[0].decode()}"
        for path in project_files
        if (content := path.read_bytes()) and (found := places.search(content))
    ]
    assert not offenders, "\n".join(offenders)


def test_every_file_of_queries_lies_beside_its_noun(sources: list[Any], root: Path) -> None:
    """Queries without a Python file beside them would be loaded by nobody."""
    known = Counter(source.path.with_suffix("") for source in sources)
    orphans = [
        path.name
        for path in sorted((root / "src" / "dewpond").rglob("*.sql"))
        if path.parent.name != "migrations" and not known[path.with_suffix("")]
    ]
    assert orphans == []
