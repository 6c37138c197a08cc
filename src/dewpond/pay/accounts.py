"""The chart of accounts as pay uses it, and the ledger keys of its nouns.

    bank ──top-up──▶ wallet ──payment──▶ unsettled ──fee──▶ fees

Bank and fees belong to the house and may owe without limit; wallets and unsettled money never go below zero. Account
ids and ledger keys are derived from what they belong to, so the hot path looks nothing up.
"""

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from dewpond import ledger
from dewpond.kit.clock import Now
from dewpond.kit.db import Tx
from dewpond.kit.ids import derived_beside, derived_id
from dewpond.kit.money import CNY, Currency
from dewpond.ledger import AccountCode, AccountId, EntryKey, NewAccount

#: Who holds the accounts that belong to nobody else.
HOUSE: Final = derived_id("house")


def wallet_of(person_id: UUID, currency: Currency) -> AccountId:
    """A person's money."""
    return ledger.account_of(person_id, AccountCode.WALLET, currency)


def unsettled_of(merchant_id: UUID, currency: Currency) -> AccountId:
    """A merchant's money that is not paid out yet."""
    return ledger.account_of(merchant_id, AccountCode.UNSETTLED, currency)


def fees_of(currency: Currency) -> AccountId:
    """What the house has earned."""
    return ledger.account_of(HOUSE, AccountCode.FEES, currency)


def bank_of(currency: Currency) -> AccountId:
    """Where money comes from and goes to outside of this world."""
    return ledger.account_of(HOUSE, AccountCode.BANK, currency)


async def open_house_accounts(tx: Tx, *, now: Now, currency: Currency = CNY) -> None:
    """The accounts a world needs in a currency; again is no change."""
    wanted = [
        NewAccount(owner_id=HOUSE, code=AccountCode.FEES, currency=currency),
        NewAccount(owner_id=HOUSE, code=AccountCode.BANK, currency=currency),
    ]
    await ledger.open_accounts(tx, wanted, wall_now=now.wall)


async def open_wallets(tx: Tx, person_ids: Sequence[UUID], *, now: Now, currency: Currency = CNY) -> None:
    """People's wallets in a currency; again is no change."""
    wanted = [NewAccount(owner_id=person_id, code=AccountCode.WALLET, currency=currency) for person_id in person_ids]
    await ledger.open_accounts(tx, wanted, wall_now=now.wall)


async def open_merchant_accounts(tx: Tx, merchant_id: UUID, *, now: Now, currency: Currency = CNY) -> None:
    """What a merchant needs to be paid in a currency; again is no change."""
    wanted = [NewAccount(owner_id=merchant_id, code=AccountCode.UNSETTLED, currency=currency)]
    await ledger.open_accounts(tx, wanted, wall_now=now.wall)


def payment_entry_key(payment_id: UUID) -> EntryKey:
    """The ledger key under which a payment is posted."""
    return EntryKey(derived_beside(payment_id, "payment"))


def refund_entry_key(refund_id: UUID) -> EntryKey:
    """The ledger key under which a refund is posted."""
    return EntryKey(derived_beside(refund_id, "refund"))


def refund_hold_key(refund_id: UUID) -> EntryKey:
    """The ledger key under which a refund's money is held until it is posted."""
    return EntryKey(derived_beside(refund_id, "refund hold"))


def top_up_entry_key(top_up_id: UUID) -> EntryKey:
    """The ledger key under which a top-up is posted."""
    return EntryKey(derived_beside(top_up_id, "top-up"))
