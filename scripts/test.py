"""Every test, in parallel, then those that kill processes by themselves: `make test`."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PYTEST = [str(ROOT / ".venv" / "bin" / "python"), "-m", "pytest"]


def main() -> int:
    if len(sys.argv) > 1:
        return subprocess.run([*PYTEST, *sys.argv[1:]], cwd=ROOT, check=False).returncode
    workers = str(max(2, os.cpu_count() or 2))
    # Journeys and durability start whole worlds: beside other tests they would only measure the machine.
    together = [*PYTEST, "-q", "-n", workers, "--dist", "loadfile", "-m", "not journey and not durability"]
    alone = [*PYTEST, "-q", "-m", "journey or durability"]
    outcomes = [subprocess.run(command, cwd=ROOT, check=False).returncode for command in (together, alone)]
    return next((outcome for outcome in outcomes if outcome), 0)


if __name__ == "__main__":
    sys.exit(main())
