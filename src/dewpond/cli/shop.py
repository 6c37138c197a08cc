"""The tea shop of a sandbox's `run`: a merchant's own server as one more child, at a door that is not ours."""

import importlib.util
import os
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from dewpond.cli.children import Child, child_words
from dewpond.cli.terminal import note, refuse
from dewpond.settings import Settings

#: Where the shop is looked for; the next free one where something else is there already.
SHOP_PORT: Final = 8700
_PORTS_TRIED: Final = 50
#: What the shop's own program imports that Dewpond itself has no need of.
_PACKAGE: Final = "wechatpayv3"

#: Said where that package is not installed.
SDK_MISSING: Final = "The tea shop needs the SDK of WeChat Pay's merchants: pip install 'wechatpayv3>=2.0.4,<3'"


def has_sdk() -> bool:
    """Whether the shop's program can run here."""
    return importlib.util.find_spec(_PACKAGE) is not None


def has_keys(keys: Path) -> bool:
    """Whether there is a merchant for it in this folder."""
    return (keys / "merchant.json").exists()


def shop_program() -> Path:
    """The example's server: in the installed package, or in the repository it runs from."""
    package = Path(__file__).parents[1]
    for place in (package / "examples" / "teashop", package.parents[1] / "examples" / "teashop"):
        if (place / "server.py").exists():
            return place / "server.py"
    return refuse("The tea shop's server is not part of this installation.")


class TeaShop(Child):
    """The shop's process. A stranger to the world it trades in: it has neither our settings nor our sockets."""

    def __init__(self, settings: Settings, keys: Path, lifeline: int, wire: tuple[str, int], port: int) -> None:
        self.port = port
        self._keys = keys
        self._lifeline = lifeline
        # By the public key: it verifies callbacks in either mode its merchant may be switched to.
        words = ["--keys", str(keys), "--mode", "public-key", "--port", str(port), "--base-url", _near(wire)]
        super().__init__(
            "tea shop",
            child_words(str(shop_program()), lifeline, None, *words),
            environ=_environ(),
            log=settings.home / "logs" / "tea-shop.log",
        )

    @property
    def url(self) -> str:
        """Where people find it. By its number: pages at `localhost` would be handed the cookies of ours."""
        return f"http://127.0.0.1:{self.port}"

    def start(self, pass_fds: Sequence[int]) -> None:
        """Start it with nothing of ours but the lifeline; not as long as a `world reset` leaves it without keys."""
        if has_keys(self._keys):
            super().start([fd for fd in pass_fds if fd == self._lifeline])


def open_tea_shop(
    settings: Settings, keys: Path, lifeline: int, wire: tuple[str, int], port: int | None = None
) -> TeaShop | None:
    """The tea shop whose key files are in `keys`, to be started with the others, at `port` (0: any).

    None where there are no such files, or, with a note, where its SDK is not installed. The port is chosen once: a
    shop that is started again must be where callbacks of its orders will look for it.
    """
    if not has_keys(keys):
        return None
    if not has_sdk():
        note(SDK_MISSING)
        return None
    return TeaShop(settings, keys, lifeline, wire, _free_port(port))


def _free_port(wish: int | None) -> int:
    for port in range(SHOP_PORT, SHOP_PORT + _PORTS_TRIED) if wish is None else [wish]:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    return refuse(f"Port {wish or SHOP_PORT} is taken; the tea shop finds no place.")


def _near(wire: tuple[str, int]) -> str:
    """The wire from this machine, wherever else it may be seen."""
    host, port = wire
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - read, not bound
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _environ() -> dict[str, str]:
    """Ours without what is ours; and no proxy stands between two programs of one machine."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("DEWPOND_") and not name.lower().endswith("_proxy")
    }
