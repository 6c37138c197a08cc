"""Staff of a world with real money: nobody comes in by one tap."""

from typing import Any

import pytest

from dewpond import merchants, pay
from dewpond.kit import clock, worlds
from dewpond.kit.db import Database
from dewpond.kit.secrets import MasterKeys
from dewpond.kit.worlds import WorldKind


@pytest.fixture(scope="module")
async def world(database: Database, secrets: MasterKeys, taken_for_durable: None) -> worlds.World:
    """A live world in the module's database."""
    wall = clock.wall_now()
    async with database.transaction() as tx:
        world = await worlds.create_world(tx, WorldKind.LIVE, public_url="http://localhost:8601", wall_now=wall)
        await merchants.prepare_platform(tx, secrets=secrets, wall_now=wall)
        await pay.open_house_accounts(tx, now=world.time(wall))
    return world


async def test_nobody_taps_into_a_live_world(visitors: Any, new_member: Any) -> None:
    member = await new_member("Mei")
    stranger = visitors.stranger("staff")
    text = (await stranger.get("/sign-in")).text
    assert "one-tap" not in text
    assert member.text_id not in text
    refused = await stranger.send_form("/sign-in/one-tap", member=member.text_id)
    assert refused.status_code == 403
    assert "set-cookie" not in refused.headers
