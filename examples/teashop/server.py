"""A tea shop's own server: opens orders, is told when they are paid, gives money back.

It knows nothing of Dewpond but the folder of key files that `dewpond merchants create` writes, and speaks through the
package `wechatpayv3` as it is on PyPI. Run it beside the world:

    python server.py --keys DIR [--mode certificate|public-key] [--port 8700]

    POST /orders                 {"description": "Longjing", "total": 1800}    → {"out_trade_no", "code_url"}
    GET  /orders/NUMBER                                                        → what was told and what is asked now
    POST /orders/NUMBER/refunds  {"amount": 500}                               → {"out_refund_no", "status"}
    GET  /orders/NUMBER/refunds/REFUND                                         → the refund as it is now
    POST /orders/NUMBER/close                                                  → {"closed": true}
    POST /notify                 where the payment service calls
"""

import argparse
import json
import secrets
import shutil
import sys
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from wechatpayv3 import WeChatPay, WeChatPayType

BODY_LIMIT = 64 * 1024


class ShopProblem(Exception):
    """Something the payment service or a visitor did not want; told to the visitor."""

    def __init__(self, status: int, told: object) -> None:
        super().__init__(told)
        self.status = status
        self.told = told


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
        folder = tempfile.mkdtemp(prefix="teashop-")
        shutil.copy(keys / "platform_cert.pem", folder)
        options["cert_dir"] = folder
    wechatpay = WeChatPay(**options)
    wechatpay._core._gate_way = (base_url or merchant["base_url"]).rstrip("/")
    return wechatpay, merchant


class Shop:
    """The shop's own memory: its orders, and what it was told of them."""

    def __init__(self, wechatpay: WeChatPay) -> None:
        self._wechatpay = wechatpay
        self._orders: dict[str, dict[str, Any]] = {}
        self._lock = threading.Lock()

    def open_order(self, description: str, total: int) -> dict[str, Any]:
        number = f"tea{secrets.token_hex(10)}"
        with self._lock:
            self._orders[number] = {"description": description, "total": total, "told": [], "refunds": []}
        answer = self._ask(
            *self._wechatpay.pay(
                description=description, out_trade_no=number, amount={"total": total, "currency": "CNY"}
            )
        )
        say(f"order {number}: {description}, {total} fen, asks to be paid at {answer['code_url']}")
        return {"out_trade_no": number, "code_url": answer["code_url"]}

    def get_order(self, number: str) -> dict[str, Any]:
        order = self._find(number)
        now = self._ask(*self._wechatpay.query(out_trade_no=number))
        if now.get("transaction_id"):
            again = self._ask(*self._wechatpay.query(transaction_id=now["transaction_id"]))
            if again != now:
                raise ShopProblem(502, "the two numbers of one order lead to two answers")
        return {"out_trade_no": number, **order, "now": now}

    def refund(self, number: str, amount: int) -> dict[str, Any]:
        order = self._find(number)
        refund_number = f"{number}r{len(order['refunds']) + 1}"
        answer = self._ask(
            *self._wechatpay.refund(
                out_refund_no=refund_number,
                out_trade_no=number,
                reason="the tea was cold",
                amount={"refund": amount, "total": order["total"], "currency": "CNY"},
            )
        )
        with self._lock:
            if refund_number not in order["refunds"]:
                order["refunds"].append(refund_number)
        say(f"order {number}: gives back {amount} fen as {refund_number}, {answer['status']}")
        return {"out_refund_no": refund_number, "status": answer["status"]}

    def get_refund(self, refund_number: str) -> dict[str, Any]:
        return self._ask(*self._wechatpay.query_refund(out_refund_no=refund_number))

    def close(self, number: str) -> dict[str, Any]:
        self._find(number)
        self._ask(*self._wechatpay.close(out_trade_no=number))
        say(f"order {number}: closed")
        return {"closed": True}

    def hear(self, headers: dict[str, str], body: bytes) -> None:
        """A callback: believed only if the SDK can verify and decrypt it."""
        told = self._wechatpay.callback(headers=headers, body=body)
        if not told:
            raise ShopProblem(401, "this callback is not from the payment service")
        resource = told["resource"]
        with self._lock:
            order = self._orders.get(resource["out_trade_no"])
            if order is None:
                raise ShopProblem(404, "this shop knows no such order")
            if told["id"] not in {earlier["id"] for earlier in order["told"]}:  # callbacks may come twice
                order["told"].append({"id": told["id"], "event_type": told["event_type"], "resource": resource})
        say(f"order {resource['out_trade_no']}: was told {told['event_type']}")

    def _find(self, number: str) -> dict[str, Any]:
        with self._lock:
            if number not in self._orders:
                raise ShopProblem(404, "this shop knows no such order")
            return self._orders[number]

    @staticmethod
    def _ask(status: int, text: str | bytes) -> dict[str, Any]:
        told = json.loads(text) if text else {}
        if not 200 <= status < 300:
            raise ShopProblem(status, told)
        return dict(told)


class Counter(BaseHTTPRequestHandler):
    """The shop's door."""

    shop: Shop
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._serve("GET")

    def do_POST(self) -> None:
        self._serve("POST")

    def _serve(self, method: str) -> None:
        try:
            status, told = self._answer(method, self.path.strip("/").split("/"), self._body())
        except ShopProblem as problem:
            say(f"{method} {self.path}: {problem.status} {problem.told}")
            status, told = problem.status, {"code": "FAIL", "message": problem.told}
        except Exception as error:  # noqa: BLE001 - a shop stays open
            say(f"{method} {self.path}: {type(error).__name__}: {error}")
            status, told = 500, {"code": "FAIL", "message": str(error)}
        body = json.dumps(told, ensure_ascii=False).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _answer(self, method: str, path: list[str], body: bytes) -> tuple[int, object]:
        match method, path:
            case "POST", ["notify"]:
                self.shop.hear(dict(self.headers.items()), body)
                return 200, {"code": "SUCCESS"}
            case "POST", ["orders"]:
                wish = self._wish(body, description=str, total=int)
                return 200, self.shop.open_order(wish["description"], wish["total"])
            case "GET", ["orders", number]:
                return 200, self.shop.get_order(number)
            case "POST", ["orders", number, "refunds"]:
                return 200, self.shop.refund(number, self._wish(body, amount=int)["amount"])
            case "GET", ["orders", _, "refunds", refund_number]:
                return 200, self.shop.get_refund(refund_number)
            case "POST", ["orders", number, "close"]:
                return 200, self.shop.close(number)
        raise ShopProblem(404, "there is nothing here")

    def _body(self) -> bytes:
        length = int(self.headers.get("Content-Length") or 0)
        if length > BODY_LIMIT:
            raise ShopProblem(413, "too long")
        return self.rfile.read(length)

    @staticmethod
    def _wish(body: bytes, **kinds: type) -> dict[str, Any]:
        try:
            wish = json.loads(body)
        except ValueError:
            raise ShopProblem(400, "not JSON") from None
        if not isinstance(wish, dict) or any(type(wish.get(name)) is not kind for name, kind in kinds.items()):
            raise ShopProblem(400, f"asks for {', '.join(f'{name}: {kind.__name__}' for name, kind in kinds.items())}")
        return wish

    def log_message(self, *_: object) -> None:
        """The shop says itself what happens."""


def say(told: str) -> None:
    print(told, file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="A tea shop on WeChat Pay's wire.")
    parser.add_argument("--keys", type=Path, required=True, help="folder with merchant.json and the .pem files")
    parser.add_argument("--mode", choices=("certificate", "public-key"), default="certificate")
    parser.add_argument("--port", type=int, default=8700, help="0 takes any free one")
    parser.add_argument("--base-url", default="", help="where the payment service is; merchant.json says it otherwise")
    words = parser.parse_args()
    server = ThreadingHTTPServer(("127.0.0.1", words.port), Counter)
    here = f"http://127.0.0.1:{server.server_port}"
    wechatpay, merchant = open_wechatpay(words.keys, words.mode, f"{here}/notify", words.base_url)
    Counter.shop = Shop(wechatpay)
    say(f"{merchant['name']} ({merchant['mchid']}) speaks {words.mode} mode with {wechatpay._core._gate_way}")
    print(f"open at {here}", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        say("closed for today")


if __name__ == "__main__":
    main()
