"""Merchants at the desk: the list, taking one in, and everything the operator may see and change of one."""

from datetime import timedelta
from typing import Any, Final
from urllib.parse import urlencode
from uuid import UUID

import msgspec
from litestar import Request, Response, get, post
from litestar.params import FromPath
from litestar.response import Redirect

from dewpond import ledger, merchants, pay, reservoir
from dewpond.identity import NameInvalid
from dewpond.kit import worlds
from dewpond.kit.db import Tx
from dewpond.kit.failures import Failure
from dewpond.kit.ids import IdInvalid, derived_beside, from_text, new_id
from dewpond.kit.money import CNY
from dewpond.merchants import (
    CertificateNotFound,
    Deed,
    FeeRateInvalid,
    KeyMode,
    Merchant,
    MerchantId,
    MerchantNameInvalid,
    MerchantNotFound,
    MerchantTaken,
    NotClaimed,
    Onboarded,
    Role,
    SignInNameInvalid,
    SignInNameTaken,
    StaffId,
    StaffMemberNotFound,
)
from dewpond.web.acts import note_act
from dewpond.web.cursors import cursor, read_cursor
from dewpond.web.desk.frame import Desk, desk_page, operator_of, read_desk
from dewpond.web.desk.holdings import holdings
from dewpond.web.desk.links import Link, list_not_yet_in, make_link
from dewpond.web.failures import sentence, status_of
from dewpond.web.forms import Nothing, form
from dewpond.web.needs import Needs, needs
from dewpond.web.pages import go
from dewpond.web.sites import site_of
from dewpond.web.words import money, short_day

_PAGE: Final = 50
_DAYS: Final = 14


class _Newcomer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the form of a new merchant says."""

    #: Made with the form: the same form sent twice makes one merchant.
    key: UUID
    name: str
    owner_sign_in_name: str
    fee_rate: str = "0.60"
    key_mode: KeyMode = KeyMode.CERTIFICATE
    owner_name: str = ""
    #: "yes" where the owner works here already, and signs in as before.
    is_known: str = ""


class _Mode(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    key_mode: KeyMode


# --- the list ---------------------------------------------------------------------------------------------------------


@get("/desk/merchants", opt=needs(Needs.OPERATOR))
async def list_of_merchants(request: Request[Any, Any, Any]) -> Response[str]:
    """Merchants, the newest first; by what is searched for."""
    text = request.query_params.get("q", "")[:100]
    async with site_of(request).house.db.transaction() as tx:
        desk = await read_desk(tx, request)
        found = await merchants.list_newest_merchants(tx, text=text, before=read_cursor(request), most=_PAGE + 1)
        count = await merchants.count_merchants(tx)
    more = ""
    if len(found) > _PAGE:
        last = found[_PAGE - 1]
        more = "/desk/merchants?" + urlencode({"q": text, "before": cursor(last.created_at, last.id)})
    return desk_page(request, desk, "desk/merchants.html", found=found[:_PAGE], count=count, q=text, more=more)


# --- taking one in ----------------------------------------------------------------------------------------------------


@get("/desk/merchants/new", opt=needs(Needs.OPERATOR))
async def newcomer(request: Request[Any, Any, Any]) -> Response[str]:
    """The form of a new merchant."""
    return await _newcomer(request)


async def _newcomer(
    request: Request[Any, Any, Any], refusal: Failure | None = None, given: _Newcomer | None = None
) -> Response[str]:
    async with site_of(request).house.db.transaction() as tx:
        desk = await read_desk(tx, request)
    return desk_page(
        request,
        desk,
        "desk/merchant_new.html",
        status=200 if refusal is None else status_of(refusal),
        given=given,
        key=new_id() if given is None else given.key,
        refusal="" if refusal is None else refusal.code,
        problem="" if refusal is None else sentence(refusal),
    )


@post("/desk/merchants", status_code=201, opt=needs(Needs.OPERATOR))
async def onboard(request: Request[Any, Any, Any]) -> Response[Any]:
    """Make a merchant with everything its software needs, and show the API v3 key and the owner's link: this once."""
    given: _Newcomer = await form(request, _Newcomer)
    merchant_id = MerchantId(derived_beside(given.key, "merchant", operator_of(request).id))
    try:
        async with site_of(request).house.db.transaction() as tx:
            desk = await read_desk(tx, request)
            made = await _make(request, tx, desk, given, merchant_id)
            await note_act(tx, request, Deed.MERCHANT_MADE, now=desk.now, merchant_id=made.merchant.id)
            link = await _welcome_owner(request, tx, desk, made.merchant, given)
    except MerchantTaken:
        async with site_of(request).house.db.transaction() as tx:
            merchant = await merchants.get_merchant(tx, merchant_id)
        return go(f"/desk/merchants/{merchant.number}", said="merchant-made-before")
    except (
        MerchantNameInvalid,
        FeeRateInvalid,
        NameInvalid,
        SignInNameInvalid,
        SignInNameTaken,
        StaffMemberNotFound,
        NotClaimed,
    ) as refusal:
        return await _newcomer(request, refusal, given)
    return desk_page(
        request, desk, "desk/merchant_made.html", status=201, made=made, link=link, owner_name=given.owner_sign_in_name
    )


async def _make(
    request: Request[Any, Any, Any], tx: Tx, desk: Desk, given: _Newcomer, merchant_id: MerchantId
) -> Onboarded:
    made = await merchants.onboard_merchant(
        tx,
        given.name,
        secrets=site_of(request).house.secrets,
        wall_now=desk.now.wall,
        fee_rate_bp=merchants.read_fee_rate(given.fee_rate),
        key_mode=given.key_mode,
        merchant_id=merchant_id,
    )
    await pay.open_merchant_accounts(tx, made.merchant.id, now=desk.now)
    return made


async def _welcome_owner(
    request: Request[Any, Any, Any], tx: Tx, desk: Desk, merchant: Merchant, given: _Newcomer
) -> Link | None:
    """Give the new shop its owner; a link for somebody new, none for who signs in already."""
    wall, by = desk.now.wall, operator_of(request).id
    if given.is_known:
        owner = await merchants.get_by_sign_in_name(tx, given.owner_sign_in_name)
        await merchants.add_role(tx, merchant.id, owner.id, Role.OWNER, by=by, wall_now=wall)
    else:
        name = given.owner_name.strip() or given.owner_sign_in_name
        owner = await merchants.create_staff_member(tx, given.owner_sign_in_name, name, by=by, wall_now=wall)
        await merchants.give_role(tx, merchant.id, owner.id, Role.OWNER, by=by, wall_now=wall)
    deed = Deed.ROLE_GIVEN if given.is_known else Deed.STAFF_INVITED
    await note_act(tx, request, deed, now=desk.now, merchant_id=merchant.id, subject=owner.text_id, detail=Role.OWNER)
    return None if given.is_known else await make_link(tx, desk, owner, by=by)


# --- one merchant -----------------------------------------------------------------------------------------------------


async def _find(tx: Tx, number: str) -> Merchant:
    merchant = await merchants.find_merchant_by_number(tx, number)
    if merchant is None:
        raise MerchantNotFound(merchant=number)
    return merchant


@get("/desk/merchants/{number:str}", opt=needs(Needs.OPERATOR))
async def merchant(request: Request[Any, Any, Any], number: FromPath[str]) -> Response[str]:
    """One merchant: what it is, what it holds, who works there, by which keys it is known."""
    async with site_of(request).house.db.transaction() as tx:
        desk = await read_desk(tx, request)
        shop = await _find(tx, number)
        today = reservoir.day_of(desk.now.world)
        days = await reservoir.list_days(tx, shop.id, today - timedelta(days=_DAYS - 1), today)
        staff = await merchants.list_staff(tx, shop.id)
        not_yet_in = await list_not_yet_in(tx, [member for member, _ in staff])
        context: dict[str, Any] = {
            "shop": shop,
            "people": await reservoir.count_people(tx, shop.id),
            "accounts": holdings(await ledger.list_balances(tx, shop.id)),
            "apps": await merchants.apps_of(tx, shop.id),
            "certificates": await merchants.list_certificates(tx, shop.id),
        }
    bars = []
    for one in days:
        taken = one.takings_in(CNY)
        bars.append({"label": short_day(one.day), "value": taken.minor, "text": money(taken.taken)})
    return desk_page(
        request,
        desk,
        "desk/merchant.html",
        staff=staff,
        not_yet_in=not_yet_in,
        today=days[-1],
        bars=bars,
        days=days,
        **context,
    )


@post("/desk/merchants/{number:str}/key-mode", status_code=303, opt=needs(Needs.OPERATOR))
async def change_key_mode(request: Request[Any, Any, Any], number: FromPath[str]) -> Redirect:
    """Choose which platform key signs for this merchant where it names none."""
    given: _Mode = await form(request, _Mode)
    async with site_of(request).house.db.transaction() as tx:
        shop = await _find(tx, number)
        await merchants.set_key_mode(tx, shop.id, given.key_mode)
        now = await worlds.read_clocks(tx)
        await note_act(tx, request, Deed.KEY_MODE_CHOSEN, now=now, merchant_id=shop.id, detail=given.key_mode)
    return go(f"/desk/merchants/{number}", said="saved")


@post("/desk/merchants/{number:str}/certificates/{serial:str}/revocation", status_code=303, opt=needs(Needs.OPERATOR))
async def revoke(request: Request[Any, Any, Any], number: FromPath[str], serial: FromPath[str]) -> Redirect:
    """Trust a certificate no more, from the next request on."""
    await form(request, Nothing)
    async with site_of(request).house.db.transaction() as tx:
        desk = await read_desk(tx, request)
        shop = await _find(tx, number)
        if len(serial) > 40 or not serial.isalnum():
            raise CertificateNotFound(serial=serial)
        await merchants.revoke_certificate(tx, shop.id, serial, wall_now=desk.now.wall)
        await note_act(tx, request, Deed.CERTIFICATE_REVOKED, now=desk.now, merchant_id=shop.id, subject=serial)
    return go(f"/desk/merchants/{number}", said="certificate-revoked")


@post("/desk/merchants/{number:str}/staff/{staff_id:str}/invitation", status_code=200, opt=needs(Needs.OPERATOR))
async def invite_again(
    request: Request[Any, Any, Any], number: FromPath[str], staff_id: FromPath[str]
) -> Response[str]:
    """Another link for somebody who works there and has not come in yet; the older ones lead nowhere."""
    await form(request, Nothing)
    async with site_of(request).house.db.transaction() as tx:
        desk = await read_desk(tx, request)
        shop = await _find(tx, number)
        try:
            wanted = StaffId(from_text("stf", staff_id))
        except IdInvalid:
            raise StaffMemberNotFound(staff=staff_id) from None
        member = next((one for one, _ in await merchants.list_staff(tx, shop.id) if one.id == wanted), None)
        if member is None:
            raise StaffMemberNotFound(staff=staff_id)
        link = await make_link(tx, desk, member, by=operator_of(request).id)
        await note_act(tx, request, Deed.LINK_MADE, now=desk.now, merchant_id=shop.id, subject=member.text_id)
    return desk_page(request, desk, "desk/link.html", link=link, back=f"/desk/merchants/{number}", shop=shop)


ROUTES = [list_of_merchants, newcomer, onboard, merchant, change_key_mode, revoke, invite_again]
