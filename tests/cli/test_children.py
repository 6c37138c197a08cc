"""Children: what they write is kept from others."""

import stat
import time
from pathlib import Path

from dewpond.cli.children import Child


def test_logs_are_their_owners_only_and_old_ones_become_so(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    folder.mkdir(mode=0o755)
    for name in ("old.log", "old.log.1"):
        (folder / name).write_text("a word\n")
        (folder / name).chmod(0o644)
    for name in ("old", "new"):
        child = Child(name, ["/bin/sh", "-c", "echo told"], environ={}, log=folder / f"{name}.log")
        child.start(())
        child.finish(time.monotonic() + 60)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (folder, *folder.iterdir())}
    assert modes == {"logs": 0o700, "old.log": 0o600, "old.log.1": 0o600, "new.log": 0o600}
    assert (folder / "old.log").read_text() == "a word\ntold\n"
