"""The tea shop's own page: a guest orders, pays and gets money back; nothing that is sent to it becomes markup."""

import contextlib
import http.client
import json
import os
import re
import select
import shutil
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
import segno

from browser import Chromium, Window, axe
from dewpond.cli.shop import open_tea_shop
from dewpond.settings import read_settings
from journeys.running import until
from journeys.teashop import Shop, open_shop

pytestmark = pytest.mark.journey


# --- in a browser -----------------------------------------------------------------------------------------------------


def drawn(path: str) -> set[tuple[int, int]]:
    """The dark modules of a code that is drawn as strokes: `M4 4.5h7m2 0h1…`, each a row's run."""
    x, y, dark = 0.0, 0.0, set()
    for step, numbers in re.findall(r"([Mmh])([-\d. ]+)", path):
        values = [float(number) for number in numbers.split()]
        if step == "h":
            dark |= {(int(x) + n, int(y)) for n in range(int(values[0]))}
            x += values[0]
        else:
            x, y = values if step == "M" else (x + values[0], y + values[1])
    return dark


async def says(window: Window, code_url: str) -> bool:
    """Whether the code on the page is the one of that text, margin and all."""
    path = await window.page.locator("svg.code path").get_attribute("d")
    rows = segno.make(code_url, error="m", micro=False).matrix_iter(border=4)
    return drawn(path or "") == {(x, y) for y, row in enumerate(rows) for x, dark in enumerate(row) if dark}


async def stay(window: Window) -> None:
    """From now on the page must not be loaded again."""
    await window.page.evaluate("window.hasStayed = true")


async def has_stayed(window: Window) -> bool:
    return await window.page.evaluate("window.hasStayed === true")


async def test_a_guest_orders_pays_and_gets_money_back_and_the_page_turns_by_itself(
    shop: Shop, chromium: Chromium
) -> None:
    before = shop.world.ask("people", "show", "Alice")["wallets"][0]["available"]
    async with (
        chromium.new_phone(shop.url, locale="zh-CN", color_scheme="dark") as guest,
        chromium.new_desk(shop.url, locale="en-GB") as staff,
    ):
        await guest.page.goto("/")
        assert await axe(guest.page) == []
        await guest.page.get_by_role("button", name="龙井").click()
        await guest.page.wait_for_url("**/page")
        assert await guest.page.title() == "扫码付款 · ¥18.00"
        assert await guest.page.locator(".item").text_content() == "龙井"
        assert await axe(guest.page) == []

        await staff.page.goto(guest.page.url)  # the same order on the screen behind the counter
        assert await axe(staff.page) == []
        code_url = await staff.page.get_by_role("link", name="Open on this device").get_attribute("href") or ""
        assert await says(guest, code_url)
        assert not await says(guest, f"{code_url}x")
        for window in (guest, staff):
            await stay(window)

        paid = shop.world.ask("pay", code_url, "--as", "Alice")
        await guest.page.get_by_role("heading", name="已付款").wait_for()
        await staff.page.get_by_role("heading", name="Paid").wait_for()
        assert await guest.page.locator("#transaction-id").text_content() == paid["transaction_id"]
        assert await staff.page.title() == "Paid · ¥18.00"
        assert await staff.page.locator("#voice").text_content() == "¥18.00 is paid. Thank you."
        assert await axe(guest.page) == []

        await staff.page.get_by_role("button", name="Give back ¥5.00").focus()
        await staff.page.keyboard.press("Enter")
        await guest.page.get_by_text("¥5.00 已退回给顾客").first.wait_for()
        await staff.page.get_by_role("button", name="Give back the rest, ¥13.00").click()
        await guest.page.get_by_role("heading", name="已全额退款").wait_for()
        await staff.page.get_by_role("heading", name="Fully refunded").wait_for()
        assert await staff.page.locator(".refunds li.success").all_text_contents() == [
            "¥5.00 is back with the guest",
            "¥13.00 is back with the guest",
        ]
        assert await staff.page.get_by_role("button").count() == 0
        assert await axe(staff.page) == []
        assert await has_stayed(guest)
        assert await has_stayed(staff)
    assert shop.world.ask("people", "show", "Alice")["wallets"][0]["available"] == before


async def test_a_page_without_scripts_turns_as_well(shop: Shop, chromium: Chromium) -> None:
    async with chromium.new_desk(shop.url, java_script_enabled=False) as guest:
        await guest.page.goto("/")
        await guest.page.get_by_label("Amount in yuan").fill("0.5")
        await guest.page.get_by_role("button", name="Show the code").click()
        path = guest.page.url.removeprefix(shop.url).removesuffix("/page")
        shop.pay(path)
        await guest.page.get_by_role("heading", name="Paid").wait_for()
        await guest.page.get_by_role("button", name="Give back all ¥0.50").click()
        await guest.page.get_by_role("heading", name="Fully refunded").wait_for()


async def test_a_callback_that_cannot_be_read_is_asked_after(shop: Shop, chromium: Chromium) -> None:
    """The wrong API v3 key opens no callback; the signatures of questions and answers do not need it."""
    deaf = shop.world.home / "deaf-shop"
    shutil.copytree(shop.keys, deaf, ignore=shutil.ignore_patterns("orders.*"))
    merchant = json.loads((deaf / "merchant.json").read_text())
    (deaf / "merchant.json").write_text(json.dumps(merchant | {"apiv3_key": "0" * 32}))
    with open_shop(shop.world, deaf) as shop_:
        async with chromium.new_phone(shop_.url) as guest:
            path = shop_.order()
            await guest.page.goto(f"{path}/page")
            await stay(guest)
            shop_.pay(path)
            await guest.page.get_by_role("heading", name="Paid").wait_for()
            await guest.page.get_by_role("button", name="Give back all ¥18.00").click()
            await guest.page.get_by_role("heading", name="Fully refunded").wait_for()
            assert await has_stayed(guest)
        assert json.loads(shop_.ask("GET", path, Accept="*/*").text)["told"] == []


async def test_a_shop_that_never_heard_of_the_order_says_so(shop: Shop, chromium: Chromium) -> None:
    async with chromium.new_phone(shop.url) as guest:
        guest.allow("Failed to load resource")
        with open_shop(shop.world, shop.keys) as first:
            await guest.page.goto(f"{first.url}{first.order()}/page")
        await guest.page.get_by_text("The connection to the shop is lost. Trying again…").wait_for()
        with open_shop(shop.world, shop.keys, "--orders", str(shop.world.home / "another"), port=first.port):
            await guest.page.get_by_role("heading", name="This shop knows no such order.").wait_for()


async def test_the_language_can_be_chosen_and_stays(shop: Shop, chromium: Chromium) -> None:
    async with chromium.new_desk(shop.url, locale="en-GB") as guest:
        await guest.page.goto("/")
        await guest.page.get_by_role("link", name="中文").click()
        await guest.page.get_by_role("button", name="大红袍").click()
        await guest.page.get_by_role("heading", name="扫码付款").wait_for()
        assert await guest.page.locator("html").get_attribute("lang") == "zh-CN"


# --- over plain HTTP --------------------------------------------------------------------------------------------------

SCRIPT = '"><script>alert(1)</script>'
ESCAPED = "&quot;&gt;&lt;script&gt;alert(1)&lt;/script&gt;"


@pytest.mark.parametrize(
    ("_case", "fields", "complaint"),
    [
        ("nothing", {}, "amount from"),
        ("no sum", {"amount": ""}, "amount from"),
        ("words", {"amount": "a lot"}, "amount from"),
        ("nothing at all to pay", {"amount": "0.00"}, "amount from"),
        ("less than nothing", {"amount": "-1"}, "amount from"),
        ("parts of a fen", {"amount": "1.005"}, "amount from"),
        ("more than the shop takes", {"amount": "10000.01"}, "amount from"),
        ("digits that int() would read", {"amount": "٣"}, "amount from"),
        ("markup", {"amount": SCRIPT, "description": SCRIPT}, "amount from"),
        ("no such tea", {"tea": "coffee"}, "not on the menu"),
        ("a tea that is markup", {"tea": SCRIPT}, "not on the menu"),
    ],
)
def test_a_bad_order_is_told_in_words(shop: Shop, _case: str, fields: dict[str, str], complaint: str) -> None:
    answer = shop.ask("POST", "/orders", fields, Content_Type="application/x-www-form-urlencoded")
    assert answer.status == 400
    assert complaint in answer.text
    assert SCRIPT not in answer.text
    for name in set(fields) - {"tea"}:
        assert ESCAPED in answer.text or f'name="{name}" value="{fields[name]}"' in answer.text


@pytest.mark.parametrize("typed", ["18", "18.0", "18.00", " ¥18.00 ", "￥ 18"])
def test_a_sum_is_read_as_people_write_it(shop: Shop, typed: str) -> None:
    assert "¥18.00" in shop.ask("GET", f"{shop.order(amount=typed)}/page").text


def test_whatever_comes_from_outside_is_escaped(shop: Shop) -> None:
    """The shop's name comes from a file, what for from a guest; a line end in it must not end an event."""
    path = shop.order(amount="0.01", description=f"\r\n\r\nevent: x\r\n{SCRIPT}")
    page = shop.ask("GET", f"{path}/page").text
    assert f"event: x {ESCAPED}" in page
    assert "Tea &amp; &lt;b&gt;Shop&lt;/b&gt;" in page
    for part in (shop.ask("GET", "/").text, page, first_event(shop, path)):
        assert "<script>" not in part
        assert "<b>" not in part
        assert "style=" not in part
        assert "onclick=" not in part


def first_event(shop: Shop, path: str) -> str:
    """The order's section as the page hears it first."""
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", shop.port, timeout=30)) as connection:
        connection.request("GET", f"{path}/events")
        stream = connection.getresponse()
        assert stream.headers["Content-Type"] == "text/event-stream"
        assert [stream.readline(), stream.readline()] == [b"retry: 1000\n", b"\n"]
        told = stream.readline()
        assert told.startswith(b"data: ")
        assert stream.readline() == b"\n"
        return str(json.loads(told.removeprefix(b"data: ")))


def test_a_code_link_that_is_no_address_cannot_be_followed(teashop: dict[str, ModuleType]) -> None:
    pages, orders = teashop["pages"], teashop["orders"]
    order = orders.Order(number="tea1", description="Longjing", total=1800, until=0, code_url="javascript:alert(1)")
    section = pages.order_section(order, "en")
    assert "Open on this device" not in section
    assert 'href="javascript' not in section
    assert 'href="weixin://wxpay/' in pages.order_section(
        replace(order, code_url="weixin://wxpay/bizpayurl?pr=x"), "en"
    )


def test_pages_carry_the_strictest_headers(shop: Shop) -> None:
    for answer in (shop.ask("GET", "/"), shop.ask("GET", f"{shop.order()}/page"), shop.ask("GET", "/nothing")):
        policy = answer.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/orders/tea0/page", 404),
        ("GET", "/orders/tea0/events", 404),
        ("GET", "/orders/%0d%0aX:y/page", 404),
        ("GET", "/static/../server.py", 404),
        ("GET", "/static/..%2fserver.py", 404),
        ("GET", "/static/server.py", 404),
        ("GET", "/[?lang=[", 404),
        ("GET", "//evil.example/%2e%2e", 404),
        ("GET", "/?lang=klingon", 200),
        ("GET", "/?lang=zh&lang=en&&&=", 200),
        ("POST", "/nothing", 404),
        ("POST", "/notify", 401),
        ("POST", "/orders/tea0/refunds", 400),
    ],
)
def test_wrong_ways_are_turned_away(shop: Shop, method: str, path: str, status: int) -> None:
    assert shop.ask(method, path).status == status


@pytest.mark.parametrize(
    ("_case", "headers", "body", "status"),
    [
        ("from a page of its own", {"Origin": "OWN"}, b"tea=jasmine", 303),
        ("from another site", {"Origin": "https://evil.example"}, b"tea=jasmine", 403),
        ("from another port of this machine", {"Origin": "http://127.0.0.1:1"}, b"tea=jasmine", 403),
        ("from nowhere", {"Origin": "null"}, b"tea=jasmine", 403),
        ("longer than anybody writes", {}, b"x" * (64 * 1024 + 1), 413),
        ("nobody knows how long", {"Transfer-Encoding": "chunked"}, b"0\r\n\r\n", 413),
        ("a length that is none", {"Content-Length": "-1"}, b"", 413),
        ("another one", {"Content-Length": "+1"}, b"", 413),
        ("not text", {}, b"tea=%ff", 400),
        ("too many fields", {}, b"&".join(b"a=b" for _ in range(11)), 400),
    ],
)
def test_strange_forms_are_refused(shop: Shop, _case: str, headers: dict[str, str], body: bytes, status: int) -> None:
    told = {name: shop.url if value == "OWN" else value for name, value in headers.items()}
    answer = shop.ask("POST", "/orders", body, **{"Content-Type": "application/x-www-form-urlencoded"} | told)
    assert answer.status == status
    assert status != 413 or answer.headers["Connection"] == "close"


@pytest.mark.parametrize(
    ("accepted", "cookie", "lang"),
    [
        ("zh-CN,zh;q=0.9,en;q=0.8", "", "zh-CN"),
        ("en-GB,zh;q=0.5", "", "en"),
        ("en;q=0.3,zh;q=0.5", "", "zh-CN"),
        ("de, fr", "", "en"),
        ("de;q=nonsense,zh;q=nan,,;q=", "", "en"),
        ("zh;q=0", "", "en"),
        ("zh", "teashop_language=en", "en"),
        ("zh", "teashop_language=klingon; =;;\x01", "zh-CN"),
    ],
)
def test_pages_speak_the_guests_language(shop: Shop, accepted: str, cookie: str, lang: str) -> None:
    answer = shop.ask("GET", "/", **{"Accept-Language": accepted} | ({"Cookie": cookie} if cookie else {}))
    assert f'<html lang="{lang}">' in answer.text


def test_both_languages_say_everything(teashop: dict[str, ModuleType]) -> None:
    words = teashop["words"].WORDS
    assert set(words["en"]) == set(words["zh"])
    for name, said in words["en"].items():
        assert re.findall(r"{\w+}", said) == re.findall(r"{\w+}", words["zh"][name]), name


# --- money back -------------------------------------------------------------------------------------------------------


def test_a_button_that_is_pressed_twice_gives_back_once(shop: Shop) -> None:
    path = shop.order()
    shop.pay(path)
    until("the shop is told", lambda: "order paid" in shop.ask("GET", f"{path}/page").text)
    for _ in range(2):
        answer = shop.ask("POST", f"{path}/refunds", {"amount": "500", "nth": "1"})
        assert (answer.status, answer.headers["Location"]) == (303, f"{path}/page")
    assert shop.ask("POST", f"{path}/refunds", {"amount": "1301", "nth": "2"}).status == 400
    assert shop.ask("POST", f"{path}/refunds", {"amount": "500", "nth": "3"}).status == 400
    assert shop.ask("POST", f"{path}/refunds", {"amount": "-5", "nth": "2"}).status == 400
    refunds = json.loads(shop.ask("GET", path, Accept="*/*").text)["refunds"]
    assert refunds == [f"{path.removeprefix('/orders/')}r1"]


def test_what_is_not_paid_cannot_be_given_back(shop: Shop) -> None:
    assert shop.ask("POST", f"{shop.order()}/refunds", {"amount": "500", "nth": "1"}).status == 400


def test_programs_are_answered_as_before(shop: Shop) -> None:
    """`curl -d` says that its JSON is a form."""
    wish = json.dumps({"description": "Longjing", "total": 1800})
    made = shop.ask("POST", "/orders", wish, Content_Type="application/x-www-form-urlencoded", Accept="*/*")
    order = json.loads(made.text)
    assert set(order) == {"out_trade_no", "code_url"}
    seen = json.loads(shop.ask("GET", f"/orders/{order['out_trade_no']}", Accept="*/*").text)
    assert set(seen) == {"out_trade_no", "description", "total", "told", "refunds", "now"}
    assert seen["now"]["trade_state"] == "NOTPAY"
    unknown = shop.ask("GET", "/orders/tea0", Accept="*/*")
    assert (unknown.status, json.loads(unknown.text)["code"]) == (404, "FAIL")
    closed = shop.ask("POST", f"/orders/{order['out_trade_no']}/close", Accept="*/*")
    assert json.loads(closed.text) == {"closed": True}
    assert "This order is closed" in shop.ask("GET", f"/orders/{order['out_trade_no']}/page").text


# --- as a child of `run` ----------------------------------------------------------------------------------------------


def test_run_has_the_shop_as_a_child_that_ends_with_it(shop: Shop) -> None:
    settings = read_settings({"DEWPOND_HOME": str(shop.world.home)})
    lifeline, keep = os.pipe()
    wire = ("0.0.0.0", shop.world.port)  # noqa: S104 - as `--bind` says it
    child = open_tea_shop(settings, shop.keys, lifeline, wire, 0)
    assert child is not None
    child.start([lifeline])
    os.close(lifeline)
    here = Shop(shop.world, shop.keys, int(child.url.rpartition(":")[2]))
    until("the shop is open", lambda: _answers(here))
    path = here.order()
    here.pay(path)
    until("the shop is told", lambda: json.loads(here.ask("GET", path, Accept="*/*").text)["told"])
    assert child.pid is not None
    environ = Path(f"/proc/{child.pid}/environ").read_bytes()
    assert b"DEWPOND_" not in environ
    handle = os.pidfd_open(child.pid)
    os.close(keep)  # however `run` ends, this is what a child sees of it
    assert select.select([handle], [], [], 30)[0]
    os.close(handle)
    child.finish(0)


def _answers(shop: Shop) -> bool:
    try:
        return shop.ask("GET", "/").status == 200
    except OSError:
        return False
