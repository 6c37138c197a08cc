"""The doors of a sandbox, in a world with real money: there are none."""

from typing import Any

import pytest

from dewpond import merchants, pay
from dewpond.kit import clock, worlds
from dewpond.kit.db import Database
from dewpond.kit.secrets import MasterKeys
from dewpond.kit.worlds import WorldKind
from web.phones import PIN, Phone


@pytest.fixture(scope="module")
async def world(database: Database, secrets: MasterKeys, taken_for_durable: None) -> worlds.World:
    """A live world in the module's database."""
    wall = clock.wall_now()
    async with database.transaction() as tx:
        world = await worlds.create_world(tx, WorldKind.LIVE, public_url="http://localhost:8601", wall_now=wall)
        await merchants.prepare_platform(tx, secrets=secrets, wall_now=wall)
        await pay.open_house_accounts(tx, now=world.time(wall))
    return world


async def test_a_live_world_has_no_door_but_the_passkey(visitors: Any, new_person: Any) -> None:
    person = await new_person("Alice")
    phone = Phone(visitors.stranger())
    text = (await phone.client.get("/sign-in")).text
    assert "one-tap" not in text
    assert person.text_id not in text
    assert "with-pin" not in (await phone.client.get("/join")).text
    assert (await phone.client.get("/join/with-pin")).status_code == 404
    for path, told in (
        ("/sign-in/one-tap", {"person": person.text_id}),
        ("/join/with-pin", {"name": "Bob", "pin": PIN, "again": PIN}),
    ):
        answer = await phone.client.send_form(path, **told)
        assert answer.status_code == 403
        assert "set-cookie" not in answer.headers
    assert (await phone.join()).status_code == 303
    assert await phone.is_signed_in()
