"""Consoles: a thousand windows on live consoles while people pay, all through one server and one worker.

What the windows cost the server in memory, how soon after its acknowledgement each payment is told, and what is left of
the payments' own rate and waiting. The whole way is in it: relay, the pool that settles first, composing, a thousand
sockets; afterwards every window must have been told every payment.
"""

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import msgspec

from bench.child import Broken, Child
from bench.figures import Case, Figure, Run
from bench.meter import resident_kb
from bench.people import fold_all, onboard, settle_people
from bench.servers import Dewpond, dewpond, listening
from bench.stage import Stage, all_of
from dewpond import identity, merchants
from dewpond.identity import How, Realm
from dewpond.kit import clock, outbox
from dewpond.kit.db import Database
from dewpond.merchants import Role

NAME = "consoles"
_SHOPS = 100
_PEOPLE = 5_000
_WINDOWS = 1_000
#: Windows in one browser.
_WINDOWS_EACH = 10
_FIRST = 10
_PHONES = 32
_A_SECOND = 200
#: Payments whose way to every window is timed; more would only take longer to add up.
_SAMPLES = 200
#: Each case lets its backlog run dry before the next begins: more rounds would take long and say little.
_ROUNDS = 3
_PATIENCE_SECONDS = 120.0
_WARM_SECONDS = 0.5

#: Written down before measuring.
EXPECTED = {
    (0, 200): "200 a second, each some 10 ms: nobody else is there",
    (1, 200): "as without windows, some waiting more: six or seven messages a second, each handed to 1,000 sockets, are"
    " half a core; told after some 300 ms",
    (100, 200): "as without windows, some waiting more: a hundred small messages a second to ten sockets each, dear to"
    " compose; told after some 400 ms",
    (0, None): "what one server with a busy worker beside it can do on two cores, some 1,500 a second",
    (1, None): "a third less: composing and handing out take from the same loop; more than a page's rows is told as a"
    " word to load anew",
    (100, None): "half: every look composes for a hundred shops",
}

_FACTS = """
select m.number as mchid, f.position, f.aggregate_id::text as payment
from kit.facts f join merchants.merchants m on m.id = f.merchant_id
where f.position > $1 and f.kind = 'payment.succeeded' order by f.position
"""


class _Seen(msgspec.Struct, frozen=True, kw_only=True):
    """What the windows of one run were told, and how."""

    lag_p50: float
    lag_p99: float
    #: Different ones; each goes to many windows.
    messages: int
    bytes_each: float
    #: Of the messages, those that say to load the page anew.
    reloads: int
    #: Windows that were let go and came back.
    returns: int
    #: Of the server's memory, for each window, after they were told.
    told_kb: float


@dataclass
class _Cast:
    """Who plays."""

    db: Database
    servers: Dewpond
    workers: Dewpond
    phones: Child
    windows: Child
    fds: tuple[int, ...]
    port: int
    shops: list[dict[str, Any]]
    #: What happens after it belongs to the run.
    position: int = 0
    #: The server without windows; for each window once they are open, and once they were told.
    bare_kb: int = 0
    opened_kb: list[float] = field(default_factory=list)
    told_kb: float = 0.0
    #: One for each round, by case.
    seen: dict[str, list[_Seen]] = field(default_factory=dict)


async def play(stage: Stage) -> list[Figure]:
    """No windows, 1,000 of one shop, 1,000 over a hundred shops; 200 payments a second, then all that go."""
    limit = await stage.pgbench()
    async with stage.database(NAME) as db:
        await settle_people(db, stage.ground.secrets, min(_PEOPLE, stage.wish.people), with_pins=True)
        shops = await _staff(db, [shop["mchid"] for shop in await onboard(db, stage.ground.secrets, _SHOPS)])
        await fold_all(db)
        environment = stage.ground.environment(NAME)
        with listening() as wire, listening() as phone, listening() as staff:
            doors = {"LISTEN": wire, "PHONE": phone, "STAFF": staff}
            told = {**environment, **{f"DEWPOND_{name}_FD": str(door.fileno()) for name, door in doors.items()}}
            async with (
                dewpond(stage.ground, "dewpond.app", told, profile=stage.wish.profile) as servers,
                dewpond(stage.ground, "dewpond.worker", environment) as workers,
                stage.children("bench.phones", 1, environment) as (phones,),
                stage.children("bench.windows", 1, environment) as (windows,),
            ):
                await phones.ask("sign_in", people=min(_PEOPLE, stage.wish.people), port=phone.getsockname()[1])
                await stage.ground.settle(NAME)
                fds = tuple(door.fileno() for door in doors.values())
                cast = _Cast(db, servers, workers, phones, windows, fds, staff.getsockname()[1], shops)
                cases = [_case(cast, *which) for which in EXPECTED]
                if stage.wish.profile:
                    await stage.profile(NAME, NAME, phones, cases[2])
                    await servers.be(0, ready="")
                    stage.profiles.append((f"{NAME}: the server", servers.profiles[-1]))
                    return []
                figures = await stage.measure(cases, limit, rounds=min(_ROUNDS, stage.wish.rounds))
                stage.notes += _notes(cast)
                return figures


async def _staff(db: Database, mchids: list[str]) -> list[dict[str, Any]]:
    """Somebody who works at each shop, signed in on as many devices as it has windows for."""
    shops: list[dict[str, Any]] = []
    for mchid in mchids:
        wall = clock.wall_now()
        async with db.transaction() as tx:
            merchant = await merchants.find_merchant_by_number(tx, mchid)
            assert merchant is not None
            member = await merchants.create_staff_member(tx, f"mei-{mchid}", "Mei", wall_now=wall)
            await merchants.give_role(tx, merchant.id, member.id, Role.OWNER, wall_now=wall)
            devices = 1 if shops else _WINDOWS // _WINDOWS_EACH  # the first shop has all windows of a case to itself
            opened = [
                await identity.open_session(
                    tx, Realm.STAFF, member.id, device="", address="", how=How.PASSWORD, wall_now=wall
                )
                for _ in range(devices)
            ]
        shops.append({"mchid": mchid, "tokens": [token for _, token in opened]})
    return shops


def _case(cast: _Cast, shops: int, a_second: int | None) -> Case:
    many = f"{_WINDOWS:,} windows"
    looking = {0: "no windows", 1: f"{many} of 1 shop", _SHOPS: f"{many} of {_SHOPS} shops"}[shops]
    name = f"{looking}, {f'{a_second} payments a second' if a_second else 'all payments that go'}"
    asked: dict[str, Any] = {"proof": "pin", "connections": _PHONES, "a_second": a_second, "shops": shops or _SHOPS}

    async def ready(seconds: float) -> None:
        await _stand_by(cast, shops)
        await cast.phones.ask("ready", seconds=seconds + _WARM_SECONDS, **asked)
        await cast.phones.ask("call", seconds=_WARM_SECONDS, folder=False, **asked)
        await _settle(cast)
        async with cast.db.transaction() as tx:
            cast.position = await outbox.last_position(tx)
        await cast.windows.ask("forget")

    async def run(seconds: float) -> Run:
        try:
            return await all_of([cast.phones], "call", seconds=seconds, folder=False, **asked)
        except Broken as broken:
            raise Broken(f"{broken}\n{cast.servers.complaints()}") from broken

    async def check() -> None:
        await cast.phones.ask("check")
        await _settle(cast)
        if shops:
            cast.seen.setdefault(name, []).append(await _judge(cast))

    return Case(
        scenario=NAME,
        name=name,
        run=run,
        ready=ready,
        check=check,
        expected=EXPECTED[shops, a_second],
        ours=lambda: [*cast.servers.pids, *cast.workers.pids],
        load=lambda: [cast.phones.pid, cast.windows.pid],
    )


async def _stand_by(cast: _Cast, shops: int) -> None:
    """A fresh server, which has no memory of other windows, one worker, and the windows; from here on is what they are
    told."""
    await cast.windows.ask("look", port=cast.port, shops=cast.shops, windows=0)
    await cast.servers.be(0, ready="")
    await cast.servers.be(1, ready="", pass_fds=cast.fds)
    await cast.workers.be(1, ready="worker.started")
    (pid,) = cast.servers.pids
    # What the first requests of all bring with them is no window's.
    await cast.windows.ask("look", port=cast.port, shops=cast.shops, windows=_FIRST)
    await cast.windows.ask("look", port=cast.port, shops=cast.shops, windows=0)
    cast.bare_kb = resident_kb(pid)
    if shops:
        await cast.windows.ask("look", port=cast.port, shops=cast.shops[:shops], windows=_WINDOWS)
        cast.opened_kb.append((resident_kb(pid) - cast.bare_kb) / _WINDOWS)


async def _settle(cast: _Cast) -> None:
    """Let the worker come to the end of what has happened."""
    (pid,) = cast.servers.pids
    cast.told_kb = (resident_kb(pid) - cast.bare_kb) / _WINDOWS
    for _ in range(int(_PATIENCE_SECONDS / 0.05)):
        async with cast.db.transaction() as tx:
            last = await outbox.last_position(tx)
            if not await outbox.waiting(tx) and all(one.position >= last for one in await outbox.reader_positions(tx)):
                return
        await asyncio.sleep(0.05)
    raise Broken(f"the worker does not come to an end\n{cast.workers.complaints()}")


async def _judge(cast: _Cast) -> _Seen:
    """Have every window told everything, and say how that was. Whatever one of them missed is `Broken`."""
    acks: dict[str, float] = (await cast.phones.ask("acknowledged"))["acks"]
    async with cast.db.transaction() as tx:
        rows = [tuple(row) for row in await tx.connection.fetch(_FACTS, cast.position)]
    if {payment for _, _, payment in rows} != acks.keys():
        raise Broken(f"{len(acks)} payments were acknowledged, and {len(rows)} facts tell of them")
    facts: dict[str, list[tuple[int, str]]] = {}
    for mchid, position, payment in rows:
        facts.setdefault(mchid, []).append((position, payment))
    drawn = random.sample(rows, min(_SAMPLES, len(rows)))
    samples = [(mchid, position, acks[payment]) for mchid, position, payment in drawn]
    judged = await cast.windows.ask("judge", facts=facts, samples=samples)
    if judged["missed"]:
        raise Broken(f"windows have missed {judged['missed']} payments\n{cast.servers.complaints()}")
    return _Seen(**{name: judged[name] for name in _Seen.__struct_fields__ if name in judged}, told_kb=cast.told_kb)


def _notes(cast: _Cast) -> list[str]:
    """What the columns of a figure have no room for: medians over the rounds."""
    opened = f"consoles: {median(cast.opened_kb):.0f} kB of the server's memory for each open window"
    return [opened, *(f"consoles, {name}: {_told(seen)}" for name, seen in cast.seen.items())]


def _told(seen: Sequence[_Seen]) -> str:
    def middle(of: Callable[[_Seen], float]) -> float:
        return median(map(of, seen))

    return (
        f"told p50/p99 {middle(lambda one: one.lag_p50):,.0f}/{middle(lambda one: one.lag_p99):,.0f} ms after the"
        f" acknowledgement, {middle(lambda one: one.messages):,.0f} messages of"
        f" {middle(lambda one: one.bytes_each) / 1000:,.1f} kB ({sum(one.reloads for one in seen)} said to load anew),"
        f" {sum(one.returns for one in seen)} windows came back, nothing missed,"
        f" {middle(lambda one: one.told_kb):.0f} kB a window"
    )
