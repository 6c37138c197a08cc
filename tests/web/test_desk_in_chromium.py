"""The desk in a real browser: nothing wrong on any page for whoever cannot see or point, and what moves by itself."""

from typing import Any

import pytest
from playwright.async_api import expect

from browser import Chromium, Window, axe
from dewpond import identity, merchants, openplatform
from dewpond.identity import How, Realm
from dewpond.kit import clock, worlds
from dewpond.kit.db import Database
from dewpond.worker import drain
from web.desks import sell, working

PAGES = ["", "/merchants", "/merchants/new", "/people", "/top-ups", "/ledger", "/deliveries", "/clock", "/staff"]


@pytest.fixture
async def olga(new_member: Any) -> Any:
    return await new_member("Olga", is_operator=True)


async def come_in(window: Window, doors: Any, database: Database, member: Any) -> None:
    async with database.transaction() as tx:
        _, token = await identity.open_session(
            tx, Realm.STAFF, member.id, device="", address="", how=How.ONE_TAP, wall_now=clock.wall_now()
        )
    await window.context.add_cookies([{"name": "dewpond-staff", "value": token, "url": doors.staff}])


@pytest.mark.parametrize("size", ["phone", "desk"])
async def test_nothing_is_wrong_with_any_page(
    chromium: Chromium,
    doors: Any,
    house: Any,
    database: Database,
    olga: Any,
    new_merchant: Any,
    new_person: Any,
    new_member: Any,
    size: str,
) -> None:
    shop, alice = await new_merchant("Tea Shop"), await new_person("Alice", "50.00")
    await new_member("Mei", shop=shop)
    await new_member("Anna", is_operator=True)
    paid = await sell(house, database, shop, alice, "18.00")
    await drain(house)
    async with database.transaction() as tx:
        (delivery,) = await openplatform.list_deliveries(tx, merchant_id=shop.merchant.id)
    pages = [
        *PAGES,
        f"/merchants/{shop.merchant.number}",
        f"/people/{alice.text_id}",
        f"/ledger?walk={paid.text_id}",
        f"/ledger?owner={shop.merchant.number}",
        f"/deliveries/{openplatform.to_text(delivery.id)}",
    ]
    opened = chromium.new_phone if size == "phone" else chromium.new_desk
    async with opened(doors.staff) as window:
        await come_in(window, doors, database, olga)
        for path in pages:
            await window.page.goto(f"/desk{path}")
            assert await axe(window.page) == [], path
            wide = await window.page.evaluate("document.documentElement.scrollWidth - innerWidth")
            assert wide <= 0, f"{path} is wider than the screen"


async def test_a_merchant_is_made_by_keyboard_alone(
    chromium: Chromium, doors: Any, database: Database, olga: Any
) -> None:
    async with chromium.new_desk(doors.staff) as window:
        await come_in(window, doors, database, olga)
        page = window.page
        await page.goto("/desk/merchants/new")
        await page.get_by_label("Shop name").focus()
        keys = page.keyboard
        await keys.type("Corner Grocery")
        await keys.press("Tab")
        await keys.press("Tab")
        await keys.press("ArrowDown")
        await keys.press("Tab")
        await keys.type("corner-owner")
        await keys.press("Enter")
        await page.get_by_text("Corner Grocery has been created").wait_for()
        assert await axe(page) == []
        assert await page.locator(".qr__code").count() == 1
        async with database.transaction() as tx:
            (made,) = [one for one in await merchants.list_newest_merchants(tx) if one.name == "Corner Grocery"]
        assert made.key_mode is merchants.KeyMode.PUBLIC_KEY
        await page.reload()  # the browser sends the form again
        await page.wait_for_url(f"**/desk/merchants/{made.number}")
        await expect(page.get_by_text("This form was already sent")).to_be_visible()
        assert await page.locator("[data-copy]").count() == 0


async def test_a_certificate_is_revoked_after_a_second_look(
    chromium: Chromium, doors: Any, database: Database, olga: Any, new_merchant: Any
) -> None:
    shop = await new_merchant("Tea Shop")
    async with chromium.new_phone(doors.staff) as window:
        await come_in(window, doors, database, olga)
        page = window.page
        await page.goto(f"/desk/merchants/{shop.merchant.number}")
        await page.get_by_role("button", name="Revoke").first.click()
        assert await axe(page) == []
        await page.keyboard.press("Escape")
        assert not await page.get_by_text("This cannot be undone").is_visible()
        await page.get_by_role("button", name="Revoke").first.click()
        await page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
        await page.get_by_text("That certificate no longer works").wait_for()
    async with database.transaction() as tx:
        (certificate,) = await merchants.list_certificates(tx, shop.merchant.id)
    assert certificate.revoked_at is not None


async def test_a_double_tap_tops_up_once(
    chromium: Chromium, doors: Any, database: Database, olga: Any, new_person: Any
) -> None:
    alice = await new_person("Alice")
    async with chromium.new_phone(doors.staff) as window:
        await come_in(window, doors, database, olga)
        page = window.page
        await page.goto(f"/desk/people/{alice.text_id}")
        await page.get_by_label("Amount").fill("12.50")
        await page.get_by_label("Reason").fill("cash")
        await page.get_by_role("button", name="Top up").dblclick()
        await page.get_by_text("The money is in the wallet").wait_for()
        assert await page.locator("#movements .row").count() == 1


async def test_the_clock_is_watched_as_it_moves(
    chromium: Chromium, doors: Any, house: Any, database: Database, olga: Any
) -> None:
    async with database.transaction() as tx:
        await worlds.freeze_clock(tx, wall_now=clock.wall_now())
        begin = (await worlds.read_clocks(tx)).world
    async with chromium.new_desk(doors.staff) as window:
        await come_in(window, doors, database, olga)
        page = window.page
        await page.goto("/desk/clock")
        await page.get_by_role("button", name="+ 1 day").click()
        await page.get_by_text("On the way to").wait_for()
        assert await axe(page) == []
        await page.focus("#stop-move")
        for _ in range(2):
            async with page.expect_response("**/desk/clock"):
                pass
        await page.wait_for_function("() => !document.querySelector('.htmx-request, .htmx-swapping, .htmx-settling')")
        focused = await page.evaluate("document.activeElement.id")
        assert focused == "stop-move", "what is put in its place anew does not take the keyboard away"
        async with working(house):
            await page.get_by_text("Olga moved it to").wait_for()  # without a reload
    async with database.transaction() as tx:
        assert ((await worlds.read_clocks(tx)).world - begin).days == 1
        await worlds.thaw_clock(tx, wall_now=clock.wall_now())


async def test_the_overview_says_when_it_is_old(chromium: Chromium, doors: Any, database: Database, olga: Any) -> None:
    async with chromium.new_desk(doors.staff) as window:
        window.allow("net::ERR_FAILED|htmx:")
        await come_in(window, doors, database, olga)
        page = window.page
        await page.goto("/desk")
        state = page.locator("[data-live-state]")
        await page.wait_for_selector('[data-live-state="live"]')
        await page.route("**/desk", lambda route: route.abort())
        await page.wait_for_selector('[data-live-state="reconnecting"]')
        await page.wait_for_selector('[data-live-state="stale"]', timeout=30_000)
        assert "Not up to date" in await state.inner_text()
        await page.unroute("**/desk")
        await page.wait_for_selector('[data-live-state="live"]')
