"""The tea shop's orders: they outlive its server, end when their time is over, and money goes back once.

The clock of this module's world is moved on, and never back.
"""

import json
import re
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from browser import Chromium, axe
from journeys.running import RunningWorld, until
from journeys.teashop import NAME, Shop, code_on, open_shop

pytestmark = pytest.mark.journey

CHINESE = re.compile(r"[\u4e00-\u9fff]")


def number_of(path: str) -> str:
    return path.removeprefix("/orders/")


def section(page: str) -> str:
    """The order's part of a page, without the markup."""
    return re.sub(r"<[^>]+>", " ", page.partition("<section")[2].partition("</section>")[0].partition(">")[2])


def is_told(shop: Shop, path: str, event_type: str, count: int = 1) -> bool:
    return sum(told["event_type"] == event_type for told in shop.state(path)["told"]) >= count


def expire(book: Path, number: str) -> None:
    """A quarter of an hour goes by for one order."""
    with closing(sqlite3.connect(book, isolation_level=None)) as written:
        written.execute("update orders set until = ? where number = ?", (time.time(), number))


# --- the book ---------------------------------------------------------------------------------------------------------


async def test_a_shop_that_is_killed_forgets_nothing(world: RunningWorld, keys: Path, chromium: Chromium) -> None:
    with open_shop(world, keys) as shop:
        paid, shown = shop.order(), shop.order(tea="jasmine")
        shop.pay(paid)
        until("the shop is told", lambda: is_told(shop, paid, "TRANSACTION.SUCCESS"))
        shop.ask("POST", f"{paid}/refunds", {"amount": "500", "nth": "1"})
        until("the refund is told", lambda: is_told(shop, paid, "REFUND.SUCCESS"))
        before = shop.state(paid)
        async with chromium.new_phone(shop.url) as guest:
            guest.allow("Failed to load resource")
            await guest.page.goto(f"{shop.url}{shown}/page")
            await guest.page.evaluate("window.hasStayed = true")
            code_url = code_on(shop.page(shown))
            shop.kill()
            await guest.page.get_by_text("The connection to the shop is lost. Trying again…").wait_for()
            world.ask("pay", code_url, "--as", "Alice")  # nobody is there to be told
            with open_shop(world, keys, port=shop.port) as again:
                await guest.page.get_by_role("heading", name="Paid").wait_for()
                assert await guest.page.evaluate("window.hasStayed === true")
                assert again.state(paid) == before
                assert "Give back the rest, ¥13.00" in again.page(paid)
                until("the callback is sent again", lambda: is_told(again, shown, "TRANSACTION.SUCCESS"))


def test_what_was_paid_behind_a_closed_door_is_asked_for_when_it_opens(world: RunningWorld, keys: Path) -> None:
    """Callbacks come again after a while; the shop does not wait for them, nor for somebody to look."""
    with open_shop(world, keys) as shop:
        path = shop.order()
        code_url = code_on(shop.page(path))
    world.ask("pay", code_url, "--as", "Alice")
    with open_shop(world, keys, port=1 + shop.port):  # where no callback of the order comes

        def is_paid() -> bool:
            with closing(sqlite3.connect(keys / "orders.sqlite3")) as book:
                wanted = "select 1 from orders where number = ? and state = 'paid'"
                return book.execute(wanted, (number_of(path),)).fetchone() is not None

        until("the shop has asked", is_paid)


def test_a_callback_that_comes_twice_is_heard_once(shop: Shop) -> None:
    path = shop.order()
    shop.pay(path)
    until("the shop is told", lambda: is_told(shop, path, "TRANSACTION.SUCCESS"))
    [told] = shop.state(path)["told"]
    delivery = delivery_of(shop, told["id"])
    shop.world.terminal("deliveries", "resend", delivery["id"])
    until("it is told again", lambda: len(delivery_of(shop, told["id"])["log"]) == 2)
    assert [one["http_status"] for one in delivery_of(shop, told["id"])["log"]] == [200, 200]
    assert shop.state(path)["told"] == [told]


def delivery_of(shop: Shop, notification: str) -> Any:
    deliveries = shop.world.ask("deliveries", "list", "--most", "100")
    [found] = [one["id"] for one in deliveries if one["notification_id"] == notification]
    return shop.world.ask("deliveries", "show", found)


def test_a_callback_for_an_unknown_order_is_refused_and_noted(world: RunningWorld, keys: Path) -> None:
    with open_shop(world, keys) as shop:
        path = shop.order()
        code_url = code_on(shop.page(path))
    with open_shop(world, keys, "--orders", str(world.home / "another"), port=shop.port):
        world.ask("pay", code_url, "--as", "Alice")
        noted = f"was told TRANSACTION.SUCCESS of {number_of(path)}, which is not in the book"
        until("it is noted", lambda: noted in (world.home / "shop.out").read_text())
        delivery = world.ask("deliveries", "list")[0]["id"]
        [first, *_] = until("it is answered", lambda: world.ask("deliveries", "show", delivery)["log"])
        assert first["http_status"] == 404
        assert json.loads(first["answer"])["code"] == "FAIL"


# --- refunds ----------------------------------------------------------------------------------------------------------


def in_the_console(shop: Shop, teashop: dict[str, ModuleType], path: str, amount: int) -> None:
    """Staff give back elsewhere: under a number of their own, and nobody tells the shop's server."""
    wechatpay, _ = teashop["server"].open_wechatpay(shop.keys, "public-key", "")
    number = f"desk{time.time_ns()}"
    total = shop.state(path)["total"]
    status, told = wechatpay.refund(
        out_refund_no=number,
        out_trade_no=number_of(path),
        amount={"refund": amount, "total": total, "currency": "CNY"},
    )
    assert status == 200, told
    until("it is back", lambda: json.loads(wechatpay.query_refund(out_refund_no=number)[1])["status"] == "SUCCESS")


async def test_what_the_console_gave_back_is_not_offered_again(
    shop: Shop, teashop: dict[str, ModuleType], chromium: Chromium
) -> None:
    async with chromium.new_desk(shop.url) as staff:
        path = shop.order()
        shop.pay(path)
        await staff.page.goto(f"{path}/page")
        await staff.page.get_by_role("button", name="Give back all ¥18.00").wait_for()
        in_the_console(shop, teashop, path, 1800)
        staff.allow("status of 400")
        await staff.page.get_by_role("button", name="Give back all ¥18.00").click()
        await staff.page.get_by_text("There is not that much left to give back.").first.wait_for()
        await staff.page.get_by_text("also given back outside this shop").wait_for()
        assert await staff.page.get_by_role("button").count() == 0
        assert await axe(staff.page) == []
        assert not CHINESE.search(await staff.page.locator("main").inner_text())
    assert "此订单还在本店以外退过款" in shop.page(path, "zh")


def test_a_page_that_is_opened_after_the_console_gave_back_offers_nothing(
    shop: Shop, teashop: dict[str, ModuleType]
) -> None:
    path = shop.order()
    shop.pay(path)
    until("the shop is told", lambda: "Give back all" in shop.page(path))
    in_the_console(shop, teashop, path, 500)
    until("the shop has asked", lambda: "outside this shop" in shop.page(path))
    assert "<button" not in shop.page(path)


@pytest.mark.parametrize(
    ("language", "reason", "note"),
    [
        ("en", "That was not given back: there is not that much left of this payment.", "outside this shop"),
        ("zh", "没有退款：这笔付款的可退金额不足。", "本店以外退过款"),
    ],
)
def test_why_money_is_not_given_back_is_said_in_the_pages_language(
    shop: Shop, teashop: dict[str, ModuleType], language: str, reason: str, note: str
) -> None:
    """Behind a refund of the shop's own, the console's cannot be told by asking: the refusal tells."""
    path = shop.order()
    shop.pay(path)
    until("the shop is told", lambda: "Give back all" in shop.page(path))
    assert shop.ask("POST", f"{path}/refunds", {"amount": "500", "nth": "1"}).status == 303
    in_the_console(shop, teashop, path, 1300)
    wish = {"amount": "1300", "nth": "2"}
    answer = shop.ask("POST", f"{path}/refunds", wish, Accept_Language=language)
    assert answer.status == 400
    assert reason in section(answer.text)
    assert note in section(answer.text)
    assert "<button" not in answer.text
    assert bool(CHINESE.search(section(answer.text))) is (language == "zh")


def test_a_refund_whose_answer_was_lost_is_asked_for_again_and_goes_back_once(
    shop: Shop, teashop: dict[str, ModuleType], tmp_path: Path
) -> None:
    memory = remember(shop, teashop, tmp_path)
    order = memory.open_order("Longjing", 1800)
    shop.world.ask("pay", order.code_url, "--as", "Alice")
    assert memory.query(order.number)["trade_state"] == "SUCCESS"
    with away(memory), pytest.raises(OSError, match="refused"):
        memory.refund(order.number, 500, 1)
    assert memory.find(order.number).left == 1300
    assert memory.refund(order.number, 500, 1).status == "PROCESSING"  # pressed again, and nothing new

    def is_back() -> bool:
        memory._asked.clear()  # as if half a minute had gone by
        memory.chase_refunds()
        return str(memory.find(order.number).refunds[0].status) == "SUCCESS"

    until("it is back", is_back)
    assert memory.find(order.number).left == 1300
    assert len(memory.find(order.number).refunds) == 1


# --- time -------------------------------------------------------------------------------------------------------------


def remember(shop: Shop, teashop: dict[str, ModuleType], folder: Path) -> Any:
    """The shop without its door: nobody tells it anything, so it has to ask."""
    wechatpay, _ = teashop["server"].open_wechatpay(shop.keys, "public-key", "http://127.0.0.1:9/notify")
    return teashop["shop"].Shop(wechatpay, NAME, teashop["orders"].OrderBook(folder / "orders"))


@contextmanager
def away(memory: Any) -> Iterator[None]:
    """The payment service cannot be reached for a while."""
    core = memory._wechatpay._core
    place, core._gate_way = core._gate_way, "http://127.0.0.1:9"
    try:
        yield
    finally:
        core._gate_way = place


def test_an_order_is_taken_back_when_its_time_is_over_unless_it_was_paid(
    shop: Shop, teashop: dict[str, ModuleType], tmp_path: Path
) -> None:
    memory = remember(shop, teashop, tmp_path)
    late, quick = (memory.open_order("Longjing", 100) for _ in range(2))
    shop.world.ask("pay", quick.code_url, "--as", "Alice")

    def states() -> list[str]:
        return [memory.find(order.number).state for order in (late, quick)]

    memory.close_overdue()
    assert states() == ["waiting", "waiting"]
    for order in (late, quick):
        expire(tmp_path / "orders", order.number)
    with away(memory):
        memory.close_overdue()
    assert states() == ["over", "over"]
    memory._asked.clear()  # as if the last question lay some seconds back
    memory.close_overdue()
    assert states() == ["expired", "paid"]
    assert memory.query(late.number)["trade_state"] == "CLOSED"
    assert memory.query(quick.number)["trade_state"] == "SUCCESS"


async def test_a_code_whose_time_is_over_is_taken_away_and_a_new_one_is_one_tap_off(
    shop: Shop, chromium: Chromium
) -> None:
    async with chromium.new_phone(shop.url) as guest:
        await guest.page.goto("/")
        await guest.page.get_by_role("button", name="Jasmine").click()
        await guest.page.wait_for_url("**/page")
        path = guest.page.url.removeprefix(shop.url).removesuffix("/page")
        assert re.fullmatch(r"1[45]:\d\d", await guest.page.locator("#clock").inner_text())
        expire(shop.keys / "orders.sqlite3", number_of(path))
        await guest.page.get_by_role("heading", name="This code has expired").wait_for()
        assert await guest.page.title() == "This code has expired · ¥12.00"
        assert await guest.page.locator(".qr").count() == 0
        assert await axe(guest.page) == []
        assert shop.state(path)["now"]["trade_state"] == "CLOSED"
        await guest.page.get_by_role("button", name="Take a new code").click()
        await guest.page.get_by_role("heading", name="Scan to pay").wait_for()
        assert path not in guest.page.url
        assert await guest.page.locator(".item").text_content() == "Jasmine"
        assert await guest.page.locator(".sum").text_content() == "¥12.00"


@pytest.mark.parametrize("step", ["16m", "20d"])
async def test_a_world_that_moves_on_ends_the_order_and_gives_the_next_one_its_quarter_of_an_hour(
    shop: Shop, chromium: Chromium, step: str
) -> None:
    """By the payment service's word, whose clock it is that counts."""
    async with chromium.new_phone(shop.url) as guest:
        path = shop.order()
        await guest.page.goto(f"{path}/page")
        shop.world.terminal("world", "clock", "advance", step)
        await guest.page.get_by_role("heading", name="This code has expired").wait_for()
        await guest.page.get_by_role("button", name="Take a new code").click()
        await guest.page.get_by_role("heading", name="Scan to pay").wait_for()
        path = guest.page.url.removeprefix(shop.url).removesuffix("/page")
        shop.world.terminal("world", "clock", "advance", "13m")
        assert shop.state(path)["now"]["trade_state"] == "NOTPAY"
        shop.world.terminal("world", "clock", "advance", "2m")
        assert shop.state(path)["now"]["trade_state"] == "CLOSED"


@pytest.mark.parametrize("state", ["over", "expired", "closed"])
def test_a_code_that_is_not_to_be_paid_is_not_shown(teashop: dict[str, ModuleType], state: str) -> None:
    orders, pages = teashop["orders"], teashop["pages"]
    order = orders.Order(
        number="tea1", description="Tea", total=1, until=0, code_url="http://a.example/q/x", state=state
    )
    for language in ("en", "zh"):
        shown = pages.order_section(order, language)
        assert "a.example" not in shown
        assert 'class="qr"' not in shown
        assert (pages.WORDS[language]["again"] in shown) is (state != "over")


# --- the code ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code_url", "is_near"),
    [
        ("http://localhost:8602/q/x", True),
        ("http://127.0.0.1:8602/q/x", True),
        ("http://[::1]:8602/q/x", True),
        ("https://192.168.1.10:8602/q/x", False),
        ("https://pay.example/q/x", False),
        ("weixin://wxpay/bizpayurl?pr=x", False),
    ],
)
def test_a_code_that_only_this_computer_can_follow_says_so(
    teashop: dict[str, ModuleType], code_url: str, is_near: bool
) -> None:
    order = teashop["orders"].Order(number="tea1", description="Tea", total=1, until=time.time(), code_url=code_url)
    for language, said in (("en", "in this computer's browser only"), ("zh", "只能在这台电脑的浏览器中打开")):
        shown = teashop["pages"].order_section(order, language)
        assert (said in shown.replace("&#x27;", "'")) is is_near
        assert ("<code>make run ARGS=--lan</code>" in shown) is is_near
