"""`python -m dewpond.worker`: one worker process, told by the environment where its world is."""

import asyncio
import os
import resource
import signal
import sys
from collections.abc import Mapping

import structlog
import uvloop

from dewpond.kit.db import CONNECTION_LOST
from dewpond.settings import SettingInvalid, read_settings
from dewpond.wiring import open_house
from dewpond.worker.rounds import work

log = structlog.get_logger("dewpond.worker")

_POOL: int = 16


def main() -> None:
    """Work until SIGTERM or SIGINT."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.KeyValueRenderer(key_order=["timestamp", "level", "event"]),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # slow receivers hold many connections
    uvloop.run(_serve(os.environ))


async def _serve(environ: Mapping[str, str]) -> None:
    settings = read_settings(environ)
    if not settings.database_url:
        raise SettingInvalid("DEWPOND_DATABASE_URL is empty; a worker of its own needs it")
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    while not stop.is_set():
        try:
            async with open_house(
                settings,
                dsn=settings.database_url,
                name="dewpond worker",
                pool_size=_POOL,
                listeners=_listeners(environ.get("DEWPOND_LISTENERS", "")),
                neighbours=_listeners(environ.get("DEWPOND_NEIGHBOURS", "")) or (),
            ) as house:
                await work(house, stop)
        except CONNECTION_LOST as error:
            log.warning("worker.no_database", error=repr(error))
            await asyncio.sleep(1)


def _listeners(text: str) -> list[tuple[str, int]] | None:
    """The doors of this world's servers as their parent tells them, `127.0.0.1:8601,[::1]:8602`; None if it does not
    or there is no parent."""
    doors = []
    for part in filter(None, text.split(",")):
        host, _, port = part.strip().rpartition(":")
        doors.append((host.strip("[]"), int(port)))
    return doors or None


if __name__ == "__main__":
    main()
