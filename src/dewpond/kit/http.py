"""Outgoing HTTP that cannot be turned against us.

Merchants tell us where to call, so every address is hostile until judged. A name is resolved once, each answer is
judged by the policy (`kit/addresses`), and the connection goes to the very address that was judged: there is no
second look-up a name server could answer otherwise. Redirects are not followed, proxies of the environment are not
used, time and size have ends. TLS still names and checks the host of the URL.

HTTP/1.1 is h11's; sockets, the look at the address and a small store of idle connections are ours. A pooled client
costs several times as much processor per call, and this is on the way of every callback.
"""

import asyncio
import contextlib
import ipaddress
import socket
import ssl
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, cast

import h11
import msgspec

from dewpond.kit.addresses import AddressRefused, IPAddress, Policy, Target, parse_url, unmapped
from dewpond.kit.failures import Failure, Kind

_MAX_CONNECTIONS: Final = 100  # at once, and as many may rest
_IDLE_SECONDS: Final = 4.0  # shorter than the five seconds after which many servers hang up
_TRIES: Final = 3  # how many addresses of one name are tried
_OURS: Final = frozenset({"host", "content-length", "transfer-encoding", "connection", "upgrade", "expect"})

#: A slow name server must not use up the loop's own threads, which belong to everybody.
_NAMES: Final = ThreadPoolExecutor(max_workers=16, thread_name_prefix="dewpond-names")


class Unreachable(Failure):
    """No usable answer came back."""

    code, kind = "unreachable", Kind.UNAVAILABLE


# --- the wire ---------------------------------------------------------------------------------------------------------


class _Connection(asyncio.Protocol):
    """One connection to one origin, for one exchange after the other.

    What comes unasked makes it unfit: an answer nobody waits for must not become the answer to the next call.
    """

    def __init__(self) -> None:
        self._http = h11.Connection(h11.CLIENT)
        self._transport: asyncio.Transport | None = None
        self._wakes: asyncio.Future[None] | None = None
        self._lost: Exception | None = None
        self._asked = False
        #: Whether anything of the answer has come.
        self.has_heard = False
        #: Whether another exchange may follow.
        self.is_fit = True

    async def exchange(self, request: h11.Request, body: bytes, most: int) -> tuple[h11.Response, bytes, bool]:
        """Send a request and read its answer: the head, the body up to `most`, whether there was more."""
        assert self._transport is not None
        self._asked, self.has_heard = True, False
        parts = [self._http.send(each) for each in (request, h11.Data(body), h11.EndOfMessage())]
        # One packet, and not waited for: a receiver may answer before it has read everything.
        self._transport.write(b"".join(part for part in parts if part))
        response: h11.Response | None = None
        kept = bytearray()
        while True:
            match await self._next_event():
                case h11.Response() as response:
                    continue
                case h11.Data(data=data):
                    kept += data
                    if len(kept) > most:
                        self.close()
                        assert response is not None
                        return response, bytes(kept[:most]), True
                case h11.EndOfMessage():
                    assert response is not None
                    self._end_exchange()
                    return response, bytes(kept), False
                case h11.InformationalResponse():
                    continue
                case _:
                    raise ConnectionAbortedError("closed without an answer")

    async def _next_event(self) -> object:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            if self._lost is not None:
                raise self._lost
            self._wakes = asyncio.get_running_loop().create_future()
            await self._wakes
        return event

    def _end_exchange(self) -> None:
        self._asked = False
        if self._http.their_state is h11.DONE and self._http.our_state is h11.DONE and not self._http.trailing_data[0]:
            self._http.start_next_cycle()
        else:
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
        self._http.receive_data(data)
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
                self._http.receive_data(b"")  # an answer without a length ends like this
            self._lost = why or ConnectionAbortedError("closed without an answer")
        self._wake()

    def _wake(self) -> None:
        if self._wakes is not None and not self._wakes.done():
            self._wakes.set_result(None)


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
        if self._count >= _MAX_CONNECTIONS:
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
        self._places = asyncio.Semaphore(_MAX_CONNECTIONS)
        self._store = _Store()

    async def post(self, url: str, *, headers: list[tuple[str, str]], body: bytes) -> Answer:
        """Send `body` and wait for the answer, not longer than the deadline for everything together.

        Header names go out in the case they are given; `Host` and `Content-Length` are ours to set. Refuses with
        `UrlRefused`, `AddressRefused`, or `Unreachable` whose `reason` says in words what went wrong.
        """
        target = parse_url(url)
        request = _request(target, headers, body)
        started = time.perf_counter()
        try:
            async with asyncio.timeout(self._timeout_seconds), self._places:
                response, kept, cut = await self._exchange(target, request, body)
        except (OSError, h11.RemoteProtocolError) as error:
            raise Unreachable(host=target.host, port=target.port, reason=_in_words(error)) from error
        return Answer(
            status=response.status_code,
            headers=tuple(
                (name.decode("latin-1"), value.decode("latin-1")) for name, value in response.headers.raw_items()
            ),
            body=kept,
            cut=cut,
            elapsed_ms=round((time.perf_counter() - started) * 1000),
        )

    async def aclose(self) -> None:
        """Close every connection that rests."""
        self._store.close()

    async def _exchange(self, target: Target, request: h11.Request, body: bytes) -> tuple[h11.Response, bytes, bool]:
        origin = (target.scheme, target.host, target.port)
        rested = self._store.take(origin)
        if rested is not None:
            try:
                return await self._over(rested, origin, request, body)
            except ConnectionError:
                if rested.has_heard:
                    raise
                # It hung up while it rested, as servers do: that is no answer to this call.
        fresh = await _open(target, self._policy, self._trust, self._timeout_seconds)
        return await self._over(fresh, origin, request, body)

    async def _over(
        self, connection: _Connection, origin: tuple[str, str, int], request: h11.Request, body: bytes
    ) -> tuple[h11.Response, bytes, bool]:
        try:
            answer = await connection.exchange(request, body, self._max_answer_bytes)
        except BaseException:
            connection.close()
            raise
        if connection.is_fit:
            self._store.keep(origin, connection)
        return answer


def _request(target: Target, headers: list[tuple[str, str]], body: bytes) -> h11.Request:
    if taken := _OURS.intersection(name.lower() for name, _ in headers):
        raise ValueError(f"these headers are not the caller's: {sorted(taken)}")
    if any(not value.isprintable() or not value.isascii() for pair in headers for value in pair):
        raise ValueError("header names and values are printable ASCII")
    return h11.Request(
        method="POST",
        target=target.path,
        headers=[("Host", target.host_header), *headers, ("Content-Length", str(len(body)))],
    )


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
