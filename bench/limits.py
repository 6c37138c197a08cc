"""The limits: what this machine and this server do at the same moment when they are asked for nothing else."""

import asyncio
import os
import re
import sys
import time
from asyncio.subprocess import DEVNULL, PIPE
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256

from bench.child import Broken, reap
from bench.ground import Ground

_DATABASE = "pgbench"


class Limit(Protocol):
    """Something that is done as often as possible, to hold a scenario against."""

    name: str

    async def rate(self, seconds: float) -> float:
        """How many a second."""
        ...


class PgBench:
    """TPC-B as pgbench plays it, with 32 clients, in a database of its own."""

    def __init__(self, ground: Ground, *, scale: int, clients: int = 32) -> None:
        self.name = f"pgbench TPC-B, scale {scale}, {clients} clients"
        self._ground = ground
        self._scale = scale
        self._clients = clients

    async def prepare(self) -> None:
        """Fill its tables, once for a run."""
        await self._ground.desk.execute(f'create database "{_DATABASE}" owner dewpond_owner template template0')
        await self._run("-i", "-q", "-s", str(self._scale))

    async def rate(self, seconds: float) -> float:
        said = await self._run("-n", "-c", str(self._clients), "-j", str(cores()), "-T", str(max(1, round(seconds))))
        found = re.search(r"tps = ([0-9.]+)", said)
        if found is None:
            raise Broken(f"pgbench says {said.strip()}")
        return float(found[1])

    async def _run(self, *words: str) -> str:
        postgres = self._ground.postgres
        process = await asyncio.create_subprocess_exec(
            str(postgres.program("pgbench")), *words, postgres.dsn("dewpond_owner", _DATABASE),
            stdin=DEVNULL, stdout=PIPE, stderr=PIPE, env=postgres.environment(), start_new_session=True,
        )  # fmt: skip
        try:
            said, wrong = await process.communicate()
        except asyncio.CancelledError:
            process.terminate()
            await reap(process)
            raise
        if process.returncode:
            raise Broken(f"pgbench {' '.join(words)}: {wrong.decode(errors='replace').strip()}")
        return said.decode()


class Rsa:
    """RSA-2048 signatures, one thread per core, nothing else."""

    name = "RSA-2048 signatures on all cores"

    def __init__(self) -> None:
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)

    async def rate(self, seconds: float) -> float:
        with ThreadPoolExecutor(cores()) as pool:
            loop = asyncio.get_running_loop()
            tasks = [loop.run_in_executor(pool, self._sign, seconds) for _ in range(cores())]
            return sum(await asyncio.gather(*tasks))

    def _sign(self, seconds: float) -> float:
        padding, digest, message = PKCS1v15(), SHA256(), b"x" * 200
        began, done = time.perf_counter(), 0
        while (elapsed := time.perf_counter() - began) < seconds:
            for _ in range(10):
                self._key.sign(message, padding, digest)
            done += 10
        return done / elapsed


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
