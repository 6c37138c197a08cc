"""Connections: HTTP/1.1 as browsers speak it to our pages, for people who are not proved yet.

uvicorn's protocol with an end to every wait and a measure for everything that is kept: a head comes within seconds of
the connection or of its own first byte and is not longer than a browser's, a body comes within half a minute, an answer
is read as it is sent, and a door holds so many connections and no more, of one address fewer still. While an answer
goes out its clocks rest: a console listens to one for hours.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from ipaddress import ip_network
from typing import Any, Final

import httptools
import msgspec
import structlog
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from dewpond.kit.addresses import IPNetwork
from dewpond.web.live import STREAMS
from dewpond.web.visitors import block_of, ip_of

log = structlog.get_logger(__name__)

#: How many connections one door holds: every event stream there may be, and who only looks at pages.
CONNECTIONS: Final = STREAMS + 2_000

_ANSWERS: Final = {
    400: b"HTTP/1.1 400 Bad Request",
    431: b"HTTP/1.1 431 Request Header Fields Too Large",
}
_LAST_WORDS: Final = b"\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
#: Of one connection, how many requests may wait behind the one that is answered.
_REQUESTS_AHEAD: Final = 32
#: Who is turned away is many: the log has one line of them in this time.
_TOLD_SECONDS: Final = 60.0
#: This machine's own: a tunnel or a proxy that nobody has named brings everybody from there.
_OWN: Final = (ip_network("127.0.0.0/8"), ip_network("::1/128"))


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What a door has for one connection, and for how many."""

    #: From the connection, or from a later request's first byte, to the end of its head.
    head_seconds: float = 10.0
    #: From the end of a head to the end of its body; a form of ours is a few hundred bytes.
    body_seconds: float = 30.0
    #: How long an answer may wait for its reader to take any of it.
    unread_seconds: float = 60.0
    #: How long a refusal may be read, while the rest of what it refuses still arrives.
    refusal_seconds: float = 1.0
    #: Of target and headers together, and how many headers there are.
    head_bytes: int = 32 * 1024
    head_lines: int = 100
    connections: int = CONNECTIONS
    #: Of one address or, with IPv6, of one household's.
    connections_of_block: int = 512


class Lobby:
    """Who is connected to one door. Trusted proxies speak for many and are counted with everybody only, and so is
    this machine itself unless `own` says otherwise."""

    def __init__(
        self, limits: Limits | None = None, proxies: Sequence[IPNetwork] = (), own: Sequence[IPNetwork] = _OWN
    ) -> None:
        self.limits = limits or Limits()
        self._exempt = (*proxies, *own)
        self._inside = 0
        self._blocks: Counter[str] = Counter()
        self._turned_away = 0
        self._silent_until = 0.0

    def enter(self, address: str, now: float) -> str | None:
        """Let somebody in, to be seen off by `leave` with what this gives; None where there is no room."""
        block = self._block(address)
        if self._inside >= self.limits.connections:
            self._tell("the door is full", now)
            return None
        if block and self._blocks[block] >= self.limits.connections_of_block:
            self._tell(f"{block} has too many", now)
            return None
        self._inside += 1
        if block:
            self._blocks[block] += 1
        return block

    def leave(self, block: str) -> None:
        """Make room again."""
        self._inside -= 1
        if block:
            self._blocks[block] -= 1
            if not self._blocks[block]:
                del self._blocks[block]

    def _block(self, address: str) -> str:
        ip = ip_of(address)
        if ip is None or any(ip in network for network in self._exempt):
            return ""
        return block_of(address)

    def _tell(self, why: str, now: float) -> None:
        self._turned_away += 1
        if now >= self._silent_until:
            log.warning("web.connections_refused", why=why, since_last_told=self._turned_away)
            self._turned_away, self._silent_until = 0, now + _TOLD_SECONDS


class _Refused(Exception):
    """What came is not taken; the answer says why by its number."""


class Connection(HttpToolsProtocol):
    """One connection to a page's door. Made by uvicorn's server, and known to it."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        lobby: Lobby,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._lobby = lobby
        self._limits = lobby.limits
        self._block: str | None = None
        # The head that is coming in
        self._in_head = True
        self._head_bytes = 0
        # What came is not heard any more, and the number that says so
        self._deaf = False
        self._status = 400
        # When the head or the body must have come, and who looks; who ends an answer that nobody reads; a refusal
        self._until: float | None = None
        self._watch: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None
        self._farewell: asyncio.TimerHandle | None = None

    # -- the transport

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn has it
        """Begin, or go away at once where there is no room."""
        super().connection_made(transport)
        self._block = self._lobby.enter(self.client[0] if self.client else "", self.loop.time())
        if self._block is None:
            self._deaf = True
            self.connections.discard(self)
            transport.abort()
            return
        self._expect(self._limits.head_seconds)

    def connection_lost(self, exc: Exception | None) -> None:
        """Whoever was answered is told that nobody reads on."""
        super().connection_lost(exc)
        self._unset_keepalive_if_required()
        for timer in (self._watch, self._unread, self._farewell):
            if timer is not None:
                timer.cancel()
        if self._block is not None:
            self._lobby.leave(self._block)
            self._block = None

    def pause_writing(self) -> None:
        """More of an answer waits than is good; its reader has some time."""
        super().pause_writing()
        if self._unread is None:
            self._unread = self.loop.call_later(self._limits.unread_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """It goes on."""
        super().resume_writing()
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    # -- the parser

    def data_received(self, data: bytes) -> None:
        """Take what comes, as far as it is HTTP and in measure."""
        if self._deaf:
            return
        self._unset_keepalive_if_required()
        if self._in_head:
            if self._until is None:
                self._expect(self._limits.head_seconds)
            self._head_bytes += len(data)
        try:
            self.parser.feed_data(data)
            if self._in_head:
                # What is counted as it comes may be counted once more with its header: twice is certainly too long.
                self._demand(self._head_bytes <= 2 * self._limits.head_bytes, 431)
        except httptools.HttpParserUpgrade as upgrade:
            # Nobody here speaks another protocol; who offers one goes on in this one.
            self.parser = httptools.HttpRequestParser(self)
            if rest := data[upgrade.args[0] :]:
                self.data_received(rest)
        except (httptools.HttpParserError, _Refused):
            self._refuse()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head, self._head_bytes = True, 0

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        self._demand(len(self.url) <= self._limits.head_bytes, 431)

    def on_header(self, name: bytes, value: bytes) -> None:
        """One line more; trailers mean nothing here."""
        if not self._in_head:
            return
        super().on_header(name, value)
        self._head_bytes += len(name) + len(value)
        self._demand(len(self.headers) <= self._limits.head_lines, 431)

    def on_headers_complete(self) -> None:
        """A request is known but for its body."""
        length = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        self._demand(length <= self._limits.head_bytes, 431)
        self._demand(len(self.pipeline) < _REQUESTS_AHEAD, 400)
        super().on_headers_complete()
        self._in_head = False
        self._expect(self._limits.body_seconds)

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._in_head, self._head_bytes = True, 0
        self._until = None

    def _should_upgrade(self) -> bool:
        return False

    def _demand(self, holds: bool, status: int) -> None:
        if not holds:
            self._status = status
            raise _Refused

    def _refuse(self) -> None:
        """Hear no more. An answer that is on its way to a whole request goes out as it was; a request that was broken
        off has none but this one."""
        self._deaf, self._until = True, None
        cycle = self._unanswered()
        if cycle is not None:
            if not cycle.more_body:
                cycle.keep_alive = False
                return
            if cycle.response_started or self.pipeline:  # nothing can be said any more that would be understood
                self.transport.abort()
                return
            cycle.disconnected = True
            cycle.message_event.set()
        if not self.transport.is_closing():
            # To hang up on somebody who still speaks would take the words back before they are read.
            self.transport.write(_ANSWERS[self._status] + _LAST_WORDS)
            self._farewell = self.loop.call_later(self._limits.refusal_seconds, self.transport.abort)

    def _unanswered(self) -> RequestResponseCycle | None:
        """The newest request, unless it has its whole answer."""
        cycle: RequestResponseCycle | None = getattr(self, "cycle", None)  # uvicorn's own word has no None in it
        return None if cycle is None or cycle.response_complete else cycle

    # -- the clock

    def _expect(self, seconds: float) -> None:
        """The head, or the body, is to have come by then."""
        self._until = self.loop.time() + seconds
        if self._watch is None:  # one timer a connection: it looks again when it finds it was early
            self._watch = self.loop.call_at(self._until, self._look)
        elif self._watch.when() > self._until:
            self._watch.cancel()
            self._watch = self.loop.call_at(self._until, self._look)

    def _look(self) -> None:
        self._watch = None
        if self._until is None:
            return
        cycle = self._unanswered()
        is_answering = cycle is not None and (cycle.response_started or self._in_head)
        if is_answering or self.flow.read_paused:  # it is not them who keep us waiting
            self._expect(self._limits.head_seconds if self._in_head else self._limits.body_seconds)
        elif self.loop.time() < self._until:
            self._watch = self.loop.call_at(self._until, self._look)
        else:
            self.transport.abort()
