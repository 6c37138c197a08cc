"""A live world in a module's database, in the place of the tests' sandbox: for those who name its fixture.

from web.live_worlds import world

__all__ = ["world"]  # a fixture, found here by its name
"""

import pytest

from dewpond import merchants, pay
from dewpond.kit import clock, worlds
from dewpond.kit.db import Database
from dewpond.kit.secrets import MasterKeys
from dewpond.kit.worlds import WorldKind


@pytest.fixture(scope="module")
async def world(database: Database, secrets: MasterKeys, taken_for_durable: None) -> worlds.World:
    """A world with real money, with its platform's keys and the house's accounts."""
    wall = clock.wall_now()
    async with database.transaction() as tx:
        world = await worlds.create_world(tx, WorldKind.LIVE, public_url="http://localhost:8601", wall_now=wall)
        await merchants.prepare_platform(tx, secrets=secrets, wall_now=wall)
        await pay.open_house_accounts(tx, now=world.time(wall))
    return world
