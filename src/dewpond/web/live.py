"""Live: server-sent events by position, so that a console that was away misses nothing.

    kit.facts ──one reader per process──▶ Live ──▶ a stream per open page

A stream is told of a fact once the pool has settled it (the reservoir's readers have passed it), so what a console
shows beside it is never older than the fact itself. Each message carries its position as `id`; a browser that comes
back brings the last one it saw and is told the rest, or to load the page anew where that is too much. Pages of one kind
are kept up to date alike: what they are told is asked for once, of all shops together, and written once for each shop
and language, however many look on. Who may listen no more (signed out, or no longer of that shop) is let go within two
seconds, and is told nothing that happened after.

A session keeps no more than some lines: the oldest makes room for the newest, and is told so, that its page rests until
somebody looks at it instead of coming back at once in place of another.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from typing import Final, NamedTuple
from uuid import UUID

import msgspec
import structlog

from dewpond.kit import outbox, worlds
from dewpond.kit.clock import Now
from dewpond.kit.db import Database, Tx, is_lost
from dewpond.kit.outbox import Fact
from dewpond.web.words import Language, speak

log = structlog.get_logger(__name__)

#: What a merchant's pages are told, in the language that is spoken at the moment.
Write = Callable[[], "Telling"]
#: What is to be told of facts, of several merchants at once; those are left out whose pages are told nothing.
Compose = Callable[[Tx, Mapping[UUID, Sequence[Fact]], Now], Awaitable[Mapping[UUID, Write]]]

_LOOK_SECONDS: Final = 0.15
#: After a long look this process does other things for as long again, for people pay in it as well; at most so long.
_LONGEST_REST_SECONDS: Final = 0.5
_TROUBLE_SECONDS: Final = 1.0
#: Proxies and browsers take a silent line for a dead one.
_BEAT_SECONDS: Final = 15.0
#: How often it is asked who may still listen, of all at once.
_WELCOME_SECONDS: Final = 1.0
#: Facts read in one look; and the longest stretch that is told again to who comes back.
_PAGE: Final = 2_000
CATCH_UP: Final = 5_000
#: Messages that may wait for one reader before it is let go; it comes back by itself.
BACKLOG: Final = 64
#: Streams of one process; each costs some kilobytes.
STREAMS: Final = 4_000
#: Lines that one session keeps; a browser has six to a server at most, for all of its windows.
OF_SESSION: Final = 16
#: Lines of one session that may be open at all, with those that were let go and that nobody reads to their end.
_MOST_OF_SESSION: Final = 2 * OF_SESSION

_POOL: Final = "reservoir."


class Guest(msgspec.Struct, frozen=True, kw_only=True):
    """Who listens, by what lets them in."""

    session_id: UUID
    staff_id: UUID
    merchant_id: UUID
    need: str


#: Which of these guests may go on listening.
Welcome = Callable[[Tx, Collection[Guest]], Awaitable[Collection[Guest]]]


class Patch(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a page does with a piece of HTML at a selector."""

    how: str
    html: str


class Telling(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One message to a page: pieces to put in place, and what moves."""

    html: dict[str, Patch] = {}
    #: How many new drops fall into the pool.
    drops: int = 0
    reload: bool = False
    #: A newer line of the same session has taken this one's place: come back when somebody looks at the page.
    rest: bool = False


class _Feed(NamedTuple):
    """What streams that are told the same have alike."""

    kind: str
    merchant_id: UUID


class _Stream:
    """One open page."""

    def __init__(self, feed: _Feed, language: Language, guest: Guest, after: int | None) -> None:
        self.feed = feed
        self.language = language
        self.guest = guest
        #: What the page shows already.
        self.after = after
        self.queue: asyncio.Queue[bytes | None] = asyncio.Queue(BACKLOG)
        self.is_leaving = False

    def tell(self, message: bytes) -> bool:
        """Hand over a message; False to let go who is too slow for that."""
        if self.is_leaving:
            return False
        try:
            self.queue.put_nowait(message)
        except asyncio.QueueFull:
            self.let_go()
            return False
        return True

    def let_go(self, farewell: bytes | None = None) -> None:
        """End it, whatever waits; with a last word where there is one."""
        if self.is_leaving:
            return
        self.is_leaving = True
        while not self.queue.empty():
            self.queue.get_nowait()
        if farewell is not None:
            self.queue.put_nowait(farewell)
        self.queue.put_nowait(None)


class Live:
    """All event streams of one process over one reader of facts."""

    def __init__(self, db: Database, kinds: Mapping[str, Compose], welcome: Welcome) -> None:
        self._db = db
        self._kinds = kinds
        self._welcome = welcome
        self._streams: dict[_Feed, set[_Stream]] = {}
        #: Every line that is open, with those not told anything yet or any more: by session, the oldest first.
        self._lines: dict[UUID, list[_Stream]] = {}
        self._open = 0
        self._cursor: int | None = None
        self._reading: asyncio.Task[None] | None = None
        self._watching: asyncio.Task[None] | None = None
        self._is_closed = False
        #: Nobody joins in the middle of a look: what it found would pass by the newcomer.
        self._looking = asyncio.Lock()

    def has_room_for(self, guest: Guest) -> bool:
        """Whether one more line may be opened; the oldest of the same session are let go for it."""
        lines = self._lines.get(guest.session_id, ())
        return len(lines) < _MOST_OF_SESSION and self._open < STREAMS

    async def stream(
        self, kind: str, merchant_id: UUID, language: Language, guest: Guest, *, after: int | None
    ) -> AsyncIterator[bytes]:
        """What happens to a merchant from now on, or from the position `after` on, as pages of this kind are told it,
        until the reader goes away or is let go."""
        if not self.has_room_for(guest):  # asked before the answer began; many may have begun since
            return
        stream = _Stream(_Feed(kind, merchant_id), language, guest, after)
        self._take_in(stream)
        try:
            yield b"retry: 1000\n\n"
            begin = await self._join(stream)
            if begin is None:
                return
            if (missed := await self._missed(stream, begin)) is not None:
                yield missed
            while (message := await self._next(stream)) is not None:
                yield message
        except Exception as error:  # noqa: BLE001 - this line ends, and its page comes back by itself
            log.warning("live.trouble", kind=kind, error=repr(error))
        finally:
            self._leave(stream)
            self._forget(stream)

    async def close(self) -> None:
        """Let every stream go, and take in no more."""
        self._is_closed = True
        tasks = [task for task in (self._reading, self._watching) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._let_go()

    def _let_go(self) -> None:
        for some in self._streams.values():
            for stream in some:
                stream.let_go()

    async def _join(self, stream: _Stream) -> int | None:
        """Begin to tell a stream; the position it is told from, or None where nobody is told any more."""
        async with self._looking:
            if self._cursor is None:
                async with self._db.transaction() as tx:
                    self._cursor = await settled(tx)
            if stream.after is not None and stream.after > self._cursor:
                await self._look()  # what its page shows already is told to others only
            if self._is_closed:
                return None
            self._streams.setdefault(stream.feed, set()).add(stream)
            if self._reading is None or self._reading.done():
                self._reading = asyncio.create_task(self._read())
            if self._watching is None or self._watching.done():
                self._watching = asyncio.create_task(self._watch())
            return self._cursor

    def _take_in(self, stream: _Stream) -> None:
        """Enter a new line; those of the same session that are too many for it make room, the oldest first."""
        lines = self._lines.setdefault(stream.guest.session_id, [])
        staying = [line for line in lines if not line.is_leaving]
        lines.append(stream)
        self._open += 1
        for line in staying[: max(0, len(staying) + 1 - OF_SESSION)]:
            line.let_go(_FAREWELL)
            self._leave(line)

    def _forget(self, stream: _Stream) -> None:
        lines = self._lines[stream.guest.session_id]
        lines.remove(stream)
        self._open -= 1
        if not lines:
            del self._lines[stream.guest.session_id]

    def _leave(self, stream: _Stream) -> None:
        some = self._streams.get(stream.feed, set())
        some.discard(stream)
        if not some:
            self._streams.pop(stream.feed, None)

    async def _next(self, stream: _Stream) -> bytes | None:
        """The next message, or a sign of life with how far this process is: who comes back begins there."""
        try:
            async with asyncio.timeout(_BEAT_SECONDS):
                return await stream.queue.get()
        except TimeoutError:
            if not stream.queue.empty():  # it came just now, and its position with it
                return stream.queue.get_nowait()
            return _message(max(self._cursor or 0, stream.after or 0), Telling())

    async def _missed(self, stream: _Stream, begin: int) -> bytes | None:
        """What a stream was not told while it was away, as one message; at least where it stands. None for who may
        listen no more."""
        after = begin if stream.after is None else stream.after
        async with self._db.reading() as tx:
            # A page may have been shown by a process that is further on than this one.
            upto = begin if after <= begin else await settled(tx)
            if not 0 <= upto - after <= CATCH_UP:  # too long ago, or a position of a world that was reset
                return _message(begin, Telling(reload=True))
            if after >= begin:
                return _message(after, Telling())
            facts = await outbox.page_of_merchant(tx, stream.feed.merchant_id, after=after, upto=begin)
        kind, merchant_id = stream.feed
        write = (await self._ask(kind, {merchant_id: facts})).get(merchant_id) if facts else None
        if write is None:
            return _message(begin, Telling())
        await self._dismiss([stream])  # nobody looked after it while it waited to join
        return None if stream.is_leaving else _written(facts[-1].position, write, stream.language)

    async def _read(self) -> None:
        """Look again and again, as long as anybody is there."""
        loop = asyncio.get_running_loop()
        while self._streams:
            try:
                began = loop.time()
                async with self._looking:
                    await self._look()
                await asyncio.sleep(0)  # the lines take what they were handed
                rest = min(loop.time() - began, _LONGEST_REST_SECONDS)
                await asyncio.sleep(max(_LOOK_SECONDS, rest))
            except Exception as error:  # noqa: BLE001 - whatever it was, the streams are to go on
                log.warning("live.trouble", error=repr(error))
                await asyncio.sleep(_TROUBLE_SECONDS)
        self._cursor = None

    async def _look(self) -> None:
        """Tell what is new."""
        if self._cursor is None:
            return
        async with self._db.reading() as tx:
            upto = await settled(tx)
            if upto < self._cursor:  # another world was put in this one's place
                self._cursor = upto
                self._let_go()
            if upto == self._cursor:
                return
            page = [fact for fact in await outbox.page(tx, after=self._cursor, most=_PAGE) if fact.position <= upto]
        facts_of: dict[UUID, list[Fact]] = {feed.merchant_id: [] for feed in self._streams}
        for fact in page:
            if fact.merchant_id in facts_of:
                facts_of[fact.merchant_id].append(fact)
        composed = await self._compose({merchant_id: facts for merchant_id, facts in facts_of.items() if facts})
        await self._dismiss([stream for feed in composed for stream in self._streams.get(feed, ())])
        for feed, write in composed.items():
            self._hand_out(feed, write, facts_of[feed.merchant_id][-1].position)
            await asyncio.sleep(0)  # the lines take what they were handed, and others of this process have their turn
        self._cursor = page[-1].position if page else upto

    def _hand_out(self, feed: _Feed, write: Write | None, position: int) -> None:
        streams = list(self._streams.get(feed, ()))
        messages: dict[Language, bytes] = {}
        try:
            if write is not None:
                messages = {spoken: _written(position, write, spoken) for spoken in {one.language for one in streams}}
        except Exception as error:  # noqa: BLE001 - one shop's trouble is not the others'
            log.warning("live.trouble", kind=feed.kind, merchants=[str(feed.merchant_id)], error=repr(error))
        for stream in streams:
            message = messages.get(stream.language)
            if message is None:  # they come back by themselves
                stream.let_go()
            elif position > (stream.after or 0) and not stream.tell(message):
                self._leave(stream)

    async def _compose(self, facts_of: Mapping[UUID, Sequence[Fact]]) -> dict[_Feed, Write | None]:
        """What the streams of these merchants are told; None for those of whom it cannot be said: they are let go, and
        nobody else has to wait."""
        composed: dict[_Feed, Write | None] = {}
        for kind in self._kinds:
            some = {one: facts for one, facts in facts_of.items() if _Feed(kind, one) in self._streams}
            told = await self._try_asking(kind, some) if some else {}
            composed |= {_Feed(kind, merchant_id): write for merchant_id, write in told.items()}
        return composed

    async def _try_asking(self, kind: str, facts_of: Mapping[UUID, Sequence[Fact]]) -> Mapping[UUID, Write | None]:
        try:
            return await self._ask(kind, facts_of)
        except Exception as error:
            if is_lost(error) and not isinstance(error, TimeoutError):
                raise  # it is everybody's: the next look begins where this one did
            log.warning("live.trouble", kind=kind, merchants=[str(one) for one in facts_of][:10], error=repr(error))
        if len(facts_of) == 1:
            return dict.fromkeys(facts_of)
        # Whose trouble it is shows by halves.
        some = list(facts_of.items())
        first, second = dict(some[: len(some) // 2]), dict(some[len(some) // 2 :])
        return {**await self._try_asking(kind, first), **await self._try_asking(kind, second)}

    async def _ask(self, kind: str, facts_of: Mapping[UUID, Sequence[Fact]]) -> Mapping[UUID, Write]:
        async with self._db.reading() as tx:
            return await self._kinds[kind](tx, facts_of, await worlds.read_clocks(tx))

    async def _watch(self) -> None:
        """Ask again and again who may still listen, as long as anybody is there."""
        while self._streams:
            await asyncio.sleep(_WELCOME_SECONDS)
            try:
                await self._dismiss([stream for some in self._streams.values() for stream in some])
            except Exception as error:  # noqa: BLE001 - asked again in a moment
                log.warning("live.trouble", error=repr(error))

    async def _dismiss(self, streams: Collection[_Stream]) -> None:
        """Let those go who may listen no more."""
        guests = {stream.guest for stream in streams}
        if not guests:
            return
        async with self._db.reading() as tx:
            welcome = await self._welcome(tx, guests)
        for stream in streams:
            if stream.guest not in welcome:
                stream.let_go()


async def settled(tx: Tx) -> int:
    """How far the pool has read: a page that is rendered now shows everything up to here."""
    positions = [one.position for one in await outbox.reader_positions(tx) if one.name.startswith(_POOL)]
    return min(positions, default=0)


#: Without a position: what was not told any more is told when the page comes back.
_FAREWELL: Final = b"data: %s\n\n" % msgspec.json.encode(Telling(rest=True))


def _message(position: int, telling: Telling) -> bytes:
    return b"id: %d\ndata: %s\n\n" % (position, msgspec.json.encode(telling))


def _written(position: int, write: Write, language: Language) -> bytes:
    speak(language)
    return _message(position, write())
