"""Secrets at rest: the master keys of a world, and what they seal.

The keys stand in a file outside the data directory, one line each (`k1:<base64 of 32 bytes>`). The last line seals;
the older ones still open, so a key is replaced by adding a line, sealing everything anew (`needs_reseal`), and only
then removing the old line. Processes that live through it read the file again when they meet a key they do not know.
A ciphertext names its key and is bound to its table and row: copied to another row it does not open. Backups must
leave the file out, and a lost file is lost secrets.
"""

import base64
import binascii
import fcntl
import os
import re
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from secrets import token_bytes
from typing import Final, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from dewpond.kit.failures import Failure, Kind

_KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12
_TAG_BYTES: Final = 16
_FORM: Final = 1  # the first byte of every ciphertext: how the rest is laid out
_LINE: Final = re.compile(r"(k[1-9][0-9]{0,5}):([A-Za-z0-9+/]{43}=)")
_LIMIT: Final = 64 * 1024


class KeyFileUnusable(Failure):
    """The file of master keys cannot be used."""

    code, kind = "key_file_unusable", Kind.UNAVAILABLE


class MasterKeyUnknown(Failure):
    """This secret was sealed with a master key that is not in the key file any more."""

    code, kind = "master_key_unknown", Kind.UNAVAILABLE


class SecretUnreadable(Failure):
    """This secret does not open: it was altered, or moved from another table or row."""

    code, kind = "secret_unreadable", Kind.UNAVAILABLE


class _Key:
    """One master key, and what is made of it when it is first needed."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self._derived: dict[str, bytes] = {}

    @cached_property
    def cipher(self) -> AESGCM:
        return AESGCM(_expand(self._raw, b"dewpond seal"))

    def derive(self, purpose: str) -> bytes:
        """32 bytes for one purpose; there are few, and each is asked for with every payment."""
        derived = self._derived.get(purpose)
        if derived is None:
            derived = self._derived[purpose] = _expand(self._raw, b"dewpond derive " + purpose.encode())
        return derived


#: What tells one state of a file from another without reading it.
_Mark = tuple[int, ...]


class MasterKeys:
    """The master keys of one world, oldest first; the last one seals.

    Those of a file look there again when they meet a key they do not know: who added it need not restart anybody.
    """

    def __init__(self, keys: dict[str, bytes]) -> None:
        self._path: Path | None = None
        self._mark: _Mark | None = None
        self._reading = threading.Lock()
        self._take(keys)

    def _take(self, keys: dict[str, bytes]) -> None:
        if not keys or any(len(key) != _KEY_BYTES for key in keys.values()):
            raise ValueError("at least one key, each of 32 bytes")
        # In one assignment: other threads may be sealing.
        self._keys = {name: _Key(key) for name, key in keys.items()}

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a key file; refuses with `KeyFileUnusable` one that others may read, or that is not in form."""
        text, mark = _read(path)
        keys = cls(_parse(text, path))
        keys._path, keys._mark = path, mark
        return keys

    @classmethod
    def create(cls, path: Path) -> Self:
        """Make a key file (0600, new folders 0700) with one fresh key; refuses to touch one that exists.

        It gets its name when it is whole: neither a crash nor another process ever sees half of it.
        """
        _make_folders(path.parent)
        with _taking_turns(path.parent):
            beside = _write_beside(path, _line("k1", token_bytes(_KEY_BYTES)))
            try:
                os.link(beside, path)
            except FileExistsError:
                raise KeyFileUnusable(path=str(path), reason="it exists already") from None
            finally:
                beside.unlink()
            _settle(path.parent)
        return cls.load(path)

    @property
    def current_id(self) -> str:
        """The name of the key that seals."""
        return next(reversed(self._keys))

    def seal(self, plaintext: bytes, *, table: str, row: str) -> bytes:
        """Encrypt (AES-256-GCM) for exactly this table and row, with the current key."""
        key_id, key = next(reversed(self._keys.items()))
        header = _header(key_id)
        nonce = token_bytes(_NONCE_BYTES)
        return header + nonce + key.cipher.encrypt(nonce, plaintext, _bound_to(header, table, row))

    def unseal(self, ciphertext: bytes, *, table: str, row: str) -> bytes:
        """Decrypt what was sealed for this table and row.

        Refuses with `SecretUnreadable` what was altered or sealed for another place, with `MasterKeyUnknown` what
        needs a key that is gone.
        """
        header, key_id = _read_header(ciphertext)
        key = self._find(key_id)
        if key is None:
            raise MasterKeyUnknown(key_id=key_id, table=table, row=row)
        nonce, sealed = ciphertext[len(header) :][:_NONCE_BYTES], ciphertext[len(header) + _NONCE_BYTES :]
        try:
            return key.cipher.decrypt(nonce, sealed, _bound_to(header, table, row))
        except InvalidTag:
            raise SecretUnreadable(table=table, row=row) from None

    def needs_reseal(self, ciphertext: bytes) -> bool:
        """Whether an older key than the current one sealed this."""
        return _read_header(ciphertext)[1] != self.current_id

    def derive(self, purpose: str, key_id: str) -> bytes:
        """32 bytes for one purpose, by HKDF-SHA256 from the named key; the same again for the same arguments.

        Values that cannot be sealed anew (a PIN's verification value can be made only when its owner types the PIN)
        keep the id of the key they were made under beside them, and move to `current_id` at the next chance: until
        none is left the old line must stay in the file. A key that is gone is `MasterKeyUnknown`.
        """
        key = self._find(key_id)
        if key is None:
            raise MasterKeyUnknown(key_id=key_id, purpose=purpose)
        return key.derive(purpose)

    def _find(self, key_id: str) -> _Key | None:
        if key_id not in self._keys:
            self._read_again()
        return self._keys.get(key_id)

    def _read_again(self) -> None:
        """Take what was added to the file. One that has not changed since is not read, nor one that cannot be used."""
        if self._path is None:
            return
        with self._reading:
            try:
                seen = _mark(self._path.stat())
                if seen == self._mark:
                    return
                self._mark = seen
                text, self._mark = _read(self._path)
                self._take(_parse(text, self._path))
            except (OSError, KeyFileUnusable):
                return  # whoever asks is told that the key is unknown

    def __repr__(self) -> str:
        return f"MasterKeys(current={self.current_id!r}, known={len(self._keys)})"


def add_key(path: Path) -> str:
    """Add a fresh key to the file as its last line, and return its id: from the next `load` on it seals.

    The file is replaced in one step, so a crash leaves the old or the new one, never half a key; two callers at
    once take turns.
    """
    real = Path(os.path.realpath(path))
    with _taking_turns(real.parent):
        text, _ = _read(real)
        newest = max(int(name[1:]) for name in _parse(text, real))
        key_id = f"k{newest + 1}"
        owner = real.stat()
        beside = _write_beside(real, text.rstrip("\n") + "\n" + _line(key_id, token_bytes(_KEY_BYTES)))
        if os.geteuid() == 0:
            os.chown(beside, owner.st_uid, owner.st_gid)  # rotated by root, still read by the service
        beside.replace(real)
        _settle(real.parent)
    return key_id


def _expand(key: bytes, info: bytes) -> bytes:
    return HKDF(SHA256(), length=_KEY_BYTES, salt=None, info=info).derive(key)


# --- the ciphertext: form, length of the key id, key id, nonce, sealed bytes with their tag ---------------------------


def _header(key_id: str) -> bytes:
    name = key_id.encode("ascii")
    return bytes((_FORM, len(name))) + name


def _read_header(ciphertext: bytes) -> tuple[bytes, str]:
    """The header and the key id in it; bytes that cannot be one of ours are `SecretUnreadable`."""
    if len(ciphertext) < 2 or ciphertext[0] != _FORM:
        raise SecretUnreadable(reason="not a sealed secret")
    ends = 2 + ciphertext[1]
    name = ciphertext[2:ends]
    if len(ciphertext) < ends + _NONCE_BYTES + _TAG_BYTES or not name.isalnum():
        raise SecretUnreadable(reason="not a sealed secret")
    return ciphertext[:ends], name.decode("ascii")


def _bound_to(header: bytes, table: str, row: str) -> bytes:
    """Associated data; lengths first, so that no other pair of names can be spelled by the same bytes."""
    parts = (header, table.encode(), row.encode())
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)


# --- the file ---------------------------------------------------------------------------------------------------------


def _line(key_id: str, key: bytes) -> str:
    return f"{key_id}:{base64.b64encode(key).decode()}\n"


def _parse(text: str, path: Path) -> dict[str, bytes]:
    """The keys of a file; says which line is wrong, never what stands in it."""
    keys: dict[str, bytes] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        match = _LINE.fullmatch(line.strip())
        if match is None or match[1] in keys:
            raise KeyFileUnusable(path=str(path), reason="not in form, or a key named twice", line=number)
        try:
            keys[match[1]] = base64.b64decode(match[2], validate=True)
        except binascii.Error:
            raise KeyFileUnusable(path=str(path), reason="not base64", line=number) from None
    if not keys:
        raise KeyFileUnusable(path=str(path), reason="there is no key in it")
    return keys


def _mark(state: os.stat_result) -> _Mark:
    return state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns


def _read(path: Path) -> tuple[str, _Mark]:
    """The text of a file that only its owner may read, and its mark; looked at through the open file, so it cannot be
    swapped."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise KeyFileUnusable(path=str(path), reason=error.strerror) from None
    try:
        state = os.fstat(descriptor)
        if not stat.S_ISREG(state.st_mode):
            raise KeyFileUnusable(path=str(path), reason="it is not a file")
        if state.st_mode & 0o077:
            raise KeyFileUnusable(path=str(path), reason="others may read it: chmod 600")
        if os.geteuid() not in (0, state.st_uid) and state.st_uid != 0:
            raise KeyFileUnusable(path=str(path), reason="it belongs to somebody else")
        raw = os.read(descriptor, _LIMIT + 1)
    finally:
        os.close(descriptor)
    if len(raw) > _LIMIT or not raw.isascii():
        raise KeyFileUnusable(path=str(path), reason="it is not a key file")
    return raw.decode("ascii"), _mark(state)


def _make_folders(folder: Path) -> None:
    """Missing folders, each 0700 (`Path.mkdir` gives its mode only to the last one)."""
    for missing in reversed([step for step in (folder, *folder.parents) if not step.exists()]):
        missing.mkdir(mode=0o700, exist_ok=True)


def _write_beside(path: Path, text: str) -> Path:
    """A whole file beside `path`, ready to take its name; the caller has the turn."""
    beside = path.with_name(path.name + ".new")
    beside.unlink(missing_ok=True)  # left by a crash
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(descriptor)
    return beside


def _settle(folder: Path) -> None:
    """Put the folder's list of names on the disk: a key that seals must survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _taking_turns(folder: Path) -> Iterator[None]:
    """Hold the folder's lock: the file itself is replaced, so its own lock would be left on the old one."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise KeyFileUnusable(path=str(folder), reason=error.strerror) from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
