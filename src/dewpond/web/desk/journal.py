"""The journal at the desk: what staff did, everywhere, by whom and from where."""

from typing import Any, Final
from urllib.parse import urlencode

from litestar import Request, Response, get

from dewpond import merchants
from dewpond.kit.db import Tx
from dewpond.kit.ids import IdInvalid, from_text
from dewpond.merchants import StaffMember
from dewpond.web.acts import read_lines, read_position
from dewpond.web.desk.frame import desk_page, read_desk
from dewpond.web.needs import Needs, needs
from dewpond.web.sites import site_of

_PAGE: Final = 50


@get("/desk/journal", opt=needs(Needs.OPERATOR))
async def journal(request: Request[Any, Any, Any]) -> Response[str]:
    """What staff did, the newest first; of one member of staff, for one merchant."""
    by_asked, merchant_asked = (request.query_params.get(name, "").strip()[:100] for name in ("by", "merchant"))
    async with site_of(request).house.db.transaction() as tx:
        desk = await read_desk(tx, request)
        by = await _find_member(tx, by_asked) if by_asked else None
        at = await merchants.find_merchant_by_number(tx, merchant_asked) if merchant_asked else None
        is_lost = bool(by_asked and by is None) or bool(merchant_asked and at is None)
        acts = []
        if not is_lost:
            acts = await merchants.list_acts(
                tx,
                staff_id=None if by is None else by.id,
                merchant_id=None if at is None else at.id,
                before=read_position(request),
                most=_PAGE + 1,
            )
        lines = await read_lines(tx, acts[:_PAGE])
    more = ""
    if len(acts) > _PAGE:
        asked = {"by": by_asked, "merchant": merchant_asked, "before": acts[_PAGE - 1].position}
        more = "/desk/journal?" + urlencode({name: value for name, value in asked.items() if value})
    return desk_page(
        request,
        desk,
        "desk/journal.html",
        lines=lines,
        more=more,
        by=by,
        at=at,
        by_asked=by_asked,
        merchant_asked=merchant_asked,
        is_filtered=bool(by_asked or merchant_asked),
    )


async def _find_member(tx: Tx, text: str) -> StaffMember | None:
    """Whoever has this id or signs in by this name, also after their time."""
    try:
        return next(iter(await merchants.list_staff_members(tx, [from_text("stf", text)])), None)
    except IdInvalid:
        return await merchants.find_by_sign_in_name(tx, text)


ROUTES = [journal]
