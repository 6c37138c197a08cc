"""The page of samples, for those who build pages: in sandboxes only."""

from typing import Any

from litestar import Request, Response, get
from litestar.exceptions import NotFoundException

from dewpond.web.needs import Needs, needs
from dewpond.web.pages import page
from dewpond.web.sites import site_of


@get("/design", opt=needs(Needs.NOBODY))
async def samples(request: Request[Any, Any, Any]) -> Response[str]:
    """Every component, light and dark."""
    if not site_of(request).is_sandbox:
        raise NotFoundException
    return page(request, "staff/design.html")


ROUTES = [samples]
