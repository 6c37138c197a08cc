"""A server just large enough to try the modules of our pages apart from the sites, under the same headers."""

import asyncio
import mimetypes
import queue
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

import dewpond

STATIC = Path(dewpond.__file__).parent / "web" / "static"
MARK = "0123456789ab"

#: As pages are served; the scanner's page may compile WebAssembly besides.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "font-src 'self'; media-src 'self' blob:; manifest-src 'self'; worker-src 'self'; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'"
)
SCANNER_POLICY = POLICY.replace("script-src 'self'", "script-src 'self' 'wasm-unsafe-eval'")


@dataclass(frozen=True)
class Asked:
    """A request that came."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: str

    @property
    def form(self) -> dict[str, str]:
        return {name: values[-1] for name, values in parse_qs(self.body, keep_blank_values=True).items()}


@dataclass(frozen=True)
class Answer:
    """What goes back."""

    body: bytes | str = b""
    status: int = 200
    kind: str = "text/html; charset=utf-8"
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Stream:
    """An open event stream, told by the test what to say."""

    asked: Asked
    told: "queue.Queue[str | None]" = field(default_factory=queue.Queue)

    def send(self, text: str) -> None:
        self.told.put(text)

    def end(self) -> None:
        self.told.put(None)


class SmallServer:
    """Pages by path, answers by (method, path), event streams; remembers what was asked."""

    def __init__(self) -> None:
        self.pages: dict[str, str] = {}
        self.answers: dict[tuple[str, str], Callable[[Asked], Answer]] = {}
        self.asked: list[Asked] = []
        #: Streams in the order they were opened; a status other than 200 refuses the next ones.
        self.streams: list[Stream] = []
        self.stream_status = 200
        self.policy = POLICY
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.serve(self)

            do_POST = do_GET

            def log_message(self, format: str, *args: Any) -> None:
                """Quietly."""

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self._http.block_on_close = False
        self._thread = Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()
        self.url = f"http://localhost:{self._http.server_port}"

    def stop(self) -> None:
        """Be gone, as a server without network is."""
        for stream in self.streams:
            stream.end()
        if self._thread.is_alive():
            self._http.shutdown()
            self._thread.join()
            self._http.server_close()

    def page(self, path: str, body: str, *modules: str, html: str = "", head: str = "") -> None:
        """Serve a whole page around `body` that loads those modules of ours."""
        scripts = "".join(f'<script type="module" src="/static/{MARK}/{name}"></script>' for name in modules)
        title = f"<title>{path}</title><link rel=icon href='data:,'>"
        self.pages[path] = (
            f'<!doctype html><html lang="en" {html}><head><meta charset="utf-8">{title}{head}{scripts}</head>'
            f"<body><main><h1>{path}</h1>{body}</main></body></html>"
        )

    def posts(self, path: str) -> list[Asked]:
        return [asked for asked in self.asked if (asked.method, asked.path) == ("POST", path)]

    def serve(self, handler: BaseHTTPRequestHandler) -> None:
        parts = urlsplit(handler.path)
        body = handler.rfile.read(int(handler.headers.get("content-length") or 0)).decode()
        query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        headers = {name.lower(): value for name, value in handler.headers.items()}
        asked = Asked(handler.command, parts.path, query, headers, body)
        self.asked.append(asked)
        if headers.get("accept") == "text/event-stream":
            self._stream(handler, asked)
        else:
            self._answer(handler, self._find(asked))

    def _find(self, asked: Asked) -> Answer:
        known = self.answers.get((asked.method, asked.path))
        if known:
            return known(asked)
        if asked.path in self.pages:
            return Answer(self.pages[asked.path])
        name = "sw.js" if asked.path == "/sw.js" else asked.path.removeprefix(f"/static/{MARK}/")
        file = STATIC / name
        if name != asked.path and file.is_file():
            return Answer(file.read_bytes(), kind=mimetypes.guess_type(name)[0] or "application/octet-stream")
        return Answer("not here", status=404)

    def _answer(self, handler: BaseHTTPRequestHandler, answer: Answer) -> None:
        body = answer.body.encode() if isinstance(answer.body, str) else answer.body
        headers = {"content-type": answer.kind, "content-security-policy": self.policy, "cache-control": "no-store"}
        handler.send_response(answer.status)
        for name, value in {**headers, **answer.headers, "content-length": str(len(body))}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body)

    def _stream(self, handler: BaseHTTPRequestHandler, asked: Asked) -> None:
        if self.stream_status != 200:
            self._answer(handler, Answer("", status=self.stream_status))
            return
        stream = Stream(asked)
        handler.send_response(200)
        handler.send_header("content-type", "text/event-stream")
        handler.end_headers()
        handler.wfile.flush()
        self.streams.append(stream)
        try:
            while (text := stream.told.get()) is not None:
                handler.wfile.write(text.encode())
                handler.wfile.flush()
        except OSError:
            return  # the page has gone


@contextmanager
def small_server() -> Iterator[SmallServer]:
    """A server for one test."""
    server = SmallServer()
    try:
        yield server
    finally:
        server.stop()


async def until(what: str, true: Callable[[], Any], seconds: float = 15) -> Any:
    """Wait for something that a page does; says what was waited for when it does not come."""
    deadline = time.monotonic() + seconds
    while True:
        value = true()
        if value:
            return value
        assert time.monotonic() < deadline, f"waited {seconds} s in vain for: {what}"
        await asyncio.sleep(0.02)
