"""The seal of a backup: a line behind PostgreSQL's dump, by which an altered, cut or foreign file is known.

    dewpond-backup 1 KEY MARK hmac-sha256:MAC

KEY names the master key of the world under which it was made, MARK tells that key from another world's of the same
name, MAC is over every byte before the line. `pg_restore` does not look behind its dump, so a sealed file is still one
that PostgreSQL's own tools read. What they would not find is found here: they check the rows, not the schema.
"""

import hmac
import re
from hashlib import sha256
from pathlib import Path
from typing import Final

from dewpond.cli.terminal import refuse
from dewpond.kit.secrets import MasterKeys, MasterKeyUnknown

_DUMP: Final = b"PGDMP"
_LINE: Final = re.compile(rb"\ndewpond-backup 1 (k[0-9]{1,6}) ([0-9a-f]{16}) hmac-sha256:([0-9a-f]{64})\n")
_LONGEST: Final = 160
_CHUNK: Final = 1 << 20


def seal(file: Path, keys: MasterKeys) -> None:
    """Put the seal behind a fresh dump, under the current master key."""
    key_id = keys.current_id
    key = keys.derive("backup", key_id)
    mac = _mac(file, file.stat().st_size, key)
    with file.open("ab") as dump:
        dump.write(f"\ndewpond-backup 1 {key_id} {_mark(key)} hmac-sha256:{mac}\n".encode())


def check_seal(file: Path, key_file: Path) -> None:
    """Refuse a file that is not, byte for byte, a backup made under one of these master keys."""
    size = file.stat().st_size
    with file.open("rb") as dump:
        if dump.read(len(_DUMP)) != _DUMP:
            refuse(f"{file} is not a backup made by `dewpond world backup`.", "not_a_backup")
        dump.seek(max(0, size - _LONGEST))
        tail = dump.read()
    line = _LINE.search(tail)
    if line is None or line.end() != len(tail):
        refuse(f"{file} is cut off, or not a backup made by `dewpond world backup`.", "backup_cut_off")
    key_id, mark, mac = (part.decode() for part in line.groups())
    if not key_file.exists():
        refuse(
            f"A backup opens with its world's master key; there is none: put that world's master.key at {key_file}.",
            "master_key_missing",
        )
    try:
        key = MasterKeys.load(key_file).derive("backup", key_id)
    except MasterKeyUnknown:
        key = b""
    if not hmac.compare_digest(_mark(key), mark):
        refuse(
            f"{file} was made under another master key than {key_file}: put that world's master.key there.",
            "master_key_of_another_world",
        )
    if not hmac.compare_digest(_mac(file, size - len(line[0]), key), mac):
        refuse(f"{file} was altered since it was made; nothing of it is taken.", "backup_altered")


def _mark(key: bytes) -> str:
    return hmac.new(key, b"mark", sha256).hexdigest()[:16]


def _mac(file: Path, size: int, key: bytes) -> str:
    made = hmac.new(key, b"dump", sha256)
    with file.open("rb") as dump:
        while size and (chunk := dump.read(min(_CHUNK, size))):
            made.update(chunk)
            size -= len(chunk)
    return made.hexdigest()
