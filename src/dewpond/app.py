"""The WeChat wire's server: a small Litestar application under uvicorn.

HTTP/1.1 through h11, because every other road lower-cases header names, and one SDK looks them up by case. Litestar
routes; a wrapper around it keeps what Litestar would be generous about (double slashes) out, and the case in.

`python -m dewpond.app` serves on a socket that its parent has bound, named by `DEWPOND_LISTEN_FD`; several processes
may share it. SIGTERM and SIGINT end it after the requests in flight.
"""

import asyncio
import logging
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

import h11
import structlog
import uvicorn
import uvloop
from litestar import Litestar, Request, Response
from litestar.exceptions import HTTPException
from litestar.handlers import ASGIRouteHandler, HTTPRouteHandler
from litestar.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from dewpond import wechat
from dewpond.settings import SettingInvalid, read_settings
from dewpond.wechat import Answer, Call, Door
from dewpond.wiring import open_house

Asgi = Callable[[Any, Any, Any], Awaitable[None]]

#: The real service closes idle connections after 8 s; some SDKs keep theirs for 7 (contract §1.1).
KEEP_ALIVE_SECONDS: Final = 10
#: How long requests in flight may take once the server is told to stop.
GRACE_SECONDS: Final = 10

log = structlog.get_logger(__name__)


def create_app(house: wechat.House) -> Asgi:
    """The wire of one house as an ASGI application."""
    door = Door(house)
    app = Litestar(
        route_handlers=[_route(door, call) for call in wechat.CALLS],
        exception_handlers={HTTPException: _unrouted, Exception: _unrouted},
        openapi_config=None,
        logging_config=None,
        debug=False,
        pdb_on_exception=False,
    )
    return _strictly(app)


def _route(door: Door, call: Call[Any]) -> ASGIRouteHandler | HTTPRouteHandler:
    """Litestar's shortest road to a call; paths with parameters need the longer one."""
    if "{" in call.path:

        async def answer(request: Request[Any, Any, Any]) -> Answer:
            return await door.answer(call, request.scope, request.receive)

        return HTTPRouteHandler(call.path, http_method=call.method, status_code=200)(answer)

    async def answer_at_once(scope: Scope, receive: Receive, send: Send) -> None:
        right = scope.get("method") == call.method
        answer = await door.answer(call, scope, receive) if right else wechat.nothing_here(405)
        await answer(scope, receive, send)

    return ASGIRouteHandler(call.path, copy_scope=False)(answer_at_once)


def _unrouted(_request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """Whatever ends before a door is reached: an unknown path or a wrong method, as a rule."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    if status >= 500:
        log.error("app.fault", exc_info=error)
    answer = wechat.nothing_here(status)
    headers = {name.decode(): value.decode() for name, value in answer.headers}
    return Response(answer.body, status_code=status, headers=headers, media_type="application/json")


_CASED: Final = {b"request-id": b"Request-ID", b"content-type": b"Content-Type", b"content-length": b"Content-Length"}


def _strictly(app: Litestar) -> Asgi:
    """The application, with paths taken as they are written and header names kept as they are meant."""

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        raw: bytes = scope["raw_path"]
        if b"//" in raw or raw.endswith(b"/") or b"%2f" in raw.lower():
            await wechat.nothing_here(404)(scope, receive, send)
            return
        if scope["method"] == "OPTIONS":  # Litestar would answer it by itself; nothing here has a HEAD either
            scope["method"] = "HEAD"

        async def cased(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [(_CASED.get(name, name), value) for name, value in message["headers"]]
            await send(message)

        await app(scope, receive, cased)

    return answer


# --- the server -------------------------------------------------------------------------------------------------------


class WireProtocol(H11Protocol):
    """uvicorn's h11, but what is not HTTP is answered without a text: SDKs read every error body as JSON."""

    def send_400_response(self, msg: str) -> None:
        """Say 400 and hang up."""
        if self.conn.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
            headers = [(b"Content-Length", b"0"), (b"Connection", b"close")]
            answer = h11.Response(status_code=400, headers=headers, reason=b"Bad Request")
            self.transport.write(self.conn.send(answer) or b"")
        self.transport.close()


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


def create_server(house: wechat.House) -> Server:
    """A server of the wire that has not begun yet."""
    return Server(
        uvicorn.Config(
            create_app(house),
            http=WireProtocol,
            ws="none",
            lifespan="off",
            interface="asgi3",
            access_log=False,
            log_config=None,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=GRACE_SECONDS,
        )
    )


async def serve(house: wechat.House, sockets: Sequence[socket.socket]) -> None:
    """Answer on these sockets until SIGTERM or SIGINT; then finish what is in flight and return."""
    server = create_server(house)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, server.stop)
    try:
        await server.serve(list(sockets))
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


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
    uvloop.run(_serve(os.environ))


async def _serve(environ: Mapping[str, str]) -> None:
    settings = read_settings(environ)
    if not settings.database_url:
        raise SettingInvalid("DEWPOND_DATABASE_URL is empty; a server of its own needs it")
    try:
        listening = socket.socket(fileno=int(environ.get("DEWPOND_LISTEN_FD", "")))
    except (ValueError, OSError) as bad:
        raise SettingInvalid("DEWPOND_LISTEN_FD is not the number of an open socket") from bad
    async with open_house(settings, dsn=settings.database_url, name="dewpond server") as house:
        await serve(house, [listening])


if __name__ == "__main__":
    main()
