"""The story in the hand: a person with a phone, a shop with its console, an operator at the desk, in a real browser."""

import asyncio
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pytest
from playwright.async_api import Page, expect

from browser import Chromium, Window
from journeys.running import RunningWorld, a_world, open_shop, until

pytestmark = pytest.mark.journey

PIN = "246810"


@dataclass(frozen=True)
class Stage:
    """A furnished sandbox and where its doors are."""

    world: RunningWorld
    phone: str
    staff: str
    shop: str


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with a_world(blank=False) as world:
        shop = until("the shop is open", lambda: re.search(r"http://127\.0\.0\.1:\d+", _printed(world)))
        told = world.ask("world", "show")
        yield Stage(world, told["public_url"], told["staff_url"], shop.group(0))


def _printed(world: RunningWorld) -> str:
    return (world.home / "run.out").read_text()


async def join(phone: Window, name: str) -> None:
    """Make an account by passkey, and a PIN; nothing to fill in beyond a name."""
    page = phone.page
    await phone.hold_passkeys()
    await page.goto("/join")
    await page.get_by_label("Your name").fill(name)
    await page.get_by_role("button", name="Make my passkey").click()
    await page.get_by_text("Your account is made").wait_for()
    await page.wait_for_load_state()  # from then on the page hears what is typed
    await page.locator("#pin").press_sequentially(PIN)
    await expect(page.locator("#again")).to_be_focused()
    await page.locator("#again").press_sequentially(PIN)
    await page.get_by_role("heading", name=re.compile(name)).wait_for()


async def take_play_money(phone: Window) -> None:
    """¥50.00, which the wallet has then."""
    page = phone.page
    await page.goto("/")
    await page.get_by_role("link", name="Get play money").click()
    await page.get_by_role("button", name="¥50.00").click()
    await expect(page.get_by_text("The money is in your wallet")).to_be_visible()
    await page.goto("/")
    await expect(page.get_by_label("Wallet").locator(".amount")).to_have_text("¥50.00")


async def sign_in_at_work(desk: Window, who: str) -> None:
    await desk.page.goto("/sign-in")
    await desk.page.get_by_role("button", name=re.compile(who)).click()


async def order(shop: Window) -> str:
    """Ask for a cup of Longjing at the shop's own page; what its code says."""
    await shop.page.goto("/")
    await shop.page.get_by_role("button", name=re.compile("Longjing")).click()
    link = shop.page.locator('a[href*="/q/"]').first
    await link.wait_for()
    return str(await link.get_attribute("href"))


async def test_scan_pay_and_stay(stage: Stage, chromium: Chromium) -> None:
    async with (
        chromium.new_phone(stage.phone) as phone,
        chromium.new_desk(stage.staff) as counter,
        chromium.new_desk(stage.shop) as shop,
    ):
        await join(phone, "Lin")
        await take_play_money(phone)

        await sign_in_at_work(counter, "Tea Owner")
        await counter.page.get_by_text("Live", exact=True).first.wait_for()
        people = int(await counter.page.locator("#people").inner_text())

        chromium.show(await order(shop))
        await phone.page.goto("/")
        await phone.page.get_by_role("link", name="Scan and pay").click()
        await phone.page.wait_for_url("**/q/*")
        assert await phone.page.get_by_text("Tea Shop").first.is_visible()
        assert "18.00" in await phone.page.locator(".payee__sum").inner_text()
        await phone.page.get_by_role("button", name="Pay ¥18.00").first.click()  # the only tap after the scan
        await phone.page.get_by_role("status").get_by_text("Paid").wait_for()

        await shop.page.get_by_text(re.compile("paid", re.I)).first.wait_for()  # by itself
        row = counter.page.locator("#payments tr").filter(has_text="Longjing").first
        await row.wait_for()
        await counter.page.locator("#people", has_text=str(people + 1)).wait_for()
        assert "18.00" in await row.inner_text()

        await row.get_by_role("link").first.click()
        await counter.page.get_by_role("button", name="Give money back").click()
        await counter.page.get_by_label("Amount").fill("5.00")
        await counter.page.get_by_role("button", name="Give back").click()
        await counter.page.get_by_text("¥5.00 given back").first.wait_for()

        await refunds_and_pools_are_seen(stage, phone)


async def refunds_and_pools_are_seen(stage: Stage, phone: Window) -> None:
    page = phone.page

    async def has_refund() -> bool:
        await page.goto("/history")
        return "+¥5.00" in (await page.locator("main").inner_text()).replace("\n", "")

    for _ in range(100):
        if await has_refund():
            break
        await asyncio.sleep(0.2)
    else:
        raise AssertionError("the refund never came into the history")
    await page.goto("/pools")
    await page.get_by_role("link", name=re.compile("Tea Shop")).first.click()
    await page.get_by_text("¥13.00").first.wait_for()
    check = await asyncio.to_thread(stage.world.ask, "ledger", "check")
    assert check["sound"]


async def test_a_second_device_signs_in_by_scanning_and_can_be_signed_out(stage: Stage, chromium: Chromium) -> None:
    async with chromium.new_phone(stage.phone) as phone, chromium.new_desk(stage.phone) as laptop:
        await join(phone, "Bo")
        await laptop.page.goto("/sign-in")
        await laptop.page.get_by_role("button", name="Scan to sign in").click()
        number = (await laptop.page.locator(".scan-number").inner_text()).strip()
        chromium.show(await _scan_link(stage, laptop))
        await phone.page.goto("/scan")
        await phone.page.wait_for_url("**/s/*")
        await phone.page.get_by_role("button", name=number, exact=True).click()
        await laptop.page.get_by_role("heading", name=re.compile("Bo")).wait_for()
        await phone.page.goto("/security")
        laptop.allow("status of 4")
        await phone.page.get_by_role("button", name=re.compile(r"^Sign out (?!all)")).last.click()
        await phone.page.get_by_text("That device is signed out").wait_for()
        await laptop.page.goto("/history")
        assert "/sign-in" in laptop.page.url


async def _scan_link(stage: Stage, laptop: Window) -> str:
    """What the picture on the laptop says: its browser keeps the same id beside its own secret."""
    [kept] = [one["value"] for one in await laptop.context.cookies() if "scan" in one["name"]]
    return f"{stage.phone}/s/{kept.partition('.')[0]}"


async def test_the_desk_shows_this_world_and_moves_its_clock(stage: Stage, chromium: Chromium) -> None:
    async with chromium.new_phone(stage.phone) as phone, chromium.new_desk(stage.staff) as desk:
        await join(phone, "Dora")
        await take_play_money(phone)
        shut = await asyncio.to_thread(sell_to_the_deaf, stage.world, "Dora")
        await phone.page.goto("/me")
        number = await phone.page.locator(".copyable code").inner_text()

        page = desk.page
        await sign_in_at_work(desk, "Operator")
        desk.allow("status of 404")  # a number that nobody has
        await merchants_and_people_are_found(page, number)
        await money_is_seen_in_each_group_of_accounts(stage, page)
        await a_delivery_that_fails_is_seen(page, shut)
        await the_clock_is_frozen_moved_and_let_run(stage, page)
        # What fell due on the way happened: the shop was told again and again, and then no more.
        await page.goto("/desk/deliveries?status=dead")
        await expect(page.locator("#deliveries").get_by_text(shut).first).to_be_visible()


def sell_to_the_deaf(world: RunningWorld, payer: str) -> str:
    """Pay at a shop whose server takes no notification; the shop's name, once it has refused the first one."""
    shop = open_shop(world, "Shut Shutters")
    refusals = shop.answers = [500] * 100
    world.ask("pay", shop.order("shut-1", 1200), "--as", payer, "--pin", PIN)
    until("the shop refuses to be told", lambda: len(refusals) < 100)
    return "Shut Shutters"


async def merchants_and_people_are_found(page: Page, number: str) -> None:
    await page.goto("/desk/merchants")
    await expect(page.locator("main").get_by_text("Tea Shop").first).to_be_visible()
    await expect(page.locator("main").get_by_text("Shut Shutters").first).to_be_visible()
    await page.goto("/desk/people")
    await page.get_by_label("Their number").fill(number)
    await page.get_by_role("button", name="Find").click()
    await expect(page.get_by_role("heading", name="Dora", exact=True)).to_be_visible()
    await expect(page.locator("main")).to_contain_text("¥38.00")
    await page.goto("/desk/people")
    await page.get_by_label("Their number").fill("0000000000")
    await page.get_by_role("button", name="Find").click()
    await expect(page.get_by_text("Nobody has this number.")).to_be_visible()


async def money_is_seen_in_each_group_of_accounts(stage: Stage, page: Page) -> None:
    """The sums of the overview: zero together, and what was paid in is what the terminal says of the bank."""
    house = await asyncio.to_thread(stage.world.ask, "ledger", "balances", "house")
    await page.goto("/desk")
    await expect(page.get_by_text("Adds up to zero")).to_be_visible()
    # In one look, for they are put in their place anew every few seconds.
    told = await page.locator(".fact").evaluate_all(
        "(facts) => facts.map((one) => [...one.children].map((it) => it.innerText))"
    )
    sums = {label: fen(value) for label, value in told if label in {"Wallets", "Unsettled", "Fees", "Bank"}}
    assert len(sums) == 4
    assert sum(sums.values()) == 0
    assert sums["Wallets"] >= 3800
    assert sums["Unsettled"] > 0
    assert sums["Bank"] == sum(one["posted"] for one in house["accounts"] if one["account"] == "bank") < 0


def fen(text: str) -> int:
    return int(re.sub(r"[^0-9-]", "", text.replace("−", "-")))


async def a_delivery_that_fails_is_seen(page: Page, shop: str) -> None:
    await page.goto("/desk/deliveries?status=pending")
    row = page.locator("#deliveries .row").filter(has_text=shop)
    await expect(row).to_contain_text("Failing")
    await row.get_by_role("link").click()
    await expect(page.get_by_role("heading", name="Payment succeeded")).to_be_visible()
    await expect(page.locator("main")).to_contain_text("HTTP 500")


async def the_clock_is_frozen_moved_and_let_run(stage: Stage, page: Page) -> None:
    async def clock() -> Any:
        return await asyncio.to_thread(stage.world.ask, "world", "clock", "show")

    await page.goto("/desk/clock")
    await page.get_by_role("button", name="Freeze", exact=True).click()
    await expect(page.get_by_text("The clock is frozen.")).to_be_visible()
    frozen = await clock()
    assert frozen["frozen"]

    await page.get_by_role("button", name="+ 7 days").click()
    await expect(page.get_by_text("moved it to")).to_be_visible()  # without a reload
    moved = await clock()
    assert moved["frozen"]
    assert world_time(moved) - world_time(frozen) == timedelta(days=7)

    await page.get_by_role("button", name="Let it run").click()
    await expect(page.get_by_text("The clock runs.")).to_be_visible()
    running = await clock()
    assert not running["frozen"]
    assert world_time(running) > world_time(moved)


def world_time(clock: Any) -> datetime:
    return datetime.fromisoformat(clock["world_time"])
