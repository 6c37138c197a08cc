"""Notes: what a page says after something was done, and only then."""

import re
from typing import Any

import msgspec
import pytest

from dewpond import web
from dewpond.web.notes import NOTES
from web.conftest import Client, serving
from web.notes import note_of, onward


@pytest.fixture
async def phone(visitors: Any, new_person: Any) -> Client:
    return await visitors.person(await new_person("Alice", "5.00"))


@pytest.mark.parametrize("name", NOTES)
async def test_no_link_makes_a_page_say_something(phone: Client, name: str) -> None:
    plain = (await phone.get("/me")).text
    assert (await phone.get(f"/me?said={name}&note={name}")).text == plain


async def test_a_note_is_said_once(phone: Client) -> None:
    answer = await phone.send_form("/me/name", name="Alice")
    assert onward(answer) == (303, "/me", "saved")
    assert "Saved." in (await phone.get("/me")).text
    assert "Saved." not in (await phone.get("/me")).text, "loaded once more"


async def test_a_note_waits_for_its_page(phone: Client) -> None:
    await phone.send_form("/me/name", name="Alice")
    for other in ("/", "/security", "/history"):  # loaded on another tab meanwhile
        assert "Saved." not in (await phone.get(other)).text
    assert "Saved." not in (await phone.get("/me", headers={"hx-request": "true"})).text, "a part of it was asked for"
    assert "Saved." in (await phone.get("/me?theme=x")).text


async def test_the_later_note_is_the_one_that_is_said(phone: Client) -> None:
    await phone.send_form("/me/name", name="Alice")
    await phone.send_form("/top-up", amount="1.00", next="/")
    assert "The money is in your wallet." in (await phone.get("/")).text
    assert "Saved." not in (await phone.get("/me")).text


async def test_a_page_whose_name_is_not_plain_gets_its_note(phone: Client) -> None:
    answer = await phone.send_form("/top-up", amount="1.00", next="/pools/%E4%B8%AD?x=1")
    assert note_of(answer) == "topped-up"
    assert "The money is in your wallet." in (await phone.get(answer.headers["location"])).text


async def test_a_note_is_out_of_reach_of_scripts_and_other_sites(phone: Client, house: Any, world: Any) -> None:
    def cookie(answer: Any) -> str:
        (found,) = re.findall(r"(\S*dewpond-phone-note=.*)", "\n".join(answer.headers.get_list("set-cookie")))
        return str(found).lower()

    told = cookie(await phone.send_form("/me/name", name="Alice"))
    assert all(part in told for part in ("httponly", "samesite=strict", "path=/", "max-age=60"))
    assert "secure" not in told

    def safely(house: Any, world: Any) -> Any:
        return web.create_phone_site(house, msgspec.structs.replace(world, public_url=secure))

    secure = "https://pay.example"
    async with serving(house, world, safely, "public_url") as url, Client(url) as other:
        token = phone.cookies["dewpond-person"]
        other.cookies.set("__Host-dewpond-person", token)
        headers = {"host": "pay.example", "origin": secure}
        told = cookie(await other.post("/me/name", data={"name": "Alice"}, headers=headers))
        assert told.startswith("__host-")
        assert "secure" in told
