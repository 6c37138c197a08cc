"""Facts: what happened, written by the room that owns it in the transaction that made it happen.

    room ──publish──▶ kit.outbox ──relay──▶ kit.facts (position 1, 2, 3 …) ──▶ readers: reactions, feeds, event streams

The relay, one at a time, gives committed facts consecutive positions; every reader pages by position. A cursor over a
sequence would skip late commits. Facts of one aggregate keep their order; delivery is at least once, so every reaction
is deaf to the second time.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

import msgspec

from dewpond.kit.db import Tx, columns, queries
from dewpond.kit.ids import new_id

sql = queries(__file__)

_kinds: dict[str, type["Event"]] = {}


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """A fact, named in the past tense. Subclasses say `kind` ("payment.succeeded") and which field is the aggregate."""

    kind: ClassVar[str]
    aggregate: ClassVar[str]

    occurred_at: datetime

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "kind" in cls.__dict__:
            if cls.kind in _kinds and _kinds[cls.kind].__qualname__ != cls.__qualname__:
                raise ValueError(f"two events are called {cls.kind}")
            _kinds[cls.kind] = cls


class Fact(msgspec.Struct, frozen=True, kw_only=True):
    """A published event with its place in the world's order."""

    position: int
    id: UUID
    kind: str
    aggregate_id: UUID
    merchant_id: UUID | None
    person_id: UUID | None
    body: dict[str, Any]
    occurred_at: datetime
    recorded_at: datetime

    @property
    def event(self) -> Event:
        """The event as its class."""
        return msgspec.convert(self.body, type=_kinds[self.kind])


class ReaderPosition(msgspec.Struct, frozen=True, kw_only=True):
    """How far one reader is."""

    name: str
    position: int


async def publish(tx: Tx, events: Sequence[Event], *, wall_now: datetime) -> None:
    """Write facts down in this transaction; they become visible to readers after its commit."""
    if not events:
        return
    rows = [
        (
            new_id(),
            event.kind,
            getattr(event, event.aggregate),
            getattr(event, "merchant_id", None),
            getattr(event, "person_id", None),
            msgspec.json.encode(event).decode(),
            event.occurred_at,
        )
        for event in events
    ]
    ids, kinds, aggregates, merchants, people, bodies, occurred = columns(rows, 7)
    await tx.run(
        sql.publish,
        id=ids,
        kind=kinds,
        aggregate_id=aggregates,
        merchant_id=merchants,
        person_id=people,
        body=bodies,
        occurred_at=occurred,
        recorded_at=wall_now,
    )
    tx.wake()


async def relay(tx: Tx, *, most: int = 2000) -> int:
    """Give the next committed facts their positions; how many. Nothing if another relay is at it."""
    if not await tx.value(sql.try_relay_lock):
        return 0
    return int(await tx.value(sql.relay, most=most))


async def waiting(tx: Tx) -> int:
    """How many facts have no position yet."""
    return int(await tx.value(sql.waiting))


async def page(tx: Tx, *, after: int, most: int = 500) -> list[Fact]:
    """The facts after a position, oldest first."""
    return await tx.rows(Fact, sql.page, after=after, most=most)


async def page_of_merchant(tx: Tx, merchant_id: UUID, *, after: int, upto: int) -> list[Fact]:
    """One merchant's facts in a short stretch of positions, oldest first; read by looking at every fact in it."""
    return await tx.rows(Fact, sql.page_of_merchant, merchant_id=merchant_id, after=after, upto=upto)


async def get_fact(tx: Tx, position: int) -> Fact:
    """The fact at a position that a reader was given."""
    fact = await tx.row(Fact, sql.get_fact, position=position)
    assert fact is not None, f"no fact at {position}"
    return fact


async def last_position(tx: Tx) -> int:
    """The newest position, 0 before the first."""
    return int(await tx.value(sql.last_position))


async def lock_reader(tx: Tx, name: str) -> int | None:
    """This reader's position, held for this transaction; None while another process reads for it."""
    position = await tx.value(sql.lock_reader, name=name)
    return None if position is None else int(position)


async def register_reader(tx: Tx, name: str) -> None:
    """Make a reader known; it begins with the first fact."""
    await tx.run(sql.register_reader, name=name)


async def advance_reader(tx: Tx, name: str, position: int) -> None:
    """This reader has done everything up to `position`."""
    await tx.run(sql.advance_reader, name=name, position=position)


async def reader_positions(tx: Tx) -> list[ReaderPosition]:
    """How far every reader is."""
    return await tx.rows(ReaderPosition, sql.reader_positions)
