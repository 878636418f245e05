"""What one participant knows, what can happen to it, and what it wants done (SPEC.md, step)."""

from dataclasses import dataclass

from protocol.bodies import Body
from protocol.ids import EPOCH, Digest, Nanoseconds, PeerId, Ppm, Round, Signature, TopicId
from protocol.messages import Choice, Message, Proposal, Update, Vote
from protocol.motions import FaultRecord
from protocol.parse import Record
from protocol.records import Stamp
from protocol.state import OpenRound, RunState
from protocol.transfers import Payout, TransactionId, Transfer

# ---- events: what happened ----


@dataclass(frozen=True, slots=True)
class Recorded:
    """A message of the topic, read back and verified to be the next one."""

    raw: bytes
    stamp: Stamp
    found: tuple[Transfer, ...] = ()
    """What the mirror has of the transfers that the record names."""


@dataclass(frozen=True, slots=True)
class CaughtUp:
    """All that was on the topic at the start has been read: from now on, act."""


@dataclass(frozen=True, slots=True)
class Received:
    """A well-formed message from a peer; its author may be somebody else."""

    sender: PeerId
    message: Message


@dataclass(frozen=True, slots=True)
class PeerUp:
    """A peer can be reached (again): it may have missed what was said."""

    peer: PeerId


@dataclass(frozen=True, slots=True)
class Listening:
    """Where others can reach us from now on, as we want them to know."""

    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Signed:
    """A body that is in the journal and signed. It may be an earlier one of the same slot and round."""

    body: Body
    signature: Signature


@dataclass(frozen=True, slots=True)
class Trained:
    """Our learner has made a candidate from a head."""

    round: Round
    base: Digest
    candidate: Digest
    size: int
    pieces: Digest | None = None
    """As in the proposal."""


@dataclass(frozen=True, slots=True)
class TrainingFailed:
    """Our learner could not make a candidate."""

    round: Round


@dataclass(frozen=True, slots=True)
class Merged:
    """Our learner has made one candidate of our own and the others' updates."""

    round: Round
    base: Digest
    candidate: Digest
    size: int
    pieces: Digest | None
    shares: tuple[Ppm, ...]
    """How much is whose: our own first, then as the updates were named; they add up to 1,000,000."""


@dataclass(frozen=True, slots=True)
class MergingFailed:
    """Our learner could not merge."""

    round: Round


@dataclass(frozen=True, slots=True)
class Scored:
    """Our learner has compared a candidate with the head."""

    round: Round
    candidate: Digest
    choice: Choice
    gain: Ppm


@dataclass(frozen=True, slots=True)
class ScoringFailed:
    """Our learner could not compare."""

    round: Round
    candidate: Digest


@dataclass(frozen=True, slots=True)
class Fetched:
    """A blob is in our store, its digest checked."""

    digest: Digest


@dataclass(frozen=True, slots=True)
class FetchingFailed:
    """No source would give us a blob."""

    digest: Digest


@dataclass(frozen=True, slots=True)
class Gone:
    """A blob is not in our store any more, or its bytes were others."""

    digest: Digest


@dataclass(frozen=True, slots=True)
class Executed:
    """What became of a settlement on the ledger."""

    number: int
    transaction: TransactionId | None
    """What the treasury did, or None: nothing, and it is too late."""
    succeeded: bool


@dataclass(frozen=True, slots=True)
class Tick:
    """The alarm went off."""


Event = (
    Recorded
    | CaughtUp
    | Received
    | PeerUp
    | Listening
    | Signed
    | Trained
    | TrainingFailed
    | Merged
    | MergingFailed
    | Scored
    | ScoringFailed
    | Fetched
    | FetchingFailed
    | Gone
    | Executed
    | Tick
)


# ---- effects: what is to be done ----


@dataclass(frozen=True, slots=True)
class Train:
    """Make a candidate for a round from its head; answer with Trained or TrainingFailed.

    For the round after the open one the head is a bet: another Train takes the place of this one.
    """

    round: Round
    head: Digest


@dataclass(frozen=True, slots=True)
class Merge:
    """Make one candidate of our own and the others' updates; answer with Merged or MergingFailed."""

    round: Round
    head: Digest
    own: Digest
    updates: tuple[tuple[int, Digest], ...]
    """By the places of their contributors, ascending."""


@dataclass(frozen=True, slots=True)
class Fetch:
    """Get a blob from any of the sources; answer with Fetched or FetchingFailed."""

    digest: Digest
    size: int
    sources: tuple[PeerId, ...]
    """The likeliest first."""
    pieces: Digest | None = None
    """Digest of the digests of its pieces, where it has several."""


@dataclass(frozen=True, slots=True)
class Score:
    """Compare a candidate with the head; answer with Scored or ScoringFailed."""

    round: Round
    head: Digest
    candidate: Digest


@dataclass(frozen=True, slots=True)
class Sign:
    """Put a body into the journal, sign it, and answer with Signed."""

    body: Body


@dataclass(frozen=True, slots=True)
class Send:
    """Send a message to some peers; whoever is not connected hears it when it is."""

    message: Message
    to: tuple[PeerId, ...]


@dataclass(frozen=True, slots=True)
class Submit:
    """Put a record on the topic."""

    record: Record


@dataclass(frozen=True, slots=True)
class Adopt:
    """Tell the learner what the head is now."""

    round: Round
    head: Digest


@dataclass(frozen=True, slots=True)
class Cosign:
    """Sign on the ledger what a settlement asks for, and see it through; answer with Executed."""

    number: int
    payout: Payout


Effect = Train | Merge | Fetch | Score | Sign | Send | Submit | Adopt | Cosign
Effects = tuple[Effect, ...]


# ---- the view ----


@dataclass(frozen=True, slots=True)
class Gathering:
    """The weights that members have made for the round in progress (SPEC.md, contributions)."""

    own: Trained | None = None
    """What our learner has made: our update, or, where it is our turn, what the others' are merged with."""
    is_given: bool = False
    """Our update is being signed, or was."""
    given: Update | None = None
    """As the proposer is told."""
    updates: tuple[Update, ...] = ()
    """Those that came to us, whose turn it is: valid ones, one a contributor."""
    lost: frozenset[int] = frozenset()
    """Contributors whose update could not be had."""
    is_over: bool = False
    """No other update is taken in."""
    merging: tuple[tuple[int, Digest], ...] = ()
    """What our learner merges."""


@dataclass(frozen=True, slots=True)
class Work:
    """What we have done, and heard, in the round in progress."""

    proposal: Proposal | None = None
    """The first valid proposal we heard of; a different one is not considered."""
    votes: tuple[Vote, ...] = ()
    """Valid votes on it, one a voter, our own included."""
    waiting: tuple[Vote, ...] = ()
    """Votes on a proposal we have not heard of yet, one a voter."""
    gathering: Gathering = Gathering()
    busy: bool = False
    """Our learner is at it, or our signature is."""
    failures: int = 0
    """How often our learner has failed in this round."""
    turn_signed: bool = False
    """Our proposal or pass is being signed, or was: what else our learner made for this turn is not wanted."""
    told_at: Nanoseconds | None = None
    """When we told those of our vote who need it at once."""
    told_all: bool = False
    """Whether the others have been told, too."""
    decided_at: Nanoseconds | None = None
    """When we first saw a tally that nothing can turn."""
    verdict_sent: Nanoseconds | None = None
    vote_sent: bool = False
    """Our vote, or proposal, is on its way to the topic."""
    close_sent: Nanoseconds | None = None
    present_sent: bool = False


@dataclass(frozen=True, slots=True)
class Ahead:
    """What we train for the round after the open one, on a bet what its head will be."""

    round: Round
    base: Digest
    trained: Trained | None = None
    """The candidate, once it is there."""
    failed: bool = False
    """Our learner could not make one."""


@dataclass(frozen=True, slots=True)
class Payment:
    """What we have done about a settlement that is due, or open."""

    number: int
    since: Nanoseconds
    """When we first saw it in this state."""
    is_open: bool
    cosigned: bool = False
    """Our shell is at it."""
    outcome: Executed | None = None
    sent: Nanoseconds | None = None
    """When we last put a record about it on the topic."""


@dataclass(frozen=True, slots=True)
class Charge:
    """Evidence against a member, on its way to the topic."""

    record: FaultRecord
    since: Nanoseconds | None = None
    """When we first looked at it; None until then."""
    sent: Nanoseconds | None = None


@dataclass(frozen=True, slots=True)
class View:
    """One participant's view of a run: the fold's state, and what this participant did about it."""

    peer: PeerId
    topic: TopicId
    state: RunState | None = None
    live: bool = False
    """False while the topic is read from its beginning: nothing is done about rounds long over."""
    work: Work = Work()
    blobs: frozenset[Digest] = frozenset()
    """Of the head and the candidate, those that are in our store."""
    fetching: frozenset[Digest] = frozenset()
    retry_at: Nanoseconds = EPOCH
    """When to fetch again what could not be fetched."""
    adopted: Digest | None = None
    """The head our learner knows of."""
    early: tuple[tuple[PeerId, Message], ...] = ()
    """Messages on the round after the open one: their authors have read more of the topic than we."""

    ahead: Ahead | None = None
    """What our learner does while others vote, or for the proposer of the open round."""
    silent: frozenset[int] = frozenset()
    """Who let us wait for an update in vain when it was our turn: next time we do not wait for them."""
    addresses: tuple[str, ...] | None = None
    """Where we listen; None: nobody is to be told."""
    announced_at: Nanoseconds | None = None
    """When we last said so on the topic."""
    payment: Payment | None = None
    charges: tuple[Charge, ...] = ()
    """At most one a member."""

    @property
    def place(self) -> int | None:
        """Our place in the roster."""
        return None if self.state is None else self.state.place_of(self.peer)

    @property
    def open(self) -> OpenRound | None:
        """The round in progress."""
        return None if self.state is None else self.state.open
