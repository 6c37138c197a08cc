"""Checkout: a payment confirmed over HTTP, from a tap on a phone's page to the answer that it is paid.

Session, form, code, PIN or a small sum without one, state change, entry, fact and answer, as `dewpond run` serves them.
"""

from bench.child import Broken, Child
from bench.figures import Case, Figure, Run
from bench.people import fold_all, settle_payees, settle_people
from bench.servers import Dewpond, dewpond, listening
from bench.stage import Stage, all_of

NAME = "checkout"
_PAYEES = 1_000
_SIGNED_IN = 20_000

#: Written down before measuring. In the house itself a confirmation costs 75 + 85 µs with 256 callers, and pgbench
#: makes some 3,500 a second.
EXPECTED = {
    ("pin", 1, 1): "0.06–0.1 ×: a lone tap waits for three looks at the database, an fsync and HTTP, some 4 ms",
    ("pin", 1, 32): "0.5–0.7 ×: one loop carries HTTP, session, code and the confirmation, some 400 µs",
    ("pin", 1, 256): "0.7–0.9 ×: larger batches make the three looks cheap; HTTP's part of each does not shrink",
    ("pin", 2, 32): "0.7–0.9 ×: two loops, but both cores then also carry PostgreSQL and the phones",
    ("pin", 2, 256): "0.9–1.2 ×: the same with larger batches",
    ("small", 1, 1): "as with a PIN: one statement more, which adds the day up, and no HMAC",
    ("small", 2, 32): "as with a PIN, a little less: the day is added up for each",
    ("small", 2, 256): "as with a PIN, a little less: the day is added up for each",
}
_WAYS = {"pin": "PIN", "small": "small sum"}


async def play(stage: Stage) -> list[Figure]:
    """PIN and small sums, on 1, 32 and 256 phones, to one and to two servers that share their sockets."""
    limit = await stage.pgbench()
    async with stage.database(NAME) as db:
        await settle_people(db, stage.ground.secrets, stage.wish.people, with_pins=True)
        await settle_payees(db, _PAYEES)
        await fold_all(db)
        environment = stage.ground.environment(NAME)
        with listening() as wire, listening() as phone:
            told = {"DEWPOND_LISTEN_FD": str(wire.fileno()), "DEWPOND_PHONE_FD": str(phone.fileno())}
            async with (
                dewpond(stage.ground, "dewpond.app", {**environment, **told}, profile=stage.wish.profile) as servers,
                stage.children("bench.phones", 1, environment) as (phones,),
            ):
                stage.tell(f"{NAME}: signing people in")
                people = min(_SIGNED_IN, stage.wish.people)
                await phones.ask("sign_in", people=people, port=phone.getsockname()[1])
                await stage.ground.settle(NAME)
                fds = (wire.fileno(), phone.fileno())
                cases = [_case(servers, phones, fds, *which) for which in EXPECTED]
                if stage.wish.profile:
                    await stage.profile(NAME, NAME, phones, cases[2])
                    await servers.be(0, ready="")
                    stage.profiles.append((f"{NAME}: the server", servers.profiles[-1]))
                    return []
                return await stage.measure(cases, limit)


def _case(servers: Dewpond, phones: Child, fds: tuple[int, ...], proof: str, processes: int, connections: int) -> Case:
    async def ready(seconds: float) -> None:
        await servers.be(processes, ready="", pass_fds=fds)
        await phones.ask("ready", proof=proof, seconds=seconds + 0.2, connections=connections)
        await phones.ask("call", proof=proof, seconds=0.2, connections=connections)

    async def run(seconds: float) -> Run:
        try:
            return await all_of([phones], "call", proof=proof, seconds=seconds, connections=connections)
        except Broken as broken:
            raise Broken(f"{broken}\n{servers.complaints()}") from broken

    async def check() -> None:
        await phones.ask("check")

    plural = "s" if connections > 1 else ""
    at = f"{processes} server{'s' if processes > 1 else ''}"
    return Case(
        scenario=NAME,
        name=f"{_WAYS[proof]}, {connections} phone{plural}, {at}",
        run=run,
        ready=ready,
        check=check,
        expected=EXPECTED[proof, processes, connections],
        ours=lambda: servers.pids,
        load=lambda: [phones.pid],
        processes=processes,
        clients=connections,
        line="confirm over HTTP, 1 server" if (proof, processes) == ("pin", 1) else "",
        # A lone one waits for round trips while the machine idles: no measure of what the house can carry.
        floor=1.0 if connections > 1 else None,
        aim=2.0 if connections > 1 else None,
    )
