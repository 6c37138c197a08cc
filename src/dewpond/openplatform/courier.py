"""The courier: brings deliveries to their endpoints and writes down what came back.

An attempt loads, posts and records. Loading and recording are gathered over all attempts that run at the same time,
so a busy house carries a hundred deliveries per transaction. Nothing is held open while a merchant thinks.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Final
from uuid import UUID

import msgspec

from dewpond.kit.addresses import AddressRefused
from dewpond.kit.batch import Batch
from dewpond.kit.clock import Now, wall_now
from dewpond.kit.db import Database, Tx
from dewpond.kit.failures import Failure
from dewpond.kit.http import Answer, Outgoing, Unreachable
from dewpond.kit.ids import new_id
from dewpond.kit.jobs import Again, Done, Job, Outcome, Snooze
from dewpond.kit.secrets import MasterKeys
from dewpond.openplatform.attempts import ANSWER_LETTERS, DELIVERED, DeliveryState, Ended, record_attempts
from dewpond.openplatform.deliveries import Delivery, DeliveryNotFound, DeliveryStatus, load_deliveries, to_text
from dewpond.openplatform.encoders import Encoder, Letter
from dewpond.openplatform.lanes import Lanes

#: How long a delivery to an endpoint without a free place stands back, in wall time.
_STAND_BACK: Final = timedelta(seconds=5)

#: How many are loaded or written down together.
_MOST: Final = 256


class _Wish(msgspec.Struct, frozen=True):
    merchant_id: UUID
    delivery_id: UUID
    now: Now

    @property
    def key(self) -> tuple[UUID, UUID]:
        return self.merchant_id, self.delivery_id


class _Ready(msgspec.Struct, frozen=True):
    delivery: Delivery
    letter: Letter


class _NotNow(msgspec.Struct, frozen=True):
    outcome: Outcome


class _Unwritable(msgspec.Struct, frozen=True):
    error: Exception


_Loaded = _Ready | _NotNow | _Unwritable


class Courier:
    """Makes attempts; one per process. `outgoing` makes a client without redirects and with a deadline."""

    def __init__(
        self, db: Database, *, outgoing: Callable[[], Outgoing], secrets: MasterKeys, encoders: Mapping[str, Encoder]
    ) -> None:
        self._db = db
        self._secrets = secrets
        self._encoders = encoders
        self._make = outgoing
        self._made: Outgoing | None = None
        self._lanes = Lanes()
        # One at a time, so that the next one fills meanwhile.
        self._loads: Batch[_Wish, _Loaded] = Batch(self._load, key=lambda wish: wish.key, most=_MOST, lanes=1)
        self._records: Batch[Ended, DeliveryState] = Batch(
            self._record, key=lambda ended: (ended.delivery.merchant_id, ended.delivery.id), most=_MOST, lanes=1
        )

    async def attempt(self, job: Job, now: Now) -> Outcome:
        """Make the attempt a delivery's job asks for, and say when the next one is due.

        At least once: who dies between the answer and its record leaves the attempt to be made again.
        """
        merchant_id, _, delivery_id = job.subject.partition("/")
        loaded = await self._loads.submit(_Wish(UUID(merchant_id), UUID(delivery_id), now))
        match loaded:
            case _NotNow(outcome):
                return outcome
            case _Unwritable(error):
                raise error
            case _Ready(delivery, letter):
                ended = await self._post(delivery, letter, now)
                return Again(_STAND_BACK) if ended is None else _what_next(await self._records.submit(ended))

    async def close(self) -> None:
        """Finish what is being written down and close every connection."""
        await self._loads.close()
        await self._records.close()
        if self._made is not None:
            await self._made.aclose()

    async def _load(self, wishes: Sequence[_Wish]) -> Sequence[_Loaded | Failure]:
        loaded: dict[tuple[UUID, UUID], _Loaded | Failure] = {}
        async with self._db.transaction() as tx:
            found = await load_deliveries(tx, [wish.key for wish in wishes])
            writing: dict[str, list[Delivery]] = {}
            for wish in wishes:
                delivery = found.get(wish.key)
                if delivery is None:
                    loaded[wish.key] = DeliveryNotFound(id=to_text(wish.delivery_id))
                elif (outcome := self._hindrance(delivery, wish.now)) is not None:
                    loaded[wish.key] = _NotNow(outcome)
                else:
                    writing.setdefault(delivery.encoder, []).append(delivery)
            newest = max((wish.now for wish in wishes), key=lambda now: now.wall)
            for encoder, deliveries in writing.items():
                letters = await self._write(tx, encoder, deliveries, newest)
                for delivery, letter in zip(deliveries, letters, strict=True):
                    ready = _Ready(delivery, letter) if isinstance(letter, Letter) else _Unwritable(letter)
                    loaded[delivery.merchant_id, delivery.id] = ready
        return [loaded[wish.key] for wish in wishes]

    def _hindrance(self, delivery: Delivery, now: Now) -> Outcome | None:
        """What ends the job, or puts it off, before anything is sent."""
        if delivery.asked_at is None:
            if delivery.status is not DeliveryStatus.PENDING:
                return Done()
            if delivery.next_attempt_at is not None and delivery.next_attempt_at > now.world:
                return Snooze(delivery.next_attempt_at)
        return Again(_STAND_BACK) if self._lanes.is_blocked(delivery.endpoint_id) else None

    async def _write(
        self, tx: Tx, encoder: str, deliveries: Sequence[Delivery], now: Now
    ) -> Sequence[Letter | Exception]:
        if encoder not in self._encoders:
            return [LookupError(f"nobody speaks {encoder}") for _ in deliveries]
        return await self._encoders[encoder].write(tx, deliveries, secrets=self._secrets, now=now)

    @property
    def _outgoing(self) -> Outgoing:
        if self._made is None:  # costs some 30 ms, and many processes never post
            self._made = self._make()
        return self._made

    async def _post(self, delivery: Delivery, letter: Letter, now: Now) -> Ended | None:
        """Post a letter; None if there is no place for it now. Signed when there is one: signatures are of a moment."""
        call = await self._lanes.enter(delivery.endpoint_id)
        if call is None:
            return None
        answer: Answer | None = None
        attempt_id, outgoing = new_id(), self._outgoing
        try:
            headers = await letter.sign()
            call.begin()
            try:
                answer = await outgoing.post(delivery.url, headers=headers, body=letter.body)
                outcome = judge(answer)
            except (AddressRefused, Unreachable) as refused:
                outcome = refused.facts.get("reason", refused.message)
            call.end()
        finally:
            self._lanes.leave(delivery.endpoint_id, call)
        return Ended(
            delivery=delivery,
            id=attempt_id,
            attempted_at=now.world,
            elapsed_ms=call.elapsed_ms,
            http_status=None if answer is None else answer.status,
            outcome=outcome,
            answer=None if answer is None else _readable(answer.body),
            body=letter.body,
        )

    async def _record(self, attempts: Sequence[Ended]) -> Sequence[DeliveryState | Failure]:
        async with self._db.transaction() as tx:
            return await record_attempts(tx, attempts, wall_now=wall_now())


def judge(answer: Answer) -> str:
    """`DELIVERED`, or why a merchant's answer is none: another status than 200 and 204, or a body that says FAIL."""
    if answer.status not in (200, 204):
        return f"answered {answer.status}"
    if b"FAIL" in answer.body:
        try:
            said = msgspec.json.decode(answer.body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return DELIVERED  # it is only the status that counts
        if isinstance(said, dict) and said.get("code") == "FAIL":
            return f"answered {answer.status} with code FAIL"
    return DELIVERED


def _what_next(state: DeliveryState) -> Outcome:
    if state.status is DeliveryStatus.PENDING and state.next_attempt_at is not None:
        return Snooze(state.next_attempt_at)
    return Done()


def _readable(body: bytes) -> str:
    """The beginning of an answer as text that a database takes."""
    return body[: 4 * ANSWER_LETTERS].decode("utf-8", "replace").replace("\x00", "\ufffd")[:ANSWER_LETTERS]
