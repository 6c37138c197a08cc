"""Connections of pages: nobody holds one for ever, nothing grows without measure, and a stream stays open."""

import asyncio
import resource
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_network
from typing import Any

import pytest
import structlog

from dewpond import app
from dewpond.app import create_page_server
from dewpond.web.connections import CONNECTIONS, Limits, Lobby

GET = b"GET / HTTP/1.1\r\nHost: x\r\n"
POST = b"POST / HTTP/1.1\r\nHost: x\r\n"
#: Waits that are tried are short; all others are longer than any test.
SHORT, LONG = 0.05, 600.0


def limits(**given: Any) -> Limits:
    seconds = {"head_seconds": LONG, "body_seconds": LONG, "unread_seconds": LONG, "refusal_seconds": SHORT}
    return Limits(**(seconds | given))


class Site:
    """An application that knows an answer, an echo, a stream and something large; says when it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.headers: list[list[tuple[bytes, bytes]]] = []
        self.told = asyncio.Event()
        self.gone = asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.asked.append(scope["path"])
        self.headers.append(scope["headers"])
        body, more = b"", scope["path"] != "/early"
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                self.gone.set()
                return
            body += message["body"]
            more = message["more_body"]
        match scope["path"]:
            case "/stream":
                await send({"type": "http.response.start", "status": 200, "headers": []})
                await send({"type": "http.response.body", "body": b"first", "more_body": True})
                await self.told.wait()
                body = b"last"
            case "/large":
                body = b"x" * (32 << 20)
                await send(_start(len(body)))
                await send({"type": "http.response.body", "body": body[:-1], "more_body": True})
                body = body[-1:]
            case _:
                await send(_start(len(body)))
        await send({"type": "http.response.body", "body": body})
        if scope["path"] == "/large":
            self.gone.set()


def _start(length: int) -> dict[str, Any]:
    return {"type": "http.response.start", "status": 200, "headers": [(b"content-length", str(length).encode())]}


class Door:
    """A page's door that is open."""

    def __init__(self, site: Site, port: int, lobby: Lobby) -> None:
        self.site = site
        self.port = port
        self.lobby = lobby

    @asynccontextmanager
    async def connected(self, raw: bytes = b"") -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(raw)
            yield reader, writer
        finally:
            writer.close()

    async def said(self, raw: bytes) -> bytes:
        """Everything that comes back before the door hangs up."""
        async with self.connected(raw) as (reader, _):
            return await to_the_end(reader)


async def to_the_end(reader: asyncio.StreamReader) -> bytes:
    heard = b""
    try:
        async with asyncio.timeout(60):
            while piece := await reader.read(1 << 16):
                heard += piece
    except ConnectionResetError:
        pass
    return heard


@asynccontextmanager
async def open_door(lobby: Lobby) -> AsyncIterator[Door]:
    listening = socket.create_server(("127.0.0.1", 0))
    site: Any = Site()
    server = create_page_server(site, lobby=lobby)
    running = asyncio.create_task(server.serve([listening]))
    try:
        yield Door(site, listening.getsockname()[1], lobby)
    finally:
        site.told.set()
        server.stop()
        server.stop()
        await asyncio.wait_for(running, 20)


# --- time -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("_case", "raw"),
    [
        ("nothing at all", b""),
        ("half a request line", b"GET / HT"),
        ("half a head", GET + b"X: "),
        ("only empty lines", b"\r\n"),
    ],
)
async def test_a_head_that_does_not_come_ends_the_connection(_case: str, raw: bytes) -> None:
    async with open_door(Lobby(limits(head_seconds=SHORT))) as door:
        assert await door.said(raw) == b""
        assert door.site.asked == []


async def test_a_later_head_has_its_own_time_from_its_first_byte() -> None:
    async with open_door(Lobby(limits(head_seconds=SHORT))) as door, door.connected(GET + b"\r\n") as (reader, writer):
        assert b"200 OK" in await reader.readuntil(b"\r\n\r\n")
        await asyncio.sleep(4 * SHORT)  # idle between two requests is something else
        writer.write(GET + b"\r\n")
        assert b"200 OK" in await reader.readuntil(b"\r\n\r\n")
        writer.write(b"\r\nGET / HT")
        assert await to_the_end(reader) == b""


async def test_a_body_that_stalls_ends_the_connection_and_its_reader_is_told() -> None:
    async with open_door(Lobby(limits(body_seconds=SHORT))) as door:
        assert await door.said(POST + b"Content-Length: 50\r\n\r\nper") == b""
        await asyncio.wait_for(door.site.gone.wait(), 20)


async def test_a_body_that_nobody_waits_for_does_not_hold_a_connection() -> None:
    raw = b"POST /early HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\nper"
    async with open_door(Lobby(limits(body_seconds=SHORT))) as door:
        assert b"200 OK" in await door.said(raw)


@pytest.mark.parametrize("behind", [b"", b"GET / HT"], ids=["alone", "half a request behind it"])
async def test_a_stream_outlives_every_clock(behind: bytes) -> None:
    patience = limits(head_seconds=SHORT, body_seconds=SHORT, unread_seconds=SHORT)
    raw = b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n"
    async with open_door(Lobby(patience)) as door, door.connected(raw) as (reader, writer):
        await reader.readuntil(b"first")
        writer.write(behind)
        await asyncio.sleep(6 * SHORT)
        door.site.told.set()
        assert b"last" in await asyncio.wait_for(reader.readuntil(b"0\r\n\r\n"), 20)


async def test_an_answer_that_nobody_reads_does_not_hold_a_connection() -> None:
    async with open_door(Lobby(limits(unread_seconds=SHORT))) as door:
        deaf = socket.create_connection(("127.0.0.1", door.port))
        deaf.sendall(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
        await asyncio.wait_for(door.site.gone.wait(), 20)
        deaf.close()


# --- measure ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("_case", "raw", "status"),
    [
        ("one header too long", GET + b"X: " + b"a" * 40_000 + b"\r\n\r\n", b"431"),
        ("a header without an end", GET + b"X: " + b"a" * 5_000_000, b"431"),
        ("headers too many", GET + b"X: a\r\n" * 100 + b"\r\n", b"431"),
        ("headers without an end", GET + b"X: a\r\n" * 100_000, b"431"),
        ("a target too long", b"GET /" + b"a" * 40_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", b"431"),
        ("rubbish", b"RUBBISH\r\n\r\n", b"400"),
        ("rubbish in a body", POST + b"Transfer-Encoding: chunked\r\n\r\nxx\r\n", b"400"),
        ("a line to somewhere else", b"CONNECT x:443 HTTP/1.1\r\nHost: x\r\n\r\n", b"400"),
    ],
)
async def test_what_is_out_of_measure_is_refused_and_the_connection_ends(_case: str, raw: bytes, status: bytes) -> None:
    async with open_door(Lobby(limits())) as door:
        heard = await door.said(raw)
        assert heard.startswith(b"HTTP/1.1 " + status)
        assert heard.count(b"HTTP/1.1") == 1
        assert len(door.site.asked) == (_case == "rubbish in a body")


async def test_as_much_as_a_browser_says_is_taken() -> None:
    raw = GET + b"".join(b"X-%d: %s\r\n" % (n, b"a" * 300) for n in range(98)) + b"Connection: close\r\n\r\n"
    async with open_door(Lobby(limits())) as door:
        assert b"200 OK" in await door.said(raw)
        assert len(door.site.headers[0]) == 100


async def test_a_head_counts_for_its_own_request_only() -> None:
    raw = (GET + b"X: " + b"a" * 20_000 + b"\r\n\r\n") * 5 + GET + b"Connection: close\r\n\r\n"
    async with open_door(Lobby(limits())) as door:
        assert (await door.said(raw)).count(b"200 OK") == 6


async def test_an_answer_on_its_way_goes_out_before_what_follows_is_refused() -> None:
    async with open_door(Lobby(limits())) as door:
        raw = b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n"
        async with door.connected(raw) as (reader, writer):
            await reader.readuntil(b"first")
            writer.write(b"RUBBISH\r\n\r\n")
            await asyncio.sleep(2 * SHORT)
            door.site.told.set()
            assert (await to_the_end(reader)).endswith(b"last\r\n0\r\n\r\n")


async def test_requests_do_not_queue_up_without_end() -> None:
    async with open_door(Lobby(limits())) as door:
        async with door.connected(b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n") as (reader, writer):
            await reader.readuntil(b"first")
            writer.write((GET + b"\r\n") * 5_000)
            door.site.told.set()
            heard = await to_the_end(reader)
        assert 1 <= heard.count(b"200 OK") <= 40


async def test_who_offers_another_protocol_goes_on_in_this_one_and_nobody_hears_of_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    offer = GET + b"Connection: upgrade\r\nUpgrade: websocket\r\n\r\n"
    async with open_door(Lobby(limits())) as door:
        assert (await door.said(offer + GET + b"Connection: close\r\n\r\n")).count(b"200 OK") == 2
        assert (await door.said(b"RUBBISH\r\n\r\n")).startswith(b"HTTP/1.1 400")
    assert [record for record in caplog.records if record.levelname != "INFO"] == []


# --- room -------------------------------------------------------------------------------------------------------------


async def test_a_full_door_turns_the_newest_away_and_has_room_again_when_somebody_leaves() -> None:
    with structlog.testing.capture_logs() as told:
        async with (
            open_door(Lobby(limits(connections=2))) as door,
            door.connected() as (_, first),
            door.connected(GET + b"\r\n") as (reader, _),
        ):
            await reader.readuntil(b"\r\n\r\n")
            for _ in range(3):
                assert await door.said(GET + b"\r\n") == b""
            first.close()
            while b"200 OK" not in await door.said(GET + b"Connection: close\r\n\r\n"):
                await asyncio.sleep(SHORT)
    assert [line["why"] for line in told if line["event"] == "web.connections_refused"] == ["the door is full"]


async def test_one_address_has_not_the_whole_door() -> None:
    async with (
        open_door(Lobby(limits(connections_of_block=1), own=())) as door,
        door.connected(GET + b"\r\n") as (reader, _),
    ):
        await reader.readuntil(b"\r\n\r\n")
        assert await door.said(GET + b"\r\n") == b""


def test_who_speaks_for_many_is_counted_with_everybody_only() -> None:
    lobby = Lobby(Limits(connections=4, connections_of_block=1), (ip_network("192.0.2.0/24"),))
    assert lobby.enter("192.0.2.1", 0) == lobby.enter("::ffff:192.0.2.1", 0) == lobby.enter("127.0.0.1", 0) == ""
    assert lobby.enter("203.0.113.1", 0) == "203.0.113.1"
    assert lobby.enter("192.0.2.1", 0) is None


def test_one_household_is_one_address() -> None:
    lobby = Lobby(Limits(connections_of_block=1))
    block = lobby.enter("2001:db8::1", 0)
    assert block
    assert lobby.enter("2001:db8::2", 0) is None
    assert lobby.enter("2001:db8:0:1::1", 0)
    lobby.leave(block)
    assert lobby.enter("2001:db8::2", 0)


def test_who_is_turned_away_is_told_of_once_a_minute() -> None:
    lobby = Lobby(Limits(connections=0))
    with structlog.testing.capture_logs() as told:
        for second in range(130):
            lobby.enter("203.0.113.1", second)
    assert [line["since_last_told"] for line in told] == [1, 60, 60]


@pytest.mark.parametrize(
    ("_case", "allowed", "doors", "connections"),
    [
        ("room for all", 100_000, 2, CONNECTIONS),
        ("no limit at all", resource.RLIM_INFINITY, 2, CONNECTIONS),
        ("little room, which doors share", 4_512, 2, 1_000),
        ("hardly any", 1_024, 3, 256),
    ],
)
def test_doors_share_the_files_that_the_wire_leaves(
    monkeypatch: pytest.MonkeyPatch, _case: str, allowed: int, doors: int, connections: int
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _what: (allowed, allowed))
    assert app._page_limits(doors).connections == connections
