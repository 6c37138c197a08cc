"""live.js: a page that stays at the present, says when it does not, and misses nothing."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.async_api import expect

from browser import Chromium, Window, axe
from web.small_server import SmallServer, Stream, small_server, until

CONSOLE = """
<section data-live="/live?after=4">
  <p data-live-state role="status" data-said-live="Live" data-said-reconnecting="Reconnecting"
     data-said-ended="Signed out" data-said-stale="Not live since {since}"></p>
  <p id="today">0</p>
  <ol id="payments" data-live-most="3"><li id="pay_1">one</li></ol>
</section>
"""
#: Writes down what is told on the page, and keeps time in its own hands where a test moves it.
LISTENING = """
globalThis.told = [];
for (const name of ["live", "drop", "live-state"])
  document.addEventListener(`dewpond:${name}`, (event) => told.push([name, event.detail]));
"""
ROWS = "() => [...document.querySelectorAll('#payments > li')].map((row) => `${row.id} ${row.textContent}`)"
HIDE = """(isHidden) => {
  Object.defineProperty(document, "hidden", { value: isHidden, configurable: true });
  document.dispatchEvent(new Event("visibilitychange"));
}"""
VISIBLE = "() => document.dispatchEvent(new Event('visibilitychange'))"


@pytest.fixture
def server() -> Iterator[SmallServer]:
    with small_server() as server:
        server.page("/console", CONSOLE, "live.js")
        yield server


def message(position: int, **told: Any) -> str:
    return f"id: {position}\ndata: {json.dumps(told)}\n\n"


def row(number: int, text: str) -> dict[str, Any]:
    return {"html": {"#payments": {"how": "prepend", "html": f'<li id="pay_{number}">{text}</li>'}}}


async def stream(server: SmallServer, number: int = 1) -> Stream:
    """The so-manieth stream that was opened."""
    await until(f"stream {number}", lambda: len(server.streams) >= number)
    return server.streams[number - 1]


async def says(window: Window, text: str) -> None:
    await expect(window.page.get_by_role("status")).to_contain_text(text)


async def test_pieces_are_put_in_their_places(chromium: Chromium, server: SmallServer) -> None:
    async with chromium.new_desk(server.url) as desk:
        await desk.context.add_init_script(LISTENING)
        await desk.page.goto("/console")
        first = await stream(server)
        assert first.asked.query == {"after": "4"}
        assert "last-event-id" not in first.asked.headers
        await says(desk, "Live")
        first.send("retry: 1000\n\n")
        first.send(": still here\n\n")
        first.send(message(5, **row(2, "two"), drops=1))
        today = {"#today": {"how": "replace", "html": '<p id="today">18.00</p>'}}
        first.send(message(6, html={**row(1, "one, paid")["html"], **today, "#gone": {"how": "append", "html": "<b>"}}))
        await expect(desk.page.locator("#today")).to_have_text("18.00")
        assert await desk.page.evaluate(ROWS) == ["pay_2 two", "pay_1 one, paid"]
        for number in (3, 4):
            first.send(message(4 + number, **row(number, "more")))
        last = {"#payments": {"how": "append", "html": '<li id="pay_9">last</li>'}}
        first.send(message(9, html=last, drop=True))
        await expect(desk.page.locator("#pay_9")).to_have_text("last")
        assert await desk.page.evaluate(ROWS) == ["pay_3 more", "pay_2 two", "pay_9 last"]
        told = await desk.page.evaluate("() => told")
        assert [detail.get("drops") or detail.get("drop") for name, detail in told if name == "drop"] == [1, True]
        assert sum(1 for name, _ in told if name == "live") == 5
        assert await axe(desk.page) == []


async def test_a_line_that_breaks_is_taken_up_where_it_was(chromium: Chromium, server: SmallServer) -> None:
    async with chromium.new_desk(server.url) as desk:
        desk.allow("status of 502")
        await desk.page.goto("/console")
        first = await stream(server)
        first.send(message(5, **row(2, "two")))
        await expect(desk.page.locator("#pay_2")).to_be_visible()
        server.stream_status = 502
        first.end()
        await says(desk, "Reconnecting")
        assert await desk.page.evaluate("() => document.documentElement.dataset.liveNow") == "reconnecting"
        tried = len([one for one in server.asked if one.path == "/live"])
        await until("another try", lambda: len([one for one in server.asked if one.path == "/live"]) > tried)
        server.stream_status = 200
        second = await stream(server, 2)
        assert second.asked.headers["last-event-id"] == "5"
        second.send(message(6, **row(2, "two")))  # told again, as may happen
        second.send(message(7, **row(3, "three")))
        await expect(desk.page.locator("#pay_3")).to_be_visible()
        await says(desk, "Live")
        assert await desk.page.evaluate(ROWS) == ["pay_3 three", "pay_2 two", "pay_1 one"]


async def test_events_are_read_however_the_line_cuts_them(chromium: Chromium, server: SmallServer) -> None:
    async with chromium.new_desk(server.url) as desk:
        await desk.page.goto("/console")
        first = await stream(server)
        piece = 'data:{"how":"replace","html":"<p id=today>é 茶</p>"}}}'
        lines = ["id: 5", "event: x", 'data: {"html":{"#today":', piece, "", ""]
        for letter in "\r\n".join(lines):
            first.send(letter)
        await expect(desk.page.locator("#today")).to_have_text("é 茶")
        first.send("id: 6\ndata: not JSON\n\n")  # is passed over, not asked for again
        second = await stream(server, 2)
        assert second.asked.headers["last-event-id"] == "6"


async def test_a_silent_line_is_taken_for_dead(chromium: Chromium, server: SmallServer) -> None:
    async with chromium.new_desk(server.url) as desk:
        await desk.page.clock.install()
        await desk.page.goto("/console")
        first = await stream(server)
        first.send(message(5, **row(2, "two")))
        await expect(desk.page.locator("#pay_2")).to_be_visible()
        for _ in range(3):
            await desk.page.clock.run_for(30_000)
            first.send(": still here\n\n")
            await says(desk, "Live")
        assert len(server.streams) == 1
        await desk.page.clock.run_for(43_000)
        second = await stream(server, 2)
        assert second.asked.headers["last-event-id"] == "5"


async def test_a_page_says_since_when_it_is_stale(chromium: Chromium, server: SmallServer) -> None:
    async with chromium.new_desk(server.url) as desk:
        desk.allow("ERR_CONNECTION_REFUSED|ERR_INCOMPLETE|ERR_EMPTY|ERR_SOCKET")
        await desk.page.clock.install(time="2026-05-01T06:03:00Z")
        await desk.page.goto("/console")
        await stream(server)
        await says(desk, "Live")
        server.stop()
        await says(desk, "Reconnecting")
        await desk.page.clock.run_for(15_000)
        await says(desk, "Not live since 02:03")


async def test_a_page_that_slept_looks_at_once_when_it_wakes(chromium: Chromium, server: SmallServer) -> None:
    async with chromium.new_desk(server.url) as desk:
        await desk.page.clock.install(time=1_000)
        await desk.page.goto("/console")
        first = await stream(server)
        first.send(message(5))
        await says(desk, "Live")
        await desk.page.clock.pause_at(1_005)
        await desk.page.evaluate(VISIBLE)  # looked at again after a moment: the line is as good as it was
        assert len(server.streams) == 1
        await desk.page.clock.set_fixed_time(4_000)  # no timer ran, as in a page that was frozen
        await desk.page.evaluate(VISIBLE)
        second = await stream(server, 2)
        assert second.asked.headers["last-event-id"] == "5"


async def test_a_page_that_nobody_sees_gives_its_line_back(chromium: Chromium, server: SmallServer) -> None:
    async with chromium.new_desk(server.url) as desk:
        await desk.page.clock.install(time=1_000)
        await desk.page.goto("/console")
        first = await stream(server)
        first.send(message(5, **row(2, "two")))
        await expect(desk.page.locator("#pay_2")).to_be_visible()
        for seconds, lines in ((2, 1), (4, 2)):
            await desk.page.evaluate(HIDE, True)
            await desk.page.clock.run_for(seconds * 1000)
            await desk.page.evaluate(HIDE, False)
            await until("a line", lambda lines=lines: len(server.streams) >= lines)  # type: ignore[misc] # mypy on lambdas
        second = server.streams[-1]
        assert len(server.streams) == 2, "a glance away costs nothing"
        assert second.asked.headers["last-event-id"] == "5"
        second.send(message(6, **row(3, "three")))
        await expect(desk.page.locator("#pay_3")).to_be_visible()
        await says(desk, "Live")


async def test_who_is_signed_out_is_told_and_asks_no_more(chromium: Chromium, server: SmallServer) -> None:
    server.stream_status = 401
    async with chromium.new_desk(server.url) as desk:
        desk.allow("status of 401")
        await desk.page.clock.install()
        await desk.page.goto("/console")
        await says(desk, "Signed out")
        await desk.page.clock.run_for(300_000)
        await desk.page.evaluate(VISIBLE)
        assert len([one for one in server.asked if one.path == "/live"]) == 1


async def test_a_page_is_loaded_anew_when_the_server_says_so(chromium: Chromium, server: SmallServer) -> None:
    async with chromium.new_desk(server.url) as desk:
        await desk.page.goto("/console")
        (await stream(server)).send(message(5, reload=True))
        second = await stream(server, 2)
        assert "last-event-id" not in second.asked.headers
        assert len([one for one in server.asked if one.path == "/console"]) == 2


async def test_who_is_at_something_by_keyboard_stays_there(chromium: Chromium, server: SmallServer) -> None:
    server.page("/console", CONSOLE.replace("0</p>", '<button id="more">More</button></p>'), "live.js")
    async with chromium.new_desk(server.url) as desk:
        await desk.page.goto("/console")
        await desk.page.focus("#more")
        html = '<p id="today">18.00 <button id="more">More</button></p>'
        (await stream(server)).send(message(5, html={"#today": {"how": "replace", "html": html}}))
        await expect(desk.page.locator("#today")).to_contain_text("18.00")
        assert await desk.page.evaluate("() => document.activeElement.id") == "more"
