"""A house with reactions and jobs of the tests' own, and hands to watch what they do."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from dewpond.kit import jobs, outbox, worlds
from dewpond.kit.clock import Now
from dewpond.kit.db import Database, Tx
from dewpond.kit.ids import new_id
from dewpond.kit.outbox import Event, Fact
from dewpond.wiring import House, open_house
from dewpond.worker import work


class CupBrewed(Event, frozen=True, kw_only=True):
    """Tea for the tests."""

    kind = "tests.cup_brewed"
    aggregate = "pot_id"

    pot_id: UUID
    number: int


class PotBroken(Event, frozen=True, kw_only=True):
    """Something else that happens."""

    kind = "tests.pot_broken"
    aggregate = "pot_id"

    pot_id: UUID


@dataclass
class Kitchen:
    """What the reactions and jobs of one test did; told through the database where it must survive a rollback."""

    bad: set[tuple[UUID, int]] = field(default_factory=set)
    served: list[tuple[UUID, int]] = field(default_factory=list)
    tries: list[tuple[UUID, int]] = field(default_factory=list)
    smashed: list[UUID] = field(default_factory=list)
    done: list[str] = field(default_factory=list)
    failing: set[str] = field(default_factory=set)
    snoozing: dict[str, timedelta] = field(default_factory=dict)
    at_once: int = 0
    most_at_once: int = 0

    async def serve(self, tx: Tx, facts: Sequence[Fact], now: Now) -> None:
        cups = [(cup.pot_id, cup.number) for fact in facts if isinstance(cup := fact.event, CupBrewed)]
        if len(cups) == 1:
            self.tries += cups
        for cup in cups:
            if cup in self.bad:
                raise ValueError(f"cup {cup[1]} is broken")
        self.served += cups

    async def sweep_up(self, tx: Tx, facts: Sequence[Fact], now: Now) -> None:
        self.smashed += [fact.aggregate_id for fact in facts]

    async def wash(self, house: House, job: jobs.Job, now: Now) -> jobs.Outcome:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await asyncio.sleep(0.02)
        finally:
            self.at_once -= 1
        if job.subject in self.failing:
            raise ValueError("the brush is gone \x00 \udcff")
        self.done.append(job.subject)
        pause = self.snoozing.get(job.subject)
        return jobs.Done() if pause is None else jobs.Snooze(now.world + pause)


@dataclass(frozen=True)
class Hands:
    """Shorthand over the module's database."""

    database: Database

    async def now(self) -> Now:
        async with self.database.transaction() as tx:
            return await worlds.read_clocks(tx)

    async def brew(self, pot: UUID, *numbers: int) -> None:
        now = await self.now()
        async with self.database.transaction() as tx:
            events = [CupBrewed(pot_id=pot, number=number, occurred_at=now.world) for number in numbers]
            await outbox.publish(tx, events, wall_now=now.wall)

    async def smash(self, pot: UUID) -> None:
        now = await self.now()
        async with self.database.transaction() as tx:
            await outbox.publish(tx, [PotBroken(pot_id=pot, occurred_at=now.world)], wall_now=now.wall)

    async def plan(self, *subjects: str, after: timedelta = timedelta(), due: datetime | None = None) -> None:
        now = await self.now()
        async with self.database.transaction() as tx:
            await jobs.schedule(tx, "wash", [(subject, due or now.world + after) for subject in subjects])

    async def quarantined(self) -> list[jobs.QuarantinedJob]:
        async with self.database.transaction() as tx:
            return await jobs.quarantined(tx)

    async def until(self, condition: Callable[[], bool], seconds: float = 120.0) -> None:
        async with asyncio.timeout(seconds):
            while not condition():
                await asyncio.sleep(0.01)


@pytest.fixture
def kitchen() -> Kitchen:
    return Kitchen()


@pytest.fixture
def hands(database: Database, world: Any) -> Hands:
    return Hands(database)


@pytest.fixture
async def nothing_left(database: Database, world: Any) -> None:
    """The test begins without what another one has left in quarantine or in the future."""
    async with database.transaction() as tx:
        await tx.connection.execute("delete from kit.jobs")


@pytest.fixture
def another_house(world: Any, settings: Any, dsn: str, kitchen: Kitchen) -> Callable[[], Any]:
    """`async with another_house() as house`: what a process of its own would hold."""

    @asynccontextmanager
    async def opened() -> AsyncIterator[House]:
        async with open_house(
            settings,
            dsn=dsn,
            name="tests",
            pool_size=8,
            reactions={CupBrewed: (kitchen.serve,), PotBroken: (kitchen.sweep_up,)},
            jobs={"wash": kitchen.wash},
        ) as house:
            yield house

    return opened


@pytest.fixture
async def house(nothing_left: None, another_house: Callable[[], Any]) -> AsyncIterator[House]:
    async with another_house() as house:
        yield house


@pytest.fixture
def working(another_house: Callable[[], Any]) -> Callable[[], Any]:
    """`async with working():` another worker runs beside the test."""

    @asynccontextmanager
    async def running() -> AsyncIterator[House]:
        async with another_house() as house:
            stop = asyncio.Event()
            task = asyncio.create_task(work(house, stop))
            try:
                yield house
            finally:
                stop.set()
                await asyncio.wait_for(task, 60)

    return running


@pytest.fixture
async def frozen(hands: Hands, database: Database) -> AsyncIterator[datetime]:
    """World time stands still during the test."""
    async with database.transaction() as tx:
        await worlds.freeze_clock(tx, wall_now=(await worlds.read_clocks(tx)).wall)
    yield (await hands.now()).world
    async with database.transaction() as tx:
        await worlds.thaw_clock(tx, wall_now=(await worlds.read_clocks(tx)).wall)


@pytest.fixture
def pot() -> UUID:
    return new_id()
