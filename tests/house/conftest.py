"""What the house tests read: the files of the project, parsed once."""

import ast
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HOUSE = ROOT / "src" / "dewpond"


@dataclass(frozen=True)
class Source:
    """One Python file of the house."""

    path: Path

    @cached_property
    def text(self) -> str:
        return self.path.read_text(encoding="utf-8")

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text, filename=str(self.path))

    @cached_property
    def is_front_door(self) -> bool:
        return self.path.stem == "__init__"

    @cached_property
    def name(self) -> str:
        """How it is imported: `dewpond.pay.payments`, and `dewpond.pay` for a front door."""
        parts = self.path.relative_to(HOUSE.parent).with_suffix("").parts
        return ".".join(parts[:-1] if self.is_front_door else parts)

    @cached_property
    def room(self) -> str:
        """The step of the staircase it stands on: `pay`, `worker`; empty for the house itself."""
        return [*self.name.split("."), ""][1]

    @cached_property
    def sql(self) -> Path:
        """The file of queries beside it, which need not exist."""
        return self.path.with_suffix(".sql")

    def at(self, node: ast.AST) -> str:
        """Where a reader finds it."""
        return f"{self.path.relative_to(ROOT)}:{getattr(node, 'lineno', 1)}"

    def imports(self) -> Iterator[tuple[ast.stmt, str, str]]:
        """Every import of it, also inside functions: the statement, the module, the name taken ("" for all of it)."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                yield from ((node, alias.name, "") for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{self.at(node)}: imports are written in full"
                yield from ((node, node.module or "", alias.name) for alias in node.names)


@pytest.fixture(scope="session")
def root() -> Path:
    """The project's folder."""
    return ROOT


@pytest.fixture(scope="session")
def sources() -> list[Source]:
    """Every Python file of the house."""
    found = [Source(path) for path in sorted(HOUSE.rglob("*.py"))]
    assert len(found) > 30, "these are not the files of the house"
    return found


@pytest.fixture(scope="session")
def by_name(sources: list[Source]) -> dict[str, Source]:
    """The same by the name they are imported by."""
    return {source.name: source for source in sources}


@pytest.fixture(scope="session")
def project_files() -> list[Path]:
    """What git keeps or would keep; in an unpacked archive, every file outside of dotted folders."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if (ROOT / ".git").exists() and listing.returncode == 0:
        found = [ROOT / name for name in listing.stdout.split("\0") if name]
    else:
        found = [
            path
            for path in ROOT.rglob("*")
            if not any(part[0] == "." or part == "__pycache__" for part in path.relative_to(ROOT).parts)
        ]
    return [path for path in found if path.is_file()]
