"""Outgoing HTTP: what may be called, and what becomes of servers that misbehave."""

# ruff: noqa: S104 - addresses are only written here, none is bound to

import asyncio
import contextlib
import ipaddress
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import NameOID

from dewpond.kit import crypto, http
from dewpond.kit.addresses import AddressRefused, Policy, UrlRefused, parse_url
from dewpond.kit.http import Answer, Outgoing, Unreachable

SANDBOX = Policy(allow_private=True)
LIVE = Policy()

# --- servers ----------------------------------------------------------------------------------------------------------

Handler = Callable[["Visit"], Awaitable[None]]


class Visit:
    """One connection, as a misbehaving server sees it."""

    def __init__(self, server: "Server", reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.server, self.reader, self.writer = server, reader, writer

    async def request(self) -> bytes:
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = next(line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
        raw = head + await self.reader.readexactly(int(length.partition(b":")[2]))
        self.server.requests.append(raw)
        return raw

    async def send(self, raw: bytes) -> None:
        self.writer.write(raw)
        await self.writer.drain()


class Server:
    """A real server on a real socket; counts what reaches it."""

    def __init__(self, handler: Handler) -> None:
        self.handler = handler
        self.requests: list[bytes] = []
        self.connections = 0
        self.names: list[str | None] = []
        self.tasks: set[asyncio.Task[None]] = set()
        self.port = 0

    async def visited(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self.tasks.add(task)
        try:
            await self.handler(Visit(self, reader, writer))
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self.tasks.discard(task)
            writer.transport.abort()


@contextlib.asynccontextmanager
async def serving(
    handler: Handler, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None
) -> AsyncIterator[Server]:
    server = Server(handler)
    if tls is not None:
        tls.sni_callback = lambda _socket, name, _context: server.names.append(name)
    listening = await asyncio.start_server(server.visited, host, 0, ssl=tls)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listening.close()
        for task in list(server.tasks):
            task.cancel()
        await asyncio.gather(*server.tasks, return_exceptions=True)
        await asyncio.sleep(0.01)  # let the aborted transports go before the loop does


@contextlib.asynccontextmanager
async def outgoing(policy: Policy = SANDBOX, **options) -> AsyncIterator[Outgoing]:
    caller = Outgoing(policy, **{"timeout_seconds": 60, **options})
    try:
        yield caller
    finally:
        await caller.aclose()
        await asyncio.sleep(0.01)


async def polite(visit: Visit) -> None:
    while True:
        await visit.request()
        await visit.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")


async def silent(visit: Visit) -> None:
    await visit.request()
    await asyncio.sleep(3600)


async def call(caller: Outgoing, url: str, body: bytes = b"{}") -> Answer:
    """A call that must end whatever the server does."""
    return await asyncio.wait_for(caller.post(url, headers=[("X-Test", "1")], body=body), 120)


# --- spellings --------------------------------------------------------------------------------------------------------

FORBIDDEN_SPELLINGS = [
    # loopback, as people and tricksters write it
    "127.0.0.1", "127.0.0.2", "127.255.255.254", "127.1", "127.0.1", "2130706433", "0x7f000001", "0x7F.0.0.1",
    "0x7f.1", "0177.0.0.1", "017700000001", "0177.0x0.0.1", "00000177.0.0.1", "127.0.0.1.", "localhost", "LOCALHOST",
    "localhost.", "LocalHost", "[::1]", "[0:0:0:0:0:0:0:1]", "[0000:0000:0000:0000:0000:0000:0000:0001]",
    "[::ffff:127.0.0.1]", "[::FFFF:7F00:1]", "[0:0:0:0:0:ffff:127.0.0.1]", "[::127.0.0.1]", "[::ffff:0:127.0.0.1]",
    "[64:ff9b::127.0.0.1]", "[64:ff9b::7f00:1]", "[64:ff9b:1::7f00:1]", "[2002:7f00:1::]", "[2002:7f00:0001::1]",
    "[2001:0:7f00:1::]", "[2001:0000:4136:e378:8000:63bf:80ff:fffe]",
    # full-width, circled and otherwise dressed digits and dots
    "１２７.０.０.１", "①②⑦.⓪.⓪.①", "127。0。0。1", "127．0．0．1", "１２７。１",
    "ⓛⓞⓒⓐⓛⓗⓞⓢⓣ", "ｌｏｃａｌｈｏｓｔ", "𝟏𝟐𝟕.𝟎.𝟎.𝟏",
    # private
    "10.0.0.1", "10.1", "012.0.0.1", "167772161", "172.16.0.1", "172.31.255.255", "192.168.0.1", "0xc0a80001",
    "3232235521", "[fc00::1]", "[fd12:3456::1]", "[::ffff:10.0.0.1]", "[2002:0a00:1::]", "[64:ff9b::c0a8:1]",
    # link-local and metadata
    "169.254.0.1", "169.254.169.254", "2852039166", "0xA9FEA9FE", "0251.0376.0251.0376", "[::ffff:169.254.169.254]",
    "[::ffff:a9fe:a9fe]", "[64:ff9b::a9fe:a9fe]", "[2002:a9fe:a9fe::]", "[fe80::1]", "[FE80::A9FE:A9FE]", "[febf::1]",
    "[fd00:ec2::254]", "[fd20:ce::254]", "100.100.100.200", "168.63.129.16", "192.0.0.192",
    # nobody, everybody, and what is reserved
    "0.0.0.0", "0", "0x0", "0.1.2.3", "[::]", "[::ffff:0.0.0.0]", "255.255.255.255", "4294967295", "0xffffffff",
    "224.0.0.1", "239.255.255.250", "[ff02::1]", "[ff0e::1]", "240.0.0.1", "192.0.2.1", "198.51.100.7", "203.0.113.9",
    "192.88.99.1", "100.64.0.1", "198.18.0.1", "[2001:db8::1]", "[3fff::1]", "[100::1]", "[fec0::1]", "[2001:10::1]",
    "[5f00::1]", "[4000::1]",
]  # fmt: skip

ODD_URLS = [
    "", "127.0.0.1", "//127.0.0.1/", "/notify", "ftp://example.com/", "file:///etc/passwd", "gopher://127.0.0.1/",
    "javascript:alert(1)", "unix:///run/x.sock", "http://", "http:///path", "http:example.com", "https://:443/",
    "http://user@example.com/", "http://user:pass@example.com/", "http://@example.com/", "http://example.com@127.0.0.1/",
    "http://127.0.0.1:80@example.com/", "http://example.com:0/", "http://example.com:65536/", "http://example.com:-1/",
    "http://example.com:+80/", "http://example.com:８０/", "http://example.com:/", "http://example.com:80:80/",
    "http://exa mple.com/", "http://example.com/a b", "http://example.com/\r\nX: y", "http://example.com\t/",
    "http://example.com\\@127.0.0.1/", "http:\\\\127.0.0.1/", " http://example.com/", "http://example.com/\x00",
    "http://127.0.0.1%00.example.com/", "http://%31%32%37.0.0.1/", "http://[::1", "http://::1/", "http://[127.0.0.1]/",
    "http://[fe80::1%25eth0]/", "http://[fe80::1%eth0]/", "http://[v1.x]/", "http://[]/", "http://1.2.3.4.5/",
    "http://256.0.0.1/", "http://1.2.3.09/", "http://0x/x", "http://99999999999/",
    "http://example..com/", "http://.example.com/", "http://.", "http://-example.com/", "http://exa$mple.com/",
    "http://" + "a" * 64 + ".com/", "http://" + "a." * 130 + "com/", "http://example.com/" + "x" * 3000, "http://\u200b/",
    "http://xn--\u00e9/", "http://ex\u2044ample.com/", "http://example.com\uff0f@127.0.0.1/",
]  # fmt: skip


@pytest.mark.parametrize("spelling", FORBIDDEN_SPELLINGS)
async def test_a_live_world_calls_no_forbidden_address_however_spelled(spelling: str) -> None:
    async with serving(polite) as server, outgoing(LIVE) as caller:
        with pytest.raises(AddressRefused):
            await call(caller, f"http://{spelling}:{server.port}/")
        assert server.connections == 0


@pytest.mark.parametrize("url", ODD_URLS)
def test_what_is_not_clearly_a_url_is_refused(url: str) -> None:
    with pytest.raises(UrlRefused):
        parse_url(url)


@pytest.mark.parametrize(
    ("url", "host", "port", "path", "host_header"),
    [
        ("https://Example.COM/n?a=1#x", "example.com", 443, "/n?a=1", "example.com"),
        ("https://example.com:443", "example.com", 443, "/", "example.com"),
        ("http://example.com.:8080/", "example.com", 8080, "/", "example.com:8080"),
        ("http://example.com?a=b", "example.com", 80, "/?a=b", "example.com"),
        ("https://bücher.example/通知?名=值", "xn--bcher-kva.example", 443,
         "/%E9%80%9A%E7%9F%A5?%E5%90%8D=%E5%80%BC", "xn--bcher-kva.example"),
        ("http://中国.cn/", "xn--fiqs8s.cn", 80, "/", "xn--fiqs8s.cn"),
        ("http://[::ffff:1.2.3.4]:81/", "::ffff:102:304", 81, "/", "[::ffff:102:304]:81"),
        ("http://0x08080808/", "8.8.8.8", 80, "/", "8.8.8.8"),
        ("http://8.8.2056/%2F|*%7c", "8.8.8.8", 80, "/%2F|*%7c", "8.8.8.8"),
        ("http://my_service:3000/x", "my_service", 3000, "/x", "my_service:3000"),
    ],
)  # fmt: skip
def test_a_url_comes_apart_into_one_spelling(url, host, port, path, host_header) -> None:
    target = parse_url(url)
    assert (target.host, target.port, target.path, target.host_header) == (host, port, path, host_header)


# --- the policy -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "live", "sandbox"),
    [
        ("8.8.8.8", None, None),
        ("2606:4700::1111", None, None),
        ("64:ff9b::808:808", None, None),
        ("2002:808:808::1", None, None),
        ("::ffff:8.8.8.8", None, None),
        ("172.32.0.1", None, None),
        ("127.0.0.1", "loopback", None),
        ("::1", "loopback", None),
        ("::ffff:127.0.0.1", "loopback", None),
        ("192.168.1.1", "private", None),
        ("fd12::1", "private", None),
        ("100.64.0.1", "shared", "shared"),
        ("198.18.0.1", "shared", "shared"),
        ("64:ff9b::7f00:1", "loopback, by way of a tunnel", "loopback, by way of a tunnel"),
        ("2002:c0a8:1::", "private, by way of a tunnel", "private, by way of a tunnel"),
        ("169.254.169.254", "cloud metadata", "cloud metadata"),
        ("::ffff:169.254.169.254", "cloud metadata", "cloud metadata"),
        ("2002:a9fe:a9fe::", "cloud metadata", "cloud metadata"),
        ("fd00:ec2::254", "cloud metadata", "cloud metadata"),
        ("100.100.100.200", "cloud metadata", "cloud metadata"),
        ("169.254.1.1", "link-local", "link-local"),
        ("fe80::1", "link-local", "link-local"),
        ("0.0.0.0", "unspecified", "unspecified"),
        ("::", "unspecified", "unspecified"),
        ("224.0.0.1", "multicast", "multicast"),
        ("ff02::1", "multicast", "multicast"),
        ("255.255.255.255", "broadcast", "broadcast"),
        ("240.0.0.1", "reserved", "reserved"),
        ("2001:db8::1", "reserved", "reserved"),
        ("::7f00:1", "reserved", "reserved"),
    ],
)
def test_who_may_be_called(address: str, live: str | None, sandbox: str | None) -> None:
    meant = ipaddress.ip_address(address)
    assert LIVE.objection(meant, 80) == live
    assert SANDBOX.objection(meant, 80) == sandbox


@pytest.mark.parametrize(
    ("address", "objection"),
    [
        ("10.8.1.2", None),
        ("::ffff:10.8.1.2", None),
        ("10.9.1.2", "private"),
        ("100.64.3.4", None),
        ("fd12:34::1", None),
        ("127.0.0.1", "loopback"),
        ("64:ff9b::a08:102", "private, by way of a tunnel"),
        ("169.254.169.254", "cloud metadata"),
        ("100.100.100.200", "cloud metadata"),
        ("fe80::1", "link-local"),
    ],
)
def test_an_operator_opens_listed_networks_but_never_all(address: str, objection: str | None) -> None:
    listed = ("10.8.0.0/16", "100.64.0.0/10", "169.254.0.0/16", "fd12::/16", "fe80::/10")
    policy = Policy(allowed_networks=tuple(map(ipaddress.ip_network, listed)))
    assert policy.objection(ipaddress.ip_address(address), 80) == objection


def own_address() -> str | None:
    """An address of this machine that is not loopback, if its name leads to one that may be called."""
    with contextlib.suppress(OSError):
        for address in socket.gethostbyname_ex(socket.gethostname())[2]:
            meant = ipaddress.ip_address(address)
            if not meant.is_loopback and SANDBOX.objection(meant, 8443) is None:
                return address
    return None


def test_our_own_port_is_closed_on_every_address_of_this_machine_and_open_elsewhere() -> None:
    every = ipaddress.ip_network("0.0.0.0/0")
    for listener in (8443, (ipaddress.ip_address("0.0.0.0"), 8443), (ipaddress.ip_address("::"), 8443)):
        policy = Policy(allow_private=True, allowed_networks=(every,), own_listeners=frozenset({listener}))
        for address in filter(None, ("127.0.0.1", "127.3.2.1", "::1", "::ffff:127.0.0.1", own_address())):
            assert policy.objection(ipaddress.ip_address(address), 8443) == "our own listener"
            assert policy.objection(ipaddress.ip_address(address), 8444) is None
        assert policy.objection(ipaddress.ip_address("8.8.8.8"), 8443) is None


def test_a_listener_on_one_address_closes_only_that() -> None:
    listener = (ipaddress.ip_address("127.0.0.1"), 8443)
    policy = Policy(allow_private=True, own_listeners=frozenset({listener}))
    assert policy.objection(ipaddress.ip_address("::ffff:127.0.0.1"), 8443) == "our own listener"
    assert policy.objection(ipaddress.ip_address("127.0.0.2"), 8443) is None


async def test_the_merchants_door_opens_and_ours_does_not() -> None:
    async with serving(polite) as ours, serving(polite) as merchants:
        policy = Policy(allow_private=True, own_listeners=frozenset({ours.port}))
        async with outgoing(policy) as caller:
            assert (await call(caller, f"http://127.0.0.1:{merchants.port}/n")).status == 200
            for host in (
                "127.0.0.1",
                "localhost",
                "[::1]",
                "[::ffff:127.0.0.1]",
                "127.1",
                own_address() or "127.0.0.9",
            ):
                with pytest.raises(AddressRefused, match="our own listener"):
                    await call(caller, f"http://{host}:{ours.port}/n")
        assert (ours.connections, merchants.connections) == (0, 1)


# --- names ------------------------------------------------------------------------------------------------------------


class Names:
    """A name server that changes its mind: each look-up takes the next answer."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers, self.asked = list(answers), 0

    def __call__(self, host: str, port: int, *_args, **_options):
        self.asked += 1
        found = self.answers.pop(0)
        return [
            (socket.AF_INET6 if ":" in at else socket.AF_INET, socket.SOCK_STREAM, 6, "", (at, port)) for at in found
        ]


async def test_a_name_is_asked_for_once_so_it_cannot_change_its_mind(monkeypatch) -> None:
    names = Names(["127.0.0.1"], ["169.254.169.254"])
    monkeypatch.setattr(socket, "getaddrinfo", names)
    async with serving(polite) as server, outgoing() as caller:
        await call(caller, f"http://rebind.example:{server.port}/n")
        await call(caller, f"http://rebind.example:{server.port}/n")  # on the connection that was judged
        assert (names.asked, server.connections, len(server.requests)) == (1, 1, 2)
        assert f"Host: rebind.example:{server.port}".encode() in server.requests[0]


async def test_a_name_that_turns_bad_is_refused_on_the_next_connection(monkeypatch) -> None:
    async def once(visit: Visit) -> None:
        await visit.request()
        await visit.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    monkeypatch.setattr(socket, "getaddrinfo", Names(["127.0.0.1"], ["169.254.169.254"]))
    async with serving(once) as server, outgoing() as caller:
        await call(caller, f"http://rebind.example:{server.port}/n")
        with pytest.raises(AddressRefused, match="cloud metadata"):
            await call(caller, f"http://rebind.example:{server.port}/n")


async def test_of_several_answers_only_an_allowed_one_is_called(monkeypatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", Names(["169.254.169.254", "fe80::1%2", "::ffff:127.0.0.1"]))
    async with serving(polite) as server, outgoing() as caller:
        assert (await call(caller, f"http://mixed.example:{server.port}/n")).status == 200


async def test_the_next_address_is_tried_when_the_first_is_dead(monkeypatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", Names(["127.0.0.2", "127.0.0.1"]))
    async with serving(polite) as server, outgoing() as caller:
        assert (await call(caller, f"http://two.example:{server.port}/n")).status == 200


async def test_a_refusal_says_why_but_not_what_our_name_server_knows(monkeypatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", Names(["10.20.30.40", "169.254.169.254"]))
    async with outgoing(LIVE) as caller:
        with pytest.raises(AddressRefused) as refusal:
            await call(caller, "https://inner.example/n")
    assert refusal.value.facts["reason"] == "cloud metadata, private"
    assert "10.20" not in str(refusal.value)


async def test_addresses_in_writing_are_not_asked_for(monkeypatch) -> None:
    names = Names()
    monkeypatch.setattr(socket, "getaddrinfo", names)
    async with serving(polite) as server, outgoing() as caller:
        assert (await call(caller, f"http://0x7f.1:{server.port}/n")).status == 200
    assert names.asked == 0


async def test_an_unknown_name_is_unreachable(monkeypatch) -> None:
    def unknown(*_args, **_options):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    async with outgoing() as caller:
        with pytest.raises(Unreachable) as refusal:
            await call(caller, "http://nowhere.example/n")
    assert refusal.value.facts["reason"] == "name not found"


# --- what is sent and kept --------------------------------------------------------------------------------------------


async def test_the_request_goes_out_as_given() -> None:
    headers = [("Wechatpay-Signature", "abc="), ("Wechatpay-Nonce", "N"), ("Content-Type", "application/json")]
    async with serving(polite) as server, outgoing() as caller:
        await caller.post(f"http://127.0.0.1:{server.port}/n?a=%7C", headers=headers, body='{"付":1}'.encode())
        assert server.requests == [
            b"POST /n?a=%%7C HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nWechatpay-Signature: abc=\r\nWechatpay-Nonce: N\r\n"
            b"Content-Type: application/json\r\nContent-Length: 9\r\n\r\n" % server.port + '{"付":1}'.encode()
        ]


async def test_the_answer_comes_back_whole() -> None:
    async def server_error(visit: Visit) -> None:
        await visit.request()
        await visit.send(b"HTTP/1.1 500 Oh\r\nX-Case: Kept\r\nContent-Encoding: gzip\r\nContent-Length: 5\r\n\r\nhello")

    async with serving(server_error) as server, outgoing() as caller:
        answer = await call(caller, f"http://127.0.0.1:{server.port}/n")
    assert (answer.status, answer.body, answer.cut) == (500, b"hello", False)
    assert ("X-Case", "Kept") in answer.headers
    assert answer.elapsed_ms >= 0


async def test_connections_are_kept_between_calls_and_replaced_when_the_server_hangs_up() -> None:
    async def twice(visit: Visit) -> None:
        for _ in range(2):
            await visit.request()
            await visit.send(b"HTTP/1.1 204 No Content\r\n\r\n")

    async with serving(twice) as server, outgoing() as caller:
        for _ in range(5):
            assert (await call(caller, f"http://127.0.0.1:{server.port}/n")).status == 204
            await asyncio.sleep(0.02)
        assert (server.connections, len(server.requests)) == (3, 5)


async def test_a_hang_up_is_seen_even_when_the_loop_was_too_busy_to_notice() -> None:
    answered, hung_up = threading.Event(), threading.Event()

    def answer_and_hang_up(listening: socket.socket) -> None:
        for _ in range(2):
            visitor, _ = listening.accept()
            with visitor:
                visitor.recv(65536)
                visitor.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")
                answered.wait(60)
                answered.clear()
            hung_up.set()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(60)
        thread = threading.Thread(target=answer_and_hang_up, args=(listening,), daemon=True)
        thread.start()
        async with outgoing() as caller:
            for _ in range(2):
                assert (await call(caller, f"http://127.0.0.1:{listening.getsockname()[1]}/n")).status == 204
                answered.set()
                assert hung_up.wait(60)  # the loop stands still, and the connection ends meanwhile
                hung_up.clear()
        thread.join()


async def test_a_redirect_is_an_answer_and_is_not_followed() -> None:
    async with serving(polite) as inner:

        async def redirect(visit: Visit) -> None:
            await visit.request()
            location = b"http://127.0.0.1:%d/secret" % inner.port
            await visit.send(b"HTTP/1.1 307 Go\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n" % location)

        async with serving(redirect) as server, outgoing() as caller:
            assert (await call(caller, f"http://127.0.0.1:{server.port}/n")).status == 307
        assert inner.connections == 0


async def test_proxies_of_the_environment_are_not_used(monkeypatch) -> None:
    async with serving(polite) as proxy, serving(polite) as server, outgoing() as caller:
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        await call(caller, f"http://127.0.0.1:{server.port}/n")
        assert (proxy.connections, server.connections) == (0, 1)


@pytest.mark.parametrize(
    "header",
    [("Host", "x"), ("content-length", "1"), ("Transfer-Encoding", "chunked"), ("X", "a\r\nY: b"), ("X", "中")],
)
async def test_headers_that_would_bend_the_request_are_our_own_mistake(header: tuple[str, str]) -> None:
    async with serving(polite) as server, outgoing() as caller:
        with pytest.raises(ValueError, match="header"):
            await caller.post(f"http://127.0.0.1:{server.port}/n", headers=[header], body=b"")
        assert server.connections == 0


async def answer_in(visit: Visit, *pieces: bytes) -> None:
    await visit.request()
    for piece in pieces:
        await visit.send(piece)
        await asyncio.sleep(0.02)


@pytest.mark.parametrize(
    ("_case", "pieces", "status", "body", "connections"),
    [
        ("plain", [b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"], 200, b"ok", 1),
        ("no reason", [b"HTTP/1.1 500\r\ncontent-length:2\r\n\r\nok"], 500, b"ok", 1),
        ("in pieces", [b"HTTP/1.1 200 O", b"K\r\nContent-Length: 2\r\n\r", b"\no", b"k"], 200, b"ok", 1),
        ("chunked", [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"], 200, b"ok", 1),
        ("no body", [b"HTTP/1.1 204 No\r\n\r\n"], 204, b"", 1),
        ("hints first", [b"HTTP/1.1 103 E\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"], 200, b"", 1),
        ("bytes in a head", [b"HTTP/1.1 200 OK\r\nX: \xff\r\nContent-Length: 2\r\n\r\nok"], 200, b"ok", 1),
        ("twice the length", [b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok"], 200, b"ok", 1),
        ("a farewell", [b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"], 200, b"ok", 2),
        ("old", [b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok"], 200, b"ok", 2),
        ("one byte too many", [b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok!"], 200, b"ok", 2),
        ("another answer", [b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nHTTP/1.1 500 No\r\n\r\n"], 200, b"", 2),
    ],
)
async def test_answers_are_read_in_every_form_and_only_clean_connections_rest(
    _case: str, pieces: list[bytes], status: int, body: bytes, connections: int
) -> None:
    async def handler(visit: Visit) -> None:
        for _ in range(2):
            await answer_in(visit, *pieces)

    async with serving(handler) as server, outgoing() as caller:
        for _ in range(2):
            answer = await call(caller, f"http://127.0.0.1:{server.port}/n")
            assert (answer.status, answer.body, answer.cut) == (status, body, False)
            await asyncio.sleep(0.1)
        assert server.connections == connections


# --- servers that misbehave -------------------------------------------------------------------------------------------


async def drip_head(visit: Visit) -> None:
    await visit.request()
    await visit.send(b"HTTP/1.1 200 OK\r\n")
    while True:
        await visit.send(b"X-Drip: 1\r\n")
        await asyncio.sleep(0.05)


async def drip_body(visit: Visit) -> None:
    await visit.request()
    await visit.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    while True:
        await visit.send(b".")
        await asyncio.sleep(0.05)


async def drip_informational(visit: Visit) -> None:
    await visit.request()
    while True:
        await visit.send(b"HTTP/1.1 103 Early Hints\r\n\r\n")
        await asyncio.sleep(0.05)


async def never_reads(visit: Visit) -> None:
    await asyncio.sleep(3600)


async def hangs_up(visit: Visit) -> None:
    await visit.request()


async def resets(visit: Visit) -> None:
    await visit.request()
    made = visit.writer.get_extra_info("socket")
    made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")


async def babbles(visit: Visit) -> None:
    await visit.request()
    await visit.send(b"220 mail.example ESMTP\r\n\r\n")
    await asyncio.sleep(3600)


async def endless_head(visit: Visit) -> None:
    await visit.request()
    await visit.send(b"HTTP/1.1 200 OK\r\n")
    while True:
        await visit.send(b"X: " + b"y" * 10_000 + b"\r\n")


async def short_body(visit: Visit) -> None:
    await visit.request()
    await visit.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")


async def two_lengths(visit: Visit) -> None:
    await visit.request()
    await visit.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab")


@pytest.mark.parametrize(
    ("handler", "body", "reason"),
    [
        (silent, b"{}", "timeout"),
        (drip_head, b"{}", "timeout"),
        (drip_body, b"{}", "timeout"),
        (drip_informational, b"{}", "timeout"),
        (never_reads, b"x" * 20_000_000, "timeout"),
        (hangs_up, b"{}", "closed without an answer"),
        (resets, b"{}", "connection reset"),
        (babbles, b"{}", "the answer is not HTTP/1.1"),
        (endless_head, b"{}", "the answer is not HTTP/1.1"),
        (short_body, b"{}", "the answer is not HTTP/1.1"),
        (two_lengths, b"{}", "the answer is not HTTP/1.1"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
async def test_a_server_that_misbehaves_is_unreachable_and_the_next_call_is_well(handler, body, reason) -> None:
    seconds = 0.6 if reason == "timeout" else 60
    async with serving(handler) as server, serving(polite) as good, outgoing(timeout_seconds=seconds) as caller:
        with pytest.raises(Unreachable) as refusal:
            await call(caller, f"http://127.0.0.1:{server.port}/n", body)
        assert refusal.value.facts["reason"] == reason
        caller._timeout_seconds = 60  # a slow machine may take its time for what must succeed
        assert (await call(caller, f"http://127.0.0.1:{good.port}/n")).status == 200


async def test_nobody_listening_is_connection_refused() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # bound, but not listening: nobody else gets this port meanwhile
        async with outgoing() as caller:
            with pytest.raises(Unreachable) as refusal:
                await call(caller, f"http://127.0.0.1:{bound.getsockname()[1]}/n")
    assert refusal.value.facts["reason"] == "connection refused"


async def test_a_long_answer_is_cut_and_its_connection_is_not_used_again() -> None:
    async def long(visit: Visit) -> None:
        while True:
            await visit.request()
            await visit.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            for _ in range(2000):
                await visit.send(b"2710\r\n" + b"x" * 10_000 + b"\r\n")
            await visit.send(b"0\r\n\r\n")

    async with serving(long) as server, outgoing(max_answer_bytes=30_000) as caller:
        for round_ in (1, 2):
            answer = await call(caller, f"http://127.0.0.1:{server.port}/n")
            assert (answer.status, answer.cut, answer.body) == (200, True, b"x" * 30_000)
            assert server.connections == round_


@pytest.mark.parametrize(("size", "cut"), [(99, False), (100, False), (101, True)])
async def test_the_limit_itself_still_fits(size: int, cut: bool) -> None:
    async def exact(visit: Visit) -> None:
        await visit.request()
        await visit.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (size, b"x" * size))

    async with serving(exact) as server, outgoing(max_answer_bytes=100) as caller:
        answer = await call(caller, f"http://127.0.0.1:{server.port}/n")
    assert (len(answer.body), answer.cut) == (min(size, 100), cut)


async def test_an_answer_that_comes_before_the_request_is_read_still_counts() -> None:
    async def impatient(visit: Visit) -> None:
        await visit.reader.readuntil(b"\r\n\r\n")
        await visit.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
        await asyncio.sleep(3600)

    async with serving(impatient) as server, outgoing() as caller:
        answer = await call(caller, f"http://127.0.0.1:{server.port}/n", b"x" * 5_000_000)
    assert answer.status == 413


async def test_a_crowd_of_timeouts_leaves_the_pool_fit_for_use(monkeypatch) -> None:
    monkeypatch.setattr(http, "_MAX_CALLS", 40)
    async with serving(silent) as server, serving(polite) as good, outgoing(timeout_seconds=0.5) as caller:
        calls = [call(caller, f"http://127.0.0.1:{server.port}/n") for _ in range(130)]
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        assert all(isinstance(outcome, Unreachable) for outcome in outcomes)
        caller._timeout_seconds = 60
        answers = await asyncio.gather(*[call(caller, f"http://127.0.0.1:{good.port}/n") for _ in range(130)])
        assert {answer.status for answer in answers} == {200}
        assert good.connections <= 40


# --- TLS --------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority_pem() -> tuple[bytes, bytes]:
    return crypto.new_authority("A merchant's own authority", datetime.now(UTC))


@pytest.fixture
def tls_for(authority_pem, tmp_path: Path) -> Callable[[str], ssl.SSLContext]:
    def make(name: str) -> ssl.SSLContext:
        """A server's context with a certificate for `name`."""
        authority = crypto.parse_certificate(authority_pem[0])
        key_pem, now = crypto.new_private_key_pem(), datetime.now(UTC)
        key = crypto.parse_private_key(key_pem)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(authority.subject)
            .public_key(key.public_key())
            .serial_number(crypto.new_serial())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(hours=1))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
            .sign(crypto.parse_private_key(authority_pem[1]), hashes.SHA256())
        )
        chain = tmp_path / f"{name}.pem"
        chain.write_bytes(key_pem + certificate.public_bytes(crypto.serialization.Encoding.PEM))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(chain)
        context.set_alpn_protocols(["h2", "http/1.1"])
        return context

    return make


@pytest.fixture
def authority_file(authority_pem, tmp_path: Path) -> Path:
    path = tmp_path / "authority.pem"
    path.write_bytes(authority_pem[0])
    return path


async def test_tls_names_and_checks_the_host_of_the_url_though_the_address_is_called(
    monkeypatch, tls_for, authority_file
) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", Names(["127.0.0.1"]))
    async with (
        serving(polite, tls=tls_for("shop.example")) as server,
        outgoing(extra_ca_file=authority_file) as caller,
    ):
        for _ in range(2):
            assert (await call(caller, f"https://shop.example:{server.port}/n")).status == 200
        assert server.names == ["shop.example"]
        assert server.connections == 1


@pytest.mark.parametrize(
    ("_case", "certified", "trusted", "words"),
    [
        ("another name", "other.example", True, "ostname mismatch"),
        ("an unknown authority", "shop.example", False, "unable to get local issuer certificate"),
    ],
)
async def test_a_certificate_that_does_not_hold_is_not_accepted(
    monkeypatch, tls_for, authority_file, _case, certified, trusted, words
) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", Names(["127.0.0.1"]))
    async with (
        serving(polite, tls=tls_for(certified)) as server,
        outgoing(extra_ca_file=authority_file if trusted else None) as caller,
    ):
        with pytest.raises(Unreachable) as refusal:
            await call(caller, f"https://shop.example:{server.port}/n")
        assert refusal.value.facts["reason"].startswith("TLS certificate not accepted")
        assert words in refusal.value.facts["reason"]
        assert server.requests == []


async def test_a_server_without_tls_fails_the_handshake(monkeypatch) -> None:
    async def plain(visit: Visit) -> None:
        await visit.send(b"HTTP/1.1 400 Plain\r\n\r\n")
        await asyncio.sleep(3600)

    monkeypatch.setattr(socket, "getaddrinfo", Names(["127.0.0.1"]))
    async with serving(plain) as server, outgoing() as caller:
        with pytest.raises(Unreachable) as refusal:
            await call(caller, f"https://shop.example:{server.port}/n")
    assert refusal.value.facts["reason"] == "TLS handshake failed"


async def test_a_handshake_that_never_ends_is_a_timeout() -> None:
    async with serving(never_reads) as server, outgoing(timeout_seconds=0.5) as caller:
        with pytest.raises(Unreachable) as refusal:
            await call(caller, f"https://127.0.0.1:{server.port}/n")
    assert refusal.value.facts["reason"] == "timeout"
