"""Two clocks. World time moves business; wall time moves signatures, leases and everything between machines.

Both are read once per request, item or job and are arguments from there on; SQL never asks for the time. In a live
world they are equal. In a sandbox world time can be frozen and moved (`kit/worlds`), so it is read from the world's
row in the same transaction that uses it: no process may keep what another's commit can make false.
"""

from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

import msgspec

#: Where business days begin and end on WeChat's wire and in its numbers.
SHANGHAI: Final = ZoneInfo("Asia/Shanghai")


class Now(msgspec.Struct, frozen=True):
    """One reading of both clocks."""

    world: datetime
    wall: datetime


def wall_now() -> datetime:
    """The wall clock, aware, in UTC. The only place in the house that asks the machine for the time."""
    return datetime.now(UTC)


def world_time(wall: datetime, *, offset: timedelta, frozen_at: datetime | None) -> datetime:
    """World time for a moment of wall time under a world's clock setting."""
    return frozen_at if frozen_at is not None else wall + offset
