"""The way back, a second tap, a reload: what a page shows is of now, and what a form asks for is done once."""

import asyncio
from typing import Any

import pytest
from playwright.async_api import Page, Request, Route, expect

from browser import Chromium, Window
from web.conftest import Client
from web.counters import Counter, money_of
from web.tills import Till

#: The page comes out of the browser's memory; Playwright's Chromium keeps none.
BACK = "() => { dispatchEvent(new PageTransitionEvent('pageshow', {persisted: true})) }"
LEFT = "() => { dispatchEvent(new PageTransitionEvent('pagehide', {persisted: true})) }"


@pytest.fixture
async def alice(new_person: Any) -> Any:
    return await new_person("Alice", "100.00")


async def sit_down(window: Window, client: Client) -> Page:
    """Let this window be that visitor's."""
    for name, value in client.cookies.items():
        await window.context.add_cookies([{"name": name, "value": value, "url": client.origin}])
    return window.page


def watch_posts(page: Page) -> list[str]:
    posts: list[str] = []

    def see(request: Request) -> None:
        if request.method == "POST":
            posts.append(request.url)

    page.on("request", see)
    return posts


async def test_money_of_then_does_not_come_back(chromium: Chromium, visitors: Any, alice: Any) -> None:
    client = await visitors.person(alice)
    async with chromium.new_phone(client.origin) as window:
        page = await sit_down(window, client)
        await page.goto("/")
        wallet = page.get_by_role("region", name="Wallet")
        await expect(wallet).to_contain_text("100")
        await client.send_form("/top-up", amount="20.00")
        await page.evaluate(BACK)
        await expect(wallet).to_contain_text("120")
        await expect(wallet).to_be_visible()


async def test_a_refused_form_is_not_sent_again_by_looking_again(
    chromium: Chromium, visitors: Any, alice: Any, house: Any
) -> None:
    client = await visitors.person(alice)
    async with chromium.new_phone(client.origin) as window:
        window.allow("status of 422")
        page = await sit_down(window, client)
        posts = watch_posts(page)
        await page.goto("/top-up?next=/history")
        for time in (1, 2):  # refused twice over, it is still the page of the form
            await page.get_by_label("Another sum").fill("1000.01")
            await page.get_by_role("button", name="Top up").click()
            await expect(page.get_by_text("At most ¥1,000.00 at a time.").first).to_be_visible()
            await page.wait_for_url("**/top-up?next=/history")
            assert len(posts) == time
        for again in (page.reload, lambda: page.evaluate(BACK)):
            await client.send_form("/top-up", amount="1.00")
            await again()
            await expect(page.locator(".wallet")).to_contain_text(f"{await money_of(house, alice) // 100}")
        assert len(posts) == 2


async def test_a_key_that_was_shown_once_does_not_come_back(
    chromium: Chromium, visitors: Any, new_member: Any, new_merchant: Any
) -> None:
    shop = await new_merchant("Tea Shop")
    client = await visitors.member(await new_member("Mei", shop=shop))
    async with chromium.new_desk(client.origin) as window:
        page = await sit_down(window, client)
        await page.goto(f"/m/{shop.merchant.number}/keys")
        posts = watch_posts(page)
        await page.locator("[popovertarget=renew-key]").first.click()
        await page.locator("#renew-key .action button").click()
        key = await page.locator("#new-key code").inner_text()
        assert len(key) == 32
        await page.evaluate(LEFT)
        assert key not in await page.content()
        await page.evaluate(BACK)
        await page.wait_for_url(f"**/m/{shop.merchant.number}/keys")
        await expect(page.get_by_role("heading", name="Keys", exact=True)).to_be_visible()
        assert key not in await page.content()
        assert len(posts) == 1, "it is not drawn anew"


async def slow(page: Page, path: str, seconds: float = 0.5) -> None:
    """Let forms to a path take their time."""

    async def wait(route: Route) -> None:
        if route.request.method == "POST":
            await asyncio.sleep(seconds)
        await route.continue_()

    await page.route(path, wait)


async def test_a_double_tap_takes_play_money_once(chromium: Chromium, visitors: Any, alice: Any, house: Any) -> None:
    client = await visitors.person(alice)
    async with chromium.new_phone(client.origin) as window:
        page = await sit_down(window, client)
        posts = watch_posts(page)
        await page.goto("/top-up")
        await slow(page, "**/top-up")
        await page.get_by_role("button", name="¥50.00").dblclick()
        await page.wait_for_url(f"{client.origin}/")
        await expect(page.get_by_role("status").filter(has_text="in your wallet")).to_be_visible()
        assert len(posts) == 1
    assert await money_of(house, alice) == 150_00


async def test_a_double_tap_opens_one_payment(
    chromium: Chromium, visitors: Any, alice: Any, house: Any, new_merchant: Any
) -> None:
    counter, client = Counter(house, await new_merchant("Tea Shop")), await visitors.person(alice)
    poster = await counter.put_up("Counter")
    async with chromium.new_phone(client.origin) as window:
        page = await sit_down(window, client)
        posts = watch_posts(page)
        await page.goto(f"/m/{poster.code}")
        await page.get_by_label("How much?").fill("7.50")
        await slow(page, "**/payment")
        await page.get_by_role("button", name="Next").dblclick()
        await page.wait_for_url("**/q/*")
        assert len(posts) == 1


async def test_the_counters_page_is_of_now_too(
    chromium: Chromium, visitors: Any, alice: Any, house: Any, new_member: Any, new_merchant: Any
) -> None:
    till = Till(house, await new_merchant("Tea Shop"))
    client = await visitors.member(await new_member("Mei", shop=till.shop))
    async with chromium.new_desk(client.origin) as window:
        page = await sit_down(window, client)
        await page.goto(f"{till.path}/payments?q=Longjing")  # a search is not live
        await expect(page.get_by_text("Nothing found").last).to_be_visible()
        await till.sell(alice, "18.00")
        await page.evaluate(BACK)
        await expect(page.get_by_role("link", name="Longjing")).to_be_visible()
