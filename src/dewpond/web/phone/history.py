"""History: everything that moved in a person's wallet, day by day, to look through and to search."""

from datetime import date, timedelta
from itertools import groupby
from typing import Any, Final
from urllib.parse import urlencode

import msgspec
from litestar import Request, Response, get

from dewpond.kit import worlds
from dewpond.pay import MovementKind
from dewpond.web.cursors import cursor, read_cursor
from dewpond.web.needs import Needs, needs
from dewpond.web.pages import page
from dewpond.web.sites import site_of, visitor_of
from dewpond.web.wallets import Line, day_in_world, list_lines, shops_named
from dewpond.web.words import day, gettext

_MOST: Final = 30
_PATH: Final = "/history"


class Day(msgspec.Struct, frozen=True, kw_only=True):
    """One day of the list; without a name where it goes on from the page before."""

    name: str
    lines: tuple[Line, ...]


@get(_PATH, opt=needs(Needs.PERSON))
async def history(request: Request[Any, Any, Any]) -> Response[str]:
    """What this person paid, got back and put in, the newest first."""
    text = request.query_params.get("q", "").strip()[:64]
    kind = request.query_params.get("kind", "")
    kind = kind if kind in {one.value for one in MovementKind} else ""
    person_id, before = visitor_of(request).session.holder_id, read_cursor(request)
    async with site_of(request).house.db.transaction() as tx:
        now = await worlds.read_clocks(tx)
        lines = await list_lines(
            tx,
            person_id,
            before=before,
            kinds=[MovementKind(kind)] if kind else None,
            text=text,
            merchant_ids=await shops_named(tx, person_id, text) if text else (),
            most=_MOST + 1,
        )
    shown = lines[:_MOST]
    goes_on = day_in_world(before[0]) if before and "hx-request" in request.headers else None
    rest = cursor(shown[-1].at, shown[-1].movement.id) if len(lines) > _MOST else ""
    return page(
        request,
        "phone/history.html",
        text=text,
        kind=kind,
        kinds=_kinds(text, kind),
        days=_by_day(shown, day_in_world(now.world), goes_on),
        count=len(shown),
        is_first=before is None,
        more=_address(q=text, kind=kind, before=rest) if rest else "",
    )


def _by_day(lines: list[Line], today: date, goes_on: date | None) -> list[Day]:
    def name(of: date) -> str:
        if of == goes_on:
            return ""
        names = {today: gettext("Today"), today - timedelta(days=1): gettext("Yesterday")}
        return names.get(of) or day(of)

    grouped = groupby(lines, key=lambda line: line.day)
    return [Day(name=name(of), lines=tuple(each)) for of, each in grouped]


def _kinds(text: str, kind: str) -> list[tuple[str, str, bool]]:
    named = {
        "": gettext("All"),
        MovementKind.PAYMENT.value: gettext("Payments"),
        MovementKind.REFUND.value: gettext("Refunds"),
        MovementKind.TOP_UP.value: gettext("Top-ups"),
    }
    return [(_address(q=text, kind=one), name, one == kind) for one, name in named.items()]


def _address(**wanted: str) -> str:
    query = urlencode({name: value for name, value in wanted.items() if value})
    return f"{_PATH}?{query}" if query else _PATH


ROUTES = [history]
