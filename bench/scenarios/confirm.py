"""Confirm: payments confirmed a second inside the house, PIN, state, entry and fact in one transaction."""

from collections.abc import Sequence

from bench.child import Child
from bench.figures import Case, Figure, Run
from bench.people import fold_all, settle_payees, settle_people
from bench.stage import Stage, all_of

NAME = "confirm"
_PAYEES = 1_000

#: Written down before measuring. The spike confirmed 8.8, 4.2 and 0.2 thousand a second with 256, 32 and 1 callers
#: while pgbench made 1.8–1.9 thousand: 111, 212 and 3,675 µs each.
EXPECTED = {
    1: "0.1–0.2 ×: a lone caller waits for seven statements and an fsync, some 5 ms",
    32: "1.5–2.2 ×: sixteen a batch share the statements' start, Python's part of each does not shrink",
    256: "3–4.5 ×: 128 a batch; HMAC, structs and numbers in Python are then as dear as the rows in PostgreSQL",
    2: "a fifth above one process: PostgreSQL has less than half of a core left by then",
}


async def play(stage: Stage) -> list[Figure]:
    """1, 32 and 256 callers who await their own payment; 256 also spread over two processes."""
    limit = await stage.pgbench()
    async with stage.database(NAME) as db:
        await settle_people(db, stage.ground.secrets, stage.wish.people, with_pins=True)
        await settle_payees(db, _PAYEES)
        await fold_all(db)
        await stage.ground.settle(NAME)
        async with stage.children("bench.payer", 2, stage.ground.environment(NAME)) as payers:
            cases = [_case(payers[:1], callers) for callers in (1, 32, 256)]
            cases.append(_case(payers, 256))
            if stage.wish.profile:
                await stage.profile(NAME, NAME, payers[0], cases[2])
                await stage.profile(NAME, NAME, payers[0], cases[0])
                return []
            return await stage.measure(cases, limit)


def _case(payers: Sequence[Child], callers: int) -> Case:
    told = "" if len(payers) == 1 else f", {len(payers)} processes"
    share = callers // len(payers)

    async def ready(seconds: float) -> None:
        for payer in payers:  # one after the other: opening is not what is measured
            await payer.ask("ready", seconds=seconds, callers=share)

    async def run(seconds: float) -> Run:
        return await all_of(payers, "confirm", seconds=seconds, callers=share)

    return Case(
        scenario=NAME,
        name=f"{callers} caller{'s' if callers > 1 else ''}{told}",
        run=run,
        ready=ready,
        expected=EXPECTED[callers if len(payers) == 1 else 2],
        ours=lambda: [payer.pid for payer in payers],
        processes=len(payers),
        clients=callers,
        line="" if len(payers) > 1 else "confirm, in process",
        # A lone one waits for round trips while the machine idles: no measure of what the house can carry.
        floor=1.0 if callers > 1 else None,
        aim=2.0 if callers > 1 else None,
    )
