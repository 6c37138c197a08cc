"""The trial balance: the whole book added up again from its transfers, and everything that does not agree.

Read in one statement, so that it is exact while others post. It finds what a hand in the tables leaves behind: a
changed balance, a lost slip, an altered, added or missing transfer or entry, a hold without its reservation. It does
not find a forgery that is consistent everywhere, digests included.
"""

from typing import Final

import msgspec

from dewpond.kit.db import Tx, queries
from dewpond.kit.money import Currency
from dewpond.ledger.accounts import AccountCode

sql = queries(__file__)

#: The kind of wish (kit/wishes) for it; what is told of it is a `TrialBalance`.
TRIAL_BALANCE_WISH: Final = "trial_balance"


class CurrencyTotal(msgspec.Struct, frozen=True, kw_only=True):
    """All accounts of one currency together, in minor units; both sums are zero in a sound book."""

    currency: Currency
    accounts: int
    total: int
    #: What balances and slips are apart from the transfers, summed over accounts without regard to sign.
    drift: int


class CodeTotal(msgspec.Struct, frozen=True, kw_only=True):
    """One place of the chart in one currency, in minor units."""

    code: AccountCode
    currency: Currency
    accounts: int
    posted: int
    held: int


class Faults(msgspec.Struct, frozen=True, kw_only=True):
    """How many of each thing that must not be."""

    #: Balance and slips are not what the transfers add up to.
    accounts_adrift: int
    #: `balance - held` is below the floor.
    accounts_below_floor: int
    #: `held` is not what the pending holds add up to.
    accounts_held_adrift: int
    #: The floor is not the chart's, or a holder has the account twice.
    accounts_irregular: int
    #: Slips, transfers or holds of accounts that do not exist.
    accounts_missing: int
    #: No transfers.
    entries_empty: int
    #: The transfers are not those of the entry's digest.
    entries_altered: int
    #: No entry.
    transfers_orphaned: int
    #: Not in the currency of both accounts.
    transfers_crossing: int
    #: The entry that a posted hold names took another amount from its account.
    holds_altered: int
    #: Statement lines, with what waits to be listed, are not what the transfers add up to.
    statements_adrift: int


class TrialBalance(msgspec.Struct, frozen=True, kw_only=True):
    """The book at one moment."""

    currencies: tuple[CurrencyTotal, ...]
    codes: tuple[CodeTotal, ...]
    entries: int
    transfers: int
    faults: Faults

    @property
    def is_sound(self) -> bool:
        """Whether every currency is at zero and nothing disagrees."""
        return not any(c.total or c.drift for c in self.currencies) and not any(msgspec.structs.astuple(self.faults))


async def trial_balance(tx: Tx) -> TrialBalance:
    """Add the whole book up again. Reads everything: on a busy laptop some minutes per million entries."""
    found = await tx.row(TrialBalance, sql.trial_balance)
    assert found is not None
    return found


async def sum_codes(tx: Tx) -> list[CodeTotal]:
    """Each place of the chart in each currency, as balances and slips have it; of a sound book they add up to zero.

    Quick beside the trial balance, for it believes the balances: it reads every account, and no transfer.
    """
    return await tx.rows(CodeTotal, sql.sum_codes)
