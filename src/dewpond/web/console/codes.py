"""Printed codes: what a shop puts up at its counter; whoever scans it says how much they pay."""

from typing import Any

import msgspec
from litestar import Request, Response, get, post
from litestar.params import FromPath
from litestar.response import Redirect

from dewpond import merchants, pay
from dewpond.kit import worlds
from dewpond.kit.db import Tx
from dewpond.kit.failures import Failure
from dewpond.merchants import Capability, Deed, Merchant
from dewpond.pay import StandingCode, StandingCodeEnded, StandingCodeTitleInvalid, StandingCodeUnknown
from dewpond.web.acts import note_act
from dewpond.web.console.posters import draw_poster
from dewpond.web.console.shops import shop_page
from dewpond.web.failures import sentence, status_of
from dewpond.web.forms import Nothing, form
from dewpond.web.needs import needs
from dewpond.web.pages import go
from dewpond.web.qr import qr_picture
from dewpond.web.sites import merchant_of, site_of


class _Title(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    title: str


@get("/m/{mchid:str}/codes", opt=needs(Capability.CODES))
async def codes(request: Request[Any, Any, Any]) -> Response[str]:
    """A shop's printed codes."""
    return await _codes(request)


async def _codes(request: Request[Any, Any, Any], refusal: Failure | None = None, title: str = "") -> Response[str]:
    merchant = merchant_of(request)
    async with site_of(request).house.db.transaction() as tx:
        found = await pay.list_standing_codes(tx, merchant.id)
        world = await worlds.get_world(tx)
    is_near = worlds.is_near(world.public_url)
    shown = [(one, qr_picture(_link(world.public_url, one), for_paper=True)) for one in found if one.ended_at is None]
    return shop_page(
        request,
        "console/codes.html",
        status=200 if refusal is None else status_of(refusal),
        codes=shown,
        is_near=is_near,
        ended=[one for one in found if one.ended_at is not None],
        title_given=title,
        problem="" if refusal is None else sentence(refusal),
    )


@post("/m/{mchid:str}/codes", status_code=303, opt=needs(Capability.CODES))
async def create(request: Request[Any, Any, Any]) -> Response[Any]:
    """Make another code."""
    merchant = merchant_of(request)
    given: _Title = await form(request, _Title)
    try:
        async with site_of(request).house.db.transaction() as tx:
            now = await worlds.read_clocks(tx)
            [app, *_] = await merchants.apps_of(tx, merchant.id)
            made = await pay.create_standing_code(tx, merchant.id, app.id, given.title, now=now)
            await note_act(
                tx,
                request,
                Deed.CODE_MADE,
                now=now,
                merchant_id=merchant.id,
                subject=made.code,
                detail=made.title,
            )
    except StandingCodeTitleInvalid as refusal:
        return await _codes(request, refusal, given.title)
    return go(f"/m/{merchant.number}/codes/{made.code}")


@get("/m/{mchid:str}/codes/{code:str}", opt=needs(Capability.CODES))
async def poster_page(request: Request[Any, Any, Any], code: FromPath[str]) -> Response[str]:
    """A poster to print or to take along."""
    async with site_of(request).house.db.transaction() as tx:
        found, link = await _find(tx, merchant_of(request), code)
        is_near = worlds.is_near(link)
    return shop_page(request, "console/poster.html", code=found, link=link, is_near=is_near)


@get("/m/{mchid:str}/codes/{code:str}/poster.svg", opt=needs(Capability.CODES))
async def poster(request: Request[Any, Any, Any], code: FromPath[str]) -> Response[str]:
    """The poster as a picture of its own, A5, for a printer's shop."""
    merchant = merchant_of(request)
    async with site_of(request).house.db.transaction() as tx:
        found, link = await _find(tx, merchant, code)
    text = draw_poster(merchant.name, found.title, link)
    headers = {
        "Content-Disposition": f'attachment; filename="dewpond-{merchant.number}.svg"',
        "Cache-Control": "no-store",
    }
    return Response(text, media_type="image/svg+xml", headers=headers)


@post("/m/{mchid:str}/codes/{code:str}/end", status_code=303, opt=needs(Capability.CODES))
async def take_down(request: Request[Any, Any, Any], code: FromPath[str]) -> Redirect:
    """Take a code down: from now on a scan says so."""
    merchant = merchant_of(request)
    await form(request, Nothing)
    async with site_of(request).house.db.transaction() as tx:
        now = await worlds.read_clocks(tx)
        await pay.end_standing_code(tx, merchant.id, code, now=now)
        await note_act(tx, request, Deed.CODE_ENDED, now=now, merchant_id=merchant.id, subject=code)
    return go(f"/m/{merchant.number}/codes", said="saved")


async def _find(tx: Tx, merchant: Merchant, code: str) -> tuple[StandingCode, str]:
    """This shop's code that still stands, and where it leads; another's does not exist for it."""
    for found in await pay.list_standing_codes(tx, merchant.id):
        if found.code == code:
            if found.ended_at is not None:
                raise StandingCodeEnded
            return found, _link((await worlds.get_world(tx)).public_url, found)
    raise StandingCodeUnknown


def _link(public_url: str, code: StandingCode) -> str:
    return f"{public_url}/m/{code.code}"


ROUTES = [codes, create, poster_page, poster, take_down]
