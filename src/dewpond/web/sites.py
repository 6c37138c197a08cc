"""Sites: what the phone's site and the staff's site have alike — doors, headers, errors, static files.

What comes in passes `Porch` first (language, headers, strangers' forms turned away), then Litestar's routes, then
`_admit`, which asks of every route who may come. A site may have a short road past Litestar, for what it is asked more
often than everything else.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
import structlog
from litestar import Litestar, MediaType, Request, Response
from litestar.config.compression import CompressionConfig
from litestar.connection import ASGIConnection
from litestar.datastructures import State
from litestar.exceptions import HTTPException, NotFoundException
from litestar.handlers import BaseRouteHandler, HTTPRouteHandler
from litestar.response import Redirect

from dewpond import merchants
from dewpond.identity import Realm, RelyingParty
from dewpond.kit.batch import Batch
from dewpond.kit.failures import Failure, Kind
from dewpond.kit.ids import IdInvalid, new_id
from dewpond.merchants import Capability, Merchant
from dewpond.web import failures, words
from dewpond.web.house import House
from dewpond.web.live import Live
from dewpond.web.needs import NEEDS, Need, Needs
from dewpond.web.pages import page, safe_path, with_next
from dewpond.web.statics import static_file
from dewpond.web.visitors import Visitor, Visitors

log = structlog.get_logger(__name__)

Asgi = Callable[[Any, Any, Any], Awaitable[None]]
Receive = Callable[[], Awaitable[Any]]

_BODY_BYTES: Final = 64 * 1024

_HEADERS: Final = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
        "font-src 'self'; media-src 'self' blob:; manifest-src 'self'; worker-src 'self'; form-action 'self'; "
        "frame-ancestors 'none'; base-uri 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(self), geolocation=(), microphone=(), payment=()",
}
_ONLY_HTTPS: Final = {"strict-transport-security": "max-age=31536000"}

#: The scanner decodes pictures in WebAssembly.
SCANNER: Final = "scanner"
_SCANNER_POLICY: Final = _HEADERS["content-security-policy"].replace(
    "script-src 'self'", "script-src 'self' 'wasm-unsafe-eval'"
)


class Site:
    """One site of one process."""

    def __init__(
        self, house: House, *, name: str, realm: Realm, origin: str, is_sandbox: bool, live: Live | None = None
    ) -> None:
        self.house = house
        #: "phone" or "staff".
        self.name = name
        self.realm = realm
        self.origin = origin
        self.is_sandbox = is_sandbox
        #: The event streams of the consoles; the phone has none.
        self.live = live
        parts = urlsplit(origin)
        self.host = parts.netloc
        self.is_secure = parts.scheme == "https"
        #: Whether a certificate of this machine's own is behind it: its other doors may well speak http.
        self.is_lan = house.settings.tls_folder is not None
        self.visitors = Visitors(house.db, realm, is_secure=self.is_secure)
        #: Passkeys belong to a name; browsers make none for an address (Web Authentication §5.1.3, effective domain).
        self.knows_passkeys = not _is_address(parts.hostname or "")
        #: What routes have accepted and not yet carried out.
        self.batches: list[Batch[Any, Any]] = []
        self.party = RelyingParty(id=parts.hostname or "localhost", name="Dewpond", origin=origin)

    async def close(self) -> None:
        """Let every stream go, and see off what was accepted. Once more does no harm."""
        if self.live is not None:
            await self.live.close()
        for batch in (self.visitors.lookups, *self.batches):
            await batch.close()


def site_of(connection: ASGIConnection[Any, Any, Any, Any]) -> Site:
    """The site a request came to."""
    site: Site = connection.app.state.site
    return site


def visitor_of(connection: ASGIConnection[Any, Any, Any, Any]) -> Visitor:
    """Who visits a page that needs somebody."""
    visitor: Visitor = connection.scope["state"]["visitor"]
    return visitor


def guest_of(connection: ASGIConnection[Any, Any, Any, Any]) -> Visitor | None:
    """Who visits a page that is for nobody in particular, if anybody."""
    visitor: Visitor | None = connection.scope["state"]["visitor"]
    return visitor


def merchant_of(connection: ASGIConnection[Any, Any, Any, Any]) -> Merchant:
    """Whose console a page belongs to; only where the route needs a capability."""
    merchant: Merchant = connection.scope["state"]["merchant"]
    return merchant


# --- who may come -----------------------------------------------------------------------------------------------------


async def _admit(connection: ASGIConnection[Any, Any, Any, Any], route: BaseRouteHandler) -> None:
    """Let in whom the route is for. Foreign things answer as things that do not exist."""
    need: Need | None = route.opt.get(NEEDS)
    state = connection.scope["state"]
    if need is None:  # static files
        return
    site = site_of(connection)
    visitor = state["visitor"] = await site.visitors.find(connection)
    if need is Needs.NOBODY:
        return
    if visitor is None:
        raise _SignInFirst
    if need is Needs.OPERATOR:
        if visitor.member is None or not visitor.member.is_operator:
            raise NotFoundException
        return
    if isinstance(need, Capability):
        assert visitor.member is not None
        async with site.house.db.transaction() as tx:
            merchant = await merchants.find_merchant_by_number(tx, str(connection.path_params["mchid"]))
            role = None if merchant is None else await merchants.role_of(tx, visitor.member.id, merchant.id)
        if role is None:
            raise NotFoundException
        state["merchant"], state["role"] = merchant, role
        if need not in merchants.CAPABILITIES[role]:
            raise failures.NotYours


class _SignInFirst(Failure):
    """Please sign in first."""

    code, kind = "sign_in_first", Kind.UNAUTHENTICATED


# --- what goes wrong --------------------------------------------------------------------------------------------------


def _sign_in_first(request: Request[Any, Any, Any], _error: _SignInFirst) -> Response[Any]:
    if request.headers.get("accept", "").startswith(("text/event-stream", "application/json")):
        return Response("", status_code=401, media_type=MediaType.TEXT)
    # After a form the way back leads to the page it stood on.
    came_from = request.url.path if request.method == "GET" else _path_of(request.headers.get("referer", ""))
    query = f"?{request.url.query}" if request.method == "GET" and request.url.query else ""
    target = with_next("/sign-in", safe_path(came_from + query))
    if request.headers.get("hx-request"):
        return Response("", status_code=200, headers={"HX-Redirect": target}, media_type=MediaType.HTML)
    return Redirect(target, status_code=303)


def _path_of(address: str) -> str:
    """The path of a `Referer`; nothing where it is no address."""
    try:
        return urlsplit(address).path
    except ValueError:
        return ""


def _refused(request: Request[Any, Any, Any], failure: Failure) -> Response[Any]:
    status = 404 if isinstance(failure, IdInvalid) else failures.status_of(failure)
    said = "" if isinstance(failure, IdInvalid) else failures.sentence(failure)
    if status >= 500:  # the page names the request and nothing of ours; whoever runs this finds the rest here
        log.error("web.unavailable", request_id=request.scope["state"].get("request_id"), failure=repr(failure))
    answer = _problem(request, status, said)
    answer.headers |= failures.patience(failure)
    return answer


def _missed(request: Request[Any, Any, Any], error: HTTPException) -> Response[Any]:
    status = error.status_code if error.status_code != 405 else 404
    return _problem(request, status, "")


def _fault(request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
    log.error("web.fault", request_id=request.scope["state"].get("request_id"), exc_info=error)
    return _problem(request, 500, "")


def _problem(request: Request[Any, Any, Any], status: int, said: str) -> Response[Any]:
    request_id = request.scope["state"].get("request_id", "")
    if request.headers.get("accept", "").startswith("application/json"):
        told = {"status": status, "title": said or words.gettext("That did not work."), "request_id": request_id}
        return Response(told, status_code=status, media_type="application/problem+json")
    return page(request, "layout/problem.html", status=status, code=status, said=said, request_id=request_id)


# --- the porch --------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Asked:
    """A request as the porch has read it. Whoever takes something of its body puts a `receive` in place that gives it
    once more."""

    scope: Any
    headers: Mapping[bytes, bytes]
    cookies: Mapping[str, str]
    receive: Receive


class Answer(msgspec.Struct, frozen=True):
    """A whole answer; names of headers are small letters."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes = b""


#: Answers what it knows, past the routes, and leaves everything else to them with None.
ShortRoad = Callable[[Asked], Awaitable[Answer | None]]


class Porch:
    """A site as an ASGI application. Before everything: whose language, whose form, under which name; after everything:
    the headers."""

    def __init__(self, app: Asgi, site: Site, short: ShortRoad | None = None) -> None:
        self._app = app
        self._site = site
        self._short = short
        fixed = _HEADERS | (_ONLY_HTTPS if site.is_secure and not site.is_lan else {})
        self._headers = [(name.encode(), value.encode()) for name, value in fixed.items()]
        scanner = fixed | {"content-security-policy": _SCANNER_POLICY}
        self._scanner_headers = [(name.encode(), value.encode()) for name, value in scanner.items()]

    async def close(self) -> None:
        """Let everybody go who still holds a line."""
        await self._site.close()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers: dict[bytes, bytes] = dict(scope["headers"])
        if len(headers) < len(scope["headers"]):
            headers = _with_one_cookie(scope, headers)
        cookies = _cookies(headers.get(b"cookie", b"").decode("latin-1"))
        words.speak(words.pick_language(cookies.get("lang"), headers.get(b"accept-language", b"").decode("latin-1")))
        request_id = new_id().hex[16:]
        scope["state"] = {**scope.get("state", {}), "request_id": request_id, "visitor": None}
        host = headers.get(b"host", b"").decode("latin-1")
        if not self._is_ours(host):
            await _bare(421, words.gettext("This site is not served under that name."))(scope, receive, send)
            return
        if b"%00" in scope["raw_path"] or b"%00" in scope["query_string"]:
            await _bare(400, words.gettext("There is a zero byte in this address."))(scope, receive, send)
            return
        if "//" in scope["path"]:  # what is routed would take it for another name of the same page
            await _bare(404, words.gettext("There is nothing here"))(scope, receive, send)
            return
        if scope["method"] == "HEAD":
            scope, send = {**scope, "method": "GET"}, _without_body(send)
        elif scope["method"] == "OPTIONS":  # Litestar would answer it by itself
            scope = {**scope, "method": "TRACE"}
        if scope["method"] != "GET" and not self._is_own_form(headers, host):
            await _bare(403, words.gettext("This form was sent from another site."))(scope, receive, send)
            return
        if scope["method"] == "GET" and (elsewhere := self._better_name(host)):
            query = scope["query_string"].decode("latin-1")
            target = f"{elsewhere}{scope['raw_path'].decode('latin-1')}{'?' + query if query else ''}"
            await _bare(307, location=target)(scope, receive, send)
            return

        mark = (b"x-request-id", request_id.encode())
        if self._short is not None:
            asked = Asked(scope, headers, cookies, receive)
            answer = await self._short(asked)
            if answer is not None:
                told = [*answer.headers, *self._headers, mark]
                await send({"type": "http.response.start", "status": answer.status, "headers": told})
                await send({"type": "http.response.body", "body": answer.body})
                return
            receive = asked.receive

        async def headed(message: Any) -> None:
            if message["type"] == "http.response.start":
                given = {name.lower() for name, _ in message["headers"]}
                ours = self._scanner_headers if scope["state"].get(SCANNER) else self._headers
                message["headers"] = [
                    *message["headers"],
                    *(pair for pair in (*ours, mark) if pair[0] not in given),
                ]
            await send(message)

        await self._app(scope, receive, headed)

    def _is_ours(self, host: str) -> bool:
        """Names that somebody else could point at us are refused; bare addresses cannot be pointed anywhere."""
        if host == self._site.host:
            return True
        name = _name_of(host)
        return not self._site.is_secure and (name == "localhost" or _is_address(name))

    def _is_own_form(self, headers: Mapping[bytes, bytes], host: str) -> bool:
        """Browsers say where a form comes from. Whoever says nothing is no browser and carries no cookie of one."""
        if b"origin" in headers:
            ours = self._site.origin if self._site.is_secure else f"http://{host}"
            return headers[b"origin"].decode("latin-1") == ours
        return headers.get(b"sec-fetch-site") in {None, b"same-origin", b"none"} and b"cookie" not in headers

    def _better_name(self, host: str) -> str:
        """Where a page on this machine should be opened instead: passkeys know `localhost`, not its address."""
        name = _name_of(host)
        ours = urlsplit(self._site.origin)
        is_alias = _is_address(name) and ip_address(name).is_loopback
        return self._site.origin if is_alias and ours.hostname == "localhost" else ""


def _name_of(host: str) -> str:
    """The name in a `Host` header; nothing where it is no name with a port."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def _cookies(header: str) -> dict[str, str]:
    pairs = (part.strip().partition("=") for part in header.split(";"))
    return {name: value for name, _, value in pairs}


def _with_one_cookie(scope: Any, headers: dict[bytes, bytes]) -> dict[bytes, bytes]:
    """The headers of a request with its cookies in one line, as they were meant (RFC 9113 §8.2.3): whoever reads them
    later reads the same, and `scope` says no more."""
    lines = [value for name, value in scope["headers"] if name == b"cookie"]
    if len(lines) < 2:
        return headers
    joined = (b"cookie", b"; ".join(lines))
    scope["headers"] = [*(pair for pair in scope["headers"] if pair[0] != b"cookie"), joined]
    return headers | dict([joined])


def _without_body(send: Callable[[Any], Awaitable[None]]) -> Callable[[Any], Awaitable[None]]:
    """The answer to a HEAD: as to a GET, and over where its body would begin. A stream ends there as well: the server
    tells whoever writes on that nobody reads."""
    is_over = False

    async def told(message: Any) -> None:
        nonlocal is_over
        if is_over:
            return
        if message["type"] == "http.response.body":
            is_over = True
            message = {"type": "http.response.body", "body": b""}
        await send(message)

    return told


def _bare(status: int, text: str = "", **headers: str) -> Asgi:
    """An answer before anything is routed."""
    told = {"content-type": "text/plain; charset=utf-8", "content-length": str(len(text.encode())), **headers}

    async def answer(_scope: Any, _receive: Any, send: Any) -> None:
        pairs = [(name.encode(), value.encode("latin-1")) for name, value in told.items()]
        await send({"type": "http.response.start", "status": status, "headers": pairs})
        await send({"type": "http.response.body", "body": text.encode()})

    return answer


# --- the whole --------------------------------------------------------------------------------------------------------


def create_site(
    site: Site, routes: Sequence[HTTPRouteHandler], *, short: ShortRoad | None = None, **held: object
) -> Porch:
    """A site as an ASGI application; its routes find `held` in `request.app.state`. Refuses to begin with a route that
    does not say whom it is for."""
    for route in routes:
        if NEEDS not in route.opt:
            raise ValueError(f"{route} does not say whom it is for")
    app = Litestar(
        route_handlers=[*routes, static_file],
        guards=[_admit],
        exception_handlers={_SignInFirst: _sign_in_first, Failure: _refused, HTTPException: _missed, Exception: _fault},
        compression_config=CompressionConfig(backend="gzip", gzip_compress_level=6, exclude_opt_key="as_it_is"),
        request_max_body_size=_BODY_BYTES,
        state=State({"site": site, **held}),
        openapi_config=None,
        logging_config=None,
        debug=False,
        pdb_on_exception=False,
    )
    return Porch(app, site, short)
