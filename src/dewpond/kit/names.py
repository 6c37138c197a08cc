"""Names as people write them, of people and of shops."""

import unicodedata
from typing import Final

#: What joins letters and pictures into one, and is part of many names.
_JOINERS: Final = frozenset("\u200c\u200d")
#: Controls, formats such as a turned reading direction, half characters, private use, unassigned, line breaks.
_UNREADABLE: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
#: Letters by their category that show nothing: Hangul fillers, and Braille without a dot.
_BLANK: Final = frozenset("\u115f\u1160\u2800\u3164\uffa0")


def is_name(text: str, *, most: int = 64) -> bool:
    """Whether a text can stand as a name: 1 to `most` characters, all of which show and none of which hides others."""
    return 1 <= len(text) <= most and all(
        letter in _JOINERS or (unicodedata.category(letter) not in _UNREADABLE and letter not in _BLANK)
        for letter in text
    )
