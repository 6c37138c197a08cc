"""What an answer will have the next page say."""

import re
from typing import Any

#: A note's name and the mark of its page, as the sites' cookies carry them.
_NOTE = re.compile(r"(?:__Host-)?dewpond-(?:phone|staff)-note=([a-z0-9-]+)\.[0-9a-f]+;")


def note_of(answer: Any) -> str:
    """The name of the note that an answer brings along; empty where it brings none."""
    found = _NOTE.search(", ".join(answer.headers.get_list("set-cookie")))
    return found[1] if found else ""


def onward(answer: Any) -> tuple[int, str, str]:
    """Where an answer leads and what is said there: `(303, "/me", "saved")`."""
    return answer.status_code, answer.headers["location"], note_of(answer)
