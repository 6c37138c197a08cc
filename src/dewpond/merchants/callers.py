"""Callers at the wire's door: one look tells who calls, what time it is, their app and what to sign with.

It takes many, because every request begins with it: a busy house asks once for all that came while it asked before.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

import msgspec

from dewpond.kit.db import Tx, columns, queries
from dewpond.kit.worlds import World, WorldKind
from dewpond.merchants.keys import PlatformKey
from dewpond.merchants.merchants import AppId, MerchantId

sql = queries(__file__)


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """What a request says of itself before anything is proved."""

    number: str
    #: 40 upper-case hexadecimal digits.
    serial: str
    #: The platform key it wants the answer signed with; empty where it names none.
    key_id: str
    #: The app it acts for; empty where it names none.
    appid: str


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """Who calls, as far as the number and serial it claims are known."""

    merchant_id: MerchantId
    number: str
    fee_rate_bp: int
    #: The certificate it claims; None where this merchant has none of that serial.
    pem: str | None
    not_before: datetime | None
    not_after: datetime | None
    revoked_at: datetime | None


class Recognised(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a claim."""

    caller: Caller
    #: The world at this moment: its kind, its clock, its origin.
    world: World
    #: The claimed app, if it is this merchant's.
    app_id: AppId | None
    #: What to sign the answer with.
    key: PlatformKey


class _Row(msgspec.Struct, frozen=True, kw_only=True):
    place: int
    merchant_id: MerchantId
    number: str
    fee_rate_bp: int
    pem: str | None
    not_before: datetime | None
    not_after: datetime | None
    revoked_at: datetime | None
    world_id: UUID
    world_kind: WorldKind
    world_created_at: datetime
    clock_offset: timedelta
    frozen_at: datetime | None
    public_url: str
    app_id: AppId | None
    key_id: str
    certificate: str | None
    public_key: str
    sealed_key: bytes
    key_not_before: datetime
    key_not_after: datetime | None


async def recognise(tx: Tx, claims: Sequence[Claim], *, wall_now: datetime) -> list[Recognised | None]:
    """What is known of each claim, in order; None where there is no such merchant. Nothing is proved by it."""
    distinct = list(dict.fromkeys(claims))
    numbers, serials, key_ids, appids = columns([(c.number, c.serial, c.key_id, c.appid) for c in distinct], 4)
    rows = await tx.rows(
        _Row, sql.recognise, numbers=numbers, serials=serials, key_ids=key_ids, appids=appids, wall_now=wall_now
    )
    known = {distinct[row.place - 1]: _recognised(row) for row in rows}
    return [known.get(claim) for claim in claims]


def _recognised(row: _Row) -> Recognised:
    return Recognised(
        caller=Caller(
            merchant_id=row.merchant_id,
            number=row.number,
            fee_rate_bp=row.fee_rate_bp,
            pem=row.pem,
            not_before=row.not_before,
            not_after=row.not_after,
            revoked_at=row.revoked_at,
        ),
        world=World(
            id=row.world_id,
            kind=row.world_kind,
            created_at=row.world_created_at,
            public_url=row.public_url,
            clock_offset=row.clock_offset,
            frozen_at=row.frozen_at,
        ),
        app_id=row.app_id,
        key=PlatformKey(
            id=row.key_id,
            certificate=row.certificate,
            public_key=row.public_key,
            sealed_key=row.sealed_key,
            not_before=row.key_not_before,
            not_after=row.key_not_after,
        ),
    )
