"""Dewpond's own processes, started the way `dewpond run` starts them: they end when we do, however we end."""

import asyncio
import os
import pstats
import socket
import sys
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from bench.child import ROOT, Broken, reap, told_by
from bench.ground import Ground

_READY_SECONDS = 30.0
_NOW = "select clock_timestamp()"
_CONNECTED = """
select exists (
  select from pg_stat_activity where application_name = $1 and datname = $2 and backend_start > $3)
"""


class Dewpond:
    """Some servers or workers of one module; their number can be changed between runs."""

    def __init__(self, ground: Ground, module: str, environment: Mapping[str, str], *, profile: bool) -> None:
        self._ground = ground
        self._module = module
        self._environment = dict(environment)
        self._profile = profile
        self._processes: list[tuple[Process, Path]] = []
        self._lifeline, self._keep = os.pipe()
        self._started = 0
        #: What the profiler said of each process that has ended.
        self.profiles: list[str] = []

    @property
    def pids(self) -> list[int]:
        return [process.pid for process, _ in self._processes]

    async def be(self, count: int, *, ready: str, pass_fds: tuple[int, ...] = ()) -> None:
        """Have exactly so many, each ready: `ready` is in its log, or, where that is empty, it is connected."""
        while len(self._processes) > count:
            await self._end(*self._processes.pop())
        while len(self._processes) < count:
            await self._start(ready, pass_fds)

    async def _start(self, ready: str, pass_fds: tuple[int, ...]) -> None:
        self._started += 1
        began = await self._ground.desk.fetchval(_NOW)
        log = self._ground.home / f"{self._module}-{self._started}.log"
        words = ["-m", "dewpond.cli.lifeline", str(self._lifeline), "", self._module]
        if self._profile:
            words = ["-m", "cProfile", "-o", str(log.with_suffix(".profile")), "-m", self._module]
        with log.open("wb") as out:
            process = await asyncio.create_subprocess_exec(
                sys.executable, *words, stdin=DEVNULL, stdout=out, stderr=out, cwd=ROOT, env=self._environment,
                pass_fds=(self._lifeline, *pass_fds), start_new_session=True,
            )  # fmt: skip
        self._processes.append((process, log))
        database = self._environment["DEWPOND_DATABASE_URL"].partition("@/")[2].partition("?")[0]
        for _ in range(int(_READY_SECONDS / 0.1)):
            if process.returncode is not None:
                raise Broken(f"{self._module} has ended: {log.read_text(errors='replace')[-2000:]}")
            if ready and ready in log.read_text(errors="replace"):
                return
            # The listening socket is shared, so which of them answers cannot be asked; each connects before, and the
            # others have nothing to connect for meanwhile.
            if not ready and await self._ground.desk.fetchval(_CONNECTED, "dewpond server", database, began):
                await asyncio.sleep(0.5)
                return
            await asyncio.sleep(0.1)
        raise Broken(f"{self._module} does not get ready: {log.read_text(errors='replace')[-2000:]}")

    async def _end(self, process: Process, log: Path) -> None:
        if process.returncode is None:
            process.terminate()
            await reap(process)
        if self._profile:
            self.profiles.append(told_by(pstats.Stats(str(log.with_suffix(".profile")))))

    async def close(self) -> None:
        """End all of them."""
        while self._processes:
            await self._end(*self._processes.pop())
        os.close(self._keep)
        os.close(self._lifeline)

    def complaints(self) -> str:
        """The last warnings and errors in their logs."""
        lines: list[str] = []
        for log in sorted(self._ground.home.glob(f"{self._module}-*.log")):
            found = [line for line in log.read_text(errors="replace").splitlines() if "level=" in line]
            lines += [line for line in found if "level='info'" not in line][-3:]
        return "\n".join(line[:400] for line in lines[-6:])


@asynccontextmanager
async def dewpond(
    ground: Ground, module: str, environment: Mapping[str, str], *, profile: bool = False
) -> AsyncIterator[Dewpond]:
    """Processes of a module, all of them gone at the end."""
    family = Dewpond(ground, module, environment, profile=profile)
    try:
        yield family
    finally:
        await family.close()


@contextmanager
def listening() -> Iterator[socket.socket]:
    """A socket for servers to share, as `dewpond run` binds it."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as door:
        door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        door.bind(("127.0.0.1", 0))
        door.listen(1024)
        yield door
