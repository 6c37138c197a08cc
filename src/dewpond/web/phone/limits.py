"""Limits: how much this person lets be paid at once, in a day, and without a proof.

To allow less is done at once; to allow more asks for a fresh proof first, and what was typed waits in the form.
"""

from typing import Any, Final
from urllib.parse import urlencode

import msgspec
from litestar import Request, Response, get, post

from dewpond import pay
from dewpond.identity import PersonId
from dewpond.kit import worlds
from dewpond.kit.failures import Failure
from dewpond.kit.money import CNY, AmountInvalid, Money
from dewpond.pay import LimitInvalid, Limits
from dewpond.web.failures import sentence
from dewpond.web.forms import form
from dewpond.web.needs import Needs, needs
from dewpond.web.pages import go, page
from dewpond.web.phone.proofs import proof_first
from dewpond.web.sites import site_of, visitor_of
from dewpond.web.words import plain_amount

_PATH: Final = "/security/limits"


class _Wish(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Amounts as they were typed; nothing is no limit, and never without a proof."""

    per_payment: str = ""
    per_day: str = ""
    without_pin: str = ""


@get(_PATH, opt=needs(Needs.PERSON))
async def limits(request: Request[Any, Any, Any]) -> Response[str]:
    """The limits that hold, or what was typed before a proof was asked; and what was paid today."""
    given = {name: request.query_params[name][:20] for name in _Wish.__struct_fields__ if name in request.query_params}
    return await _limits_page(request, _Wish(**given) if given else None)


@post(_PATH, status_code=303, opt=needs(Needs.PERSON))
async def set_limits(request: Request[Any, Any, Any]) -> Response[Any]:
    """Let other limits hold from now on."""
    wish: _Wish = await form(request, _Wish)
    person_id = PersonId(visitor_of(request).session.holder_id)
    problems: dict[str, Failure] = {}
    wanted = Limits(
        person_id=person_id,
        per_payment_minor=_cap(wish, "per_payment", problems),
        per_day_minor=_cap(wish, "per_day", problems),
        without_pin_minor=_cap(wish, "without_pin", problems) or 0,
    )
    if problems:
        return await _limits_page(request, wish, problems)
    async with site_of(request).house.db.transaction() as tx:
        held = await pay.lock_limits(tx, person_id)
        if wanted.is_wider_than(held):
            away = proof_first(request, back=f"{_PATH}?{urlencode(msgspec.structs.asdict(wish))}")
            if away is not None:
                return away
        await pay.set_limits(tx, wanted, now=await worlds.read_clocks(tx))
    return go("/security", said="saved")


def _cap(wish: _Wish, name: str, problems: dict[str, Failure]) -> int | None:
    """An amount as it was typed, in minor units; what is none is noted among the problems."""
    text = str(getattr(wish, name)).strip()
    if not text:
        return None
    try:
        minor = Money.parse(text, CNY).minor
        if minor < (0 if name == "without_pin" else 1):
            raise LimitInvalid
    except (AmountInvalid, LimitInvalid) as refusal:
        problems[name] = refusal
        return None
    return minor


async def _limits_page(
    request: Request[Any, Any, Any], wish: _Wish | None, problems: dict[str, Failure] | None = None
) -> Response[str]:
    session = visitor_of(request).session
    person_id = session.holder_id
    async with site_of(request).house.db.transaction() as tx:
        now = await worlds.read_clocks(tx)
        held = await pay.get_limits(tx, person_id)
        spent = await pay.get_spent(tx, person_id, world_now=now.world)
    return page(
        request,
        "phone/limits.html",
        status=422 if problems else 200,
        wish=wish or _as_typed(held),
        is_waiting=wish is not None and not problems,
        new_until=pay.new_until(session.created_at, now.wall),
        new_device=Money(pay.NEW_DEVICE_MINOR, CNY),
        paid_today=Money(spent.paid_minor, CNY),
        paid_without_pin=Money(spent.without_pin_minor, CNY),
        times=pay.SMALL_SUMS_A_DAY,
        allowance=Money(pay.SMALL_SUMS_A_DAY * held.without_pin_minor, CNY) if held.without_pin_minor else None,
        problems={name: sentence(refusal) for name, refusal in (problems or {}).items()},
    )


def _as_typed(held: Limits) -> _Wish:
    def text(minor: int | None) -> str:
        return "" if not minor else plain_amount(Money(minor, held.currency))

    return _Wish(
        per_payment=text(held.per_payment_minor),
        per_day=text(held.per_day_minor),
        without_pin=text(held.without_pin_minor),
    )


ROUTES = [limits, set_limits]
