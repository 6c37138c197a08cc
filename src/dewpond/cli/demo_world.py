"""What a sandbox world begins with: a tea shop with its staff, an operator, and Alice and Bob with some money."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from dewpond import identity, merchants
from dewpond.cli.desk import Desk
from dewpond.cli.merchants import create_merchant
from dewpond.cli.people import create_person
from dewpond.cli.staff import sign_in_name_for
from dewpond.kit import clock
from dewpond.kit.db import Tx
from dewpond.kit.money import Money
from dewpond.merchants import Role
from dewpond.settings import Settings

SHOP: Final = "Tea Shop"
PEOPLE: Final = ("Alice", "Bob")
BALANCE: Final = "200.00"
OPERATOR: Final = "Operator"
STAFF: Final[Mapping[str, Role]] = {
    "Tea Owner": Role.OWNER,
    "Tea Cashier": Role.CASHIER,
    "Tea Analyst": Role.ANALYST,
}


def shop_folder(settings: Settings) -> Path:
    """Where the tea shop's key files are."""
    return settings.home / "merchants" / "tea-shop"


async def furnish(desk: Desk, folder: Path | None = None) -> bool:
    """Make people and tea shop, all or nothing, in a sandbox in which nobody is yet; whether that was done.

    The shop's key files are written to `folder`, by default where they belong. Staff are hired where there never
    was any, also in a sandbox of an older Dewpond.
    """
    folder = folder or shop_folder(desk.place.settings)
    async with desk.db.transaction() as tx:
        is_empty = not (await merchants.list_merchants(tx) or await identity.newest_people(tx, most=1))
        if is_empty:
            for name in PEOPLE:
                await create_person(tx, desk, name, Money.parse(BALANCE))
            shutil.rmtree(folder, ignore_errors=True)  # of a shop that is not in this world
            await create_merchant(tx, desk, SHOP, folder)
        if not await merchants.has_staff(tx):
            await _hire(tx)
    return is_empty


async def _hire(tx: Tx) -> None:
    """An operator, and somebody in each role at the tea shop. Without passwords: a sandbox lets them in by one tap."""
    wall = clock.wall_now()
    await merchants.create_staff_member(tx, sign_in_name_for(OPERATOR), OPERATOR, is_operator=True, wall_now=wall)
    shop = next(iter(await merchants.find_merchants(tx, SHOP)), None)
    if shop is None:
        return
    for name, role in STAFF.items():
        member = await merchants.create_staff_member(tx, sign_in_name_for(name), name, wall_now=wall)
        await merchants.give_role(tx, shop.id, member.id, role, wall_now=wall)
