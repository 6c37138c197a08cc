"""A person's identity in a real browser: account, PIN, out and in again, a second device by scanning; keys alone."""

from typing import Any

from playwright.async_api import Page, expect

from browser import Chromium, Window, axe

PIN = "246813"


async def press(page: Page, name: str) -> None:
    await page.get_by_role("button", name=name, exact=True).click()


async def said(page: Page, note: str) -> None:
    """Wait for the next page to say this."""
    await expect(page.get_by_role("status").filter(has_text=note)).to_be_visible()


async def join(window: Window, name: str = "Alice") -> None:
    """Make an account and set a PIN, as a newcomer does."""
    await window.hold_passkeys()
    page = window.page
    await page.goto("/join?next=/me")
    await page.get_by_label("Your name").fill(name)
    await press(page, "Make my passkey")
    await page.wait_for_url("**/security/pin/new**")
    await page.get_by_label("New PIN").fill(PIN)  # the sixth digit moves on by itself
    await expect(page.get_by_label("The same PIN again")).to_be_focused()
    await page.get_by_label("The same PIN again").fill(PIN)
    await said(page, "Your payment PIN is set.")


async def test_join_set_a_pin_sign_out_and_come_back(chromium: Chromium, doors: Any) -> None:
    async with chromium.new_phone(doors.phone) as phone:
        page = phone.page
        await join(phone)
        await expect(page.get_by_text("Alice", exact=True)).to_be_visible()
        await page.goto("/me")
        await press(page, "Sign out")
        await said(page, "Signed out.")
        await page.goto("/security")
        await page.wait_for_url("**/sign-in?next=/security")
        await press(page, "Sign in with passkey")
        await page.wait_for_url("**/security")
        await expect(page.get_by_text("This one")).to_be_visible()


async def test_a_second_device_comes_in_by_scanning(chromium: Chromium, doors: Any) -> None:
    async with chromium.new_phone(doors.phone) as phone, chromium.new_desk(doors.phone) as desk:
        await join(phone)
        screen = desk.page
        await screen.goto("/sign-in?next=/me")
        await press(screen, "Scan to sign in")
        number = await screen.locator(".scan-number").inner_text()
        code = next(one for one in await desk.context.cookies() if one["name"] == "dewpond-scan")
        assert await axe(screen) == []
        page = phone.page
        await page.goto(f"/s/{code['value'].split('.')[0]}")
        assert await axe(page) == []
        await press(page, number)
        await said(page, "Your other device is being signed in.")
        await screen.wait_for_url("**/me")  # by itself, without a reload
        await expect(screen.get_by_text("Alice", exact=True)).to_be_visible()
        # The new device has proved nothing yet: what matters asks for the PIN there.
        await screen.goto("/security/passkeys/new")
        await screen.get_by_label("Payment PIN").fill(PIN)
        await screen.wait_for_url("**/security/passkeys/new")
        await page.goto("/security")
        await press(page, "Sign out all other devices")
        await said(page, "All your other devices are signed out.")
        await screen.goto("/me")
        await screen.wait_for_url("**/sign-in?next=/me")


async def test_a_finger_that_is_not_recognised_leaves_everything_as_it_was(chromium: Chromium, doors: Any) -> None:
    async with chromium.new_phone(doors.phone) as phone:
        holder = await phone.hold_passkeys()
        page = phone.page
        await holder.approve(False)
        await page.goto("/join")
        await page.get_by_label("Your name").fill("Alice")
        await press(page, "Make my passkey")
        await expect(page.get_by_role("alert")).to_contain_text("Nothing has happened")
        assert await axe(page) == []
        await holder.approve(True)
        await press(page, "Make my passkey")
        await page.wait_for_url("**/security/pin/new**")


async def test_without_passkeys_the_page_says_so_and_the_sandbox_has_another_way(
    chromium: Chromium, doors: Any
) -> None:
    async with chromium.new_phone(doors.phone) as phone:
        page = phone.page
        await page.add_init_script("delete globalThis.PublicKeyCredential")
        await page.goto("/join?next=/me")
        await expect(page.get_by_text("Passkeys do not work here")).to_be_visible()
        await expect(page.get_by_role("button", name="Make my passkey")).to_be_hidden()
        await page.get_by_role("link", name="Join with a PIN").click()
        await page.get_by_label("Your name").fill("Pinny")
        await page.get_by_label("Payment PIN").fill(PIN)
        await page.get_by_label("The same PIN again").fill(PIN)
        await page.wait_for_url("**/me")


async def test_keys_alone_sign_in_and_change_what_a_person_has(chromium: Chromium, doors: Any) -> None:
    async def tab_to(page: Page, name: str) -> None:
        for _ in range(40):
            await page.keyboard.press("Tab")
            focused = await page.evaluate(
                "() => document.activeElement.ariaLabel || document.activeElement.labels?.[0]?.textContent"
                " || document.activeElement.textContent"
            )
            if name in focused:
                return
        raise AssertionError(f"no way by keys to {name!r}")

    async with chromium.new_desk(doors.phone) as desk:
        page = desk.page
        await desk.hold_passkeys()
        await page.goto("/join?next=/me")
        await tab_to(page, "Your name")
        await page.keyboard.type("Alice")
        await page.keyboard.press("Enter")
        await page.wait_for_url("**/security/pin/new**")
        await expect(page.get_by_label("New PIN")).to_be_focused()
        await page.keyboard.type(PIN)
        await page.keyboard.type(PIN)
        await said(page, "Your payment PIN is set.")
        await tab_to(page, "Security")
        await page.keyboard.press("Enter")
        await page.wait_for_url("**/security")
        await tab_to(page, "Limits")
        await page.keyboard.press("Enter")
        await page.wait_for_url("**/security/limits")
        await tab_to(page, "At most per payment")
        await page.keyboard.type("500")
        await page.keyboard.press("Enter")
        await said(page, "Saved.")
        await tab_to(page, "Chrom")  # the passkey
        await page.keyboard.press("Enter")
        await page.wait_for_url("**/security/passkeys/pky_*")
        await tab_to(page, "Remove this passkey")
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("dialog")).to_be_visible()
        await page.keyboard.press("Escape")
        await expect(page.get_by_role("dialog")).to_be_hidden()


async def test_no_page_has_a_fault_that_axe_can_see(chromium: Chromium, doors: Any, new_person: Any) -> None:
    await new_person("Demo")
    for theme in ("light", "dark"):
        async with chromium.new_phone(doors.phone, color_scheme=theme) as phone:
            page = phone.page
            for path in ("/sign-in", "/join", "/join/with-pin", "/sign-in/scan", "/about"):
                await page.goto(path)
                assert await axe(page) == [], path
            await join(phone)
            paths = ["/me", "/me/name", "/security", "/security/limits", "/security/pin/new", "/security/passkeys/new"]
            for path in paths:
                await page.goto(path)
                assert await axe(page) == [], path
