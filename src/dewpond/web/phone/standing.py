"""Standing codes: what a shop has put up on its counter. Who scans one says how much they pay, and then pays it."""

from typing import Any, Final
from uuid import UUID

import msgspec
from litestar import Request, Response, get, post
from litestar.params import FromPath

from dewpond import merchants, pay
from dewpond.kit import worlds
from dewpond.kit.failures import Failure, Kind
from dewpond.kit.ids import derived_beside, new_id
from dewpond.kit.money import AmountInvalid, Money
from dewpond.merchants import Merchant
from dewpond.pay import StandingCode, StandingCodeEnded, StandingCodeUnknown, StandingNoteInvalid
from dewpond.web import budgets
from dewpond.web.failures import patience, sentence, status_of
from dewpond.web.forms import form
from dewpond.web.needs import Needs, needs
from dewpond.web.pages import go, page
from dewpond.web.phone.codes import CODE
from dewpond.web.sites import site_of, visitor_of

_ENDS: Final[dict[type[Failure], str]] = {StandingCodeUnknown: "unknown", StandingCodeEnded: "ended"}


class _Wish(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    amount: str = ""
    note: str = ""
    key: UUID | None = None


@get("/m/{code:str}", opt=needs(Needs.PERSON))
async def standing(request: Request[Any, Any, Any], code: FromPath[str]) -> Response[str]:
    """Whose code it is, and how much to pay."""
    try:
        poster, merchant = await _read(request, code)
    except (StandingCodeUnknown, StandingCodeEnded) as end:
        return _end(request, end)
    return _ask(request, poster, merchant, _Wish())


@post("/m/{code:str}/payment", status_code=303, opt=needs(Needs.PERSON))
async def open_payment(request: Request[Any, Any, Any], code: FromPath[str]) -> Response[Any]:
    """Open a payment over the sum that was typed, one for each form; it is confirmed like any other."""
    wish: _Wish = await form(request, _Wish)
    house, payer_id = site_of(request).house, visitor_of(request).session.holder_id
    key = None if wish.key is None else derived_beside(wish.key, payer_id)
    try:
        poster, merchant = await _read(request, code)
    except (StandingCodeUnknown, StandingCodeEnded) as end:
        return _end(request, end)
    try:
        amount = Money.parse(wish.amount, poster.currency)
        async with house.db.transaction() as tx:
            now = await worlds.read_clocks(tx)
            opening = await pay.standing_opening(tx, code, amount, now=now, note=wish.note, key=key)
        await budgets.spend(request, (budgets.SCANNED, str(payer_id)), (budgets.SHOWN, code))
        opened = await house.openings.submit(opening)
    except Failure as refusal:
        return _ask(request, poster, merchant, wish, refusal)
    return go(f"/q/{opened.code}")


async def _read(request: Request[Any, Any, Any], code: FromPath[str]) -> tuple[StandingCode, Merchant]:
    if not CODE.fullmatch(code):
        raise StandingCodeUnknown
    async with site_of(request).house.db.transaction() as tx:
        poster = await pay.get_standing_code(tx, code)
        return poster, await merchants.get_merchant(tx, poster.merchant_id)


def _end(request: Request[Any, Any, Any], end: Failure) -> Response[str]:
    return page(request, "phone/standing_end.html", status=status_of(end), why=_ENDS[type(end)])


def _ask(
    request: Request[Any, Any, Any],
    poster: StandingCode,
    merchant: Merchant,
    wish: _Wish,
    refusal: Failure | None = None,
) -> Response[str]:
    said = "" if refusal is None else sentence(refusal)
    field = {AmountInvalid: "amount", StandingNoteInvalid: "note"}.get(type(refusal), "") if refusal else ""
    answer = page(
        request,
        "phone/standing.html",
        status=200 if refusal is None else status_of(refusal),
        poster=poster,
        merchant=merchant,
        wish=wish,
        key=new_id() if wish.key is None or (refusal and refusal.kind is Kind.CONFLICT) else wish.key,
        note_length=pay.NOTE_LENGTH,
        amount_problem=said if field == "amount" else "",
        note_problem=said if field == "note" else "",
        problem="" if field else said,
    )
    answer.headers |= patience(refusal)
    return answer


ROUTES = [standing, open_payment]
