"""Every page that takes no more than a shop's number, as Chromium shows it: quiet, readable, nothing sticks out.

The list is generated from the routes, as the matrix of roles is.
"""

from typing import Any
from urllib.parse import urlsplit

import pytest

from browser import Chromium, axe
from dewpond.merchants import Role
from web.test_matrix import DOORS, Door

#: Pages that are no pages: what browsers fetch beside them, and pieces of pages.
_BESIDE = ("/manifest.webmanifest", "/sw.js", "/favicon.ico", "/sign-in/scan/state")

PAGES = [door for door in DOORS if door.is_plain_page and door.path not in _BESIDE and not door.path.endswith(".pem")]


@pytest.fixture
async def sessions(visitors: Any, new_member: Any, new_merchant: Any, new_person: Any) -> dict[str, Any]:
    """Somebody who may see everything, for each site."""
    shop = await new_merchant("Tea Shop")
    owner = await new_member("Mei", shop=shop, role=Role.OWNER)
    return {
        "mchid": shop.merchant.number,
        "phone": await visitors.person(await new_person("Alice", "88.00")),
        "staff": await visitors.member(owner),
        "desk": await visitors.member(await new_member("Olga", is_operator=True)),
    }


def _holder(door: Door) -> str:
    return "phone" if door.site == "phone" else "desk" if door.path.startswith("/desk") else "staff"


@pytest.mark.parametrize(("width", "scheme"), [(320, "dark"), (1280, "light")])
async def test_every_page_is_quiet_readable_and_fits(
    sessions: dict[str, Any], chromium: Chromium, width: int, scheme: str
) -> None:
    wrong: list[str] = []
    for holder in ("phone", "staff", "desk"):
        client = sessions[holder]
        language = "zh-CN" if width == 320 else "en-US"
        options = {"viewport": {"width": width, "height": 800}, "color_scheme": scheme, "locale": language}
        async with chromium.new_desk(client.origin, **options) as window:
            name, token = next(iter(client.cookies.items()))
            await window.context.add_cookies([{"name": name, "value": token, "url": client.origin}])
            for door in PAGES:
                if _holder(door) != holder:
                    continue
                address = door.address(sessions["mchid"])
                answer = await window.page.goto(address)
                assert answer is not None
                if answer.status != 200:
                    wrong.append(f"{address}: {answer.status}")
                    continue
                wide = await window.page.evaluate("document.documentElement.scrollWidth")
                if wide > width:
                    wrong.append(f"{urlsplit(window.page.url).path}: {wide} px wide on {width}")
                wrong += [f"{address}: {violation}" for violation in await axe(window.page)]
    assert not wrong, "\n".join(wrong)
