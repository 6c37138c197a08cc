"""What times are told in: every page that tells one says so once, and real time is told apart from the world's."""

from typing import Any

import pytest

from dewpond.kit.db import Database

ZONE = "Times are Beijing time."


@pytest.mark.parametrize("path", ["/me", "/history"])
async def test_the_phone_says_whose_times_they_are(visitors: Any, new_person: Any, path: str) -> None:
    phone = await visitors.person(await new_person("Alice"))
    assert (await phone.get(path)).text.count(ZONE) == 1


async def test_console_and_desk_say_it_at_the_foot_of_their_bar(
    visitors: Any, new_member: Any, new_merchant: Any
) -> None:
    shop = await new_merchant("Tea Shop")
    member = await visitors.member(await new_member("Mei", shop=shop, is_operator=True))
    for path in (f"/m/{shop.merchant.number}", "/desk", "/desk/clock"):
        text = (await member.get(path)).text
        for bar in text.split('<div class="console__account">')[1:]:  # the side bar, and the drawer in its place
            assert bar.split("</header>")[0].count(ZONE) == 1, path
        assert text.count(ZONE) == 2, path


async def test_a_sandbox_tells_real_time_apart(visitors: Any, new_person: Any, database: Database) -> None:
    phone = await visitors.person(await new_person("Alice"))
    assert "(real time)" in (await phone.get("/security")).text
