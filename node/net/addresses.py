"""Where peers may be found: which multiaddrs are worth a dial, for whom, and in which order (docs/network.md).

Whatever an address says, Noise proves who answers there: a wrong one costs a dial, and nothing else.
"""

import itertools
import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from enum import Enum, IntEnum
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Protocol

from protocol.ids import PeerId

PER_SOURCE = 8
"""Addresses of one peer that one source may give."""
REMEMBERED = 4
"""Addresses of one peer that are remembered because they worked."""
PER_TURN = 4
"""Addresses of one peer that are dialled one after the other before there is a pause."""
KEPT_FOR = 30 * 24 * 3600.0
"""Seconds for which an address that worked is remembered when no source gives it any more."""

_FORM = re.compile(
    r"/(ip4|ip6|dns|dns4|dns6)/([A-Za-z0-9.:_-]{1,253})/tcp/([0-9]{1,5})(?:/p2p/[1-9A-Za-z]{1,64})?"
)


class Source(IntEnum):
    """Who gives an address; of several that are untried, those of the earlier source are dialled first."""

    CONFIGURED = 0
    """The operator."""
    LAN = 1
    """Somebody on the local network, who may be anybody."""
    ANNOUNCED = 2
    """The member itself, on the topic."""


class Scope(Enum):
    """From where an address can be reached."""

    LOOPBACK = "this machine"
    LINK = "this link"
    """Link-local, where clouds answer with their machines' secrets."""
    PRIVATE = "a private network"
    PUBLIC = "everywhere"
    NAMED = "as its name says"
    """A DNS name, which has no scope before it is resolved."""
    NOWHERE = "nowhere"
    """Multicast, unspecified, reserved, or no address at all: never dialled."""


def scope_of(address: str) -> Scope:
    """From where a multiaddr can be reached; NOWHERE when it is none that we could dial."""
    form = _FORM.fullmatch(address)
    if form is None or not 1 <= int(form[3]) <= 65_535:
        return Scope.NOWHERE
    if form[1].startswith("dns"):
        return Scope.NAMED
    try:
        ip = ip_address(form[2])
    except ValueError:
        return Scope.NOWHERE
    if ip.version != int(form[1][-1]):
        return Scope.NOWHERE
    return _scope_of_ip(ip)


def _scope_of_ip(ip: IPv4Address | IPv6Address) -> Scope:
    if isinstance(ip, IPv6Address) and ip.ipv4_mapped is not None:
        return _scope_of_ip(ip.ipv4_mapped)
    if ip.is_loopback:
        return Scope.LOOPBACK
    if ip.is_link_local:
        return Scope.LINK
    if ip.is_multicast or ip.is_unspecified or ip.is_reserved:
        return Scope.NOWHERE
    return Scope.PUBLIC if ip.is_global else Scope.PRIVATE


def own_scopes(addresses: Iterable[str]) -> frozenset[Scope]:
    """In which networks a node is that listens at, or announces, these addresses."""
    # Port 0, any free one, is as good as another here.
    scopes = {scope_of(re.sub("/tcp/0$", "/tcp/1", address)) for address in addresses}
    return frozenset(scopes - {Scope.NOWHERE, Scope.NAMED})


def is_worth_a_dial(scope: Scope, source: Source, ours: frozenset[Scope]) -> bool:
    """Whether to dial an address that somebody gave: others must not make us knock at doors inside our own house."""
    match source:
        case Source.CONFIGURED:
            return scope is not Scope.NOWHERE
        case Source.LAN:
            return scope in {Scope.PRIVATE, Scope.PUBLIC}
        case Source.ANNOUNCED:
            return scope in {Scope.PUBLIC, Scope.NAMED} | ours


@dataclass(frozen=True, slots=True)
class Known:
    """One address of a peer."""

    address: str
    sources: frozenset[Source] = frozenset()
    worked: float | None = None
    """When the peer last answered there, in seconds of the epoch."""
    failures: int = 0
    """Dials in vain since then."""
    tried: int = 0
    """Which of all dials was the last one there."""

    def rank(self, best: "Known | None") -> tuple[int, int, float, int]:
        """Where it comes in a turn: what worked last, what has not failed yet, then what was tried longest ago."""
        if self is best:
            return (0, 0, 0.0, 0)
        if self.failures:
            return (2, self.tried, 0.0, 0)
        return (1, 0, -(self.worked or 0.0), min(self.sources, default=len(Source)))


Found = Callable[[PeerId, tuple[str, ...]], None]
"""Takes addresses of a peer, which may be a stranger; must be called in the event loop's thread."""


class Finder(Protocol):
    """A source of addresses that looks for peers by itself: a local network, and one day a table of hashes."""

    async def run(self, peer: PeerId, listen: str, found: Found) -> None:
        """Say where this node listens, and tell whom it finds, until cancelled; nothing it meets may end it."""


class Memory(Protocol):
    """What survives a restart: addresses that worked (node/net/remembered.py)."""

    def recall(self) -> Mapping[PeerId, tuple[Known, ...]]:
        """What was noted before."""

    def note(self, peer: PeerId, known: Known) -> None:
        """Note an address that has worked, or has begun to fail."""

    def forget(self, peer: PeerId, address: str) -> None:
        """Note an address no more."""


class Forgetful:
    """No memory."""

    def recall(self) -> Mapping[PeerId, tuple[Known, ...]]:
        """Nothing."""
        return {}

    def note(self, peer: PeerId, known: Known) -> None:
        """Nothing."""

    def forget(self, peer: PeerId, address: str) -> None:
        """Nothing."""


class AddressBook:
    """For each peer a bounded list of addresses, from several sources, with what came of dialling them.

    ours: in which networks this node is. clock: seconds of the epoch.
    """

    def __init__(
        self,
        ours: frozenset[Scope] = frozenset(),
        memory: Memory | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._ours = ours
        self._memory = Forgetful() if memory is None else memory
        self._clock = clock
        self._dials = itertools.count(1)
        self._peers: dict[PeerId, dict[str, Known]] = {}
        for peer, remembered in self._memory.recall().items():
            self._peers[peer] = {known.address: known for known in remembered}
            self._prune(peer)

    def tell(self, peer: PeerId, source: Source, addresses: Iterable[str]) -> bool:
        """Take what a source says of a peer in place of what it said before; whether an address is news."""
        said = dict.fromkeys(itertools.islice(addresses, PER_SOURCE))
        valid = [each for each in said if is_worth_a_dial(scope_of(each), source, self._ours)]
        entries = self._peers.setdefault(peer, {})
        is_news = False
        for known in list(entries.values()):
            if known.address not in valid and source in known.sources:
                entries[known.address] = replace(known, sources=known.sources - {source})
        for address in valid:
            known = entries.get(address) or Known(address)
            is_news = is_news or not known.sources
            entries[address] = replace(known, sources=known.sources | {source})
        self._prune(peer)
        return is_news

    def known(self, peer: PeerId) -> tuple[Known, ...]:
        """A peer's addresses, in the order in which they are to be dialled next."""
        entries = self._peers.get(peer, {}).values()
        tried = [known for known in entries if known.worked is not None]
        best = max(tried, key=lambda known: known.worked or 0.0, default=None)
        return tuple(sorted(entries, key=lambda known: known.rank(best)))

    def turn(self, peer: PeerId) -> tuple[str, ...]:
        """The addresses to dial now, one after the other: at most PER_TURN, and over several turns all of them."""
        return tuple(known.address for known in self.known(peer)[:PER_TURN])

    def is_ours_to_dial(self, peer: PeerId, address: str, resolved: str) -> bool:
        """Whether a name's address may be dialled on the word of those who gave the name."""
        known = self._peers.get(peer, {}).get(address)
        # What worked was right once, but a name may mean something else today.
        sources = known.sources if known is not None and known.sources else {Source.ANNOUNCED}
        return any(is_worth_a_dial(scope_of(resolved), source, self._ours) for source in sources)

    def on_answer(self, peer: PeerId, address: str) -> None:
        """The peer answered there, and proved who it is."""
        if known := self._tried(peer, address):
            self._put(peer, replace(known, worked=self._clock(), failures=0), is_noted=True)
            self._prune(peer)

    def on_failure(self, peer: PeerId, address: str) -> bool:
        """A dial there was in vain; whether it is the first one since it worked, or was told of."""
        known = self._tried(peer, address)
        if known is None:
            return False
        is_first = known.failures == 0
        # A peer that is away for weeks must not wear the disk.
        self._put(peer, replace(known, failures=known.failures + 1), known.worked is not None and is_first)
        return is_first

    def keep_only(self, peers: frozenset[PeerId]) -> None:
        """Drop what is known of all other peers, but not what is remembered of them."""
        for peer in self._peers.keys() - peers:
            kept = {a: replace(k, sources=frozenset()) for a, k in self._peers[peer].items() if k.worked}
            self._peers[peer] = kept
            self._prune(peer)

    def _tried(self, peer: PeerId, address: str) -> Known | None:
        known = self._peers.get(peer, {}).get(address)
        return None if known is None else replace(known, tried=next(self._dials))

    def _put(self, peer: PeerId, known: Known, is_noted: bool) -> None:
        self._peers[peer][known.address] = known
        if is_noted:
            self._memory.note(peer, known)

    def _prune(self, peer: PeerId) -> None:
        """Forget what nobody gives any more, unless it worked lately; the oldest of that first."""
        oldest = self._clock() - KEPT_FOR
        entries = self._peers[peer]
        orphans = sorted((k for k in entries.values() if not k.sources), key=lambda k: -(k.worked or 0.0))
        for position, known in enumerate(orphans):
            if known.worked is None or known.worked < oldest or position >= REMEMBERED:
                del entries[known.address]
                if known.worked is not None:
                    self._memory.forget(peer, known.address)
        if not entries:
            del self._peers[peer]
