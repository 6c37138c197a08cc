"""Merchants and their apps: whom we serve, and under which names their software speaks."""

import re
import secrets as random
from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Final, NewType
from uuid import UUID

import msgspec

from dewpond.kit.db import Tx, queries
from dewpond.kit.failures import Failure, Kind
from dewpond.kit.ids import IdInvalid, from_text, new_id, to_text
from dewpond.kit.names import is_name

sql = queries(__file__)

MerchantId = NewType("MerchantId", UUID)
AppId = NewType("AppId", UUID)

_ALL_BP: Final = 10_000


class KeyMode(StrEnum):
    """Which of the platform's keys signs for a merchant that names none."""

    CERTIFICATE = "certificate"
    PUBLIC_KEY = "public_key"


class MerchantNotFound(Failure):
    """There is no such merchant."""

    code, kind = "merchant_not_found", Kind.NOT_FOUND


class MerchantNameInvalid(Failure):
    """A merchant's name has 1 to 64 characters and no control characters."""

    code, kind = "merchant_name_invalid", Kind.INVALID


class MerchantTaken(Failure):
    """This merchant was made before."""

    code, kind = "merchant_taken", Kind.CONFLICT


class FeeRateInvalid(Failure):
    """A fee rate is 0 to 100 %, to a hundredth of one."""

    code, kind = "fee_rate_invalid", Kind.INVALID


#: No exponents: a few characters must not become a number that keeps a process busy.
_RATE: Final = re.compile(r"([0-9]{1,3})(?:\.([0-9]{1,2})0*)?\s*%?", re.ASCII)


def read_fee_rate(text: str) -> int:
    """A rate as people write it, `0.60%` or `0.6`, in basis points. Refuses anything else with `FeeRateInvalid`."""
    found = _RATE.fullmatch(text.strip())
    rate_bp = int(found[1]) * 100 + int((found[2] or "").ljust(2, "0")) if found else -1
    if not 0 <= rate_bp <= _ALL_BP:
        raise FeeRateInvalid(fee_rate=text[:32])
    return rate_bp


class Merchant(msgspec.Struct, frozen=True, kw_only=True):
    """A business with its own pool."""

    id: MerchantId
    #: What the wire calls `mchid`.
    number: str
    name: str
    fee_rate_bp: int
    key_mode: KeyMode
    created_at: datetime

    @property
    def text_id(self) -> str:
        return to_text("mch", self.id)


class App(msgspec.Struct, frozen=True, kw_only=True):
    """One piece of a merchant's software, known on the wire by its appid."""

    id: AppId
    merchant_id: MerchantId
    appid: str
    name: str


async def create_merchant(
    tx: Tx, name: str, *, fee_rate_bp: int, key_mode: KeyMode, wall_now: datetime, merchant_id: MerchantId | None = None
) -> tuple[Merchant, App]:
    """Enter a merchant with a first app; names need not be unique, numbers are.

    With a `merchant_id` it is made once, however often it is asked for: then refuses with `MerchantTaken`.
    """
    name = name.strip()
    if not is_name(name):
        raise MerchantNameInvalid(name=name)
    if not 0 <= fee_rate_bp <= _ALL_BP:
        raise FeeRateInvalid(fee_rate_bp=fee_rate_bp)
    while True:
        merchant = Merchant(
            id=merchant_id or MerchantId(new_id()),
            number=f"16{random.randbelow(10**8):08d}",
            name=name,
            fee_rate_bp=fee_rate_bp,
            key_mode=key_mode,
            created_at=wall_now,
        )
        created = await tx.run(
            sql.create_merchant,
            id=merchant.id,
            number=merchant.number,
            name=name,
            fee_rate_bp=fee_rate_bp,
            key_mode=key_mode,
            created_at=wall_now,
        )
        if created:
            break
        if merchant_id is not None and await tx.row(Merchant, sql.get_merchant, id=merchant_id) is not None:
            raise MerchantTaken(merchant=merchant.text_id)
        # the number was taken: draw another
    app = App(id=AppId(new_id()), merchant_id=merchant.id, appid=f"wx{random.token_hex(8)}", name=name)
    await tx.run(sql.create_app, id=app.id, merchant_id=merchant.id, appid=app.appid, name=name, created_at=wall_now)
    return merchant, app


async def get_merchant(tx: Tx, merchant_id: UUID) -> Merchant:
    """The merchant, or `MerchantNotFound`."""
    merchant = await tx.row(Merchant, sql.get_merchant, id=merchant_id)
    if merchant is None:
        raise MerchantNotFound(merchant=to_text("mch", merchant_id))
    return merchant


async def list_merchants(tx: Tx, ids: Sequence[UUID] | None = None) -> list[Merchant]:
    """Every merchant, oldest first; or those with these ids."""
    return await tx.rows(Merchant, sql.list_merchants, ids=None if ids is None else list(ids))


async def list_newest_merchants(
    tx: Tx, *, text: str = "", before: tuple[datetime, UUID] | None = None, most: int = 50
) -> list[Merchant]:
    """A page of merchants, the newest first; the next page is `before` the last one's (created_at, id).

    With `text` those whose name or number contains it, whatever its capitals.
    """
    before_at, before_id = before or (None, None)
    return await tx.rows(
        Merchant, sql.list_newest, text=text.strip(), before_at=before_at, before_id=before_id, most=most
    )


async def count_merchants(tx: Tx) -> int:
    """How many merchants there are."""
    return int(await tx.value(sql.count_merchants))


async def find_merchants(tx: Tx, text: str) -> list[Merchant]:
    """The merchants of this name, newest first; or the one with this number (mchid) or id (`mch_…`)."""
    try:
        merchant = await tx.row(Merchant, sql.get_merchant, id=from_text("mch", text))
        return [] if merchant is None else [merchant]
    except IdInvalid:
        return await tx.rows(Merchant, sql.find_merchants, text=text.strip())


async def find_merchant_by_number(tx: Tx, number: str) -> Merchant | None:
    """The merchant with this number (mchid); a name that looks like one does not count."""
    return await tx.row(Merchant, sql.find_merchant_by_number, number=number)


async def set_key_mode(tx: Tx, merchant_id: MerchantId, key_mode: KeyMode) -> None:
    """Choose which platform key signs callbacks and answers to requests that name none."""
    if not await tx.run(sql.set_key_mode, id=merchant_id, key_mode=key_mode):
        raise MerchantNotFound(merchant=to_text("mch", merchant_id))


async def list_apps(tx: Tx, ids: Sequence[UUID]) -> list[App]:
    """The apps with these ids."""
    return await tx.rows(App, sql.list_apps, ids=list(ids))


async def apps_of(tx: Tx, merchant_id: MerchantId) -> list[App]:
    """A merchant's apps, oldest first."""
    return await tx.rows(App, sql.apps_of, merchant_id=merchant_id)
