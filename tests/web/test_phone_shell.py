"""What makes the phone's pages installable: it speaks the language that was chosen."""

import re
from html import unescape
from typing import Any

import pytest
from playwright.async_api import expect

from browser import Chromium, axe
from dewpond.web.words import Language


@pytest.mark.parametrize("chosen", Language)
@pytest.mark.parametrize("wish", ["en", "zh-CN,zh;q=0.9"])
async def test_what_is_installed_speaks_the_language_of_its_page(visitors: Any, chosen: Language, wish: str) -> None:
    phone = visitors.stranger(headers={"accept-language": wish, "cookie": f"lang={chosen}"})
    page = (await phone.get("/about")).text
    linked = re.search(r'rel="manifest" href="([^"]+)"', page)
    assert linked is not None
    fetched = await visitors.stranger(headers={"accept-language": wish}).get(unescape(linked[1]))  # without cookies
    manifest = fetched.json()
    assert manifest["lang"] == chosen
    assert manifest["shortcuts"][0]["name"] == ("扫一扫" if chosen is Language.CHINESE else "Scan")
    assert manifest["start_url"] == "/"


async def test_without_a_choice_it_speaks_as_the_browser_wishes(visitors: Any) -> None:
    for address in ("/manifest.webmanifest", "/manifest.webmanifest?lang=xx"):
        manifest = (await visitors.stranger(headers={"accept-language": "zh"}).get(address)).json()
        assert manifest["lang"] == Language.CHINESE


#: Browsers decide themselves when they would install a page; here they would at once.
OFFERED = """() => {
  const event = new Event("beforeinstallprompt", {cancelable: true});
  event.prompt = () => { globalThis.prompted = true; };
  dispatchEvent(event);
  return event.defaultPrevented;
}"""


async def test_a_page_has_a_button_that_installs_or_leaves_it_to_the_browser(
    chromium: Chromium, visitors: Any, new_person: Any
) -> None:
    client = await visitors.person(await new_person("Alice"))
    async with chromium.new_phone(client.origin) as phone:
        token = client.cookies["dewpond-person"]
        await phone.context.add_cookies([{"name": "dewpond-person", "value": token, "url": client.origin}])
        for path in ("/", "/me"):
            await phone.page.goto(path)
            install = phone.page.get_by_role("button", name="Install Dewpond")
            await expect(install).to_be_hidden()
            assert await phone.page.evaluate(OFFERED)
            await expect(install).to_be_visible()
            assert await axe(phone.page) == []
            await install.click()
            await expect(install).to_be_hidden()
            assert await phone.page.evaluate("() => prompted")
        await phone.page.goto("/history")
        assert not await phone.page.evaluate(OFFERED), "the browser offers it in its own way"
