"""Static files: what pages are drawn and moved with, read and compressed once in a process.

To compress the scanner's megabyte keeps a processor busy for so long that payments would wait behind it: done anew for
everybody who asks, it would let a few strangers hold a server up.
"""

import gzip
import hashlib
import mimetypes
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

import msgspec
from litestar import Request, Response, get
from litestar.exceptions import NotFoundException
from litestar.params import FromPath

STATIC: Final = Path(__file__).parent / "static"


class _File(msgspec.Struct, frozen=True):
    media_type: str
    plain: bytes
    #: By gzip; None where that makes it no smaller.
    small: bytes | None


@cache
def static_mark() -> str:
    """A name for the whole of static files: another release has another, so browsers may keep them for ever."""
    digest = hashlib.sha256()
    for name, file in sorted(_files().items()):
        digest.update(name.encode())
        digest.update(file.plain)
    return digest.hexdigest()[:12]


def static(name: str) -> str:
    """The address of a static file. Modules find each other by relative addresses."""
    return f"/static/{static_mark()}/{name}"


@cache
def _files() -> Mapping[str, _File]:
    """Every file by its name, as it goes out. Takes some tenths of a second of one processor."""
    return {path.relative_to(STATIC).as_posix(): _read(path) for path in STATIC.rglob("*") if path.is_file()}


def _read(path: Path) -> _File:
    plain = path.read_bytes()
    small = gzip.compress(plain, mtime=0)
    media_type = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    return _File(media_type, plain, small if len(small) < len(plain) else None)


@get("/static/{mark:str}/{name:path}", opt={"as_it_is": True})
async def static_file(request: Request[Any, Any, Any], mark: FromPath[str], name: FromPath[str]) -> Response[bytes]:
    """A file of this release, to be kept for ever; those of others are not here."""
    file = _files().get(str(name).removeprefix("/"))
    if file is None or mark != static_mark():
        raise NotFoundException
    headers = {"Cache-Control": "public, max-age=31536000, immutable", "Vary": "Accept-Encoding"}
    if file.small is None or "gzip" not in request.headers.get("accept-encoding", ""):
        return Response(file.plain, media_type=file.media_type, headers=headers)
    return Response(file.small, media_type=file.media_type, headers=headers | {"Content-Encoding": "gzip"})
