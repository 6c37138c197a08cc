"""The server of a world's doors: the WeChat wire, people's pages, staff's pages; each under a uvicorn of its own.

The wire is a small Litestar application, HTTP/1.1 over connections of our own (`wechat/connections.py`, ADR 12),
because every other road lower-cases header names, and one SDK looks them up by case. Litestar routes what has
parameters in its path; a wrapper around it keeps what Litestar would be generous about (double slashes) out, and the
case in.

`python -m dewpond.app` serves on sockets that its parent has bound, named by `DEWPOND_LISTEN_FD` (the wire) and, where
they are given, `DEWPOND_PHONE_FD`, `DEWPOND_STAFF_FD` and `DEWPOND_TRUST_FD` (the pages); several processes may share
them. SIGTERM and SIGINT end it after the requests in flight.
"""

import asyncio
import gc
import logging
import os
import resource
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from ipaddress import IPv6Network
from pathlib import Path
from typing import Any, Final

import structlog
import uvicorn
import uvloop
from litestar import Litestar, Request, Response
from litestar.exceptions import HTTPException
from litestar.handlers import HTTPRouteHandler

from dewpond import web, wechat
from dewpond.kit import worlds
from dewpond.kit.addresses import IPNetwork
from dewpond.settings import SettingInvalid, read_settings
from dewpond.web import Porch
from dewpond.wechat import Answer, Call, Connection, Door
from dewpond.wiring import House, open_house

Asgi = Callable[[Any, Any, Any], Awaitable[None]]

#: How long requests in flight may take once the server is told to stop.
GRACE_SECONDS: Final = 10

#: How long a browser's connection may be idle between two requests.
_IDLE_SECONDS: Final = 30
#: How long TLS may take to begin, and to end.
_TLS_SECONDS: Final = 10.0
#: Files of one process that are no visitor's connection: the database's, the logs', the modules'.
_SPARE_FILES: Final = 512
#: What a door has for visitors wherever the machine allows so few files that nothing would be left for it.
_FEWEST_CONNECTIONS: Final = 256

#: So many new objects more than are gone, and the collector looks for circles among them: a few megabytes.
_SWEEP_AFTER: Final = 20_000

_SOCKETS: Final = {
    "wire": "DEWPOND_LISTEN_FD",
    "phone": "DEWPOND_PHONE_FD",
    "staff": "DEWPOND_STAFF_FD",
    "trust": "DEWPOND_TRUST_FD",
}

log = structlog.get_logger(__name__)


def create_app(house: wechat.House) -> Asgi:
    """The wire of one house as an ASGI application."""
    door = Door(house)
    fixed = {call.path: call for call in wechat.CALLS if "{" not in call.path}
    app = Litestar(
        route_handlers=[_route(door, call) for call in wechat.CALLS if "{" in call.path],
        exception_handlers={HTTPException: _unrouted, Exception: _unrouted},
        openapi_config=None,
        logging_config=None,
        debug=False,
        pdb_on_exception=False,
    )

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        call = fixed.get(scope["path"])  # nothing to route, and the busiest of all
        if call is None:
            await app(scope, receive, _cased(send))
            return
        right = scope["method"] == call.method
        said = await door.answer(call, scope, receive) if right else wechat.nothing_here(405)
        await said(scope, receive, send)

    return _strictly(answer)


def _route(door: Door, call: Call[Any]) -> HTTPRouteHandler:
    async def answer(request: Request[Any, Any, Any]) -> Answer:
        return await door.answer(call, request.scope, request.receive)

    return HTTPRouteHandler(call.path, http_method=call.method, status_code=200)(answer)


def _unrouted(_request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """Whatever ends before a door is reached: an unknown path or a wrong method, as a rule."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    if status >= 500:
        log.error("app.fault", exc_info=error)
    answer = wechat.nothing_here(status)
    headers = {name.decode(): value.decode() for name, value in answer.headers}
    return Response(answer.body, status_code=status, headers=headers, media_type="application/json")


_CASED: Final = {b"request-id": b"Request-ID", b"content-type": b"Content-Type", b"content-length": b"Content-Length"}


def _cased(send: Callable[[Any], Awaitable[None]]) -> Callable[[Any], Awaitable[None]]:
    """Header names as they are meant: Litestar makes some of them small."""

    async def cased(message: Any) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [(_CASED.get(name, name), value) for name, value in message["headers"]]
        await send(message)

    return cased


def _strictly(app: Asgi) -> Asgi:
    """The application, with paths taken as they are written."""

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        raw: bytes = scope["raw_path"]
        if b"//" in raw or raw.endswith(b"/") or b"%2f" in raw.lower():
            await wechat.nothing_here(404)(scope, receive, send)
            return
        if scope["method"] == "OPTIONS":  # Litestar would answer it by itself; nothing here has a HEAD either
            scope["method"] = "HEAD"
        await app(scope, receive, send)

    return answer


# --- the server -------------------------------------------------------------------------------------------------------


class Server(uvicorn.Server):
    """A uvicorn that leaves signals to the process it runs in."""

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """uvicorn would raise the signal again when it has finished, before the house is closed."""
        yield

    def stop(self) -> None:
        """Take no more requests and finish those in flight; asked twice, do not even that."""
        self.force_exit = self.should_exit
        self.should_exit = True


class PageServer(Server):
    """One that does not wait long for TLS either: until hands are shaken a connection is not yet known to the lobby."""

    def __init__(self, config: uvicorn.Config, lobby: web.Lobby) -> None:
        super().__init__(config)
        self._lobby = lobby

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen, on sockets that are bound already."""
        loop, tls = asyncio.get_running_loop(), self.config.ssl
        await self.lifespan.startup()

        def connection() -> asyncio.Protocol:
            return web.Connection(self.config, self.server_state, self.lifespan.state, lobby=self._lobby)

        self.servers = [
            await loop.create_server(
                connection,
                sock=each,
                ssl=tls,
                backlog=self.config.backlog,
                ssl_handshake_timeout=None if tls is None else _TLS_SECONDS,
                ssl_shutdown_timeout=None if tls is None else _TLS_SECONDS,
            )
            for each in sockets or ()
        ]
        self.started = True


def create_server(house: wechat.House) -> Server:
    """A server of the wire that has not begun yet."""
    return Server(
        uvicorn.Config(
            create_app(house),
            http=Connection,
            ws="none",
            lifespan="off",
            interface="asgi3",
            access_log=False,
            log_config=None,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=GRACE_SECONDS,
        )
    )


def create_page_server(
    pages: Porch, tls: Path | None = None, *, proxies: Sequence[IPNetwork] = (), lobby: web.Lobby | None = None
) -> PageServer:
    """A server of one site's pages that has not begun yet; over https with what lies in the folder `tls`.

    Its connections may stay open: consoles listen on them; how many, and how long they may say nothing, is for the
    `lobby` to say. Who sent a request is who is at the other end of its connection or, if that is one of `proxies`,
    the last in its X-Forwarded-For that is none of them.
    """
    return PageServer(
        uvicorn.Config(
            pages,
            http=web.Connection,
            ws="none",
            lifespan="off",
            interface="asgi3",
            access_log=False,
            log_config=None,
            server_header=False,
            proxy_headers=bool(proxies),
            forwarded_allow_ips=[str(each) for network in proxies for each in _as_seen(network)],
            timeout_keep_alive=_IDLE_SECONDS,
            ssl_certfile=None if tls is None else str(tls / "server.pem"),
            ssl_keyfile=None if tls is None else str(tls / "server.key"),
            timeout_graceful_shutdown=GRACE_SECONDS,
        ),
        lobby or web.Lobby(proxies=proxies),
    )


def _as_seen(network: IPNetwork) -> tuple[IPNetwork, ...]:
    """A network as its members show themselves: at a door of both kinds IPv4 comes as `::ffff:192.0.2.1`."""
    if isinstance(network, IPv6Network):
        return (network,)
    mapped = IPv6Network((f"::ffff:{network.network_address}", 96 + network.prefixlen))
    return network, mapped


async def serve(house: House, sockets: Mapping[str, socket.socket]) -> None:
    """Answer on these sockets ("wire", "phone", "staff") until SIGTERM or SIGINT; then finish what is in flight."""
    async with house.db.transaction() as tx:
        world = await worlds.get_world(tx)
    tls, proxies = house.settings.tls_folder, house.settings.trusted_proxies
    limits = _page_limits(len(sockets) - 1)
    porches: list[Porch] = []
    servers: list[tuple[Server, socket.socket]] = [(create_server(house), sockets["wire"])]
    for name, create in (("phone", web.create_phone_site), ("staff", web.create_staff_site)):
        if name in sockets:
            porches.append(create(house, world))
            lobby = web.Lobby(limits, proxies)
            servers.append((create_page_server(porches[-1], tls, proxies=proxies, lobby=lobby), sockets[name]))
    if "trust" in sockets and tls is not None:
        porches.append(web.create_trust_site(house, world, authority=tls / "authority.pem"))
        servers.append((create_page_server(porches[-1], lobby=web.Lobby(limits)), sockets["trust"]))
    loop = asyncio.get_running_loop()

    def stop() -> None:
        for server, _ in servers:
            server.stop()
        for porch in porches:  # event streams have no end of their own
            farewells.append(loop.create_task(porch.close()))

    farewells: list[asyncio.Task[None]] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    # In a thread: whoever comes meanwhile is served, a little slower.
    warming = loop.run_in_executor(None, web.warm_up) if porches else None
    try:
        await asyncio.gather(*(server.serve([door]) for server, door in servers))
        if warming is not None:
            await warming
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
        await asyncio.gather(*farewells)
        await asyncio.gather(*(porch.close() for porch in porches))  # what came in while the first farewell was said


def _spare_the_collector() -> None:
    """What is there by now stays, modules above all. The collector would walk it over and over, which was a sixth of a
    busy server's time; and what requests leave behind it can sweep up in larger heaps."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_SWEEP_AFTER)


def main() -> None:
    """Serve until SIGTERM or SIGINT, on the socket the parent has bound."""
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(levelname)s %(name)s %(message)s")
    # A traceback is written without the values in it: they may be secrets.
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.KeyValueRenderer(key_order=["timestamp", "level", "event"]),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    _make_room(sum(bool(os.environ.get(variable)) for name, variable in _SOCKETS.items() if name != "wire"))
    uvloop.run(_serve(os.environ))


def _make_room(doors: int) -> None:
    """Let this process have as many connections as it takes, with so many doors to pages, where the machine's habit is
    to allow fewer."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = wechat.CONNECTIONS + doors * web.CONNECTIONS + _SPARE_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def _page_limits(doors: int) -> web.Limits:
    """What each of so many doors may hold, that visitors leave the wire its files where the machine allows few."""
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if allowed == resource.RLIM_INFINITY or not doors:
        return web.Limits()
    left = (allowed - wechat.CONNECTIONS - _SPARE_FILES) // doors
    return web.Limits(connections=min(web.CONNECTIONS, max(left, _FEWEST_CONNECTIONS)))


async def _serve(environ: Mapping[str, str]) -> None:
    settings = read_settings(environ)
    if not settings.database_url:
        raise SettingInvalid("DEWPOND_DATABASE_URL is empty; a server of its own needs it")
    sockets = {}
    for name, variable in _SOCKETS.items():
        try:
            if name == "wire" or environ.get(variable):
                sockets[name] = socket.socket(fileno=int(environ.get(variable, "")))
        except (ValueError, OSError) as bad:
            raise SettingInvalid(f"{variable} is not the number of an open socket") from bad
    async with open_house(settings, dsn=settings.database_url, name="dewpond server") as house:
        _spare_the_collector()
        await serve(house, sockets)


if __name__ == "__main__":
    main()
