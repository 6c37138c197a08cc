"""A real browser for tests: Debian's Chromium, driven over pipes, which never leaves this machine.

A test takes the fixture `chromium` and opens windows, each a visitor of its own:

    async def test_…(chromium: Chromium) -> None:
        async with chromium.new_phone(url) as phone, chromium.new_desk(url) as desk:
            await phone.page.goto("/")

A window that closes asserts that its pages wrote nothing to the console and asked nobody else for anything. What a test
provokes by intent (a refused form is an error to the console) it allows with `window.allow("status of 422")`.
`chromium.show(text)` holds a QR code before the camera. Tests of one module share a browser; the fixtures are found by
whoever imports them in a `conftest.py`.
"""

import asyncio
import re
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import segno
from playwright.async_api import (
    Browser,
    BrowserContext,
    CDPSession,
    ConsoleMessage,
    Page,
    Request,
    async_playwright,
    expect,
)

from machine import lacks

AXE = Path(__file__).parent / "vendor" / "axe.min.js"

_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",  # says yes when a page asks for the camera
]

#: How long a page may take for what it must do: a bound for what hangs, on a machine that may be slow and busy.
PATIENCE_MS = 60_000
#: No test needs a window for longer.
_LONGEST_SECONDS = 600
expect.set_options(timeout=PATIENCE_MS)


# --- what the camera sees ---------------------------------------------------------------------------------------------


def write_camera(path: Path, text: str = "", *, width: int = 640, height: int = 480) -> None:
    """Write a film of one picture (YUV4MPEG2): a QR code with that text in the middle, or an empty wall."""
    luma = bytearray(b"\xc0" * (width * height))
    if text:
        modules = [bytes(row) for row in segno.make(text, error="m", micro=False).matrix_iter(border=4)]
        scale = min(width, height) // len(modules)
        left, top = (width - scale * len(modules)) // 2, (height - scale * len(modules)) // 2
        for number, row in enumerate(modules):
            line = b"".join((b"\x10" if dark else b"\xeb") * scale for dark in row)
            for y in range(top + number * scale, top + (number + 1) * scale):
                luma[y * width + left : y * width + left + len(line)] = line
    grey = b"\x80" * (width * height // 4)
    picture = b"FRAME\n" + bytes(luma) + grey + grey
    # Chromium reads on in the file it opened: a new one takes its place, the old one is not written into.
    fresh = path.with_suffix(".fresh")
    fresh.write_bytes(b"YUV4MPEG2 W%d H%d F10:1 Ip A1:1 C420\n" % (width, height) + picture * 2)
    fresh.replace(path)


# --- windows ----------------------------------------------------------------------------------------------------------


@dataclass
class Authenticator:
    """A passkey holder of one page: it approves at once, as a finger on the sensor would."""

    session: CDPSession
    id: str

    async def credentials(self) -> list[dict[str, Any]]:
        """The passkeys it holds."""
        told = await self.session.send("WebAuthn.getCredentials", {"authenticatorId": self.id})
        found: list[dict[str, Any]] = told["credentials"]
        return found

    async def approve(self, yes: bool) -> None:
        """Whether the finger is recognised from now on."""
        await self.session.send("WebAuthn.setUserVerified", {"authenticatorId": self.id, "isUserVerified": yes})


@dataclass
class Window:
    """One visitor's browser: cookies, storage and service workers of its own."""

    context: BrowserContext
    page: Page
    #: What pages wrote to the console as error or warning, and what they threw.
    errors: list[str] = field(default_factory=list)
    #: What they asked of other machines.
    foreign: list[str] = field(default_factory=list)
    _allowed: list[str] = field(default_factory=list)

    def allow(self, pattern: str) -> None:
        """Do not mind console errors like this one: the test provokes them."""
        self._allowed.append(pattern)

    async def hold_passkeys(self) -> Authenticator:
        """Give the page an authenticator that can verify its holder and remember passkeys."""
        session = await self.context.new_cdp_session(self.page)
        await session.send("WebAuthn.enable")
        options = {"protocol": "ctap2", "transport": "internal", "hasResidentKey": True, "hasUserVerification": True}
        options |= {"isUserVerified": True, "automaticPresenceSimulation": True}
        told = await session.send("WebAuthn.addVirtualAuthenticator", {"options": options})
        return Authenticator(session, told["authenticatorId"])

    def watch(self) -> None:
        """Begin to write down what goes wrong."""
        self.context.on("console", self._hear)
        self.context.on("weberror", lambda error: self.errors.append(str(error.error)))
        self.context.on("request", self._see)

    def check(self) -> None:
        """Nothing went wrong, and nobody else was asked for anything."""
        unexpected = [error for error in self.errors if not any(re.search(one, error) for one in self._allowed)]
        assert unexpected == [], "the console is not quiet"
        assert self.foreign == [], "another machine was asked"

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.errors.append(f"{message.type}: {message.text} ({message.location.get('url', '')})")

    def _see(self, request: Request) -> None:
        parts = urlsplit(request.url)
        if parts.scheme not in {"data", "blob"} and not _is_here(parts.hostname or ""):
            self.foreign.append(request.url)


def _is_here(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


@dataclass
class Chromium:
    """The running browser."""

    browser: Browser
    camera: Path

    def show(self, text: str = "") -> None:
        """Hold a QR code before the camera; it is seen by whoever opens the camera from now on."""
        write_camera(self.camera, text)

    @asynccontextmanager
    async def new_phone(self, url: str, **options: Any) -> AsyncIterator[Window]:
        """A phone held upright, with a touch screen. Options are those of Playwright's `new_context`."""
        size = {"width": 390, "height": 844}
        upright = {"viewport": size, "screen": size, "device_scale_factor": 2, "is_mobile": True, "has_touch": True}
        async with self._window(url, **{**upright, **options}) as window:
            yield window

    @asynccontextmanager
    async def new_desk(self, url: str, **options: Any) -> AsyncIterator[Window]:
        """A screen on a desk, with a mouse. Options are those of Playwright's `new_context`."""
        async with self._window(url, **{"viewport": {"width": 1280, "height": 800}, **options}) as window:
            yield window

    @asynccontextmanager
    async def _window(self, url: str, **options: Any) -> AsyncIterator[Window]:
        told = {"locale": "en-US", "timezone_id": "Asia/Shanghai", "base_url": url, **options}
        context = await self.browser.new_context(**told)
        try:
            # Not everything has a time-out of its own: a script that a page abandons is waited for without end.
            async with asyncio.timeout(_LONGEST_SECONDS):
                context.set_default_timeout(PATIENCE_MS)
                window = Window(context, await context.new_page())
                window.watch()
                yield window
                window.check()
        finally:
            await context.close()


@pytest.fixture(scope="session")
def chromium_path() -> str:
    """Where this machine has its browser."""
    path = shutil.which("chromium")
    if path is None:
        lacks("chromium", "pages are tested in Chromium, and this machine has none: apt-get install chromium")
    return path


@asynccontextmanager
async def running(path: str, camera: Path) -> AsyncIterator[Chromium]:
    """A browser of this machine, until the block ends; its camera films the file `camera`."""
    write_camera(camera)
    arguments = [*_ARGUMENTS, f"--use-file-for-fake-video-capture={camera}"]
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=arguments)
        yield Chromium(browser, camera)
        await browser.close()


@pytest.fixture(scope="module")
async def chromium(
    anyio_backend: str, chromium_path: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Chromium]:
    """One browser for the tests of a module."""
    async with running(chromium_path, tmp_path_factory.mktemp("camera") / "camera.y4m") as chromium:
        yield chromium


# --- accessibility ----------------------------------------------------------------------------------------------------


async def axe(page: Page) -> list[str]:
    """What axe-core finds wrong with a page as it is shown now, one line for each element; empty is what we want."""
    assert AXE.exists(), "axe-core is not here: python3 scripts/setup.py dev"
    if not await page.evaluate("() => 'axe' in window"):
        await page.evaluate(AXE.read_text(encoding="utf-8"))
    # Its own copy of the page's pictures and styles would be asked for again; it has them on the page.
    found = await page.evaluate("() => axe.run(document, {resultTypes: ['violations'], preload: false})")
    return list(_lines(found["violations"]))


def _lines(violations: list[dict[str, Any]]) -> Iterator[str]:
    for violation in violations:
        for node in violation["nodes"]:
            target = " ".join(str(part) for part in node["target"])
            yield f"{violation['id']}: {violation['help']}: {target}: {node['html'][:120]}"
