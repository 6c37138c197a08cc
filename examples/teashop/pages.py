"""The shop's two pages, as text: the counter with the menu, and an order that lives.

`html` is the only way in which text becomes markup: it escapes everything that is not markup already.
"""

from collections.abc import Mapping
from datetime import datetime
from html import escape
from ipaddress import ip_address
from urllib.parse import urlsplit

import segno
from orders import Order, Refund
from shop import ShopProblem
from words import WORDS

#: What is on the menu, in fen.
MENU: Mapping[str, int] = {"longjing": 1800, "jasmine": 1200, "dahongpao": 2800}
#: What the first button of a paid order gives back.
SOME_BACK = 500


class Html(str):
    """Text that is markup."""

    __slots__ = ()


def html(template: str, **values: object) -> Html:
    """Fill values in; those that are not markup are escaped."""
    return Html(template.format(**{name: _marked_up(value) for name, value in values.items()}))


def _marked_up(value: object) -> str:
    return value if isinstance(value, Html) else escape(str(value))


def join(parts: list[Html]) -> Html:
    """Markup after markup."""
    return Html("".join(parts))


def yuan(fen: int) -> str:
    """1800 → ¥18.00"""
    return f"¥{fen // 100}.{fen % 100:02d}"


def page(shop_name: str, language: str, title: str, body: Html, *, here: str, live: bool = False) -> Html:
    """A whole document. `here` is its own path, to come back to in the other language."""
    words = WORDS[language]
    return html(
        """<!doctype html>
<html lang="{tag}">
<head>
<meta charset="utf-8">
<title>{title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="theme-color" content="#f4f0e6" media="(prefers-color-scheme: light)">
<meta name="theme-color" content="#141a16" media="(prefers-color-scheme: dark)">
<link rel="icon" href="/static/leaf.svg" type="image/svg+xml">
<link rel="stylesheet" href="/static/teashop.css">
{live}
</head>
<body>
<header>
<a class="sign" href="/">{leaf}<span>{shop}</span></a>
<a class="language" href="{here}?lang={other}" lang="{other_tag}" hreflang="{other_tag}">{other_name}</a>
</header>
<main>
{body}
</main>
</body>
</html>
""",
        **_words(words, "tag", "other", "other_name"),
        other_tag=WORDS[words["other"]]["tag"],
        title=title,
        shop=shop_name,
        here=here,
        leaf=_LEAF,
        live=html(_LIVE, here=here) if live else "",
        body=body,
    )


#: A script where there can be one; who has none looks again now and then.
_LIVE = """<script src="/static/order.js" defer></script>
<noscript><meta http-equiv="refresh" content="5; url={here}"></noscript>"""
_LEAF = Html(
    '<svg class="leaf" viewBox="0 0 32 32" aria-hidden="true" focusable="false">'
    '<path d="M4 28C4 12 12 4 28 4c0 16-8 24-24 24Z"/><path class="vein" d="M4 28 19 13"/></svg>'
)
_CUP = Html(
    '<svg class="cup" viewBox="0 0 64 56" aria-hidden="true" focusable="false">'
    '<path class="steam" d="M24 14c-4-4 4-6 0-11M33 14c-4-4 4-6 0-11M42 14c-4-4 4-6 0-11"/>'
    '<path class="bowl" d="M10 20h46c0 16-8 26-16 28v3H26v-3c-8-2-16-12-16-28Z"/>'
    '<ellipse class="liquor" cx="33" cy="20.5" rx="21" ry="4"/><path class="plate" d="M14 53h38"/></svg>'
)
_CHECK = Html(
    '<svg class="mark" viewBox="0 0 64 64" aria-hidden="true" focusable="false">'
    '<circle cx="32" cy="32" r="29"/><path d="m19 33 9 9 18-20"/></svg>'
)
_BACK = Html(
    '<svg class="mark" viewBox="0 0 64 64" aria-hidden="true" focusable="false">'
    '<circle cx="32" cy="32" r="29"/><path d="M20 28h17a8 8 0 0 1 0 16h-9M28 19l-9 9 9 9"/></svg>'
)

_CLOCK = Html(
    '<svg class="mark" viewBox="0 0 64 64" aria-hidden="true" focusable="false">'
    '<circle cx="32" cy="32" r="29"/><path d="M32 16v16l11 7"/></svg>'
)
_CROSS = Html(
    '<svg class="mark" viewBox="0 0 64 64" aria-hidden="true" focusable="false">'
    '<circle cx="32" cy="32" r="29"/><path d="m22 22 20 20M42 22 22 42"/></svg>'
)


def _words(words: Mapping[str, str], *names: str) -> dict[str, str]:
    return {name: words[name] for name in names}


# --- the counter ------------------------------------------------------------------------------------------------------


def counter(language: str, *, problem: str = "", amount: str = "", description: str = "") -> Html:
    """The menu and a free amount; with a problem, what was typed stays typed."""
    words = WORDS[language]
    teas = [
        html(
            '<li><button class="tea {tea}" name="tea" value="{tea}">{cup}<span class="name">{name}</span>'
            '<span class="note">{note}</span><span class="price">{price}</span></button></li>',
            tea=tea,
            cup=_CUP,
            name=words[tea],
            note=words[f"{tea}_note"],
            price=yuan(price),
        )
        for tea, price in MENU.items()
    ]
    return html(
        """<h1>{what_may_it_be}</h1>
<p class="hint">{tap}</p>
<form method="post" action="/orders"><ul class="menu">{teas}</ul></form>
<form class="card another" method="post" action="/orders">
<h2>{another}</h2>
{problem}
<label>{amount_label}
<input name="amount" value="{amount}" inputmode="decimal" autocomplete="off" maxlength="12" placeholder="25.50"
 required{invalid}>
</label>
<label>{for_what}
<input name="description" value="{description}" autocomplete="off" maxlength="40">
</label>
<button class="plain">{show_code}</button>
</form>""",
        **_words(words, "what_may_it_be", "tap", "another", "for_what", "show_code"),
        amount_label=words["amount"],
        teas=join(teas),
        problem=html('<p class="problem" id="problem" role="alert">{it}</p>', it=problem) if problem else "",
        invalid=Html(' aria-invalid="true" aria-describedby="problem" autofocus') if problem else "",
        amount=amount,
        description=description,
    )


# --- an order ---------------------------------------------------------------------------------------------------------


def order_page(order: Order, language: str, *, problem: str = "") -> Html:
    """An order, and around it what stays while it changes: the voice for screen readers, the word of a lost line."""
    words = WORDS[language]
    return html(
        """<p id="voice" class="unseen" role="status" aria-live="polite"></p>
<p id="lost" class="problem" role="status" hidden>{lost}</p>
{section}""",
        lost=words["lost"],
        section=order_section(order, language, problem=problem),
    )


def order_title(order: Order, language: str) -> str:
    """What the window is called: seen also where only its tab is."""
    return f"{_headline(order, WORDS[language])} · {yuan(order.total)}"


def order_section(order: Order, language: str, *, problem: str = "") -> Html:
    """The part of the page that changes as a whole, each time there is news."""
    words = WORDS[language]
    match order.state:
        case "paid":
            told, inner = _told_of_paid(order, words), _paid(order, words)
        case "waiting":
            told, inner = words["waiting"], _waiting(order, words)
        case "over":
            told, inner = words["over"], _over(order, words)
        case _:
            told, inner = words[order.state], _ended(order, words)
    return html(
        '<section id="order" class="order {state}" data-version="{version}" data-events="/orders/{number}/events"'
        ' data-title="{title}" data-told="{told}" data-seconds="{seconds}">\n{problem}{inner}\n</section>',
        state=order.state,
        version=order.version,
        number=order.number,
        title=order_title(order, language),
        told=problem or told,
        seconds=order.seconds_left if order.state == "waiting" else "",
        problem=html('<p class="problem">{it}</p>', it=problem) if problem else "",
        inner=inner,
    )


def _headline(order: Order, words: Mapping[str, str]) -> str:
    if order.state == "paid":
        return words["all_back" if _is_all_back(order) else "paid"]
    return words["scan" if order.state == "waiting" else order.state]


def _is_all_back(order: Order) -> bool:
    return sum(refund.amount for refund in order.refunds if refund.status == "SUCCESS") == order.total


def _told_of_paid(order: Order, words: Mapping[str, str]) -> str:
    if _is_all_back(order):
        return words["all_back_told"].format(sum=yuan(order.total))
    if refunds := _accepted(order):
        return _told_of_refund(refunds[-1], words)
    return words["paid_told"].format(sum=yuan(order.total))


def _accepted(order: Order) -> list[Refund]:
    return [refund for refund in order.refunds if refund.status != "REFUSED"]


def _told_of_refund(refund: Refund, words: Mapping[str, str]) -> str:
    known = words.get(f"refund_{refund.status}", words["refund_PROCESSING"])
    return known.format(sum=yuan(refund.amount))


def _waiting(order: Order, words: Mapping[str, str]) -> Html:
    return html(
        """<div class="what"><h1 tabindex="-1">{scan}</h1><p class="sum">{sum}</p><p class="item">{item}</p></div>
<div class="qr" role="img" aria-label="{qr}">{code}</div>
<div class="ways"><p class="pulse">{waiting}{left}</p>{link}{near}
<details><summary>{code_says}</summary><p><code id="code-url">{code_url}</code></p></details>{after}</div>""",
        **_words(words, "scan", "waiting", "code_says"),
        sum=yuan(order.total),
        item=order.description,
        qr=words["qr"].format(sum=yuan(order.total)),
        code=_qr_code(order.code_url),
        left=_time_left(order, words),
        link=_link(order.code_url, words["open_here"]),
        near=_near(order.code_url, words),
        code_url=order.code_url,
        after=_after(words),
    )


def _qr_code(text: str) -> Html:
    """Drawn in black on white in any light, with the quiet margin that scanners want."""
    return Html(segno.make(text, error="m", micro=False).svg_inline(omitsize=True, svgclass="code", border=4))


def _time_left(order: Order, words: Mapping[str, str]) -> Html:
    minutes, seconds = divmod(order.seconds_left, 60)
    clock = html('<span id="clock" role="timer">{time}</span>', time=f"{minutes}:{seconds:02d}")
    return html(' <span class="left">{told}</span>', told=html(words["left"], time=clock))


def _link(url: str, words: str) -> Html:
    """What the payment service names as its address is followed only where it is one: never `javascript:`."""
    if urlsplit(url).scheme not in {"http", "https", "weixin"}:
        return Html("")
    return html('<a class="plain" href="{url}" target="_blank" rel="noopener">{words}</a>', url=url, words=words)


def _near(url: str, words: Mapping[str, str]) -> Html:
    """A word of warning where the code leads to this very machine: a phone that scans it finds nothing there."""
    host = urlsplit(url).hostname or ""
    try:
        is_near = host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        is_near = False
    if not is_near:
        return Html("")
    told = html(words["near"], command=Html("<code>make run ARGS=--lan</code>"))
    return html('<p class="note near">{told}</p>', told=told)


def _over(order: Order, words: Mapping[str, str]) -> Html:
    return html(
        '<div class="what">{mark}<h1 tabindex="-1">{over}</h1><p class="sum">{sum}</p><p class="item">{item}</p>'
        '<p class="pulse">{over_why}</p>{after}</div>',
        mark=_CLOCK,
        after=_after(words),
        **_words(words, "over", "over_why"),
        sum=yuan(order.total),
        item=order.description,
    )


def _ended(order: Order, words: Mapping[str, str]) -> Html:
    """Expired or closed: the same again is one tap away."""
    return html(
        """<div class="what">{mark}<h1 tabindex="-1">{headline}</h1><p class="sum">{sum}</p><p class="item">{item}</p>
<p>{ended_why}</p>
<form class="again" method="post" action="/orders"><input type="hidden" name="amount" value="{sum}">
<input type="hidden" name="description" value="{item}"><button class="plain">{again}</button></form>
{after}</div>""",
        mark=_CROSS,
        headline=_headline(order, words),
        after=_after(words),
        **_words(words, "ended_why", "again"),
        sum=yuan(order.total),
        item=order.description,
    )


def _paid(order: Order, words: Mapping[str, str]) -> Html:
    return html(
        """<div class="what">{mark}<h1 tabindex="-1">{headline}</h1><p class="sum">{sum}</p><p>{thanks}</p></div>
<div class="card receipt"><dl>
<dt>{item_label}</dt><dd>{item}</dd>
{when}<dt>{number}</dt><dd><code id="transaction-id">{transaction_id}</code></dd>
<dt>{order_label}</dt><dd><code>{order}</code></dd>
</dl>
{refunds}{elsewhere}</div>
{give_back}
{after}""",
        mark=_BACK if _is_all_back(order) else _CHECK,
        headline=_headline(order, words),
        sum=yuan(order.total),
        thanks=_told_of_paid(order, words) if _accepted(order) else words["thanks"],
        item_label=words["item"],
        item=order.description,
        when=_when(order, words),
        number=words["number"],
        transaction_id=order.transaction_id,
        order_label=words["order"],
        order=order.number,
        refunds=_refunds(order, words),
        elsewhere=html('<p class="note elsewhere">{it}</p>', it=words["elsewhere"]) if order.elsewhere else "",
        give_back=_give_back(order, words),
        after=_after(words),
    )


def _after(words: Mapping[str, str]) -> Html:
    return html('<p class="after"><a href="/">{back_to_menu}</a></p>', back_to_menu=words["back_to_menu"])


def _when(order: Order, words: Mapping[str, str]) -> Html:
    try:
        at = datetime.fromisoformat(order.paid_at)
    except ValueError:
        return Html("")
    day = f"{at.year}年{at.month}月{at.day}日" if words["tag"] == "zh-CN" else f"{at.day} {at:%B} {at.year}"
    return html(
        '<dt>{when}</dt><dd><time datetime="{paid_at}">{told}</time></dd>',
        when=words["when"],
        paid_at=order.paid_at,
        told=f"{day} {at:%H:%M}",
    )


def _refunds(order: Order, words: Mapping[str, str]) -> Html:
    if not order.refunds:
        return Html("")
    each = [
        html('<li class="{status}">{told}</li>', status=refund.status.lower(), told=_told_of_refund(refund, words))
        for refund in order.refunds
    ]
    return html('<h2>{title}</h2><ul class="refunds">{each}</ul>', title=words["refunds"], each=join(each))


def _give_back(order: Order, words: Mapping[str, str]) -> Html:
    """Buttons for a part and for all that is left; they say which refund of the order they are (see `Shop.refund`)."""
    left = order.left
    if not left:
        return Html("")
    choices = [(left, words["give_rest" if order.given_back else "give_all"])]
    if left > SOME_BACK:
        choices.insert(0, (SOME_BACK, words["give"]))
    buttons = [
        html('<button class="plain" name="amount" value="{fen}">{told}</button>', fen=fen, told=told)
        for fen, told in ((fen, told.format(sum=yuan(fen))) for fen, told in choices)
    ]
    return html(
        '<form class="card staff" method="post" action="/orders/{number}/refunds"><h2>{give_back}</h2>'
        '<p class="note">{give_back_note}</p><input type="hidden" name="nth" value="{nth}">{buttons}</form>',
        **_words(words, "give_back", "give_back_note"),
        number=order.number,
        nth=len(order.refunds) + 1,
        buttons=join(buttons),
    )


# --- problems ---------------------------------------------------------------------------------------------------------


def why_not(problem: ShopProblem, language: str) -> str:
    """A problem in a sentence. The payment service's own ones are in a language of its choice; codes are for all."""
    words = WORDS[language]
    if problem.status < 500 and problem.code:
        return words["refused"].format(code=problem.code)
    return words["no_service" if problem.code else problem.word]


def why_no_refund(problem: ShopProblem, language: str) -> str:
    """Why money was not given back, or is not known to be."""
    words = WORDS[language]
    if problem.status >= 500:
        return words["no_refund_known"]
    return words.get(f"no_refund_{problem.code}") or why_not(problem, language)


def problem_page(language: str, told: str) -> Html:
    """Something that cannot be shown, in a sentence."""
    return html("<h1>{told}</h1>\n{after}", told=told, after=_after(WORDS[language]))
