"""Notes: what a page says after something was done.

A note travels in a cookie of the site's own, which no link can set: "The money is in your wallet." is said by this
house or by nobody. It is meant for one page, is taken back as soon as that page has shown it, and is forgotten after a
minute, so it says nothing a second time and nothing on another tab.
"""

from collections.abc import Mapping
from hashlib import sha256
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from litestar import Request
from litestar.datastructures import Cookie

from dewpond.web.words import gettext, marked

_SECONDS: Final = 60

NOTES: Final[Mapping[str, str]] = {
    "saved": marked("Saved."),
    "refund-asked": marked("The money is on its way back."),
    "sent-again": marked("Sent again; the new attempt appears in a moment."),
    "certificate-made": marked("The certificate is ready. Download it and keep it together with your key."),
    "signed-out": marked("Signed out."),
    "device-signed-out": marked("That device is signed out."),
    "others-signed-out": marked("All your other devices are signed out."),
    "passkey-added": marked("Your new passkey works from now on."),
    "passkey-removed": marked("That passkey no longer works."),
    "topped-up": marked("The money is in your wallet."),
    "desk-topped-up": marked("The money is in the wallet."),
    "top-up-proposed": marked("Submitted: another operator must agree before the money moves."),
    "top-up-agreed": marked("Agreed: the money is in the wallet."),
    "top-up-refused": marked("Refused: no money has moved."),
    "top-up-ended": marked("That top-up was decided already; you see below what became of it."),
    "merchant-made-before": marked(
        "This form was already sent and the merchant exists. Its API v3 key is not shown again."
    ),
    "certificate-revoked": marked("That certificate no longer works."),
    "person-signed-out": marked("Signed out on every device."),
    "operator-ended": marked("They can no longer sign in."),
    "released": marked("It will be tried again, and comes back here if it fails once more."),
    "clock-frozen": marked("The clock is frozen."),
    "clock-thawed": marked("The clock runs."),
    "clock-stopped": marked("Stopped. The clock stays where it has come to."),
    "pin-set": marked("Your payment PIN is set."),
    "scan-approved": marked("Your other device is being signed in. You will find it in the list below."),
    "scan-refused": marked("Refused: nobody was signed in."),
}


def note_cookie(request: Request[Any, Any, Any], name: str, path: str) -> Cookie:
    """What carries a note to the page at `path`."""
    return _cookie(request, f"{name}.{_mark(unquote(urlsplit(path).path))}", _SECONDS)


def take_note(request: Request[Any, Any, Any]) -> tuple[str, Cookie | None]:
    """What this page has to say, and the cookie that takes the note back; a part of a page and the answer to a
    form leave the note where it is."""
    name, _, mark = request.cookies.get(_cookie_name(request), "").partition(".")
    is_whole = request.method == "GET" and "hx-request" not in request.headers
    if name not in NOTES or not is_whole or mark != _mark(request.scope["path"]):
        return "", None
    return gettext(NOTES[name]), _cookie(request, "", 0)


def _mark(path: str) -> str:
    return sha256(path.encode()).hexdigest()[:16]


def _cookie_name(request: Request[Any, Any, Any]) -> str:
    site = request.app.state.site
    return f"{'__Host-' if site.is_secure else ''}dewpond-{site.name}-note"


def _cookie(request: Request[Any, Any, Any], value: str, max_age: int) -> Cookie:
    return Cookie(
        key=_cookie_name(request),
        value=value,
        max_age=max_age,
        path="/",
        httponly=True,
        secure=request.app.state.site.is_secure,
        samesite="strict",
    )
