"""What a person reads: lines and tables in which foreign text is text and nothing else.

Names, descriptions, addresses and answers come from outside. Here none of them is markup, a link, a command to the
terminal or a line break: styles are given beside a text, never in it, and what does not show is written out (`\\x1b`).
"""

import sys
import unicodedata
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from rich.text import Text

#: A text, or a text and our own style for it.
Part = str | tuple[str, str]
#: What stands in a table: a part, or several under each other.
Cell = Part | list[str]

#: Joiners are part of many names and pictures.
_SHOWN: Final = frozenset("\u200c\u200d")
#: Controls, formats such as a turned reading direction, half characters, line breaks.
_HIDDEN: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
#: A table on something that is no terminal.
_WIDTH: Final = 160


def plain(text: str) -> str:
    """The text with everything written out that does not show, or would do something to a terminal."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        letter.encode("unicode_escape").decode()
        if letter not in _SHOWN and unicodedata.category(letter) in _HIDDEN
        else letter
        for letter in text
    )


def short(text: str, most: int = 64) -> str:
    """The text, or its beginning if it is long: for sentences that quote it."""
    return text if len(text) <= most else text[: most - 1] + "…"


def _text(*parts: Part) -> "Text":
    from rich.text import Text

    made = Text()
    for part in parts:
        text, style = (part, "") if isinstance(part, str) else part
        made.append(plain(text), style or None)
    return made


class Rows:
    """A table in the house's dress; a heading that begins with `>` is a column of figures."""

    def __init__(self, *headings: str) -> None:
        from rich import box
        from rich.table import Table

        self.table = Table(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False)
        for heading in headings:
            figures = heading.startswith(">")
            self.table.add_column(
                _text(heading.removeprefix(">")), justify="right" if figures else "left", overflow="fold"
            )

    def add_row(self, *cells: Cell) -> None:
        """One row; a list of texts stands on as many lines."""
        from rich.text import Text

        self.table.add_row(
            *(
                Text("\n").join([_text(line) for line in cell]) if isinstance(cell, list) else _text(cell)
                for cell in cells
            )
        )


class Paper:
    """Where a person reads; plain text where stdout is not a terminal."""

    def __init__(self) -> None:
        from rich.console import Console

        class _Console(Console):
            def on_broken_pipe(self) -> None:
                raise BrokenPipeError  # who asked knows what is done by now; the library would end the process with 1

        width = None if sys.stdout.isatty() else _WIDTH
        self._console = _Console(highlight=False, markup=False, emoji=False, width=width)

    def print(self, *parts: Part) -> None:
        """One line, of parts that are written one behind the other."""
        self._console.print(_text(*parts), soft_wrap=True)

    @property
    def width(self) -> int:
        """How many letters a line holds."""
        return self._console.width

    def print_rows(self, rows: Rows) -> None:
        """A table."""
        self._console.print(rows.table)
