"""Me: a person's name and number, how the pages look to them, and the way to everything of theirs."""

from typing import Any

import msgspec
from litestar import Request, Response, get, post

import dewpond
from dewpond import identity
from dewpond.identity import NameInvalid, PersonId
from dewpond.web.failures import sentence, status_of
from dewpond.web.forms import form
from dewpond.web.needs import Needs, needs
from dewpond.web.pages import go, page
from dewpond.web.sites import site_of, visitor_of


class _Name(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str


@get("/me", opt=needs(Needs.PERSON))
async def me(request: Request[Any, Any, Any]) -> Response[str]:
    """This person's own page."""
    return page(request, "phone/me.html", person=visitor_of(request).person)


@get("/me/name", opt=needs(Needs.PERSON))
async def name(request: Request[Any, Any, Any]) -> Response[str]:
    """Where the name is changed."""
    return page(request, "phone/name.html", name=visitor_of(request).name, problem="")


@post("/me/name", status_code=303, opt=needs(Needs.PERSON))
async def set_name(request: Request[Any, Any, Any]) -> Response[Any]:
    """Be called something else from now on; the number stays."""
    given: _Name = await form(request, _Name)
    person_id = PersonId(visitor_of(request).session.holder_id)
    try:
        async with site_of(request).house.db.transaction() as tx:
            await identity.rename_person(tx, person_id, given.name)
    except NameInvalid as refusal:
        told = {"name": given.name, "problem": sentence(refusal)}
        return page(request, "phone/name.html", status=status_of(refusal), **told)
    return go("/me", said="saved")


@get("/about", opt=needs(Needs.NOBODY))
async def about(request: Request[Any, Any, Any]) -> Response[str]:
    """What this is, and which release of it."""
    return page(request, "phone/about.html", version=dewpond.__version__)


ROUTES = [me, name, set_name, about]
