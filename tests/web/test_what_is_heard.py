"""What somebody hears who does not see a page: generated over every page there is."""

import re
from collections import Counter
from collections.abc import AsyncIterator
from html.parser import HTMLParser
from typing import Any

import pytest

from web.conftest import Visitors
from web.sights import Guide, every_sight
from web.stories import tell


@pytest.fixture(scope="module")
async def guide(house: Any, doors: Any, database: Any) -> AsyncIterator[Guide]:
    visitors = Visitors(doors, database)
    yield Guide(await tell(house, visitors))
    for client in visitors.clients:
        await client.aclose()


class Page(HTMLParser):
    """Live regions within others, PIN fields, and the names of buttons that stand more than once."""

    VOID = frozenset({"br", "hr", "img", "input", "link", "meta", "wbr"})

    def __init__(self) -> None:
        super().__init__()
        self.nested: list[str] = []
        #: The fields of each form whose last digit sends it.
        self.pins: list[dict[str, str | None]] = []
        self.buttons: Counter[str] = Counter()
        self._open: list[bool] = []
        self._pins: list[dict[str, str | None]] = []
        self._button: str | None = None
        self._opens = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        told = dict(attrs)
        is_live = told.get("role") in {"alert", "status", "log"} or told.get("aria-live") in {"polite", "assertive"}
        if is_live and any(self._open):
            self.nested.append(f"<{tag} {told}>")
        if "data-pin" in told:
            self._pins.append(told)
        # Buttons of lists: each opens a question of its own.
        if tag == "button" and "popovertarget" in told and told.get("popovertargetaction") != "hide":
            self._button, self._opens = told.get("aria-label") or "", str(told["popovertarget"])
        if tag not in self.VOID:
            self._open.append(is_live)

    def handle_data(self, data: str) -> None:
        if self._button is not None and data.strip():
            self._button = self._button or data.strip()

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Of pictures: nothing is read."""

    def handle_endtag(self, tag: str) -> None:
        if tag == "form" and self._pins:
            self.pins.append(self._pins[-1])
            self._pins = []
        if tag == "button" and self._button is not None:
            self.buttons[self._button] += 1
            self._button = None
        if tag not in self.VOID and self._open:
            self._open.pop()


async def test_every_page_can_be_heard(guide: Guide) -> None:
    wrong: list[str] = []
    pins = 0
    for sight in (one for one in every_sight() if one.name != "console-design"):  # shows everything twice
        text = (await (await guide.client(sight.visitor)).get(await guide.address(sight))).text
        page = Page()
        page.feed(text)
        wrong += [f"{sight.name}: said twice: {region}" for region in page.nested]
        wrong += [
            f"{sight.name}: {count} buttons are called {name}" for name, count in page.buttons.items() if count > 1
        ]
        pins += len(page.pins)
        for field in page.pins:
            hint = re.search(rf'id="{field["id"]}-hint">([^<]+)<', text)
            if "sixth digit" not in (hint[1] if hint else "") or f"{field['id']}-hint" not in (
                field.get("aria-describedby") or ""
            ):
                wrong.append(f"{sight.name}: nobody is told that the sixth digit goes on")
    assert not wrong, "\n".join(wrong)
    assert pins > 3


@pytest.mark.parametrize("path", ["/me", "/sign-in"])
async def test_the_language_is_chosen_by_a_button_and_not_on_the_way_through_a_list(guide: Guide, path: str) -> None:
    visitor = "Alice" if path == "/me" else "nobody"
    text = (await (await guide.client(visitor)).get(path)).text
    assert "<select" not in text
    assert re.search(r'name="lang" value="zh-CN" lang="zh-CN" aria-pressed="false"', text)
    assert re.search(r'name="lang" value="en" lang="en" aria-pressed="true"', text)


async def test_a_password_manager_reads_whose_password_is_changed(guide: Guide) -> None:
    text = (await (await guide.client("Mei")).get("/account")).text
    form = re.search(r'action="/account/password">(.*?)</form>', text, re.S)
    assert form is not None
    assert re.search(r'autocomplete="username" value="[^"]+"', form[1])


@pytest.mark.parametrize(("visitor", "address"), [("Olga", "/desk/people/{person}"), ("Olga", "/desk/people")])
async def test_a_persons_number_is_written_as_it_is_read_out(guide: Guide, visitor: str, address: str) -> None:
    text = (await (await guide.client(visitor)).get(address.format(**guide.story.places))).text
    numbers = [person.number for person in guide.story.people.values()]
    spelled = [f"{number[:3]} {number[3:6]} {number[6:]}" for number in numbers]
    assert any(one in text for one in spelled)
