"""Which piece to ask whom for: many fetch one blob from one origin and from each other. No I/O, no clock, no chance.

Each of the fetchers takes its own share from the origin at once, every n-th piece, and the rest from those who have
it by then, the rarest first. So the origin sends about one copy, however many fetch. Who says nothing new for a while
has its share taken over by the others, and where nothing comes at all everything may be asked of the origin.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from protocol.ids import PeerId

DEPTH = 3
"""Pieces asked of one source at a time, so that its link is never idle."""
MOST = 16
"""Pieces asked of all sources together."""
HESITATION = 1.0
"""Seconds without any piece after which others' shares are asked of the origin, too."""
SILENCE = 3.0
"""Seconds without anything new from a source after which the others take over its share."""
PATIENCE = 5.0
"""Seconds after which a piece that has been asked for is asked of another source, too, when nothing else is left."""
_PACE = 0.1
"""Seconds between two pieces for which these times are meant; where pieces come more slowly they are longer."""


@dataclass(frozen=True, slots=True)
class Ask:
    """What to ask of a source."""

    source: PeerId
    index: int | None
    """A piece; or None: which pieces it has, once they are more than `known`."""
    known: int = 0


@dataclass(slots=True)
class _Source:
    news: float
    """When it last had anything new."""
    has: set[int] = field(default_factory=set)
    asked: dict[int, float] = field(default_factory=dict)
    """Pieces on their way, and since when."""
    is_polled: bool = False


class Schedule:
    """One fetch: times are seconds of any steady clock."""

    def __init__(
        self, me: PeerId, sources: tuple[PeerId, ...], count: int, missing: Collection[int], now: float
    ) -> None:
        """sources: the origin first, which is taken to have all; the others may be fetching, too."""
        self._me = me
        self._count = count
        self._origin = sources[0] if sources else None
        self._ring = sorted({me, *sources[1:]} - {self._origin})
        self._sources = {source: _Source(now) for source in sources}
        if self._origin is not None:
            self._sources[self._origin].has = set(range(count))
        self._missing = set(missing)
        self._open = set(missing)
        """Missing, and not on their way."""
        start = self._ring.index(me) if me in self._ring else 0
        self._order = [(index - start) % count for index in range(count)]
        """What is lowest is asked for first: the rarest, and among these one's own share."""
        self._rare = set(range(count))
        """What nobody but the origin is known to have."""
        self._start = self._arrival = now
        self._arrived = 0
        self._slack = 1.0
        self._alive: tuple[PeerId, ...] = ()
        self._mine: set[int] = set()

    @property
    def is_done(self) -> bool:
        """Whether nothing is missing."""
        return not self._missing

    @property
    def is_hopeless(self) -> bool:
        """Whether something is missing, and nobody is left to ask."""
        return bool(self._missing) and not self._sources

    @property
    def last_arrival(self) -> float:
        """When a piece last came, or the fetch began."""
        return self._arrival

    def on_has(self, source: PeerId, indices: Iterable[int], now: float) -> None:
        """A source has said which pieces it has."""
        state = self._sources.get(source)
        if state is None:
            return
        state.is_polled = False
        if fresh := set(indices) - state.has:
            state.news = now
            state.has |= fresh
            if source != self._origin:
                self._note(fresh, 1)

    def on_piece(self, source: PeerId, index: int, now: float) -> None:
        """A piece has come, and is right."""
        self._arrival = now
        self._missing.discard(index)
        self._arrived += 1
        self._slack = max(1.0, (now - self._start) / self._arrived / _PACE)
        self._open.discard(index)
        if state := self._sources.get(source):
            state.asked.pop(index, None)
            state.news = now

    def on_refused(self, source: PeerId, index: int | None) -> None:
        """A source has not got what it was asked for, or not yet."""
        state = self._sources.get(source)
        if state is None:
            return
        if index is None:
            state.is_polled = False
        else:
            if source != self._origin and index in state.has:
                self._note({index}, -1)
            state.has.discard(index)
            self._give_back(state, index)

    def on_gone(self, source: PeerId) -> None:
        """A source is not there any more, or has lied: it is not asked again."""
        if state := self._sources.pop(source, None):
            for index in list(state.asked):
                self._give_back(state, index)
            if source != self._origin:
                self._note(state.has, -1)

    def next(self, now: float) -> list[Ask]:
        """What to ask now; each of these is on its way from then on."""
        asks: list[Ask] = []
        self._look_who_lives(now)
        self._reopen(now)
        # The origin last: what others have they shall send.
        for source in sorted(self._sources, key=lambda source: (source == self._origin, source)):
            state = self._sources[source]
            while len(state.asked) < DEPTH and self._under_way() < MOST:
                index = self._choice(source, state, now)
                if index is None:
                    break
                state.asked[index] = now
                self._open.discard(index)
                asks.append(Ask(source, index))
            if not state.is_polled and len(state.has) < self._count and not self._has_plenty():
                state.is_polled = True
                asks.append(Ask(source, None, len(state.has)))
        return asks

    def wake(self, now: float) -> float | None:
        """When `next` is due again though nothing has happened; None: not before something does."""
        times = [self._arrival + HESITATION * self._slack]
        for state in self._sources.values():
            times.append(state.news + SILENCE * self._slack)
            times += [since + PATIENCE * self._slack for since in state.asked.values()]
        return min((time for time in times if time > now), default=None)

    def _choice(self, source: PeerId, state: _Source, now: float) -> int | None:
        pool = self._open & state.has
        if source == self._origin and now < self._arrival + HESITATION * self._slack:
            pool &= self._mine & self._rare
        pool -= state.asked.keys()
        return min(pool, key=self._order.__getitem__, default=None)

    def _has_plenty(self) -> bool:
        """Whether so much is known to ask for that news of more are not worth their messages."""
        return self._under_way() + len(self._open - self._rare) >= MOST

    def _under_way(self) -> int:
        return sum(len(state.asked) for state in self._sources.values())

    def _note(self, indices: set[int], more: int) -> None:
        """So many more of the others have these."""
        for index in indices:
            self._order[index] += more * self._count
            if self._order[index] < self._count:
                self._rare.add(index)
            else:
                self._rare.discard(index)

    def _give_back(self, state: _Source, index: int) -> None:
        state.asked.pop(index, None)
        if index in self._missing:
            self._open.add(index)

    def _reopen(self, now: float) -> None:
        """At the end, what has been on its way for too long may come from another, too."""
        if self._open:
            return
        for state in self._sources.values():
            late = {index for index, since in state.asked.items() if now >= since + PATIENCE * self._slack}
            self._open |= late & self._missing

    def _look_who_lives(self, now: float) -> None:
        """Share out the pieces anew when the fetchers that seem to live are others than before."""
        alive = tuple(peer for peer in self._ring if peer == self._me or self._is_alive(peer, now))
        if alive == self._alive:
            return
        self._alive = alive
        place, size = alive.index(self._me), len(self._ring)
        living = set(alive)
        # The same rule for everybody: those who see the same fetchers alive never ask for the same piece twice.
        self._mine = {
            index
            for index in range(self._count)
            if self._ring[index % size] == self._me
            or (self._ring[index % size] not in living and (index // size) % len(alive) == place)
        }

    def _is_alive(self, peer: PeerId, now: float) -> bool:
        state = self._sources.get(peer)
        return state is not None and (
            len(state.has) == self._count or now < state.news + SILENCE * self._slack
        )
