"""Real worlds: `dewpond run` in a process of its own, an unmodified SDK as the shop, the terminal as the phone."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from wechatpayv3 import WeChatPay, WeChatPayType

READY_SECONDS = 300


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def until(what: str, true: Callable[[], Any], seconds: float = 120) -> Any:
    """Wait for something to become true; says what was waited for when it does not."""
    deadline = time.monotonic() + seconds
    while True:
        value = true()
        if value:
            return value
        assert time.monotonic() < deadline, f"waited {seconds} s in vain for: {what}"
        time.sleep(0.05)


@dataclass
class RunningWorld:
    """`dewpond run` and its terminal."""

    home: Path
    port: int
    servers: int
    #: Without the tea shop, its page, Alice and Bob.
    blank: bool = True
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://localhost:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("DEWPOND_")}
        return {**kept, "DEWPOND_HOME": str(self.home), "PYTHONWARNINGS": "default"}

    def start(self) -> None:
        """Start it and wait until the wire answers."""
        command = ["run", "--port", str(self.port), "--servers", str(self.servers)]
        command += ["--blank"] if self.blank else []
        self.log = (self.home / "run.out").open("ab")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "dewpond", *command],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=subprocess.STDOUT,
        )
        until("the wire answers", self.answers, READY_SECONDS)

    def answers(self) -> bool:
        """Whether a server is there: an unknown path is an empty 404."""
        assert self.process is not None
        assert self.process.poll() is None, (self.home / "run.out").read_text()
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=2) as door:
                door.sendall(b"GET /nothing HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                return door.recv(12) == b"HTTP/1.1 404"
        except OSError:
            return False

    def stop(self) -> None:
        """Ctrl-C, and everything must be gone."""
        if self.process is not None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(timeout=120)
            self.process = None
            self.log.close()

    def terminal(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """One command of the terminal, as text."""
        done = subprocess.run(
            [sys.executable, "-m", "dewpond", *command],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        if check:
            assert done.returncode == 0, f"dewpond {' '.join(command)}: {done.stdout}{done.stderr}"
        return done

    def ask(self, *command: str) -> Any:
        """One command of the terminal with `--json`, its answer read."""
        return json.loads(self.terminal(*command, "--json").stdout)

    def children(self) -> dict[str, list[int]]:
        """The living processes of this world by what they do: server, worker, postgres."""
        found: dict[str, list[int]] = {"server": [], "worker": [], "postgres": []}
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                command = (entry / "cmdline").read_bytes().decode(errors="replace").replace("\0", " ")
                environment = (entry / "environ").read_bytes().decode(errors="replace")
                state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
            except OSError:
                continue
            if state == "Z":
                continue
            if f"DEWPOND_HOME={self.home}\0" in environment:
                if "dewpond.app" in command:
                    found["server"].append(int(entry.name))
                elif "dewpond.worker" in command:
                    found["worker"].append(int(entry.name))
            if str(self.home) in command and "postgres" in command.split(" ")[0]:
                found["postgres"].append(int(entry.name))
        return found


@contextmanager
def a_world(servers: int = 1, *, blank: bool = True) -> Iterator[RunningWorld]:
    """A world in a folder of its own, empty but for its sandbox doors; gone without a trace afterwards."""
    home = Path(tempfile.mkdtemp(prefix="dewpond-journey-"))
    home.chmod(0o755)
    world = RunningWorld(home=home, port=free_port(), servers=servers, blank=blank)
    try:
        world.start()
        yield world
    finally:
        if world.process is not None and world.process.poll() is None:
            world.stop()
        left = {what: pids for what, pids in world.children().items() if pids}
        for pids in left.values():
            for pid in pids:
                os.kill(pid, signal.SIGKILL)
        shutil.rmtree(home, ignore_errors=True)
        assert not left, f"left behind: {left}"


@dataclass
class Shop:
    """A merchant's own server: an unmodified SDK, and a door for callbacks."""

    world: RunningWorld
    folder: Path
    told: dict[str, Any]
    sdk: Any
    door: ThreadingHTTPServer
    #: Verified and decrypted callbacks, as they came.
    heard: list[dict[str, Any]] = field(default_factory=list)
    #: What to answer next; 200 once it is empty.
    answers: list[int] = field(default_factory=list)

    @property
    def notify_url(self) -> str:
        return f"http://127.0.0.1:{self.door.server_address[1]}/notify"

    def call(self, method: str, **asked: Any) -> Any:
        """One call of the SDK: the status and the body read."""
        status, text = getattr(self.sdk, method)(**asked)
        return status, json.loads(text) if text else None

    def order(self, out_trade_no: str, total: int = 1800, **more: Any) -> str:
        """Open a Native order; its code link."""
        asked = {"description": "茉莉花茶 & more", "out_trade_no": out_trade_no, "amount": {"total": total}, **more}
        status, told = self.call("pay", notify_url=self.notify_url, **asked)
        assert status == 200, told
        return str(told["code_url"])

    def state(self, out_trade_no: str) -> Any:
        status, told = self.call("query", out_trade_no=out_trade_no)
        assert status == 200, told
        return told

    def hears(self, event_type: str, count: int = 1) -> list[dict[str, Any]]:
        """Wait until that many callbacks of a kind have come, repeats not counted."""

        def come() -> list[dict[str, Any]]:
            by_id = {told["id"]: told["resource"] for told in list(self.heard) if told["event_type"] == event_type}
            return list(by_id.values()) if len(by_id) >= count else []

        return list(until(f"{count} × {event_type}", come))


def open_shop(world: RunningWorld, name: str = "Tea Shop", *, key_mode: str = "certificate") -> Shop:
    """Make a merchant by the terminal and start its server."""
    folder = world.home / f"{name.replace(' ', '-').lower()}-{key_mode}"
    world.terminal("merchants", "create", name, "--out", str(folder))
    told = json.loads((folder / "merchant.json").read_text())
    shop = Shop(world, folder, told, None, _open_door())
    keys: dict[str, Any] = {}
    if key_mode == "public-key":
        keys = {"public_key": (folder / "pub_key.pem").read_text(), "public_key_id": told["public_key_id"]}
    else:
        (folder / "certificates").mkdir()
        shutil.copy(folder / "platform_cert.pem", folder / "certificates" / f"{told['platform_serial_no']}.pem")
        keys = {"cert_dir": str(folder / "certificates")}
    shop.sdk = WeChatPay(
        wechatpay_type=WeChatPayType.NATIVE,
        mchid=told["mchid"],
        private_key=(folder / "apiclient_key.pem").read_text(),
        cert_serial_no=told["serial_no"],
        apiv3_key=told["apiv3_key"],
        appid=told["appid"],
        notify_url=shop.notify_url,
        timeout=(30, 60),
        **keys,
    )
    shop.sdk._core._gate_way = told["base_url"]
    shop.door.shop = shop  # type: ignore[attr-defined]  # the handler looks here
    threading.Thread(target=shop.door.serve_forever, daemon=True).start()
    return shop


class _Door(BaseHTTPRequestHandler):
    """Takes callbacks as a merchant's server should: verify, decrypt, answer."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        # Put there by open_shop: a server has no field for what it serves.
        shop: Shop = self.server.shop  # type: ignore[attr-defined]
        told = shop.sdk.callback(dict(self.headers.items()), body)
        status = 401 if told is None else shop.answers.pop(0) if shop.answers else 200
        if told is not None:
            shop.heard.append(told)
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Quiet."""


def _open_door() -> ThreadingHTTPServer:
    door = ThreadingHTTPServer(("127.0.0.1", 0), _Door)
    door.daemon_threads = True
    return door
