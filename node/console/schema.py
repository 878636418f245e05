"""What the operator's view says: one set of models for the API, `roundabout status --json` and the page.

Times are integer milliseconds since 1970, money is integer tinybar, scores and gains are integer ppm.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict

from protocol.membership import Standing

NodeState = Literal["catching up", "live", "ended"]
Phase = Literal["training", "fetching", "scoring", "voting", "consensus"]
Doing = Literal[
    "catching up", "training", "fetching", "scoring", "training ahead", "waiting", "watching", "ended"
]
Choice = Literal["approve", "reject", "unavailable", "abstain"]
Ending = Literal["accepted", "rejected", "neutral", "closed", "passed"]


class Facts(BaseModel):
    """Frozen and strict both ways: the command line parses what the daemon says."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", use_attribute_docstrings=True)


class NodeFacts(Facts):
    """The daemon itself."""

    version: str
    """The package's version."""
    peer: str
    """Our peer id."""
    place: int | None
    """Our place in the roster; null while we are not in it."""
    account: str
    """Who pays for what we write to the topic."""
    run: str | None
    """The run's digest; null until the genesis has been read."""
    topic: str
    """The run's topic."""
    learner: str | None
    """What is learned."""
    state: NodeState
    """Whether the topic is still read from its beginning, or the run has ended."""
    doing: Doing
    """What we are doing in the round in progress."""
    sequence: int
    """The last message of the topic that had an effect; 0 before the first."""
    started_ms: int
    """When the daemon was started."""


class VoteFacts(Facts):
    """A vote in a round."""

    place: int
    """The voter's place."""
    choice: Choice
    """What the voter found."""
    gain: int
    """Candidate minus head on the voter's data, in ppm."""
    late: bool
    """Whether it reached the topic after the record that closed the round."""


class RoundFacts(Facts):
    """The round in progress."""

    number: int
    """From 1."""
    proposer: int
    """The place whose turn it is."""
    phase: Phase
    """How far it is, as we see it: training until a proposal is known, consensus once the tally is decided."""
    opened_ms: int
    """When the record that opened it reached consensus."""
    deadline_ms: int
    """When it is closed if it is undecided until then."""
    members: tuple[int, ...]
    """Places that may vote, the proposer included."""
    candidate: str | None
    """Digest of the proposed weights; null until a proposal is known."""
    size: int | None
    """Bytes of the proposed weights."""
    votes: tuple[VoteFacts, ...]
    """Those that we know of, by place."""


class ComparisonFacts(Facts):
    """Our own comparison of a candidate with the head, on our own data."""

    head: int
    """Score of the head, ppm."""
    candidate: int
    """Score of the candidate, ppm."""
    gain: int
    """Mean paired difference, ppm."""
    error: int
    """Standard error of that mean, ppm."""
    samples: int
    """Number of pairs."""
    seconds: float
    """How long it took."""


class TrainingFacts(Facts):
    """Our own turn of training."""

    labels: int
    """Expert labels collected in it."""
    labels_total: int
    """Expert labels that our learner has collected so far."""
    loss: float | None
    """Mean training loss, in the learner's own units; null when it is not finite."""
    seconds: float
    """How long it took."""


class ClosedRoundFacts(Facts):
    """A round that is over."""

    number: int
    """From 1."""
    ending: Ending
    """How it ended."""
    proposer: int
    """Whose turn it was."""
    members: int
    """How many might vote, the proposer included."""
    candidate: str | None
    """Digest of the proposed weights; null where none were decided."""
    head: str
    """The head after it."""
    gain: int | None
    """Mean gain of the votes that were counted, ppm; null where nobody could tell."""
    votes: tuple[VoteFacts, ...]
    """By place."""
    opened_ms: int | None
    """When it opened; null where that was before what we have read."""
    closed_ms: int
    """When the record that closed it reached consensus."""
    sequence: int
    """That record's sequence number."""
    earned: int
    """What our account earned by it, tinybar."""
    comparison: ComparisonFacts | None
    """Our own comparison; null where we made none since the daemon was started."""
    training: TrainingFacts | None
    """Our own training; likewise."""


class MemberFacts(Facts):
    """A member of the run, ourselves included."""

    place: int
    """Its place in the roster."""
    peer: str
    """Its peer id."""
    account: str
    """Where its earnings go."""
    standing: Standing
    """Whether it takes part; inactive: left out because it was absent."""
    is_self: bool
    """Whether it is us."""
    connected: bool
    """Whether it can be talked to right now; true for ourselves."""
    changed_ms: int | None
    """When it was connected, or lost; null where it never was."""
    address: str | None
    """Where it is dialled; null where we wait to be dialled."""
    latency: float | None
    """Seconds of the last round trip."""
    received: int
    """Bytes from it since the daemon was started."""
    sent: int
    """Bytes to it, likewise."""
    refused_for: float
    """Seconds for which it is still refused because it misbehaved."""
    absent: int
    """Rounds in a row without a sign of life on the topic."""
    last_round: int | None
    """The last round with a signed word of its own on the topic."""
    last_vote: VoteFacts | None
    """Its last vote that counted or came late."""
    proposals: int
    """Its proposals that were decided, or stood on the topic."""
    accepted: int
    """Those of them that were accepted."""
    votes: int
    """Its votes on the topic."""
    stake: int
    """What it has at stake, tinybar."""
    earned: int
    """What its account has earned so far, tinybar."""


class HeadFacts(Facts):
    """A head of the run: weights that were accepted."""

    round: int
    """The round that accepted it; 0 for the initial weights."""
    proposer: int | None
    """Who proposed it; null for the initial weights."""
    digest: str
    """The SHA-256 of its bytes."""
    size: int
    """Bytes; 0 for the initial weights, which everybody makes at home."""
    gain: int | None
    """Mean gain of the votes on it, ppm."""


class TotalFacts(Facts):
    """Rounds by how they ended, from the first."""

    accepted: int
    rejected: int
    neutral: int
    closed: int
    passed: int


class MoneyFacts(Facts):
    """The treasury of the run, in tinybar."""

    treasury: str | None
    """Its account; null in a run without money."""
    deposits: int
    """All that it was given."""
    pool: int
    """What rewards are paid from."""
    at_stake: int
    """Stakes of all members, those that are being returned included."""
    owed: int
    """What is earned and not paid yet."""
    paid: int
    """What was paid."""
    fees: int
    """What the ledger charged for paying it."""
    settlement: int | None
    """The number of the payment that members are signing right now."""


class OwnFacts(Facts):
    """What this node has done for the run, and has from it."""

    proposals: int
    """Our proposals that were decided, or stood on the topic."""
    accepted: int
    """Those of them that were accepted."""
    votes: int
    """Our votes on the topic."""
    chances: int
    """Rounds that were decided by votes and in which it was ours to vote."""
    labels: int | None
    """Expert labels that our learner has collected; null before its first training since the start."""
    training_seconds: float | None
    """How long our last training took."""
    scoring_seconds: float | None
    """How long our last comparison took."""
    stake: int
    """What we have at stake, tinybar."""
    earned: int
    """What our payout account has earned, tinybar."""
    owed: int
    """What it has still to get."""
    paid: int
    """What it was paid."""


class Status(Facts):
    """Everything but the rounds that are over, which /api/rounds has."""

    now_ms: int
    """The daemon's clock."""
    node: NodeFacts
    round: RoundFacts | None
    """Null before the genesis, and once the run has ended."""
    totals: TotalFacts
    members: tuple[MemberFacts, ...]
    """By place."""
    heads: tuple[HeadFacts, ...]
    """The last ones, the present one last."""
    money: MoneyFacts
    own: OwnFacts


class RoundPage(Facts):
    """Some of the rounds that are over."""

    rounds: tuple[ClosedRoundFacts, ...]
    """By number."""
    first: int | None
    """The oldest that is kept; null when there is none."""
    next: int | None
    """Where the next page starts; null when there is none."""


class MemberList(Facts):
    """All who ever joined."""

    members: tuple[MemberFacts, ...]


class Change(Facts):
    """What has changed since the last message of a stream; what is null, or not in it, has not."""

    now_ms: int
    node: NodeFacts | None = None
    round: RoundFacts | None = None
    round_is_over: bool = False
    """Whether there is no round in progress any more."""
    totals: TotalFacts | None = None
    members: tuple[MemberFacts, ...] = ()
    """Those that have changed."""
    heads: tuple[HeadFacts, ...] | None = None
    money: MoneyFacts | None = None
    own: OwnFacts | None = None


class Health(Facts):
    """Whether the node does what it is there for."""

    healthy: bool
    """False when the round in progress is overdue by a whole window."""
    state: NodeState
    round: int | None
    """The number of the round in progress."""


class Fault(Facts):
    """Why a request was not answered."""

    error: str
    """One line."""
