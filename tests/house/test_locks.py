"""The locks: every dependency is there, pinned and hashed, and they name no host."""

import re
import tomllib
from collections.abc import Iterable
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

LOCKS = ("run.lock", "dev.lock")

Lock = dict[str, tuple[Requirement, str]]


def read_lock(root: Path, name: str) -> Lock:
    """Each pinned project with its requirement and the rest of its lines, where the hashes are."""
    text = (root / "requirements" / name).read_text(encoding="utf-8")
    joined = re.sub(r"[ \t]*\\\n[ \t]*", " ", text)
    pinned: Lock = {}
    for line in joined.splitlines():
        if line.strip() and not line.lstrip().startswith("#"):
            said, _, hashes = line.partition(" --hash=")
            requirement = Requirement(said)
            pinned[canonicalize_name(requirement.name)] = (requirement, f" --hash={hashes}")
    return pinned


def missing_from(lock: Lock, wanted: Iterable[str]) -> list[str]:
    """What is asked for and not in the lock, or there in a version that was not asked for."""
    gone = []
    for text in wanted:
        asked = Requirement(text)
        held = lock.get(canonicalize_name(asked.name))
        version = next((item.version for item in held[0].specifier), None) if held else None
        if version is None or Version(version) not in asked.specifier:
            gone.append(text)
    return gone


@pytest.mark.parametrize("name", LOCKS)
def test_everything_in_a_lock_is_pinned_with_its_hashes(root: Path, name: str) -> None:
    lock = read_lock(root, name)
    assert len(lock) > 20
    for requirement, hashes in lock.values():
        assert [item.operator for item in requirement.specifier] == ["=="], requirement
        assert re.fullmatch(r"(?: --hash=sha256:[0-9a-f]{64})+", hashes), requirement


@pytest.mark.parametrize("name", [*LOCKS, "build.in"])
def test_a_lock_names_no_host_and_no_path(root: Path, name: str) -> None:
    text = (root / "requirements" / name).read_text(encoding="utf-8")
    assert not re.search(r"://|@ |--?(?:index|extra|find|trusted|i|f)\b|^[ \t]*[./]", text, flags=re.M)


def test_what_the_program_needs_is_in_the_run_lock(root: Path) -> None:
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    assert missing_from(read_lock(root, "run.lock"), project["project"]["dependencies"]) == []


def test_what_a_developer_needs_is_in_the_dev_lock(root: Path) -> None:
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    wanted = [*project["project"]["dependencies"], *project["dependency-groups"]["dev"]]
    wanted += [text for extra in project["project"].get("optional-dependencies", {}).values() for text in extra]
    assert missing_from(read_lock(root, "dev.lock"), wanted) == []


def test_programs_run_on_what_was_tested(root: Path) -> None:
    run, dev = read_lock(root, "run.lock"), read_lock(root, "dev.lock")
    assert {name: str(held[0]) for name, held in run.items()} == {
        name: str(dev[name][0]) if name in dev else "not there" for name in run
    }
