"""The locks: every dependency is there, pinned and hashed, and they name no host."""

import json
import re
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

#: Each with the least number of projects it must hold.
LOCKS = {"run.lock": 20, "dev.lock": 20, "node.lock": 1}

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
    assert len(lock) >= LOCKS[name]
    for requirement, hashes in lock.values():
        assert [item.operator for item in requirement.specifier] == ["=="], requirement
        assert re.fullmatch(r"(?: --hash=sha256:[0-9a-f]{64})+", hashes), requirement


@pytest.mark.parametrize("name", [*LOCKS, "build.in", "node.in"])
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


def test_node_comes_in_the_version_that_was_asked_for(root: Path) -> None:
    wanted = [
        line for line in (root / "requirements" / "node.in").read_text().splitlines() if line[:1] not in {"", "#"}
    ]
    assert len(wanted) == 1
    assert missing_from(read_lock(root, "node.lock"), wanted) == []


def test_programs_run_on_what_was_tested(root: Path) -> None:
    run, dev = read_lock(root, "run.lock"), read_lock(root, "dev.lock")
    assert {name: str(held[0]) for name, held in run.items()} == {
        name: str(dev[name][0]) if name in dev else "not there" for name in run
    }


# --- what browsers need -----------------------------------------------------------------------------------------------


def read_npm_lock(root: Path) -> dict[str, Any]:
    """The packages of the npm lock by where they are laid; the project itself lies at ""."""
    lock = json.loads((root / "assets" / "package-lock.json").read_text(encoding="utf-8"))
    assert lock["lockfileVersion"] == 3
    packages: dict[str, Any] = lock["packages"]
    assert len(packages) > 3
    return packages


def test_every_npm_package_is_pinned_with_its_hash_and_names_no_host(root: Path) -> None:
    for place, package in read_npm_lock(root).items():
        if not place:
            continue
        assert re.fullmatch(r"\d+\.\d+\.\d+", package["version"]), place
        assert re.fullmatch(r"sha512-[A-Za-z0-9+/]{86}==", package.get("integrity", "")), place
        assert "resolved" not in package, f"{place} names a host; npm leaves it out by assets/.npmrc"
        assert "://" not in json.dumps({key: said for key, said in package.items() if key != "funding"}), place


def test_npm_packages_are_asked_for_in_exact_versions(root: Path) -> None:
    packages = read_npm_lock(root)
    asked = json.loads((root / "assets" / "package.json").read_text(encoding="utf-8"))
    for kind in ("dependencies", "devDependencies"):
        assert packages[""][kind] == asked[kind], "package-lock.json is older than package.json"
        for name, version in asked[kind].items():
            assert packages[f"node_modules/{name}"]["version"] == version, name


def test_npm_is_told_to_name_no_host_and_to_run_no_scripts(root: Path) -> None:
    said = (root / "assets" / ".npmrc").read_text(encoding="utf-8")
    assert {"omit-lockfile-registry-resolved=true", "ignore-scripts=true"} <= set(said.splitlines())
    assert not re.search(r"registry\s*=|://|//", said)
