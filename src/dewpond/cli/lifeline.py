"""A child of `run`: becomes the program it is told to be, and ends when its parent does, however that ended.

    python -m dewpond.cli.lifeline FD HOME MODULE|FILE.py [WORDS…]

FD is the reading end of a pipe that only the parent can write to: end of file means that the parent is gone, also by
`kill -9`. HOME is where a PostgreSQL of our own is shared, so that the last one to leave stops it.
"""

import os
import runpy
import signal
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path

from dewpond.kit.postgres import Postgres

_FINISH_SECONDS = 12.0


def _watch(lifeline: int) -> None:
    while os.read(lifeline, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_FINISH_SECONDS)
    os._exit(1)


def main() -> None:
    """Run the module or file; SIGTERM is its to handle."""
    lifeline, home, program, *words = sys.argv[1:]
    with ExitStack() as stack:
        if home:
            stack.enter_context(Postgres(Path(home)))
        threading.Thread(target=_watch, args=(int(lifeline),), name="lifeline", daemon=True).start()
        sys.argv = [program, *words]
        if program.endswith(".py"):
            sys.path[0] = str(Path(program).parent)  # as if it had been started by itself
            runpy.run_path(program, run_name="__main__")
        else:
            runpy.run_module(program, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
