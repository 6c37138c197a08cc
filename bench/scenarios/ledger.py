"""Ledger: durable entries a second, with fee leg, currency, holds and the fact in the same transaction."""

from collections.abc import Awaitable, Callable, Sequence

from bench.child import Child
from bench.figures import Case, Figure, Run
from bench.people import fold_all, settle_payees, settle_people
from bench.stage import Stage, all_of, gather, together

NAME = "ledger"
_PAYEES = 1_000
_SIZE = 500

#: Written down before measuring. The spike of LEDGER.md made 9.6–12 × uniform and 12–15 × hot without holds and
#: statements, at 72–77 µs an entry in all.
EXPECTED = {
    "uniform": "9–11 ×: the spike's 10–12, less for holds checked and a row that tells the statement writer",
    "hot": "11–14 ×: one slip per batch for the merchant instead of hundreds, so fewer rows to append and fold",
    "two": "as in one process: PostgreSQL does three quarters of the work, Python is not what it waits for",
    "statements": "6–8 ×: four more rows per entry with a key of 40 bytes, written in bulk but on the same two cores",
    "1": "0.2–0.4 ×: a lone caller pays every round trip and an fsync alone",
    "32": "2–4 ×: sixteen entries share what a lone one pays",
    "256": "5–7 ×: 128 a batch, where the fixed part of a call is down to some 5 µs an entry",
}


async def play(stage: Stage) -> list[Figure]:
    """Uniform payers and one hot merchant, in one and two processes; then callers who await their own entry."""
    limit = await stage.pgbench()
    async with stage.database(NAME) as db:
        await settle_people(db, stage.ground.secrets, stage.wish.people, with_pins=False)
        await settle_payees(db, _PAYEES)
        await fold_all(db)
        await stage.ground.settle(NAME)
        async with stage.children("bench.poster", 2, stage.ground.environment(NAME)) as posters:
            cases = [*_batches(posters), *_callers(posters[0])]
            if stage.wish.profile:
                await stage.profile(NAME, NAME, posters[0], cases[0])
                await stage.profile(NAME, NAME, posters[0], cases[-1])
                return []
            return await stage.measure(cases, limit)


def _batches(posters: Sequence[Child]) -> list[Case]:
    """Two connections in all, in one process or spread over two."""
    cases = []
    for hot, floor in ((False, 8.0), (True, 10.0)):
        for processes in (1, 2):
            kind = "hot" if hot else "uniform"
            name = f"{kind}, {_SIZE} a batch, {processes} process{'es' if processes > 1 else ''}"
            told = EXPECTED[kind] if processes == 1 else EXPECTED["two"]
            cases.append(_case(name, posters[:processes], told, hot=hot, floor=floor))
    name = "uniform, statements written too, 1 process"
    return [*cases, _case(name, posters[:1], EXPECTED["statements"], hot=False, floor=None, statements=True)]


def _case(
    name: str, posters: Sequence[Child], expected: str, *, hot: bool, floor: float | None, statements: bool = False
) -> Case:
    async def run(seconds: float) -> Run:
        first, *others = posters
        told = {"case": name, "seconds": seconds, "connections": 2 // len(posters), "size": _SIZE}
        folders = [(first, True), *((other, False) for other in others)]
        return together(
            await gather([child.ask("post", **told, folder=folder, statements=statements) for child, folder in folders])
        )

    return Case(
        scenario=NAME,
        name=name,
        run=run,
        ready=_ready(posters, name, hot=hot),
        expected=expected,
        ours=lambda: [poster.pid for poster in posters],
        processes=len(posters),
        floor=floor,
        aim=None if floor is None else 15.0,
    )


def _callers(poster: Child) -> list[Case]:
    def case(callers: int) -> Case:
        name = f"uniform, {callers} caller{'s' if callers > 1 else ''} through the batch"

        async def run(seconds: float) -> Run:
            return await all_of([poster], "submit", case=name, seconds=seconds, callers=callers)

        return Case(
            scenario=NAME,
            name=name,
            run=run,
            ready=_ready([poster], name, hot=False),
            expected=EXPECTED[str(callers)],
            ours=lambda: [poster.pid],
            clients=callers,
            line="ledger entry",
        )

    return [case(callers) for callers in (1, 32, 256)]


def _ready(posters: Sequence[Child], name: str, *, hot: bool) -> Callable[[float], Awaitable[None]]:
    async def ready(seconds: float) -> None:
        await gather([poster.ask("ready", case=name, seconds=seconds, hot=hot) for poster in posters])

    return ready
