"""One of several processes that confirm the same thing at once: prints what each copy was told, as JSON.

`python -m journeys.crowd HOME '[["reference", "payer", "pin", copies], …]'`, begun by a line on standard input.
"""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from dewpond import identity, pay
from dewpond.kit import worlds
from dewpond.kit.postgres import Postgres
from dewpond.settings import Settings
from dewpond.wiring import House, open_house


async def _copy(house: House, reference: str, payer: str, pin: str) -> str:
    async with house.db.transaction() as tx:
        now = await worlds.read_clocks(tx)
        (payment, *_) = await pay.find_payments(tx, reference)
        person = (await identity.find_people(tx, payer))[0]
    confirmation = pay.Confirmation(
        merchant_id=payment.merchant_id, payment_id=payment.id, payer_id=person.id, proof=pay.PinProof(pin), now=now
    )
    (outcome,) = await asyncio.gather(house.confirmations.submit(confirmation), return_exceptions=True)
    if isinstance(outcome, BaseException):
        return type(outcome).__name__
    return f"Payment {outcome.public_number}"


async def _main(home: Path, wishes: list[Any]) -> list[str]:
    with Postgres(home) as postgres:
        async with open_house(Settings(home=home), dsn=postgres.dsn(), name="crowd") as house:
            print("ready", flush=True)  # noqa: T201 - the starting line of the race
            await asyncio.to_thread(sys.stdin.readline)
            copies = [
                _copy(house, reference, payer, pin) for reference, payer, pin, count in wishes for _ in range(count)
            ]
            return list(await asyncio.gather(*copies))


if __name__ == "__main__":
    told = asyncio.run(_main(Path(sys.argv[1]), json.loads(sys.argv[2])))
    sys.stdout.write(json.dumps(told) + "\n")
