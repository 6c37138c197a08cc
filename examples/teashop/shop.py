"""The shop itself: its orders, and what it has been told of them over WeChat Pay's wire.

    waiting ──▶ paid, whose refunds are PROCESSING, then SUCCESS, CLOSED or ABNORMAL
       └──────▶ closed      (by the shop when its time is over, or by the payment service)

What the payment service says by itself (callbacks) and what it answers when asked (queries) are taken in the same way:
whichever comes first is believed, the other one changes nothing.
"""

import json
import secrets
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from wechatpayv3 import WeChatPay

#: A code on the page is good for this long, then the shop takes the order back.
CODE_SECONDS = 15 * 60
#: Without news for this long, a page that waits lets the shop ask.
LATE_SECONDS = 5


class ShopProblem(Exception):
    """Something the payment service or a visitor did not want; told to the visitor."""

    def __init__(self, status: int, told: object) -> None:
        super().__init__(told)
        self.status = status
        self.told = told


@dataclass(frozen=True, kw_only=True)
class Refund:
    """Money on its way back, under the shop's own number for it."""

    number: str
    amount: int  # in fen, as everywhere here
    status: str = "PROCESSING"


@dataclass(frozen=True, kw_only=True)
class Order:
    """One order as far as the shop knows; every piece of news makes a new one with a higher version."""

    number: str
    description: str
    total: int
    code_url: str = ""
    state: str = "waiting"
    until: float | None = None  # by time.monotonic(); None is for as long as the payment service keeps it open
    transaction_id: str = ""
    paid_at: str = ""
    refunds: tuple[Refund, ...] = ()
    told: tuple[dict[str, Any], ...] = ()
    version: int = 0

    @property
    def given_back(self) -> int:
        """What is back or on its way back; a refund that was closed is neither."""
        return sum(refund.amount for refund in self.refunds if refund.status != "CLOSED")

    @property
    def left(self) -> int:
        """What can still be given back."""
        return self.total - self.given_back if self.state == "paid" else 0

    @property
    def seconds_left(self) -> int | None:
        """How long it can still be paid, if there is an end to that."""
        return None if self.until is None else max(0, round(self.until - time.monotonic()))

    @property
    def awaits_news(self) -> bool:
        """Whether the payment service has something to tell that the shop does not know yet."""
        return self.state == "waiting" or any(refund.status == "PROCESSING" for refund in self.refunds)


class Shop:
    """Opens orders, hears what becomes of them, gives money back. Remembers for as long as it runs."""

    def __init__(self, wechatpay: WeChatPay, name: str) -> None:
        self.name = name
        self._wechatpay = wechatpay
        self._orders: dict[str, Order] = {}
        self._asked: dict[str, float] = {}
        #: Held to change an order; whoever waits for news of one waits here.
        self._news = threading.Condition()

    # --- what visitors wish -------------------------------------------------------------------------------------------

    def open_order(self, description: str, total: int, seconds: int | None = None) -> Order:
        """Ask for money; with `seconds` only for that long."""
        number = f"tea{secrets.token_hex(10)}"
        self._asked[number] = time.monotonic()
        # Kept before it is asked for: the callback of a fast payer must find it.
        self._keep(Order(number=number, description=description, total=total))
        try:
            answer = self._ask(
                *self._wechatpay.pay(
                    description=description, out_trade_no=number, amount={"total": total, "currency": "CNY"}
                )
            )
        except ShopProblem:
            del self._orders[number]
            raise
        say(f"order {number}: {description}, {total} fen, asks to be paid at {answer['code_url']}")
        # The shop closes it itself rather than by `time_expire`: a sandbox's clock may stand elsewhere than ours.
        until = None if seconds is None else time.monotonic() + seconds
        return self._change(number, code_url=answer["code_url"], until=until)

    def query(self, number: str) -> dict[str, Any]:
        """What the payment service says of an order now."""
        self.find(number)
        now = self._ask(*self._wechatpay.query(out_trade_no=number))
        if now.get("transaction_id"):
            again = self._ask(*self._wechatpay.query(transaction_id=now["transaction_id"]))
            if again != now:
                raise ShopProblem(502, "the two numbers of one order lead to two answers")
        self._learn(number, now)
        return now

    def refund(self, number: str, amount: int, nth: int | None = None) -> Refund:
        """Give money back, as the order's `nth` refund.

        A refund's number is made of the order's and `nth`: a button that is pressed twice asks twice for the same
        refund, and the payment service knows that it is the same.
        """
        order = self.find(number)
        refund_number = f"{number}r{nth or len(order.refunds) + 1}"
        answer = self._ask(
            *self._wechatpay.refund(
                out_refund_no=refund_number,
                out_trade_no=number,
                reason="the tea was cold",
                amount={"refund": amount, "total": order.total, "currency": "CNY"},
            )
        )
        say(f"order {number}: gives back {amount} fen as {refund_number}, {answer['status']}")
        self._learn_refund(number, refund_number, amount, answer["status"])
        return Refund(number=refund_number, amount=amount, status=answer["status"])

    def query_refund(self, refund_number: str) -> dict[str, Any]:
        """What the payment service says of a refund now."""
        return self._ask(*self._wechatpay.query_refund(out_refund_no=refund_number))

    def close(self, number: str) -> None:
        """Take an order back that nobody has paid."""
        self.find(number)
        self._ask(*self._wechatpay.close(out_trade_no=number))
        self._change(number, state="closed")
        say(f"order {number}: closed")

    # --- what the payment service tells -------------------------------------------------------------------------------

    def hear(self, headers: dict[str, str], body: bytes) -> None:
        """A callback: believed only if the SDK can verify and decrypt it."""
        try:
            told = self._wechatpay.callback(headers=headers, body=body)
        except Exception as error:  # noqa: BLE001 - the SDK has an exception for each way in which it is no callback
            say(f"a callback that is none: {error}")
            told = None
        if not told:
            raise ShopProblem(401, "this callback is not from the payment service")
        resource = told["resource"]
        number = resource.get("out_trade_no", "")
        with self._news:
            order = self.find(number)
            if told["id"] in {earlier["id"] for earlier in order.told}:
                return  # callbacks may come twice
            said = {"id": told["id"], "event_type": told["event_type"], "resource": resource}
            self._change(number, told=(*order.told, said))
            if "out_refund_no" in resource:
                amount, status = resource["amount"]["refund"], resource["refund_status"]
                self._learn_refund(number, resource["out_refund_no"], amount, status)
            else:
                self._learn(number, resource)
        say(f"order {number}: was told {said['event_type']}")

    def ask_if_late(self, number: str) -> None:
        """Ask what a callback should have told by now; quietly, and not more often than every few seconds."""
        order = self.find(number)
        if not order.awaits_news or not self._may_ask(number):
            return
        try:
            if order.state == "waiting":
                self.query(number)
            for refund in order.refunds:
                if refund.status == "PROCESSING":
                    status = self.query_refund(refund.number)["status"]
                    self._learn_refund(number, refund.number, refund.amount, status)
        except Exception as error:  # noqa: BLE001 - no answer now; whoever waits goes on waiting
            say(f"order {number}: asked, and learned nothing: {error}")

    def close_overdue(self) -> None:
        """Take back every order whose time is over. One that was paid at the last moment is refused, and asked for."""
        for order in list(self._orders.values()):
            if order.state == "waiting" and order.seconds_left == 0 and self._may_ask(order.number):
                try:
                    self.close(order.number)
                except Exception as error:  # noqa: BLE001 - later, then
                    say(f"order {order.number}: cannot be closed now: {error}")
                    self._asked[order.number] = 0.0
                    self.ask_if_late(order.number)

    def _may_ask(self, number: str) -> bool:
        with self._news:
            now = time.monotonic()
            if now - self._asked.get(number, 0.0) < LATE_SECONDS:
                return False
            self._asked[number] = now
            return True

    # --- what it knows ------------------------------------------------------------------------------------------------

    def find(self, number: str) -> Order:
        """The order as it is known now."""
        try:
            return self._orders[number]
        except KeyError:
            raise ShopProblem(404, "this shop knows no such order") from None

    def follow(self, number: str) -> Iterator[Order | None]:
        """The order as it is, then again at each change; None each time it has been quiet for a while."""
        order = self.find(number)
        yield order
        while True:
            seen = order.version
            with self._news:
                self._news.wait_for(partial(self._has_news, number, seen), LATE_SECONDS)
            order = self.find(number)
            if order.version > seen:
                yield order
            else:
                yield None
                self.ask_if_late(number)

    def _has_news(self, number: str, seen: int) -> bool:
        return self.find(number).version > seen

    def _learn(self, number: str, transaction: dict[str, Any]) -> None:
        """What a callback or a query says of the payment."""
        match transaction["trade_state"]:
            case "SUCCESS" | "REFUND":
                known = {"transaction_id": transaction["transaction_id"], "paid_at": transaction["success_time"]}
                self._change(number, state="paid", **known)
            case "CLOSED" | "REVOKED" | "PAYERROR":
                self._change(number, state="closed")

    def _learn_refund(self, number: str, refund_number: str, amount: int, status: str) -> None:
        """What a callback, a query or the answer to the wish says of a refund; news may overtake each other."""
        with self._news:
            known = {refund.number: refund for refund in self._orders[number].refunds}
            if status == "PROCESSING" and refund_number in known:
                return
            known[refund_number] = Refund(number=refund_number, amount=amount, status=status)
            self._change(number, refunds=tuple(known.values()))

    def _change(self, number: str, **news: Any) -> Order:
        with self._news:
            before = self._orders[number]
            if before.state == "paid":
                news.pop("state", None)  # money that came does not un-come
            after = replace(before, **news)
            if after != before:
                after = replace(after, version=before.version + 1)
                self._keep(after)
            return after

    def _keep(self, order: Order) -> None:
        with self._news:
            self._orders[order.number] = order
            self._news.notify_all()

    @staticmethod
    def _ask(status: int, text: str | bytes) -> dict[str, Any]:
        told = json.loads(text) if text else {}
        if not 200 <= status < 300:
            raise ShopProblem(status, told)
        return dict(told)


def say(told: str) -> None:
    """Say on the terminal what happens; whatever came from outside cannot talk to the terminal itself."""
    print("".join(sign if sign.isprintable() else "�" for sign in told), file=sys.stderr, flush=True)
