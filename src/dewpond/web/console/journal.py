"""The journal of a shop: what was done here that moves no money by itself, for its owners to read."""

from typing import Any, Final
from urllib.parse import urlencode

from litestar import Request, Response, get

from dewpond import merchants
from dewpond.kit.ids import IdInvalid, from_text
from dewpond.merchants import Capability, StaffId
from dewpond.web.acts import read_lines, read_position
from dewpond.web.console.shops import shop_page
from dewpond.web.needs import needs
from dewpond.web.sites import merchant_of, site_of

_PAGE: Final = 50


@get("/m/{mchid:str}/journal", opt=needs(Capability.STAFF))
async def journal(request: Request[Any, Any, Any]) -> Response[str]:
    """What was done for this shop, the newest first; by one colleague, where that is asked.

    Operators who do something for it from the desk have no names here, and are not asked for by any.
    """
    merchant, by_asked = merchant_of(request), request.query_params.get("by", "")
    wanted = _id_of(by_asked)
    async with site_of(request).house.db.transaction() as tx:
        acts = await merchants.list_acts(
            tx, merchant_id=merchant.id, staff_id=wanted, before=read_position(request), most=_PAGE + 1
        )
        lines = await read_lines(tx, acts[:_PAGE])
        present = {member.id for member, _ in await merchants.list_staff(tx, merchant.id)}
    doers = {line.by.id: line.by for line in lines if line.by is not None}
    colleagues = {id_: one for id_, one in doers.items() if not one.is_operator or id_ in present}
    by = None if wanted is None else colleagues.get(wanted)
    if by_asked and by is None:
        lines = []
    more = ""
    if lines and len(acts) > _PAGE:
        asked = ({"by": by_asked} if by_asked else {}) | {"before": str(acts[_PAGE - 1].position)}
        more = f"/m/{merchant.number}/journal?{urlencode(asked)}"
    return shop_page(
        request,
        "console/journal.html",
        lines=lines,
        more=more,
        colleagues=colleagues,
        by=by,
        is_filtered=bool(by_asked),
    )


def _id_of(text: str) -> StaffId | None:
    try:
        return StaffId(from_text("stf", text))
    except IdInvalid:
        return None


ROUTES = [journal]
