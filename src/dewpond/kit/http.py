"""Outgoing HTTP that cannot be turned against us.

Merchants tell us where to call, so every address is hostile until judged. A name is resolved once, each answer is
judged by the `Policy`, and the connection goes to the very address that was judged: there is no second look-up a
name server could answer otherwise. Redirects are not followed, proxies of the environment are not used, time and
size have ends. TLS still names and checks the host of the URL.

Built on httpcore2 (the floor of httpx2) with a network backend of our own; on the way of every callback httpx2's
client and anyio's streams would cost about as much processor again as the call itself.
"""

import asyncio
import contextlib
import ipaddress
import re
import select
import socket
import ssl
import time
from collections.abc import AsyncIterable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlsplit

import httpcore2
import idna
import msgspec

from dewpond.kit.failures import Failure, Kind

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

#: A door of our own: a port on every address of this machine, or on one address.
Listener = int | tuple[IPAddress, int]

_MAX_CONNECTIONS: Final = 100
_MAX_IDLE: Final = 20
_IDLE_SECONDS: Final = 5.0
_TRIES: Final = 3  # how many addresses of one name are tried
_URL_LIMIT: Final = 2048
_PRINTABLE: Final = "".join(map(chr, range(0x21, 0x7F)))
_HOST: Final = re.compile(r"(?=.{1,253}\Z)[a-z0-9_]([a-z0-9_-]{0,62})(\.[a-z0-9_][a-z0-9_-]{0,62})*")
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")
_OURS: Final = frozenset({"host", "content-length", "transfer-encoding", "connection", "upgrade", "expect"})

#: A slow name server must not use up the loop's own threads, which belong to everybody.
_NAMES: Final = ThreadPoolExecutor(max_workers=16, thread_name_prefix="dewpond-names")


class AddressRefused(Failure):
    """This address may not be called from here."""

    code, kind = "address_refused", Kind.FORBIDDEN


class UrlRefused(AddressRefused):
    """This is not a URL that can be called: http or https, a host, no user, a port from 1 to 65535."""

    code, kind = "url_refused", Kind.INVALID


class Unreachable(Failure):
    """No usable answer came back."""

    code, kind = "unreachable", Kind.UNAVAILABLE


# --- judging addresses ------------------------------------------------------------------------------------------------


def _networks(words: str, *networks: str) -> list[tuple[IPNetwork, str]]:
    return [(ipaddress.ip_network(network), words) for network in networks]


#: Refused whatever an operator allows. Written out, because what `ipaddress` calls global changes between Pythons.
_NEVER: Final = (
    *_networks("cloud metadata", "169.254.169.254/32", "100.100.100.200/32", "168.63.129.16/32", "192.0.0.192/32"),
    *_networks("cloud metadata", "fd00:ec2::/32", "fd20:ce::254/128", "fd00:c1::a9fe:a9fe/128", "fd00:42::42/128"),
    *_networks("unspecified", "0.0.0.0/8", "::/128"),
    *_networks("link-local", "169.254.0.0/16", "fe80::/10", "fec0::/10"),
    *_networks("broadcast", "255.255.255.255/32"),
    *_networks("multicast", "224.0.0.0/4", "ff00::/8"),
    *_networks("reserved", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "198.51.100.0/24", "203.0.113.0/24"),
    *_networks("reserved", "240.0.0.0/4", "2001::/23", "2001:db8::/32", "3fff::/20"),
)
_PRIVATE: Final = (
    *_networks("loopback", "127.0.0.0/8", "::1/128"),
    *_networks("private", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"),
)
#: Neither public nor everybody's private: carriers, overlay networks, benchmarks, proxies with invented addresses.
_SHARED: Final = _networks("shared", "100.64.0.0/10", "198.18.0.0/15")
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
_PUBLIC_V6: Final = ipaddress.IPv6Network("2000::/3")


def _find(address: IPAddress, table: Iterable[tuple[IPNetwork, str]]) -> str | None:
    return next((words for network, words in table if address in network), None)


def unwrap(address: IPAddress) -> tuple[IPAddress, bool]:
    """The address that is really meant, and whether a tunnel carries it there (6to4, NAT64, Teredo).

    An IPv4-mapped address is the IPv4 address in another spelling; a tunnelled one is reached by way of a relay.
    """
    if isinstance(address, ipaddress.IPv4Address):
        return address, False
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped, False
    if address.sixtofour is not None:
        return address.sixtofour, True
    if address.teredo is not None:
        return address.teredo[1], True
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF), True
    return address, False


def _unmapped(address: IPAddress) -> IPAddress:
    meant, tunnelled = unwrap(address)
    return address if tunnelled else meant


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """What may be called. Public addresses always; the rest as follows; link-local and metadata never."""

    allow_private: bool = False
    """Also loopback, RFC 1918 and unique local addresses: for a sandbox that is itself bound to loopback."""
    allowed_networks: tuple[IPNetwork, ...] = ()
    """Networks an operator lists, private or shared ones."""
    own_listeners: frozenset[Listener] = frozenset()
    """Our own doors, never to be reached. A bare port, or one on the unspecified address, is refused on every
    address of this machine; the same port elsewhere, and other ports here, stay open."""

    def objection(self, address: IPAddress, port: int) -> str | None:
        """Why this address may not be called, in a word or two; None when it may."""
        meant, tunnelled = unwrap(address)
        never = _find(address, _NEVER) or _find(meant, _NEVER)
        if never is not None:
            return never
        if tunnelled:
            # A relay would carry it into somebody's private network, maybe ours: only public ones go through it.
            private = _find(meant, (*_PRIVATE, *_SHARED))
            return private and f"{private}, by way of a tunnel"
        if self._is_own(meant, port):
            return "our own listener"
        if any(meant in network for network in self.allowed_networks if network.version == meant.version):
            return None
        private = _find(meant, _PRIVATE)
        if private is not None:
            return None if self.allow_private else private
        if meant.version == 6 and meant not in _PUBLIC_V6:
            return "reserved"
        return _find(meant, _SHARED)

    def _is_own(self, address: IPAddress, port: int) -> bool:
        for listener in self.own_listeners:
            if isinstance(listener, int):
                if listener == port and _is_here(address):
                    return True
            elif listener[1] == port:
                at = _unmapped(listener[0])
                if at == address or (at.is_unspecified and _is_here(address)):
                    return True
        return False


def _is_here(address: IPAddress) -> bool:
    """Whether this machine answers to the address: only its own can be bound."""
    if address.is_loopback:
        return True
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((str(address), 0))
        except OSError:
            return False
    return True


# --- reading URLs -----------------------------------------------------------------------------------------------------


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """A URL taken apart, its host in the one spelling that is judged, connected to and named in TLS."""

    scheme: str
    host: str
    port: int
    path: str
    """Path and query as they go on the request line."""

    @property
    def host_header(self) -> str:
        """The value of `Host`: brackets around IPv6, the port only where it is not the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _default_port(self.scheme) else f"{host}:{self.port}"


def parse_url(url: str) -> Target:
    """Take a URL apart strictly, for calling it now or for refusing it when it is handed in; asks no name server.

    Internationalised names become their ASCII form, and the many old spellings of an IPv4 address (decimal, octal,
    hex, shortened) the usual one. Refuses what is unclear with `UrlRefused`.
    """
    if len(url) > _URL_LIMIT:
        raise UrlRefused(reason="too long")
    if re.search(r"[\x00-\x20\x7f\\]", url):
        raise UrlRefused(reason="blanks, control characters or backslashes")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise UrlRefused(reason="not a URL") from None
    if parts.scheme not in ("http", "https"):
        raise UrlRefused(reason="neither http nor https")
    if "@" in parts.netloc:
        raise UrlRefused(reason="a user or password in it")
    if not host:
        raise UrlRefused(reason="no host")
    if port == 0 or parts.netloc.endswith(":"):
        raise UrlRefused(reason="port not from 1 to 65535")
    return Target(
        scheme=parts.scheme,
        host=_plain_host(host, bracketed="[" in parts.netloc),
        port=port or _default_port(parts.scheme),
        path=quote((parts.path or "/") + (f"?{parts.query}" if parts.query else ""), safe=_PRINTABLE),
    )


def _default_port(scheme: str) -> int:
    return 443 if scheme == "https" else 80


def _plain_host(host: str, *, bracketed: bool) -> str:
    """The host in its one spelling."""
    if bracketed:
        try:
            address = ipaddress.IPv6Address(host)
        except ValueError:
            raise UrlRefused(reason="not an IPv6 address") from None
        if address.scope_id is not None:
            raise UrlRefused(reason="an address with a zone")
        return str(address)
    if not host.isascii():
        try:
            host = idna.encode(host, uts46=True).decode()
        except UnicodeError:
            raise UrlRefused(reason="not a host name") from None
    host = host.lower().removesuffix(".")
    if not _HOST.fullmatch(host):
        raise UrlRefused(reason="not a host name")
    if _NUMBER.fullmatch(host.rpartition(".")[2]):  # what ends in a number is an address or nothing
        try:
            return str(ipaddress.IPv4Address(socket.inet_aton(host)))
        except OSError:
            raise UrlRefused(reason="not an IPv4 address") from None
    return host


# --- the wire ---------------------------------------------------------------------------------------------------------


class _Stream(httpcore2.AsyncNetworkStream):
    """One connected socket, for httpcore2. Writes are gathered until the answer is read: one packet per request.

    The timeouts httpcore2 hands over are not used: `Outgoing.post` holds one deadline over the whole call.
    """

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        self._waiting: list[bytes] = []
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.AsyncNetworkStream:
        await self._open(ssl=ssl_context, server_hostname=server_hostname)
        return self

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        if buffer:
            self._waiting.append(buffer)

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        if self._reader is None or self._writer is None:
            await self._open()
        assert self._reader is not None
        assert self._writer is not None
        if self._waiting:
            # Not drained: all of it is in memory already, and a receiver may answer before it has read everything.
            self._writer.write(b"".join(self._waiting))
            self._waiting.clear()
        return await self._reader.read(max_bytes)

    async def aclose(self) -> None:
        # Aborted, not closed: nothing is left to send, and a silent peer must not hold a TLS farewell open.
        if self._writer is not None:
            self._writer.transport.abort()
        else:
            self._socket.close()

    def get_extra_info(self, info: str) -> Any:
        """httpcore2 asks whether an idle connection has become readable, which means that its peer hung up."""
        if info == "is_readable":
            return self._is_readable()
        return self._writer.get_extra_info(info) if self._writer is not None else None

    def _is_readable(self) -> bool:
        if self._reader is None or self._writer is None:
            return False
        if self._reader.at_eof() or self._writer.is_closing():
            return True
        poll = select.poll()
        poll.register(self._writer.get_extra_info("socket").fileno(), select.POLLIN)
        return bool(poll.poll(0))

    async def _open(self, **tls: Any) -> None:
        try:
            self._reader, self._writer = await asyncio.open_connection(sock=self._socket, **tls)
        except BaseException:
            self._socket.close()
            raise


class _Backend(httpcore2.AsyncNetworkBackend):
    """Resolves once, judges, and connects to what was judged."""

    def __init__(self, policy: Policy, timeout_seconds: float) -> None:
        self._policy = policy
        self._timeout_seconds = timeout_seconds

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        addresses = self._allowed(host, port, await _resolve(host, port))[:_TRIES]
        for address in addresses[:-1]:
            # One dead address must not eat the time of the next.
            with contextlib.suppress(OSError):
                async with asyncio.timeout(self._timeout_seconds / len(addresses)):
                    return await _connect(address, port)
        return await _connect(addresses[-1], port)

    def _allowed(self, host: str, port: int, addresses: Sequence[IPAddress]) -> list[IPAddress]:
        """The addresses that may be called, in the order they came; refuses when none may.

        Why is told, the address is not: what our name server says of an inner name is nobody's business.
        """
        objections = {address: self._policy.objection(address, port) for address in addresses}
        allowed = [_unmapped(address) for address, objection in objections.items() if objection is None]
        if not allowed:
            reasons = {objection for objection in objections.values() if objection is not None}
            raise AddressRefused(host=host, port=port, reason=", ".join(sorted(reasons)))
        return allowed


async def _resolve(host: str, port: int) -> list[IPAddress]:
    """Every address of the host; an address in writing is itself."""
    with contextlib.suppress(ValueError):
        return [ipaddress.ip_address(host)]
    answers = await asyncio.get_running_loop().run_in_executor(
        _NAMES, lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    )
    return [ipaddress.ip_address(str(sockaddr[0]).partition("%")[0]) for *_, sockaddr in answers]


async def _connect(address: IPAddress, port: int) -> _Stream:
    made = socket.socket(socket.AF_INET if address.version == 4 else socket.AF_INET6, socket.SOCK_STREAM)
    try:
        made.setblocking(False)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await asyncio.get_running_loop().sock_connect(made, (str(address), port))
    except BaseException:
        made.close()
        raise
    return _Stream(made)


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
        trust = httpcore2.default_ssl_context()
        if extra_ca_file is not None:
            trust.load_verify_locations(cafile=extra_ca_file)
        self._timeout_seconds = timeout_seconds
        self._max_answer_bytes = max_answer_bytes
        self._pool = httpcore2.AsyncConnectionPool(
            ssl_context=trust,
            max_connections=_MAX_CONNECTIONS,
            max_keepalive_connections=_MAX_IDLE,
            keepalive_expiry=_IDLE_SECONDS,
            network_backend=_Backend(policy, timeout_seconds),
        )

    async def post(self, url: str, *, headers: list[tuple[str, str]], body: bytes) -> Answer:
        """Send `body` and wait for the answer, not longer than the deadline for everything together.

        Header names go out in the case they are given; `Host` and `Content-Length` are ours to set. Refuses with
        `UrlRefused`, `AddressRefused`, or `Unreachable` whose `reason` says in words what went wrong.
        """
        target = parse_url(url)
        request = _request(target, headers, body)
        started = time.perf_counter()
        try:
            async with asyncio.timeout(self._timeout_seconds):
                response = await self._pool.handle_async_request(request)
                try:
                    kept, cut = await self._read(response)
                finally:
                    await response.aclose()
        except (OSError, httpcore2.RemoteProtocolError) as error:
            raise Unreachable(host=target.host, port=target.port, reason=_in_words(error)) from error
        return Answer(
            status=response.status,
            headers=tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in response.headers),
            body=kept,
            cut=cut,
            elapsed_ms=round((time.perf_counter() - started) * 1000),
        )

    async def aclose(self) -> None:
        """Close every connection."""
        await self._pool.aclose()

    async def _read(self, response: httpcore2.Response) -> tuple[bytes, bool]:
        """The body up to the limit. Stopping early leaves the connection unfit for use, and httpcore2 closes it."""
        kept = bytearray()
        assert isinstance(response.stream, AsyncIterable)
        async for part in response.stream:
            kept += part
            if len(kept) > self._max_answer_bytes:
                return bytes(kept[: self._max_answer_bytes]), True
        return bytes(kept), False


def _request(target: Target, headers: list[tuple[str, str]], body: bytes) -> httpcore2.Request:
    if taken := _OURS.intersection(name.lower() for name, _ in headers):
        raise ValueError(f"these headers are not the caller's: {sorted(taken)}")
    if any(not value.isprintable() or not value.isascii() for pair in headers for value in pair):
        raise ValueError("header names and values are printable ASCII")
    return httpcore2.Request(
        "POST",
        httpcore2.URL(scheme=target.scheme, host=target.host, port=target.port, target=target.path),
        headers=[("Host", target.host_header), *headers, ("Content-Length", str(len(body)))],
        content=body,
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
        case ConnectionError():
            return "connection reset"
        case socket.gaierror():
            return "name not found"
        case OSError():
            return "no route to the address"
        case _ if "without sending a response" in str(error):
            return "closed without an answer"
        case _:
            return "the answer is not HTTP/1.1"
