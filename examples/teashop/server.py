"""A tea shop's own server: shows a menu and codes to pay with, is told when they are paid, gives money back.

It knows nothing of Dewpond but the folder of key files that `dewpond merchants create` writes, and speaks through the
package `wechatpayv3` as it is on PyPI. Run it beside the world:

    python server.py --keys DIR [--mode certificate|public-key] [--port 8700] [--orders FILE]

For people, in a browser:

    GET  /                       the counter: a menu, one tap each
    POST /orders                 a form's tea=NAME, or amount=25.50&description=…    → 303 to the order's page
    GET  /orders/NUMBER/page     code, sum and time left; turns to paid and to refunded by itself
    GET  /orders/NUMBER/events   what the page listens to (server-sent events)
    POST /orders/NUMBER/refunds  a form's amount=500&nth=1                           → 303 to the order's page

For programs, in JSON:

    POST /orders                 {"description": "Longjing", "total": 1800}    → {"out_trade_no", "code_url"}
    GET  /orders/NUMBER                                                        → what was told and what is asked now
    POST /orders/NUMBER/refunds  {"amount": 500}                               → {"out_refund_no", "status"}
    GET  /orders/NUMBER/refunds/REFUND                                         → the refund as it is now
    POST /orders/NUMBER/close                                                  → {"closed": true}
    POST /notify                 where the payment service calls
"""

import argparse
import json
import re
import shutil
import sys
import threading
import time
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pages
from orders import OrderBook
from shop import LARGEST_SUM, Shop, ShopProblem, say
from wechatpayv3 import WeChatPay, WeChatPayType
from words import WORDS, choose_language

BODY_LIMIT = 64 * 1024
STATIC = Path(__file__).parent / "static"
KINDS = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
#: Nothing on a page but what comes from this server as a file of its own; nobody may put the pages into theirs.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self';"
    " base-uri 'none'; frame-ancestors 'none'"
)


def open_wechatpay(keys: Path, mode: str, notify_url: str, base_url: str = "") -> tuple[WeChatPay, dict[str, str]]:
    """The SDK, pointed at the world that made these keys."""
    merchant = json.loads((keys / "merchant.json").read_text())
    options: dict[str, Any] = {
        "wechatpay_type": WeChatPayType.NATIVE,
        "mchid": merchant["mchid"],
        "appid": merchant["appid"],
        "private_key": (keys / "apiclient_key.pem").read_text(),
        "cert_serial_no": merchant["serial_no"],
        "apiv3_key": merchant["apiv3_key"],
        "notify_url": notify_url,
        "timeout": (5, 30),
    }
    if mode == "public-key":
        options |= {"public_key": (keys / "pub_key.pem").read_text(), "public_key_id": merchant["public_key_id"]}
    else:
        # Without a certificate at hand the SDK would ask the real service for one before it can be pointed elsewhere.
        # It keeps those there that come after the first.
        folder = keys / "certificates"
        folder.mkdir(exist_ok=True)
        shutil.copy(keys / "platform_cert.pem", folder)
        options["cert_dir"] = str(folder)
    wechatpay = WeChatPay(**options)
    wechatpay._core._gate_way = (base_url or merchant["base_url"]).rstrip("/")
    return wechatpay, merchant


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What goes back to whoever asked."""

    status: int = 200
    kind: str = "application/json"
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


class Counter(BaseHTTPRequestHandler):
    """The shop's door."""

    shop: Shop
    protocol_version = "HTTP/1.1"
    timeout = 60  # seconds that a visitor may be silent in the middle of a sentence

    def do_GET(self) -> None:
        self._serve("GET")

    def do_POST(self) -> None:
        self._serve("POST")

    def _serve(self, method: str) -> None:
        try:
            path, _, _ = self.path.partition("?")
            answer = self._answer(method, path.strip("/").split("/"), self._body())
        except Exception as error:  # noqa: BLE001 - a shop stays open
            say(f"{method} {self.path}: {type(error).__name__}: {error}")
            answer = self._refuse(_problem(error))
        if answer is not None:
            self._send(answer)

    def _answer(self, method: str, path: list[str], body: bytes) -> Answer | None:
        """The answer; None where it has been given bit by bit."""
        if method == "POST" and path != ["notify"]:
            self._refuse_strangers()
        match method, path:
            # for people
            case "GET", [""]:
                return self._counter()
            case "GET", ["static", name]:
                return self._static(name)
            case "POST", ["orders"] if self._is_form(body):
                return self._open_by_form(self._fields(body))
            case "GET", ["orders", number, "page"]:
                self.shop.ask_if_late(number, 1)  # who looks anew wants to know
                return self._order(number)
            case "GET", ["orders", number, "events"]:
                self._follow(number)
                return None
            case "POST", ["orders", number, "refunds"] if self._is_form(body):
                return self._refund_by_form(number, self._fields(body))
            # for programs
            case "POST", ["notify"]:
                self.shop.hear(dict(self.headers.items()), body)
                return _json({"code": "SUCCESS"})
            case "POST", ["orders"]:
                wish = self._wish(body, description=str, total=int)
                order = self.shop.open_order(wish["description"], wish["total"])
                return _json({"out_trade_no": order.number, "code_url": order.code_url})
            case "GET", ["orders", number]:
                now = self.shop.query(number)
                order = self.shop.find(number)
                known = {"description": order.description, "total": order.total, "told": self.shop.told(number)}
                refunds = [refund.number for refund in order.refunds]
                return _json({"out_trade_no": number, **known, "refunds": refunds, "now": now})
            case "POST", ["orders", number, "refunds"]:
                refund = self.shop.refund(number, self._wish(body, amount=int)["amount"])
                return _json({"out_refund_no": refund.number, "status": refund.status})
            case "GET", ["orders", _, "refunds", refund_number]:
                return _json(self.shop.query_refund(refund_number))
            case "POST", ["orders", number, "close"]:
                self.shop.close(number)
                return _json({"closed": True})
        raise ShopProblem(404, "there is nothing here", "no_page")

    # --- pages --------------------------------------------------------------------------------------------------------

    def _counter(self, status: int = 200, **typed: str) -> Answer:
        return self._page(WORDS[self.language]["what_may_it_be"], pages.counter(self.language, **typed), status=status)

    def _open_by_form(self, fields: dict[str, str]) -> Answer:
        words = WORDS[self.language]
        typed = {"amount": fields.get("amount", ""), "description": fields.get("description", "")}
        if (tea := fields.get("tea", "")) and tea not in pages.MENU:
            return self._counter(400, problem=words["bad_tea"])
        total = pages.MENU[tea] if tea else read_sum(typed["amount"])
        if total is None:
            return self._counter(400, problem=words["bad_amount"], **typed)
        description = words[tea] if tea else " ".join(typed["description"].split())[:40] or words["tea"]
        order = self.shop.open_order(description, total)
        return _see(f"/orders/{order.number}/page")

    def _order(self, number: str, *, status: int = 200, problem: str = "") -> Answer:
        order = self.shop.find(number)
        title, body = pages.order_title(order, self.language), pages.order_page(order, self.language, problem=problem)
        return self._page(title, body, status=status, here=f"/orders/{number}/page", live=True)

    def _refund_by_form(self, number: str, fields: dict[str, str]) -> Answer:
        amount, nth = _whole(fields.get("amount")), _whole(fields.get("nth"))
        self.shop.ask_if_late(number, 0)  # staff may have given money back elsewhere since the page was shown
        order, words = self.shop.find(number), WORDS[self.language]
        is_new = nth == len(order.refunds) + 1  # else pressed twice
        if not 0 < nth <= len(order.refunds) + 1 or (is_new and not 0 < amount <= order.left):
            return self._order(number, status=400, problem=words["too_much"])
        try:
            self.shop.refund(number, amount, nth)
        except (ShopProblem, OSError) as error:
            problem = _problem(error)
            say(f"order {number}: {amount} fen not given back: {error}")
            return self._order(number, status=problem.status, problem=pages.why_no_refund(problem, self.language))
        return _see(f"/orders/{number}/page")

    def _follow(self, number: str) -> None:
        """Server-sent events: the order's section as it is, and again whenever it changes.

        Every event is the whole truth: a browser that lost the line comes back by itself and has missed nothing.
        """
        self.shop.find(number)
        self.close_connection = True
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Cache-Control", "no-store")
        self.send_header("Connection", "close")
        self.end_headers()
        try:
            self.wfile.write(b"retry: 1000\n\n")
            for order in self.shop.follow(number):
                if order is None:
                    self.wfile.write(b": still here\n\n")  # fails, some time, where nobody listens any more
                else:
                    section = json.dumps(pages.order_section(order, self.language))
                    self.wfile.write(f"data: {section}\n\n".encode())
        except OSError:
            return

    def _static(self, name: str) -> Answer:
        file = STATIC / name
        if name not in {one.name for one in STATIC.iterdir()} or file.suffix not in KINDS:
            raise ShopProblem(404, "there is nothing here", "no_page")
        return Answer(kind=KINDS[file.suffix], body=file.read_bytes(), headers={"Cache-Control": "no-cache"})

    def _page(self, title: str, body: pages.Html, status: int = 200, *, here: str = "/", live: bool = False) -> Answer:
        text = pages.page(self.shop.name, self.language, title, body, here=here, live=live)
        headers = {"Content-Security-Policy": POLICY, "Referrer-Policy": "same-origin", "Cache-Control": "no-store"}
        if self._chosen:
            headers["Set-Cookie"] = f"teashop_language={self._chosen}; Path=/; Max-Age=31536000; SameSite=Lax; HttpOnly"
        return Answer(status=status, kind="text/html; charset=utf-8", body=text.encode(), headers=headers)

    def _refuse(self, problem: ShopProblem) -> Answer:
        """A problem, in the form and the language that were asked for."""
        if "text/html" not in self.headers.get("Accept", ""):
            return _json({"code": "FAIL", "message": problem.told}, status=problem.status)
        told = pages.why_not(problem, self.language)
        return self._page(WORDS[self.language]["trouble"], pages.problem_page(self.language, told), problem.status)

    # --- what was sent ------------------------------------------------------------------------------------------------

    @property
    def _chosen(self) -> str:
        """The language that was just chosen by `?lang=`."""
        wish = parse_qs(self.path.partition("?")[2]).get("lang", [""])[0]
        return wish if wish in WORDS else ""

    @property
    def language(self) -> str:
        """What was chosen, now or before, or what the browser wishes."""
        try:
            cookie = SimpleCookie(self.headers.get("Cookie", "")).get("teashop_language")
        except CookieError:
            cookie = None
        chosen = self._chosen or (cookie.value if cookie else "")
        return choose_language(chosen, self.headers.get("Accept-Language", ""))

    def _refuse_strangers(self) -> None:
        """A form on somebody else's page must not order or give back in a visitor's name; browsers say whose it is."""
        origin = self.headers.get("Origin")
        if origin is not None and origin.partition("://")[2] != self.headers.get("Host"):
            raise ShopProblem(403, "this form is not from this shop", "no_form")

    def _body(self) -> bytes:
        length = self.headers.get("Content-Length", "0")
        if "Transfer-Encoding" in self.headers or not re.fullmatch(r"[0-9]{1,9}", length) or int(length) > BODY_LIMIT:
            self.close_connection = True  # what follows is not read, and must not be taken for the next request
            raise ShopProblem(413, "too long, or nobody knows how long", "no_form")
        return self.rfile.read(int(length))

    def _is_form(self, body: bytes) -> bool:
        """Whether a browser's form sent it; `curl -d` calls JSON a form as well."""
        kind = self.headers.get("Content-Type", "")
        return kind.startswith("application/x-www-form-urlencoded") and not body.lstrip().startswith(b"{")

    @staticmethod
    def _fields(body: bytes) -> dict[str, str]:
        try:
            fields = parse_qs(body.decode(), errors="strict", max_num_fields=10)
        except ValueError:
            raise ShopProblem(400, "not a form of this shop", "no_form") from None
        return {name: values[0] for name, values in fields.items()}

    @staticmethod
    def _wish(body: bytes, **kinds: type) -> dict[str, Any]:
        try:
            wish = json.loads(body)
        except ValueError:
            raise ShopProblem(400, "not JSON") from None
        if not isinstance(wish, dict) or any(type(wish.get(name)) is not kind for name, kind in kinds.items()):
            raise ShopProblem(400, f"asks for {', '.join(f'{name}: {kind.__name__}' for name, kind in kinds.items())}")
        return wish

    # --- what goes back -----------------------------------------------------------------------------------------------

    def _send(self, answer: Answer) -> None:
        self.send_response(answer.status)
        for name, value in {"Content-Type": answer.kind, "X-Content-Type-Options": "nosniff", **answer.headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer.body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(answer.body)

    def log_message(self, *_: object) -> None:
        """The shop says itself what happens."""


class Door(ThreadingHTTPServer):
    """Where the counter stands."""

    request_queue_size = 128  # who may wait outside while others are let in

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A visitor who leaves in the middle of a sentence is no trouble."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


def _json(told: object, status: int = 200) -> Answer:
    return Answer(status=status, body=json.dumps(told, ensure_ascii=False).encode())


def _see(path: str) -> Answer:
    return Answer(status=303, headers={"Location": path})


def _whole(text: str | None) -> int:
    return int(text) if text and re.fullmatch(r"[0-9]{1,9}", text) else 0


def _problem(error: Exception) -> ShopProblem:
    """What went wrong, as a problem."""
    if isinstance(error, ShopProblem):
        return error
    if isinstance(error, OSError):  # of the connection to the payment service
        return ShopProblem(502, str(error), "no_service")
    return ShopProblem(500, str(error))


def read_sum(text: str) -> int | None:
    """25 or 25.5 or ¥25.50 → fen; None for what is no sum, or none of this shop's."""
    found = re.fullmatch(r"[¥￥]?\s*([0-9]{1,6})(?:\.([0-9]{1,2}))?", text.strip())
    if not found:
        return None
    fen = int(found[1]) * 100 + int((found[2] or "").ljust(2, "0"))
    return fen if 0 < fen <= LARGEST_SUM else None


def _tidy(shop: Shop) -> None:
    while True:
        time.sleep(1)
        try:
            shop.close_overdue()
            shop.chase_refunds()
        except Exception as error:  # noqa: BLE001 - said aloud, and tried again in a second
            say(f"tidying up: {type(error).__name__}: {error}")


def main() -> None:
    parser = argparse.ArgumentParser(description="A tea shop on WeChat Pay's wire.")
    parser.add_argument("--keys", type=Path, required=True, help="folder with merchant.json and the .pem files")
    parser.add_argument("--mode", choices=("certificate", "public-key"), default="certificate")
    parser.add_argument("--port", type=int, default=8700, help="0 takes any free one")
    parser.add_argument("--base-url", default="", help="where the payment service is; merchant.json says it otherwise")
    parser.add_argument("--orders", type=Path, help="the order book, by default orders.sqlite3 beside the keys")
    words = parser.parse_args()
    server = Door(("127.0.0.1", words.port), Counter)
    here = f"http://127.0.0.1:{server.server_port}"
    wechatpay, merchant = open_wechatpay(words.keys, words.mode, f"{here}/notify", words.base_url)
    Counter.shop = shop = Shop(wechatpay, merchant["name"], OrderBook(words.orders or words.keys / "orders.sqlite3"))
    say(f"{merchant['name']} ({merchant['mchid']}) speaks {words.mode} mode with {wechatpay._core._gate_way}")
    threading.Thread(target=shop.catch_up, daemon=True).start()
    threading.Thread(target=_tidy, args=(shop,), daemon=True).start()
    print(f"open at {here}", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        say("closed for today")


if __name__ == "__main__":
    main()
