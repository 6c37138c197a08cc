"""Style, types, import contracts and tidiness, all of them, then one verdict: `make check`."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = ROOT / ".venv" / "bin"

CHECKS = [
    ("style", [BIN / "ruff", "check", "."]),
    ("format", [BIN / "ruff", "format", "--check", "--quiet", "."]),
    ("types", [BIN / "mypy"]),
    ("imports", [BIN / "lint-imports", "--no-cache"]),
    ("tidy", [BIN / "python", "-m", "pytest", "-q", "tests/house", "-p", "no:cacheprovider"]),
]


def main() -> int:
    failed = []
    for name, command in CHECKS:
        print(f"── {name}", flush=True)
        if subprocess.run([str(part) for part in command], cwd=ROOT, check=False).returncode:
            failed.append(name)
    print(f"check: {', '.join(failed)} not clean" if failed else "check: clean")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
