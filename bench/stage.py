"""The stage of a run: what every scenario is given to play on, and what it gives back."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import asyncpg

from bench.child import Broken, Child
from bench.figures import Case, Figure, Run, interleave, steps
from bench.ground import Ground
from bench.limits import Limit, PgBench, Rsa
from bench.people import found_world, prove_books
from dewpond.kit.db import Database

_DEAREST = """
select total_exec_time as ms, calls, round((100 * total_exec_time / sum(total_exec_time) over ())::numeric, 1) as share,
       left(regexp_replace(query, '\\s+', ' ', 'g'), 150) as query
from pg_stat_statements where toplevel = $1 order by total_exec_time desc limit $2
"""


@dataclass(frozen=True)
class Wish:
    """What was asked for on the command line."""

    seconds: float
    rounds: int
    scale: int
    people: int
    entries: int
    profile: bool


@dataclass
class Stage:
    """Measures cases, tells how far it is, and keeps what profilers say."""

    ground: Ground
    wish: Wish
    #: Tells what is done now, and that one more of so many steps has begun.
    tell: Callable[[str], None]
    more: Callable[[int], None]
    _pgbench: PgBench | None = None
    _rsa: Rsa = field(default_factory=Rsa)
    profiles: list[tuple[str, str]] = field(default_factory=list)
    #: Sentences that belong to the figures of this run.
    notes: list[str] = field(default_factory=list)

    async def pgbench(self) -> PgBench:
        """The limit of everything that is one transaction; its tables are made once."""
        if self._pgbench is None:
            self.tell(f"filling pgbench's tables, scale {self.wish.scale}")
            self._pgbench = PgBench(self.ground, scale=self.wish.scale)
            await self._pgbench.prepare()
        return self._pgbench

    @property
    def rsa(self) -> Rsa:
        """The limit of everything that is signed."""
        return self._rsa

    async def measure(self, cases: Sequence[Case], limit: Limit, *, rounds: int | None = None) -> list[Figure]:
        """All cases beside their limit."""
        rounds = rounds or self.wish.rounds
        self.more(steps(len(cases), rounds))
        return await interleave(
            cases, limit, self.ground.meter, seconds=self.wish.seconds, rounds=rounds, tell=self.tell
        )

    @asynccontextmanager
    async def database(self, name: str, *, sound: bool = True) -> AsyncIterator[Database]:
        """A scenario's database. At its end the books are added up: figures of wrong books are none."""
        self.tell(f"{name}: people and merchants")
        db = await Database.open(await self.ground.database(name), size=4, name="bench")
        try:
            await found_world(db, self.ground.secrets)
            yield db
            if sound and not self.wish.profile:
                self.tell(f"{name}: adding the books up")
                if not await prove_books(db):
                    raise Broken(f"the books of {name} are not sound")
        finally:
            await db.close()
            await self.ground.drop(name)

    @asynccontextmanager
    async def children(self, module: str, count: int, environment: Mapping[str, str]) -> AsyncIterator[list[Child]]:
        """So many children, connected."""
        started: list[Child] = []
        try:
            for _ in range(count):
                started.append(await Child.start(module, environment))
            for child in started:
                await child.ask("open")
            yield started
        finally:
            for child in started:
                await child.close()

    async def profile(self, name: str, database: str, child: Child, case: Case) -> None:
        """Run a case under both profilers and keep what they say."""
        connection = await asyncpg.connect(self.ground.postgres.dsn("dewpond_super", database))
        try:
            await connection.execute("create extension if not exists pg_stat_statements")
            if case.ready is not None:
                await case.ready(self.wish.seconds)
            await connection.execute("select pg_stat_statements_reset()")
            await child.ask("profile_begin")
            run = await case.run(self.wish.seconds)
            told = await child.ask("profile_end")
            self.profiles.append((f"{name}, {case.name}: Python, {run.operations} operations", told["text"]))
            for top, told_as in ((True, "statements"), (False, "inside functions")):
                rows = await connection.fetch(_DEAREST, top, 16)
                lines = [
                    f"{1000 * ms / run.operations:8.1f} µs/op {share:5} % {calls:8} × {query}"
                    for ms, calls, share, query in rows
                ]
                self.profiles.append((f"{name}, {case.name}: PostgreSQL, {told_as}", "\n".join(lines)))
        finally:
            await connection.close()


async def all_of(children: Sequence[Child], what: str, **told: Any) -> Run:
    """Have several children do the same at once, as one run."""
    return together(await gather([child.ask(what, **told) for child in children]))


def together(answers: Sequence[Mapping[str, Any]]) -> Run:
    """What several did side by side, as one run."""
    return Run(
        operations=sum(answer["operations"] for answer in answers),
        seconds=max(answer["seconds"] for answer in answers),
        waits=[wait for answer in answers for wait in answer["waits"]],
    )


async def gather(asked: Sequence[Awaitable[dict[str, Any]]]) -> list[dict[str, Any]]:
    """All of them, or the first that fails after all have ended: a child answers its questions in order."""
    answers = await asyncio.gather(*asked, return_exceptions=True)
    for answer in answers:
        if isinstance(answer, BaseException):
            raise answer
    return [answer for answer in answers if not isinstance(answer, BaseException)]
