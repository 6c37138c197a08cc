"""Standing codes: what a shop prints and puts up. A code names no sum; whoever scans it says how much they pay.

A scan ends in a payment like any other, only that nobody's server asked for it: its number is made here, and nobody is
called back.
"""

from datetime import datetime, timedelta
from hashlib import sha256
from typing import Final
from uuid import UUID

import msgspec

from dewpond import merchants
from dewpond.kit.clock import Now
from dewpond.kit.db import Tx, queries
from dewpond.kit.failures import Failure, Kind
from dewpond.kit.ids import derived_beside, new_id, to_text
from dewpond.kit.money import CNY, AmountInvalid, Currency, Money
from dewpond.kit.names import is_name
from dewpond.merchants import AppId, MerchantId
from dewpond.pay.accounts import open_merchant_accounts
from dewpond.pay.openings import NewRequest, Opening, new_code

sql = queries(__file__)

#: The trade type of a payment that a printed code began; each wire has its own word for it.
STANDING: Final = "STANDING"
#: How long whoever scanned has time to pay.
STANDING_LIFE: Final = timedelta(minutes=15)
#: The longest note to the shop: with a title it is as long as what a merchant may ask for on the wire.
NOTE_LENGTH: Final = 60
#: The most that is asked at once, in minor units: as much as on the wire.
_MOST_MINOR: Final = 10**9


class StandingCodeUnknown(Failure):
    """No shop has this code."""

    code, kind = "standing_code_unknown", Kind.NOT_FOUND


class StandingCodeEnded(Failure):
    """The shop has taken this code down; it may have put up a newer one."""

    code, kind = "standing_code_ended", Kind.CONFLICT


class StandingCodeTitleInvalid(Failure):
    """The title of a code has 1 to 64 characters and no control characters."""

    code, kind = "standing_code_title_invalid", Kind.INVALID


class StandingNoteInvalid(Failure):
    """A note to the shop has up to 60 characters and no control characters."""

    code, kind = "standing_note_invalid", Kind.INVALID


class AppUnknown(Failure):
    """This merchant has no such app."""

    code, kind = "app_unknown", Kind.NOT_FOUND


class StandingCode(msgspec.Struct, frozen=True, kw_only=True):
    """A printed code."""

    #: What the poster's link ends with.
    code: str
    merchant_id: MerchantId
    app_id: AppId
    #: What people see that they pay for.
    title: str
    currency: Currency
    created_at: datetime
    ended_at: datetime | None = None


async def create_standing_code(
    tx: Tx, merchant_id: UUID, app_id: UUID, title: str, *, now: Now, currency: Currency = CNY
) -> StandingCode:
    """Make a code for a poster. Refuses an unusable title, and with `AppUnknown` another merchant's app."""
    title = title.strip()
    if not is_name(title):
        raise StandingCodeTitleInvalid(title=title)
    if not any(app.merchant_id == merchant_id for app in await merchants.list_apps(tx, [app_id])):
        raise AppUnknown
    await open_merchant_accounts(tx, merchant_id, now=now, currency=currency)
    made = StandingCode(
        code=new_code(),
        merchant_id=MerchantId(merchant_id),
        app_id=AppId(app_id),
        title=title,
        currency=currency,
        created_at=now.world,
    )
    await tx.run(sql.create_standing_code, **msgspec.structs.asdict(made))
    return made


async def list_standing_codes(tx: Tx, merchant_id: UUID) -> list[StandingCode]:
    """A merchant's codes, those that were taken down included, the newest first."""
    return await tx.rows(StandingCode, sql.list_standing_codes, merchant_id=merchant_id)


async def get_standing_code(tx: Tx, code: str) -> StandingCode:
    """The code that was scanned. Refuses with `StandingCodeUnknown` and `StandingCodeEnded`."""
    found = await tx.row(StandingCode, sql.get_standing_code, code=code)
    if found is None:
        raise StandingCodeUnknown
    if found.ended_at is not None:
        raise StandingCodeEnded
    return found


async def end_standing_code(tx: Tx, merchant_id: UUID, code: str, *, now: Now) -> None:
    """Take a merchant's code down; again is no change. Payments that it began go on.

    Refuses with `StandingCodeUnknown`, another merchant's code too.
    """
    if not await tx.run(sql.end_standing_code, merchant_id=merchant_id, code=code, ended_at=now.world):
        raise StandingCodeUnknown


async def standing_opening(
    tx: Tx, code: str, amount: Money, *, now: Now, note: str = "", key: UUID | None = None
) -> Opening:
    """What a person who scanned a printed code asks to be opened; it goes the way of all openings.

    The shop reads the `note` behind the code's title. The same `key` again is the same request: it opens nothing beside
    what it has opened. Refuses with `StandingCodeUnknown`, `StandingCodeEnded`, `StandingNoteInvalid` and, for another
    currency than the code's or an absurd sum, `AmountInvalid`.
    """
    standing = await get_standing_code(tx, code)
    note = note.strip()
    if note and not is_name(note, most=NOTE_LENGTH):
        raise StandingNoteInvalid
    if amount.currency != standing.currency or not 1 <= amount.minor <= _MOST_MINOR:
        raise AmountInvalid(amount=str(amount))
    merchant = await merchants.get_merchant(tx, standing.merchant_id)
    asked = sha256(f"{code} {amount.minor} {amount.currency} {note}".encode()).digest()
    return Opening(
        merchant_id=standing.merchant_id,
        app_id=standing.app_id,
        merchant_reference=to_text("std", new_id() if key is None else derived_beside(key, code)),
        description=f"{standing.title} · {note}" if note else standing.title,
        amount=amount,
        fee_rate_bp=merchant.fee_rate_bp,
        expires_at=now.world + STANDING_LIFE,
        now=now,
        request=NewRequest(trade_type=STANDING, request_hash=asked, notify_url=""),
        keeps_code=True,
    )
