"""Child processes that carry load: asked in lines of JSON, answering in lines of JSON.

parent   child = await Child.start("bench.poster", world)
         told = await child.ask("post", seconds=2)
child    serve({"post": post})                       # until its standard input ends, as it does when we die
"""

import asyncio
import cProfile
import io
import pstats
import sys
import traceback
from asyncio.subprocess import PIPE, Process
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import structlog
import uvloop

ROOT = Path(__file__).resolve().parent.parent
_LONGEST_LINE = 256 << 20
_GRACE_SECONDS = 10
_SHOWN = 32

Action = Callable[..., Awaitable[dict[str, Any]]]


class Broken(Exception):
    """A scenario did not do what it should; the sentence says what."""


class Child:
    """A process of `bench`, seen from its parent."""

    def __init__(self, name: str, process: Process) -> None:
        self.name = name
        self._process = process

    @property
    def pid(self) -> int:
        return self._process.pid

    @classmethod
    async def start(cls, module: str, environment: Mapping[str, str]) -> "Child":
        """Start `python -m <module>`; it ends when it is closed, or when we are gone."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", module, stdin=PIPE, stdout=PIPE, cwd=ROOT, env=dict(environment),
            limit=_LONGEST_LINE, start_new_session=True,
        )  # fmt: skip
        return cls(module, process)

    async def ask(self, what: str, **told: Any) -> dict[str, Any]:
        """Have one action done; its answer. A child that fails is `Broken`."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(msgspec.json.encode({"do": what, "told": told}) + b"\n")
            await self._process.stdin.drain()
            line = await self._process.stdout.readline()
        except ConnectionError:
            line = b""
        if not line:
            raise Broken(f"{self.name} has ended during {what}")
        answer: dict[str, Any] = msgspec.json.decode(line)
        if "broken" in answer:
            raise Broken(f"{self.name} {what}: {answer['broken']}")
        return answer

    async def close(self) -> None:
        """Let it end."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        await reap(self._process)


async def reap(process: Process) -> None:
    """Wait for a process that was told to end; one that does not is killed."""
    try:
        async with asyncio.timeout(_GRACE_SECONDS):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


class _Profiler:
    def __init__(self) -> None:
        self._profile: cProfile.Profile | None = None

    async def begin(self) -> dict[str, Any]:
        self._profile = cProfile.Profile()
        self._profile.enable()
        return {}

    async def end(self) -> dict[str, Any]:
        assert self._profile is not None
        self._profile.disable()
        return {"text": told_by(pstats.Stats(self._profile, stream=io.StringIO()))}


def told_by(stats: pstats.Stats) -> str:
    """The dearest functions of a profile by their own time, paths shortened."""
    stream = io.StringIO()
    # Documented, but missing in the type stubs.
    stats.stream = stream  # type: ignore[attr-defined]
    stats.strip_dirs().sort_stats("tottime").print_stats(_SHOWN)
    return "\n".join(line for line in stream.getvalue().splitlines() if line.strip())


def serve(actions: Mapping[str, Action]) -> None:
    """Answer the parent until it closes our standard input. Nothing else may write to standard output."""
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    profiler = _Profiler()
    uvloop.run(_serve({**actions, "profile_begin": profiler.begin, "profile_end": profiler.end}))


async def _serve(actions: Mapping[str, Action]) -> None:
    reader = asyncio.StreamReader(limit=_LONGEST_LINE)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        asked = msgspec.json.decode(line)
        try:
            answer = await actions[asked["do"]](**asked["told"])
        except Exception:  # noqa: BLE001 - the parent says what broke
            answer = {"broken": traceback.format_exc()}
        sys.stdout.buffer.write(msgspec.json.encode(answer) + b"\n")
        sys.stdout.buffer.flush()
    if (leave := actions.get("leave")) is not None:
        await leave()
