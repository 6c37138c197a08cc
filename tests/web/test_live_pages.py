"""Pages that move by themselves, for whoever does not see them move: the focus stays, what is open stays open, what
came is said."""

import re
from collections.abc import Iterator
from datetime import timedelta
from html.parser import HTMLParser
from typing import Any

import pytest
from playwright.async_api import Page, expect

from browser import Chromium, Window, axe
from dewpond import pay
from dewpond.kit import worlds
from dewpond.kit.ids import new_id
from dewpond.kit.money import CNY, Money
from web.conftest import Client
from web.listeners import listening
from web.tills import Till

FOCUSED = "() => document.activeElement.id"
NEWS = "[data-live-news]"


@pytest.fixture
async def till(house: Any, new_merchant: Any) -> Till:
    return Till(house, await new_merchant("Tea Shop"))


@pytest.fixture
async def mei(visitors: Any, new_member: Any, till: Till) -> Client:
    return await visitors.member(await new_member("Mei", shop=till.shop))


@pytest.fixture
async def olga(visitors: Any, new_member: Any) -> Client:
    return await visitors.member(await new_member("Olga", is_operator=True))


async def sit_down(window: Window, client: Client) -> Page:
    """Let this window be that visitor's."""
    for name, value in client.cookies.items():
        await window.context.add_cookies([{"name": name, "value": value, "url": client.origin}])
    return window.page


# --- every control that may be put anew can be found again ------------------------------------------------------------


class Controls(HTMLParser):
    """The controls of a piece of HTML that have no id, within an element that has an attribute, or everywhere."""

    VOID = frozenset({"br", "hr", "img", "input", "link", "meta", "wbr"})
    CONTROLS = frozenset({"a", "button", "summary", "input", "select", "textarea", "details"})

    def __init__(self, within: str = "") -> None:
        super().__init__()
        self.within = within
        self.nameless: list[str] = []
        self.seen = 0
        self._open: list[bool] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        told = dict(attrs)
        is_inside = not self.within or any(self._open) or self.within in told
        if is_inside and (tag in self.CONTROLS or "tabindex" in told) and told.get("type") != "hidden":
            self.seen += 1
            if "id" not in told:
                self.nameless.append(f"<{tag} {told}>")
        if tag not in self.VOID:
            self._open.append(self.within in told)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Of pictures: nothing to reach."""

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID and self._open:
            self._open.pop()


def nameless(html: str, within: str = "") -> tuple[int, list[str]]:
    """How many controls there are, and those that could not be found again."""
    controls = Controls(within)
    controls.feed(html)
    return controls.seen, controls.nameless


def _pieces(messages: list[Any]) -> Iterator[str]:
    for message in messages:
        for piece in message.told.get("html", {}).values():
            yield piece["html"]


async def test_what_a_console_is_told_can_be_found_again(till: Till, mei: Client, new_person: Any) -> None:
    alice = await new_person("Alice", "90.00")
    seen = 0
    for path in ("live", "pool/live"):
        async with listening(mei, f"{till.path}/{path}?after=0") as listener:
            paid = await till.sell(alice)
            await till.settle()
            await till.refund(paid, "1.00")
            await till.settle()
            await listener.until(lambda one: any(each.payments or each.people for each in one.messages))
            for html in _pieces(listener.messages):
                count, wrong = nameless(html)
                seen += count
                assert not wrong, wrong
    assert seen > 5


@pytest.mark.parametrize("path", ["/desk", "/desk/clock"])
async def test_a_part_that_asks_for_itself_can_be_found_again(path: str, till: Till, olga: Client) -> None:
    await olga.send_form("/desk/clock/moves", key=str(new_id()), count="30", unit="days")
    seen, wrong = nameless((await olga.get(path)).text, "data-fresh")
    await olga.send_form("/desk/clock/moves/stop")
    assert seen
    assert not wrong


async def test_a_charts_table_can_be_found_again(till: Till, mei: Client) -> None:
    for path in (till.path, f"{till.path}/pool"):
        text = (await mei.get(path)).text
        charts = re.findall(r"<details class=\"chart__table\".*?</summary>", text)
        assert charts
        for chart in charts:
            assert not nameless(chart)[1]
        ids = re.findall(r'\bid="([^"]+)"', text)
        assert len(ids) == len(set(ids))


# --- in a browser -----------------------------------------------------------------------------------------------------


async def test_a_payment_disturbs_nobody_and_is_said(
    chromium: Chromium, till: Till, mei: Client, new_person: Any
) -> None:
    alice = await new_person("Alice", "90.00")
    async with chromium.new_desk(mei.origin) as window:
        page = await sit_down(window, mei)
        await page.goto(till.path)
        table = page.locator("#hours details")
        await page.locator("#hours summary").press("Enter")
        await expect(page.locator(NEWS)).to_have_text("")
        await till.sell(alice, "18.00")
        await till.settle()
        await expect(page.locator("#taken")).to_contain_text("18")
        await expect(page.locator(NEWS)).to_have_text("New payment: ¥18.00")
        await expect(table).to_have_attribute("open", "")
        await expect(page.locator("#hours summary")).to_be_focused()
        assert await axe(page) == []


async def test_who_comes_back_to_the_pool_goes_to_the_top(
    chromium: Chromium, till: Till, mei: Client, new_person: Any
) -> None:
    alice, bob = await new_person("Alice", "90.00"), await new_person("Bob", "90.00")
    now = await till.now()
    for person, minutes in ((alice, 3), (bob, 2)):
        paid = await till.sell(person, at=now.world - timedelta(minutes=minutes))
    await till.settle()
    async with chromium.new_desk(mei.origin) as window:
        page = await sit_down(window, mei)
        await page.goto(f"{till.path}/pool")
        rows = page.locator("#drops tr th, #drops tr td:first-child")
        await expect(rows).to_have_text([re.compile("Bob"), re.compile("Alice")])
        await page.get_by_role("link", name="Alice").focus()
        await till.sell(alice, "18.00")
        await till.settle()
        await expect(rows).to_have_text([re.compile("Alice"), re.compile("Bob")])
        await expect(page.get_by_role("link", name="Alice")).to_be_focused()
        await till.refund(paid, "1.00")
        await till.settle()
        await expect(page.locator("#drops")).to_contain_text("17.00")
        order = await rows.all_inner_texts()
        await page.reload()
        assert await rows.all_inner_texts() == order, "as the list is when it is loaded anew"
        carl = await new_person("Carl", "90.00")
        await till.sell(carl, "18.00")
        await till.settle()
        await expect(page.locator(NEWS)).to_have_text("In the pool: Carl")


async def test_the_overview_takes_the_focus_from_nobody(chromium: Chromium, olga: Client) -> None:
    async with chromium.new_desk(olga.origin) as window:
        page = await sit_down(window, olga)
        await page.goto("/desk")
        for link in ("#shops-link", "#now-ledger", "#now-clock"):
            await page.focus(link)
            async with page.expect_response(lambda answer: answer.url.endswith("/desk")):
                pass
            await expect(page.locator(link)).to_be_focused()
            await page.wait_for_timeout(200)
            assert f"#{await page.evaluate(FOCUSED)}" == link


async def test_more_of_a_list_is_said_and_goes_on_where_one_was(
    chromium: Chromium, house: Any, visitors: Any, new_person: Any
) -> None:
    alice = await new_person("Alice")
    async with house.db.transaction() as tx:
        now = await worlds.read_clocks(tx)
        for number in range(65):
            await pay.top_up(tx, alice.id, Money(100 + number, CNY), now=now)
    client = await visitors.person(alice)
    async with chromium.new_phone(client.origin) as window:
        page = await sit_down(window, client)
        await page.goto("/history")
        more, said = page.locator("#movements-more-link"), page.locator("#movements-more-said")
        await more.press("Enter")
        await expect(said).to_have_text("30 more")
        await expect(more).to_be_focused()
        await page.keyboard.press("Enter")
        await expect(said).to_have_text("5 more")
        await expect(more).to_have_count(0)
        await expect(page.locator("#movements .row").nth(60)).to_be_focused()
        assert await axe(page) == []


async def test_a_search_says_how_much_it_has_found(
    chromium: Chromium, till: Till, mei: Client, olga: Client, new_person: Any
) -> None:
    alice = await new_person("Alice", "90.00")
    await till.sell(alice, what="Longjing")
    await till.sell(alice, what="Longjing")
    await till.settle()
    number = till.shop.merchant.number
    for client, path, word, count in (
        (mei, f"{till.path}/payments", "Longjing", 2),
        (mei, f"{till.path}/pool", "Alice", 1),
        (olga, "/desk/merchants", number, 1),
    ):
        async with chromium.new_desk(client.origin) as window:
            page = await sit_down(window, client)
            await page.goto(path)
            found = page.locator("#found-count")
            await expect(found).to_have_text("")
            await page.locator("#q").press_sequentially(word)
            await expect(found).to_have_text(f"{count} found")
            await page.locator("#q").press_sequentially(" umbrella")
            await expect(found).to_have_text("Nothing found")
            await expect(page.locator("#q")).to_be_focused()
