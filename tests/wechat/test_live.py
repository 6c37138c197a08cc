"""What a live world does otherwise on the wire: it explains nothing, and callbacks go over https only."""

from typing import Any

import pytest

from dewpond import merchants, pay
from dewpond.kit import clock, worlds
from dewpond.kit.worlds import WorldKind

from .conftest import NATIVE, Client, unique


@pytest.fixture(scope="module")
async def world(database: Any, secrets: Any, taken_for_durable: None) -> worlds.World:
    """A live world in the module's database."""
    wall = clock.wall_now()
    async with database.transaction() as tx:
        world = await worlds.create_world(tx, WorldKind.LIVE, public_url="https://pay.example", wall_now=wall)
        await merchants.prepare_platform(tx, secrets=secrets, wall_now=wall)
        await pay.open_house_accounts(tx, now=world.time(wall))
    return world


async def test_a_live_world_does_not_explain_a_failed_signature(client: Client) -> None:
    heard = await client.ask("POST", NATIVE, client.order(), signed_target="/v3/pay/transactions/jsapi")
    assert heard.status == 401
    assert set(heard.json) == {"code", "message"}


async def test_a_live_world_tells_no_serials_and_no_time(client: Client) -> None:
    heard = await client.ask("POST", NATIVE, client.order(), serial_no="7" * 40)
    assert (heard.status, set(heard.json)) == (401, {"code", "message"})
    heard = await client.prepay(notify_url="https://shop.example/notify", time_expire="2018-06-08T10:34:56+08:00")
    assert (heard.status, set(heard.json)) == (400, {"code", "message"})


async def test_a_live_world_wants_https_for_callbacks(client: Client) -> None:
    heard = await client.prepay()
    assert (heard.code, heard.json["detail"]["field"]) == ("PARAM_ERROR", "/notify_url")
    heard = await client.refund(unique(), 1, notify_url="http://shop.example/back")
    assert (heard.code, heard.json["detail"]["field"]) == ("PARAM_ERROR", "/notify_url")
    heard = await client.prepay(notify_url="https://shop.example/notify")
    assert heard.json["code_url"].startswith("https://pay.example/q/")
