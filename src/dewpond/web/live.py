"""Live: server-sent events by position, so that a console that was away misses nothing.

    kit.facts ──one reader per process──▶ Live ──▶ a stream per open page

A stream is told of a fact once the pool has settled it (the reservoir's readers have passed it), so what a console
shows beside it is never older than the fact itself. Each message carries its position as `id`; a browser that comes
back brings the last one it saw and is told the rest, or to load the page anew where that is too much. Pages of one kind
are kept up to date alike: what a merchant's streams of a kind are told is composed once for each language, however many
look on. Who may listen no more (signed out, or no longer of that shop) is let go within half a minute.

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
from dewpond.kit.db import Database, Tx
from dewpond.kit.outbox import Fact
from dewpond.web.words import Language, speak

log = structlog.get_logger(__name__)

#: What is to be told of some facts of one merchant, in the language that is spoken at the moment; None for nothing.
Compose = Callable[[Tx, UUID, Sequence[Fact], Now], Awaitable["Telling | None"]]

_LOOK_SECONDS: Final = 0.15
#: After a long look this process does other things for as long again, for people pay in it as well; at most so long.
_LONGEST_REST_SECONDS: Final = 0.5
_TROUBLE_SECONDS: Final = 1.0
#: Proxies and browsers take a silent line for a dead one.
_BEAT_SECONDS: Final = 15.0
#: How often it is asked who may still listen.
_WELCOME_SECONDS: Final = 30.0
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

    token: str
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
            yield await self._missed(stream, begin)
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

    async def _missed(self, stream: _Stream, begin: int) -> bytes:
        """What a stream was not told while it was away, as one message; at least where it stands."""
        after = begin if stream.after is None else stream.after
        async with self._db.transaction() as tx:
            # A page may have been shown by a process that is further on than this one.
            upto = begin if after <= begin else await settled(tx)
            if not 0 <= upto - after <= CATCH_UP:  # too long ago, or a position of a world that was reset
                return _message(begin, Telling(reload=True))
            if after >= begin:
                return _message(after, Telling())
            facts = await outbox.page_of_merchant(tx, stream.feed.merchant_id, after=after, upto=begin)
        told = await self._told(stream.feed, facts, {stream.language}) if facts else {}
        return told.get(stream.language) or _message(begin, Telling())

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

    async def _look(self) -> int:
        """Tell what is new; how many facts were passed."""
        if self._cursor is None:
            return 0
        async with self._db.transaction() as tx:
            upto = await settled(tx)
            if upto < self._cursor:  # another world was put in this one's place
                self._cursor = upto
                self._let_go()
            if upto == self._cursor:
                return 0
            page = [fact for fact in await outbox.page(tx, after=self._cursor, most=_PAGE) if fact.position <= upto]
        facts_of: dict[UUID, list[Fact]] = {feed.merchant_id: [] for feed in self._streams}
        for fact in page:
            if fact.merchant_id in facts_of:
                facts_of[fact.merchant_id].append(fact)
        told = {feed: await self._try_telling(feed, facts_of[feed.merchant_id]) for feed in list(self._streams)}
        self._cursor = page[-1].position if page else upto
        for feed, messages in told.items():
            self._hand_out(feed, messages, facts_of[feed.merchant_id])
        return len(page)

    def _hand_out(self, feed: _Feed, messages: Mapping[Language, bytes] | None, facts: Sequence[Fact]) -> None:
        for stream in list(self._streams.get(feed, ())):
            if messages is None:
                stream.let_go()
                continue
            message = messages.get(stream.language)
            if message is None or facts[-1].position <= (stream.after or 0):
                continue
            if not stream.tell(message):
                self._leave(stream)

    async def _try_telling(self, feed: _Feed, facts: Sequence[Fact]) -> Mapping[Language, bytes] | None:
        """What these streams are told; None where it cannot be said: they are let go, and nobody else has to wait."""
        languages = {stream.language for stream in self._streams.get(feed, ())}
        if not facts or not languages:
            return {}
        try:
            return await self._told(feed, facts, languages)
        except Exception as error:  # noqa: BLE001 - one shop's trouble is not the others'
            log.warning("live.trouble", kind=feed.kind, merchant=str(feed.merchant_id), error=repr(error))
            return None

    async def _told(
        self, feed: _Feed, facts: Sequence[Fact], languages: Collection[Language]
    ) -> Mapping[Language, bytes]:
        messages = {}
        async with self._db.transaction() as tx:
            now = await worlds.read_clocks(tx)
            for language in languages:
                speak(language)
                telling = await self._kinds[feed.kind](tx, feed.merchant_id, facts, now)
                if telling is not None:
                    messages[language] = _message(facts[-1].position, telling)
        return messages

    async def _watch(self) -> None:
        """Ask again and again who may still listen, as long as anybody is there."""
        while self._streams:
            await asyncio.sleep(_WELCOME_SECONDS)
            guests = {stream.guest for some in self._streams.values() for stream in some}
            try:
                async with self._db.transaction() as tx:
                    welcome = set(await self._welcome(tx, guests))
            except Exception as error:  # noqa: BLE001 - asked again in a moment
                log.warning("live.trouble", error=repr(error))
                continue
            for some in self._streams.values():
                for stream in some:
                    if stream.guest in guests - welcome:
                        stream.let_go()


async def settled(tx: Tx) -> int:
    """How far the pool has read: a page that is rendered now shows everything up to here."""
    positions = [one.position for one in await outbox.reader_positions(tx) if one.name.startswith(_POOL)]
    return min(positions, default=0)


#: Without a position: what was not told any more is told when the page comes back.
_FAREWELL: Final = b"data: %s\n\n" % msgspec.json.encode(Telling(rest=True))


def _message(position: int, telling: Telling) -> bytes:
    return b"id: %d\ndata: %s\n\n" % (position, msgspec.json.encode(telling))
