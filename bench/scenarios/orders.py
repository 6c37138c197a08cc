"""Orders: WeChat v3 native prepay over HTTP, verified and signed, against one RSA signature per order."""

from bench.child import Broken, Child
from bench.figures import Case, Figure, Run
from bench.people import onboard
from bench.servers import Dewpond, dewpond, listening
from bench.stage import Stage, all_of

NAME = "orders"

#: Written down before measuring. On two cores a second has 2,000 ms, 1,000 orders would leave 2 ms to each: one of
#: them is the signature, the other has to hold HTTP, verifying, JSON, two looks at the database and the client.
EXPECTED = {
    (1, 1): "8–15 %: alone it waits for two small transactions, an fsync and one signature, some 6 ms",
    (1, 32): "40–50 %: one loop does all but the signing, some 600 µs an order, and that core is the wall",
    (1, 256): "as with 32: the wall is the same, only the queue is longer",
    (2, 1): "as in one process: there is only ever one order under way",
    (2, 32): "45–55 %: two loops, but both cores then also sign, carry PostgreSQL and the client",
    (2, 256): "as with 32, a little more for larger batches",
}


async def play(stage: Stage) -> list[Figure]:
    """1, 32 and 256 connections to one and to two servers that share a listening socket."""
    async with stage.database(NAME) as db:
        (shop,) = await onboard(db, stage.ground.secrets, 1)
        await stage.ground.settle(NAME)
        with listening() as door:
            environment = {**stage.ground.environment(NAME), "DEWPOND_LISTEN_FD": str(door.fileno())}
            async with (
                dewpond(stage.ground, "dewpond.app", environment, profile=stage.wish.profile) as servers,
                stage.children("bench.client", 1, stage.ground.environment(NAME)) as (client,),
            ):
                await client.ask("arm", me=shop, port=door.getsockname()[1])
                most = await stage.rsa.rate(0.5)
                fds = (door.fileno(),)
                cases = [
                    _case(servers, client, fds, most, processes, connections)
                    for processes in (1, 2)
                    for connections in (1, 32, 256)
                ]
                if stage.wish.profile:
                    await stage.profile(NAME, NAME, client, cases[1])
                    await servers.be(0, ready="")
                    stage.profiles.append(("orders: the server", servers.profiles[-1]))
                    return []
                return await stage.measure(cases, stage.rsa)


def _case(servers: Dewpond, client: Child, fds: tuple[int, ...], most: float, processes: int, connections: int) -> Case:
    async def ready(seconds: float) -> None:
        await servers.be(processes, ready="", pass_fds=fds)
        share = 0.25 if connections == 1 else 0.8  # of what could be signed at best: more is never needed
        await client.ask("sign", requests=int(most * seconds * share) + 300)
        await client.ask("call", seconds=0.2, connections=connections)

    async def run(seconds: float) -> Run:
        try:
            return await all_of([client], "call", seconds=seconds, connections=connections)
        except Broken as broken:
            raise Broken(f"{broken}\n{servers.complaints()}") from broken

    plural = "s" if connections > 1 else ""
    return Case(
        scenario=NAME,
        name=f"{connections} connection{plural}, {processes} server{'s' if processes > 1 else ''}",
        run=run,
        ready=ready,
        expected=EXPECTED[processes, connections],
        ours=lambda: servers.pids,
        load=lambda: [client.pid],
        processes=processes,
        clients=connections,
        line=f"order, {processes} server{'s' if processes > 1 else ''}",
        # A lone one waits for round trips while the machine idles: no measure of what the house can carry.
        floor=0.4 if connections > 1 else None,
        aim=0.6 if connections > 1 else None,
    )
