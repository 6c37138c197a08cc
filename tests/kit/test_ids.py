"""Ids: time-ordered inside, prefixed text outside."""

import uuid
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dewpond.kit.ids import IdInvalid, derived_beside, derived_id, from_text, new_id, to_text

prefixes = st.sampled_from(["pay", "rfd", "mch", "per", "dlv"])


@given(prefixes, st.uuids())
def test_an_id_reads_back_from_its_text(prefix: str, value: uuid.UUID) -> None:
    text = to_text(prefix, value)
    assert from_text(prefix, text) == value
    assert len(text) == len(prefix) + 27


@given(st.uuids(), st.uuids())
def test_texts_sort_as_ids_do(one: uuid.UUID, other: uuid.UUID) -> None:
    assert (to_text("pay", one) < to_text("pay", other)) == (one < other)


@pytest.mark.parametrize(
    ("_case", "text"),
    [
        ("nothing", ""),
        ("another prefix", to_text("rfd", uuid.UUID(int=1))),
        ("no prefix", to_text("pay", uuid.UUID(int=1)).removeprefix("pay_")),
        ("one letter short", to_text("pay", uuid.UUID(int=1))[:-1]),
        ("one letter more", to_text("pay", uuid.UUID(int=1)) + "0"),
        ("upper case", to_text("pay", uuid.UUID(int=2**128 - 1)).replace("z", "Z")),
        ("a letter that is no digit", "pay_" + "0" * 25 + "u"),
        ("other digits", "pay_" + "０" * 26),
        ("more than 128 bits", "pay_8" + "0" * 25),
        ("the uuid itself", str(uuid.UUID(int=1))),
        ("a new line at the end", to_text("pay", uuid.UUID(int=1)) + "\n"),
    ],
)
def test_what_is_no_id_is_refused(_case: str, text: str) -> None:
    with pytest.raises(IdInvalid) as refused:
        from_text("pay", text)
    assert refused.value.facts == {"id": text}


@given(st.text(max_size=40))
def test_any_text_is_an_id_or_refused(text: str) -> None:
    with suppress(IdInvalid):
        assert to_text("pay", from_text("pay", text)) == text


def test_new_ids_carry_the_wall_clock_and_sort_by_age() -> None:
    before = datetime.now(UTC)
    ids = [new_id() for _ in range(2000)]
    assert ids == sorted(set(ids))
    assert {(one.version, one.variant) for one in ids} == {(7, uuid.RFC_4122)}
    made = datetime.fromtimestamp((ids[0].int >> 80) / 1000, UTC)
    assert before - timedelta(milliseconds=1) <= made <= datetime.now(UTC)


def test_a_derived_id_is_one_and_the_same_for_its_parts() -> None:
    # written down once: accounts of running worlds are found by these
    assert derived_id("wallet", "CNY") == uuid.UUID("1d552a94-ab15-876a-b7ba-fd4860d2ba61")
    assert derived_id("wallet", "CNY").version == 8
    assert derived_id("wallet", "CNY").variant == uuid.RFC_4122


@given(st.lists(st.lists(st.text("abc", max_size=3), max_size=3).map(tuple), unique=True, max_size=20))
def test_other_parts_have_another_derived_id(parts: list[tuple[str, ...]]) -> None:
    written = {"\x1f".join(one) for one in parts}
    assert len({derived_id(*one) for one in parts}) == len(written)


def test_where_parts_are_cut_matters() -> None:
    assert derived_id("ab", "c") != derived_id("a", "bc")


def test_an_id_derived_beside_another_sorts_with_it_and_is_always_the_same() -> None:
    parent = new_id()
    beside = derived_beside(parent, "payment")
    assert beside == derived_beside(parent, "payment")
    assert beside != derived_beside(parent, "refund")
    assert beside != derived_beside(new_id(), "payment")
    assert beside.int >> 80 == parent.int >> 80
    assert beside.version == 8


def test_the_recipe_of_ids_beside_others_never_changes() -> None:
    parent = uuid.UUID("01890a5d-ac96-774b-bcce-b302099a8057")
    assert derived_beside(parent, "payment") == uuid.UUID("01890a5d-ac96-8d67-9266-787fa5bd0b29")
