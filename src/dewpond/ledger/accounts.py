"""Accounts: who holds how much, in which place of the chart, in which currency."""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from typing import NewType
from uuid import UUID

import msgspec

from dewpond.kit.db import Tx, columns, queries
from dewpond.kit.failures import Failure, Kind
from dewpond.kit.ids import derived_id
from dewpond.kit.money import Currency

sql = queries(__file__)

AccountId = NewType("AccountId", UUID)


class AccountNotFound(Failure):
    """There is no such account."""

    code, kind = "account_not_found", Kind.NOT_FOUND


class AccountCode(StrEnum):
    """The chart of accounts. `WALLET` and `UNSETTLED` never go below zero, `FEES` and `BANK` may."""

    WALLET = "wallet"
    UNSETTLED = "unsettled"
    FEES = "fees"
    BANK = "bank"


class NewAccount(msgspec.Struct, frozen=True):
    """An account to open."""

    owner_id: UUID
    code: AccountCode
    currency: Currency


class Balance(msgspec.Struct, frozen=True, kw_only=True):
    """What an account holds, in minor units; credits that no folder has added up yet are in it."""

    account_id: AccountId
    owner_id: UUID
    code: AccountCode
    currency: Currency
    posted: int
    held: int
    available: int


@lru_cache(maxsize=16_384)
def account_of(owner_id: UUID, code: AccountCode, currency: Currency) -> AccountId:
    """The id of the holder's account in a place of the chart; it follows from the three, so it is never looked up."""
    return AccountId(derived_id("ledger.account", owner_id, code.value, currency))


async def open_accounts(tx: Tx, accounts: Sequence[NewAccount], *, wall_now: datetime) -> None:
    """Open accounts; one that is open already stays as it is."""
    if not accounts:
        return
    rows = [(account_of(a.owner_id, a.code, a.currency), a.owner_id, a.code.value, a.currency) for a in accounts]
    ids, owners, codes, currencies = columns(rows, 4)
    await tx.run(sql.open_accounts, ids=ids, owners=owners, codes=codes, currencies=currencies, opened_at=wall_now)


async def get_balance(tx: Tx, account_id: AccountId) -> Balance:
    """What the account holds at this moment; refuses an unknown one with `AccountNotFound`."""
    balance = await tx.row(Balance, sql.get_balance, account_id=account_id)
    if balance is None:
        raise AccountNotFound(account_id=account_id)
    return balance


async def list_balances(tx: Tx, owner_id: UUID) -> list[Balance]:
    """Every account of one holder, by code and currency."""
    return await tx.rows(Balance, sql.list_balances, owner_id=owner_id)


async def fold(tx: Tx, *, most: int = 1000) -> int:
    """Add waiting credits up into the balances of at most `most` accounts; how many credits. The folder's step."""
    return int(await tx.value(sql.fold, most=most))
