"""Wiring: who reacts to which fact, does which job and speaks which language, and what a process holds of it all."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit
from uuid import UUID

from dewpond import openplatform, pay, reservoir, wechat
from dewpond.kit import worlds
from dewpond.kit.addresses import Policy
from dewpond.kit.batch import Batch
from dewpond.kit.clock import Now
from dewpond.kit.db import Database, Tx
from dewpond.kit.failures import Failure
from dewpond.kit.http import Outgoing
from dewpond.kit.jobs import Done, Job, Outcome
from dewpond.kit.outbox import Event, Fact
from dewpond.kit.secrets import MasterKeys
from dewpond.openplatform import Courier, Encoder
from dewpond.pay import Confirmation, Opened, Opening, Payment
from dewpond.settings import Settings

#: What follows from facts of a kind; deaf to the second time.
Reaction = Callable[[Tx, Sequence[Fact], Now], Awaitable[None]]

#: Shallow: loads, calls a verb, ends.
JobHandler = Callable[["House", Job, Now], Awaitable[Outcome]]

REACTIONS: Final[Mapping[type[Event], tuple[Reaction, ...]]] = {
    pay.PaymentSucceeded: (reservoir.record_purchases, openplatform.notify_merchant),
    pay.RefundSucceeded: (reservoir.record_refunds, openplatform.notify_merchant),
    pay.RefundClosed: (openplatform.notify_merchant,),
    pay.RefundAbnormal: (openplatform.notify_merchant,),
}


async def _attempt_delivery(house: "House", job: Job, now: Now) -> Outcome:
    return await house.courier.attempt(job, now)


async def _settle_refund(house: "House", job: Job, now: Now) -> Outcome:
    merchant_id, _, refund_id = job.subject.partition("/")
    async with house.db.transaction() as tx:
        await pay.settle_refund(tx, UUID(merchant_id), UUID(refund_id), now=now)
    return Done()


JOBS: Final[Mapping[str, JobHandler]] = {
    openplatform.JOB: _attempt_delivery,
    pay.REFUND_JOB: _settle_refund,
}

ENCODERS: Final[Mapping[str, Encoder]] = {"wechat": wechat.CallbackScribe()}

#: A callback has this long for everything together (contract §4.2); more of an answer than this is never read.
_CALLBACK_SECONDS: Final = 5.0
_ANSWER_BYTES: Final = 16 * 1024


@dataclass(frozen=True, kw_only=True)
class House:
    """What one process holds of a world: connections, keys, batches and the tables above."""

    db: Database
    settings: Settings
    secrets: MasterKeys
    #: Makes a client under this world's policy; whoever makes one closes it.
    outgoing: Callable[[], Outgoing]
    openings: Batch[Opening, Opened]
    confirmations: Batch[Confirmation, Payment]
    courier: Courier
    reactions: Mapping[type[Event], tuple[Reaction, ...]]
    jobs: Mapping[str, JobHandler]


@asynccontextmanager
async def open_house(
    settings: Settings,
    *,
    dsn: str,
    name: str,
    pool_size: int = 16,
    listeners: Sequence[tuple[str, int]] | None = None,
    neighbours: Sequence[tuple[str, int]] = (),
    reactions: Mapping[type[Event], tuple[Reaction, ...]] = REACTIONS,
    jobs: Mapping[str, JobHandler] = JOBS,
    encoders: Mapping[str, Encoder] = ENCODERS,
) -> AsyncIterator[House]:
    """Connect to the world behind `dsn`; what was accepted is finished when the block ends.

    `listeners` are the doors (host, port) that this world's servers have open. None says that they are not known: then
    nothing private is called, for they may be open to everybody, but for a sandbox's `neighbours`. Refuses with
    `NotDurable` to hold a live world on a server that may forget.
    """
    secrets = MasterKeys.load(settings.key_file)
    db = await Database.open(dsn, session_dsn=settings.session_database_url, size=pool_size, name=name)
    try:
        async with db.transaction() as tx:
            world = await worlds.get_world(tx)
            await worlds.require_durable(tx, world)
        policy = outgoing_policy(world, settings, listeners, neighbours)

        def outgoing() -> Outgoing:
            return Outgoing(policy, timeout_seconds=_CALLBACK_SECONDS, max_answer_bytes=_ANSWER_BYTES)

        async def open_payments(items: Sequence[Opening]) -> Sequence[Opened | Failure]:
            async with db.transaction() as tx:
                return await pay.open_payments(tx, items)

        async def confirm_payments(items: Sequence[Confirmation]) -> Sequence[Payment | Failure]:
            async with db.transaction() as tx:
                return await pay.confirm_payments(tx, items, secrets=secrets)

        house = House(
            db=db,
            settings=settings,
            secrets=secrets,
            outgoing=outgoing,
            openings=Batch(open_payments, key=lambda opening: opening.key),
            confirmations=Batch(confirm_payments, key=lambda confirmation: confirmation.key),
            courier=Courier(db, outgoing=outgoing, secrets=secrets, encoders=encoders),
            reactions=reactions,
            jobs=jobs,
        )
        try:
            yield house
        finally:
            await house.openings.close()
            await house.confirmations.close()
            await house.courier.close()
    finally:
        await db.close()


def outgoing_policy(
    world: worlds.World,
    settings: Settings,
    listeners: Sequence[tuple[str, int]] | None,
    neighbours: Sequence[tuple[str, int]] = (),
) -> Policy:
    """What this world may call: a sandbox private addresses as long as it is known to be open to this machine only; a
    live world public ones and the networks its operator lists; our own doors never."""
    near = listeners is not None and all(_is_loopback(host) for host, _ in listeners)
    near = near and (world.doors.are_near or not listeners)  # a tunnel lets others in through a door on loopback
    return Policy(
        allow_private=world.is_sandbox and near,
        allowed_networks=settings.callback_networks,
        allowed_doors=frozenset((ip_address(host), port) for host, port in neighbours if world.is_sandbox),
        own_listeners=frozenset([port for _, port in listeners or ()] or _last_doors(world.doors)),
    )


def _last_doors(doors: worlds.Doors) -> list[int]:
    """The ports that the world was last served at; servers come back to them."""
    origins = [urlsplit(url) for url in (doors.wire_url, doors.public_url, doors.staff_url)]
    return [origin.port or (443 if origin.scheme == "https" else 80) for origin in origins if origin.hostname]


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
