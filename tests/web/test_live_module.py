"""live.js: a page that stays at the present, says when it does not, and misses nothing."""

import asyncio
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
     data-zone="Asia/Shanghai" data-said-ended="Signed out" data-said-stale="Not live since {since}"
     data-said-resting="Paused"></p>
  <p data-live-news role="status" data-said-more="{news} and {count} more"></p>
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
    await expect(window.page.locator("[data-live-state]")).to_contain_text(text)


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
            for _ in range(15):  # nothing on the page tells that it was heard; on a slow machine one is, of many
                first.send(": still here\n\n")
                await asyncio.sleep(0.1)
            await says(desk, "Live")
        assert len(server.streams) == 1
        await desk.page.clock.run_for(43_000)
        second = await stream(server, 2)
        assert second.asked.headers["last-event-id"] == "5"


@pytest.mark.parametrize("zone", ["Asia/Shanghai", "America/New_York"])
async def test_a_page_says_since_when_it_is_stale(chromium: Chromium, server: SmallServer, zone: str) -> None:
    async with chromium.new_desk(server.url, timezone_id=zone) as desk:
        desk.allow("ERR_CONNECTION_REFUSED|ERR_INCOMPLETE|ERR_EMPTY|ERR_SOCKET")
        await desk.page.clock.install(time="2026-05-01T06:03:00Z")
        await desk.page.goto("/console")
        await stream(server)
        await says(desk, "Live")
        server.stop()
        await says(desk, "Reconnecting")
        await desk.page.clock.run_for(15_000)
        await says(desk, "Not live since 2:03")  # by the page's clock, as all of its times, and not by the device's


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


async def test_a_page_whose_place_was_taken_waits_until_somebody_comes_back_to_it(
    chromium: Chromium, server: SmallServer
) -> None:
    async with chromium.new_desk(server.url) as desk:
        await desk.page.clock.install(time=1_000)
        await desk.page.goto("/console")
        first = await stream(server)
        first.send(message(5, **row(2, "two")))
        first.send('data: {"rest":true}\n\n')
        first.end()
        await says(desk, "Paused")
        await desk.page.clock.run_for(300_000)
        await says(desk, "Paused")
        assert len(server.streams) == 1
        await desk.page.evaluate("() => dispatchEvent(new Event('focus'))")
        second = await stream(server, 2)
        assert second.asked.headers["last-event-id"] == "5"
        second.send(message(6, **row(3, "three")))
        await says(desk, "Live")
        second.end()
        await desk.page.clock.run_for(2_000)
        await stream(server, 3)  # an end without that word is one to come back from


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


async def test_what_was_shown_goes_with_whoever_signs_out_elsewhere(chromium: Chromium, server: SmallServer) -> None:
    async with chromium.new_desk(server.url) as desk:
        desk.allow("status of 401")
        await desk.page.goto("/console")
        first = await stream(server)
        first.send(message(5, **row(1, "one")))
        await says(desk, "Live")
        server.stream_status = 401
        first.end()
        await says(desk, "Signed out")
        assert len([one for one in server.asked if one.path == "/console"]) == 2, "loaded anew, and once"


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


async def test_what_somebody_opened_stays_open(chromium: Chromium, server: SmallServer) -> None:
    fold = '<details id="table"><summary id="fold">Table</summary>{0}</details>'
    server.page("/console", CONSOLE.replace("0</p>", f'</p><div id="chart">{fold.format("0")}</div>'), "live.js")
    async with chromium.new_desk(server.url) as desk:
        await desk.page.goto("/console")
        await desk.page.locator("#fold").press("Enter")
        first = await stream(server)
        state = "() => [document.activeElement.id, document.querySelector('#table').open]"
        for position, figure in ((5, "18.00"), (6, "18.00"), (7, "36.00")):
            html = f'<div id="chart">{fold.format(figure)}</div>'
            first.send(message(position, html={"#chart": {"how": "replace", "html": html}}))
            await expect(desk.page.locator("#table")).to_contain_text(figure)
            assert await desk.page.evaluate(state) == ["fold", True]


async def test_a_list_keeps_its_order_by_time(chromium: Chromium, server: SmallServer) -> None:
    def person(name: str, at: int) -> str:
        return f'<li id="{name}" data-at="2026-05-01T10:{at:02d}"><a id="{name}-link" href="/done">{name} {at}</a></li>'

    people = (
        f'<ol id="people" data-live-sorted>{person("bob", 30)}{person("alice", 20)}</ol><div id="people-more"></div>'
    )
    server.page("/console", CONSOLE + people, "live.js")
    order = "() => [...document.querySelectorAll('#people > li')].map((row) => row.textContent)"
    async with chromium.new_desk(server.url) as desk:
        await desk.page.goto("/console")
        await desk.page.focus("#alice-link")
        first = await stream(server)

        async def tell(position: int, *rows: str, shows: list[str]) -> None:
            first.send(message(position, html={"#people": {"how": "prepend", "html": "".join(rows)}}))
            await expect(desk.page.locator("#people")).to_have_text("".join(shows))
            assert await desk.page.evaluate(order) == shows

        await tell(5, person("alice", 40), shows=["alice 40", "bob 30"])
        assert await desk.page.evaluate("() => document.activeElement.id") == "alice-link"
        await tell(6, person("dora", 42), person("carl", 41), shows=["dora 42", "carl 41", "alice 40", "bob 30"])
        await tell(7, person("bob", 30), shows=["dora 42", "carl 41", "alice 40", "bob 30"])
        await tell(8, person("ida", 10), shows=["dora 42", "carl 41", "alice 40", "bob 30", "ida 10"])
        await desk.page.evaluate(
            "() => { document.querySelector('#people-more').innerHTML = '<a href=/done>More</a>' }"
        )
        first.send(message(9, html={"#people": {"how": "prepend", "html": person("old", 5) + person("new", 50)}}))
        await expect(desk.page.locator("#new")).to_be_visible()
        assert await desk.page.locator("#old").count() == 0, "comes with the rest of the list"


async def test_news_are_read_out_now_and_then(chromium: Chromium, server: SmallServer) -> None:
    def paid(number: int, text: str) -> dict[str, Any]:
        html = f'<li id="pay_{number}" data-news="{text}">{text}</li>'
        return {"html": {"#payments": {"how": "prepend", "html": html}}}

    async with chromium.new_desk(server.url) as desk:
        await desk.page.clock.install(time=1_000)
        await desk.page.goto("/console")
        first, news = await stream(server), desk.page.locator("[data-live-news]")
        first.send(message(5, **paid(2, "Paid: 1")))
        await expect(news).to_have_text("Paid: 1")
        for number in (3, 4, 5):
            first.send(message(3 + number, **paid(number, f"Paid: {number}")))
        await expect(desk.page.locator("#pay_5")).to_be_visible()
        await expect(news).to_have_text("Paid: 1")
        await desk.page.clock.run_for(5_000)
        await expect(news).to_have_text("Paid: 5 and 2 more")
        await desk.page.clock.run_for(5_000)
        await expect(news).to_have_text("")
        first.send(message(9, **paid(5, "Paid: 5")))  # told again: no news
        first.send(message(10, **row(6, "nothing to say")))
        await expect(desk.page.locator("#pay_6")).to_be_visible()
        await expect(news).to_have_text("")
        first.send(message(11, **paid(6, "Paid: $&")))
        await expect(news).to_have_text("Paid: $&")
        assert await axe(desk.page) == []


async def test_a_part_that_asks_for_itself_tells_the_time_by_the_pages_clock(
    chromium: Chromium, server: SmallServer
) -> None:
    part = """<p data-live-state role="status" data-zone="Asia/Shanghai" data-said-live="Live"
    data-said-stale="As of {since}"></p><div id="now" data-fresh="5"></div>"""
    server.page("/desk", part, "fresh.js")
    async with chromium.new_desk(server.url, timezone_id="America/New_York") as desk:
        await desk.page.clock.install(time="2026-05-01T06:03:00Z")
        await desk.page.goto("/desk")
        await says(desk, "Live")
        await desk.page.clock.run_for(20_000)
        await says(desk, "As of 2:03")
