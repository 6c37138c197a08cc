"""What a merchant is told: once per fact and endpoint, by the schedule, whatever comes back."""

import asyncio
from datetime import timedelta
from itertools import pairwise
from typing import Any
from uuid import UUID

import pytest

from dewpond import openplatform
from dewpond.kit import jobs, worlds
from dewpond.kit.http import Answer
from dewpond.openplatform import DeliveryNotFound, DeliveryStatus, notify_merchant
from dewpond.openplatform.courier import judge
from dewpond.worker import advance

PENDING, DELIVERED, DEAD = DeliveryStatus.PENDING, DeliveryStatus.DELIVERED, DeliveryStatus.DEAD


def answer(status: int, body: bytes = b"") -> Answer:
    return Answer(status=status, headers=(), body=body, cut=False, elapsed_ms=1)


@pytest.mark.parametrize(
    ("_case", "status", "body", "outcome"),
    [
        ("200 with the customary words", 200, b'{"code":"SUCCESS"}', "delivered"),
        ("200 without a word", 200, b"", "delivered"),
        ("204", 204, b"", "delivered"),
        ("200 that says FAIL", 200, b'{"code":"FAIL","message":"no"}', "answered 200 with code FAIL"),
        ("FAIL as a part of other words", 200, b'{"code":"SUCCESS","message":"FAIL"}', "delivered"),
        ("FAIL, but not in JSON", 200, b"<html>FAIL</html>", "delivered"),
        ("JSON that is no object", 200, b'"FAIL"', "delivered"),
        ("bytes that are no text", 200, b'{"code":"FAIL\xff"}', "delivered"),
        ("a tower of brackets", 200, b'{"code":"FAIL","x":' + b"[" * 10_000, "delivered"),
        ("201", 201, b"", "answered 201"),
        ("a redirect", 302, b"", "answered 302"),
        ("an error", 500, b'{"code":"SUCCESS"}', "answered 500"),
    ],
)
def test_what_counts_as_delivered(_case: str, status: int, body: bytes, outcome: str) -> None:
    assert judge(answer(status, body)) == outcome


def test_the_schedule_is_the_contracts() -> None:
    assert len(openplatform.RETRIES) == 15
    assert sum(openplatform.RETRIES, timedelta()) == timedelta(hours=24, minutes=4)


async def test_a_payment_is_told_once_and_kept_with_its_answer(counter: Any, receiver: Any) -> None:
    [payment_id] = await counter.sell(receiver.url("/told"))
    await counter.drain()
    [request] = receiver.heard("/told")
    [delivery] = await counter.deliveries()
    assert request.said["id"] == str(delivery.id)
    assert request.said["subject"] == str(payment_id)
    assert (delivery.status, delivery.attempts, delivery.body) == (DELIVERED, 1, request.body)
    [attempt] = await counter.attempts(delivery)
    assert (attempt.number, attempt.http_status, attempt.outcome) == (1, 200, "delivered")
    assert attempt.answer == '{"code":"SUCCESS"}'


async def test_a_delivery_is_found_by_its_id_alone(counter: Any, receiver: Any) -> None:
    await counter.sell(receiver.url("/found"))
    await counter.drain()
    [delivery] = await counter.deliveries()
    async with counter.database.transaction() as tx:
        assert await openplatform.find_delivery(tx, delivery.id) == delivery
        with pytest.raises(DeliveryNotFound):
            await openplatform.find_delivery(tx, counter.shop.merchant.id)


async def test_facts_read_again_tell_nothing_new(counter: Any, receiver: Any) -> None:
    paid = await counter.sell(receiver.url("/again"), times=3)
    await counter.drain()
    facts = await counter.facts(*paid)
    for repeat in (facts, facts[:1], list(reversed(facts)), facts + facts):
        async with counter.database.transaction() as tx:
            await notify_merchant(tx, repeat, await worlds.read_clocks(tx))
    await counter.drain()
    assert len(await counter.deliveries()) == len(receiver.heard("/again")) == 3


async def test_two_shops_with_one_url_are_told_apart(counter: Any, receiver: Any, new_merchant: Any) -> None:
    from dataclasses import replace

    other = replace(counter, shop=await new_merchant("Other Shop"))
    await counter.sell(receiver.url("/both"))
    await other.sell(receiver.url("/both"))
    await counter.drain()
    assert len(receiver.heard("/both")) == 2
    assert len(await counter.deliveries()) == len(await other.deliveries()) == 1
    [theirs] = await other.deliveries()
    async with counter.database.transaction() as tx:
        assert await openplatform.list_attempts(tx, counter.shop.merchant.id, theirs.id) == []
        with pytest.raises(DeliveryNotFound):
            await openplatform.get_delivery(tx, counter.shop.merchant.id, theirs.id)
        with pytest.raises(DeliveryNotFound):
            await openplatform.resend(tx, counter.shop.merchant.id, theirs.id, now=await worlds.read_clocks(tx))


async def test_a_refund_is_told_where_the_refund_says(counter: Any, receiver: Any) -> None:
    [first, second] = await counter.sell(receiver.url("/paid"), times=2)
    told = await counter.refund(first, 40, receiver.url("/refunded"))
    await counter.refund(second, 40, None)
    await counter.drain()
    [request] = receiver.heard("/refunded")
    assert (request.said["event"], request.said["subject"]) == ("refund.succeeded", str(told))
    assert len(await counter.deliveries()) == 3


@pytest.mark.usefixtures("frozen")
async def test_a_merchant_that_never_answers_well_is_tried_by_the_schedule_and_given_up(
    counter: Any, receiver: Any
) -> None:
    async def refuse(request: Any, writer: Any) -> tuple[int, bytes]:
        return 500, b'{"code":"FAIL","message":"later"}'

    start = (await counter.now()).world
    await counter.sell(receiver.url("/refusing", refuse))
    seen = []
    await advance(counter.house, start + timedelta(hours=24, minutes=3, seconds=59), seen.append)
    [delivery] = await counter.deliveries()
    assert (delivery.status, delivery.attempts) == (PENDING, 15)
    await advance(counter.house, start + timedelta(hours=30), seen.append)
    [delivery] = await counter.deliveries()
    attempts = await counter.attempts(delivery)
    assert (delivery.status, delivery.attempts, len(attempts)) == (DEAD, 16, 16)
    assert attempts[0].attempted_at == start
    gaps = [late.attempted_at - early.attempted_at for early, late in pairwise(attempts)]
    assert tuple(gaps) == openplatform.RETRIES
    assert seen == sorted(seen)
    assert (await counter.now()).world == start + timedelta(hours=30), "a frozen clock stays frozen at the target"
    requests = receiver.heard("/refusing")
    assert len({request.body for request in requests}) == 1, "the body is made once"
    assert len({request.headers["Signature"] for request in requests}) == 16, "and signed anew each time"
    assert await counter.deliveries(status=DEAD) == [delivery]
    async with counter.database.transaction() as tx:
        assert await jobs.count_due(tx, start + timedelta(days=900)) == 0


@pytest.mark.usefixtures("frozen")
async def test_a_receiver_that_comes_back_is_reached_at_the_next_place_of_the_schedule(
    counter: Any, receiver: Any
) -> None:
    async def hang_up(request: Any, writer: Any) -> None:
        return None

    start = (await counter.now()).world
    await counter.sell(receiver.url("/down", hang_up), times=20)
    await advance(counter.house, start + timedelta(hours=17))
    del receiver.manners["/down"]
    await advance(counter.house, start + timedelta(hours=30))
    deliveries = await counter.deliveries()
    assert {(delivery.status, delivery.attempts) for delivery in deliveries} == {(DELIVERED, 15)}
    assert {delivery.ended_at for delivery in deliveries} == {start + timedelta(hours=18, minutes=4)}


@pytest.mark.usefixtures("frozen")
async def test_a_delivery_is_sent_again_by_hand_whatever_became_of_it(counter: Any, receiver: Any) -> None:
    manner: dict[str, int] = {"status": 500}

    async def moody(request: Any, writer: Any) -> tuple[int, bytes]:
        return manner["status"], b""

    async def resend() -> openplatform.Delivery:
        async with counter.database.transaction() as tx:
            await openplatform.resend(tx, None, delivery.id, now=await worlds.read_clocks(tx))
        await counter.drain()
        [found] = await counter.deliveries()
        return found

    start = (await counter.now()).world
    await counter.sell(receiver.url("/moody", moody))
    await counter.drain()
    [delivery] = await counter.deliveries()

    pending = await resend()
    assert (pending.status, pending.attempts, pending.next_attempt_at) == (PENDING, 2, start + timedelta(seconds=15))

    await advance(counter.house, start + timedelta(hours=25))
    [dead] = await counter.deliveries()
    assert (dead.status, dead.attempts) == (DEAD, 17), "the one by hand does not shorten the schedule"
    still = await resend()
    assert (still.status, still.attempts) == (DEAD, 18)
    manner["status"] = 200
    revived = await resend()
    assert (revived.status, revived.attempts, revived.next_attempt_at) == (DELIVERED, 19, None)
    manner["status"] = 500
    kept = await resend()
    assert (kept.status, kept.attempts) == (DELIVERED, 20), "what was taken once stays taken"
    assert [attempt.number for attempt in await counter.attempts(kept)] == list(range(1, 21))


async def test_an_answer_of_any_bytes_is_kept_readable(counter: Any, receiver: Any) -> None:
    async def babble(request: Any, writer: Any) -> tuple[int, bytes]:
        return 200, b"\x00\xff\xf0" + "茶".encode() * 600

    await counter.sell(receiver.url("/babble", babble))
    await counter.drain()
    [delivery] = await counter.deliveries()
    [attempt] = await counter.attempts(delivery)
    assert attempt.answer is not None
    assert len(attempt.answer) == 500
    assert attempt.answer.endswith("茶")


async def test_what_cannot_be_called_is_told_in_words(counter: Any, receiver: Any) -> None:
    await counter.sell("http://127.0.0.1:8601/ourselves")
    await counter.sell("http://169.254.169.254/latest/meta-data")
    await counter.sell("http://127.0.0.1:1/closed")
    await counter.drain()
    outcomes = {d.url: (await counter.attempts(d))[0].outcome for d in await counter.deliveries()}
    assert outcomes == {
        "http://127.0.0.1:8601/ourselves": "our own listener",
        "http://169.254.169.254/latest/meta-data": "cloud metadata",
        "http://127.0.0.1:1/closed": "connection refused",
    }


@pytest.mark.usefixtures("frozen")
async def test_one_that_cannot_be_encoded_is_set_aside_and_the_others_go_out(
    counter: Any, receiver: Any, encoder: Any
) -> None:
    paid = await counter.sell(receiver.url("/mixed"), times=10)
    encoder.unspeakable.add(paid[3])
    start = (await counter.now()).world
    await counter.drain()
    assert len(receiver.heard("/mixed")) == 9
    await advance(counter.house, start + timedelta(hours=1))
    [poison] = await counter.deliveries(paid[3])
    assert (poison.status, poison.attempts) == (PENDING, 0)
    async with counter.database.transaction() as tx:
        [aside] = [
            job
            for job in await jobs.quarantined(tx)
            if job.subject == openplatform.subject_of(poison.merchant_id, poison.id)
        ]
    assert aside.tries == 5
    assert "no word for it" in (aside.last_error or "")
    encoder.unspeakable.clear()
    async with counter.database.transaction() as tx:
        await openplatform.resend(tx, None, poison.id, now=await worlds.read_clocks(tx))
    await counter.drain()
    assert len(receiver.heard("/mixed")) == 10, "a person lets it go"


async def test_a_worker_killed_after_the_post_leaves_the_attempt_to_be_made_again(
    counter: Any, receiver: Any, another_house: Any
) -> None:
    """It dies before it can write the answer down; the lease runs out and the merchant hears the same id again."""
    [payment_id] = await counter.sell(receiver.url("/twice"))
    async with another_house() as doomed:
        from dewpond.worker.readers import register
        from dewpond.worker.rounds import read_facts
        from dewpond.worker.runner import Runner

        await register(doomed)
        await read_facts(doomed)
        await read_facts(doomed)

        async def never(*_: Any, **__: Any) -> Any:
            await asyncio.sleep(3600)

        doomed.courier._records.submit = never  # what a kill does at this point
        runner = Runner(doomed)
        await runner.take()
        while not receiver.heard("/twice"):
            await asyncio.sleep(0.01)
        await runner.finish(0.1)
        async with counter.database.transaction() as tx:  # as if the dead one's lease had run out
            await tx.connection.execute("update kit.jobs set leased_until = leased_until - interval '1 hour'")
    await counter.drain()
    assert len({request.said["id"] for request in receiver.heard("/twice")}) == 1
    assert len(receiver.heard("/twice")) == 2
    [delivery] = await counter.deliveries(payment_id)
    assert (delivery.status, delivery.attempts) == (DELIVERED, 1)


async def test_an_attempt_written_down_twice_is_one(counter: Any, receiver: Any) -> None:
    """As when the connection is lost at the commit and nobody knows whether it happened."""
    from dewpond.kit.clock import wall_now
    from dewpond.kit.ids import new_id
    from dewpond.openplatform.attempts import Ended, record_attempts

    await counter.sell(receiver.url("/once", None))
    facts = await counter.facts(*[payment for payment in await counter.sell(receiver.url("/once"))])
    async with counter.database.transaction() as tx:
        await notify_merchant(tx, facts, await worlds.read_clocks(tx))
    [delivery] = await counter.deliveries(facts[0].aggregate_id)
    ended = Ended(
        delivery=delivery,
        id=new_id(),
        attempted_at=(await counter.now()).world,
        elapsed_ms=1,
        http_status=500,
        outcome="answered 500",
        answer="",
        body=b"{}",
    )
    for _ in range(2):
        async with counter.database.transaction() as tx:
            [state] = await record_attempts(tx, [ended], wall_now=wall_now())
        assert state.next_attempt_at == ended.attempted_at + timedelta(seconds=15)
    [found] = await counter.deliveries(facts[0].aggregate_id)
    assert (found.attempts, found.slot, len(await counter.attempts(found))) == (1, 1, 1)


async def test_deliveries_are_listed_newest_first_page_by_page(counter: Any, receiver: Any) -> None:
    for _ in range(3):
        await counter.sell(receiver.url("/listed"), times=4)
        await counter.drain()
    listed: list[UUID] = []
    before = None
    while page := await counter.deliveries(before=before, most=5):
        assert len(page) <= 5
        listed += [delivery.id for delivery in page]
        before = (page[-1].created_at, page[-1].id)
    everything = await counter.deliveries(most=100)
    assert listed == [delivery.id for delivery in everything]
    assert len(listed) == 12
    assert [d.created_at for d in everything] == sorted((d.created_at for d in everything), reverse=True)
    text = openplatform.to_text(listed[0])
    assert text.startswith("dlv_")
    assert openplatform.from_text(text) == listed[0]
