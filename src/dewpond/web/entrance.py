"""The entrance: how people come in at their site and staff at theirs, and go.

What differs, who may come in and what their page offers, is with each: `phone/sign_in.py`, `console/sign_in.py`.
"""

from datetime import datetime
from typing import Any
from uuid import UUID

from litestar import Request, Response, post
from litestar.response import Redirect

from dewpond import identity
from dewpond.identity import How
from dewpond.kit import clock, worlds
from dewpond.kit.budgets import TooManyTries
from dewpond.kit.db import Tx
from dewpond.kit.failures import Failure
from dewpond.web import budgets
from dewpond.web.ceremonies import PasskeyAnswer, asked
from dewpond.web.failures import AccessCodeWrong, patience, sentence, status_of
from dewpond.web.forms import Onward, form
from dewpond.web.needs import Needs, needs
from dewpond.web.pages import go, page
from dewpond.web.sites import guest_of, site_of, visitor_of


def ways_in(
    request: Request[Any, Any, Any], template: str, next_: str, refusal: Failure | None, **offered: Any
) -> Response[str]:
    """A site's page of sign-in, with what went wrong where it belongs."""
    said = "" if refusal is None else sentence(refusal)
    is_of_code = isinstance(refusal, AccessCodeWrong | TooManyTries)
    answer = page(
        request,
        template,
        status=200 if refusal is None else status_of(refusal),
        next=next_,
        asks_code=bool(site_of(request).house.settings.access_code),
        problem="" if is_of_code else said,
        code_problem=said if is_of_code else "",
        **offered,
    )
    answer.headers |= patience(refusal)
    return answer


async def welcome(
    request: Request[Any, Any, Any],
    tx: Tx,
    holder_id: UUID,
    path: str,
    *,
    how: How,
    is_proven: bool,
    wall_now: datetime,
) -> Redirect:
    """Sign somebody in and lead on to `path`.

    The session is new, whatever cookie the browser came with; the one it had before is over.
    """
    site, before = site_of(request), guest_of(request)
    if before is not None:
        await identity.end_session(tx, site.realm, before.session.holder_id, before.session.id, wall_now=wall_now)
    cookie = await site.visitors.sign_in(tx, request, holder_id, how=how, wall_now=wall_now, is_proven=is_proven)
    answer = go(path)
    answer.set_cookie(cookie)
    return answer


@post("/sign-in/passkey/challenge", status_code=200, opt=needs(Needs.NOBODY))
async def ask_to_sign_in(request: Request[Any, Any, Any]) -> Response[Any]:
    """A question to whatever passkey is at hand; no name is asked."""
    await form(request, Onward)
    await budgets.spend_of_address(request, budgets.CHALLENGES)
    site = site_of(request)
    async with site.house.db.transaction() as tx:
        begun = await identity.begin_sign_in(tx, site.realm, party=site.party, wall_now=clock.wall_now())
    return asked(begun)


async def holder_of(request: Request[Any, Any, Any], tx: Tx, answer: PasskeyAnswer, *, wall_now: datetime) -> UUID:
    """Whose passkey answered that question. Refuses with `NoPasskeyGiven`, `ChallengeSpent` and `PasskeyRefused`."""
    site, (challenge_id, response) = site_of(request), answer.given()
    passkey = await identity.finish_sign_in(
        tx, challenge_id, response, realm=site.realm, party=site.party, wall_now=wall_now
    )
    return passkey.holder_id


async def pass_one_tap_door(request: Request[Any, Any, Any], access_code: str) -> None:
    """Let through whoever has the code of this sandbox, if it has one; where the world is live there is no such door.
    Refuses with `AccessCodeWrong` and `TooManyTries`."""
    async with site_of(request).house.db.transaction() as tx:
        await worlds.require_sandbox(tx)
    await budgets.check_access_code(request, access_code)


@post("/sign-out", status_code=303, opt=needs(Needs.SOMEBODY))
async def sign_out(request: Request[Any, Any, Any]) -> Redirect:
    """End this browser's session."""
    return await leave(request)


async def leave(request: Request[Any, Any, Any]) -> Redirect:
    """End this browser's session, at once and everywhere it may have been copied to."""
    site, session = site_of(request), visitor_of(request).session
    async with site.house.db.transaction() as tx:
        await identity.end_session(tx, site.realm, session.holder_id, session.id, wall_now=clock.wall_now())
    answer = go("/sign-in", said="signed-out")
    site.visitors.forget(answer)
    return answer


ROUTES = [ask_to_sign_in, sign_out]
