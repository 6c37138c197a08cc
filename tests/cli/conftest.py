"""Commands as somebody at a terminal types them, in this process: what they answer, say beside it, and end with."""

import contextlib
import io
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from dewpond.cli import commands


@dataclass(frozen=True, slots=True)
class Ran:
    """What came of a command."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one JSON document on stdout; there is nothing else there."""
        assert self.code == 0, self.err
        return json.loads(self.out)


Type = Callable[..., Ran]


def run(*words: str) -> Ran:
    """Type a command."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    argv, sys.argv = sys.argv, ["dewpond", *words]
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            commands.main()
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(bool(ended.code))
    finally:
        sys.argv = argv
    return Ran(code, out.getvalue(), err.getvalue())


@pytest.fixture(scope="module")
def dewpond(dsn: str, owner_dsn: str, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Type commands into the module's own database, which is an empty one to begin with."""
    home: Path = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DEWPOND_HOME", str(home))
        patch.setenv("DEWPOND_DATABASE_URL", dsn)
        patch.setenv("DEWPOND_OWNER_DATABASE_URL", owner_dsn)
        yield run
