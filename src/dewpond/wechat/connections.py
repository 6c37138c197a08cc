"""Connections: HTTP/1.1 as the wire speaks it, for people who are not proved yet.

The parser is llhttp's (`httptools`), strict: one Content-Length, no folded lines, no bare line ends, chunked or
nothing. What comes in is an ASGI scope; what goes out is written as it is given, header names in their case, because
one SDK looks them up by it. Every wait has an end: a head comes within ten seconds of the connection or of the last
answer, an answer is read within thirty, and there is room for so many connections and no more.
"""

import asyncio
from collections import deque
from http import HTTPStatus
from typing import Any, Final, cast
from urllib.parse import unquote

import httptools
import structlog
from uvicorn.config import Config
from uvicorn.server import ServerState

log = structlog.get_logger(__name__)

#: The real service closes idle connections after 8 s; some SDKs keep theirs for 7 (contract §1.1).
HEAD_SECONDS: Final = 10
#: How long an answer may wait to be read.
STALLED_SECONDS: Final = 30
#: How many connections one process holds; what comes beside them hears 503 at once.
CONNECTIONS: Final = 2000
#: Of target and headers together, in bytes.
HEAD_LIMIT: Final = 16 * 1024
#: How much of a body may wait to be read, in bytes, and how many requests behind the one that is answered.
_BODY_AHEAD: Final = 64 * 1024
_REQUESTS_AHEAD: Final = 32

_BUSY: Final = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
_BAD: Final = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
_FAULT: Final = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
_STATUS_LINES: Final = {each.value: f"HTTP/1.1 {each.value} {each.phrase}\r\n".encode() for each in HTTPStatus}


class _NotHttp(Exception):
    """What came is not in the form we take."""


class _Exchange:
    """One request and its answer, as ASGI has them."""

    def __init__(self, connection: "Connection", scope: dict[str, Any], *, keep_alive: bool, expects: bool) -> None:
        self.scope = scope
        self.keep_alive = keep_alive
        #: Whether the whole body has come, the answer is written, nobody is left to answer.
        self.complete = self.answered = self.gone = False
        self._connection = connection
        self._waits_for_100 = expects
        self._body = bytearray()
        self._head: bytes | None = None
        self._arrived: asyncio.Future[None] | None = None

    def feed(self, data: bytes) -> None:
        if self.answered:  # it was refused before its end
            return
        self._body += data
        if len(self._body) > _BODY_AHEAD:
            self._connection.pause_reading()
        self.wake()

    def wake(self) -> None:
        """Something has changed that `receive` may wait for."""
        if self._arrived is not None and not self._arrived.done():
            self._arrived.set_result(None)

    async def receive(self) -> dict[str, Any]:
        while not (self._body or self.complete or self.gone or self.answered):
            if self._waits_for_100:
                self._waits_for_100 = False
                self._connection.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            self._connection.resume_reading()
            self._arrived = asyncio.get_running_loop().create_future()
            await self._arrived
        if self.gone or self.answered:
            return {"type": "http.disconnect"}
        body, self._body = bytes(self._body), bytearray()
        return {"type": "http.request", "body": body, "more_body": not self.complete}

    async def send(self, message: dict[str, Any]) -> None:
        if self.gone:
            return
        if message["type"] == "http.response.start":
            lines = [_STATUS_LINES[message["status"]]]
            for name, value in (*message["headers"], *self._connection.default_headers):
                lines += (name, b": ", value, b"\r\n")
            if not self.keep_alive:
                lines.append(b"Connection: close\r\n")
            lines.append(b"\r\n")
            self._head = b"".join(lines)
            return
        # Answers are short: each comes as one body, and its length is among its headers.
        assert self._head is not None
        assert not self.answered
        assert not message.get("more_body", False)
        self.answered = True
        self._connection.write(self._head if self.scope["method"] == "HEAD" else self._head + message["body"])


class Connection(asyncio.Protocol):
    """One connection: requests in, answers out in their order. Made by uvicorn's server, and known to it."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self._app: Any = config.loaded_app
        self._state = server_state
        self._loop = _loop or asyncio.get_running_loop()
        self._transport: asyncio.Transport = None  # type: ignore[assignment] # there is one once there is a connection
        self._parser = httptools.HttpRequestParser(self)
        self._addresses: tuple[Any, Any] = (None, None)
        # The head that is coming in
        self._url = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._head_length = 0
        self._in_head = True
        # Requests: the one whose body comes in, the one that is answered, those behind it
        self._coming: _Exchange | None = None
        self._current: _Exchange | None = None
        self._behind: deque[_Exchange] = deque()
        self._deaf = self._ended = self._paused = self._full = False
        # Two clocks: for the next head, and for an answer to be read
        self._idle_until: float | None = None
        self._watch: asyncio.TimerHandle | None = None
        self._stalled: asyncio.TimerHandle | None = None

    @property
    def default_headers(self) -> list[tuple[bytes, bytes]]:
        return self._state.default_headers

    # -- the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin, or say that there is no room."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one in deed, though not in name
        if len(self._state.connections) >= CONNECTIONS:
            self._ended = True
            self.write(_BUSY)
            transport.close()
            return
        self._state.connections.add(self)  # type: ignore[arg-type] # uvicorn asks of it no more than `shutdown`
        self._addresses = (transport.get_extra_info("sockname"), transport.get_extra_info("peername"))
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._state.connections.discard(self)
        for timer in (self._watch, self._stalled):
            if timer is not None:
                timer.cancel()
        self._give_up()

    def pause_writing(self) -> None:
        self._full = True
        self._stalled = self._loop.call_later(STALLED_SECONDS, self._transport.abort)

    def resume_writing(self) -> None:
        self._full = False
        if self._stalled is not None:
            self._stalled.cancel()
        self._begin_next()

    def pause_reading(self) -> None:
        if not self._paused:
            self._paused = True
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        if self._paused and not self._ended:
            self._paused = False
            self._transport.resume_reading()

    def write(self, data: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(data)

    def shutdown(self) -> None:
        """Take no more requests; end once the one in flight is answered."""
        if self._current is None:
            self._end()
        else:
            self._current.keep_alive = False

    # -- the parser

    def data_received(self, data: bytes) -> None:
        if self._deaf or self._ended:
            return
        if self._in_head:
            self._head_length += len(data)
        try:
            self._parser.feed_data(data)
            if self._in_head and self._head_length > 2 * HEAD_LIMIT:
                raise _NotHttp
        except httptools.HttpParserUpgrade as upgrade:
            # Nobody here speaks another protocol; who offers one goes on in this one.
            self._parser = httptools.HttpRequestParser(self)
            self.data_received(data[upgrade.args[0] :])
        except (httptools.HttpParserError, _NotHttp):
            self._refuse()

    def on_message_begin(self) -> None:
        self._url, self._headers, self._head_length, self._in_head = b"", [], 0, True

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head:  # trailers mean nothing here
            self._head_length += len(name) + len(value)
            self._headers.append((name.lower(), value.strip(b" \t")))

    def on_headers_complete(self) -> None:
        """A request is known but for its body: judge what llhttp leaves open, and put it in the queue."""
        if sum(len(name) + len(value) + 4 for name, value in self._headers) + len(self._url) > HEAD_LIMIT:
            raise _NotHttp
        self._in_head = False
        self._idle_until = None
        parser, method = self._parser, self._parser.get_method()
        version = parser.get_http_version()
        hosts, expects = 0, False
        for name, value in self._headers:
            match name:
                case b"host":
                    hosts += 1
                case b"transfer-encoding":
                    if value.lower() != b"chunked":
                        raise _NotHttp
                case b"expect":
                    expects = value.lower() == b"100-continue"
        if hosts > 1 or (version == "1.1" and not hosts) or len(self._behind) >= _REQUESTS_AHEAD:
            raise _NotHttp
        exchange = _Exchange(
            self,
            self._scope(method.decode(), version),
            keep_alive=version == "1.1" and parser.should_keep_alive() and method != b"CONNECT",
            expects=expects,
        )
        self._coming = exchange
        self._behind.append(exchange)
        self._begin_next()

    def _scope(self, method: str, version: str) -> dict[str, Any]:
        raw_path, _, query = self._url.partition(b"?")
        path = raw_path.decode("ascii")
        server, client = self._addresses
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": version,
            "server": server,
            "client": client,
            "scheme": "http",
            "method": method,
            "root_path": "",
            "path": unquote(path) if "%" in path else path,
            "raw_path": raw_path,
            "query_string": query,
            "headers": self._headers,
            "state": {},
        }

    def on_body(self, body: bytes) -> None:
        if self._coming is not None:
            self._coming.feed(body)

    def on_message_complete(self) -> None:
        coming, self._coming = self._coming, None
        if coming is not None:
            coming.complete = True
            coming.wake()
        self._in_head, self._head_length = True, 0

    # -- requests

    def _begin_next(self) -> None:
        """Answer the next request, unless one is being answered or the last answer is not read yet."""
        if self._current is not None or self._full or self._ended or not self._behind:
            return
        self._current = self._behind.popleft()
        task = self._loop.create_task(self._answer(self._current))
        self._state.tasks.add(task)
        task.add_done_callback(self._state.tasks.discard)

    async def _answer(self, exchange: _Exchange) -> None:
        try:
            await self._app(exchange.scope, exchange.receive, exchange.send)
        except Exception:
            log.exception("wechat.unanswered")
        self._current = None
        if exchange.gone:
            return
        self._state.total_requests += 1
        if not exchange.answered:
            self.write(_FAULT)
        if not (exchange.answered and exchange.keep_alive):
            self._end()
        elif self._behind:
            self._begin_next()
        else:
            self._await_head()
        self.resume_reading()

    def _refuse(self) -> None:
        """What came is not HTTP: say so without a text, SDKs read every error body as JSON. Answers before it go out
        as they were; a request that it broke off has none but this one."""
        self._deaf = True
        broken = self._coming
        before = [each for each in (self._current, *self._behind) if each is not None and each is not broken]
        if before:
            before[-1].keep_alive = False
            return
        answered = broken is not None and broken.answered
        self._give_up()
        if not answered:
            self.write(_BAD)
        self._end()

    def _give_up(self) -> None:
        """Nobody is left to answer."""
        self._ended = True
        self._behind.clear()
        for exchange in (self._coming, self._current):
            if exchange is not None and not exchange.answered:
                exchange.gone = True
            if exchange is not None:
                exchange.wake()

    def _end(self) -> None:
        self._ended = True
        self._transport.close()

    # -- the clock for heads

    def _await_head(self) -> None:
        self._idle_until = self._loop.time() + HEAD_SECONDS
        if self._watch is None:  # one timer a connection, not one a request: it looks again when it finds it was early
            self._watch = self._loop.call_at(self._idle_until, self._look)

    def _look(self) -> None:
        self._watch = None
        if self._idle_until is None:
            return
        if self._loop.time() < self._idle_until:
            self._watch = self._loop.call_at(self._idle_until, self._look)
        else:
            self._ended = True
            self._transport.abort()
