"""Seals: every secret this room keeps, sealed anew when the master key is replaced."""

import msgspec

from dewpond.kit.db import Tx, queries
from dewpond.kit.secrets import MasterKeys

sql = queries(__file__)


class _Sealed(msgspec.Struct, frozen=True, kw_only=True):
    """A secret where it lies; `place` is the row it is bound to."""

    place: str
    sealed: bytes


async def reseal_secrets(tx: Tx, *, secrets: MasterKeys) -> int:
    """Seal what an older master key sealed under the current one; how many secrets. Again is no change."""
    count = 0
    for table, read, write in (
        ("merchants.api_keys", sql.lock_api_keys, sql.reseal_api_key),
        ("merchants.authorities", sql.lock_authorities, sql.reseal_authority),
        ("merchants.platform_keys", sql.lock_platform_keys, sql.reseal_platform_key),
    ):
        for row in await tx.rows(_Sealed, read):
            if secrets.needs_reseal(row.sealed):
                plain = secrets.unseal(row.sealed, table=table, row=row.place)
                sealed = secrets.seal(plain, table=table, row=row.place)
                count += await tx.run(write, place=row.place, sealed=sealed)
    return count
