"""What every visitor may choose: language and light. Kept in the browser, not in the house."""

from typing import Any, Final

import msgspec
from litestar import Request, post
from litestar.response import Redirect

from dewpond.web.forms import form
from dewpond.web.needs import Needs, needs
from dewpond.web.pages import safe_path
from dewpond.web.sites import site_of
from dewpond.web.words import Language

_YEAR: Final = 365 * 24 * 3600


class _Choice(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    lang: Language | None = None
    theme: str = ""
    next: str = "/"


@post("/settings", status_code=303, opt=needs(Needs.NOBODY))
async def choose(request: Request[Any, Any, Any]) -> Redirect:
    """Take a choice and go back to where it was made."""
    choice: _Choice = await form(request, _Choice)
    back = Redirect(safe_path(choice.next), status_code=303)
    secure = site_of(request).is_secure
    if choice.lang is not None:
        back.set_cookie("lang", choice.lang, max_age=_YEAR, secure=secure, samesite="lax")
    if choice.theme in {"auto", "light", "dark"}:
        back.set_cookie("theme", choice.theme, max_age=_YEAR, secure=secure, samesite="lax")
    return back


ROUTES = [choose]
