"""What is known of the `dewpond run` of a home: a locked file that says who it is and where it answers."""

import fcntl
import os
import signal
import time
from pathlib import Path
from typing import Final

import msgspec

from dewpond.kit.failures import Failure, Kind
from dewpond.settings import Settings

_RELOAD_SECONDS: Final = 40.0


class AlreadyRunning(Failure):
    """Dewpond already runs in this home."""

    code, kind = "already_running", Kind.CONFLICT


class Running(msgspec.Struct, frozen=True, kw_only=True):
    """A `run` as it describes itself."""

    pid: int
    url: str = ""
    #: The doors (host, port) of its servers; None as long as it has none.
    listeners: tuple[tuple[str, int], ...] | None = None
    #: The doors of a sandbox's own shop, which callbacks reach wherever the servers are bound.
    neighbours: tuple[tuple[str, int], ...] = ()
    is_ready: bool = False
    #: Whether `world reset` brings the tea shop back.
    blank: bool = False
    #: How often all servers and the worker were started anew, at somebody's wish.
    generation: int = 0


class RunFile:
    """`<home>/run.json`, held exclusively by the one `run` of a home; its content is for whoever looks."""

    def __init__(self, settings: Settings) -> None:
        self._path = _path(settings)
        self._handle: int | None = None

    def hold(self, running: Running) -> None:
        """Become the one `run` of this home, or refuse with `AlreadyRunning`."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            other = _read(self._path)
            where = {} if other is None else {"at": other.url or "a door it has not opened yet", "process": other.pid}
            raise AlreadyRunning(**where) from None
        self._handle = handle
        self.tell(running)

    def tell(self, running: Running) -> None:
        """Write down how things stand."""
        assert self._handle is not None
        text = msgspec.json.encode(running)
        os.ftruncate(self._handle, 0)
        os.pwrite(self._handle, text, 0)

    def leave(self) -> None:
        """Nothing runs here any more."""
        if self._handle is not None:
            os.ftruncate(self._handle, 0)
            os.close(self._handle)
            self._handle = None


def _path(settings: Settings) -> Path:
    return settings.home / "run.json"


def _read(path: Path) -> Running | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Running)
    except (OSError, msgspec.DecodeError):
        return None


def find_running(settings: Settings) -> Running | None:
    """The `run` of this home, if one is alive."""
    try:
        handle = os.open(_path(settings), os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _read(_path(settings))
    finally:
        os.close(handle)
    return None


def reload(settings: Settings) -> bool:
    """Let the `run` of this home start its servers and worker anew, and wait for it; False if there is none."""
    before = find_running(settings)
    if before is None:
        return False
    os.kill(before.pid, signal.SIGUSR1)
    until = time.monotonic() + _RELOAD_SECONDS
    while time.monotonic() < until:
        now = find_running(settings)
        if now is None or (now.generation > before.generation and now.is_ready):
            return now is not None
        time.sleep(0.1)
    raise TimeoutError("the servers did not come back in time; see the terminal of `dewpond run`")
