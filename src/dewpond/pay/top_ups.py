"""Top-ups: money from outside into a person's wallet, by the operator's desk or a sandbox door."""

from datetime import datetime
from uuid import UUID

import msgspec

from dewpond import ledger
from dewpond.identity import PersonId
from dewpond.kit.clock import Now
from dewpond.kit.db import Tx, queries
from dewpond.kit.ids import new_id
from dewpond.kit.money import AmountInvalid, Currency, Money
from dewpond.kit.outbox import publish
from dewpond.ledger import Entry, Outcome, Transfer
from dewpond.pay.accounts import bank_of, open_house_accounts, open_wallets, top_up_entry_key, wallet_of
from dewpond.pay.events import WalletToppedUp

sql = queries(__file__)

#: The most that is taken in one step, in minor units: a slip of the finger must not print money.
MOST_MINOR = 10**12


class TopUp(msgspec.Struct, frozen=True, kw_only=True):
    """Money that came in."""

    person_id: PersonId
    id: UUID
    minor: int
    currency: Currency
    occurred_at: datetime


async def top_up(tx: Tx, person_id: PersonId, amount: Money, *, now: Now) -> TopUp:
    """Put money into a person's wallet; it can be spent in the same moment. Refuses non-positive and absurd sums."""
    if not 1 <= amount.minor <= MOST_MINOR:
        raise AmountInvalid(amount=str(amount))
    await open_house_accounts(tx, now=now, currency=amount.currency)
    await open_wallets(tx, [person_id], now=now, currency=amount.currency)
    done = TopUp(
        person_id=person_id,
        id=new_id(),
        minor=amount.minor,
        currency=amount.currency,
        occurred_at=now.world,
    )
    transfer = Transfer(debit=bank_of(amount.currency), credit=wallet_of(person_id, amount.currency), amount=amount)
    entry = Entry(key=top_up_entry_key(done.id), transfers=(transfer,), occurred_at=now.world)
    outcome = (await ledger.post(tx, [entry], wall_now=now.wall))[0]
    if outcome is not Outcome.POSTED:
        raise ValueError(f"the ledger answers {outcome} for a top-up")
    await tx.run(sql.create_top_up, **msgspec.structs.asdict(done))
    event = WalletToppedUp(
        top_up_id=done.id,
        person_id=person_id,
        minor=amount.minor,
        currency=amount.currency,
        occurred_at=now.world,
    )
    await publish(tx, [event], wall_now=now.wall)
    return done
