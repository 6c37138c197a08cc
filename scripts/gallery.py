"""Take a picture of every page, as a phone and as a desk show it, by day and by night, in both languages.

    make gallery                          eight pictures of each page, one sheet of the eight, one page of everything
    make gallery ARGS="--only keys"       of pages with that in their name
    make gallery ARGS=--pictures          the few that the README shows, anew

A world is made for it, a story is told into it (tests/web/stories.py), and it is gone again afterwards. The list of
pages comes from the routes (tests/web/sights.py).
"""

import argparse
import asyncio
import html
import logging
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from itertools import count, product
from pathlib import Path
from typing import Any

import structlog
from playwright.async_api import Page
from rich.progress import Progress

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from browser import Chromium, running  # noqa: E402 - lies in the folder named above
from dewpond import web  # noqa: E402 - belongs to the imports below
from dewpond.cli.desk import find_place, found_world  # noqa: E402 - belongs to the imports below
from dewpond.kit import clock, worlds  # noqa: E402 - belongs to the imports below
from dewpond.kit.worlds import WorldKind  # noqa: E402 - belongs to the imports below
from dewpond.settings import Settings  # noqa: E402 - belongs to the imports below
from dewpond.wiring import open_house  # noqa: E402 - belongs to the imports below
from web.conftest import Doors, Visitors, serving  # noqa: E402 - lies in the folder named above
from web.sights import Guide, Sight, every_sight  # noqa: E402 - lies in the folder named above
from web.stories import tell  # noqa: E402 - lies in the folder named above

SIZES = {390: 844, 1280: 800}
SCHEMES = ("light", "dark")
LANGUAGES = {"en": "en-US", "zh": "zh-CN"}

#: What the README shows: file, sight, size, and how sharp. Each stays below 120 kB.
PICTURES = (
    ("phone-checkout", "phone-checkout", (390, 844), 2),
    ("console-today", "console-today", (1280, 800), 1),
    ("desk-overview", "desk-overview", (1280, 720), 1),
)


@dataclass(frozen=True)
class Light:
    """In which way a page is looked at."""

    width: int
    scheme: str
    language: str

    def __str__(self) -> str:
        return f"{self.width}-{self.scheme}-{self.language}"


_numbers = count(1)

LIGHTS = [Light(*each) for each in product(SIZES, SCHEMES, LANGUAGES)]


# --- the world ---


@contextmanager
def _home() -> Iterator[Path]:
    home = Path(tempfile.mkdtemp(prefix="dewpond-gallery-"))
    home.chmod(0o755)  # the database server may run as another user
    try:
        yield home
    finally:
        shutil.rmtree(home, ignore_errors=True)


@asynccontextmanager
async def _stage() -> AsyncIterator[Guide]:
    """A world with the story in it, and its pages served."""
    with _home() as home, find_place(Settings(home=home), make=True) as place:
        world, _ = await found_world(place, WorldKind.SANDBOX)
        listeners = [("127.0.0.1", 8601)]
        async with (
            open_house(place.settings, dsn=place.dsn, name="gallery", listeners=listeners) as house,
            serving(house, world, web.create_phone_site, "public_url") as phone,
            serving(house, world, web.create_staff_site, "staff_url") as staff,
        ):
            # The world keeps its usual doors: whatever ports are free now, pictures show the same addresses.
            visitors = Visitors(Doors(phone=phone, staff=staff), house.db)
            story = await tell(house, visitors)
            async with house.db.transaction() as tx:
                await worlds.freeze_clock(tx, wall_now=clock.wall_now())  # every picture is of the same moment
            yield Guide(story)
            for client in visitors.clients:
                await client.aclose()


# --- pictures ---


@asynccontextmanager
async def _seat(chromium: Chromium, guide: Guide, visitor: str, light: Light, scale: float) -> AsyncIterator[Page]:
    """A window of this visitor's."""
    client = await guide.client(visitor)
    options: dict[str, Any] = {
        "viewport": {"width": light.width, "height": SIZES.get(light.width, 800)},
        "device_scale_factor": scale,
        "color_scheme": light.scheme,
        "locale": LANGUAGES[light.language],
        "reduced_motion": "reduce",
        "timezone_id": "Asia/Shanghai",
        "base_url": client.origin,
    }
    if light.width < 600:
        options |= {"is_mobile": True, "has_touch": True}
    context = await chromium.browser.new_context(**options)
    for name, value in client.cookies.items():
        await context.add_cookies([{"name": name, "value": value, "url": client.origin}])
    try:
        yield await context.new_page()
    finally:
        await context.close()


async def _look(page: Page, guide: Guide, sight: Sight) -> None:
    """Open a page and wait until it is what it is going to be."""
    answer = await page.goto(await guide.address(sight))
    if answer is None or answer.status != sight.status:
        print(f"{sight.name}: {answer and answer.status} at {page.url}")
    for selector, text in sight.typed.items():
        await page.locator(selector).fill(text.format(number=next(_numbers)))
    for selector in sight.press:
        if await page.locator(selector).first.is_visible():
            await page.locator(selector).first.click()
            await page.wait_for_load_state()
    if await page.locator("[data-live]").count():  # it says so as soon as it is connected
        await page.locator("[data-live-state=connecting]").first.wait_for(state="detached")
    await page.evaluate("document.fonts.ready")


async def _unroll(page: Page, light: Light) -> None:
    """Make the window as tall as the page: a picture of all of it, with bars that stick to its ends."""
    tall = await page.evaluate("document.documentElement.scrollHeight")
    await page.set_viewport_size({"width": light.width, "height": tall})


@asynccontextmanager
async def _studio() -> AsyncIterator[tuple[Guide, Chromium]]:
    path = shutil.which("chromium")
    if path is None:
        raise SystemExit("pictures are taken by Chromium, and this machine has none: apt-get install chromium")
    with tempfile.TemporaryDirectory() as films:
        async with _stage() as guide, running(path, Path(films) / "camera.y4m") as chromium:
            yield guide, chromium


async def _take_all(sights: list[Sight], out: Path) -> None:
    async with _studio() as (guide, chromium):
        with Progress() as progress:
            task = progress.add_task("pictures", total=len(sights) * len(LIGHTS))
            # What is made on a page shows on others: that comes when those have been looked at.
            for makes_something in (False, True):
                chosen = [sight for sight in sights if bool(sight.typed) is makes_something]
                for light, visitor in product(LIGHTS, dict.fromkeys(sight.visitor for sight in chosen)):
                    async with _seat(chromium, guide, visitor, light, 1) as page:
                        for sight in (one for one in chosen if one.visitor == visitor):
                            progress.update(task, description=f"{light} {sight.name}", advance=1)
                            await page.set_viewport_size({"width": light.width, "height": SIZES[light.width]})
                            await _look(page, guide, sight)
                            await _unroll(page, light)
                            path = out / "pictures" / f"{sight.name}.{light}.png"
                            await page.screenshot(path=path, animations="disabled")
        await _lay_out(chromium, sights, out)


_STYLE = (
    "<!doctype html><meta charset=utf-8><style>body{margin:1rem;font:16px system-ui;background:#8c8c8c}"
    "h2{margin:1.5rem 0 .5rem}img{width:100%;display:block}"
    ".w390{display:grid;grid-template-columns:repeat(4,390px);gap:8px;align-items:start}"
    ".w1280{display:grid;grid-template-columns:repeat(2,788px);gap:8px;align-items:start;margin-top:8px}</style>"
)


def _sheet(sight: Sight, attributes: str = "") -> str:
    """The eight pictures of a page, beside and under each other."""
    rows = []
    for width in SIZES:
        names = [f"pictures/{sight.name}.{light}.png" for light in LIGHTS if light.width == width]
        pictures = "".join(f'<img {attributes} src="{name}">' for name in names)
        rows.append(f"<div class=w{width}>{pictures}</div>")
    return f"<h2>{html.escape(sight.name)}</h2>{''.join(rows)}"


async def _lay_out(chromium: Chromium, sights: list[Sight], out: Path) -> None:
    """A sheet for each of these pages, and one page of all that has been taken until now."""
    page = await chromium.browser.new_page(viewport={"width": 1616, "height": 900})
    with Progress() as progress:
        for sight in progress.track(sights, description="sheets"):
            alone = out / f"{sight.name}.html"
            alone.write_text(_STYLE + _sheet(sight), encoding="utf-8")
            await page.goto(alone.as_uri())
            await page.screenshot(path=out / f"{sight.name}.png", full_page=True)
            alone.unlink()
    await page.close()
    taken = [sight for sight in every_sight() if (out / f"{sight.name}.png").exists()]
    (out / "index.html").write_text(_STYLE + "".join(_sheet(one, "loading=lazy") for one in taken), encoding="utf-8")


async def _take_pictures(out: Path) -> None:
    """What the README shows: as much as a screen shows at once, sharp."""
    by_name = {sight.name: sight for sight in every_sight()}
    out.mkdir(parents=True, exist_ok=True)
    async with _studio() as (guide, chromium):
        for name, seen, (width, height), scale in PICTURES:
            sight = by_name[seen]
            async with _seat(chromium, guide, sight.visitor, Light(width, "light", "en"), scale) as page:
                await page.set_viewport_size({"width": width, "height": height})
                await _look(page, guide, sight)
                await page.screenshot(path=out / f"{name}.png", animations="disabled")
            print(f"{out / name}.png: {(out / f'{name}.png').stat().st_size // 1024} kB")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", nargs="*", default=[""], help="pages whose name has one of these words in it")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "gallery", help="where to (build/gallery)")
    parser.add_argument("--pictures", action="store_true", help="take those of the README anew")
    chosen = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    if chosen.pictures:
        asyncio.run(_take_pictures(ROOT / "docs" / "pictures"))
        return 0
    sights = [sight for sight in every_sight() if any(word in sight.name for word in chosen.only)]
    (chosen.out / "pictures").mkdir(parents=True, exist_ok=True)
    asyncio.run(_take_all(sights, chosen.out.resolve()))
    print(f"{len(sights)} pages: {chosen.out / 'index.html'}, and a sheet of each beside it")
    return 0


if __name__ == "__main__":
    sys.exit(main())
