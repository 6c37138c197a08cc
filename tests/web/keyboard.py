"""A visitor without a pointer: walks through a page by Tab and back again, and says what stood in the way.

await prepare(window)                  pages that it opens from now on can be walked
faults = await walk(window.page)       one line for each; none is what we want
await press(page, "#refund button")    as many Tabs as it takes, and Enter
await write(page, "#amount", "5.00")
"""

import itertools
from pathlib import Path
from typing import Any

from playwright.async_api import Locator, Page

from browser import Window

_SCRIPT = Path(__file__).with_suffix(".js")


async def prepare(window: Window) -> None:
    """Let the pages that this window opens from now on be walked."""
    await window.context.add_init_script(path=_SCRIPT)


async def resize(page: Page, width: int) -> None:
    """Make the window as wide as that, and wait until the page has noticed."""
    await page.set_viewport_size({"width": width, "height": 800})
    await page.evaluate(
        "width => new Promise((done) => {"
        " const look = () => innerWidth === width ? done() : requestAnimationFrame(look); look() })",
        width,
    )


async def walk(page: Page, *, and_back: bool = True) -> list[str]:
    """Go through the page by Tab and back: every control is reached, in order, and seen while it has the focus."""
    names: list[str] = await page.evaluate("(keyboard.still = true, keyboard.begin())")
    if not names:
        return ["there is nothing to reach"]
    # A date is several fields; and who is out of the page comes in again where it begins.
    presses = len(names) + 4 * await page.locator("input[type=date]:visible").count() + 3
    faults: list[str] = []
    for step in (1, -1)[: 1 + and_back]:
        stops = await _press(page, step, presses)
        faults += _round(names, stops, step)
        for stop in stops:
            faults += [f"{stop['name']}: {fault}" for fault in (stop or {}).get("faults", ())]
    faults += await page.evaluate("keyboard.faults()")
    return list(dict.fromkeys(faults))


async def _press(page: Page, step: int, times: int) -> list[Any]:
    """Hold Tab down until it has been repeated that often; with Shift for the way back."""
    # From one end to the other: a focus that left the page is handed back to it some time later, between other keys.
    await page.evaluate("step => keyboard.restart(step)", step)
    if step < 0:
        await page.keyboard.down("Shift")
    for _ in range(times):
        await page.keyboard.down("Tab")
    await page.keyboard.up("Tab")
    await page.keyboard.up("Shift")
    stops: list[Any] = await page.evaluate("keyboard.end()")
    return stops


def _round(names: list[str], stops: list[Any], step: int) -> list[str]:
    """What is wrong with the order: from the end where it begins it must come to every control, one after the other."""
    numbers = [stop["index"] for stop in stops if stop and stop["index"] >= 0]  # a scrolled region is nobody's number
    order = [number for number, _ in itertools.groupby(numbers)]
    if not order:
        return ["the focus goes nowhere"]
    wanted = list(range(len(names)))[::step]
    if order[: len(names)] == wanted:
        return []
    missed = [f"{names[number]}: is not reached" for number in wanted if number not in order]
    if missed and len(order) < len(names) / 2 and numbers[-1] == numbers[-3]:
        return [f"{names[numbers[-1]]}: lets nobody go"]
    return missed or [f"the order is {[names[number] for number in order]}"]


async def open_all(page: Page) -> list[str]:
    """Open every dialog and unfold everything that can be: dialogs keep the focus, leave by Escape and give it back."""
    await page.evaluate("keyboard.still = false")
    faults: list[str] = []
    for opener in await page.locator("[popovertarget]:not([popovertargetaction]):visible").all():
        faults += await _open(page, opener)
    for summary in await page.locator("summary:visible").all():
        faults += await _unfold(page, summary)
    return list(dict.fromkeys(faults))


async def _open(page: Page, opener: Locator) -> list[str]:
    name = await opener.get_attribute("popovertarget")
    dialog = page.locator(f"[id='{name}']")
    await opener.focus()
    await page.keyboard.press("Enter")
    if not await dialog.is_visible():
        return [f"the dialog {name} does not open"]
    inside = "one => one.contains(document.activeElement) || document.activeElement === document.body"
    for _ in range(await dialog.locator("button, input, a, select, textarea").count() + 2):
        if not await dialog.evaluate(inside):
            return [f"the dialog {name} lets the focus go"]
        await page.keyboard.press("Tab")
    await page.keyboard.press("Escape")
    if await dialog.is_visible():
        return [f"the dialog {name} stays open"]
    has_it_back = await opener.evaluate("one => one === document.activeElement")
    return [] if has_it_back else [f"the dialog {name} keeps the focus"]


async def _unfold(page: Page, summary: Locator) -> list[str]:
    is_open = "one => one.parentElement.open"
    before = await summary.evaluate(is_open)
    await summary.focus()
    for wanted in (not before, before):
        await page.keyboard.press("Enter")
        if await summary.evaluate(is_open) is not wanted:
            return [f"{await summary.inner_text()} is not unfolded by Enter"]
    if await summary.evaluate("one => one.matches('.drawer > summary')"):
        await page.keyboard.press("Enter")
        await page.keyboard.press("Tab")
        await page.keyboard.press("Escape")
        if await summary.evaluate("one => one.parentElement.open || one !== document.activeElement"):
            return ["the drawer is not closed by Escape"]
    return []


async def tab_to(page: Page, selector: str, *, most: int = 80) -> None:
    """Press Tab until the focus is on the first of those."""
    wanted = page.locator(f"{selector} >> visible=true").first
    await wanted.wait_for()
    for _ in range(most):
        await page.keyboard.press("Tab")
        if await wanted.evaluate("one => one === document.activeElement"):
            return
    raise AssertionError(f"no way by keys to {selector}")


async def press(page: Page, selector: str, key: str = "Enter") -> None:
    """Go to it by Tab, and press it."""
    await tab_to(page, selector)
    await page.keyboard.press(key)


async def write(page: Page, selector: str, text: str) -> None:
    """Go to a field by Tab, and write into it in place of what is there; Tab has selected that."""
    await tab_to(page, selector)
    await page.keyboard.type(text)
