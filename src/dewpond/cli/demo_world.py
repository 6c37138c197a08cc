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


async def furnish(desk: Desk, folder: Path | None = None) -> bool:
    """Make people and tea shop, all or nothing, in a sandbox in which nobody is yet; whether that was done.

    The shop's key files are written to `folder`, by default where they belong.
    """
    folder = folder or shop_folder(desk.place.settings)
    async with desk.db.transaction() as tx:
        if await merchants.list_merchants(tx) or await identity.newest_people(tx, most=1):
            return False
        for name in PEOPLE:
            await create_person(tx, desk, name, Money.parse(BALANCE))
        shutil.rmtree(folder, ignore_errors=True)  # of a shop that is not in this world
        await create_merchant(tx, desk, SHOP, folder)
    return True
