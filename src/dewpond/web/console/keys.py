"""Keys of a shop: certificates (the private key is made in the browser and stays there), the API v3 key, key mode."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

import msgspec
from litestar import Request, Response, get, post
from litestar.params import FromPath
from litestar.response import Redirect

from dewpond import merchants
from dewpond.kit import clock, worlds
from dewpond.kit.crypto import CsrRefused
from dewpond.kit.failures import Failure
from dewpond.merchants import ApiKeyRenewed, Capability, Certificate, Deed, KeyMode
from dewpond.web.acts import note_act
from dewpond.web.console.proofs import Provable, proof_first
from dewpond.web.console.shops import shop_page
from dewpond.web.failures import FormInvalid, sentence, status_of
from dewpond.web.forms import form
from dewpond.web.needs import needs
from dewpond.web.pages import go
from dewpond.web.sites import merchant_of, site_of
from dewpond.web.words import gettext, marked

#: How much of a refused request is shown again.
_REQUEST_SHOWN: Final = 8_000

#: What is wrong with a request: by what the reason says, what a person reads.
_REASONS: Final[Mapping[str, str]] = {
    "too long": marked("This is too long for a certificate request."),
    "PEM": marked(
        "This is not a certificate request in PEM format; one begins with -----BEGIN CERTIFICATE REQUEST-----."
    ),
    "not RSA": marked("The key of this request is not an RSA key; WeChat Pay supports RSA only."),
    "bits": marked("The key of this request must have 2048 to 4096 bits."),
    "exponent": marked("The public exponent of this request's key must be 65537."),
    "algorithm": marked("This request is signed with an algorithm that is not supported; use SHA-256 with RSA."),
    "signature": marked("The signature of this request is not by its own key: it was changed on the way."),
}


class _Request(Provable, frozen=True, kw_only=True, forbid_unknown_fields=True):
    csr: str = ""


class _Renewal(Provable, frozen=True, kw_only=True, forbid_unknown_fields=True):
    #: Which key the form was made beside: sent twice, it draws one.
    drawn_at: str = ""


class _Mode(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    key_mode: KeyMode


class _Revocation(Provable, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


@get("/m/{mchid:str}/keys", opt=needs(Capability.KEYS))
async def keys(request: Request[Any, Any, Any]) -> Response[str]:
    """A shop's keys."""
    return await _keys(request)


async def _keys(
    request: Request[Any, Any, Any],
    refusal: Failure | None = None,
    *,
    csr: str = "",
    csr_problem: str = "",
    api_v3_key: str = "",
) -> Response[str]:
    merchant, house, wall = merchant_of(request), site_of(request).house, clock.wall_now()
    async with house.db.transaction() as tx:
        certificates = await merchants.list_certificates(tx, merchant.id)
        apps = await merchants.apps_of(tx, merchant.id)
        platform = await merchants.list_platform_certificates(tx, wall_now=wall)
        public_key = await merchants.platform_key(
            tx, merchant.id, key_id=None, key_mode=KeyMode.PUBLIC_KEY, wall_now=wall
        )
        drawn_at = await merchants.api_v3_key_drawn_at(tx, merchant.id)
        world = await worlds.get_world(tx)
        current = await merchants.get_merchant(tx, merchant.id)
    return shop_page(
        request,
        "console/keys.html",
        status=200 if refusal is None else status_of(refusal),
        key_mode=current.key_mode,
        certificates=[(one, _state(one, wall)) for one in reversed(certificates)],
        apps=apps,
        platform=platform,
        public_key=public_key,
        wire_url=world.wire_url,
        drawn_at=drawn_at,
        api_v3_key=api_v3_key,
        csr=csr,
        csr_problem=csr_problem,
        problem="" if refusal is None or csr_problem else sentence(refusal),
    )


def _state(one: Certificate, wall_now: datetime) -> str:
    """What a certificate is at this moment."""
    if one.revoked_at is not None:
        return "revoked"
    return "valid" if one.not_before <= wall_now < one.not_after else "ended"


@post("/m/{mchid:str}/certificates", status_code=303, opt=needs(Capability.KEYS))
async def certify(request: Request[Any, Any, Any]) -> Response[Any]:
    """Answer a request that the browser made with a certificate, beside those there are."""
    merchant, house = merchant_of(request), site_of(request).house
    given: _Request = await form(request, _Request)
    is_secret = "PRIVATE KEY" in given.csr  # is not to be seen on a page, not even by who sent it
    act = gettext("You are about to get a new certificate.")
    if not is_secret and (away := await proof_first(request, given, act, back=f"/m/{merchant.number}/keys")):
        return away
    try:
        async with house.db.transaction() as tx:
            now = await worlds.read_clocks(tx)
            made = await merchants.issue_certificate(
                tx, merchant, given.csr.encode(), secrets=house.secrets, wall_now=now.wall
            )
            await note_act(tx, request, Deed.CERTIFICATE_ISSUED, now=now, merchant_id=merchant.id, subject=made.serial)
    except CsrRefused as refusal:
        csr = "" if is_secret else given.csr[:_REQUEST_SHOWN]
        return await _keys(request, refusal, csr=csr, csr_problem=_why(refusal, is_secret=is_secret))
    return go(f"/m/{merchant.number}/keys", said="certificate-made")


def _why(refusal: CsrRefused, *, is_secret: bool) -> str:
    """What is wrong with a request, in the visitor's language."""
    if is_secret:
        return gettext(
            "This is the private key itself. We have not kept it. Never send anybody more than the certificate request."
        )
    reason = str(refusal.facts.get("reason", ""))
    return next((gettext(told) for mark, told in _REASONS.items() if mark in reason), sentence(refusal))


@get("/m/{mchid:str}/certificates/{serial:str}/apiclient_cert.pem", opt=needs(Capability.KEYS))
async def take_certificate(request: Request[Any, Any, Any], serial: FromPath[str]) -> Response[str]:
    """The certificate as a file."""
    async with site_of(request).house.db.transaction() as tx:
        found = await merchants.list_certificates(tx, merchant_of(request).id)
    for one in found:
        if one.serial == serial:
            return _file(one.pem, "apiclient_cert.pem")
    raise merchants.CertificateNotFound(serial=serial)


@get("/m/{mchid:str}/platform_cert.pem", opt=needs(Capability.KEYS))
async def take_platform_certificate(request: Request[Any, Any, Any]) -> Response[str]:
    """The platform's newest certificate as a file."""
    async with site_of(request).house.db.transaction() as tx:
        [newest, *_] = await merchants.list_platform_certificates(tx, wall_now=clock.wall_now())
    assert newest.certificate is not None
    return _file(newest.certificate, "platform_cert.pem")


@get("/m/{mchid:str}/pub_key.pem", opt=needs(Capability.KEYS))
async def take_public_key(request: Request[Any, Any, Any]) -> Response[str]:
    """The platform's public key for this shop as a file."""
    merchant, house = merchant_of(request), site_of(request).house
    async with house.db.transaction() as tx:
        key = await merchants.platform_key(
            tx, merchant.id, key_id=None, key_mode=KeyMode.PUBLIC_KEY, wall_now=clock.wall_now()
        )
    return _file(key.public_key, "pub_key.pem")


def _file(pem: str, name: str) -> Response[str]:
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"}
    return Response(pem, media_type="application/x-pem-file", headers=headers)


@post("/m/{mchid:str}/certificates/{serial:str}/revocation", status_code=303, opt=needs(Capability.KEYS))
async def revoke(request: Request[Any, Any, Any], serial: FromPath[str]) -> Response[Any]:
    """Trust a certificate no more, from the next request on."""
    merchant = merchant_of(request)
    given: _Revocation = await form(request, _Revocation)
    act = gettext("You are about to revoke a certificate.")
    if away := await proof_first(request, given, act, back=f"/m/{merchant.number}/keys"):
        return away
    async with site_of(request).house.db.transaction() as tx:
        now = await worlds.read_clocks(tx)
        await merchants.revoke_certificate(tx, merchant.id, serial, wall_now=now.wall)
        await note_act(tx, request, Deed.CERTIFICATE_REVOKED, now=now, merchant_id=merchant.id, subject=serial)
    return go(f"/m/{merchant.number}/keys", said="saved")


@post("/m/{mchid:str}/api-v3-key", status_code=200, opt=needs(Capability.KEYS))
async def renew_api_v3_key(request: Request[Any, Any, Any]) -> Response[Any]:
    """Draw another API v3 key; it is shown on this page and never again, also not to who loads the page once more."""
    merchant, house = merchant_of(request), site_of(request).house
    given: _Renewal = await form(request, _Renewal)
    try:
        drawn_at = datetime.fromisoformat(given.drawn_at) if given.drawn_at else None
    except ValueError:
        raise FormInvalid(problem="no moment") from None
    creates = gettext("You are about to create the API v3 key.")
    act = creates if drawn_at is None else gettext("You are about to replace the API v3 key.")
    if away := await proof_first(request, given, act, back=f"/m/{merchant.number}/keys"):
        return away
    try:
        async with house.db.transaction() as tx:
            now = await worlds.read_clocks(tx)
            drawn = await merchants.renew_api_v3_key(
                tx, merchant.id, drawn_at=drawn_at, secrets=house.secrets, wall_now=now.wall
            )
            await note_act(tx, request, Deed.API_KEY_DRAWN, now=now, merchant_id=merchant.id)
    except ApiKeyRenewed as refusal:
        return await _keys(request, refusal)
    return await _keys(request, api_v3_key=drawn)


@post("/m/{mchid:str}/key-mode", status_code=303, opt=needs(Capability.KEYS))
async def choose_mode(request: Request[Any, Any, Any]) -> Redirect:
    """Say by which of the platform's keys answers are signed that name none.

    Asks for no proof: it gives nobody a key, and is taken back as quickly.
    """
    merchant = merchant_of(request)
    given: _Mode = await form(request, _Mode)
    async with site_of(request).house.db.transaction() as tx:
        await merchants.set_key_mode(tx, merchant.id, given.key_mode)
        now = await worlds.read_clocks(tx)
        await note_act(tx, request, Deed.KEY_MODE_CHOSEN, now=now, merchant_id=merchant.id, detail=given.key_mode)
    return go(f"/m/{merchant.number}/keys", said="saved")


ROUTES = [
    keys,
    certify,
    take_certificate,
    take_platform_certificate,
    take_public_key,
    revoke,
    renew_api_v3_key,
    choose_mode,
]
