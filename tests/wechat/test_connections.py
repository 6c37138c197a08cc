"""Connections: what is HTTP and what is not, and that nobody can hold one for ever."""

import asyncio
import json
from typing import Any

import pytest
import structlog

from dewpond.wechat import connections, door

from .conftest import NATIVE, Client, exchange, read_answer

GET = b"GET /nowhere HTTP/1.1\r\nHost: x\r\n"
POST = b"POST /nowhere HTTP/1.1\r\nHost: x\r\n"


async def _until_closed(reader: asyncio.StreamReader) -> bytes:
    """Whatever else comes before the other side hangs up."""
    try:
        return await asyncio.wait_for(reader.read(), 120)
    except ConnectionResetError:
        return b""


def _signed(client: Client, *headers: str, content: bytes = b"{}") -> bytes:
    lines = [
        "Host: x",
        "Accept: */*",
        "User-Agent: tests",
        f"Authorization: {client.authorization('POST', NATIVE, content)}",
    ]
    return "\r\n".join([f"POST {NATIVE} HTTP/1.1", *lines, *headers, "", ""]).encode()


# --- what is HTTP -----------------------------------------------------------------------------------------------------

NOT_HTTP = [
    ("rubbish", b"RUBBISH\r\n\r\n"),
    ("two different lengths", POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!"),
    ("two equal lengths", POST + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello"),
    ("a list of lengths", POST + b"Content-Length: 5, 5\r\n\r\nhello"),
    ("a signed length", POST + b"Content-Length: +5\r\n\r\nhello"),
    ("length and chunks", POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("chunks and length", POST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n"),
    ("another encoding", POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
    ("almost chunked", POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"),
    ("chunked twice", POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("a chunk that ends with LF", POST + b"Transfer-Encoding: chunked\r\n\r\n1\nx\n0\n\n"),
    ("a folded header", GET + b"A: b\r\n c\r\n\r\n"),
    ("a blank before the colon", GET + b"A : b\r\n\r\n"),
    ("a blank before the first header", b"GET / HTTP/1.1\r\n Host: x\r\n\r\n"),
    ("bare line feeds", b"GET / HTTP/1.1\nHost: x\n\n"),
    ("one bare line feed", GET + b"A: b\nC: d\r\n\r\n"),
    ("a bare carriage return", GET + b"A: b\rC: d\r\n\r\n"),
    ("a NUL", GET + b"A: b\x00c\r\n\r\n"),
    ("a nameless header", GET + b": b\r\n\r\n"),
    ("no host", b"GET /nowhere HTTP/1.1\r\n\r\n"),
    ("two hosts", GET + b"Host: y\r\n\r\n"),
    ("another version", b"GET / HTTP/1.2\r\nHost: x\r\n\r\n"),
    ("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    ("a target beyond ASCII", b"GET /\xe8\xaf HTTP/1.1\r\nHost: x\r\n\r\n"),
    ("a head too long", GET + b"A: " + b"x" * connections.HEAD_LIMIT + b"\r\n\r\n"),
    ("a head that never ends", GET + b"A: " + b"x" * 64 * 1024),
    ("more headers than anybody needs", GET + b"A: b\r\n" * 4000 + b"\r\n"),
]


@pytest.mark.parametrize(("_case", "raw"), NOT_HTTP, ids=[case for case, _ in NOT_HTTP])
async def test_what_is_not_http_is_refused_once_and_the_connection_ends(_case: str, raw: bytes, client: Client) -> None:
    """Nothing behind it is looked at: it could be somebody else's request."""
    reader, writer = await asyncio.open_connection("127.0.0.1", client.port)
    with structlog.testing.capture_logs() as logs:
        writer.write(raw + GET + b"\r\n")
        heard = await read_answer(reader)
        assert (heard.status, heard.body) == (400, b"")
        assert heard.header("Connection") == "close"
        assert await _until_closed(reader) == b""
    assert logs == []
    writer.close()


async def test_what_is_not_http_takes_nothing_from_the_answers_before_it(client: Client) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", client.port)
    for _ in range(2):
        body = json.dumps(client.order()).encode()
        writer.write(_signed(client, f"Content-Length: {len(body)}", content=body) + body)
    writer.write(POST + b"Content-Length: 1, 1\r\n\r\nx" + GET + b"\r\n")
    assert [(await read_answer(reader)).status for _ in range(2)] == [200, 200]
    assert await _until_closed(reader) == b""
    writer.close()


GOOD = [
    ("empty lines before it", b"\r\n\r\n" + GET + b"\r\n"),
    ("who offers another protocol", GET + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\r\n"),
    ("trailers", POST + b"Transfer-Encoding: chunked\r\n\r\n1;a=b\r\nx\r\n0\r\nHost: y\r\n\r\n"),
    ("chunked in capitals", POST + b"Transfer-Encoding: Chunked\r\n\r\n0\r\n\r\n"),
    ("raw bars and stars", b"GET /a|b*?c=| HTTP/1.1\r\nHost: x\r\n\r\n"),
]


@pytest.mark.parametrize(("_case", "raw"), GOOD, ids=[case for case, _ in GOOD])
async def test_what_is_unusual_but_http_is_answered_and_the_connection_goes_on(
    _case: str, raw: bytes, client: Client
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", client.port)
    writer.write(raw * 2)
    for _ in range(2):
        assert (await read_answer(reader)).status == 404
    writer.close()


@pytest.mark.parametrize("raw", [GET + b"Connection: close\r\n\r\n", b"GET /nowhere HTTP/1.0\r\n\r\n"])
async def test_who_asks_to_close_is_closed_after_the_answer(raw: bytes, client: Client) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", client.port)
    writer.write(raw)
    heard = await read_answer(reader)
    assert (heard.status, heard.header("Connection")) == (404, "close")
    assert await _until_closed(reader) == b""
    writer.close()


async def test_a_client_that_waits_for_it_is_told_to_go_on(client: Client) -> None:
    body = json.dumps(client.order()).encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", client.port)
    writer.write(_signed(client, f"Content-Length: {len(body)}", "Expect: 100-continue", content=body))
    assert await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 120) == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.write(body)
    assert (await read_answer(reader)).status == 200
    writer.close()


# --- nobody holds a connection for ever -------------------------------------------------------------------------------

HALF = [("nothing", b""), ("half a head", GET), ("a head a byte at a time", None)]


@pytest.mark.parametrize(("_case", "raw"), HALF, ids=[case for case, _ in HALF])
@pytest.mark.parametrize("answered", [0, 1], ids=["at first", "after an answer"])
async def test_who_sends_no_whole_head_in_time_is_hung_up_on(
    _case: str, raw: bytes | None, answered: int, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, writer = await _answered(client, answered, monkeypatch)
    closed = asyncio.create_task(_until_closed(reader))
    writer.write(GET if raw is None else raw)
    while raw is None and not closed.done():
        writer.write(b"a")
        await asyncio.sleep(0.02)
    assert await closed == b""
    writer.close()


async def _answered(
    client: Client, answered: int, monkeypatch: pytest.MonkeyPatch
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection that was given so many answers, and little time for what comes next.

    A machine too slow for that little time gets more of it.
    """
    for seconds in (0.3, 1.2, 5, 20, 80):
        monkeypatch.setattr(connections, "HEAD_SECONDS", seconds)
        reader, writer = await asyncio.open_connection("127.0.0.1", client.port)
        try:
            for _ in range(answered):
                writer.write(GET + b"\r\n")
                assert (await read_answer(reader)).status == 404
        except (ConnectionError, asyncio.IncompleteReadError):
            writer.close()
        else:
            return reader, writer
    raise AssertionError("it hung up before every answer")


@pytest.mark.parametrize("part", [b"", b"{"], ids=["nothing of it", "a part of it"])
async def test_a_body_that_does_not_come_is_not_waited_for(
    part: bytes, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(door, "BODY_SECONDS", 0.3)
    heard = await asyncio.wait_for(exchange(client.port, _signed(client, "Content-Length: 2") + part), 120)
    assert (heard.status, heard.code) == (400, "PARAM_ERROR")


async def test_a_body_announced_too_long_is_refused_before_it_comes(client: Client) -> None:
    raw = _signed(client, f"Content-Length: {door.BODY_LIMIT + 1}")
    heard = await asyncio.wait_for(exchange(client.port, raw), 120)
    assert (heard.status, heard.code) == (400, "INVALID_REQUEST")


async def test_few_long_bodies_are_read_at_a_time(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "_LONG_BODIES", 1)
    monkeypatch.setattr(door, "BODY_SECONDS", 600)
    content = b" " * 200_000
    raw = _signed(client, f"Content-Length: {len(content)}", content=content)
    reader, writer = await asyncio.open_connection("127.0.0.1", client.port)
    writer.write(raw + content[:150_000])
    await writer.drain()
    async with asyncio.timeout(120):
        while (heard := await exchange(client.port, raw + content)).status != 503:
            await asyncio.sleep(0.01)
    assert heard.code == "SERVICE_UNAVAILABLE"
    writer.write(content[150_000:])
    assert (await read_answer(reader)).code == "PARAM_ERROR"
    assert (await exchange(client.port, raw + content)).code == "PARAM_ERROR"  # and there is room again
    writer.close()


async def test_beside_as_many_connections_as_there_is_room_for_others_hear_it_at_once(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "HEAD_SECONDS", 600)
    held: list[Any] = [await asyncio.open_connection("127.0.0.1", client.port) for _ in range(3)]
    for reader, writer in held:
        writer.write(GET + b"\r\n")
        assert (await read_answer(reader)).status == 404
    monkeypatch.setattr(connections, "CONNECTIONS", 3)
    reader, writer = await asyncio.open_connection("127.0.0.1", client.port)
    assert (await read_answer(reader)).status == 503
    assert await _until_closed(reader) == b""
    writer.close()
    for _, writer in held:
        writer.close()
    monkeypatch.undo()
    assert (await exchange(client.port, GET + b"\r\n")).status == 404


async def test_who_does_not_read_answers_is_hung_up_on(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "STALLED_SECONDS", 0.3)
    _, writer = await asyncio.open_connection("127.0.0.1", client.port, limit=1)

    async def ask() -> None:
        while True:
            writer.write((GET + b"\r\n") * 16)
            await writer.drain()
            await asyncio.sleep(0)

    with pytest.raises(ConnectionError):
        await asyncio.wait_for(ask(), 120)
    writer.close()
