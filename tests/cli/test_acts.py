"""What is done from the terminal stands in the journal as well, with nobody's name."""

import asyncio
from pathlib import Path
from typing import Any

from dewpond import merchants
from dewpond.kit.db import Database
from dewpond.merchants import Act

from .conftest import Type


def written(dsn: str) -> list[Act]:
    """The journal, the oldest first."""

    async def read() -> list[Act]:
        db = await Database.open(dsn, size=1)
        async with db.transaction() as tx:
            acts = await merchants.list_acts(tx, most=100)
        await db.close()
        return acts[::-1]

    return asyncio.run(read())


def test_commands_write_down_what_they_do(dewpond: Type, shop: dict[str, Any], dsn: str, tmp_path: Path) -> None:
    alice = dewpond("people", "create", "Alice", "--json").json
    anna = dewpond("staff", "operators", "create", "Anna", "--json").json
    mei = dewpond("staff", "invite", "Mei", "--merchant", "Tea Shop", "--role", "owner", "--json").json
    jun = dewpond("staff", "invite", "Jun", "--merchant", "Tea Shop", "--role", "cashier", "--json").json
    dewpond("staff", "invite", "jun")
    dewpond("staff", "end", "jun", "--merchant", "Tea Shop")
    dewpond("staff", "end", "jun")
    serial = dewpond("merchants", "certify", "Tea Shop", "--out", str(tmp_path / "new"), "--json").json["serial_no"]
    dewpond("merchants", "revoke", "Tea Shop", serial)
    dewpond("merchants", "key-mode", "Tea Shop", "public-key")
    dewpond("people", "top-up", "Alice", "1250.5")
    dewpond("people", "set-pin", "Alice", "246810")
    frozen = dewpond("world", "clock", "freeze", "--json").json
    dewpond("world", "clock", "advance", "1h")
    dewpond("world", "clock", "thaw")
    added = dewpond("world", "rotate-certificate", "--json").json["platform_serial_no"]
    master_key = dewpond("world", "rotate-key", "--json").json["key_id"]
    assert dewpond("staff", "end", "nobody").code != 0
    assert dewpond("merchants", "revoke", "Tea Shop", "0" * 40).code != 0
    acts = written(dsn)
    moved = acts.pop(13)
    assert (moved.deed, moved.detail[:13] > frozen["world_time"][:13]) == ("clock_moved", True)
    assert [(act.deed.value, act.subject, act.detail) for act in acts] == [
        ("merchant_made", "", ""),
        ("staff_invited", anna["id"], "operator"),
        ("staff_invited", mei["id"], "owner"),
        ("staff_invited", jun["id"], "cashier"),
        ("link_made", jun["id"], ""),
        ("role_ended", jun["id"], ""),
        ("staff_ended", jun["id"], ""),
        ("certificate_issued", serial, ""),
        ("certificate_revoked", serial, ""),
        ("key_mode_chosen", "", "public_key"),
        ("top_up_made", alice["id"], "1,250.50 CNY"),
        ("pin_set", alice["id"], ""),
        ("clock_frozen", "", ""),
        ("clock_thawed", "", ""),
        ("platform_certificate_added", added, ""),
        ("master_key_added", "", master_key),
        ("secrets_sealed", "", master_key),
    ]
    assert {(act.staff_id, act.address) for act in acts} == {(None, "")}
    of_shop = {act.deed.value for act in acts if act.merchant_id is not None}
    assert of_shop == {
        "merchant_made", "staff_invited", "role_ended", "certificate_issued", "certificate_revoked", "key_mode_chosen",
    }  # fmt: skip
