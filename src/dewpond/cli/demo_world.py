"""What a sandbox world begins with: a tea shop, and Alice and Bob with some money."""

import shutil
from pathlib import Path
from typing import Final

from dewpond import identity, merchants
from dewpond.cli.desk import Desk
from dewpond.cli.merchants import create_merchant
from dewpond.cli.people import create_person
from dewpond.kit.money import Money
from dewpond.settings import Settings

SHOP: Final = "Tea Shop"
PEOPLE: Final = ("Alice", "Bob")
BALANCE: Final = "200.00"


def shop_folder(settings: Settings) -> Path:
    """Where the tea shop's key files are."""
    return settings.home / "merchants" / "tea-shop"


async def furnish(desk: Desk) -> bool:
    """Make the tea shop and its people in a sandbox in which nobody is yet; whether that was done."""
    async with desk.db.transaction() as tx:
        if await merchants.list_merchants(tx) or await identity.newest_people(tx, most=1):
            return False
    folder = shop_folder(desk.place.settings)
    shutil.rmtree(folder, ignore_errors=True)  # of a world that was reset
    await create_merchant(desk, SHOP, folder)
    async with desk.db.transaction() as tx:
        for name in PEOPLE:
            await create_person(tx, desk, name, Money.parse(BALANCE))
    return True
