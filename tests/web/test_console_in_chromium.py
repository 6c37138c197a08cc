"""The console in a real browser: nothing axe-core minds, keys that never leave it, drops that fall by themselves."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.x509 import load_pem_x509_certificate
from playwright.async_api import Request, expect

from browser import Chromium, Window, axe
from dewpond import openplatform
from dewpond.kit.db import Database
from dewpond.pay import Opened
from web.accounts import claim
from web.phones import grow_stale
from web.tills import Till


@pytest.fixture
async def till(house: Any, new_merchant: Any) -> Till:
    return Till(house, await new_merchant("Tea <b>Shop"))


@pytest.fixture
async def token(till: Till, visitors: Any, new_member: Any) -> str:
    """The session of the shop's owner."""
    client = await visitors.member(await new_member("Mei", shop=till.shop))
    return str(client.cookies.get("dewpond-staff"))


@asynccontextmanager
async def counter(
    chromium: Chromium, doors: Any, token: str, *, is_phone: bool = False, **options: Any
) -> AsyncIterator[Window]:
    """The owner's browser, signed in."""
    opened = chromium.new_phone if is_phone else chromium.new_desk
    async with opened(doors.staff, **options) as window:
        await window.context.add_cookies([{"name": "dewpond-staff", "value": token, "url": doors.staff}])
        yield window


async def pages_of(till: Till, new_person: Any) -> list[str]:
    """Every page of a shop at which something has happened, and the pages before it."""
    alice = await new_person("Alice", "90.00")
    paid = await till.sell(alice, what="Longjing <i>")
    await till.settle()
    await till.refund(paid, "3.00")
    await till.settle()
    code = await till.put_up("Counter")
    async with till.house.db.transaction() as tx:
        [delivery, *_] = await openplatform.list_deliveries(tx, merchant_id=till.shop.merchant.id)
    shop = ["", "/payments", "/payments?q=none", "/pool", "/codes", "/deliveries", "/keys", "/staff"]
    shop += [f"/payments/{paid.text_id}", f"/pool/{await till.open_id(alice)}", f"/codes/{code.code}"]
    shop += [f"/deliveries/{openplatform.to_text(delivery.id)}"]
    return [*(f"{till.path}{path}" for path in shop), "/account"]


@pytest.mark.parametrize(("is_phone", "scheme", "locale"), [(True, "dark", "zh-CN"), (False, "light", "en-US")])
async def test_nothing_stands_in_anybodys_way(
    chromium: Chromium, doors: Any, till: Till, token: str, new_person: Any, is_phone: bool, scheme: str, locale: str
) -> None:
    paths = await pages_of(till, new_person)
    options = {"color_scheme": scheme, "locale": locale}
    async with counter(chromium, doors, token, is_phone=is_phone, **options) as window:
        for path in paths:
            answer = await window.page.goto(path)
            assert answer is not None
            assert answer.status == 200, path
            assert await axe(window.page) == [], path
            width = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
            assert await window.page.evaluate(width) <= 0, f"{path} is wider than the screen"
        await window.context.clear_cookies()
        await window.page.goto("/sign-in")
        assert await axe(window.page) == []


@pytest.mark.parametrize("knows_closedby", [True, False])
async def test_a_press_beside_a_dialog_closes_it(
    chromium: Chromium, doors: Any, till: Till, token: str, knows_closedby: bool
) -> None:
    async with counter(chromium, doors, token) as window:
        page = window.page
        await page.goto(f"{till.path}/keys")
        if not knows_closedby:  # as in Safari
            await page.evaluate(
                "() => { delete HTMLDialogElement.prototype.closedBy;"
                " document.querySelector('#renew-key').removeAttribute('closedby'); }"
            )
        await page.locator("[popovertarget=renew-key]").first.click()
        dialog = page.locator("#renew-key")
        await dialog.get_by_role("heading").click()
        await expect(dialog).to_be_visible()
        await dialog.get_by_role("heading").hover()  # a word is marked, and let go beside the dialog
        await page.mouse.down()
        await page.mouse.move(5, 5)
        await page.mouse.up()
        await expect(dialog).to_be_visible()
        await page.mouse.click(5, 5)
        await expect(dialog).to_be_hidden()


async def test_a_proof_is_given_by_keyboard_and_nothing_is_typed_twice(
    chromium: Chromium, doors: Any, till: Till, visitors: Any, new_member: Any, database: Database
) -> None:
    mei = await new_member("Mei", shop=till.shop)
    await claim(database, mei)
    token = str((await visitors.member(mei)).cookies.get("dewpond-staff"))
    async with counter(chromium, doors, token) as window:
        page = window.page
        window.allow("status of 40[13]")
        await window.hold_passkeys()
        await page.goto("/account")
        await page.get_by_role("button", name="Add a passkey").press("Enter")
        await expect(page.get_by_role("button", name="Remove")).to_be_visible()

        await grow_stale(database, mei.id)
        await page.goto(f"{till.path}/keys")
        await page.locator("[popovertarget=renew-key]").first.press("Enter")
        await page.locator("#renew-key .action button").press("Enter")
        await expect(page.get_by_role("heading", name="Show that it is you")).to_be_visible()
        assert await axe(page) == []
        field = page.get_by_label("Password")
        await field.press_sequentially("not the password")
        await field.press("Enter")
        await expect(page.get_by_text("That is not your password.")).to_be_visible()
        await expect(field).to_be_focused()
        await page.keyboard.type("quiet water 42")
        await page.keyboard.press("Enter")
        await expect(page.locator("#new-key")).to_be_visible()

        await grow_stale(database, mei.id)
        await page.goto(f"{till.path}/staff")
        await page.get_by_label("Name", exact=True).fill("Ivy")
        await page.get_by_label("Sign-in name", exact=True).fill(f"ivy-{till.shop.merchant.number}")
        await page.get_by_role("button", name="Make a link").press("Enter")
        await page.get_by_role("button", name="Use passkey").press("Enter")
        await expect(page.get_by_role("heading", name="This link lets Ivy in")).to_be_visible()

        await grow_stale(database, mei.id)
        await page.get_by_role("button", name="New link").press("Enter")
        await page.get_by_role("link", name="Back, without changing anything").press("Enter")
        await expect(page.get_by_role("heading", name="Who works here")).to_be_visible()


async def test_a_key_is_made_by_keyboard_and_never_leaves(
    chromium: Chromium, doors: Any, till: Till, token: str
) -> None:
    sent: list[str] = []

    def see(request: Request) -> None:
        sent.append(request.post_data or "")

    async with counter(chromium, doors, token, accept_downloads=True) as window:
        page = window.page
        page.on("request", see)
        await page.goto(f"{till.path}/keys")
        sender = page.locator("form[data-key]").get_by_role("button", name="Get the certificate")
        await expect(sender).to_be_disabled()
        await page.get_by_role("button", name="Make the key").focus()
        await page.keyboard.press("Enter")
        saved = page.locator("[data-key-download]")
        await expect(saved).to_be_visible()
        await expect(sender).to_be_disabled()
        async with page.expect_download() as downloading:
            await saved.focus()
            await page.keyboard.press("Enter")
        file = await (await downloading.value).path()
        key = serialization.load_pem_private_key(file.read_bytes(), password=None)
        await sender.focus()
        await page.keyboard.press("Enter")
        await expect(page.get_by_text("The certificate is ready")).to_be_visible()
        async with page.expect_download() as downloading:
            await page.get_by_role("link", name=re.compile("Download the certificate")).first.click()
        made = load_pem_x509_certificate((await (await downloading.value).path()).read_bytes())
        assert made.public_key() == key.public_key()
        assert sum("CERTIFICATE+REQUEST" in one or "CERTIFICATE REQUEST" in one for one in sent) == 1
        assert not [one for one in sent if "PRIVATE" in one]


async def test_what_happens_appears_by_itself_in_every_window(
    chromium: Chromium, doors: Any, till: Till, token: str, new_person: Any
) -> None:
    async with counter(chromium, doors, token) as window:
        today, pool, payments = window.page, await window.context.new_page(), await window.context.new_page()
        for page, path in ((today, ""), (pool, "/pool"), (payments, "/payments")):
            await page.goto(f"{till.path}{path}")
            await expect(page.get_by_role("status").filter(has_text="Live")).to_be_visible()
        bob = await new_person("Bob", "90.00")
        paid = await till.sell(bob, "21.00", what="Oolong")
        await till.settle()
        await expect(today.locator("#taken")).to_have_text("¥21.00")
        await expect(today.locator(f"#payment-{paid.id}")).to_contain_text("Oolong")
        await expect(today.locator("#no-payments")).to_have_count(0)
        await expect(today.locator(".pool__glint:not(.pool__glint--free)")).to_have_count(1)
        await expect(pool.locator("#people")).to_have_text("1")
        await expect(pool.locator(f"#drop-{await till.open_id(bob)}")).to_contain_text("Bob")
        await expect(pool.locator("#no-drops")).to_have_count(0)
        await expect(payments.locator(f"#payment-{paid.id}")).to_contain_text("Paid")
        await till.refund(paid, "1.00")
        await till.settle()
        for page in (today, payments):
            await expect(page.locator(f"#payment-{paid.id}")).to_contain_text("Partly refunded")
        await expect(pool.locator("#spent")).to_have_text("¥20.00")
        await payments.locator("#q").fill("nothing like it")
        await expect(payments.locator("#found").get_by_text("Nothing found")).to_be_visible()
        other = await till.sell(bob, "2.00", what="Unseen")
        await till.settle()
        await expect(today.locator(f"#payment-{other.id}")).to_be_visible()
        await expect(payments.locator(f"#payment-{other.id}")).to_have_count(0)


async def test_a_poster_is_printed_on_one_page_and_alone(
    chromium: Chromium, doors: Any, till: Till, token: str
) -> None:
    code = await till.put_up("Counter")
    async with counter(chromium, doors, token) as window:
        page = window.page
        await page.goto(f"{till.path}/codes/{code.code}")
        await page.emulate_media(media="print")
        await expect(page.locator(".poster__sheet")).to_be_visible()
        for shown in (".console__side", ".console__head", ".no-print"):
            await expect(page.locator(shown).first).to_be_hidden()
        for paper in ({"width": "148mm", "height": "210mm"}, {"format": "A4"}, {"format": "Letter"}):
            printed = await page.pdf(print_background=True, prefer_css_page_size=True, **paper)
            assert len(re.findall(rb"/Type\s*/Page\b", printed)) == 1, paper


async def test_a_form_that_is_sent_by_a_quick_finger_is_sent_once(
    chromium: Chromium, doors: Any, till: Till, token: str, new_person: Any
) -> None:
    paid = await till.sell(await new_person("Alice", "90.00"))
    await till.settle()
    sent: list[Request] = []
    async with counter(chromium, doors, token) as window:
        page = window.page
        page.on("request", lambda asked: sent.append(asked) if asked.method == "POST" else None)
        await page.goto(f"{till.path}/payments/{paid.text_id}")
        await page.get_by_role("button", name="Give money back").click()
        await page.get_by_label("Amount").fill("5.00")
        await page.get_by_role("button", name="Give back").dblclick()
        await expect(page.get_by_text("The money is on its way back.")).to_be_visible()
    # What has become of the money would not show it: the house is deaf to the same form sent twice.
    assert len(sent) == 1
    assert (await till.payment(Opened(payment_id=paid.id, code=""))).refunded_minor == 500


async def test_a_payment_is_followed_and_giving_back_asks_first_by_keyboard(
    chromium: Chromium, doors: Any, till: Till, token: str, new_person: Any
) -> None:
    paid = await till.sell(await new_person("Alice", "90.00"))
    await till.settle()
    async with counter(chromium, doors, token, reduced_motion="reduce") as window:
        page = window.page
        await page.goto(f"{till.path}/payments/{paid.text_id}")
        opens = page.get_by_role("button", name="Give money back")
        await expect(opens).to_have_count(1)
        await expect(page.get_by_role("button", name="Give back", exact=True)).to_be_hidden()
        for leave in ("Escape", None):
            await opens.focus()
            await page.keyboard.press("Enter")
            await expect(page.get_by_role("dialog", name="Give money back")).to_be_visible()
            assert await axe(page) == []
            if leave:
                await page.keyboard.press(leave)
                await expect(opens).to_be_focused()
        await page.get_by_label("Amount").fill("5.00")
        await page.get_by_role("button", name="Give back", exact=True).focus()
        await page.keyboard.press("Enter")
        now = page.locator("#payment-now")
        await expect(page.get_by_text("The money is on its way back.")).to_be_visible()
        await expect(now.get_by_text("On its way")).to_be_visible()
        await expect(now.get_by_text("Partly refunded")).to_be_visible()

        held = now.get_by_role("link", name="Alice in the pool")
        marked = await now.locator(".table-frame").first.element_handle()
        await held.focus()
        await till.settle()
        await expect(now.get_by_text("On its way")).to_have_count(0, timeout=10_000)
        await expect(now.get_by_text("Refunded", exact=True)).to_be_visible()
        await expect(held).to_be_focused()
        assert marked is not None
        assert not await marked.evaluate("frame => frame.isConnected"), "what changed was put anew"

        async with page.expect_response("**/payments/*"):
            pass
        stays = await now.element_handle()
        for _ in range(2):
            async with page.expect_response("**/payments/*"):
                pass
        assert stays is not None
        assert await stays.evaluate("part => part.isConnected"), "what did not change stays where it is"
