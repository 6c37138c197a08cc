"""Outgoing HTTP that cannot be turned against us.

Merchants tell us where to call, so every address is hostile until judged. A name is resolved once, each answer is
judged by the policy (`kit/addresses`), and the connection goes to the very address that was judged: there is no
second look-up a name server could answer otherwise. Redirects are not followed, proxies of the environment are not
used, time and size have ends. TLS still names and checks the host of the URL.

HTTP/1.1 is h11's; sockets, the look at the address and a small store of idle connections are ours. A pooled client
costs several times as much processor per call, and this is on the way of every callback. For the same reason a request
is written directly, and so is read an answer that comes in one piece and is as plain as most of them.
"""

import asyncio
import contextlib
import ipaddress
import re
import socket
import ssl
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import Final, cast

import h11
import msgspec

from dewpond.kit.addresses import AddressRefused, IPAddress, Policy, Target, parse_url, unmapped
from dewpond.kit.failures import Failure, Kind

_MAX_CALLS: Final = 1000  # at once: a place to fall back on, who calls knows better how many are good
_MAX_RESTING: Final = 200
_IDLE_SECONDS: Final = 4.0  # shorter than the five seconds after which many servers hang up
_TRIES: Final = 3  # how many addresses of one name are tried
_OURS: Final = frozenset({"host", "content-length", "transfer-encoding", "connection", "upgrade", "expect"})
_LINES: Final = re.compile(r"(?:[!#$%&'*+.^_`|~0-9A-Za-z-]+: (?:[!-~](?:[ -~]*[!-~])?)?\r\n)*")

#: A slow name server must not use up the loop's own threads, which belong to everybody.
_NAMES: Final = ThreadPoolExecutor(max_workers=16, thread_name_prefix="dewpond-names")


class Unreachable(Failure):
    """No usable answer came back."""

    code, kind = "unreachable", Kind.UNAVAILABLE


# --- the wire ---------------------------------------------------------------------------------------------------------


class _Heard(msgspec.Struct, frozen=True):
    """An answer as it came over the wire."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    cut: bool = False


#: The head of an answer that says how long it is and nothing out of the way.
_PLAIN: Final = re.compile(
    rb"HTTP/1\.1 ([2-5][0-9]{2})(?: [ -~]*)?\r\n((?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t -~]*\r\n)*)\r\n"
)
#: What of a head changes how the rest is read, or whether the connection lasts.
_FRAMING: Final = frozenset({"connection", "transfer-encoding", "upgrade"})
#: What h11 is told of a request that was written without it: as much as it needs to read the answer.
_ASKED: Final = h11.Request(method="POST", target="/", headers=[("Host", ""), ("Content-Length", "0")])


def _read_plain(data: bytes) -> _Heard | None:
    """An answer that is here as a whole and in the plainest form; None where h11 has to look."""
    head = _PLAIN.match(data)
    if head is None or head[1] in (b"204", b"304"):
        return None
    headers = tuple(
        (name, value.strip(" \t"))
        for name, _, value in (line.partition(":") for line in head[2].decode("ascii").split("\r\n")[:-1])
    )
    lengths = [value for name, value in headers if name.lower() == "content-length"]
    if len(lengths) != 1 or not re.fullmatch("[0-9]{1,9}", lengths[0]) or len(data) - head.end() != int(lengths[0]):
        return None
    if any(name.lower() in _FRAMING for name, _ in headers):
        return None
    return _Heard(int(head[1]), headers, data[head.end() :])


class _Connection(asyncio.Protocol):
    """One connection to one origin, for one exchange after the other.

    What comes unasked makes it unfit: an answer nobody waits for must not become the answer to the next call.
    """

    def __init__(self) -> None:
        #: Reads the answer of this exchange, unless it is a plain one.
        self._reader: h11.Connection | None = None
        self._data = b""
        self._transport: asyncio.Transport | None = None
        self._wakes: asyncio.Future[None] | None = None
        self._lost: Exception | None = None
        self._ended = False
        self._asked = False
        #: Whether anything of the answer has come.
        self.has_heard = False
        #: Whether another exchange may follow.
        self.is_fit = True

    async def exchange(self, request: bytes, most: int) -> _Heard:
        """Send a request and read its answer, of its body up to `most`."""
        assert self._transport is not None
        self._asked, self.has_heard, self._data = True, False, b""
        # Not waited for: a receiver may answer before it has read everything.
        self._transport.write(request)
        while not self.has_heard:
            await self._more()
        heard = _read_plain(self._data)
        if heard is None or len(heard.body) > most:
            return await self._read(most)
        self._asked = False
        return heard

    async def _read(self, most: int) -> _Heard:
        self._reader = h11.Connection(h11.CLIENT)
        self._reader.send(_ASKED)
        self._reader.send(h11.EndOfMessage())
        self._reader.receive_data(self._data)
        if self._ended:
            self._reader.receive_data(b"")
        response: h11.Response | None = None
        kept = bytearray()
        while True:
            match await self._next_event(self._reader):
                case h11.Response() as response:
                    continue
                case h11.Data(data=data):
                    kept += data
                    if len(kept) > most:
                        self.close()
                        assert response is not None
                        return _heard(response, bytes(kept[:most]), cut=True)
                case h11.EndOfMessage():
                    assert response is not None
                    self._end_exchange(self._reader)
                    return _heard(response, bytes(kept), cut=False)
                case h11.InformationalResponse():
                    continue
                case _:
                    raise ConnectionAbortedError("closed without an answer")

    async def _next_event(self, reader: h11.Connection) -> object:
        while (event := reader.next_event()) is h11.NEED_DATA:
            await self._more()
        return event

    async def _more(self) -> None:
        """Wait for whatever comes next; raises if that was the end."""
        if self._lost is not None:
            raise self._lost
        self._wakes = asyncio.get_running_loop().create_future()
        await self._wakes

    def _end_exchange(self, reader: h11.Connection) -> None:
        self._asked, self._reader = False, None
        if reader.their_state is not h11.DONE or reader.our_state is not h11.DONE or reader.trailing_data[0]:
            self.close()

    def close(self) -> None:
        """Aborted, not closed: nothing is left to send, and a silent peer must not hold a TLS farewell open."""
        self.is_fit = False
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's own kind does not say that it is one

    def data_received(self, data: bytes) -> None:
        if not self._asked:
            self.close()
            return
        self.has_heard = True
        if self._reader is None:
            self._data += data
        else:
            self._reader.receive_data(data)
        self._wake()

    def eof_received(self) -> bool:
        self._end(None)
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(exc)

    def _end(self, why: Exception | None) -> None:
        self.is_fit = False
        if self._lost is None:
            if self.has_heard and self._asked and why is None:
                self._ended = True  # an answer without a length ends like this
                if self._reader is not None:
                    self._reader.receive_data(b"")
            self._lost = why or ConnectionAbortedError("closed without an answer")
        self._wake()

    def _wake(self) -> None:
        if self._wakes is not None and not self._wakes.done():
            self._wakes.set_result(None)


def _heard(response: h11.Response, body: bytes, *, cut: bool) -> _Heard:
    headers = ((name.decode("latin-1"), value.decode("latin-1")) for name, value in response.headers.raw_items())
    return _Heard(response.status_code, tuple(headers), body, cut)


async def _open(target: Target, policy: Policy, trust: ssl.SSLContext, timeout_seconds: float) -> _Connection:
    """Resolve once, judge, and connect to what was judged."""
    addresses = _allowed(target, policy, await _resolve(target.host, target.port))[:_TRIES]
    for address in addresses[:-1]:
        # One dead address must not eat the time of the next.
        with contextlib.suppress(OSError):
            async with asyncio.timeout(timeout_seconds / len(addresses)):
                connected = await _connect(address, target.port)
                break
    else:
        connected = await _connect(addresses[-1], target.port)
    is_tls = target.scheme == "https"
    try:
        _, connection = await asyncio.get_running_loop().create_connection(
            _Connection,
            sock=connected,
            ssl=trust if is_tls else None,
            server_hostname=target.host if is_tls else None,
        )
    except BaseException:
        connected.close()
        raise
    return connection


def _allowed(target: Target, policy: Policy, addresses: Sequence[IPAddress]) -> list[IPAddress]:
    """The addresses that may be called, in the order they came; refuses when none may.

    Why is told, the address is not: what our name server says of an inner name is nobody's business.
    """
    objections = {address: policy.objection(address, target.port) for address in addresses}
    allowed = [unmapped(address) for address, objection in objections.items() if objection is None]
    if not allowed:
        reasons = {objection for objection in objections.values() if objection is not None}
        raise AddressRefused(host=target.host, port=target.port, reason=", ".join(sorted(reasons)))
    return allowed


async def _resolve(host: str, port: int) -> list[IPAddress]:
    """Every address of the host; an address in writing is itself."""
    with contextlib.suppress(ValueError):
        return [ipaddress.ip_address(host)]
    answers = await asyncio.get_running_loop().run_in_executor(
        _NAMES, lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    )
    return [ipaddress.ip_address(str(sockaddr[0]).partition("%")[0]) for *_, sockaddr in answers]


async def _connect(address: IPAddress, port: int) -> socket.socket:
    made = socket.socket(socket.AF_INET if address.version == 4 else socket.AF_INET6, socket.SOCK_STREAM)
    try:
        made.setblocking(False)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await asyncio.get_running_loop().sock_connect(made, (str(address), port))
    except BaseException:
        made.close()
        raise
    return made


class _Store:
    """Idle connections by origin, the last used first; each is closed when it has been idle for too long."""

    def __init__(self) -> None:
        self._idle: dict[tuple[str, str, int], list[tuple[_Connection, asyncio.TimerHandle]]] = {}
        self._count = 0

    def take(self, origin: tuple[str, str, int]) -> _Connection | None:
        """A connection that is fit for another exchange, if there is one."""
        resting = self._idle.get(origin, [])
        while resting:
            connection, expiry = resting.pop()
            expiry.cancel()
            self._count -= 1
            if not resting:
                del self._idle[origin]
            if connection.is_fit:
                return connection
        return None

    def keep(self, origin: tuple[str, str, int], connection: _Connection) -> None:
        """Let a connection rest until the next call."""
        if self._count >= _MAX_RESTING:
            connection.close()
            return
        expiry = asyncio.get_running_loop().call_later(_IDLE_SECONDS, self._expire, origin, connection)
        self._idle.setdefault(origin, []).append((connection, expiry))
        self._count += 1

    def close(self) -> None:
        for resting in self._idle.values():
            for connection, expiry in resting:
                expiry.cancel()
                connection.close()
        self._idle.clear()
        self._count = 0

    def _expire(self, origin: tuple[str, str, int], connection: _Connection) -> None:
        connection.close()
        left = [each for each in self._idle[origin] if each[0] is not connection]
        self._count -= 1
        if left:
            self._idle[origin] = left
        else:
            del self._idle[origin]


# --- calling ----------------------------------------------------------------------------------------------------------


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What came back, whatever its status: 302 and 500 are answers too."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    """As sent, not decompressed, at most `max_answer_bytes` of it."""
    cut: bool
    """Whether there was more than was kept."""
    elapsed_ms: int


class Outgoing:
    """Calls the outside under one policy, keeping connections alive between calls. Close it with `aclose`."""

    def __init__(
        self,
        policy: Policy,
        *,
        timeout_seconds: float = 5.0,
        max_answer_bytes: int = 64 * 1024,
        extra_ca_file: Path | None = None,
    ) -> None:
        self._trust = ssl.create_default_context()
        if extra_ca_file is not None:
            self._trust.load_verify_locations(cafile=extra_ca_file)
        self._policy = policy
        self._timeout_seconds = timeout_seconds
        self._max_answer_bytes = max_answer_bytes
        self._places = asyncio.Semaphore(_MAX_CALLS)
        self._store = _Store()

    async def post(self, url: str, *, headers: list[tuple[str, str]], body: bytes) -> Answer:
        """Send `body` and wait for the answer, not longer than the deadline for everything together.

        Header names go out in the case they are given; `Host` and `Content-Length` are ours to set. Refuses with
        `UrlRefused`, `AddressRefused`, or `Unreachable` whose `reason` says in words what went wrong.
        """
        target, opening = _opening(url)
        request = _request(opening, headers, body)
        started = time.perf_counter()
        try:
            async with asyncio.timeout(self._timeout_seconds), self._places:
                heard = await self._exchange(target, request)
        except (OSError, h11.RemoteProtocolError) as error:
            raise Unreachable(host=target.host, port=target.port, reason=_in_words(error)) from error
        return Answer(
            status=heard.status,
            headers=heard.headers,
            body=heard.body,
            cut=heard.cut,
            elapsed_ms=round((time.perf_counter() - started) * 1000),
        )

    async def aclose(self) -> None:
        """Close every connection that rests."""
        self._store.close()

    async def _exchange(self, target: Target, request: bytes) -> _Heard:
        origin = (target.scheme, target.host, target.port)
        rested = self._store.take(origin)
        if rested is not None:
            try:
                return await self._over(rested, origin, request)
            except ConnectionError:
                if rested.has_heard:
                    raise
                # It hung up while it rested, as servers do: that is no answer to this call.
        fresh = await _open(target, self._policy, self._trust, self._timeout_seconds)
        return await self._over(fresh, origin, request)

    async def _over(self, connection: _Connection, origin: tuple[str, str, int], request: bytes) -> _Heard:
        try:
            heard = await connection.exchange(request, self._max_answer_bytes)
        except BaseException:
            connection.close()
            raise
        if connection.is_fit:
            self._store.keep(origin, connection)
        return heard


@lru_cache(maxsize=4096)
def _opening(url: str) -> tuple[Target, str]:
    """Whom to call, and how the request begins."""
    target = parse_url(url)
    return target, f"POST {target.path} HTTP/1.1\r\nHost: {target.host_header}\r\n"


def _request(opening: str, headers: list[tuple[str, str]], body: bytes) -> bytes:
    if taken := _OURS.intersection([name.lower() for name, _ in headers]):
        raise ValueError(f"these headers are not the caller's: {sorted(taken)}")
    lines = "".join([f"{name}: {value}\r\n" for name, value in headers])
    if not _LINES.fullmatch(lines) or lines.count("\n") != len(headers):
        raise ValueError("header names and values are printable ASCII")
    return f"{opening}{lines}Content-Length: {len(body)}\r\n\r\n".encode("ascii") + body


def _in_words(error: Exception) -> str:
    """What went wrong, for a merchant to read in the list of deliveries."""
    match error:
        case TimeoutError():
            return "timeout"
        case ssl.SSLCertVerificationError():
            return f"TLS certificate not accepted: {error.verify_message}"
        case ssl.SSLError():
            return "TLS handshake failed"
        case ConnectionRefusedError():
            return "connection refused"
        case ConnectionAbortedError():
            return "closed without an answer"
        case ConnectionError():
            return "connection reset"
        case socket.gaierror():
            return "name not found"
        case OSError():
            return "no route to the address"
        case _:
            return "the answer is not HTTP/1.1"
