"""Budgets on the web: how often strangers, and people, may do what leaves something behind or could be guessed at.

Who comes from one address shares what that has, and behind one there may be a school, or a whole mobile network: so the
numbers stop programs, not crowds, and `DEWPOND_BUDGET_TIMES` makes all of them larger. On a developer's own machine, in
a sandbox, they are a thousand times as large: there too nothing piles up without end, but no test meets them. The
sandbox's access code alone is never generous, and its wrong tries are counted for all of the world as well.
"""

import secrets as random
from datetime import timedelta
from typing import Any, Final

from litestar import Request

from dewpond.kit import budgets, clock
from dewpond.kit.budgets import Budget, Charge
from dewpond.web.failures import AccessCodeWrong
from dewpond.web.sites import Site, site_of
from dewpond.web.visitors import address_of, block_of, ip_of

_TEN_MINUTES: Final = timedelta(minutes=10)
_HOUR: Final = timedelta(hours=1)

#: Questions to passkeys, by who has not signed in: each is a row for two minutes.
CHALLENGES: Final = Budget("challenges", 100, _TEN_MINUTES)
#: Passwords of staff, right or wrong: each takes a tenth of a second of a processor. Names count their own wrong ones.
PASSWORDS: Final = Budget("passwords", 60, _TEN_MINUTES)
#: Codes to be scanned by a phone: likewise.
SCANS: Final = Budget("scans", 50, _TEN_MINUTES)
#: New accounts stay for good, so all of the world together has a budget too.
ACCOUNTS: Final = Budget("accounts", 60, _HOUR)
ALL_ACCOUNTS: Final = Budget("all accounts", 10_000, _HOUR)
#: Payments that people open from a shop's printed code: each stands in the shop's list. By person, and by code.
SCANNED: Final = Budget("scanned codes", 20, _TEN_MINUTES)
SHOWN: Final = Budget("shown codes", 1_200, _TEN_MINUTES)
#: The sandbox's play money.
TOP_UPS: Final = Budget("top-ups", 20, _TEN_MINUTES)

_CODE_TRIES: Final = Budget("access codes", 5, timedelta(minutes=15))
_ALL_CODE_TRIES: Final = Budget("all access codes", 200, _HOUR)

_NEAR: Final = 1_000


async def spend_of_address(request: Request[Any, Any, Any], budget: Budget, *, of_all: Budget | None = None) -> None:
    """Count one thing done from where this request comes, and in the world; `TooManyTries` where it is too much."""
    shared = () if of_all is None else ((of_all, ""),)
    await spend(request, (budget, block_of(address_of(request))), *shared)


async def spend(request: Request[Any, Any, Any], *counted: tuple[Budget, str]) -> None:
    """Count one thing done on each of these accounts, or on none, with `TooManyTries`."""
    site = site_of(request)
    times = site.house.settings.budget_times * (_NEAR if _is_near(site, request) else 1)
    charges = [Charge(budget, whose, times) for budget, whose in counted]
    await budgets.spend(site.house.db, charges, secrets=site.house.secrets, wall_now=clock.wall_now())


async def check_access_code(request: Request[Any, Any, Any], given: str) -> None:
    """Let through a sandbox's one-tap doors whoever has the code, where there is one; else `AccessCodeWrong`.

    A try is counted, and the count committed, before it is compared; a right one is given back. Nobody compares who is
    out of tries: `TooManyTries`.
    """
    site, given = site_of(request), given.strip().lower()
    house, wanted = site.house, site.house.settings.access_code.lower()
    if not wanted:
        return
    if not given:
        raise AccessCodeWrong
    charges = [Charge(_CODE_TRIES, block_of(address_of(request))), Charge(_ALL_CODE_TRIES)]
    await budgets.spend(house.db, charges, secrets=house.secrets, wall_now=clock.wall_now())
    if not random.compare_digest(given.encode(), wanted.encode()):
        raise AccessCodeWrong
    await budgets.give_back(house.db, charges, secrets=house.secrets)


def _is_near(site: Site, request: Request[Any, Any, Any]) -> bool:
    """Whether this is the sandbox of somebody who sits before the machine it runs on."""
    ip = ip_of(address_of(request))
    return site.is_sandbox and ip is not None and ip.is_loopback
