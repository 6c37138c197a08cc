"""Every page in Chromium, in a world where something has happened: quiet, readable, nothing sticks out.

The list is generated from the routes, as the matrix of roles is.
"""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from browser import Chromium, axe
from web.conftest import Visitors
from web.sights import Guide, every_sight
from web.stories import tell

SIGHTS = [sight for sight in every_sight() if not sight.press]


@pytest.fixture(scope="module")
async def guide(house: Any, doors: Any, database: Any) -> AsyncIterator[Guide]:
    visitors = Visitors(doors, database)
    yield Guide(await tell(house, visitors))
    for client in visitors.clients:
        await client.aclose()


@pytest.mark.parametrize(("width", "scheme"), [(320, "dark"), (1280, "light")])
async def test_every_page_is_quiet_readable_and_fits(guide: Guide, chromium: Chromium, width: int, scheme: str) -> None:
    wrong: list[str] = []
    language = "zh-CN" if width == 320 else "en-US"
    options = {"viewport": {"width": width, "height": 800}, "color_scheme": scheme, "locale": language}
    for visitor in dict.fromkeys(sight.visitor for sight in SIGHTS):
        client = await guide.client(visitor)
        async with chromium.new_desk(client.origin, **options) as window:
            window.allow(r"status of 4\d\d")  # pages that say no are looked at as well
            for name, token in client.cookies.items():
                await window.context.add_cookies([{"name": name, "value": token, "url": client.origin}])
            for sight in (one for one in SIGHTS if one.visitor == visitor):
                answer = await window.page.goto(await guide.address(sight))
                assert answer is not None
                if answer.status != sight.status:
                    wrong.append(f"{sight.name}: {answer.status}")
                    continue
                wide = await window.page.evaluate("document.documentElement.scrollWidth")
                if wide > width:
                    wrong.append(f"{sight.name}: {wide} px wide on {width}")
                wrong += [f"{sight.name}: {violation}" for violation in await axe(window.page)]
    assert not wrong, "\n".join(wrong)
