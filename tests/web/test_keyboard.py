"""Every page by keyboard alone: generated from the routes and walked by Tab; and a day's work without a mouse."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from playwright.async_api import Route, expect

from browser import Chromium, Window
from dewpond import openplatform, pay
from dewpond.kit import clock, worlds
from dewpond.worker import drain
from web.conftest import Visitors
from web.desks import working
from web.keyboard import open_all, prepare, press, resize, tab_to, walk, write
from web.sights import Guide, every_sight
from web.stories import PIN, tell

SIGHTS = list(every_sight())


@pytest.fixture(scope="module")
async def guide(house: Any, doors: Any, database: Any) -> AsyncIterator[Guide]:
    """One world for all of it, in which the story was told."""
    visitors = Visitors(doors, database)
    yield Guide(await tell(house, visitors))
    for client in visitors.clients:
        await client.aclose()


@asynccontextmanager
async def seat(chromium: Chromium, guide: Guide, visitor: str, width: int = 1280) -> AsyncIterator[Window]:
    """A window of this visitor's, as wide as that, in which nothing moves."""
    client = await guide.client(visitor)
    size = {"width": width, "height": 800}
    async with chromium.new_desk(client.origin, viewport=size, reduced_motion="reduce") as window:
        window.allow(r"status of 4\d\d")  # pages that say no are walked as well
        for name, value in client.cookies.items():
            await window.context.add_cookies([{"name": name, "value": value, "url": client.origin}])
        yield window


# --- every page -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("frame", ["phone", "console", "desk"])
async def test_every_page_is_walked_by_tab(chromium: Chromium, guide: Guide, frame: str) -> None:
    wrong: list[str] = []
    sights = [sight for sight in SIGHTS if sight.frame == frame and not sight.press]
    assert sights
    for visitor in dict.fromkeys(sight.visitor for sight in sights):
        async with seat(chromium, guide, visitor) as window:
            page = window.page
            await prepare(window)
            for sight in (one for one in sights if one.visitor == visitor):
                answer = await page.goto(await guide.address(sight))
                assert answer is not None
                assert answer.status == sight.status, sight
                await resize(page, 390)
                faults = await walk(page) + await open_all(page)
                await resize(page, 1280)
                faults += await walk(page, and_back=False)
                wrong += [f"{sight.name}: {fault}" for fault in dict.fromkeys(faults)]
    assert not wrong, "\n".join(wrong)


# --- the walk itself --------------------------------------------------------------------------------------------------

_FAULTS = {
    "by pointer only": '<div onclick="">Pay</div>',
    "<p> Pay: by pointer only": "<p id=x>Pay</p><script>x.addEventListener('click', () => {})</script>",
    "<span> Pay: by pointer only": "<span style='cursor: pointer'>Pay</span>",
    "no stop": "<b role=button>Pay</b>",
    "its focus is not seen": "<button style='outline: 0'>Pay</button>",
    "its ring is faint": "<button>Pay</button><style>button:focus-visible { outline-color: #eee }</style>",
    "its ring is cut off": "<div style='overflow: hidden'><button style='display: block'>Pay</button></div>",
    "it is covered by <div>": "<button>Pay</button><div style='position: fixed; inset: 0'></div>",
    "the order is": "<button>First</button><button tabindex=1>Pay</button><button>Last</button>",
    "is not reached": "<button>First</button><button onfocus='blur()'>Pay</button><button>Last</button>",
    "lets nobody go": (
        "<button>1</button><button>2</button><button>3</button><button>4</button>"
        "<input onkeydown='event.preventDefault()'>"
    ),
    "stands above": (
        "<div style='display: flex; flex-direction: column-reverse'><button>1</button><button>2</button></div>"
    ),
    "scrolls by pointer only": (
        "<div style='overflow: auto; inline-size: 9rem' tabindex=-1><p style='inline-size: 99rem'>Much</p></div>"
    ),
    "cannot be sent": "<form><input name=a><input name=b></form>",
    "lets the focus go": (
        "<button popovertarget=x>Sure?</button><dialog popover id=x><button>Yes</button></dialog><button>Other</button>"
    ),
    "is not unfolded": "<details><summary onkeydown='event.preventDefault()'>More</summary>Much</details>",
}


@pytest.mark.parametrize(("fault", "body"), list(_FAULTS.items()))
async def test_a_walk_finds_what_stands_in_the_way(chromium: Chromium, fault: str, body: str) -> None:
    ring = "<style>:focus-visible { outline: 3px solid #000 } body { background: #fff; margin: 2rem }</style>"

    async def answer(route: Route) -> None:
        await route.fulfill(content_type="text/html", body=f"<!doctype html>{ring}<a href=/>Home</a><hr>{body}")

    async with chromium.new_desk("http://localhost") as window:
        await window.page.route("**/*", answer)
        await prepare(window)
        await window.page.goto("/")
        found = await walk(window.page) + await open_all(window.page)
    assert [line for line in found if fault in line], found


# --- a day's work -----------------------------------------------------------------------------------------------------


async def test_somebody_joins_and_chooses_a_pin(chromium: Chromium, guide: Guide) -> None:
    async with seat(chromium, guide, "nobody", 390) as window:
        page = window.page
        await window.hold_passkeys()
        await page.goto("/sign-in")
        await press(page, "a[href^='/join']")
        await page.wait_for_url("**/join")
        await write(page, "#name", "Kai")
        await page.keyboard.press("Enter")
        await page.wait_for_url("**/security/pin/new**")
        await page.keyboard.type("246813")  # the field has the focus already, and hands it on
        await page.keyboard.type("246813")
        await expect(page.locator("main .banner--good")).to_be_visible()
        await press(page, "a[href='/top-up']")
        await press(page, "button[value='50.00']", "Space")
        await expect(page.get_by_text("¥50.00").first).to_be_visible()


async def test_a_code_is_paid_on_the_keypad(chromium: Chromium, guide: Guide, house: Any) -> None:
    story = guide.story
    opened = await story.ask("tea", "18.00", "Jasmine tea, large")
    async with seat(chromium, guide, "nobody", 390) as window:
        page = window.page
        await page.goto(f"/q/{opened.code}")
        await press(page, f"button[value='{story.people['王小明'].text_id}']")
        await page.wait_for_url(f"**/q/{opened.code}")
        for digit in PIN:
            await press(page, f"[data-key='{digit}']", "Space")
        await page.wait_for_url("**/receipts/pay_*")
        await press(page, ".thumb a")
        await page.wait_for_url("**/")
    async with house.db.transaction() as tx:
        paid = await pay.get_payment(tx, story.shops["tea"].merchant.id, opened.payment_id)
    assert paid.status is pay.PaymentStatus.SUCCEEDED


async def test_a_printed_code_is_paid_with_a_sum_of_ones_own(chromium: Chromium, guide: Guide) -> None:
    async with seat(chromium, guide, "王小明", 390) as window:
        page = window.page
        await page.goto(f"/m/{guide.story.places['standing code']}")
        await write(page, "#amount", "7.50")
        await page.keyboard.press("Enter")
        await page.wait_for_url("**/q/*")
        await write(page, "#pin", PIN)
        await page.wait_for_url("**/receipts/pay_*")


async def test_the_counter_looks_a_payment_up_and_gives_money_back(
    chromium: Chromium, guide: Guide, house: Any
) -> None:
    story = guide.story
    paid = await story.buy("Bob", "tea", "12.00", "Lapsang, in a paper cup")
    async with seat(chromium, guide, "Mei") as window:
        page = window.page
        await page.goto(f"{story.shops['tea'].path}/payments")
        await write(page, "#q", "Lapsang")
        await expect(page.locator("#found tbody tr")).to_have_count(1)
        await press(page, "#found tbody a")
        await page.wait_for_url(f"**/payments/{paid.text_id}")
        await press(page, "[popovertarget=refund]")
        await write(page, "#refund [name=amount]", "5.00")
        await write(page, "#refund [name=reason]", "Too cold")
        await page.keyboard.press("Enter")
        await expect(page.locator("main .banner--good")).to_be_visible()
    async with house.db.transaction() as tx:
        payment = await pay.get_payment(tx, paid.merchant_id, paid.id)
    assert payment.refunded_minor == 500


async def test_what_a_server_has_missed_is_sent_again(chromium: Chromium, guide: Guide, house: Any) -> None:
    dead = guide.story.places["dead delivery"]
    async with seat(chromium, guide, "Mei") as window:
        page = window.page
        await page.goto(f"{guide.story.shops['tea'].path}/deliveries?status=dead")
        await press(page, f"a[href$='{dead}']")
        await press(page, "form[action$='/attempts'] button")
        await expect(page.locator("main .banner--good")).to_be_visible()
    await drain(house)
    async with house.db.transaction() as tx:
        delivery = await openplatform.find_delivery(tx, openplatform.from_text(dead))
    assert delivery.attempts == 1 + len(openplatform.RETRIES) + 1


async def test_the_desk_tops_up_and_moves_the_clock(chromium: Chromium, guide: Guide, house: Any) -> None:
    alice = guide.story.people["Alice"]
    async with house.db.transaction() as tx:
        begin = (await worlds.freeze_clock(tx, wall_now=clock.wall_now())).frozen_at
    assert begin is not None
    async with seat(chromium, guide, "Olga") as window:
        page = window.page
        await page.goto("/desk")
        await press(page, ".nav a[href='/desk/people']")
        await write(page, "input[name=who]", alice.number)
        await page.keyboard.press("Enter")
        await page.wait_for_url(f"**/desk/people/{alice.text_id}")
        await write(page, "#amount", "12.50")
        await write(page, "#reason", "Cash")
        await page.keyboard.press("Enter")
        await expect(page.locator("main .banner--good")).to_be_visible()
        await press(page, ".nav a[href='/desk/clock']")
        async with working(house):
            await write(page, "#count", "2")
            await tab_to(page, "#unit")
            await page.keyboard.press("ArrowDown")  # from hours to days
            await press(page, "form:has(#count) button")
            await expect(page.locator("#stop-move")).to_have_count(0)
            for _ in range(300):
                async with house.db.transaction() as tx:
                    now = (await worlds.get_world(tx)).frozen_at
                if now is not None and (now - begin).days == 2:
                    break
                await asyncio.sleep(0.1)
    assert (now - begin).days == 2
