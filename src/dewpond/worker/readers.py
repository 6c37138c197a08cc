"""Readers: each reaction reads the facts in their order, a page per transaction, at its own pace.

When a page raises, its facts are handled one by one; one that raises alone is parked as a job, and later facts of the
same aggregate are parked behind it, so that their order stays. Everything else goes on.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final
from uuid import UUID

import structlog

from dewpond.kit import jobs, outbox, worlds
from dewpond.kit.clock import Now
from dewpond.kit.db import Tx
from dewpond.kit.jobs import Done, GiveUp, Job, Outcome, Snooze
from dewpond.kit.outbox import Event, Fact
from dewpond.wiring import House, Reaction

#: The kind of job that handles a parked fact; its subject is `<reader>:<aggregate>:<position>`.
PARKED: Final = "reaction"

_PAGE: Final = 500

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Reader:
    """One reaction and the kinds of facts it wants."""

    name: str
    react: Reaction
    kinds: frozenset[str]


def readers_of(reactions: Mapping[type[Event], tuple[Reaction, ...]]) -> list[Reader]:
    """A reader per reaction, called "room.function"."""
    kinds: dict[Reaction, set[str]] = {}
    for event, each in reactions.items():
        for reaction in each:
            kinds.setdefault(reaction, set()).add(event.kind)
    return [Reader(_name(reaction), reaction, frozenset(wanted)) for reaction, wanted in kinds.items()]


def _name(reaction: Reaction) -> str:
    parts = reaction.__module__.split(".")
    return f"{parts[min(1, len(parts) - 1)]}.{reaction.__qualname__.rpartition('.')[2]}"


async def register(house: House) -> None:
    """Make every reader known; a new one begins with the first fact."""
    async with house.db.transaction() as tx:
        for reader in sorted(readers_of(house.reactions), key=lambda reader: reader.name):
            await outbox.register_reader(tx, reader.name)


async def read_page(house: House, reader: Reader) -> int:
    """Handle a reader's next facts; how many it passed. None are left, or another process reads, where it is 0."""
    try:
        async with house.db.transaction() as tx:
            return await _read(tx, reader, most=_PAGE)
    except Exception as error:  # noqa: BLE001 - whose fault it is shows when each fact stands alone
        log.warning("reader.one_by_one", reader=reader.name, error=repr(error))
    for passed in range(_PAGE):
        if not await _read_one(house, reader):
            return passed
    return _PAGE


async def _read_one(house: House, reader: Reader) -> int:
    try:
        async with house.db.transaction() as tx:
            return await _read(tx, reader, most=1)
    except Exception as error:  # noqa: BLE001 - this fact waits for its own sake, the others go on
        # If the database is gone this raises as well, and the same fact is read again when it is back.
        async with house.db.transaction() as tx:
            passed = await _read(tx, reader, most=1, park=True)
        if passed:
            log.warning("reader.parked", reader=reader.name, error=repr(error))
        return passed


async def _read(tx: Tx, reader: Reader, *, most: int, park: bool = False) -> int:
    position = await outbox.lock_reader(tx, reader.name)
    if position is None:
        return 0
    facts = await outbox.page(tx, after=position, most=most)
    if not facts:
        return 0
    wanted = [fact for fact in facts if fact.kind in reader.kinds]
    if wanted:
        now = await worlds.read_clocks(tx)
        held = {_parse(job.subject)[1] for job in await jobs.list_like(tx, PARKED, _pattern(reader.name))}
        ready = [fact for fact in wanted if fact.aggregate_id not in held and not park]
        if ready:
            await reader.react(tx, ready, now)
        behind = [fact for fact in wanted if fact.aggregate_id in held or park]
        await jobs.schedule(tx, PARKED, [(_subject(reader.name, fact), now.world) for fact in behind])
    await outbox.advance_reader(tx, reader.name, facts[-1].position)
    return len(facts)


async def handle_parked(house: House, job: Job, now: Now) -> Outcome:
    """Handle a parked fact, after the earlier ones of its aggregate; the next one follows at once.

    Behind one in quarantine it goes into quarantine too: when a person lets the first go, all follow in order.
    """
    name, aggregate_id, position = _parse(job.subject)
    reader = next((reader for reader in readers_of(house.reactions) if reader.name == name), None)
    if reader is None:
        return GiveUp(f"there is no reader {name} any more")
    async with house.db.transaction() as tx:
        if not await jobs.keep(tx, job):
            return Done()  # scheduled anew meanwhile, and somebody else's by now: this word will not count
        siblings = {
            _parse(sibling.subject)[2]: sibling
            for sibling in await jobs.list_like(tx, PARKED, _pattern(name, aggregate_id))
        }
        earlier = [sibling for place, sibling in sorted(siblings.items()) if place < position]
        if any(sibling.quarantined_at is not None for sibling in earlier):
            return GiveUp(f"waits behind {earlier[0].subject}")
        if earlier:
            return Snooze(max(earlier[0].due_at, now.world) + timedelta(seconds=1))
        await reader.react(tx, [await outbox.get_fact(tx, position)], now)
        # In this very transaction, or the follower might look before this job is gone and wait for nothing.
        await jobs.settle(tx, [(job, Done())], now)
        later = [place for place in siblings if place > position]
        if later:
            await jobs.schedule(tx, PARKED, [(siblings[min(later)].subject, now.world)])
    return Done()


def _subject(reader: str, fact: Fact) -> str:
    return f"{reader}:{fact.aggregate_id}:{fact.position}"


def _parse(subject: str) -> tuple[str, UUID, int]:
    reader, aggregate_id, position = subject.split(":")
    return reader, UUID(aggregate_id), int(position)


def _pattern(*parts: object) -> str:
    return ":".join(map(str, parts)).replace("_", r"\_") + ":%"


async def relay(house: House) -> int:
    """Give every committed fact its position; how many."""
    total = 0
    while True:
        async with house.db.transaction() as tx:
            placed = await outbox.relay(tx)
        total += placed
        if not placed:
            return total


async def are_done(tx: Tx, readers: Sequence[Reader]) -> bool:
    """Whether every fact has a position and every reader has passed them all."""
    if await outbox.waiting(tx):
        return False
    last = await outbox.last_position(tx)
    positions = {reader.name: reader.position for reader in await outbox.reader_positions(tx)}
    return all(positions.get(reader.name, 0) >= last for reader in readers)
