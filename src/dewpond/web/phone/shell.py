"""The shell of the phone's pages: what makes them installable, and what is shown without a line."""

from typing import Any

import msgspec
from litestar import MediaType, Request, Response, get

from dewpond.web.needs import Needs, needs
from dewpond.web.pages import page
from dewpond.web.statics import STATIC, static
from dewpond.web.words import gettext, language, pick_language, speak


@get("/manifest.webmanifest", opt=needs(Needs.NOBODY))
async def manifest(request: Request[Any, Any, Any]) -> Response[bytes]:
    """How the phone's pages present themselves when they are installed, in the language that the address names:
    browsers fetch it without cookies."""
    speak(pick_language(request.query_params.get("lang"), request.headers.get("accept-language", "")))
    told = {
        "id": "/",
        "name": "Dewpond",
        "short_name": "Dewpond",
        "description": gettext("Pay, and stay in the pools of the shops you like."),
        "lang": language(),
        "start_url": "/",
        "scope": "/",
        "display": "standalone",
        "orientation": "portrait",
        "background_color": "#f4f8f8",
        "theme_color": "#0b4f55",
        "icons": [
            {"src": static("icons/icon.svg"), "sizes": "any", "type": "image/svg+xml"},
            {"src": static("icons/icon-192.png"), "sizes": "192x192", "type": "image/png", "purpose": "any maskable"},
            {"src": static("icons/icon-512.png"), "sizes": "512x512", "type": "image/png", "purpose": "any maskable"},
        ],
        "shortcuts": [{"name": gettext("Scan"), "url": "/scan"}],
    }
    return Response(msgspec.json.encode(told), media_type="application/manifest+json")


@get("/sw.js", opt=needs(Needs.NOBODY))
async def service_worker() -> Response[str]:
    """The service worker, at the root so that it may serve every page; its own address names release and language."""
    text = (STATIC / "sw.js").read_text(encoding="utf-8")
    return Response(text, media_type="text/javascript", headers={"Cache-Control": "no-cache"})


@get("/offline", opt=needs(Needs.NOBODY))
async def offline(request: Request[Any, Any, Any]) -> Response[str]:
    """What an installed phone shows without a line: no money, for it might be stale."""
    return page(request, "phone/offline.html")


@get("/favicon.ico", media_type=MediaType.TEXT, opt=needs(Needs.NOBODY))
async def favicon() -> Response[bytes]:
    """Browsers ask for it whatever a page says."""
    return Response((STATIC / "icons" / "favicon.svg").read_bytes(), media_type="image/svg+xml")


ROUTES = [manifest, service_worker, offline, favicon]
