"""Pages: Jinja templates, filled in and sent. What a template may call is listed in `_environment`."""

from functools import cache
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from litestar import MediaType, Request, Response
from litestar.response import Redirect
from litestar.response.base import ASGIResponse

from dewpond.web import statics, words
from dewpond.web.notes import NOTES, note_cookie, take_note
from dewpond.web.statics import static
from dewpond.web.words import Language

_HERE: Final = Path(__file__).parent


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        extensions=["jinja2.ext.i18n"],
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.install_gettext_callables(words.gettext, words.ngettext, newstyle=True)  # type: ignore[attr-defined] # of the extension
    environment.globals |= {
        "static": static,
        "money": words.money,
        "plain_amount": words.plain_amount,
        "number": words.number,
        "spelled_number": words.spelled_number,
        "percent": words.percent,
        "countdown": words.countdown,
        "moment": words.moment,
        "minute": words.minute,
        "day": words.day,
        "clock_time": words.clock_time,
        "time_left": words.time_left,
        "machine_time": words.machine_time,
        "zone": words.ZONE,
        "languages": tuple(Language),
    }
    return environment


def render(template: str, **context: Any) -> str:
    """A template as text, in this request's language; for fragments that are sent by other ways than as a page."""
    return _environment().get_template(template).render(language=words.language(), **context)


def warm_up() -> None:
    """Compile every template, compress what is static and read what languages need, so that the first visitors wait for
    none of it. Takes about a second of one processor and may run in a thread of its own, beside requests."""
    environment = _environment()
    for name in environment.list_templates():
        environment.get_template(name)
    statics.warm_up()
    words.warm_up()
    import webauthn  # noqa: F401 - identity asks for it at the first passkey, and it takes a tenth of a second


def page(request: Request[Any, Any, Any], template: str, *, status: int = 200, **context: Any) -> Response[str]:
    """A filled-in page. Beside `context` a template knows who visits, where, and which note to show."""
    note, forgotten = take_note(request)
    text = render(
        template,
        site=request.app.state.site.name,
        visitor=request.scope["state"].get("visitor"),
        theme=request.cookies.get("theme", "auto"),
        request_path=request.url.path,
        is_sandbox=request.app.state.site.is_sandbox,
        wall=words.real if request.app.state.site.is_sandbox else str,
        knows_passkeys=request.app.state.site.knows_passkeys,
        note=note,
        answers="" if request.method == "GET" else "done" if status < 400 else "refused",
        **context,
    )
    # What a person sees of money belongs to this moment: no cache keeps it, also not the way back.
    answer = Response(text, status_code=status, media_type=MediaType.HTML, headers={"Cache-Control": "no-store"})
    if forgotten is not None:
        answer.set_cookie(forgotten)
    return answer


class _Onward(Redirect):
    """A way on that brings a note along; whose site it is, and so which cookie, is known once it is sent."""

    __slots__ = ("_said",)

    def __init__(self, path: str, said: str) -> None:
        super().__init__(path, status_code=303)
        self._said = said

    def to_asgi_response(self, app: Any, request: Request[Any, Any, Any], **options: Any) -> ASGIResponse:
        self.set_cookie(note_cookie(request, self._said, self.url))
        return super().to_asgi_response(app, request, **options)


def go(path: str, *, said: str = "") -> Redirect:
    """On to another page of this site after something was done; `said` names the note it shows."""
    assert not said or said in NOTES, f"no note is called {said}"
    return _Onward(path, said) if said else Redirect(path, status_code=303)


def safe_path(text: str, otherwise: str = "/") -> str:
    """A path of this site, or `otherwise`: what comes from outside never leads elsewhere."""
    fine = text.startswith("/") and not text.startswith("//") and text.isascii() and text.isprintable()
    return text if fine and "\\" not in text and len(text) <= 500 else otherwise


def wanted(request: Request[Any, Any, Any]) -> str:
    """Where the visitor was going, as `next` in the address says."""
    return safe_path(request.query_params.get("next", "/"))


def with_next(path: str, next_: str) -> str:
    """A page that leads on to another one afterwards."""
    return path if next_ == "/" else f"{path}{'&' if '?' in path else '?'}next={quote(next_, safe='/')}"
