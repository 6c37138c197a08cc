"""Staff and merchants for the tests of who may do what."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from itertools import count

import pytest

from dewpond import merchants
from dewpond.kit.db import Database
from dewpond.merchants import Merchant, StaffMember
from dewpond.merchants.merchants import create_merchant

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)

NewMember = Callable[..., Awaitable[StaffMember]]
NewShop = Callable[..., Awaitable[Merchant]]

_numbers = count(1)


@pytest.fixture
def new_member(database: Database) -> NewMember:
    """`await new_member("Li Wei")`: a member of staff with a sign-in name of their own."""

    async def make(
        name: str = "Li Wei", *, sign_in_name: str = "", password: str = "", is_operator: bool = False
    ) -> StaffMember:
        async with database.transaction() as tx:
            member = await merchants.create_staff_member(
                tx, sign_in_name or f"member-{next(_numbers)}", name, is_operator=is_operator, wall_now=NOON
            )
        if password:
            await set_password(database, member, password)
        return member

    return make


async def set_password(database: Database, member: StaffMember, password: str, *, wall_now: datetime = NOON) -> None:
    """Reckon, then set."""
    hashed = await merchants.hash_password(password, member)
    async with database.transaction() as tx:
        await merchants.set_password(tx, member.id, hashed, wall_now=wall_now)


@pytest.fixture
def new_shop(database: Database) -> NewShop:
    """`await new_shop()`: a merchant without keys, which these tests do not need."""

    async def make(name: str = "Tea Shop") -> Merchant:
        async with database.transaction() as tx:
            merchant, _ = await create_merchant(
                tx, name, fee_rate_bp=60, key_mode=merchants.KeyMode.CERTIFICATE, wall_now=NOON
            )
        return merchant

    return make
