"""Languages and refusals: what a visitor reads, and what nobody should."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from dewpond.kit.failures import Failure, Kind
from dewpond.web import failures, words
from dewpond.web.words import Language


@pytest.fixture
def chinese() -> Iterator[None]:
    words.speak(Language.CHINESE)
    yield
    words.speak(Language.ENGLISH)


@pytest.mark.parametrize(
    ("accepted", "language"),
    [
        ("zh;q=0", Language.ENGLISH),
        ("de, zh;q=0.0", Language.ENGLISH),
        ("en;q=0, zh;q=0.1", Language.CHINESE),
        ("zh;q=-1", Language.ENGLISH),
        ("zh;q=nan", Language.ENGLISH),
        ("en;q=0.3, zh;q=0.5", Language.CHINESE),
        ("*;q=0.5", Language.ENGLISH),
    ],
)
def test_a_language_of_no_weight_is_not_wanted(accepted: str, language: Language) -> None:
    assert words.pick_language(None, accepted) is language


async def test_who_is_turned_away_at_the_porch_is_told_in_their_language(visitors: Any) -> None:
    phone = visitors.stranger("phone")
    for accepted, said in (("zh-CN", "此表单来自别的网站"), ("en", "This form was sent from another site.")):
        headers = {"origin": "https://evil.example", "accept-language": accepted}
        answer = await phone.post("/settings", headers=headers)
        assert answer.status_code == 403
        assert answer.text.startswith(said)
        assert int(answer.headers["content-length"]) == len(answer.content)


@pytest.mark.parametrize("kind", list(Kind))
def test_a_refusal_without_a_sentence_tells_nothing_of_the_inside(kind: Kind, chinese: None) -> None:
    class RowMissing(Failure):
        """The row of table secret.master_keys is missing."""

        code = "row_missing"

    RowMissing.kind = kind
    said = failures.sentence(RowMissing(path="/var/lib"))
    assert "row" not in said
    assert "/var" not in said
    assert said == ("暂时无法完成，是我们的问题。请稍后再试。" if kind is Kind.UNAVAILABLE else "此请求无法执行。")


@pytest.mark.parametrize(
    ("left", "said"),
    [
        (timedelta(hours=24), "24 h 0 min"),
        (timedelta(hours=23, minutes=58, seconds=1), "23 h 59 min"),
        (timedelta(minutes=59), "59 min"),
        (timedelta(milliseconds=1), "1 min"),
    ],
)
def test_what_is_left_is_told_to_the_minute_that_has_begun(left: timedelta, said: str) -> None:
    words.speak(Language.ENGLISH)
    assert words.time_left(left) == said


@pytest.mark.parametrize(("seconds", "said"), [(0, "0:00"), (59, "0:59"), (61, "1:01"), (7_325, "122:05")])
def test_a_countdown_has_minutes_and_two_digits_of_seconds(seconds: int, said: str) -> None:
    assert words.countdown(seconds) == said
