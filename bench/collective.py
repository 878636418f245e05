"""A run in one process: real learners, signed messages, and the protocol's own fold on a topic in memory.

What is left out is the network: everybody is there, and hears of everything at once.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from learners.learner import Comparison, LearnerError, Merger
from node.simulation.cast import FUNDER, TOPIC, TREASURY, figure
from node.simulation.ledger import Fate, Ledger
from node.simulation.topic import following
from protocol.deposits import deposit_memo
from protocol.fields import Model, canonical
from protocol.fold import read
from protocol.ids import SECOND, Nanoseconds, Ppm, Round, Tinybar, digest_of
from protocol.messages import PIECE_BYTES, Choice, Contributor, Proposal, ProposalBody, Vote, VoteBody
from protocol.params import LearnerRef, Params
from protocol.payments import FundRecord, TopupRecord
from protocol.records import (
    Genesis,
    Member,
    Outcome,
    PassBody,
    PassRecord,
    Stamp,
    TreasuryEntry,
    VerdictRecord,
    entry_of,
    vote_entry_of,
)
from protocol.rules import choice_for, count_of, tally
from protocol.signing import sign
from protocol.state import OpenRound, RunState
from protocol.transfers import TransactionId

WHOLE = Ppm(1_000_000)
_TRIES = 100_000  # times of a record until the hash draws the order that is asked for


@dataclass(frozen=True, slots=True)
class Update:
    """What a member's training made."""

    weights: Path
    labels: int
    """Of the expert's, asked for on the way."""


class Conduct:
    """What a member does; this one is honest, others override a part of it."""

    is_honest = True
    votes_last = False
    """Whether it looks at others' votes first."""

    def update(self, member: "Peer", head: Path, round: Round, out: Path) -> Update | None:
        """What it sends the proposer, or keeps as its own part of a proposal; None: nothing."""
        return Update(out, member.learner.propose(head, round, out).labels)

    def candidate(
        self, member: "Peer", head: Path, own: Path, updates: Sequence[Path], round: Round, out: Path
    ) -> tuple[Path, tuple[Ppm, ...]] | None:
        """What it proposes, and whose it is, its own share first; None: it passes."""
        if not updates:
            return own, (WHOLE,)
        return out, member.learner.merge(head, own, updates, round, out).shares

    def vote(
        self, member: "Peer", proposer: "Peer", seen: Sequence[Choice], compare: Callable[[], Comparison]
    ) -> tuple[Choice, Ppm]:
        """How it votes, and the gain that it tells; `compare` takes its learner's time.

        seen: what others have voted before it.
        """
        found = compare()
        return choice_for(found.gain, found.error), found.gain


@dataclass(frozen=True, slots=True)
class Peer:
    """A member of the run."""

    name: str
    learner: Merger
    conduct: Conduct = field(default_factory=Conduct)


@dataclass(frozen=True, slots=True)
class Played:
    """A round that is over."""

    number: int
    proposer: int
    ending: str
    choices: Mapping[int, Choice]
    labels: int
    seconds: float
    """Where each member has a machine of its own: the slowest update, the merge, and the slowest comparison."""
    work: float
    """Seconds of all of them together."""
    sent: int
    """Bytes of weights between members."""


class Collective:
    """Peers that learn together, round by round."""

    def __init__(
        self,
        peers: Sequence[Peer],
        folder: Path,
        *,
        merges: bool = True,
        order: Sequence[int] | None = None,
        stake: int = 0,
        pool: int = 0,
        params: Mapping[str, object] | None = None,
    ) -> None:
        """Found a run. merges: everybody trains in each round, and the proposer merges. order: of turns, always."""
        self.peers, self.folder, self.played = peers, folder, list[Played]()
        self._merges, self._order = merges, order
        self.head = folder / "initial"
        peers[0].learner.initial(self.head)
        self._ledger = Ledger(lambda number: Fate())
        self._stamp: Stamp | None = None
        self._now = 1_700_000_000 * SECOND
        spec = peers[0].learner.describe()
        reference = LearnerRef(name=spec.name, spec=spec.digest())
        rules = Params(learner=reference, initial=digest_of(self.head.read_bytes()), **(params or {}))
        cast = [figure(place) for place in range(len(peers))]
        members = tuple(Member(peer=each.peer, account=each.account) for each in cast)
        treasury = TreasuryEntry(account=TREASURY, required=len(peers) // 2 + 1) if stake or pool else None
        self._state: RunState | None = None
        self._put(Genesis(topic=TOPIC, params=rules, roster=members, treasury=treasury))
        run = self.state.run
        if pool:
            paid = self._pay("fund", FUNDER, pool)
            self._put(FundRecord(run=run, account=FUNDER, amount=Tinybar(pool), transaction=paid))
        for each in cast if stake else ():
            paid = self._pay("topup", each.peer, stake)
            self._put(TopupRecord(run=run, peer=each.peer, amount=Tinybar(stake), transaction=paid))

    @property
    def state(self) -> RunState:
        """What the topic says now."""
        assert self._state is not None, "the genesis is on the topic"
        return self._state

    @property
    def _open(self) -> OpenRound:
        assert self.state.open is not None, "the run goes on"
        return self.state.open

    def play(self, rounds: int) -> None:
        """Play so many rounds."""
        for _ in range(rounds):
            self.played.append(self._round())

    def _round(self) -> Played:
        current, clock = self._open, _Clock()
        number, proposer = current.number, current.proposer
        trained = self._updates(current, clock)
        labels = sum(update.labels for update in trained.values())
        made = {place: update.weights for place, update in trained.items()}
        own = made.pop(proposer, None)
        found = None
        if own is not None:
            merged = self.folder / f"candidate-{number}"
            with clock.of("merge", proposer):
                found = self.peers[proposer].conduct.candidate(
                    self.peers[proposer], self.head, own, list(made.values()), number, merged
                )
        sent = sum(path.stat().st_size for path in made.values())
        choices: dict[int, Choice] = {}
        if found is None:
            self._pass()
        else:
            candidate, shares = found
            sent += candidate.stat().st_size * (len(current.members) - 1)
            choices = self._decide(current, candidate, [proposer, *made], shares, clock)
        last = self.state.last
        assert last is not None, "a round has just ended"
        return Played(number, proposer, last.ending, choices, labels, clock.longest(), clock.total(), sent)

    def _updates(self, current: OpenRound, clock: "_Clock") -> dict[int, Update]:
        """Who trains in this round, and what came of it; nobody where the proposer asks for nothing and passes."""
        others = sorted(current.members - {current.proposer}) if self._merges else []
        made: dict[int, Update] = {}
        for place in (current.proposer, *others):
            out = self.folder / f"update-{current.number}-{place}"
            with clock.of("update", place):
                update = self.peers[place].conduct.update(self.peers[place], self.head, current.number, out)
            if update is not None:
                made[place] = update
            elif place == current.proposer:
                break
        return made

    def _decide(
        self,
        current: OpenRound,
        candidate: Path,
        contributors: Sequence[int],
        shares: Sequence[Ppm],
        clock: "_Clock",
    ) -> dict[int, Choice]:
        """Propose, let all others vote, and put the verdict on the topic."""
        state, proposer = self.state, current.proposer
        proposal = self._proposal(current, candidate, contributors, shares)
        votes, choices = [], {}
        voters = sorted(current.members - {proposer})
        for place in sorted(voters, key=lambda place: self.peers[place].conduct.votes_last):
            with clock.of("score", place):
                choice, gain = self._vote(place, proposer, candidate, list(choices.values()))
            choices[place] = choice
            body = VoteBody(
                run=state.run, round=current.number, proposal=proposal.body.digest(), voter=place,
                choice=choice, gain=gain,
            )  # fmt: skip
            votes.append(Vote(body=body, signature=sign(figure(place).secret, "vote", body)))
        outcome = tally(count_of(choices.values(), len(current.members)), state.params)
        assert outcome is not None, "all have voted"
        self._end(proposal, votes, outcome)
        if outcome == "accepted":
            self.head = candidate
        return choices

    def _vote(self, place: int, proposer: int, candidate: Path, seen: Sequence[Choice]) -> tuple[Choice, Ppm]:
        voter, number = self.peers[place], self._open.number

        def compare() -> Comparison:
            return voter.learner.score(self.head, candidate, number)

        try:
            return voter.conduct.vote(voter, self.peers[proposer], seen, compare)
        except LearnerError:
            return Choice.REJECT, Ppm(0)

    def _proposal(
        self, current: OpenRound, candidate: Path, contributors: Sequence[int], shares: Sequence[Ppm]
    ) -> Proposal:
        state, blob = self.state, candidate.read_bytes()
        named = zip(contributors, shares, strict=False)
        body = ProposalBody(
            run=state.run,
            round=current.number,
            base=state.head,
            candidate=digest_of(blob),
            size=len(blob),
            pieces=None if len(blob) <= PIECE_BYTES else digest_of(b"pieces"),
            opening=current.opening,
            contributors=tuple(
                Contributor(account=state.roster[place].account, share=share)
                for place, share in named
                if share
            ),
            proposer=current.proposer,
        )
        secret = figure(current.proposer).secret
        return Proposal(body=body, signature=sign(secret, "proposal", body))

    def _end(self, proposal: Proposal, votes: Sequence[Vote], outcome: Outcome) -> None:
        entries = tuple(vote_entry_of(vote) for vote in votes)
        self._put(VerdictRecord(proposal=entry_of(proposal), votes=entries, outcome=outcome))

    def _pass(self) -> None:
        current = self._open
        body = PassBody(run=self.state.run, round=current.number)
        self._put(PassRecord(body=body, sig=sign(figure(current.proposer).secret, "pass", body)))

    def _pay(self, op: str, by: str, amount: int) -> TransactionId:
        self._now += SECOND
        memo = deposit_memo(self.state.run, op, by)
        return self._ledger.transfer(self._now, FUNDER, {FUNDER: -amount, TREASURY: amount}, memo)

    def _put(self, record: Model) -> None:
        """Put a record on the topic, at the first time whose hash draws the turns as they are asked for."""
        raw = canonical(record)
        self._now += SECOND
        for late in range(_TRIES):
            stamp: Stamp = following(self._stamp, raw, Nanoseconds(self._now + late))
            state = read(self._state, TOPIC, raw, stamp, self._ledger.found(self._state, raw, stamp))
            is_drawn = self._state is None or state.epoch != self._state.epoch
            if self._order is None or not is_drawn or state.order == tuple(self._order):
                self._state, self._stamp = state, stamp
                return
        raise ValueError(f"no time draws the order {self._order}; ask for one of fewer members")


class _Clock:
    """How long each member was busy with each part of a round."""

    def __init__(self) -> None:
        self._spent: dict[str, dict[int, float]] = {}

    @contextmanager
    def of(self, part: str, place: int) -> Iterator[None]:
        """Time what one member does, in seconds of the processor."""
        began = time.process_time()
        yield
        self._spent.setdefault(part, {})[place] = time.process_time() - began

    def longest(self) -> float:
        """The parts one after the other, members side by side."""
        return sum(max(spent.values()) for spent in self._spent.values())

    def total(self) -> float:
        """Everything one after the other."""
        return sum(sum(spent.values()) for spent in self._spent.values())
