"""The books at the desk: every group of accounts, whether it all agrees, and every minor unit's way."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final
from uuid import UUID

import msgspec
from litestar import Request, Response, get, post
from litestar.response import Redirect

from dewpond import identity, ledger, merchants, pay
from dewpond.identity import Person, PersonId, PersonNotFound
from dewpond.kit import wishes
from dewpond.kit.db import Tx
from dewpond.kit.ids import IdInvalid, from_text, new_id, to_text
from dewpond.kit.money import Money
from dewpond.kit.wishes import Wish, WishEnded, WishOpen
from dewpond.ledger import AccountCode, EntryKey, StatementLine, TrialBalance, WalkedEntry
from dewpond.merchants import Deed, Merchant
from dewpond.web.acts import note_act
from dewpond.web.desk.frame import desk_page, note_look, operator_of, read_desk
from dewpond.web.desk.holdings import Holding, holdings
from dewpond.web.desk.holdings import books as books_of
from dewpond.web.desk.sums import sums_of
from dewpond.web.forms import Nothing, form
from dewpond.web.needs import Needs, needs
from dewpond.web.pages import go
from dewpond.web.sites import site_of
from dewpond.web.words import gettext, marked

_LINES: Final = 20
#: A number without its merchant is looked for among all payments there ever were.
_SEARCH_SECONDS: Final = 5.0
#: The faults of a trial balance.
_FAULTS: Final[Mapping[str, str]] = {
    "accounts_adrift": marked("Accounts that are not the sum of their transfers"),
    "accounts_below_floor": marked("Accounts below their floor"),
    "accounts_held_adrift": marked("Accounts whose held money is not the sum of their holds"),
    "accounts_irregular": marked("Accounts that do not fit the chart of accounts"),
    "accounts_missing": marked("Accounts that have transfers and do not exist"),
    "entries_empty": marked("Entries without transfers"),
    "entries_altered": marked("Entries that were altered"),
    "transfers_orphaned": marked("Transfers without their entry"),
    "transfers_crossing": marked("Transfers across currencies"),
    "holds_altered": marked("Holds that were posted with a different amount"),
    "statements_adrift": marked("Statements that are not the sum of their transfers"),
}


class _Check(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    #: Made with the form: the same form sent twice asks once.
    key: UUID


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """An entry of a walk, and what it was for: a payment, a refund, or "" where only its key is known."""

    what: str
    #: The number people know it by.
    text_id: str
    entry: WalkedEntry


class Walk(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that was posted for what was asked."""

    steps: tuple[Step, ...] = ()
    #: Who holds the accounts in it.
    names: dict[UUID, str] = {}
    #: What each account gained or lost by all of it; together nothing.
    ends: tuple[tuple[UUID, AccountCode, Money], ...] = ()
    #: Set where the world is too large to look for this.
    is_cut: bool = False


class Holder(msgspec.Struct, frozen=True, kw_only=True):
    """Whoever holds accounts: a person, a merchant or the house."""

    id: UUID
    name: str
    #: Where the desk knows more of them.
    path: str
    accounts: tuple[Holding, ...]
    lines: tuple[StatementLine, ...]
    #: Set where it is a person.
    person: Person | None = None


# --- pages ------------------------------------------------------------------------------------------------------------


@get("/desk/ledger", opt=needs(Needs.OPERATOR))
async def show_books(request: Request[Any, Any, Any]) -> Response[str]:
    """The books: by group of accounts, when they were last added up, and two ways to look into them."""
    return await _books(request)


async def _books(request: Request[Any, Any, Any]) -> Response[str]:
    sums, db = sums_of(request), site_of(request).house.db
    asked, owner = (request.query_params.get(name, "").strip()[:100] for name in ("walk", "owner"))
    await sums.money.look()
    walk = await _walk_in_time(request, asked) if asked else None
    async with db.transaction() as tx:
        desk = await read_desk(tx, request)
        newest = await wishes.find_newest(tx, ledger.TRIAL_BALANCE_WISH)
        checked = await wishes.find_newest_granted(tx, ledger.TRIAL_BALANCE_WISH)
        who = await _names(tx, [wish.asked_by for wish in (newest, checked) if wish is not None])
        holder = await _find_holder(tx, owner) if owner else None
        if holder is not None and holder.person is not None:
            await note_look(tx, request, desk, holder.person)
    book = _told(checked)
    return desk_page(
        request,
        desk,
        "desk/check.html" if request.headers.get("hx-request") else "desk/ledger.html",
        sum=sums.money,
        books=books_of(sums.money.value or []),
        checking=newest if newest is not None and newest.ended_at is None else None,
        checked=checked,
        book=book,
        faults=[] if book is None else _faults(book),
        who=who,
        key=new_id(),
        asked=asked,
        walk=walk,
        owner=owner,
        holder=holder,
    )


def _told(checked: Wish | None) -> TrialBalance | None:
    """The book as it was added up last; None where that was never, or by another Dewpond."""
    try:
        return None if checked is None else msgspec.convert(checked.told, TrialBalance)
    except msgspec.ValidationError:
        return None


def _faults(book: TrialBalance) -> list[tuple[str, int]]:
    """What must not be and is, in words, and how often."""
    return [(gettext(_FAULTS[name]), count) for name, count in msgspec.structs.asdict(book.faults).items() if count]


@post("/desk/ledger/checks", status_code=303, opt=needs(Needs.OPERATOR))
async def check(request: Request[Any, Any, Any]) -> Redirect:
    """Ask the worker to add the whole book up again, however long that takes."""
    given: _Check = await form(request, _Check)
    try:
        async with site_of(request).house.db.transaction() as tx:
            desk = await read_desk(tx, request)
            by = operator_of(request).id
            await wishes.ask(tx, given.key, ledger.TRIAL_BALANCE_WISH, asked_by=by, wall_now=desk.now.wall)
            await note_act(tx, request, Deed.BOOK_CHECKED, now=desk.now, once=given.key)
    except WishOpen:
        pass  # it is being done already, which is all that was asked
    return go("/desk/ledger")


@post("/desk/ledger/checks/stop", status_code=303, opt=needs(Needs.OPERATOR))
async def stop_check(request: Request[Any, Any, Any]) -> Redirect:
    """Leave the adding up."""
    await form(request, Nothing)
    with suppress(WishEnded):  # it was quicker
        async with site_of(request).house.db.transaction() as tx:
            desk = await read_desk(tx, request)
            by = operator_of(request).id
            await wishes.stop(tx, ledger.TRIAL_BALANCE_WISH, stopped_by=by, wall_now=desk.now.wall)
            await note_act(tx, request, Deed.BOOK_CHECK_STOPPED, now=desk.now)
    return go("/desk/ledger")


# --- walking ----------------------------------------------------------------------------------------------------------


async def _walk_in_time(request: Request[Any, Any, Any], text: str) -> Walk:
    try:
        async with asyncio.timeout(_SEARCH_SECONDS), site_of(request).house.db.transaction() as tx:
            return await _walk(tx, text)
    except TimeoutError:
        return Walk(is_cut=True)


async def _walk(tx: Tx, text: str) -> Walk:
    """The way of a payment and its refunds, by any of its numbers; of one refund; or of an entry, by its key."""
    labels = await _labels(tx, text)
    entries = await ledger.walk_entries(tx, list(labels))
    steps = tuple(Step(what=labels[one.key][0], text_id=labels[one.key][1], entry=one) for one in entries)
    owners = {side.owner_id for one in entries for each in one.transfers for side in (each.debit, each.credit)}
    return Walk(steps=steps, names=await _holder_names(tx, owners), ends=_ends(entries))


async def _labels(tx: Tx, text: str) -> dict[EntryKey, tuple[str, str]]:
    """The keys of the entries that are meant, each with what it was for."""
    refund_id, payment_id, key = _read("rfd", text), _read("pay", text), _uuid(text)
    if refund_id is not None:
        return {pay.refund_entry_key(refund_id): ("refund", text)}
    if key is not None:
        return {EntryKey(key): ("", "")}
    if payment_id is not None:
        # Keys follow from ids, and who was paid stands in the entry: nothing is searched for.
        paid = await ledger.walk_entries(tx, [pay.payment_entry_key(payment_id)])
        found = [(side.owner_id, payment_id) for one in paid for side in [one.transfers[0].credit]]
    else:
        found = [(one.merchant_id, one.id) for one in await pay.find_payments(tx, text)]
    labels = {}
    for merchant_id, one_id in found:
        labels[pay.payment_entry_key(one_id)] = ("payment", to_text("pay", one_id))
        for refund in await pay.list_refunds(tx, merchant_id, one_id):
            labels[pay.refund_entry_key(refund.id)] = ("refund", to_text("rfd", refund.id))
    return labels


def _ends(entries: Sequence[WalkedEntry]) -> tuple[tuple[UUID, AccountCode, Money], ...]:
    gained: dict[tuple[UUID, AccountCode], Money] = {}
    for one in entries:
        for each in one.transfers:
            none = Money(0, each.amount.currency)
            for side, amount in ((each.debit, none - each.amount), (each.credit, each.amount)):
                place = (side.owner_id, side.code)
                gained[place] = gained.get(place, none) + amount
    return tuple((owner, code, amount) for (owner, code), amount in gained.items())


def _read(prefix: str, text: str) -> UUID | None:
    try:
        return from_text(prefix, text)
    except IdInvalid:
        return None


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text) if "-" in text else None
    except ValueError:
        return None


# --- whose accounts ---------------------------------------------------------------------------------------------------


async def _find_holder(tx: Tx, text: str) -> Holder | None:
    """Whoever is meant by a person's number or id, a merchant's number or id, or "house"."""
    if text.casefold() in {"house", "dewpond"}:
        return await _holder(tx, pay.HOUSE, "Dewpond", "")
    person = await identity.find_person_by_number(tx, text)
    if person is None and (person_id := _read("per", text)) is not None:
        try:
            person = await identity.get_person(tx, PersonId(person_id))
        except PersonNotFound:
            return None
    if person is not None:
        return await _holder(tx, person.id, person.name, f"/desk/people/{person.text_id}", person)
    merchant = await _find_merchant(tx, text)
    if merchant is None:
        return None
    return await _holder(tx, merchant.id, merchant.name, f"/desk/merchants/{merchant.number}")


async def _find_merchant(tx: Tx, text: str) -> Merchant | None:
    merchant_id = _read("mch", text)
    if merchant_id is None:
        return await merchants.find_merchant_by_number(tx, text)
    return next(iter(await merchants.list_merchants(tx, [merchant_id])), None)


async def _holder(tx: Tx, owner_id: UUID, name: str, path: str, person: Person | None = None) -> Holder:
    balances = await ledger.list_balances(tx, owner_id)
    lines: list[StatementLine] = []
    for one in balances:
        lines += await ledger.list_statement(tx, one.account_id, limit=_LINES)
    lines.sort(key=lambda line: (line.occurred_at, line.entry_key, line.n), reverse=True)
    accounts = tuple(holdings(balances))
    return Holder(id=owner_id, name=name, path=path, accounts=accounts, lines=tuple(lines[:_LINES]), person=person)


async def _holder_names(tx: Tx, owner_ids: Iterable[UUID]) -> dict[UUID, str]:
    wanted = list(owner_ids)
    names: dict[UUID, str] = {pay.HOUSE: "Dewpond"}
    names |= {one.id: one.name for one in await merchants.list_merchants(tx, wanted)}
    names |= {one.id: one.name for one in await identity.list_people(tx, wanted)}
    return names


async def _names(tx: Tx, staff_ids: Sequence[UUID]) -> dict[UUID, str]:
    return {one.id: one.name for one in await merchants.list_staff_members(tx, staff_ids)}


ROUTES = [show_books, check, stop_check]
