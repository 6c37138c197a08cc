"""Callbacks: from a confirmed payment to its merchant's 200, signed, against one RSA signature per callback.

The whole way is in it: relay, reactions (the pool settles as well), the delivery's row, its job, encryption, signature,
the call over HTTP, the attempt written down. A backlog shows how many a second; bursts show how soon.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from bench.child import Broken, Child
from bench.figures import Case, Figure, Run
from bench.people import fold_all, onboard, settle_people
from bench.servers import Dewpond, dewpond
from bench.stage import Stage

NAME = "callbacks"
_SHOPS = 8
_PEOPLE = 5_000
_PATIENCE_SECONDS = 120.0
_FIRST_GUESS = 500.0

#: Written down before measuring.
EXPECTED = {
    "backlog 1": "35–45 %: one loop carries relay, reactions, jobs, HTTP and records, some 900 µs a callback",
    "backlog 2": "40–50 %: two loops, but both cores are then full of RSA, Python and PostgreSQL",
    "1": "p50 some 60 ms: the bell waits 30 ms, then relay, reaction, job and attempt follow one another",
    "32": "p50 some 90 ms: the same way, and 32 ms of signing on two cores",
    "256": "p50 some 300 ms: 256 signatures and posts at the backlog's rate",
}


@dataclass
class _Cast:
    """Who plays."""

    workers: Dewpond
    payer: Child
    receiver: Child
    url: str
    guess: dict[int, float]


async def play(stage: Stage) -> list[Figure]:
    """A backlog with one and with two workers; bursts of 1, 32 and 256 with one."""
    async with stage.database(NAME) as db:
        await settle_people(db, stage.ground.secrets, min(_PEOPLE, stage.wish.people), with_pins=True)
        await onboard(db, stage.ground.secrets, _SHOPS)
        await fold_all(db)
        await stage.ground.settle(NAME)
        environment: Mapping[str, str] = stage.ground.environment(NAME)
        told = {**environment, "DEWPOND_LISTENERS": "127.0.0.1:9"}
        async with (
            dewpond(stage.ground, "dewpond.worker", told, profile=stage.wish.profile) as workers,
            stage.children("bench.receiver", 1, environment) as (receiver,),
            stage.children("bench.payer", 1, environment) as (payer,),
        ):
            url = f"http://127.0.0.1:{(await receiver.ask('where'))['port']}/notify"
            cast = _Cast(workers, payer, receiver, url, {})
            cases = [_backlog(cast, 1), *(_burst(cast, payments) for payments in (1, 32, 256)), _backlog(cast, 2)]
            if stage.wish.profile:
                await stage.profile(NAME, NAME, payer, cases[0])
                await workers.be(0, ready="")
                stage.profiles.append(("callbacks: the worker", workers.profiles[-1]))
                return []
            return await stage.measure(cases, stage.rsa)


def _backlog(cast: _Cast, workers: int) -> Case:
    """So many payments at once that they keep the workers busy for the time of a run."""

    def payments(seconds: float) -> int:
        return max(100, int(cast.guess.get(workers, _FIRST_GUESS) * seconds))

    async def ready(seconds: float) -> None:
        await _stand_by(cast, workers)
        await cast.payer.ask("stock", payments=payments(seconds), notify_url=cast.url)

    async def run(seconds: float) -> Run:
        wanted = payments(seconds)
        committed, arrived = await _tell(cast, wanted)
        elapsed = arrived[-1] - committed[0]
        cast.guess[workers] = wanted / elapsed
        return Run(operations=wanted, seconds=elapsed)

    plural = "s" if workers > 1 else ""
    return _case(
        cast, f"backlog, {workers} worker{plural}", ready, run, EXPECTED[f"backlog {workers}"], workers=workers
    )


def _burst(cast: _Cast, size: int) -> Case:
    """So many payments in one moment, again and again; how long after its commit each callback is there."""

    async def ready(seconds: float) -> None:
        await _stand_by(cast, 1)
        await cast.payer.ask("stock", payments=size * (int(seconds * 20) + 1), notify_url=cast.url)

    async def run(seconds: float) -> Run:
        loop = asyncio.get_running_loop()
        waits: list[float] = []
        began = loop.time()
        bursts = 0
        while loop.time() - began < seconds and bursts < int(seconds * 20) + 1:
            committed, arrived = await _tell(cast, size)
            waits += [(moment - committed[0]) * 1000 for moment in arrived]
            bursts += 1
        return Run(operations=len(waits), seconds=loop.time() - began, waits=waits)

    return _case(cast, f"bursts of {size}, 1 worker", ready, run, EXPECTED[str(size)], clients=size)


def _case(
    cast: _Cast,
    name: str,
    ready: Callable[[float], Awaitable[None]],
    run: Callable[[float], Awaitable[Run]],
    expected: str,
    **told: int,
) -> Case:
    return Case(
        scenario=NAME,
        name=name,
        run=run,
        ready=ready,
        expected=expected,
        ours=lambda: cast.workers.pids,
        load=lambda: [cast.payer.pid, cast.receiver.pid],
        processes=told.get("workers", 1),
        clients=told.get("clients"),
        line="callback, burst" if "clients" in told else "",
        floor=None if "clients" in told else 0.4,
        aim=None if "clients" in told else 0.6,
    )


async def _stand_by(cast: _Cast, workers: int) -> None:
    await cast.workers.be(workers, ready="worker.started")


async def _tell(cast: _Cast, payments: int) -> tuple[list[float], list[float]]:
    """Confirm so many and wait for their callbacks: when they were committed, when they came."""
    await cast.receiver.ask("expect", callbacks=payments)
    committed = (await cast.payer.ask("burst", payments=payments))["committed"]
    arrived = (await cast.receiver.ask("arrived", patience=_PATIENCE_SECONDS))["arrived"]
    if len(arrived) < payments:
        raise Broken(f"{len(arrived)} of {payments} callbacks came\n{cast.workers.complaints()}")
    return committed, arrived
