"""The family of a run: servers, worker and the tea shop, started together, looked after, ended together."""

import os
import secrets as random
import time
from contextlib import ExitStack
from http.client import HTTPConnection, HTTPException
from typing import Final, Protocol

from dewpond.cli.children import STOP_SECONDS, Child, child_words
from dewpond.cli.demo_world import shop_folder
from dewpond.cli.desk import Place
from dewpond.cli.doors import WIRE, OpenDoors
from dewpond.cli.shop import open_tea_shop
from dewpond.cli.terminal import note, refuse
from dewpond.kit.postgres import PostgresUnavailable
from dewpond.settings import Settings

#: Between two looks at everybody.
LOOK_SECONDS: Final = 0.1
_READY_SECONDS: Final = 60.0

#: How a server is told of its doors.
_VARIABLES: Final = {
    "wire": "DEWPOND_LISTEN_FD",
    "phone": "DEWPOND_PHONE_FD",
    "staff": "DEWPOND_STAFF_FD",
    "trust": "DEWPOND_TRUST_FD",
}


class Signals(Protocol):
    """What was asked of us from outside."""

    @property
    def stop(self) -> bool: ...

    def wait(self, seconds: float) -> None:
        """A pause that a signal cuts short."""


class Family:
    """The servers, the worker and, in a sandbox, the tea shop of one run."""

    def __init__(self, place: Place, opened: OpenDoors, servers: int, stack: ExitStack, *, has_shop: bool) -> None:
        self._place = place
        self._opened = opened
        is_near = opened.is_near and not place.settings.trusted_proxies
        self.access_code = place.settings.access_code or ("" if is_near else _new_access_code())
        self._lifeline, keep = os.pipe()
        stack.callback(os.close, keep)  # closed when we end, however: then the children end too
        stack.callback(os.close, self._lifeline)
        near = (opened.sockets[WIRE].getsockname()[0], opened.sockets[WIRE].getsockname()[1])
        #: A merchant's own program, at a door that is not ours.
        self.shop = (
            open_tea_shop(place.settings, shop_folder(place.settings), self._lifeline, near) if has_shop else None
        )
        home = place.settings.home if place.postgres else None
        logs = place.settings.home / "logs"
        environ = self._environ(place.settings)
        self._servers = [
            Child(f"server {n}", child_words("dewpond.app", self._lifeline, home), environ=environ,
                  log=logs / f"server-{n}.log")
            for n in range(1, servers + 1)
        ]  # fmt: skip
        worker = Child(
            "worker", child_words("dewpond.worker", self._lifeline, home), environ=environ, log=logs / "worker.log"
        )
        self._children = [*self._servers, worker, *([self.shop] if self.shop else [])]
        stack.callback(self.stop)

    def _environ(self, settings: Settings) -> dict[str, str]:
        told = {
            "DEWPOND_HOME": str(settings.home),
            "DEWPOND_DATABASE_URL": self._place.dsn,
            # Settings ask for both; a server has no business with the owner's.
            "DEWPOND_OWNER_DATABASE_URL": self._place.dsn,
            **{_VARIABLES[name]: str(fd) for name, fd in self._opened.fds.items()},
            "DEWPOND_TRUST_URL": self._opened.trust_url,
            "DEWPOND_TLS_FOLDER": str(self._place.settings.home / "tls") if self._opened.trust_url else "",
            "DEWPOND_LISTENERS": ",".join(
                f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in self._opened.listeners
            ),
            "DEWPOND_ACCESS_CODE": self.access_code,
            # Callbacks reach the shop of a sandbox also where private addresses are shut to them.
            "DEWPOND_NEIGHBOURS": ",".join(f"{host}:{port}" for host, port in self.neighbours),
        }
        return dict(os.environ) | told

    @property
    def neighbours(self) -> tuple[tuple[str, int], ...]:
        """The door (host, port) of the sandbox's shop, where it has one."""
        return (("127.0.0.1", self.shop.port),) if self.shop else ()

    @property
    def _fds(self) -> tuple[int, ...]:
        return (self._lifeline, *self._opened.fds.values())

    def start(self) -> None:
        for child in self._children:
            child.start(self._fds)

    def look(self) -> None:
        """One look at everybody: the dead are started again, warnings are passed on."""
        if self._place.postgres is not None:
            try:
                if self._place.postgres.ensure():
                    note("PostgreSQL had died; it is up again.")
            except PostgresUnavailable as error:
                note(f"{error} Trying again.")
        for child in self._children:
            if told := child.look(self._fds):
                note(told)
            if alarm := child.alarm():
                note(alarm)

    def wait_until_ready(self, signals: Signals) -> bool:
        """Until the wire answers; False if we were told to stop before."""
        until = time.monotonic() + _READY_SECONDS
        while not self._answers():
            if signals.stop:
                return False
            if time.monotonic() > until:
                refuse(f"The servers do not answer; read {self._servers[0].log}.")
            self.look()
            signals.wait(LOOK_SECONDS)
        return True

    def _answers(self) -> bool:
        host, port = self._opened.sockets[WIRE].getsockname()[:2]
        near = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - read, not bound
        connection = HTTPConnection(near, port, timeout=1)
        try:
            connection.request("GET", "/v3/certificates")
            return connection.getresponse().getheader("Request-ID") is not None
        except (OSError, HTTPException):
            return False
        finally:
            connection.close()

    def renew(self) -> None:
        """End everybody, to be started anew by the next looks."""
        self.stop()
        self.start()

    def stop(self) -> None:
        """Ask everybody to finish, and see to it that they do."""
        until = time.monotonic() + STOP_SECONDS
        for child in self._children:
            child.terminate()
        for child in self._children:
            child.finish(until)


def _new_access_code() -> str:
    """What a sandbox asks of whoever comes from elsewhere: eight letters and digits that are not mistaken."""
    return "".join(random.choice("23456789abcdefghjkmnpqrstuvwxyz") for _ in range(8))
