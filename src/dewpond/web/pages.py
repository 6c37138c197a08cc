"""Pages: Jinja templates, filled in and sent. What a template may call is listed in `_environment`."""

import hashlib
from functools import cache
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from litestar import MediaType, Request, Response
from litestar.response import Redirect

from dewpond.web import words
from dewpond.web.notes import NOTES
from dewpond.web.words import Language

_HERE: Final = Path(__file__).parent
STATIC: Final = _HERE / "static"


@cache
def static_mark() -> str:
    """A name for the whole of static files: another release has another, so browsers may keep them for ever."""
    digest = hashlib.sha256()
    for path in sorted(STATIC.rglob("*")):
        if path.is_file():
            digest.update(path.relative_to(STATIC).as_posix().encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def static(name: str) -> str:
    """The address of a static file. Modules find each other by relative addresses."""
    return f"/static/{static_mark()}/{name}"


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
        "percent": words.percent,
        "moment": words.moment,
        "day": words.day,
        "clock_time": words.clock_time,
        "machine_time": words.machine_time,
        "languages": tuple(Language),
    }
    return environment


def render(template: str, **context: Any) -> str:
    """A template as text, in this request's language; for fragments that are sent by other ways than as a page."""
    return _environment().get_template(template).render(language=words.language(), **context)


def warm_up() -> None:
    """Compile every template and read what languages need, so that the first visitors wait for none of it. Takes about
    a second of one processor and may run in a thread of its own, beside requests."""
    environment = _environment()
    for name in environment.list_templates():
        environment.get_template(name)
    static_mark()
    words.warm_up()
    import webauthn  # noqa: F401 - identity asks for it at the first passkey, and it takes a tenth of a second


def page(request: Request[Any, Any, Any], template: str, *, status: int = 200, **context: Any) -> Response[str]:
    """A filled-in page. Beside `context` a template knows who visits, where, and which note to show."""
    note = NOTES.get(request.query_params.get("said", ""))
    text = render(
        template,
        site=request.app.state.site.name,
        visitor=request.scope["state"].get("visitor"),
        theme=request.cookies.get("theme", "auto"),
        request_path=request.url.path,
        is_sandbox=request.app.state.site.is_sandbox,
        note=words.gettext(note) if note else "",
        **context,
    )
    # What a person sees of money belongs to this moment: no cache keeps it, also not the way back.
    return Response(text, status_code=status, media_type=MediaType.HTML, headers={"Cache-Control": "no-store"})


def go(path: str, *, said: str = "") -> Redirect:
    """On to another page of this site after something was done; `said` names the note it shows."""
    assert not said or said in NOTES, f"no note is called {said}"
    joint = "&" if "?" in path else "?"
    return Redirect(f"{path}{joint}said={said}" if said else path, status_code=303)


def safe_path(text: str, otherwise: str = "/") -> str:
    """A path of this site, or `otherwise`: what comes from outside never leads elsewhere."""
    fine = text.startswith("/") and not text.startswith("//") and text.isascii() and text.isprintable()
    return text if fine and "\\" not in text and len(text) <= 500 else otherwise
