"""Mistakes: what a client may have signed in place of what it sent, and which of them it was.

A digest recovered from a signature makes guessing cheap and certain: one hash for each guess, and a hit is a proof.
Single mistakes are tried first, then two at once. The list grows with the clients we meet.
"""

import base64
import contextlib
import hashlib
import json
import re
from collections.abc import Callable, Iterator
from itertools import combinations
from typing import Any, Final
from urllib.parse import quote, unquote_to_bytes, urlencode

import msgspec

#: The lines of the text that is signed, in their order.
LINES: Final = ("method", "target", "timestamp", "nonce", "body")

_PAIRS_LIMIT: Final = 4 * 1024  # bytes of body up to which two mistakes at once are looked for
_JSON_LIMIT: Final = 16 * 1024
_API_HOSTS: Final = ("api.mch.weixin.qq.com", "api.wechatpay.cn")


class Mistake(msgspec.Struct, frozen=True):
    """One mistake that may have been made: the line, a stable name, a sentence, and what the line was then."""

    line: str
    cause: str
    problem: str
    value: bytes


Frame = Callable[[list[bytes]], bytes]


def join_lines(parts: list[bytes]) -> bytes:
    """The text that is signed: each line ended by a newline, the last one too."""
    return b"".join(part + b"\n" for part in parts)


_FRAMES: Final[dict[str, tuple[str, Frame]]] = {
    "no_final_newline": ("the last line lacks its newline", lambda p: b"\n".join(p)),
    "crlf": ("lines end with CR LF instead of LF", lambda p: b"".join(part + b"\r\n" for part in p)),
    "literal_backslash_n": ("lines end with a backslash and an n", lambda p: b"".join(part + rb"\n" for part in p)),
    "no_newlines": ("the lines are joined without newlines", lambda p: b"".join(p)),
    "timestamp_nonce_swapped": (
        "nonce and timestamp have changed places",
        lambda p: join_lines([p[0], p[1], p[3], p[2], p[4]]),
    ),
    "callback_form": (
        "signed like an answer or a callback: timestamp, nonce and body only",
        lambda p: join_lines(p[2:]),
    ),
}


def find_mistakes(
    ours: list[bytes], accepted: list[bytes], digest: bytes, hash_name: str, *, host: str, wire_body: bytes | None
) -> list[Mistake] | None:
    """The mistakes that lead to this digest: none, one or two of them; None when no guess does.

    `accepted` are the texts that would have been right, the first of them made of the lines `ours`.
    """

    def hits(message: bytes) -> bool:
        return hashlib.new(hash_name, message, usedforsecurity=False).digest() == digest

    if any(map(hits, accepted)):
        return []
    for message in accepted:
        once = hashlib.new(hash_name, message, usedforsecurity=False)
        for twice in (once.digest(), once.hexdigest().encode(), base64.b64encode(once.digest())):
            if hits(twice):
                return [Mistake("message", "hashed_twice", "the hash was signed, which signing hashes again", twice)]
    mistakes = [*_part_mistakes(ours, host=host, wire_body=wire_body)]
    mistakes += [Mistake("message", cause, problem, b"") for cause, (problem, _) in _FRAMES.items()]
    for mistake in mistakes:
        if hits(message := _mistaken(ours, mistake)):
            return [_told(mistake, message)]
    if len(ours[-1]) > _PAIRS_LIMIT:
        return None
    for first, second in combinations(mistakes, 2):
        if first.line != second.line and hits(message := _mistaken(ours, first, second)):
            return [_told(first, message), _told(second, message)]
    return None


def _mistaken(ours: list[bytes], *mistakes: Mistake) -> bytes:
    parts = list(ours)
    frame: Frame = join_lines
    for mistake in mistakes:
        if mistake.line == "message":
            frame = _FRAMES[mistake.cause][1]
        else:
            parts[LINES.index(mistake.line)] = mistake.value
    return frame(parts)


def _told(mistake: Mistake, message: bytes) -> Mistake:
    """A mistake of the whole text shows the whole text."""
    return msgspec.structs.replace(mistake, value=message) if mistake.line == "message" else mistake


def _part_mistakes(ours: list[bytes], *, host: str, wire_body: bytes | None) -> Iterator[Mistake]:
    """Every mistake of a single line worth trying, once per value."""
    method, target, timestamp, nonce, body = ours
    guesses = {
        "method": _method_guesses(method),
        "target": _target_guesses(target, host),
        "timestamp": _timestamp_guesses(int(timestamp)),
        "nonce": [
            ("nonce_case", "the nonce is in the other case", changed) for changed in (nonce.lower(), nonce.upper())
        ],
        "body": _body_guesses(body, target, wire_body),
    }
    for line, part in zip(LINES, ours, strict=True):
        seen = {part}
        for cause, problem, value in guesses[line]:
            if value not in seen:
                seen.add(value)
                yield Mistake(line, cause, problem, value)


Guesses = Iterator[tuple[str, str, bytes]]


def _method_guesses(method: bytes) -> Guesses:
    yield "method_case", "the method is not in upper case", method.lower()
    yield "method_case", "the method is not in upper case", method.capitalize()
    for other in (b"GET", b"POST", b"PUT", b"PATCH", b"DELETE"):
        yield "method_other", "another method was signed than sent", other


def _timestamp_guesses(timestamp: int) -> Guesses:
    yield "timestamp_milliseconds", "the timestamp signed is in milliseconds", b"%d000" % timestamp
    for seconds in (1, -1, 2, -2, 3, -3):
        yield "timestamp_twice", "the timestamp was taken twice: signed and sent differ", b"%d" % (timestamp + seconds)
    for hours in (8, -8):
        yield "timestamp_zone", "the timestamp signed is shifted by eight hours", b"%d" % (timestamp + hours * 3600)


def _target_guesses(target: bytes, host: str) -> Guesses:
    path, mark, query = target.partition(b"?")
    yield "target_without_query", "the query string is missing from the target", path
    yield "target_without_query", "the ? without a query", path + b"?"
    for name in dict.fromkeys(filter(None, (host, *_API_HOSTS))):
        for prefix in (f"https://{name}", f"http://{name}", name):
            url = prefix.encode() + target
            yield "target_full_url", "the full URL was signed; only path and query are", url
            yield "target_full_url", "the full URL was signed, and without the query", url.partition(b"?")[0]
    yield "target_decoded", "the target was signed unescaped", unquote_to_bytes(target)
    yield "target_decoded", "the target was signed unescaped", unquote_to_bytes(target.replace(b"+", b" "))
    for safe in ("/?&=%", "/?&=%:@", "/?&=%:@|*,!"):
        yield "target_encoded", "the target was signed with more escapes than sent", quote(target, safe=safe).encode()
    for case in (bytes.upper, bytes.lower):
        changed = re.sub(rb"%[0-9A-Fa-f]{2}", lambda found: case(found[0]), target)  # noqa: B023 - used at once
        yield "target_escape_case", "escapes are in the other case", changed
    yield "target_blanks", "a blank was signed as %20 and sent as +", target.replace(b"+", b"%20")
    yield "target_blanks", "a blank was signed as + and sent as %20", target.replace(b"%20", b"+")
    yield (
        "target_query_order",
        "the query was sorted before signing",
        path + mark + b"&".join(sorted(query.split(b"&"))),
    )
    yield "target_slash", "the target was signed without its first /", target[1:]
    yield "target_slash", "the target was signed with a / at the end of its path", path + b"/" + mark + query
    yield "target_slash", "the target was signed without the / at its end", path.rstrip(b"/") + mark + query
    yield "target_prefix", "the first part of the path was left out", b"/" + target[1:].partition(b"/")[2]
    yield "target_prefix", "/v3 stands twice in the target signed", b"/v3" + target


def _body_guesses(body: bytes, target: bytes, wire_body: bytes | None) -> Guesses:
    yield "body_empty", "no body was signed, though one was sent", b""
    if wire_body is not None:
        yield "body_whole_upload", "the whole upload was signed; only its meta part is", wire_body
    for text in (b"{}", b"null", b"undefined", b"None", b'""', b"[]"):
        yield "body_placeholder", "a placeholder was signed for the body", text
    yield "body_is_query", "the query string was signed as the body", target.partition(b"?")[2]
    yield "body_blank_ends", "blanks or a newline at an end of the body differ", body.strip()
    yield "body_blank_ends", "there is one newline too many at the end", body + b"\n"
    yield "body_line_ends", "line ends inside the body differ", body.replace(b"\r\n", b"\n")
    yield "body_line_ends", "line ends inside the body differ", body.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    yield "body_bom", "a byte order mark at the start of the body", body.removeprefix(b"\xef\xbb\xbf")
    yield "body_hashed", "a hash of the body was signed in its place", hashlib.sha256(body).hexdigest().encode()
    yield "body_charset", "its UTF-8 bytes were read as latin-1 before signing", body.decode("latin-1").encode()
    try:
        text_body = body.decode()
    except UnicodeDecodeError:
        return
    for charset in ("gbk", "ascii", "utf-16-le"):
        problem = f"the body was signed in {charset} instead of UTF-8"
        yield "body_charset", problem, text_body.encode(charset, "replace")
    if len(body) <= _JSON_LIMIT:
        with contextlib.suppress(ValueError, RecursionError):  # not JSON, or nested beyond what can be written
            yield from list(_json_guesses(text_body))


def _json_guesses(text: str) -> Guesses:
    """The same JSON as other libraries and other settings write it."""
    value: Any = json.loads(text)
    problem = "the body was signed as JSON written differently from what was sent"
    for ascii_only in (False, True):
        where = "non-ASCII escaped" if ascii_only else "non-ASCII as it is"
        for in_order in (False, True):
            order = ", keys sorted" if in_order else ""
            for style, options in _JSON_STYLES.items():
                written = json.dumps(value, ensure_ascii=ascii_only, sort_keys=in_order, **options)
                for escapes, escape in _JSON_ESCAPES.items():
                    told = f"{problem} ({style}, {where}{order}{escapes})"
                    changed = escape(written).encode("utf-8", "surrogatepass")
                    yield "body_rewritten", told, changed
                    yield "body_rewritten", f"{told}, and a newline after it", changed + b"\n"
    yield (
        "body_rewritten",
        "the body was signed as Python prints it, not as JSON",
        str(value).encode("utf-8", "replace"),
    )
    yield "body_quoted", "the body was made JSON twice", json.dumps(text, ensure_ascii=False).encode()
    if isinstance(value, dict):
        yield "body_form", "the body was signed as a form, not as JSON", urlencode(value).encode("utf-8", "replace")


_JSON_STYLES: Final[dict[str, dict[str, Any]]] = {
    "compact": {"separators": (",", ":")},
    "blanks after comma and colon": {},
    "indented by 2": {"indent": 2},
    "indented by 4": {"indent": 4},
}
_JSON_ESCAPES: Final[dict[str, Callable[[str], str]]] = {
    "": str,
    ", slashes escaped": lambda text: text.replace("/", "\\/"),
    ", & < > escaped": lambda text: text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e"),
}
