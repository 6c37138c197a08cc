"""Static files: what pages are drawn and moved with, read and compressed once in a process.

To compress the scanner's megabyte keeps a processor busy for so long that payments would wait behind it: done anew for
everybody who asks, it would let a few strangers hold a server up.
"""

import gzip
import hashlib
import mimetypes
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

from litestar import Request, Response, get
from litestar.exceptions import NotFoundException
from litestar.params import FromPath

STATIC: Final = Path(__file__).parent / "static"

_NO_WEIGHT: Final = re.compile(r"q\s*=\s*0(\.0*)?")


@cache
def static_mark() -> str:
    """A name for the whole of static files: another release has another, so browsers may keep them for ever."""
    digest = hashlib.sha256()
    for name, plain in sorted(_files().items()):
        digest.update(name.encode())
        digest.update(plain)
    return digest.hexdigest()[:12]


def static(name: str) -> str:
    """The address of a static file. Modules find each other by relative addresses."""
    return f"/static/{static_mark()}/{name}"


def warm_up() -> None:
    """Compress everything. Takes some tenths of a second of one processor."""
    for name in _files():
        _small(name)


@cache
def _files() -> Mapping[str, bytes]:
    """Every file by its name; those that begin with a dot are the builders'."""
    found = (path for path in STATIC.rglob("[!.]*") if path.is_file())
    return {path.relative_to(STATIC).as_posix(): path.read_bytes() for path in found}


@cache
def _small(name: str) -> bytes | None:
    """A file by gzip; None where that makes it no smaller."""
    return smaller(_files()[name])


def smaller(plain: bytes) -> bytes | None:
    """What gzip makes of it; None where that is no smaller."""
    packed = gzip.compress(plain, mtime=0)
    return packed if len(packed) < len(plain) else None


def takes_gzip(accepted: str) -> bool:
    """Whether an `Accept-Encoding` (RFC 9110 §12.5.3) names gzip, and with a weight."""
    given = (part.lower().partition(";") for part in accepted.split(","))
    return any(name.strip() == "gzip" and not _NO_WEIGHT.fullmatch(weight.strip()) for name, _, weight in given)


@get("/static/{mark:str}/{name:path}", opt={"as_it_is": True})
async def static_file(request: Request[Any, Any, Any], mark: FromPath[str], name: FromPath[str]) -> Response[bytes]:
    """A file of this release, to be kept for ever; those of others are not here."""
    name = str(name).removeprefix("/")
    if name not in _files() or mark != static_mark():
        raise NotFoundException
    media_type = mimetypes.guess_type(name)[0] or "application/octet-stream"
    headers = {"Cache-Control": "public, max-age=31536000, immutable", "Vary": "Accept-Encoding"}
    packed = _small(name) if takes_gzip(request.headers.get("accept-encoding", "")) else None
    if packed is None:
        return Response(_files()[name], media_type=media_type, headers=headers)
    return Response(packed, media_type=media_type, headers=headers | {"Content-Encoding": "gzip"})
