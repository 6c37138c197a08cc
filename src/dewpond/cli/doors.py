"""The doors of a running world: listening sockets, bound once and shared by all servers.

    wire    what merchants' software calls        8601
    phone   what people open                      the next one
    staff   the merchants' consoles, the desk     the one after
    trust   with --lan: where phones get the certificate

People and staff have an origin each, so that a page of one can do nothing in the name of the other.
"""

import errno
import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final

from dewpond.cli.terminal import refuse
from dewpond.kit.worlds import Doors
from dewpond.settings import DEFAULT_PORT, Settings

_PORTS_TRIED: Final = 50

WIRE, PHONE, STAFF, TRUST = "wire", "phone", "staff", "trust"


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenDoors:
    """The sockets and what the world says of them."""

    sockets: Mapping[str, socket.socket]
    doors: Doors
    #: Where phones get the certificate; empty without --lan.
    trust_url: str = ""

    @property
    def listeners(self) -> tuple[tuple[str, int], ...]:
        """Host and port of each."""
        return tuple(one.getsockname()[:2] for one in self.sockets.values())

    @property
    def fds(self) -> dict[str, int]:
        return {name: one.fileno() for name, one in self.sockets.items()}

    @property
    def is_near(self) -> bool:
        """Whether only this machine can come in: no tunnel or proxy has given a door a name of its own."""
        return self.doors.are_near and self.listens_near

    @property
    def listens_near(self) -> bool:
        """Whether nothing is bound beyond this machine."""
        return all(ip_address(host).is_loopback for host, _ in self.listeners)


@contextmanager
def open_doors(bind: str, ports: Mapping[str, int | None], urls: Doors, *, lan: str = "") -> Iterator[OpenDoors]:
    """Listen on ports of one address; where there is no wish, on free ones that follow each other.

    `urls` says where the doors seem to be from outside; an empty one is named after its port on this machine, or on
    `lan`, where pages are served over https.
    """
    host = bind or ("0.0.0.0" if lan else "127.0.0.1")  # noqa: S104 - asked for with --lan
    try:
        family = socket.AF_INET6 if ip_address(host).version == 6 else socket.AF_INET
    except ValueError:
        refuse(f"--bind takes an address like 0.0.0.0 or 192.168.1.10, not {host!r}.")
    sockets: dict[str, socket.socket] = {}
    with ExitStack() as stack:
        first = DEFAULT_PORT
        for name in (WIRE, PHONE, STAFF, *((TRUST,) if lan else ())):
            wish = ports.get(name)
            tried = [wish] if wish is not None else [0] if first == 0 else list(range(first, first + _PORTS_TRIED))
            sockets[name] = stack.enter_context(_listen(family, host, tried))
            port = sockets[name].getsockname()[1]
            first = 0 if wish == 0 or first == 0 else port + 1
        seen = f"[{lan}]" if ":" in lan else lan or "localhost"
        here = {
            name: f"{'https' if lan and name in (PHONE, STAFF) else 'http'}://{seen}:{one.getsockname()[1]}"
            for name, one in sockets.items()
        }
        yield OpenDoors(
            sockets=sockets,
            trust_url=here.get(TRUST, ""),
            doors=Doors(
                wire_url=urls.wire_url or here[WIRE],
                public_url=urls.public_url or here[PHONE],
                staff_url=urls.staff_url or here[STAFF],
            ),
        )


def _listen(family: socket.AddressFamily, host: str, ports: Sequence[int]) -> socket.socket:
    for port in ports:
        listening = socket.socket(family, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((host, port))
            listening.listen(1024)
        except OSError as error:
            listening.close()
            if error.errno == errno.EADDRINUSE:
                continue
            refuse(f"Nothing can listen on {host}:{port}: {os.strerror(error.errno or 0)}.")
        return listening
    return refuse(f"Port {ports[0]} is taken; say another one with --port, --phone-port or --staff-port.")


def usual_doors(settings: Settings) -> Doors:
    """Where a world will be when nobody has opened it yet."""
    return Doors(
        wire_url=settings.wire_url or f"http://localhost:{DEFAULT_PORT}",
        public_url=settings.public_url or f"http://localhost:{DEFAULT_PORT + 1}",
        staff_url=settings.staff_url or f"http://localhost:{DEFAULT_PORT + 2}",
    )
