"""The shop's order book: one SQLite file, in which an order is before anybody is asked to pay it.

Each change is one transaction and on the disk before anybody hears of it (SQLite's own defaults see to that), so the
server may be stopped, killed or lose its power at any moment. It begins again with what the book says.
"""

import json
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TABLES = """
create table if not exists orders (
  number         text primary key,
  description    text not null,
  total          integer not null check (total > 0),  -- in fen, as everywhere here
  until          real not null,                       -- when the shop takes it back, in seconds of time.time()
  code_url       text not null default '',
  state          text not null default 'waiting' check (state in ('waiting', 'over', 'paid', 'expired', 'closed')),
  transaction_id text not null default '',
  paid_at        text not null default '',
  elsewhere      integer not null default 0,          -- whether money went back that the shop did not give back
  version        integer not null default 0           -- how often it changed: pages can tell old news from new
);
create index if not exists orders_to_be_ended on orders (until) where state in ('waiting', 'over');

create table if not exists refunds (
  number       text primary key,
  order_number text not null references orders,
  amount       integer not null check (amount > 0),
  status       text not null
);
create index if not exists refunds_of_an_order on refunds (order_number);
create index if not exists refunds_on_their_way on refunds (order_number) where status = 'PROCESSING';

create table if not exists callbacks (
  id           text primary key,                      -- the same each time the same is told
  order_number text not null references orders,
  event_type   text not null,
  resource     text not null                          -- JSON, as it was decrypted
);
create index if not exists callbacks_of_an_order on callbacks (order_number);
"""


@dataclass(frozen=True, kw_only=True)
class Refund:
    """Money on its way back, under the shop's own number for it."""

    number: str
    amount: int
    #: The payment service's word, or REFUSED where it did not take the refund on.
    status: str = "PROCESSING"

    @property
    def counts(self) -> bool:
        """Whether the money is back or may yet go."""
        return self.status not in {"CLOSED", "REFUSED"}


@dataclass(frozen=True, kw_only=True)
class Order:
    """One order as far as the shop knows.

    waiting ──▶ paid, whose refunds are PROCESSING, then SUCCESS, CLOSED or ABNORMAL
       │  └───▶ over, while it is asked whether it was paid at the last moment ──▶ paid or expired
       └──────▶ expired (the payment service says so) or closed (the shop wished it)
    """

    number: str
    description: str
    total: int
    until: float
    code_url: str = ""
    state: str = "waiting"
    transaction_id: str = ""
    paid_at: str = ""
    elsewhere: bool = False
    version: int = 0
    refunds: tuple[Refund, ...] = ()

    @property
    def given_back(self) -> int:
        """What the shop gave back, or is about to."""
        return sum(refund.amount for refund in self.refunds if refund.counts)

    @property
    def left(self) -> int:
        """What the shop can still give back: nothing as soon as others did, since it cannot ask how much that was."""
        return self.total - self.given_back if self.state == "paid" and not self.elsewhere else 0

    @property
    def seconds_left(self) -> int:
        """How long it can still be paid."""
        return max(0, round(self.until - time.time())) if self.state == "waiting" else 0

    @property
    def awaits_news(self) -> bool:
        """Whether the payment service has something to tell that the shop does not know yet."""
        return self.state in {"waiting", "over"} or any(refund.status == "PROCESSING" for refund in self.refunds)


class OrderBook:
    """Orders, their refunds, and every callback that was heard. For all threads of a server, one at a time."""

    def __init__(self, file: Path) -> None:
        self._db = sqlite3.connect(file, check_same_thread=False, isolation_level=None)
        self._db.row_factory = sqlite3.Row
        self._db.execute("pragma foreign_keys = on")
        self._db.executescript(TABLES)
        #: Held by whoever reads or writes; notified after each transaction.
        self._news = threading.Condition()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """What is written inside is on the disk afterwards, all of it; or, after an exception, none."""
        with self._news:
            if self._db.in_transaction:  # part of a larger one
                yield
                return
            with self._db:  # which commits or rolls back
                self._db.execute("begin immediate")
                yield
            self._news.notify_all()

    # --- reading ------------------------------------------------------------------------------------------------------

    def find(self, number: str) -> Order | None:
        """The order with its refunds, if there is one."""
        with self._news:
            row = self._db.execute("select * from orders where number = ?", (number,)).fetchone()
            if row is None:
                return None
            return Order(**row, refunds=tuple(Refund(**refund) for refund in self._refunds(number)))

    def _refunds(self, number: str) -> sqlite3.Cursor:
        wanted = "select number, amount, status from refunds where order_number = ? order by rowid"
        return self._db.execute(wanted, (number,))

    def callbacks(self, number: str) -> list[dict[str, Any]]:
        """What was told of an order, in that order."""
        wanted = "select id, event_type, resource from callbacks where order_number = ? order by rowid"
        with self._news:
            rows = self._db.execute(wanted, (number,)).fetchall()
        return [{**row, "resource": json.loads(row["resource"])} for row in rows]

    def unsettled(self) -> list[str]:
        """The numbers of the orders of which there is still something to learn."""
        wanted = """select number from orders where state in ('waiting', 'over')
                    union select order_number from refunds where status = 'PROCESSING'"""
        with self._news:
            return [row["number"] for row in self._db.execute(wanted)]

    def refunding(self) -> list[str]:
        """The numbers of the orders of which money is on its way back."""
        wanted = "select distinct order_number from refunds where status = 'PROCESSING'"
        with self._news:
            return [row["order_number"] for row in self._db.execute(wanted)]

    def overdue(self) -> list[str]:
        """The numbers of the orders whose time is over, and that nobody is known to have paid."""
        wanted = "select number from orders where state in ('waiting', 'over') and until <= ?"
        with self._news:
            return [row["number"] for row in self._db.execute(wanted, (time.time(),))]

    def wait(self, seen: Order, seconds: float) -> None:
        """Until there is news of an order, or the time is over."""
        with self._news:
            self._news.wait_for(lambda: self.find(seen.number) != seen, seconds)

    # --- writing ------------------------------------------------------------------------------------------------------

    def add(self, order: Order) -> None:
        """A new order."""
        with self.transaction():
            self._db.execute(
                "insert into orders (number, description, total, until) values (?, ?, ?, ?)",
                (order.number, order.description, order.total, order.until),
            )

    def give_code(self, number: str, code_url: str) -> None:
        """What the order is paid by."""
        with self.transaction():
            self._db.execute(
                "update orders set code_url = ?, version = version + 1 where number = ?", (code_url, number)
            )

    def pay(self, number: str, transaction_id: str, paid_at: str) -> None:
        """It is paid, whatever was thought of it before."""
        with self.transaction():
            self._db.execute(
                """update orders set state = 'paid', transaction_id = ?, paid_at = ?, version = version + 1
                   where number = ? and state <> 'paid'""",
                (transaction_id, paid_at, number),
            )

    def end(self, number: str, state: str) -> bool:
        """It goes on without the guest: over, expired or closed. Whether that is new; money that came stays."""
        with self.transaction():
            return bool(
                self._db.execute(
                    """update orders set state = :state, version = version + 1
                       where number = :number and state in ('waiting', 'over') and state <> :state""",
                    {"number": number, "state": state},
                ).rowcount
            )

    def put_refund(self, number: str, refund: Refund) -> None:
        """A refund of the order as it is now. News may overtake each other: none leads back to PROCESSING."""
        with self.transaction():
            changed = self._db.execute(
                """insert into refunds (number, order_number, amount, status) values (?, ?, ?, ?)
                   on conflict (number) do update set status = excluded.status
                   where excluded.status not in ('PROCESSING', refunds.status)""",
                (refund.number, number, refund.amount, refund.status),
            ).rowcount
            if changed:
                self._db.execute("update orders set version = version + 1 where number = ?", (number,))

    def note_elsewhere(self, number: str) -> None:
        """Money of this order went back, and it was not the shop that gave it."""
        with self.transaction():
            self._db.execute(
                "update orders set elsewhere = 1, version = version + 1 where number = ? and not elsewhere", (number,)
            )

    def keep_callback(self, id: str, number: str, event_type: str, resource: dict[str, Any]) -> bool:
        """Write down what was told; False if that was done before."""
        with self.transaction():
            return bool(
                self._db.execute(
                    """insert into callbacks (id, order_number, event_type, resource) values (?, ?, ?, ?)
                       on conflict (id) do nothing""",
                    (id, number, event_type, json.dumps(resource, ensure_ascii=False)),
                ).rowcount
            )
