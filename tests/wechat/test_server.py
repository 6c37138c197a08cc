"""The server: bad days, many requests on one connection, and processes that come and go."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import structlog

from dewpond.app import create_server
from dewpond.kit.batch import Batch
from dewpond.kit.db import Database
from dewpond.kit.failures import Failure, Kind, OutcomeUnknown

from .conftest import NATIVE, Client, read_answer, serving, unique


class Sneezed(Failure):
    """Nobody has a word for this."""

    code, kind = "sneezed", Kind.FORBIDDEN


def _openings(outcome: Any, **options: Any) -> Batch[Any, Any]:
    async def carry_out(items: Sequence[Any]) -> Sequence[Any]:
        if isinstance(outcome, Failure):
            return [outcome for _ in items]
        raise outcome

    return Batch(carry_out, **options)


BAD_DAYS: list[tuple[str, dict[str, Any], tuple[int, str]]] = [
    ("too much waits already", {"outcome": Failure(), "waiting": 0}, (503, "SERVICE_UNAVAILABLE")),
    ("the outcome is not known", {"outcome": OutcomeUnknown()}, (500, "SYSTEM_ERROR")),
    ("a fault of ours", {"outcome": RuntimeError("hush-hush")}, (500, "SYSTEM_ERROR")),
    ("a refusal nobody has a word for", {"outcome": Sneezed()}, (403, "NO_AUTH")),
]


@pytest.mark.parametrize(("_case", "openings", "expected"), BAD_DAYS)
@pytest.mark.parametrize("language", ["en", "zh-CN"])
async def test_a_bad_day_is_an_answer_in_the_wires_words(
    _case: str, openings: dict[str, Any], expected: tuple[int, str], language: str, client: Client
) -> None:
    with structlog.testing.capture_logs() as logs:
        async with serving(replace(client.house, openings=_openings(**openings))) as port:
            other = replace(client, port=port)
            heard = await other.ask("POST", NATIVE, other.order(), headers={"Accept-Language": language})
    assert (heard.status, heard.code) == expected
    assert heard.json["message"].isascii() == (language == "en")
    assert heard.header("Wechatpay-Signature") is None
    assert b"hush-hush" not in heard.body
    assert b"Traceback" not in heard.body
    faults = [each for each in logs if each["event"] == "wechat.fault"]
    assert [each["request_id"] for each in faults] == (
        [heard.header("Request-ID")] if isinstance(openings["outcome"], RuntimeError) else []
    )


async def test_without_a_database_every_call_is_answered_and_none_waits(client: Client, dsn: str) -> None:
    gone = await Database.open(dsn, size=1, name="gone")
    await gone.close()
    async with serving(replace(client.house, db=gone)) as port:
        other = replace(client, port=port)
        for heard in (await other.prepay(), await other.query(unique()), await other.ask("GET", "/v3/certificates")):
            assert (heard.status, heard.code) == (500, "SYSTEM_ERROR")
            assert heard.header("Request-ID")
        assert (await other.ask("GET", "/nowhere")).status == 404


# --- connections ------------------------------------------------------------------------------------------------------


def _raw(client: Client, method: str, target: str, content: bytes = b"") -> bytes:
    return (
        f"{method} {target} HTTP/1.1\r\nHost: x\r\nAccept: */*\r\nUser-Agent: tests\r\n"
        f"Content-Length: {len(content)}\r\n"
        f"Authorization: {client.authorization(method, target, content)}\r\n\r\n"
    ).encode() + content


async def test_one_connection_carries_many_requests_also_after_a_204_and_a_refusal(client: Client) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", client.port)
    closing = f"/v3/pay/transactions/out-trade-no/{unique()}/close"
    requests = [
        (_raw(client, "POST", NATIVE, json.dumps(client.order()).encode()), 200),
        (_raw(client, "POST", closing, json.dumps({"mchid": client.mchid}).encode()), 204),
        (_raw(client, "POST", NATIVE, b"rubbish"), 400),
        (_raw(client, "GET", "/nowhere"), 404),
        (_raw(client, "DELETE", NATIVE), 405),
        (_raw(client, "GET", "/v3/certificates"), 200),
    ]
    for raw, status in requests:
        writer.write(raw)
        assert (await read_answer(reader)).status == status
    writer.write(b"".join(raw for raw, _ in requests))  # and all at once
    assert [(await read_answer(reader)).status for _ in requests] == [status for _, status in requests]
    writer.close()


async def test_a_body_may_come_in_pieces(client: Client) -> None:
    raw = _raw(client, "POST", NATIVE, json.dumps(client.order()).encode())
    reader, writer = await asyncio.open_connection("127.0.0.1", client.port)
    for start in range(0, len(raw), 97):
        writer.write(raw[start : start + 97])
        await writer.drain()
        await asyncio.sleep(0.001)
    assert (await read_answer(reader)).status == 200
    writer.close()


async def test_a_chunked_body_is_read(client: Client) -> None:
    body = json.dumps(client.order()).encode()
    head = _raw(client, "POST", NATIVE, body).removesuffix(body)
    head = head.replace(f"Content-Length: {len(body)}".encode(), b"Transfer-Encoding: chunked")
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:50], body[50:]))
    reader, writer = await asyncio.open_connection("127.0.0.1", client.port)
    writer.write(head + chunks + b"0\r\n\r\n")
    assert (await read_answer(reader)).status == 200
    writer.close()


async def test_a_client_that_leaves_in_the_middle_disturbs_nobody(client: Client) -> None:
    raw = _raw(client, "POST", NATIVE, json.dumps(client.order()).encode())
    with structlog.testing.capture_logs() as logs:
        for cut in (10, len(raw) - 20, len(raw)):
            _, writer = await asyncio.open_connection("127.0.0.1", client.port)
            writer.write(raw[:cut])
            await writer.drain()
            writer.close()
        assert (await client.prepay()).status == 200
    assert logs == []


async def test_a_stopped_server_finishes_what_is_in_flight(client: Client) -> None:
    go = asyncio.Event()
    given = client.house.openings

    async def slowly(items: Sequence[Any]) -> Sequence[Any]:
        await go.wait()
        return [await given.submit(item) for item in items]

    listening = socket.create_server(("127.0.0.1", 0))
    server = create_server(replace(client.house, openings=Batch(slowly)))
    running = asyncio.create_task(server.serve([listening]))
    other = replace(client, port=listening.getsockname()[1])
    asked = asyncio.create_task(other.prepay())
    while not server.server_state.tasks:
        await asyncio.sleep(0.01)
    server.stop()
    await asyncio.sleep(0.3)
    assert not running.done()
    go.set()
    assert (await asked).status == 200
    await asyncio.wait_for(running, 120)
    with pytest.raises(ConnectionRefusedError):
        await other.prepay()


# --- processes --------------------------------------------------------------------------------------------------------


@contextmanager
def _processes(count: int, client: Client, dsn: str, owner_dsn: str) -> Any:
    listening = socket.create_server(("127.0.0.1", 0), backlog=128)
    environ = {
        **os.environ,
        "DEWPOND_HOME": str(client.house.settings.home),
        "DEWPOND_DATABASE_URL": dsn,
        "DEWPOND_OWNER_DATABASE_URL": owner_dsn,
        "DEWPOND_LISTEN_FD": str(listening.fileno()),
    }
    command = [sys.executable, "-m", "dewpond.app"]
    processes = [
        subprocess.Popen(command, env=environ, pass_fds=[listening.fileno()], stderr=subprocess.PIPE)
        for _ in range(count)
    ]
    try:
        yield listening.getsockname()[1], processes
    finally:
        listening.close()
        for process in processes:
            process.kill()
            process.communicate()


@pytest.mark.journey
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_processes_share_one_socket_and_end_quietly(
    number: signal.Signals, client: Client, dsn: str, owner_dsn: str
) -> None:
    with _processes(2, client, dsn, owner_dsn) as (port, processes):
        other = replace(client, port=port)
        assert {(await other.prepay()).status for _ in range(20)} == {200}
        processes[0].send_signal(number)
        said = await asyncio.to_thread(processes[0].communicate, timeout=120)
        assert (processes[0].returncode, said[1]) == (0, b"")
        assert {(await other.prepay()).status for _ in range(20)} == {200}
        processes[1].send_signal(number)
        said = await asyncio.to_thread(processes[1].communicate, timeout=120)
        assert (processes[1].returncode, said[1]) == (0, b"")


@pytest.mark.journey
async def test_a_process_without_a_socket_says_so(client: Client, dsn: str, owner_dsn: str) -> None:
    environ = {
        **os.environ,
        "DEWPOND_HOME": str(client.house.settings.home),
        "DEWPOND_DATABASE_URL": dsn,
        "DEWPOND_OWNER_DATABASE_URL": owner_dsn,
    }
    ended = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "dewpond.app"],
        env=environ,
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode != 0
    assert b"DEWPOND_LISTEN_FD" in ended.stderr
