"""Who may come to a page. Every route says it; a site with a route that does not say it does not start."""

from enum import StrEnum
from typing import Final, TypeAlias

from dewpond.merchants import Capability


class Needs(StrEnum):
    """What a visitor must be. For a merchant's console a `Capability` of that merchant stands in its place."""

    NOBODY = "nobody"
    #: Whoever has signed in at this site, on pages that both sites have.
    SOMEBODY = "somebody"
    PERSON = "person"
    STAFF = "staff"
    OPERATOR = "operator"


Need: TypeAlias = Needs | Capability

#: The key under which a route says it: `@get("/", opt={NEEDS: Needs.PERSON})`.
NEEDS: Final = "needs"


def needs(need: Need) -> dict[str, Need]:
    """For a route: `@get("/history", opt=needs(Needs.PERSON))`."""
    return {NEEDS: need}
