"""Visitors: what their devices are called, to themselves and to whoever is asked to let them in."""

from typing import Any

import pytest

from dewpond.kit.db import Database
from dewpond.web import words
from dewpond.web.visitors import device_name, device_of
from dewpond.web.words import Language
from web.accounts import PASSWORD, claim
from web.phones import Phone


class Asking:
    """As much of a request as says by which browser it comes."""

    def __init__(self, agent: str | None) -> None:
        self.headers = {} if agent is None else {"user-agent": agent}


@pytest.mark.parametrize(
    ("_case", "agent", "written"),
    [
        ("a phone", "Mozilla/5.0 (Linux; Android 15) AppleWebKit/537.36 Chrome/140.0 Mobile Safari/537.36",
         "Chrome, Android"),
        ("inside of another app", "Mozilla/5.0 (iPhone) AppleWebKit/605.1 MicroMessenger/8.0", "WeChat, iPhone"),
        ("Edge, which says Chrome too", "Mozilla/5.0 (Windows NT 10.0) Chrome/140.0 Edg/140.0", "Edge, Windows"),
        ("a system alone", "Mozilla/5.0 (X11; Linux x86_64) Something/1.0", "Linux"),
        ("a browser alone", "Firefox/130.0", "Firefox"),
        ("a program", "curl/8.5.0", ""),
        ("markup", "<b>", ""),
        ("nothing", "", ""),
        ("not even that", None, ""),
    ],
)  # fmt: skip
def test_devices_are_called_as_people_call_them(_case: str, agent: str | None, written: str) -> None:
    assert device_of(Asking(agent)) == written  # type: ignore[arg-type] # as much as it looks at
    spoken = words.language()
    for language in Language:
        words.speak(language)
        assert device_name(written) == (written or words.gettext("An unknown browser"))
    words.speak(spoken)


async def test_an_unknown_browser_is_told_at_work(visitors: Any, new_member: Any, database: Database) -> None:
    member = await new_member("Mei")
    await claim(database, member)
    program = visitors.stranger("staff", headers={"user-agent": "curl/8.5.0"})
    told = {"sign_in_name": member.sign_in_name, "password": PASSWORD, "next": "/account"}
    assert (await program.send_form("/sign-in", **told)).status_code == 303
    for client in (program, await visitors.member(member)):
        assert "An unknown browser" in (await client.get("/account")).text


async def test_an_unknown_browser_is_told_on_the_phone(visitors: Any) -> None:
    phone = Phone(visitors.stranger())
    await phone.join("Alice")
    program = visitors.stranger(headers={"user-agent": "curl/8.5.0"})
    assert (await program.send_form("/sign-in/scan", next="/")).status_code == 303
    scan, number = str(program.cookies["dewpond-scan"]).split(".")[:2]
    assert "An unknown browser" in (await phone.client.get(f"/s/{scan}")).text
    await phone.client.send_form(f"/s/{scan}/approval", number=number)
    assert (await program.send_form("/sign-in/scan/redemption", next="/")).status_code == 303
    assert "An unknown browser" in (await phone.client.get("/security")).text
