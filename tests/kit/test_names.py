"""Names: what people are called, and nothing that only pretends to be a name."""

import pytest

from dewpond.kit.names import is_name


@pytest.mark.parametrize(
    ("_case", "text", "is_one"),
    [
        ("plain", "Alice", True),
        ("Chinese", "小梅", True),
        ("with marks", "Zoë Ångström", True),
        ("a family of one picture", "👨‍👩‍👧", True),
        ("the longest", "x" * 64, True),
        ("too long", "x" * 65, False),
        ("nothing", "", False),
        ("a line break", "Ali\nce", False),
        ("an escape", "\x1b[31mAlice", False),
        ("a turned direction", "Alice\u202egnp", False),
        ("half a character", "\ud800", False),
        ("a line separator", "Ali\u2028ce", False),
        ("a filler that shows nothing", "\u3164", False),
        ("Braille without a dot", "Al\u2800ice", False),
    ],
)
def test_a_name_shows_what_it_is(_case: str, text: str, is_one: bool) -> None:
    assert is_name(text) is is_one
