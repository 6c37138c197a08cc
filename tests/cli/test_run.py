"""`dewpond run` as somebody starts and stops it; whatever happens, nothing of it stays behind."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from dewpond.cli.doors import open_doors
from dewpond.cli.running import find_running
from dewpond.kit.postgres import Postgres
from dewpond.kit.worlds import Doors
from dewpond.settings import read_settings

pytestmark = pytest.mark.journey

PATIENCE_SECONDS = 180


@pytest.fixture(scope="module")
def environ() -> Iterator[dict[str, str]]:
    """A home of its own, used by all runs of this module."""
    home = Path(tempfile.mkdtemp(prefix="dewpond-tests-run-"))
    home.chmod(0o755)
    plain = {name: value for name, value in os.environ.items() if not name.startswith("DEWPOND_")}
    yield plain | {"DEWPOND_HOME": str(home)}
    shutil.rmtree(home)


@contextlib.contextmanager
def running(environ: dict[str, str], *words: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    """A `run` that has said where it is."""
    log = Path(environ["DEWPOND_HOME"]).with_suffix(".log")
    with log.open("w") as err:
        run = subprocess.Popen(
            [sys.executable, "-m", "dewpond", "run", "--port", "0", "--json", *words],
            env=environ, stdout=subprocess.PIPE, stderr=err, text=True, process_group=0,
        )  # fmt: skip
    try:
        assert run.stdout is not None
        yield run, json.JSONDecoder().decode(run.stdout.readline() or log.read_text())
    finally:
        if run.poll() is None:
            run.terminate()
        run.wait(PATIENCE_SECONDS)
        run.stdout.close()
        log.unlink()


def type_(environ: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "dewpond", *words], env=environ, capture_output=True, text=True, check=False
    )


def of_this_home(environ: dict[str, str]) -> list[str]:
    """Command lines of processes that belong to the home."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            line = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            if environ["DEWPOND_HOME"] in line:
                found.append(line)
    return found


def gone(environ: dict[str, str], within_seconds: float) -> bool:
    until = time.monotonic() + within_seconds
    while of_this_home(environ) and time.monotonic() < until:
        time.sleep(0.1)
    return not of_this_home(environ)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_everything(number: signal.Signals, environ: dict[str, str]) -> None:
    with running(environ, "--servers", "2") as (run, told):
        assert told["ready"]
        lines = of_this_home(environ)
        assert [sum(name in line for line in lines) for name in ("dewpond.app", "dewpond.worker")] == [2, 1]
        run.send_signal(number)
        assert run.wait(PATIENCE_SECONDS) == 0
    assert of_this_home(environ) == []


def test_a_second_run_says_where_the_first_one_is(environ: dict[str, str]) -> None:
    with running(environ) as (_, told):
        found = find_running(read_settings(environ))
        assert found is not None
        assert found.listeners == tuple(("127.0.0.1", urlsplit(told[door]).port) for door in ("url", "phone", "staff"))
        second = type_(environ, "run")
        assert second.returncode == 1
        assert told["url"] in second.stderr


def test_a_killed_run_takes_everything_with_it(environ: dict[str, str]) -> None:
    with running(environ) as (run, _):
        run.kill()
        run.wait(PATIENCE_SECONDS)
        assert gone(environ, PATIENCE_SECONDS), of_this_home(environ)


def test_the_dead_are_started_again_and_the_story_holds(environ: dict[str, str]) -> None:
    with running(environ) as (_, told):
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                line = (process / "cmdline").read_bytes()
                if b"lifeline" in line and environ["DEWPOND_HOME"].encode() in line:
                    os.kill(int(process.name), signal.SIGKILL)
        pid = Postgres(Path(told["home"])).pid()
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        until = time.monotonic() + PATIENCE_SECONDS
        while (shown := type_(environ, "ledger", "check")).returncode and time.monotonic() < until:
            time.sleep(0.5)
        assert shown.returncode == 0, shown.stderr
        wait_for_door(told["url"])
        story = type_(environ, "demo", "--json")
        assert json.loads(story.stdout)["ok"], story.stdout


def wait_for_door(url: str) -> None:
    """Until the wire answers again."""
    import urllib.error
    import urllib.request

    until = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < until:
        try:
            urllib.request.urlopen(url + "/v3/certificates", timeout=2)  # noqa: S310 - our own
        except urllib.error.HTTPError as answered:
            answered.close()
            return
        except OSError:
            time.sleep(0.2)


def test_a_world_keeps_its_kind(environ: dict[str, str]) -> None:
    ran = type_(environ, "run", "--live", "--port", "0")
    assert ran.returncode == 1
    assert "written once" in ran.stderr


@pytest.mark.parametrize(
    ("_case", "urls", "is_near"),
    [
        ("this machine's own", {}, True),
        ("a tunnel to the phone", {"public_url": "https://pond.tunnel.example"}, False),
        ("a proxy before the desk", {"staff_url": "https://desk.example"}, False),
    ],
)
def test_doors_that_a_tunnel_opens_are_not_near(_case: str, urls: dict[str, str], is_near: bool) -> None:
    """Whoever comes through it needs the access code, though everything listens on loopback."""
    wished = Doors(**({"wire_url": "", "public_url": "", "staff_url": ""} | urls))
    with open_doors("", {"wire": 0, "phone": 0, "staff": 0}, wished) as opened:
        assert (opened.listens_near, opened.is_near) == (True, is_near)


@pytest.mark.parametrize("name", ["shop.example.com", "8.8.8.8", "pondlocal"])
def test_no_certificate_is_promised_for_a_name_that_no_phone_would_trust(environ: dict[str, str], name: str) -> None:
    ran = type_(environ, "run", "--lan-name", name, "--port", "0")
    assert ran.returncode == 1
    assert "No phone would trust" in ran.stderr
