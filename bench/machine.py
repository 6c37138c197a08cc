"""What a run was made on and of: figures without it mean nothing."""

import os
import platform
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from bench.child import ROOT
from bench.ground import Ground
from bench.limits import cores
from dewpond.kit import clock


@dataclass(frozen=True)
class Machine:
    """The machine, the code and the moment."""

    date: str
    commit: str
    processor: str
    cores: int
    kernel: str
    memory_gb: int
    postgres: str
    python: str
    disk: str
    busy: float

    def __str__(self) -> str:
        return (
            f"{self.cores} × {self.processor}, {self.memory_gb} GB, {self.disk}, Linux {self.kernel}, "
            f"PostgreSQL {self.postgres}, Python {self.python}, load {self.busy:.1f} before"
        )


async def look(ground: Ground) -> Machine:
    """See what we run on; how busy others keep it is read now, so before the first round."""
    said = await ground.desk.fetchval("show server_version")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return Machine(
        date=f"{clock.wall_now():%Y-%m-%d %H:%M}",
        commit=_commit(),
        processor=_processor(),
        cores=cores(),
        kernel=platform.release(),
        memory_gb=round(memory / 2**30),
        postgres=said.split()[0],
        python=platform.python_version(),
        disk=_disk(ground.home),
        busy=os.getloadavg()[0],
    )


def _commit() -> str:
    """The commit, with a plus where there was more than it."""
    said = subprocess.run(
        ["git", "describe", "--always", "--dirty=+"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return said.stdout.strip() or "unknown"


def _processor() -> str:
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.M)
    except OSError:
        found = None
    return " ".join(found[1].split()) if found else platform.machine()


def _disk(home: Path) -> str:
    """The kind of file system that is written to; in memory there is no durability to measure."""
    said = subprocess.run(["df", "--output=fstype", str(home)], capture_output=True, text=True, check=False)
    return (said.stdout.split() or ["disk"])[-1]
