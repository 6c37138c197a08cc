"""The worker: takes facts from the outbox to their reactions, runs jobs, and moves a sandbox's clock."""

from dewpond.worker.clock import ClockBusy, advance, drain
from dewpond.worker.rounds import work

__all__ = ["ClockBusy", "advance", "drain", "work"]
