"""Posters: a printed code as a picture of its own, A5, for a printer's shop."""

import re
import unicodedata
from collections.abc import Sequence
from typing import Final

import msgspec

from dewpond.web.pages import render
from dewpond.web.qr import qr_code

#: The poster's unit is a tenth of a millimetre: A5 is 1480 by 2100.
_WIDTH: Final = 1480
_TEXT_WIDTH: Final = 1200
#: How large a shop's name is set, and on how many lines at most; the first that fits.
_NAME_SIZES: Final = ((150, 1), (124, 2), (100, 2), (80, 3), (64, 4), (52, 5))
_TITLE_SIZES: Final = ((56, 1), (44, 2), (38, 4))
_LINK_SIZES: Final = ((30, 1), (24, 2), (20, 3))
#: What of its height a line takes.
_LINE: Final = 1.18

#: Letters by how wide they are set, in the height of the type; without the fonts a guess, and rather too wide.
_NARROW: Final = frozenset("fijlrtI.,:;'!|()[]·- ")
_BROAD: Final = frozenset("mwMWQO@%&")
_WORDS: Final = re.compile(r"\S+\s*|\s+")


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """A text as it is set on a poster."""

    size: int
    lines: tuple[str, ...]

    @property
    def line_height(self) -> int:
        return round(self.size * _LINE)


def draw_poster(shop: str, title: str, link: str) -> str:
    """An SVG document that needs nothing besides, whatever shop and title are called."""
    code = qr_code(link, for_paper=True)
    size = code.symbol_size(border=0)[0]
    dark = [f"M{x} {y}h1v1h-1z" for y, row in enumerate(code.matrix) for x, is_dark in enumerate(row) if is_dark]
    return render(
        "console/poster.svg",
        shop=shop,
        title=title,
        link=link,
        name=fit(shop, _NAME_SIZES),
        title_lines=fit(title, _TITLE_SIZES),
        link_lines=fit(link, _LINK_SIZES),
        middle=_WIDTH // 2,
        modules=size,
        path="".join(dark),
    )


def fit(text: str, sizes: tuple[tuple[int, int], ...]) -> Setting:
    """Set a text in the largest size in which it takes no more lines than that size may have; at its blanks, where that
    suffices."""
    for size, most in sizes:
        for pieces in (_WORDS.findall(text), _pieces(text)):
            lines = _break(pieces, _TEXT_WIDTH / size)
            if len(lines) <= most:
                return Setting(size=size, lines=tuple(lines))
    return Setting(size=sizes[-1][0], lines=tuple(lines))


def _break(pieces: Sequence[str], width: float) -> list[str]:
    """Lay pieces into lines of this many heights of their type; one that is too long for a line is cut."""
    lines, line = [], ""
    for piece in pieces:
        if line and _length(line + piece.rstrip()) > width:
            lines.append(line.rstrip())
            line = ""
        while _length(piece.rstrip()) > width:
            head = next(
                n for n in range(len(piece), 0, -1) if n == 1 or (_is_joint(piece, n) and _length(piece[:n]) <= width)
            )
            lines.append(piece[:head])
            piece = piece[head:]
        line = line + piece if line else piece.lstrip()
    return [*lines, line.rstrip()] if line.strip() or not lines else lines


def _pieces(text: str) -> list[str]:
    """What stays together: words with the blank behind them, and single signs of scripts that need no blanks."""
    pieces: list[str] = []
    for at, letter in enumerate(text):
        follows = (
            pieces
            and not pieces[-1].endswith(" ")
            and not (_is_joint(text, at) and (_is_wide(letter) or _is_wide(text[at - 1])))
        )
        if follows:
            pieces[-1] += letter
        else:
            pieces.append(letter)
    return pieces


def _is_joint(text: str, at: int) -> bool:
    """Whether a text may be cut before this letter: not before what belongs to the one before it."""
    letter = text[at : at + 1] or " "
    is_closing = unicodedata.category(letter) in {"Pe", "Pf", "Po"}
    return text[at - 1] != "\u200d" and not _is_mark(letter) and not is_closing


def _is_mark(letter: str) -> bool:
    return unicodedata.category(letter) in {"Mn", "Me", "Mc", "Sk", "Cf"}


def _is_wide(letter: str) -> bool:
    return unicodedata.east_asian_width(letter) in {"W", "F"}


def _length(text: str) -> float:
    """How long a text is, in heights of its type."""
    return sum(_letter_width(letter) for letter in text)


def _letter_width(letter: str) -> float:
    if _is_mark(letter):
        return 0.0
    if _is_wide(letter):
        return 1.0
    if letter in _NARROW:
        return 0.4
    if letter in _BROAD:
        return 0.98
    return 0.74 if letter.isupper() else 0.64
