"""What a stretch of work costs: processor time by group of processes, bytes of WAL, and how long each caller waited."""

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg

from dewpond.kit.postgres import Postgres

_TICK = os.sysconf("SC_CLK_TCK")


def processor_seconds(roots: Iterable[int]) -> float:
    """User and system time of these processes and of everything they ever started and waited for.

    A child that ends is added to its parent's account when it is reaped, so the sum never goes back.
    """
    ticks: dict[int, int] = {}
    children: dict[int, list[int]] = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            fields = (process / "stat").read_text().rpartition(")")[2].split()
        except OSError:  # it has ended since
            continue
        pid = int(process.name)
        ticks[pid] = sum(map(int, fields[11:15]))
        children.setdefault(int(fields[1]), []).append(pid)
    todo, seen = list(roots), set()
    while todo:
        pid = todo.pop()
        if pid not in seen:
            seen.add(pid)
            todo += children.get(pid, [])
    return sum(ticks.get(pid, 0) for pid in seen) / _TICK


def resident_kb(pid: int) -> int:
    """What a process holds in memory."""
    found = re.search(r"^VmRSS:\s*(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.M)
    return int(found[1]) if found else 0


@dataclass(frozen=True)
class Reading:
    """The counters at one moment."""

    server: float
    ours: float
    load: float
    wal: int


class Meter:
    """Reads the counters of a PostgreSQL server and of two groups of our own processes."""

    def __init__(self, postgres: Postgres, desk: "asyncpg.Connection[Any]") -> None:
        self._postgres = postgres
        self._desk = desk

    async def read(self, ours: Iterable[int], load: Iterable[int]) -> Reading:
        """`ours` are Dewpond's processes, `load` those that only ask and answer; both are given by process id."""
        postmaster = self._postgres.pid()
        assert postmaster is not None
        wal = await self._desk.fetchval("select pg_current_wal_insert_lsn() - '0/0'::pg_lsn")
        return Reading(
            server=processor_seconds([postmaster]),
            ours=processor_seconds(ours),
            load=processor_seconds(load),
            wal=int(wal),
        )


def percentile(values: Sequence[float], share: float) -> float | None:
    """The value that `share` of all values do not exceed; None of none."""
    if not values:
        return None
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
