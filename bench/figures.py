"""Figures: cases are measured in interleaved rounds with their limit, and summed up as medians with their spread."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from statistics import median, median_high

from bench.limits import Limit
from bench.meter import Meter, percentile

#: A limit is measured again after this many cases: this machine may change its speed from minute to minute.
_CASES_BETWEEN_LIMITS = 2

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Run:
    """What one stretch of work came to. `waits` are milliseconds, one per caller's question or per batch."""

    operations: int
    seconds: float
    waits: Sequence[float] = ()


@dataclass(frozen=True)
class Case:
    """One way to do the work."""

    scenario: str
    name: str
    run: Callable[[float], Awaitable[Run]]
    #: What it is expected to come to, written down before it was measured, and why in a sentence.
    expected: str
    #: Process ids of Dewpond's own work, and of those who only ask and answer.
    ours: Callable[[], Sequence[int]]
    load: Callable[[], Sequence[int]] = tuple
    #: Done before each run, unmeasured.
    ready: Callable[[float], Awaitable[None]] | None = None
    #: Done after each run, unmeasured: raises where something was done wrongly.
    check: Callable[[], Awaitable[None]] | None = None
    processes: int = 1
    clients: int | None = None
    #: The line it belongs to in the picture of throughput and latency over clients.
    line: str = ""
    floor: float | None = None
    aim: float | None = None


@dataclass(frozen=True)
class Sample:
    """One measured run of a case."""

    rate: float
    limit: float
    server_us: float
    ours_us: float
    load_us: float
    wal_bytes: float
    p50: float | None
    p99: float | None


@dataclass
class Figure:
    """A case with all its samples."""

    case: Case
    limit_name: str
    samples: list[Sample] = field(default_factory=list)

    def middle(self, of: Callable[[Sample], float]) -> float:
        """The median over the rounds."""
        return median(map(of, self.samples))

    @property
    def rate(self) -> float:
        return self.middle(lambda sample: sample.rate)

    @property
    def ratios(self) -> list[float]:
        """Against the limit measured just before and just after, smallest first."""
        return sorted(sample.rate / sample.limit for sample in self.samples)

    @property
    def ratio(self) -> float:
        return median(self.ratios)

    @property
    def p50(self) -> float | None:
        return _middle([sample.p50 for sample in self.samples])

    @property
    def p99(self) -> float | None:
        return _middle([sample.p99 for sample in self.samples])

    @property
    def verdict(self) -> str:
        """Where it stands between floor and aim; told, never asserted."""
        if self.case.floor is None:
            return ""
        if self.ratio < self.case.floor:
            return "below floor"
        if self.case.aim is not None and self.ratio >= self.case.aim:
            return "aim"
        return "floor"


def _middle(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median_high(known) if known else None


async def interleave(
    cases: Sequence[Case], limit: Limit, meter: Meter, *, seconds: float, rounds: int, tell: Tell
) -> list[Figure]:
    """Measure every case once a round, in alternating order, its limit before and after."""
    figures = {case.name: Figure(case, limit.name) for case in cases}
    for case in cases:
        tell(f"{case.name}: warming up")
        await _run(case, min(1.0, seconds))
    for number in range(rounds):
        told = f"round {number + 1} of {rounds}"
        order = list(cases) if number % 2 == 0 else list(reversed(cases))
        tell(f"{told}: {limit.name}")
        before = await limit.rate(seconds)
        for at in range(0, len(order), _CASES_BETWEEN_LIMITS):
            measured = []
            for case in order[at : at + _CASES_BETWEEN_LIMITS]:
                tell(f"{told}: {case.name}")
                measured.append((case, await _measured(case, meter, seconds)))
            tell(f"{told}: {limit.name}")
            after = await limit.rate(seconds)
            for case, sample in measured:
                figures[case.name].samples.append(sample((before + after) / 2))
            before = after
    return list(figures.values())


def steps(cases: int, rounds: int) -> int:
    """How often `interleave` tells where it is."""
    return cases + rounds * (1 + cases + -(-cases // _CASES_BETWEEN_LIMITS))


async def _run(case: Case, seconds: float) -> Run:
    if case.ready is not None:
        await case.ready(seconds)
    run = await case.run(seconds)
    if case.check is not None:
        await case.check()
    return run


async def _measured(case: Case, meter: Meter, seconds: float) -> Callable[[float], Sample]:
    if case.ready is not None:
        await case.ready(seconds)
    ours, load = list(case.ours()), list(case.load())
    before = await meter.read(ours, load)
    run = await case.run(seconds)
    after = await meter.read(ours, load)
    if case.check is not None:
        await case.check()
    done = max(1, run.operations)

    def sample(limit: float) -> Sample:
        return Sample(
            rate=run.operations / run.seconds,
            limit=limit,
            server_us=(after.server - before.server) / done * 1e6,
            ours_us=(after.ours - before.ours) / done * 1e6,
            load_us=(after.load - before.load) / done * 1e6,
            wal_bytes=(after.wal - before.wal) / done,
            p50=percentile(run.waits, 0.50),
            p99=percentile(run.waits, 0.99),
        )

    return sample
