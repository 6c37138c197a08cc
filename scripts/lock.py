"""Pin every dependency anew, with hashes and without naming any registry: `make lock`.

What browsers need is pinned in `assets/package.json`, version by version: change it there, then
`npm install --package-lock-only` in that folder.
"""

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
    compile = [uv, "pip", "compile", "--quiet", "--universal", "--python-version", "3.11", "--generate-hashes"]
    compile += ["--no-header", "--no-annotate", "--upgrade"]
    program = [*compile, "--extra", "demo", "pyproject.toml", "requirements/build.in"]
    run = [*program, "-o", "requirements/run.lock"]
    dev = [*program, "--group", "dev", "-c", "requirements/run.lock", "-o", "requirements/dev.lock"]
    node = [*compile, "requirements/node.in", "-o", "requirements/node.lock"]
    for command in (run, dev, node):
        subprocess.run(command, cwd=ROOT, check=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
