"""The phone of a live world: nobody makes money or comes in by the doors of a sandbox, and the pages offer neither."""

from typing import Any

from web.counters import money_of
from web.live_worlds import world
from web.phones import PIN, Phone

__all__ = ["world"]  # a fixture, found here by its name


async def test_a_person_is_told_where_the_desk_is_and_their_number(visitors: Any, new_person: Any) -> None:
    alice = await new_person("Alice")
    phone = await visitors.person(alice)
    number = f"{alice.number[:3]} {alice.number[3:6]} {alice.number[6:]}"
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
