"""Make `.venv`, install what is pinned and fetch the web assets: `python3 scripts/setup.py run|dev`.

Does nothing when nothing has changed.
Runs on the machine's own Python with the standard library only; says which Debian package is missing where one is.
"""

import hashlib
import os
import shutil
import ssl
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"


def main() -> int:
    kind = sys.argv[1] if len(sys.argv) > 1 else "run"
    if kind not in {"run", "dev"}:
        return stop("use: setup.py run|dev")
    if sys.version_info < (3, 11):  # noqa: UP036 - this file is what tells people with an older Python
        return stop(f"Python 3.11 or newer is needed; this is {sys.version.split()[0]}. Set PYTHON=… to another one.")
    lock = ROOT / "requirements" / f"{kind}.lock"
    wanted = hashlib.sha256(lock.read_bytes() + (ROOT / "pyproject.toml").read_bytes()).hexdigest()
    stamps = [VENV / ".setup-dev"] if kind == "dev" else [VENV / ".setup-run", VENV / ".setup-dev"]
    dev_wanted = hashlib.sha256(
        (ROOT / "requirements" / "dev.lock").read_bytes() + (ROOT / "pyproject.toml").read_bytes()
    ).hexdigest()
    is_fresh = any(
        stamp.exists() and stamp.read_text() == (dev_wanted if stamp.name == ".setup-dev" else wanted)
        for stamp in stamps
    )
    outcome = 0 if is_fresh else install(lock, VENV / f".setup-{kind}", wanted)
    if outcome:
        return outcome
    import assets  # only now: an older Python could not even read it

    return assets.build(pip_install())


def install(lock: Path, stamp: Path, wanted: str) -> int:
    missing = missing_packages()
    if missing:
        return stop(f"missing on this machine: {', '.join(missing)}. On Debian: apt-get install {' '.join(missing)}")
    print(f"Installing what {lock.relative_to(ROOT)} pins (once; a minute or two) …", flush=True)
    if not PYTHON.exists():
        subprocess.run([sys.executable, "-m", "venv", str(VENV)], check=True)
    for what in (["--require-hashes", "-r", str(lock)], ["--no-build-isolation", "--no-deps", "-e", str(ROOT)]):
        done = subprocess.run([*pip_install(), *what], check=False)
        if done.returncode:
            return stop("the installation failed; the lines above say why. Nothing else was changed.")
    stamp.write_text(wanted)
    return 0


def pip_install() -> list[str]:
    """What installs into `.venv`: uv where it is."""
    uv = shutil.which("uv")
    if uv:
        return [uv, "pip", "install", "--python", str(PYTHON), "--quiet"]
    return [str(PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"]


def missing_packages() -> list[str]:
    missing = []
    try:
        import ensurepip  # noqa: F401 - Debian splits it off into python3-venv
    except ImportError:
        missing.append("python3-venv")
    paths = ssl.get_default_verify_paths()
    places = [os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"), paths.cafile, paths.capath]
    if not any(place and Path(place).exists() for place in places):
        missing.append("ca-certificates")
    return missing


def stop(sentence: str) -> int:
    print(f"setup: {sentence}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
