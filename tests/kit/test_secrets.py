"""Master keys: the file, and what is sealed with them."""

import os
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dewpond.kit.secrets import (
    KeyFileUnusable,
    MasterKeys,
    MasterKeyUnknown,
    SecretUnreadable,
    add_key,
)

ONE = MasterKeys({"k1": b"\x01" * 32})
TWO = MasterKeys({"k1": b"\x01" * 32, "k2": b"\x02" * 32})
LINE = "k1:" + "A" * 43 + "=\n"


def ids(path: Path) -> list[str]:
    """Names of the keys in a file, oldest first."""
    return [line.partition(":")[0] for line in path.read_text().splitlines()]


def key_file(tmp_path: Path, text: str, mode: int = 0o600) -> Path:
    path = tmp_path / "master.keys"
    path.write_text(text)
    path.chmod(mode)
    return path


# --- sealing ----------------------------------------------------------------------------------------------------------


@given(st.binary(max_size=300), st.text(st.characters(codec="utf-8")), st.text(st.characters(codec="utf-8")))
def test_what_is_sealed_opens_in_its_own_place(plaintext: bytes, table: str, row: str) -> None:
    assert ONE.unseal(ONE.seal(plaintext, table=table, row=row), table=table, row=row) == plaintext


@pytest.mark.parametrize(
    ("_case", "table", "row"),
    [
        ("another row", "merchants.api_keys", "2"),
        ("another table", "merchants.certificates", "1"),
        ("the border moved", "merchants.api_keys1", ""),
        ("the border moved the other way", "merchants.api_key", "s1"),
    ],
)
def test_a_secret_moved_to_another_place_does_not_open(_case, table, row) -> None:
    sealed = ONE.seal(b"secret", table="merchants.api_keys", row="1")
    with pytest.raises(SecretUnreadable, match="moved"):
        ONE.unseal(sealed, table=table, row=row)


def test_no_byte_of_a_ciphertext_may_change() -> None:
    sealed = ONE.seal(b"secret", table="t", row="1")
    for at in range(len(sealed)):
        altered = bytearray(sealed)
        altered[at] ^= 0x01
        with pytest.raises((SecretUnreadable, MasterKeyUnknown)):
            ONE.unseal(bytes(altered), table="t", row="1")
        with pytest.raises(SecretUnreadable):
            ONE.unseal(sealed[:at], table="t", row="1")


def test_the_same_secret_never_looks_the_same_and_never_shows() -> None:
    first, second = (ONE.seal(b"secret" * 9, table="t", row="1") for _ in range(2))
    assert first != second
    assert b"secret" not in first


def test_older_keys_open_and_the_newest_seals() -> None:
    old = ONE.seal(b"secret", table="t", row="1")
    assert TWO.current_id == "k2"
    assert TWO.unseal(old, table="t", row="1") == b"secret"
    assert TWO.needs_reseal(old)
    fresh = TWO.seal(b"secret", table="t", row="1")
    assert not TWO.needs_reseal(fresh)
    with pytest.raises(MasterKeyUnknown, match="k2"):
        ONE.unseal(fresh, table="t", row="1")


def test_a_key_of_the_same_name_but_another_content_does_not_open() -> None:
    with pytest.raises(SecretUnreadable):
        MasterKeys({"k1": b"\x09" * 32}).unseal(ONE.seal(b"x", table="t", row="1"), table="t", row="1")


def test_what_is_derived_belongs_to_its_purpose_and_its_key_and_survives_rotation() -> None:
    pin = ONE.derive("pin", "k1")
    assert len(pin) == 32
    assert TWO.derive("pin", "k1") == pin
    assert len({pin, TWO.derive("pin", "k2"), ONE.derive("cookie", "k1"), b"\x01" * 32}) == 4
    with pytest.raises(MasterKeyUnknown, match="k3"):
        TWO.derive("pin", "k3")


def test_what_is_derived_stays_what_it_was() -> None:
    """PINs were verified with this: another value here would lock everybody out."""
    assert ONE.derive("pin", "k1").hex() == "91e318ec59dcaf2fd6687e9b81db72a1a0fcf10f8bdcee9e59c1659c097cc119"


def test_keys_are_not_printed() -> None:
    assert repr(TWO) == "MasterKeys(current='k2', known=2)"


# --- the file ---------------------------------------------------------------------------------------------------------


def test_a_new_file_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "etc" / "dewpond" / "master.keys"
    made = MasterKeys.create(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert {folder.stat().st_mode & 0o777 for folder in (path.parent, path.parent.parent)} == {0o700}
    sealed = made.seal(b"secret", table="t", row="1")
    assert MasterKeys.load(path).unseal(sealed, table="t", row="1") == b"secret"


def test_a_file_that_exists_is_not_touched(tmp_path: Path) -> None:
    path = key_file(tmp_path, LINE)
    with pytest.raises(KeyFileUnusable, match="exists"):
        MasterKeys.create(path)
    assert path.read_text() == LINE


def test_a_crash_while_a_file_is_made_leaves_none_or_a_whole_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "master.keys"

    def power_cut(_: int) -> None:
        raise OSError("the lights go out")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", power_cut)
        with pytest.raises(OSError, match="lights"):
            MasterKeys.create(path)
    assert not path.exists()
    assert MasterKeys.create(path).current_id == "k1"
    assert [entry.name for entry in tmp_path.iterdir()] == ["master.keys"]


def test_of_many_who_make_a_file_one_does_and_nobody_sees_half_of_it(tmp_path: Path) -> None:
    path = tmp_path / "master.keys"
    sealed: list[bytes] = []

    def make_or_take() -> None:
        try:
            keys = MasterKeys.create(path)
        except KeyFileUnusable:
            keys = MasterKeys.load(path)
        sealed.append(keys.seal(b"secret", table="t", row="1"))

    threads = [threading.Thread(target=make_or_take) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [MasterKeys.load(path).unseal(one, table="t", row="1") for one in sealed] == [b"secret"] * 16


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o666, 0o610, 0o777], ids=oct)
def test_a_file_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    with pytest.raises(KeyFileUnusable, match="chmod 600"):
        MasterKeys.load(key_file(tmp_path, LINE, mode))


@pytest.mark.parametrize(
    ("_case", "text"),
    [
        ("empty", ""),
        ("only a remark", "# nothing\n"),
        ("no id", "A" * 43 + "=\n"),
        ("short key", "k1:AAAA\n"),
        ("half a line", LINE[:-10]),
        ("a name twice", LINE + LINE),
        ("another alphabet", "k1:" + "-" * 43 + "=\n"),
        ("key zero", LINE.replace("k1", "k0")),
        ("a picture", "\x89PNG"),
        ("endless", LINE * 2000),
    ],
)
def test_a_file_not_in_form_is_refused_and_not_quoted(tmp_path: Path, _case: str, text: str) -> None:
    with pytest.raises(KeyFileUnusable) as refusal:
        MasterKeys.load(key_file(tmp_path, text))
    assert "AAAA" not in str(refusal.value)


def test_blank_lines_and_remarks_are_let_be(tmp_path: Path) -> None:
    assert MasterKeys.load(key_file(tmp_path, f"# the world's keys\n\n{LINE}\n")).current_id == "k1"


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    for path in (tmp_path / "missing", tmp_path, tmp_path / "pipe"):
        with pytest.raises(KeyFileUnusable):
            MasterKeys.load(path)


def test_rotation_adds_a_key_and_keeps_the_old_ones(tmp_path: Path) -> None:
    path = tmp_path / "master.keys"
    sealed = MasterKeys.create(path).seal(b"secret", table="t", row="1")
    assert add_key(path) == "k2"
    rotated = MasterKeys.load(path)
    assert ids(path) == ["k1", "k2"]
    assert rotated.current_id == "k2"
    assert rotated.needs_reseal(sealed)
    assert rotated.unseal(sealed, table="t", row="1") == b"secret"
    assert path.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["master.keys"]


def test_rotation_survives_what_a_crash_left_behind_and_a_missing_last_newline(tmp_path: Path) -> None:
    path = key_file(tmp_path, LINE.rstrip("\n"))
    (tmp_path / "master.keys.new").write_text("half a li")
    assert add_key(path) == "k2"
    assert ids(path) == ["k1", "k2"]
    assert MasterKeys.load(path).current_id == "k2"


def test_rotation_follows_a_link_to_the_real_file(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    path = key_file(tmp_path / "real", LINE)
    link = tmp_path / "master.keys"
    link.symlink_to(path)
    add_key(link)
    assert link.is_symlink()
    assert ids(path) == ["k1", "k2"]
    assert MasterKeys.load(path).current_id == "k2"


def test_rotations_at_once_lose_no_key(tmp_path: Path) -> None:
    path = tmp_path / "master.keys"
    MasterKeys.create(path)
    threads = [threading.Thread(target=add_key, args=(path,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ids(path) == [f"k{number}" for number in range(1, 10)]
    assert MasterKeys.load(path).current_id == "k9"


def test_rotation_refuses_a_file_it_could_not_load(tmp_path: Path) -> None:
    with pytest.raises(KeyFileUnusable):
        add_key(tmp_path / "missing" / "master.keys")
    with pytest.raises(KeyFileUnusable):
        add_key(key_file(tmp_path, LINE, 0o644))


# --- rotation under those who live through it -------------------------------------------------------------------------


def test_who_meets_a_new_key_finds_it_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "master.keys"
    server, verifier = MasterKeys.create(path), MasterKeys.load(path)
    add_key(path)
    rotated = MasterKeys.load(path)
    fresh = rotated.seal(b"secret", table="t", row="1")
    assert server.unseal(fresh, table="t", row="1") == b"secret"
    assert server.current_id == "k2"  # what it seals from now on
    assert not rotated.needs_reseal(server.seal(b"secret", table="t", row="1"))
    assert verifier.derive("pin", "k2") == rotated.derive("pin", "k2")


def test_an_unknown_key_costs_no_read_while_the_file_is_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "master.keys"
    keys = MasterKeys.create(path)
    opened: list[Path] = []
    really = os.open

    def counting(name: Path, flags: int, mode: int = 0o777) -> int:
        opened.append(name)
        return really(name, flags, mode)

    monkeypatch.setattr(os, "open", counting)
    foreign = TWO.seal(b"secret", table="t", row="1")
    for _ in range(50):
        with pytest.raises(MasterKeyUnknown):
            keys.unseal(foreign, table="t", row="1")
    assert opened == []
    path.write_text("k1:half a li")
    for _ in range(50):
        with pytest.raises(MasterKeyUnknown):
            keys.unseal(foreign, table="t", row="1")
    assert opened == [path]  # once it has changed


def test_a_file_that_cannot_be_used_any_more_takes_no_key_away(tmp_path: Path) -> None:
    path = tmp_path / "master.keys"
    keys = MasterKeys.create(path)
    sealed = keys.seal(b"secret", table="t", row="1")
    path.write_text("k1:half a li")
    with pytest.raises(MasterKeyUnknown):
        keys.derive("pin", "k7")
    path.unlink()
    with pytest.raises(MasterKeyUnknown):
        keys.derive("pin", "k7")
    assert keys.unseal(sealed, table="t", row="1") == b"secret"
