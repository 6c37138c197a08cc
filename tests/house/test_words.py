"""What the pages say is said in both languages."""

import re
import sys
from pathlib import Path
from typing import Any

import pytest
from babel.messages.pofile import read_po


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


def _strings(message: Any) -> tuple[str, ...]:
    return message.string if isinstance(message.string, tuple) else (message.string,)
