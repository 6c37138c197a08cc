"""Child processes of `run`: started, watched, started again when they die, ended with their parent however it ends."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

#: After SIGTERM a child finishes what it has accepted; it is not waited for longer.
STOP_SECONDS: Final = 10.0

#: A child that lived longer than this died of something new and is started again at once.
_STEADY_SECONDS: Final = 5.0
_LONGEST_PAUSE_SECONDS: Final = 5.0
#: Trouble comes in swarms; the terminal shows one line of it in this time, the log has all of it.
_ALARM_SECONDS: Final = 2.0
_LOG_BYTES: Final = 8 << 20
#: What they say while `world restore` or `reset` puts another database in the world's place.
_EXPECTED: Final = re.compile(
    'not currently accepting connections|restore the pool connection floor|database "dewpond" does not exist'
)
_ALARMING: Final = re.compile(r"level='?(warning|error|critical)|^(WARNING|ERROR|CRITICAL)\b|^[\w.]+(Error|Failure):")


class Child:
    """One process that is to live for as long as we do."""

    def __init__(self, name: str, words: Sequence[str], *, environ: Mapping[str, str], log: Path) -> None:
        self.name = name
        self.log = log
        self._words = list(words)
        self._environ = dict(environ)
        self._process: subprocess.Popen[bytes] | None = None
        self._started = 0.0
        self._falls = 0
        self._not_before = 0.0
        self._read_to = 0
        self._silent_until = 0.0
        self._unsaid = 0

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    def start(self, pass_fds: Sequence[int]) -> None:
        """Start it, in a process group of its own so that Ctrl-C reaches only us."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self.log.parent.chmod(0o700)  # what is done here is told there, and is nobody else's to read
        for old in (self.log, self.log.with_name(f"{self.log.name}.1")):
            if old.exists():
                old.chmod(0o600)
        if self.log.exists() and self.log.stat().st_size > _LOG_BYTES:
            self.log.replace(self.log.with_name(f"{self.log.name}.1"))
        self._read_to = self.log.stat().st_size if self.log.exists() else 0
        with open(self.log, "ab", opener=_private) as log:
            self._process = subprocess.Popen(
                self._words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self._environ,
                pass_fds=tuple(pass_fds), process_group=0,
            )  # fmt: skip
        self._started = time.monotonic()

    def look(self, pass_fds: Sequence[int]) -> str | None:
        """Start it again if it died: at once, or after a growing pause if it keeps dying; what there is to tell."""
        told = None
        now = time.monotonic()
        if self._process is not None and (code := self._process.poll()) is not None:
            self._process = None
            self._falls = 0 if now - self._started > _STEADY_SECONDS else self._falls + 1
            pause = 0.0 if self._falls < 2 else min(0.25 * 2.0**self._falls, _LONGEST_PAUSE_SECONDS)
            self._not_before = now + pause
            how = f"killed by signal {-code}" if code < 0 else f"exit code {code}"
            told = f"{self.name} ended ({how}); starting it again. Its log is {self.log}"
        if self._process is None and now >= self._not_before:
            self.start(pass_fds)
        return told

    def alarm(self) -> str | None:
        """A warning or error that it wrote to its log since the last look; the others are only counted."""
        alarming = [line for line in self._fresh_lines() if _ALARMING.search(line) and not _EXPECTED.search(line)]
        self._unsaid += len(alarming)
        if not alarming or time.monotonic() < self._silent_until:
            return None
        others, self._unsaid = self._unsaid - 1, 0
        self._silent_until = time.monotonic() + _ALARM_SECONDS
        more = f" (and {others} more in {self.log})" if others else ""
        return f"{self.name}: {alarming[-1][:300]}{more}"

    def _fresh_lines(self) -> list[str]:
        try:
            with self.log.open("rb") as log:
                log.seek(self._read_to)
                fresh = log.read(1 << 20)
        except OSError:
            return []
        whole, newline, _ = fresh.rpartition(b"\n")
        self._read_to += len(whole) + len(newline)
        return whole.decode(errors="replace").splitlines()

    def terminate(self) -> None:
        """Ask it to finish."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()

    def finish(self, until: float) -> None:
        """Wait for its end; at `until` (monotonic) it is ended."""
        if self._process is None:
            return
        try:
            self._process.wait(timeout=max(0.0, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._process = None


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def child_words(program: str, lifeline: int, home: Path | None, *words: str) -> list[str]:
    """How a child is started: our interpreter, the lifeline to watch, whose PostgreSQL to share, the module or file to
    be, and what that is told."""
    return [sys.executable, "-m", "dewpond.cli.lifeline", str(lifeline), str(home or ""), program, *words]
