"""What the pages say is said in both languages, and so is every refusal a page can meet."""

import importlib
import pkgutil
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import pytest
from babel.messages.pofile import read_po

from dewpond.kit.failures import Failure
from dewpond.web.failures import SENTENCES

#: Where refusals come from that a page can meet: the rooms below the pages, and the pages.
ROOMS: Final = ("kit", "ledger", "identity", "merchants", "pay", "reservoir", "openplatform", "web")

_AT_THE_START: Final = "met by whoever starts a world or changes its doors, at the terminal"
_BY_THE_WORKER: Final = "met on the way to a merchant's server; pages show what was written down of it"
_NOTHING_POSTED: Final = "pages read the ledger; what is posted and held there is other rooms' doing"
#: Refusals that no page tells, and why.
UNTOLD: Final[Mapping[str, str]] = {
    "dewpond.kit.migrations.RoleMissing": _AT_THE_START,
    "dewpond.kit.migrations.SchemaBlocked": _AT_THE_START,
    "dewpond.kit.migrations.SchemaNewer": _AT_THE_START,
    "dewpond.kit.worlds.DoorsUnsafe": _AT_THE_START,
    "dewpond.kit.worlds.NotDurable": _AT_THE_START,
    "dewpond.kit.http.Unreachable": _BY_THE_WORKER,
    "dewpond.kit.addresses.AddressRefused": _BY_THE_WORKER,
    "dewpond.kit.addresses.UrlRefused": _BY_THE_WORKER,
    "dewpond.kit.crypto.CiphertextInvalid": _BY_THE_WORKER,
    "dewpond.ledger.entries.EntryNotFound": _NOTHING_POSTED,
    "dewpond.ledger.entries.EntryAlreadyReversed": _NOTHING_POSTED,
    "dewpond.ledger.holds.HoldNotFound": _NOTHING_POSTED,
    "dewpond.ledger.holds.HoldEnded": _NOTHING_POSTED,
    "dewpond.kit.ids.IdInvalid": "answered as what does not exist",
    "dewpond.web.sites._SignInFirst": "answered with the way to the sign-in",
}


@pytest.fixture(scope="module")
def words(root: Path) -> Any:
    sys.path.insert(0, str(root / "scripts"))
    try:
        import catalogue
    finally:
        sys.path.pop(0)
    return catalogue


def held(words: Any) -> dict[Any, Any]:
    with words.CATALOGUE.open("rb") as file:
        return {message.id: message for message in read_po(file, locale="zh_CN") if message.id}


def test_every_sentence_has_its_chinese_and_no_other_is_kept(words: Any) -> None:
    """`python scripts/catalogue.py` writes down what is new; somebody then says it in Chinese."""
    said = {message.id for message in words.sentences() if message.id}
    known = held(words)
    assert sorted(map(str, said - set(known))) == []
    assert sorted(map(str, set(known) - said)) == []
    untold = [message_id for message_id, message in known.items() if not all(_strings(message)) or message.fuzzy]
    assert untold == []


def test_translations_keep_what_is_filled_in(words: Any) -> None:
    wrong = []
    for message_id, message in held(words).items():
        ids = message_id if isinstance(message_id, tuple) else (message_id,)
        wanted = set(re.findall(r"%\(\w+\)[sd]|%%|\{\w+\}", ids[-1]))
        for string in _strings(message):
            given = set(re.findall(r"%\(\w+\)[sd]|%%|\{\w+\}", string))
            if not (given <= wanted and (given == wanted or isinstance(message_id, tuple))):
                wrong.append((message_id, string))
    assert wrong == []


def test_every_refusal_that_a_page_can_meet_has_its_sentence() -> None:
    """A refusal's own message is English and may tell more than a visitor should read: pages have a table."""
    for room in ROOMS:
        package = importlib.import_module(f"dewpond.{room}")
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            importlib.import_module(module.name)
    inside = tuple(f"dewpond.{room}." for room in ROOMS)
    met = {_name(one) for one in _kinds_of(Failure) if one.__module__.startswith(inside)}
    told = {_name(one) for one in SENTENCES}
    assert sorted(met - told - set(UNTOLD)) == [], "these need a sentence in web/failures.py"
    assert sorted(set(UNTOLD) & told) == [], "these have a sentence: they are not untold"
    assert sorted((set(UNTOLD) | told) - met) == [], "these are no refusals any more"


def _kinds_of(kind: type[Failure]) -> Iterator[type[Failure]]:
    for one in kind.__subclasses__():
        yield one
        yield from _kinds_of(one)


def _name(kind: type[Failure]) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _strings(message: Any) -> tuple[str, ...]:
    return message.string if isinstance(message.string, tuple) else (message.string,)
