"""Paying in a real browser: the camera sees a real code, the fingers do as little as can be, and nothing pays twice."""

import re
from typing import Any

import pytest
from playwright.async_api import Page, Route, expect

from browser import Chromium, Window, axe
from web.conftest import Doors, Visitors
from web.counters import PIN, Counter, money_of

#: What an installed phone may load to show its first page, over the wire, in bytes.
HOME_BYTES = 150_000


@pytest.fixture
async def counter(house: Any, new_merchant: Any) -> Counter:
    return Counter(house, await new_merchant("Tea Shop"))


@pytest.fixture
async def alice(new_person: Any) -> Any:
    return await new_person("Alice", "100.00")


async def sign_in(window: Window, doors: Doors, visitors: Visitors, person: Any) -> None:
    """Let this window be somebody's phone."""
    client = await visitors.person(person)
    token = client.cookies["dewpond-person"]
    await window.context.add_cookies([{"name": "dewpond-person", "value": token, "url": doors.phone}])


async def type_on_the_keypad(page: Page, digits: str) -> None:
    pad = page.get_by_role("group", name="Keypad")
    for digit in digits:
        await pad.get_by_role("button", name=digit, exact=True).click()


async def focus_by_tabs(page: Page, wanted: str, *, most: int = 25) -> None:
    """Press Tab until the focus is on what is called so."""
    for _ in range(most):
        await page.keyboard.press("Tab")
        name = await page.evaluate(
            "() => { const e = document.activeElement; return e.ariaLabel || e.labels?.[0]?.innerText || e.innerText }"
        )
        if wanted in (name or ""):
            return
    raise AssertionError(f"{wanted} is not reached by Tab")


async def show(chromium: Chromium, doors: Doors, code: str) -> None:
    chromium.show(f"{doors.phone}/q/{code}")


async def test_scan_type_the_pin_and_have_paid(
    chromium: Chromium, doors: Doors, visitors: Visitors, counter: Counter, alice: Any, house: Any
) -> None:
    opened = await counter.ask("18.00", what="Jasmine, large")
    await show(chromium, doors, opened.code)
    async with chromium.new_phone(doors.phone) as phone:
        await sign_in(phone, doors, visitors, alice)
        await phone.page.goto("/")
        await phone.page.get_by_role("link", name="Scan and pay").click()
        await phone.page.wait_for_url(f"**/q/{opened.code}")
        payee = phone.page.get_by_role("region", name="Payee and sum")
        await expect(payee).to_contain_text("Tea Shop")
        await expect(payee).to_contain_text("Jasmine, large")
        await expect(payee.get_by_role("img", name="Verified shop")).to_be_visible()
        assert await axe(phone.page) == []
        await type_on_the_keypad(phone.page, PIN)  # the sixth digit pays
        await phone.page.wait_for_url("**/receipts/pay_*")
        await expect(phone.page.get_by_role("status").filter(has_text="Paid")).to_be_visible()
        await phone.page.get_by_role("link", name="Done").click()
        await expect(phone.page.get_by_role("region", name="Wallet")).to_contain_text("82")
    assert await money_of(house, alice) == 82_00


async def test_scan_and_pay_by_passkey_with_one_tap(
    chromium: Chromium, doors: Doors, visitors: Visitors, counter: Counter, alice: Any, house: Any
) -> None:
    opened = await counter.ask("18.00")
    await show(chromium, doors, opened.code)
    async with chromium.new_phone(doors.phone) as phone:
        await sign_in(phone, doors, visitors, alice)
        finger = await phone.hold_passkeys()
        await phone.page.goto("/security/passkeys/new")
        await phone.page.locator("form[data-passkey] button").click()
        await expect(phone.page.get_by_role("status").filter(has_text="passkey works")).to_be_visible()
        await phone.page.goto("/scan")
        await phone.page.wait_for_url(f"**/q/{opened.code}")
        await finger.approve(False)
        pay = phone.page.locator("form[data-passkey]").get_by_role("button", name="Pay ¥18.00")
        await pay.click()
        await expect(phone.page.get_by_role("alert").filter(has_text="Nothing has happened")).to_be_visible()
        assert await money_of(house, alice) == 100_00
        await finger.approve(True)
        await pay.click()
        await phone.page.wait_for_url("**/receipts/pay_*")
    assert await money_of(house, alice) == 82_00


async def test_by_keyboard_alone(
    chromium: Chromium, doors: Doors, visitors: Visitors, counter: Counter, alice: Any, house: Any
) -> None:
    opened = await counter.ask("18.00")
    chromium.show()
    async with chromium.new_phone(doors.phone) as phone:
        await sign_in(phone, doors, visitors, alice)
        page = phone.page
        await page.goto("/")
        await focus_by_tabs(page, "Scan and pay")
        await page.keyboard.press("Enter")
        await page.wait_for_url("**/scan")
        await focus_by_tabs(page, "Code or link")
        await page.keyboard.type(opened.code)
        await page.keyboard.press("Enter")
        await page.wait_for_url(f"**/q/{opened.code}")
        await focus_by_tabs(page, "Payment PIN")
        await page.keyboard.type(PIN)
        await page.wait_for_url("**/receipts/pay_*")
        await focus_by_tabs(page, "Done")
        await page.keyboard.press("Enter")
        await page.wait_for_url(f"{doors.phone}/")
    assert await money_of(house, alice) == 82_00


async def test_a_wrong_pin_is_forgotten_and_a_reload_sends_it_no_more(
    chromium: Chromium, doors: Doors, visitors: Visitors, counter: Counter, alice: Any, house: Any
) -> None:
    opened = await counter.ask()
    async with chromium.new_phone(doors.phone) as phone:
        phone.allow("status of 403")
        await sign_in(phone, doors, visitors, alice)
        await phone.page.goto(f"/q/{opened.code}")
        await type_on_the_keypad(phone.page, "000000")
        await expect(phone.page.get_by_text("Tries left: 4.")).to_be_visible()
        field = phone.page.get_by_label("Payment PIN")
        await expect(field).to_have_value("")
        await expect(field).to_be_focused()
        assert phone.page.url == f"{doors.phone}/q/{opened.code}"
        await phone.page.reload()
        await type_on_the_keypad(phone.page, "000001")
        await expect(phone.page.get_by_text("Tries left: 3.")).to_be_visible()
        await phone.page.go_back()
        await phone.page.goto(f"/q/{opened.code}")
        await type_on_the_keypad(phone.page, PIN)
        await phone.page.wait_for_url("**/receipts/pay_*")
    assert await money_of(house, alice) == 82_00


async def test_two_taps_at_once_pay_once(
    chromium: Chromium, doors: Doors, visitors: Visitors, counter: Counter, alice: Any, house: Any
) -> None:
    from dewpond import pay
    from dewpond.kit import worlds

    async with house.db.transaction() as tx:
        limits = pay.Limits(person_id=alice.id, without_pin_minor=20_00)
        await pay.set_limits(tx, limits, now=await worlds.read_clocks(tx))
    opened = await counter.ask("18.00")
    async with chromium.new_phone(doors.phone) as phone:
        await sign_in(phone, doors, visitors, alice)
        await phone.page.goto(f"/q/{opened.code}")
        await phone.page.get_by_role("button", name="Pay ¥18.00").dblclick()
        await phone.page.wait_for_url("**/receipts/pay_*")
        await phone.page.goto(f"/q/{opened.code}")
        await phone.page.wait_for_url("**/receipts/pay_*")  # paid is paid: the code leads here again
    assert await money_of(house, alice) == 82_00


@pytest.mark.parametrize("is_heard", [False, True], ids=["the yes is lost", "the answer is lost"])
async def test_a_lost_connection_leaves_the_page_and_pays_nothing_twice(
    chromium: Chromium, doors: Doors, visitors: Visitors, counter: Counter, alice: Any, house: Any, is_heard: bool
) -> None:
    opened = await counter.ask("18.00")

    async def cut(route: Route) -> None:
        if is_heard:
            await route.fetch()
        await route.abort("connectionreset")

    async with chromium.new_phone(doors.phone) as phone:
        phone.allow("ERR_CONNECTION_RESET")
        await sign_in(phone, doors, visitors, alice)
        await phone.page.goto(f"/q/{opened.code}")
        await phone.page.route("**/confirmation", cut)
        await type_on_the_keypad(phone.page, PIN)
        await expect(phone.page.get_by_text("nobody knows yet whether this was paid")).to_be_visible()
        assert await money_of(house, alice) == (82_00 if is_heard else 100_00)
        await phone.page.unroute("**/confirmation")
        await type_on_the_keypad(phone.page, PIN)
        await phone.page.wait_for_url("**/receipts/pay_*")
    assert await money_of(house, alice) == 82_00


async def test_older_browsers_that_cannot_give_up_pay_as_well(
    chromium: Chromium, doors: Doors, visitors: Visitors, counter: Counter, alice: Any
) -> None:
    opened = await counter.ask("18.00")
    async with chromium.new_phone(doors.phone) as phone:
        await sign_in(phone, doors, visitors, alice)
        await phone.page.add_init_script("delete AbortSignal.timeout")
        await phone.page.goto(f"/q/{opened.code}")
        await type_on_the_keypad(phone.page, PIN)
        await phone.page.wait_for_url("**/receipts/pay_*")


async def test_whoever_waits_for_an_answer_is_told_so_and_at_last_let_go(
    chromium: Chromium, doors: Doors, visitors: Visitors, counter: Counter, alice: Any, house: Any
) -> None:
    opened = await counter.ask("18.00")
    silent: list[Route] = []

    async def keep(route: Route) -> None:
        silent.append(route)

    async with chromium.new_phone(doors.phone) as phone:
        await sign_in(phone, doors, visitors, alice)
        await phone.page.add_init_script(
            "AbortSignal.timeout = (ms) => {"
            " const given = new AbortController(); setTimeout(() => given.abort(), ms); return given.signal; }"
        )  # the browser's own timer is not moved by the clock below
        await phone.page.clock.install()
        await phone.page.goto(f"/q/{opened.code}")
        await phone.page.route("**/confirmation", keep)
        await type_on_the_keypad(phone.page, PIN)
        slow, unknown = [phone.page.get_by_text(said) for said in ("longer than usual", "nobody knows yet whether")]
        await phone.page.clock.fast_forward(7_000)
        await expect(slow).to_be_hidden()
        await phone.page.clock.fast_forward(2_000)
        await expect(slow).to_be_visible()
        await expect(phone.page.locator("form[data-pays]")).to_have_attribute("aria-busy", "true")
        await phone.page.clock.fast_forward(40_000)
        await expect(unknown).to_be_visible()
        await expect(slow).to_be_hidden()
        await phone.page.unroute("**/confirmation")
        await type_on_the_keypad(phone.page, PIN)
        await phone.page.wait_for_url("**/receipts/pay_*")
    assert len(silent) == 1
    assert await money_of(house, alice) == 82_00


async def test_who_comes_too_late_is_shown_how_things_stand(
    chromium: Chromium, doors: Doors, visitors: Visitors, counter: Counter, alice: Any, new_person: Any, house: Any
) -> None:
    """Somebody else has paid meanwhile: no sentence in the form, but the page that says so."""
    opened, bob = await counter.ask("18.00"), await new_person("Bob", "50.00")
    async with chromium.new_phone(doors.phone) as phone:
        phone.allow("status of 409")
        await sign_in(phone, doors, visitors, alice)
        await phone.page.goto(f"/q/{opened.code}")
        other = await visitors.person(bob)
        assert (await other.send_form(f"/q/{opened.code}/confirmation", pin=PIN)).status_code == 303
        await type_on_the_keypad(phone.page, PIN)
        await expect(phone.page.get_by_text("Somebody else has paid this")).to_be_visible()
    assert await money_of(house, alice) == 100_00


async def test_time_runs_out_before_the_eyes(
    chromium: Chromium, doors: Doors, visitors: Visitors, counter: Counter, alice: Any
) -> None:
    async with chromium.new_phone(doors.phone) as phone:
        phone.allow("status of 409")
        await sign_in(phone, doors, visitors, alice)
        opened = await counter.ask(minutes=0.1)
        await phone.page.goto(f"/q/{opened.code}")
        left = phone.page.locator("[data-countdown]")
        before = await left.inner_text()
        await expect(left).not_to_have_text(before)
        await expect(phone.page.get_by_role("heading", name="This code has expired")).to_be_visible()


async def test_history_is_searched_and_goes_on_without_a_reload(
    chromium: Chromium, doors: Doors, visitors: Visitors, counter: Counter, alice: Any
) -> None:
    client = await visitors.person(alice)
    for number in range(35):
        opened = await counter.ask("0.10", what=f"Thing {number:02d}")
        await client.send_form(f"/q/{opened.code}/confirmation", pin=PIN)
    async with chromium.new_phone(doors.phone) as phone:
        await sign_in(phone, doors, visitors, alice)
        await phone.page.goto("/history")
        await phone.page.evaluate("() => { globalThis.stayed = true }")
        rows = phone.page.locator("#movements > .row")
        await expect(rows).to_have_count(30)
        await phone.page.get_by_role("link", name="Show more").click()
        await expect(rows).to_have_count(36)
        await expect(phone.page.get_by_role("link", name="Show more")).to_have_count(0)
        await expect(phone.page.get_by_role("heading", name="Today")).to_have_count(1)
        await phone.page.get_by_role("searchbox", name="Search your history").fill("thing 07")
        await expect(rows).to_have_count(1)
        await expect(phone.page.locator("#found-count")).to_have_text("1 found")
        await phone.page.wait_for_url(re.compile(r"/history\?q=thing(?:\+|%20)07$"))
        assert await phone.page.evaluate("() => globalThis.stayed")
        assert await axe(phone.page) == []


async def test_the_balance_can_be_covered(chromium: Chromium, doors: Doors, visitors: Visitors, alice: Any) -> None:
    async with chromium.new_phone(doors.phone) as phone:
        await sign_in(phone, doors, visitors, alice)
        await phone.page.goto("/")
        balance = phone.page.locator(".wallet .amount")
        await expect(balance).to_be_visible()
        await phone.page.get_by_text("Balance").click()
        await expect(balance).to_be_hidden()


async def test_home_is_light(
    chromium: Chromium, doors: Doors, visitors: Visitors, counter: Counter, alice: Any
) -> None:
    client = await visitors.person(alice)
    for _ in range(3):
        await client.send_form(f"/q/{(await counter.ask()).code}/confirmation", pin=PIN)
    await counter.take_in_drops()
    async with chromium.new_phone(doors.phone) as phone:
        await sign_in(phone, doors, visitors, alice)
        session = await phone.context.new_cdp_session(phone.page)
        await session.send("Network.enable")
        sizes: list[int] = []
        session.on("Network.loadingFinished", lambda told: sizes.append(int(told["encodedDataLength"])))
        await phone.page.goto("/", wait_until="networkidle")
        assert len(sizes) >= 5
        assert sum(sizes) < HOME_BYTES
