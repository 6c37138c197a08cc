"""Many writers on few accounts: nobody waits for ever, nothing is lost, nobody is refused who has the money."""

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from time import monotonic

from dewpond import ledger
from dewpond.ledger import HoldEnded, NewHold, Outcome

SECONDS = 3.0


def _until(enough: Callable[[], bool]) -> Callable[[], bool]:
    """Whether to go on: for some seconds, and on a slow machine until there is enough of it."""
    began = monotonic()
    return lambda: monotonic() < began + SECONDS or (not enough() and monotonic() < began + 100 * SECONDS)


async def _keep_house(books, going_on: Callable[[], bool]) -> None:
    """The folder, the sweeper of statements and a reader, as workers run them."""
    while going_on():
        async with books.database.transaction() as tx:
            await ledger.fold(tx, most=10)
        async with books.database.transaction() as tx:
            await ledger.write_statements(tx, most=200)
        found = await books.trial_balance()
        assert found.is_sound, found
        await asyncio.sleep(0.02)


async def test_writers_on_shared_accounts_neither_block_nor_lose_anything(books):
    people = [await books.wallet(2000) for _ in range(40)]
    shops = [await books.shop() for _ in range(4)]
    outcomes: Counter[str] = Counter()
    sent: list[ledger.Entry] = []
    contested = [books.key() for _ in range(4000)]
    musts = ("contested: key_reused", "contested: posted", "sent before: repeat", "poor: insufficient")
    going_on = _until(lambda: all(outcomes[must] for must in musts))

    def made(rng: random.Random, number: int) -> tuple[str, ledger.Entry]:
        a, b, shop = *rng.sample(people, 2), rng.choice(shops)
        minor = rng.randint(1, 40)
        match rng.randrange(10):
            case 0 if sent:
                return "sent before", rng.choice(sent)
            case 1:  # writers reach this key at about the same time, each with another payer
                return "contested", books.entry((a, shop, minor), key=contested[number % len(contested)])
            case 2:
                return "poor", books.entry((a, shop, 10**6))
            case 3:
                return "friends", books.entry((a, b, minor))
            case 4:
                return "top-up", books.entry((books.bank, a, minor))
            case 5:
                return "refund", books.entry((books.fees, shop, 1), (shop, a, minor))
            case 6:
                return "two payers", books.entry((a, shop, minor), (b, shop, minor))
            case 7:
                return "passed on", books.entry((a, b, minor), (b, shop, minor))
            case _:
                return "payment", books.entry((a, shop, minor), (shop, books.fees, 1))

    async def write(seed: int) -> None:
        rng, number = random.Random(seed), 0
        while going_on():
            batch = []
            for _ in range(rng.choice([1, 1, 10, 30])):
                number += 1
                batch.append(made(rng, number))
            for (kind, entry), outcome in zip(batch, await books.post(*(e for _, e in batch)), strict=True):
                outcomes[f"{kind}: {outcome}"] += 1
                if outcome is Outcome.POSTED:
                    sent.append(entry)

    async def hold(seed: int) -> None:
        rng = random.Random(seed)
        while going_on():
            at = books.entry().occurred_at
            asked = [
                NewHold(key=books.key(), account_id=a, amount=books.entry((a, shops[0], 20)).transfers[0].amount,
                        occurred_at=at, expires_at=rng.choice([None, at.replace(hour=at.hour + 1)]))
                for a in rng.sample(people, 5)
            ]  # fmt: skip
            async with books.database.transaction() as tx:
                held = await ledger.hold(tx, asked, wall_now=at)
            for new, outcome in zip(asked, held, strict=True):
                outcomes[f"hold: {outcome}"] += 1
                if outcome is Outcome.POSTED:
                    async with books.database.transaction() as tx:
                        if rng.random() < 0.5:
                            await ledger.void_hold(tx, new.key, at=at)
                        elif rng.random() < 0.5:
                            try:
                                taken = books.entry((new.account_id, rng.choice(shops), rng.randint(1, 20)))
                                assert await ledger.post_hold(tx, taken, new.key, wall_now=at) is Outcome.POSTED
                            except HoldEnded:
                                outcomes["hold: ended"] += 1
                        else:
                            await ledger.expire_holds(tx, now=at.replace(hour=at.hour + 1), most=3)

    await asyncio.gather(*(write(seed) for seed in range(4)), hold(9), _keep_house(books, going_on))

    found = await books.trial_balance()
    assert found.is_sound, found
    allowed = {
        "sent before": {Outcome.REPEAT},
        "contested": {Outcome.POSTED, Outcome.REPEAT, Outcome.KEY_REUSED, Outcome.INSUFFICIENT},
        "poor": {Outcome.INSUFFICIENT},
        "top-up": {Outcome.POSTED},
        "hold": {Outcome.POSTED, Outcome.INSUFFICIENT, "ended"},
    }
    for seen in outcomes:
        kind, _, outcome = seen.partition(": ")
        assert outcome in allowed.get(kind, {Outcome.POSTED, Outcome.INSUFFICIENT}), outcomes
    for must in musts:
        assert outcomes[must], outcomes
    posted = sum(n for seen, n in outcomes.items() if seen.endswith(": posted") and seen != "hold: posted")
    assert found.entries == len(people) + posted + await _captured(books)


async def _captured(books) -> int:
    async with books.database.transaction() as tx:
        return int(await tx.connection.fetchval("select count(*) from ledger.holds where status = 'posted'"))


async def test_who_has_the_money_is_never_refused_while_the_folder_runs(books):
    """Top-up and pay at once, pay and refund at once, friends passing one note round: all of it always goes."""
    shop = await books.shop()
    circle = [await books.wallet() for _ in range(3)]
    rounds = Counter({"batched": 0, "single": 0, "friends": 0})
    going_on = _until(lambda: min(rounds.values()) > 5)

    async def shopper(batched: bool) -> None:
        alice = await books.wallet()
        while going_on():
            entries = [
                books.entry((books.bank, alice, 100)),
                books.entry((alice, shop, 100), (shop, books.fees, 1)),
                books.entry((books.fees, shop, 1), (shop, alice, 100)),
                books.entry((alice, books.bank, 100)),
            ]
            if batched:
                assert await books.post(*entries) == [Outcome.POSTED] * 4
            else:
                for entry in entries:
                    assert await books.post(entry) == [Outcome.POSTED]
            rounds["batched" if batched else "single"] += 1

    async def friends() -> None:
        await books.post(books.entry((books.bank, circle[0], 50)))
        while going_on():
            for giver, taker in zip(circle, circle[1:] + circle[:1], strict=True):
                assert await books.post(books.entry((giver, taker, 50))) == [Outcome.POSTED]
            rounds["friends"] += 1

    await asyncio.gather(
        shopper(True), shopper(True), shopper(False), shopper(False), friends(), _keep_house(books, going_on)
    )
    assert min(rounds.values()) > 5
    assert (await books.trial_balance()).is_sound


async def test_one_key_from_many_payers_posts_once_and_breaks_no_batch(books):
    payers = [await books.wallet(100) for _ in range(6)]
    shop = await books.shop()
    for _ in range(20):
        key = books.key()
        batches = [
            [books.entry((payer, shop, 1)), books.entry((payer, shop, 2), key=key), books.entry((payer, shop, 1))]
            for payer in payers[:3]
        ]
        alone = [[books.entry((payer, shop, 2), key=key)] for payer in payers[3:]]
        found = await asyncio.gather(*(books.post(*batch) for batch in batches + alone))
        contested = [outcomes[len(outcomes) // 2] for outcomes in found]
        assert Counter(contested) == {Outcome.POSTED: 1, Outcome.KEY_REUSED: 5}
        assert all(outcomes[0] is outcomes[2] is Outcome.POSTED for outcomes in found[:3])
    assert (await books.trial_balance()).is_sound
