"""In a live world nobody makes money for themselves: the pages say where the desk is, and the door is shut."""

from typing import Any

import pytest

from dewpond import merchants, pay
from dewpond.kit import clock, worlds
from dewpond.kit.db import Database
from dewpond.kit.secrets import MasterKeys
from dewpond.kit.worlds import WorldKind
from web.counters import money_of

pytestmark = pytest.mark.usefixtures("taken_for_durable")


@pytest.fixture(scope="module")
async def world(database: Database, secrets: MasterKeys, taken_for_durable: None) -> worlds.World:
    """A live world, in the place of the tests' sandbox."""
    wall = clock.wall_now()
    async with database.transaction() as tx:
        world = await worlds.create_world(tx, WorldKind.LIVE, public_url="http://localhost:8602", wall_now=wall)
        await merchants.prepare_platform(tx, secrets=secrets, wall_now=wall)
        await pay.open_house_accounts(tx, now=world.time(wall))
    return world


async def test_a_person_is_told_where_the_desk_is_and_their_number(visitors: Any, new_person: Any) -> None:
    alice = await new_person("Alice")
    phone = await visitors.person(alice)
    number = f"{alice.number[:4]} {alice.number[4:7]} {alice.number[7:]}"
    for path in ("/top-up", "/"):
        text = (await phone.get(path)).text
        assert number in text, path
        assert "play money" not in text, path
        assert "Sandbox" not in text, path


async def test_the_sandboxes_door_is_shut(visitors: Any, new_person: Any, house: Any) -> None:
    alice = await new_person("Alice")
    answer = await (await visitors.person(alice)).send_form("/top-up", amount="100.00")
    assert (answer.status_code, "That is possible in a sandbox only." in answer.text) == (403, True)
    assert await money_of(house, alice) == 0
