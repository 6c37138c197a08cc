"""The shop itself: opens orders over WeChat Pay's wire, hears what becomes of them, gives money back.

What the payment service says by itself (callbacks) and what it answers when asked (queries) are taken in the same way:
whichever comes first is believed, the other one changes nothing. What the shop knows is in its order book, `orders.py`.
"""

import json
import re
import secrets
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

from orders import Order, OrderBook, Refund
from wechatpayv3 import WeChatPay

#: A code on the page is good for this long, then the shop takes the order back.
CODE_SECONDS = 15 * 60
#: Without news for this long, a page that waits for some lets the shop ask.
LATE_SECONDS = 5
#: And where there may be none for ever: a paid order on a page; for days: a refund that nobody looks at.
CALM_SECONDS = 30
#: In fen.
LARGEST_SUM = 1_000_000
CHINA = timezone(timedelta(hours=8))


class ShopProblem(Exception):
    """Something the payment service or the shop did not want.

    Programs are told it as it is, people by `word`: the name of a sentence in `words.py`.
    """

    def __init__(self, status: int, told: object, word: str = "trouble") -> None:
        super().__init__(f"{status} {told}")
        self.status = status
        self.told = told
        self.word = word

    @property
    def code(self) -> str:
        """The payment service's word for it; empty where it was the shop that refused."""
        return str(self.told.get("code", "")) if isinstance(self.told, dict) else ""

    @property
    def detail(self) -> dict[str, Any]:
        """What it says beyond its sentence."""
        detail = self.told.get("detail") if isinstance(self.told, dict) else None
        return detail if isinstance(detail, dict) else {}


class Shop:
    """What the shop does; what it knows is in its book."""

    def __init__(self, wechatpay: WeChatPay, name: str, book: OrderBook) -> None:
        self.name = name
        self._wechatpay = wechatpay
        self._book = book
        #: How far the payment service's clock is ahead of ours, in seconds: see `_prepay`.
        self._ahead = 0.0
        #: When it was last asked about an order.
        self._asked: dict[str, float] = {}
        self._asking = threading.Lock()

    # --- what visitors wish -------------------------------------------------------------------------------------------

    def open_order(self, description: str, total: int) -> Order:
        """Ask for money, for a quarter of an hour."""
        if not 0 < total <= LARGEST_SUM:
            raise ShopProblem(400, f"a total is from 1 to {LARGEST_SUM} fen", "bad_amount")
        number = f"tea{secrets.token_hex(10)}"
        order = Order(number=number, description=description, total=total, until=time.time() + CODE_SECONDS)
        # In the book before it is asked for: the callback of a fast payer must find it. Where the answer is lost, or
        # the server is, nobody has seen the code, and the order is taken back with all others that nobody pays.
        self._book.add(order)
        self._may_ask(number)
        try:
            code_url = self._prepay(order)
        except ShopProblem as problem:
            if problem.status < 500:
                self._book.end(number, "closed")
            raise
        self._book.give_code(number, code_url)
        say(f"order {number}: {description}, {total} fen, asks to be paid at {code_url}")
        return self.find(number)

    def _prepay(self, order: Order, *, is_last_try: bool = False) -> str:
        """What the code shall say, which can be paid for as long as the shop's page counts down.

        By the shop's own clock, as any shop does it: machines keep the right time. Only a sandbox's clock can be moved
        ahead, and then a `time_expire` of ours is over before it begins. Refusing it, the sandbox says what time it is
        there; the shop asks once more by that time, and keeps to it from then on.
        """
        expires = datetime.fromtimestamp(order.until + self._ahead, CHINA)
        try:
            answer = self._ask(
                *self._wechatpay.pay(
                    description=order.description,
                    out_trade_no=order.number,
                    amount={"total": order.total, "currency": "CNY"},
                    time_expire=expires.isoformat(timespec="seconds"),
                )
            )
        except ShopProblem as problem:
            if is_last_try or problem.detail.get("field") != "/time_expire":
                raise
            self._ahead = _seconds_ahead(problem)
            say(f"the payment service's clock is {self._ahead:.0f} s ahead of ours")
            return self._prepay(order, is_last_try=True)
        return str(answer["code_url"])

    def query(self, number: str) -> dict[str, Any]:
        """What the payment service says of an order now, by both of its numbers."""
        now = self._query(number)
        if now.get("transaction_id"):
            again = self._ask(*self._wechatpay.query(transaction_id=now["transaction_id"]))
            if again != now:
                raise ShopProblem(502, "the two numbers of one order lead to two answers")
        return now

    def refund(self, number: str, amount: int, nth: int | None = None) -> Refund:
        """Give money back, as the order's `nth` refund.

        A refund's number is made of the order's and `nth`: a button that is pressed twice, and an answer that was
        lost, lead to the same refund. It is in the book before it is asked for: what nobody answered is asked again.
        """
        with self._book.transaction():
            order = self.find(number)
            nth = nth or len(order.refunds) + 1
            if nth <= len(order.refunds):
                return order.refunds[nth - 1]
            if nth > len(order.refunds) + 1 or not 0 < amount <= order.total:
                raise ShopProblem(400, "there is not that much to give back", "too_much")
            refund = Refund(number=f"{number}r{nth}", amount=amount)
            self._book.put_refund(number, refund)
        return self._give_back(order, refund)

    def _give_back(self, order: Order, refund: Refund) -> Refund:
        try:
            answer = self._ask(
                *self._wechatpay.refund(
                    out_refund_no=refund.number,
                    out_trade_no=order.number,
                    reason="the tea was cold",
                    amount={"refund": refund.amount, "total": order.total, "currency": "CNY"},
                )
            )
        except ShopProblem as problem:
            # A clear no. After anything else nobody knows, and it is asked for again by the same number.
            if problem.status < 500:
                self._book.put_refund(order.number, replace(refund, status="REFUSED"))
                if problem.code == "INVALID_REQUEST" and refund.amount <= self.find(order.number).left:
                    self._book.note_elsewhere(order.number)  # there should have been enough
            raise
        say(f"order {order.number}: gives back {refund.amount} fen as {refund.number}, {answer['status']}")
        refund = replace(refund, status=answer["status"])
        self._book.put_refund(order.number, refund)
        return refund

    def query_refund(self, refund_number: str) -> dict[str, Any]:
        """What the payment service says of a refund now."""
        return self._ask(*self._wechatpay.query_refund(out_refund_no=refund_number))

    def close(self, number: str) -> None:
        """Take an order back that nobody has paid."""
        self.find(number)
        self._close(number, "closed")

    def _close(self, number: str, state: str) -> None:
        self._ask(*self._wechatpay.close(out_trade_no=number))
        if self._book.end(number, state):
            say(f"order {number}: {state}")

    # --- what the payment service tells -------------------------------------------------------------------------------

    def hear(self, headers: dict[str, str], body: bytes) -> None:
        """A callback: believed only if the SDK can verify and decrypt it, and heard once however often it comes.

        When this returns, it is in the book and may be answered with 200. Everything else is answered by a problem, and
        so it comes again: also what is told of an order that is not in the book, which somebody should look into.
        """
        try:
            told = self._wechatpay.callback(headers=headers, body=body)
        except Exception as error:  # noqa: BLE001 - the SDK has an exception for each way in which it is no callback
            say(f"a callback that is none: {error}")
            told = None
        if not told:
            raise ShopProblem(401, "this callback is not from the payment service")
        resource, event_type = told["resource"], told["event_type"]
        number = str(resource.get("out_trade_no", ""))
        with self._book.transaction():
            if self._book.find(number) is None:
                say(f"was told {event_type} of {number}, which is not in the book (callback {told['id']})")
            self.find(number)
            if not self._book.keep_callback(told["id"], number, event_type, resource):
                return
            if "out_refund_no" in resource:
                amount, status = resource["amount"]["refund"], resource["refund_status"]
                self._book.put_refund(number, Refund(number=resource["out_refund_no"], amount=amount, status=status))
            else:
                self._learn(number, resource)
        say(f"order {number}: was told {event_type}")

    def ask_if_late(self, number: str, pause: float = LATE_SECONDS) -> None:
        """Ask what a callback should have told by now, and what no callback tells (that staff gave money back in the
        merchant's console); quietly, and only if nobody has asked for some seconds."""
        order = self.find(number)
        if (order.awaits_news or order.left) and self._may_ask(number, pause):
            self._ask_about(order)

    def _ask_about(self, order: Order) -> bool:
        """Ask about an order and its refunds; whether the payment service was there to answer."""
        try:
            if order.state in {"waiting", "over"} or order.left:
                self._query(order.number)
            for refund in order.refunds:
                if refund.status == "PROCESSING":
                    self._ask_about_refund(order, refund)
        except Exception as error:  # noqa: BLE001 - no answer now; whoever waits goes on waiting
            say(f"order {order.number}: asked, and learned nothing: {error}")
            return not isinstance(error, OSError)
        return True

    def _ask_about_refund(self, order: Order, refund: Refund) -> None:
        try:
            status = self.query_refund(refund.number)["status"]
        except ShopProblem as problem:
            if problem.status != 404:
                raise
            self._give_back(order, refund)  # the first time it never got there
        else:
            self._book.put_refund(order.number, replace(refund, status=status))

    def catch_up(self) -> None:
        """Ask about everything that may have been told to a closed door; returns when all of it was answered."""
        for number in self._book.unsettled():
            while not self._ask_about(self.find(number)):
                time.sleep(LATE_SECONDS)

    def close_overdue(self) -> None:
        """Take back every order whose time is over. One that was paid at the last moment is refused, and asked for."""
        for number in self._book.overdue():
            if not (self._book.end(number, "over") or self._may_ask(number)):
                continue
            try:
                self._close(number, "expired")
            except ShopProblem as problem:
                say(f"order {number}: is not to be closed: {problem}")
                self._ask_about(self.find(number))
            except Exception as error:  # noqa: BLE001 - one order must not hold up the others; it is tried again in a second
                say(f"order {number}: cannot be closed now: {error}")

    def chase_refunds(self) -> None:
        """Ask about money on its way back that nobody has told or asked about for a while."""
        for number in self._book.refunding():
            self.ask_if_late(number, CALM_SECONDS)

    def _may_ask(self, number: str, pause: float = LATE_SECONDS) -> bool:
        with self._asking:
            now = time.monotonic()
            self._asked = {one: at for one, at in self._asked.items() if now - at < CALM_SECONDS}
            if now - self._asked.get(number, -CALM_SECONDS) < pause:
                return False
            self._asked[number] = now
            return True

    # --- what it knows ------------------------------------------------------------------------------------------------

    def find(self, number: str) -> Order:
        """The order as it is known now."""
        order = self._book.find(number)
        if order is None:
            raise ShopProblem(404, "this shop knows no such order", "no_order")
        return order

    def told(self, number: str) -> list[dict[str, Any]]:
        """The callbacks that were heard of an order."""
        return self._book.callbacks(number)

    def follow(self, number: str) -> Iterator[Order | None]:
        """The order as it is, then again at each change; None each time it has been quiet for a while."""
        order = self.find(number)
        yield order
        while True:
            seen = order
            self._book.wait(seen, LATE_SECONDS)
            order = self.find(number)
            if order != seen:
                yield order
            else:
                yield None
                self.ask_if_late(number, LATE_SECONDS if order.awaits_news else CALM_SECONDS)

    def _query(self, number: str) -> dict[str, Any]:
        self.find(number)
        now = self._ask(*self._wechatpay.query(out_trade_no=number))
        self._learn(number, now)
        return now

    def _learn(self, number: str, transaction: dict[str, Any]) -> None:
        """What a callback or a query says of the payment."""
        order = self.find(number)
        if transaction["amount"]["total"] != order.total:
            raise ShopProblem(502, f"order {number} is of {order.total} fen, and was told as {transaction['amount']}")
        match transaction["trade_state"]:
            case "SUCCESS" | "REFUND":
                self._book.pay(number, transaction["transaction_id"], transaction["success_time"])
            case "CLOSED" | "REVOKED" | "PAYERROR":
                self._book.end(number, "expired")
        # That there are refunds is all that a query says: not how many, nor how much.
        if transaction["trade_state"] == "REFUND" and all(refund.status == "REFUSED" for refund in order.refunds):
            self._book.note_elsewhere(number)

    @staticmethod
    def _ask(status: int, text: str | bytes) -> dict[str, Any]:
        told = json.loads(text) if text else {}
        if not 200 <= status < 300:
            raise ShopProblem(status, told)
        return dict(told)


def _seconds_ahead(problem: ShopProblem) -> float:
    """By the sandbox's time, told in its refusal of a `time_expire`; where none is told clocks are taken for equal."""
    found = re.search(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d", str(problem.detail.get("issue", "")))
    return datetime.fromisoformat(found[0]).timestamp() - time.time() if found else 0.0


def say(told: str) -> None:
    """Say on the terminal what happens; whatever came from outside cannot talk to the terminal itself."""
    print("".join(sign if sign.isprintable() else "�" for sign in told), file=sys.stderr, flush=True)
