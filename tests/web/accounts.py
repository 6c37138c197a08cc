"""Accounts of staff for the tests: made somebody's own, as by an invitation's page."""

from dewpond import merchants
from dewpond.kit import clock
from dewpond.kit.db import Database
from dewpond.merchants import StaffMember

PASSWORD = "quiet water 42"


async def claim(database: Database, member: StaffMember, password: str = PASSWORD) -> None:
    """Make an account somebody's own."""
    hashed = await merchants.hash_password(password, member)
    async with database.transaction() as tx:
        await merchants.set_password(tx, member.id, hashed, wall_now=clock.wall_now())
