"""Every page under a thumb: what can be pressed is large enough to be met (WCAG 2.5.8), on a phone of 390 px.

The list of pages is generated from the routes, as the matrix of roles is.
"""

from typing import Any

from browser import Chromium
from web.sights import Guide, every_sight
from web.test_every_page import guide as guide

WIDTH = 390
LEAST = 24

#: What is smaller, each as "its name: 100 × 20". What makes a target larger than its own box counts: a label, or a link
#: that is stretched over its row. A link within a sentence is as high as the line, and is let be.
SMALL = """least => {
  const rect = (one) => one.getBoundingClientRect();
  const area = (box) => Math.min(box.width, least) * Math.min(box.height, least);
  const isInSentence = (one) => getComputedStyle(one).display === "inline" && [...one.parentElement.childNodes]
    .some((node) => node.nodeType === Node.TEXT_NODE && node.textContent.trim());
  const isUnseen = (one) => one.matches(".visually-hidden") && !one.closest("label");
  const stretched = (one) => getComputedStyle(one, "::after").position === "absolute" && one.offsetParent;
  const targets = document.querySelectorAll(
    "a[href], button, summary, select, textarea, input:not([type=hidden]), [role=button], [tabindex='0'][role=switch]");
  const small = [];
  for (const one of targets) {
    if (!one.checkVisibility({ visibilityProperty: true }) || isUnseen(one) || isInSentence(one)) continue;
    const boxes = [one, stretched(one), one.closest("label"), ...(one.labels ?? [])].filter(Boolean).map(rect);
    const box = boxes.reduce((best, next) => (area(next) > area(best) ? next : best));
    if (box.width < least - 0.5 || box.height < least - 0.5) {
      const name = one.getAttribute("aria-label") || one.textContent.trim() || one.id || one.name;
      small.push(`${one.localName} “${name}”: ${Math.round(box.width)} × ${Math.round(box.height)}`);
    }
  }
  return small;
}"""


async def test_what_can_be_pressed_is_large_enough(guide: Guide, chromium: Chromium) -> None:
    sights = [sight for sight in every_sight() if not sight.press]
    wrong: list[str] = []
    options: dict[str, Any] = {"viewport": {"width": WIDTH, "height": 844}, "has_touch": True}
    for visitor in dict.fromkeys(sight.visitor for sight in sights):
        client = await guide.client(visitor)
        async with chromium.new_desk(client.origin, **options) as window:
            window.allow(r"status of 4\d\d")  # pages that say no are looked at as well
            for name, token in client.cookies.items():
                await window.context.add_cookies([{"name": name, "value": token, "url": client.origin}])
            for sight in (one for one in sights if one.visitor == visitor):
                await window.page.goto(await guide.address(sight))
                wrong += [f"{sight.name}: {small}" for small in await window.page.evaluate(SMALL, LEAST)]
    assert not wrong, "\n".join(wrong)


async def test_what_is_too_small_is_noticed(chromium: Chromium) -> None:
    async with chromium.new_desk("http://localhost") as window:
        await window.page.set_content(
            "<p>See <a href='#a'>this</a>.</p><p><a href='#b'>Alone</a></p><label><input type='checkbox'></label>"
            "<li style='position:relative;height:3rem'><a class='over' href='#c'>Row</a></li>"
            "<style>.over::after { content: ''; position: absolute; inset: 0 }</style>"
            "<button style='width:10px;height:40px;padding:0'>x</button>"
        )
        found = await window.page.evaluate(SMALL, LEAST)
        assert [one.split("”")[0] for one in found] == ["a “Alone", "input “", "button “x"]
