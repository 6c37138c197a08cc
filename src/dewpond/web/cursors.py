"""Cursors: where the next page of a list begins, as addresses carry it."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from litestar import Request

from dewpond.web.failures import FormInvalid


def cursor(at: datetime, last_id: UUID) -> str:
    """The place behind the last row of a page."""
    return f"{at.astimezone(UTC):%Y%m%dT%H%M%S.%f}.{last_id.hex}"


def read_cursor(request: Request[Any, Any, Any]) -> tuple[datetime, UUID] | None:
    """The place that `before` in the address says; None for the first page. Refuses with `FormInvalid`."""
    text = request.query_params.get("before", "")
    if not text:
        return None
    moment, _, last_id = text.rpartition(".")
    try:
        at = datetime.strptime(moment, "%Y%m%dT%H%M%S.%f").replace(tzinfo=UTC)
        if not 1970 <= at.year < 9000:  # the ends of the calendar have no other time zone
            raise ValueError(f"{at.year} is no year of ours")
        return at, UUID(hex=last_id)
    except ValueError as bad:
        raise FormInvalid(problem=str(bad)) from None
