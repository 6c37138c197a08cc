"""Expiry: what has run out is forgotten. Nothing depends on it but the size of the tables."""

from datetime import datetime

from dewpond.kit.db import Tx, queries

sql = queries(__file__)


async def forget_expired(tx: Tx, *, wall_now: datetime, most: int) -> int:
    """Forget sessions, questions and scans that have run out, at most so many of each; how many of the most of them.

    Fewer than `most`: there is nothing left to forget. Several may do so at once.
    """
    sessions = await tx.run(sql.forget_sessions, wall_now=wall_now, most=most)
    challenges = await tx.run(sql.forget_challenges, wall_now=wall_now, most=most)
    scans = await tx.run(sql.forget_scans, wall_now=wall_now, most=most)
    return max(sessions, challenges, scans)
