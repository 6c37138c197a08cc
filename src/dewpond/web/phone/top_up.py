"""Top-up: how money comes into a wallet. In a sandbox by a tap; in a live world at the operator's desk."""

from typing import Any, Final
from uuid import UUID

import msgspec
from litestar import Request, Response, get, post

from dewpond import pay
from dewpond.identity import PersonId
from dewpond.kit import worlds
from dewpond.kit.budgets import TooManyTries
from dewpond.kit.failures import Failure
from dewpond.kit.ids import new_id
from dewpond.kit.money import CNY, AmountInvalid, Money
from dewpond.pay import TopUpDiffers, TopUpTooMuch
from dewpond.web import budgets
from dewpond.web.failures import patience, sentence, status_of
from dewpond.web.forms import form
from dewpond.web.needs import Needs, needs
from dewpond.web.pages import go, page, safe_path, wanted
from dewpond.web.sites import site_of, visitor_of
from dewpond.web.wallets import read_balance

_SUMS: Final = tuple(Money(minor, CNY) for minor in (2000, 5000, 10_000, 20_000))


class _Wish(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    amount: str = ""
    next: str = "/"
    key: UUID | None = None


@get("/top-up", opt=needs(Needs.PERSON))
async def show_top_up(request: Request[Any, Any, Any]) -> Response[str]:
    """Sums to tap, or where the desk is."""
    return await _top_up_page(request, _Wish(next=wanted(request)))


@post("/top-up", status_code=303, opt=needs(Needs.PERSON))
async def top_up(request: Request[Any, Any, Any]) -> Response[Any]:
    """Put play money into this person's own wallet, once for each form; a live world refuses."""
    wish: _Wish = await form(request, _Wish)
    person_id = PersonId(visitor_of(request).session.holder_id)
    try:
        amount = Money.parse(wish.amount, CNY)
        await budgets.spend(request, (budgets.TOP_UPS, str(person_id)))
        async with site_of(request).house.db.transaction() as tx:
            now = await worlds.read_clocks(tx)
            await pay.top_up_by_door(tx, person_id, amount, now=now, key=wish.key)
    except (AmountInvalid, TopUpDiffers, TopUpTooMuch, TooManyTries) as refusal:
        return await _top_up_page(request, wish, refusal)
    return go(safe_path(wish.next), said="topped-up")


async def _top_up_page(request: Request[Any, Any, Any], wish: _Wish, refusal: Failure | None = None) -> Response[str]:
    async with site_of(request).house.db.transaction() as tx:
        balance = await read_balance(tx, visitor_of(request).session.holder_id)
    answer = page(
        request,
        "phone/top_up.html",
        status=200 if refusal is None else status_of(refusal),
        person=visitor_of(request).person,
        balance=balance,
        sums=_SUMS,
        most=Money(pay.DOOR_MINOR, CNY),
        amount=wish.amount,
        next=safe_path(wish.next),
        key=new_id() if wish.key is None or isinstance(refusal, TopUpDiffers) else wish.key,
        problem="" if refusal is None else sentence(refusal),
    )
    answer.headers |= patience(refusal)
    return answer


ROUTES = [show_top_up, top_up]
