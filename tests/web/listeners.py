"""Listeners: a console's event stream, read over HTTP as live.js reads it."""

import asyncio
import json
import re
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID


@dataclass
class Message:
    """One event of a stream."""

    position: int
    told: dict[str, Any]

    @property
    def payments(self) -> set[UUID]:
        """The payments whose rows it brings."""
        pieces = [piece["html"] for name, piece in self.told.get("html", {}).items() if name.startswith("#payment")]
        return {UUID(found) for html in pieces for found in re.findall(r'id="payment-([0-9a-f-]{36})"', html)}

    @property
    def people(self) -> set[str]:
        """The people whose rows it brings, by their open ids."""
        rows = self.told.get("html", {}).get("#drops", {}).get("html", "")
        return set(re.findall(r'id="drop-(o[\w-]{27})"', rows))


@dataclass
class Listener:
    """One line that is open, and everything it was told."""

    messages: list[Message] = field(default_factory=list)
    status: int = 0
    has_ended: bool = False
    #: Anything arrived: a message, or a sign of life.
    heard: int = 0

    @property
    def position(self) -> int:
        return self.messages[-1].position

    @property
    def payments(self) -> set[UUID]:
        return {payment for message in self.messages for payment in message.payments}

    @property
    def text(self) -> str:
        return json.dumps([message.told for message in self.messages], ensure_ascii=False)

    async def until(self, holds: Callable[["Listener"], Any], *, seconds: float = 20) -> None:
        """Wait until something holds of it."""
        async with asyncio.timeout(seconds):
            while not holds(self):
                await asyncio.sleep(0.02)

    def take(self, block: str) -> None:
        """Read one block of lines."""
        self.heard += 1
        fields = dict(line.split(": ", 1) for line in block.split("\n") if ": " in line and not line.startswith(":"))
        if "data" in fields:
            position = int(fields["id"]) if "id" in fields else self.position  # without one it stays where it was
            self.messages.append(Message(position, json.loads(fields["data"])))


@asynccontextmanager
async def listening(client: Any, path: str, *, last: int | None = None) -> AsyncIterator[Listener]:
    """Open a line and read along until the block ends; `last` is the position a browser brings back."""
    listener = Listener()
    headers = {"accept": "text/event-stream"} | ({} if last is None else {"last-event-id": str(last)})

    async def read() -> None:
        async with client.stream("GET", path, headers=headers, timeout=60) as answer:
            listener.status = answer.status_code
            rest = ""
            async for text in answer.aiter_text():
                *blocks, rest = (rest + text).split("\n\n")
                for block in blocks:
                    listener.take(block)
        listener.has_ended = True

    reading = asyncio.create_task(read())
    try:
        await listener.until(lambda one: one.status and (one.messages or one.has_ended or one.status != 200))
        yield listener
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)


async def there_is_room(client: Any, path: str, *, lines: int = 1) -> None:
    """Wait until that many lines can be open at once: a server hears in its own time that one has gone."""
    async with asyncio.timeout(60):
        while True:
            async with AsyncExitStack() as stack:
                opened = [await stack.enter_async_context(listening(client, path)) for _ in range(lines)]
                if all(line.status == 200 and not line.has_ended for line in opened):
                    return


async def open_and_never_read(client: Any, path: str) -> socket.socket:
    """A line whose other end takes as little as it can."""
    origin, token = urlsplit(str(client.base_url)), client.cookies.get("dewpond-staff")
    deaf = socket.socket()
    deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    deaf.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(deaf, ("127.0.0.1", origin.port or 0))
    lines = (f"GET {path} HTTP/1.1", f"host: {origin.netloc}", f"cookie: dewpond-staff={token}")
    await loop.sock_sendall(deaf, "\r\n".join((*lines, "", "")).encode())
    assert b"200 OK" in await loop.sock_recv(deaf, 200)
    return deaf
