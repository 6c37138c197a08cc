"""Scan: the camera, a picture or the keyboard brings a code, and the code leads to a page of this site or nowhere."""

import re
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
from litestar import Request, Response, get, post

from dewpond import pay
from dewpond.identity import PersonId
from dewpond.kit.failures import Failure
from dewpond.kit.ids import IdInvalid, from_text
from dewpond.pay import CodeExpired, CodeUnknown, StandingCodeEnded, StandingCodeUnknown
from dewpond.web import sites
from dewpond.web.failures import CodeForeign, sentence, status_of
from dewpond.web.forms import form
from dewpond.web.needs import Needs, needs
from dewpond.web.pages import go, page
from dewpond.web.phone.codes import CODE, codes_of
from dewpond.web.sites import site_of, visitor_of

_LINK: Final = re.compile(
    r"((?i:https?))://([A-Za-z0-9.:\[\]-]{1,255})(/[qms]/[A-Za-z0-9_-]{1,128})(?:[?#].*)?", re.ASCII
)
_NATIVE: Final = re.compile(r"(?i:weixin://wxpay/bizpayurl(?:/up)?\?pr=)([A-Za-z0-9_-]{1,128})", re.ASCII)
_PORTS: Final = {"http": 80, "https": 443}
#: What is shown again of what was typed.
_SHOWN: Final = 200


class _Typed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    code: str = ""


@get("/scan", opt=needs(Needs.PERSON))
async def scan(request: Request[Any, Any, Any]) -> Response[str]:
    """The camera; beside it a picture and the keyboard."""
    return _scanner(request)


@post("/scan", status_code=303, opt=needs(Needs.PERSON))
async def open_code(request: Request[Any, Any, Any]) -> Response[Any]:
    """Open what was typed, if it is a code or a link of ours."""
    typed: _Typed = await form(request, _Typed)
    text = typed.code.strip()
    try:
        return go(_path_of(text, _origins(request)) or await _path_of_code(request, text))
    except (CodeForeign, CodeUnknown) as refusal:
        return _scanner(request, text, refusal)


def _scanner(request: Request[Any, Any, Any], text: str = "", refusal: Failure | None = None) -> Response[str]:
    request.scope["state"][sites.SCANNER] = True
    return page(
        request,
        "phone/scan.html",
        status=200 if refusal is None else status_of(refusal),
        origin=site_of(request).origin,
        text=text[:_SHOWN],
        problem="" if refusal is None else sentence(refusal),
    )


def _origins(request: Request[Any, Any, Any]) -> list[str]:
    """Where this site is: the world's own address, and the one this page was opened at."""
    return [site_of(request).origin, f"{request.url.scheme}://{request.url.netloc}"]


def _path_of(text: str, origins: list[str]) -> str:
    """The path of this site that a link leads to; empty for anything else. Only paths come out of here."""
    if native := _NATIVE.fullmatch(text):
        return f"/q/{native[1]}"
    link = _LINK.fullmatch(text)
    if link is None or _place(f"{link[1]}://{link[2]}") not in {_place(origin) for origin in origins}:
        return ""
    return link[3]


def _place(origin: str) -> tuple[str, str, int | None] | None:
    """Scheme, host and port, however they are spelled."""
    try:
        parts = urlsplit(origin)
        return parts.scheme, parts.hostname or "", parts.port or _PORTS.get(parts.scheme)
    except ValueError:
        return None


async def _path_of_code(request: Request[Any, Any, Any], text: str) -> str:
    """Where a bare code leads: to a payment, a poster or a sign-in. Refuses with `CodeForeign` or `CodeUnknown`."""
    if not CODE.fullmatch(text):
        raise CodeForeign
    try:
        from_text("scn", text)
        return f"/s/{text}"
    except IdInvalid:
        pass
    try:
        await codes_of(request).get(text, PersonId(visitor_of(request).session.holder_id))
        return f"/q/{text}"
    except CodeExpired:
        return f"/q/{text}"  # which says so
    except CodeUnknown:
        pass
    try:
        async with site_of(request).house.db.transaction() as tx:
            await pay.get_standing_code(tx, text)
    except StandingCodeEnded:
        pass  # its page says so
    except StandingCodeUnknown:
        raise CodeUnknown from None
    return f"/m/{text}"


ROUTES = [scan, open_code]
