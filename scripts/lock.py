"""Pin every dependency anew, with hashes and without naming any registry: `make lock`."""

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def main() -> int:
    uv = shutil.which("uv")
    if uv is None:
        print("lock: uv is needed to resolve for every platform at once; install it and try again", file=sys.stderr)
        return 1
    common = [uv, "pip", "compile", "--quiet", "--universal", "--python-version", "3.11", "--generate-hashes"]
    common += [
        "--no-header",
        "--no-annotate",
        "--upgrade",
        "--extra",
        "demo",
        "pyproject.toml",
        "requirements/build.in",
    ]
    run = [*common, "-o", "requirements/run.lock"]
    dev = [*common, "--group", "dev", "-c", "requirements/run.lock", "-o", "requirements/dev.lock"]
    for command in (run, dev):
        subprocess.run(command, cwd=ROOT, check=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
