"""Which addresses may be called, and how a URL is read before it is asked.

Merchants tell us where to call, so every address is hostile until judged: the same for every spelling of it, and for
every IPv4 address that hides in an IPv6 one.
"""

import ipaddress
import re
import socket
from collections.abc import Iterable
from typing import Final
from urllib.parse import quote, urlsplit

import idna
import msgspec

from dewpond.kit.failures import Failure, Kind

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

#: A door of our own: a port on every address of this machine, or on one address.
Listener = int | tuple[IPAddress, int]

_URL_LIMIT: Final = 2048
_PRINTABLE: Final = "".join(map(chr, range(0x21, 0x7F)))
_HOST: Final = re.compile(r"(?=.{1,253}\Z)[a-z0-9_]([a-z0-9_-]{0,62})(\.[a-z0-9_][a-z0-9_-]{0,62})*")
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")


class AddressRefused(Failure):
    """This address may not be called from here."""

    code, kind = "address_refused", Kind.FORBIDDEN


class UrlRefused(AddressRefused):
    """This is not a URL that can be called: http or https, a host, no user, a port from 1 to 65535."""

    code, kind = "url_refused", Kind.INVALID


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


def unmapped(address: IPAddress) -> IPAddress:
    """The IPv4 address that an IPv6 one only wraps; otherwise the address itself."""
    meant, tunnelled = unwrap(address)
    return address if tunnelled else meant


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """What may be called. Public addresses always; the rest as follows; link-local and metadata never."""

    allow_private: bool = False
    """Also loopback, RFC 1918 and unique local addresses: for a sandbox that is itself bound to loopback."""
    allowed_networks: tuple[IPNetwork, ...] = ()
    """Networks an operator lists, private or shared ones."""
    allowed_doors: frozenset[tuple[IPAddress, int]] = frozenset()
    """Single ports of single addresses, where a whole network would be too much: a neighbour on this machine."""
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
        if (meant, port) in self.allowed_doors:
            return None
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
                at = unmapped(listener[0])
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
