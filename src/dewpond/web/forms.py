"""Forms: what visitors send, read into structs."""

from typing import Any

import msgspec
from litestar import Request

from dewpond.web.failures import FormInvalid


class Nothing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A form of one button."""


class Onward(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A form of one button, from whoever was on the way to somewhere. Whether they may go there, `safe_path` says."""

    next: str = "/"


async def form(request: Request[Any, Any, Any], kind: type[Any]) -> Any:
    """What a form says, as a struct; `FormInvalid` where a field is missing, unreadable or unknown."""
    given = await request.form()
    if any(isinstance(value, str) and "\0" in value for value in given.values()):
        raise FormInvalid(problem="a zero byte")  # PostgreSQL keeps none
    try:
        return msgspec.convert({name: given[name] for name in given}, kind, strict=False)
    except msgspec.ValidationError as bad:
        raise FormInvalid(problem=str(bad)) from None
