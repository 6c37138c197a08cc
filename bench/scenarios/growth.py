"""Growth: what posting and reading a balance cost with 10⁴, 10⁵, 10⁶ and, with --full, 10⁷ entries in the book."""

import math
import random
import time
from collections.abc import Sequence
from statistics import median
from uuid import UUID

import asyncpg

from bench.child import Child
from bench.figures import Case, Figure, Run
from bench.people import fold_all, settle_payees, settle_people
from bench.stage import Stage, all_of
from dewpond import ledger, pay
from dewpond.kit import clock
from dewpond.kit.db import Database
from dewpond.kit.money import CNY
from dewpond.ledger import AccountCode

NAME = "growth"
_PAYEES = 1_000
_SIZE = 500
_FIRST = 10**4
#: A run adds at most a quarter to what is stored, or these few: otherwise the small books would be large ones.
_LEAST = 5_000
_AT_ONCE = 10**6
_READS = 2_000

#: Written down before measuring.
EXPECTED = {
    "post": "slope 0.02–0.05: B-trees grow by less than a level in three decades, but keys are hashes, so that ever"
    " more different leaves are touched, each with a full page of WAL after a checkpoint",
    "read": "slope 0: a primary key and the account's own slips; nothing looks at entries",
}

# Entries as `post` leaves them: a key that is a hash, the sum and its fee. The digest is left out: nobody asks for it
# here, and these books are thrown away.
_FILL = """
with wallets as materialized (
  select id, row_number() over (order by id) as place from ledger.accounts where code = 'wallet'
), payees as materialized (
  select id, row_number() over (order by id) as place from ledger.accounts where code = 'unsettled'
), drawn as materialized (
  select gen_random_uuid() as key, 1 + floor(random() * (select count(*) from wallets))::bigint as payer,
         1 + floor(random() * (select count(*) from payees))::bigint as payee
  from generate_series(1, $1)
), made as materialized (
  select key, w.id as wallet, p.id as unsettled
  from drawn join wallets w on w.place = payer join payees p on p.place = payee
), entered as (
  insert into ledger.entries (key, content, occurred_at, recorded_at)
  select key, gen_random_uuid(), $2, $2 from made order by key
), moved as (
  insert into ledger.transfers (entry_key, n, debit, credit, minor, currency)
  select * from (
    select key, 1, wallet, unsettled, 1800::bigint, 'CNY' from made
    union all
    select key, 2, unsettled, $3::uuid, 11::bigint, 'CNY' from made
  ) t order by 1, 2
), sums as (
  select id, sum(minor)::bigint as minor from (
    select wallet as id, -1800 as minor from made union all
    select unsettled, 1789 from made union all
    select $3::uuid, 11 from made
  ) legs group by id
)
update ledger.accounts a set balance = a.balance + s.minor from sums s where s.id = a.id
"""


async def play(stage: Stage) -> list[Figure]:
    """Fill, come to rest, measure, and again with ten times as much; then the slopes."""
    limit = await stage.pgbench()
    figures: list[Figure] = []
    sizes: list[float] = []
    reads: list[float] = []
    async with stage.database(NAME, sound=False) as db:
        people = await settle_people(db, stage.ground.secrets, stage.wish.people, with_pins=False)
        payees = await settle_payees(db, _PAYEES)
        await fold_all(db)
        async with stage.children("bench.poster", 1, stage.ground.environment(NAME)) as (poster,):
            wanted = _FIRST
            while wanted <= stage.wish.entries:
                await _fill(stage, wanted)
                await stage.ground.settle(NAME)
                posted: list[int] = []
                case = _case(poster, wanted, posted)
                if stage.wish.profile:
                    await stage.profile(NAME, NAME, poster, case)
                else:
                    figures += await stage.measure([case], limit)
                    sizes.append(wanted + sum(posted) / 2)
                    stage.tell(f"{wanted:,} entries: balances")
                    await fold_all(db)
                    reads.append(await _read(db, [*random.sample(people, 100), payees[0]]))
                wanted *= 10
    if figures:
        stage.notes += _slopes(figures, sizes, reads)
        if stage.wish.entries < 10**7:
            stage.notes.append("growth: up to 10⁶ entries; --full goes to 10⁷")
    return figures


def _case(poster: Child, entries: int, posted: list[int]) -> Case:
    """Posting onto so many entries; how many each run adds is put into `posted`."""
    most = max(_LEAST, entries // 4)

    async def ready(seconds: float) -> None:
        await poster.ask("ready", case=NAME, seconds=seconds, hot=False, most=most)

    async def run(seconds: float) -> Run:
        told = {"case": NAME, "seconds": seconds, "connections": 1, "size": _SIZE}
        run = await all_of([poster], "post", **told, folder=True, statements=False)
        posted.append(run.operations)
        return run

    return Case(
        scenario=NAME,
        name=f"{entries:,} entries stored",
        run=run,
        ready=ready,
        expected=EXPECTED["post"],
        ours=lambda: [poster.pid],
        line=str(entries),
    )


async def _fill(stage: Stage, wanted: int) -> None:
    """Have so many entries, written by the schema's owner under all its constraints."""
    stage.tell(f"filling the book to {wanted:,} entries")
    owner = await asyncpg.connect(stage.ground.postgres.dsn("dewpond_owner", NAME))
    try:
        stored = int(await owner.fetchval("select count(*) from ledger.entries"))
        while (missing := wanted - stored) > 0:
            some = min(missing, _AT_ONCE)
            await owner.execute(_FILL, some, clock.wall_now(), pay.fees_of(CNY))
            stored += some
    finally:
        await owner.close()


async def _read(db: Database, owners: Sequence[UUID]) -> float:
    """Microseconds of one balance, people's and a merchant's, the median of many."""
    ids = [ledger.account_of(owner, AccountCode.WALLET, CNY) for owner in owners[:-1]]
    ids.append(ledger.account_of(owners[-1], AccountCode.UNSETTLED, CNY))
    waits = []
    async with db.transaction() as tx:
        for _ in range(_READS):
            began = time.perf_counter()
            await ledger.get_balance(tx, random.choice(ids))
            waits.append(time.perf_counter() - began)
    return median(waits) * 1e6


def _slopes(figures: Sequence[Figure], sizes: Sequence[float], reads: Sequence[float]) -> list[str]:
    """How log(cost) grows with log(entries), these counted with what the runs added: 0 is flat, 1 in proportion."""
    measures = {
        "time of an entry": [1 / figure.rate for figure in figures],
        "the same against the limit": [1 / figure.ratio for figure in figures],
        "processor": [figure.middle(lambda s: s.server_us + s.ours_us) for figure in figures],
        "WAL": [figure.middle(lambda s: s.wal_bytes) for figure in figures],
        "a balance": reads,
    }
    slopes = ", ".join(f"{name} {slope(sizes, costs):+.3f}" for name, costs in measures.items())
    balances = ", ".join(f"{micros:,.0f} µs at {size:,.0f}" for size, micros in zip(sizes, reads, strict=True))
    return [
        f"growth: slope of log cost over log entries: {slopes}",
        f"growth: one balance {balances} (expected {EXPECTED['read']})",
    ]


def slope(sizes: Sequence[float], costs: Sequence[float]) -> float:
    """Least squares through the logarithms."""
    xs, ys = [math.log(size) for size in sizes], [math.log(max(cost, 1e-12)) for cost in costs]
    middle_x, middle_y = sum(xs) / len(xs), sum(ys) / len(ys)
    spread = sum((x - middle_x) ** 2 for x in xs)
    return sum((x - middle_x) * (y - middle_y) for x, y in zip(xs, ys, strict=True)) / spread if spread else 0.0
