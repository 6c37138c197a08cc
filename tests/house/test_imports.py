"""The staircase: rooms import downwards only, and each other only through the front door."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from jinja2 import Environment, FileSystemLoader
from jinja2.meta import find_referenced_templates


def test_the_import_contracts_hold(root: Path) -> None:
    linter = Path(sys.executable).with_name("lint-imports")
    verdict = subprocess.run([linter, "--no-cache"], cwd=root, capture_output=True, text=True, check=False)
    assert verdict.returncode == 0, verdict.stdout + verdict.stderr


def test_a_rooms_inner_files_are_imported_by_that_room_only(sources: list[Any], by_name: dict[str, Any]) -> None:
    """Others say `from dewpond.pay import …`; the kit has no front door and is imported file by file."""
    offenders = [
        f"{source.at(statement)}: {module}"
        for source in sources
        for statement, module, _ in source.imports()
        if module.count(".") > 1 and module in by_name and by_name[module].room not in ("kit", source.room)
    ]
    assert not offenders, "\n".join(offenders)


def test_a_front_door_gives_only_what_it_lists(sources: list[Any], by_name: dict[str, Any]) -> None:
    """`from dewpond.pay import payments` would be an inner file by another way."""
    offenders = []
    for source in sources:
        for statement, module, name in source.imports():
            door = by_name.get(module)
            if door is None or not door.is_front_door or door.room in ("", "kit", source.room):
                continue
            if name and name not in listed(door.tree):
                offenders.append(f"{source.at(statement)}: {module} does not list {name}")
    assert not offenders, "\n".join(offenders)


def test_what_is_reached_through_an_imported_room_is_listed_too(sources: list[Any], by_name: dict[str, Any]) -> None:
    """After `from dewpond import pay`, `pay.something` is held to the same list."""
    offenders = []
    for source in sources:
        doors = {
            name: by_name[f"{module}.{name}"]
            for _, module, name in source.imports()
            if module == "dewpond" and f"{module}.{name}" in by_name
        }
        for node in ast.walk(source.tree):
            if not (isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)):
                continue
            door = doors.get(node.value.id)
            if (
                door is not None
                and door.is_front_door
                and door.room != source.room
                and node.attr not in listed(door.tree)
            ):
                offenders.append(f"{source.at(node)}: {door.name} does not list {node.attr}")
    assert not offenders, "\n".join(offenders)


def test_rooms_do_not_import_themselves_through_their_own_door(sources: list[Any]) -> None:
    """A room's file that needs its own door stands in a circle."""
    offenders = [
        source.at(statement)
        for source in sources
        for statement, module, name in source.imports()
        if not source.is_front_door
        and source.name.count(".") > 1
        and (module == f"dewpond.{source.room}" or (module == "dewpond" and name == source.room))
        and not _is_file_of(source, module, name)
    ]
    assert not offenders, "\n".join(offenders)


def _is_file_of(source: Any, module: str, name: str) -> bool:
    """Whether a file or folder of the room is meant, and not its door: `from dewpond.web import words`."""
    [rooms] = [folder for folder in source.path.parents if folder.name == source.room]
    return module == f"dewpond.{source.room}" and ((rooms / f"{name}.py").exists() or (rooms / name).is_dir())


def test_the_tea_shop_is_a_stranger(root: Path) -> None:
    """The example is a merchant's own program: it speaks the wire and imports nothing of ours."""
    for path in (root / "examples").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not any(name.partition(".")[0] == "dewpond" for name in names), f"{path}:{node}"


def test_the_architecture_page_names_every_room(root: Path, sources: list[Any]) -> None:
    page = (root / "ARCHITECTURE.md").read_text(encoding="utf-8")
    rooms = {source.room for source in sources} - {"", "__main__"}
    missing = [
        room for room in sorted(rooms) if not re.search(rf"(?:`|^[\s─│├└]*){room}(?:/|\.py|`|  )", page, flags=re.M)
    ]
    assert missing == []


def test_the_architecture_page_draws_the_staircase_that_is_enforced(root: Path) -> None:
    """Step by step from the top, without those that are not built yet."""
    contracts = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    (layers,) = [contract["layers"] for contract in contracts if contract["type"] == "layers"]
    enforced = [
        {room for room in step.split(" | ") if not room.startswith("(") or (root / "src/dewpond" / room[1:-1]).exists()}
        for step in layers
    ]
    page = (root / "ARCHITECTURE.md").read_text(encoding="utf-8")
    (drawing,) = re.findall(r"## The staircase.*?```\n(.*?)```", page, flags=re.S)
    drawn = [set(re.split(r"\s{2,}", line)[0].split(" · ")) for line in drawing.splitlines() if line[0] != " "]
    assert drawn == [{room.strip("()") for room in step} for step in enforced if step]


def listed(tree: ast.Module) -> set[str]:
    """What `__all__` says."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == ["__all__"]:
            return set(ast.literal_eval(node.value))
    return set()


@pytest.mark.parametrize(
    ("_case", "text", "names"),
    [("a list", '__all__ = ["a", "b"]', {"a", "b"}), ("none", "x = 1", set())],
)
def test_lists_of_names_are_read(_case: str, text: str, names: set[str]) -> None:
    assert listed(ast.parse(text)) == names


#: Whose templates each folder may take, beside its own.
_TAKES = {
    "macros": set[str](),
    "layout": {"macros"},
    "phone": {"macros", "layout"},
    "staff": {"macros", "layout"},
    "console": {"macros", "layout", "staff"},
    "desk": {"macros", "layout", "staff"},
}


def test_templates_know_each_other_as_their_modules_do(root: Path) -> None:
    """Phone, console and desk take nothing of each other: what two of them need lies in `macros` or `layout`."""
    environment = Environment(
        loader=FileSystemLoader(root / "src/dewpond/web/templates"), extensions=["jinja2.ext.i18n"], autoescape=True
    )
    assert environment.loader is not None
    offenders = []
    for name in environment.list_templates():
        text, _, _ = environment.loader.get_source(environment, name)
        folder = name.partition("/")[0]
        for other in find_referenced_templates(environment.parse(text)):
            assert other is not None, f"{name} takes a template whose name it reckons"
            if other.partition("/")[0] not in {folder, *_TAKES[folder]}:
                offenders.append(f"{name} takes {other}")
    assert not offenders, "\n".join(offenders)
