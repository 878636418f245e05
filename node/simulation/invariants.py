"""What must hold in every simulation, looked at after every event (protocol/SPEC.md, Properties)."""

from collections import Counter
from typing import TYPE_CHECKING

from node.core import Drop, Outcome
from node.simulation.accounts import Violation, check_money
from node.simulation.cast import TOPIC
from node.simulation.plan import Plan
from node.simulation.scheduler import START
from node.simulation.surroundings import PATIENCE
from node.simulation.topic import Entry, Topic
from protocol.bodies import slot_of
from protocol.contributions import WHOLE
from protocol.errors import Ignore, ProtocolError
from protocol.fields import canonical
from protocol.fold import fold_record, read
from protocol.ids import SECOND, Round
from protocol.messages import Choice, ProposalBody
from protocol.parse import parse_record
from protocol.settlement import is_paid_off
from protocol.state import ClosedRound, RunState
from protocol.step import MAX_FAILURES
from protocol.timing import CLOSE_MARGIN, back_off
from protocol.view import (
    Adopt,
    Event,
    Merge,
    PeerUp,
    Recorded,
    Score,
    Signed,
    Train,
)

if TYPE_CHECKING:
    from node.simulation.node import Node

NAY = (Choice.REJECT, Choice.UNAVAILABLE)


DECIDED = ("accepted", "rejected", "neutral")
PER_WINDOW = {
    "Train": MAX_FAILURES + 4,
    "Score": MAX_FAILURES,
    "Merge": 1,
    "Sign": 5,
    "Adopt": 2,
    "Fetch": 60,
    "Send": 5,
    "Cosign": 40,
    "propose": 2,
    "vote": 3,
    "pass": 1,
    "present": 1,
    "address": 1,
    "verdict": 8,
    "close": 8,
    "settle": 12,
    "settled": 12,
    "failed": 12,
}
"""How often a node may do each of these in a round, for each window that it lasts."""


class Invariants:
    """Watches everything, and knows what is true."""

    def __init__(self, plan: Plan, topic: Topic) -> None:
        self._plan = plan
        self._topic = topic
        self.state: RunState | None = None
        self.states: list[RunState | None] = [None]
        """After each sequence number."""
        self.endings: Counter[str] = Counter()
        self.rounds = 0
        """How many are over."""
        self._ended: dict[Round, str] = {}
        self._opened: dict[Round, int] = {}
        self._votes: dict[Round, dict[int, Choice]] = {}
        """What honest members have signed."""
        self._signed: dict[tuple[int, str, Round], bytes] = {}
        self._done: Counter[tuple[int, int, Round, str]] = Counter()
        self._contradicted: dict[int, int] = {}
        """Who has said two things on the topic, and when that was first seen there."""
        self.healed_at: int | None = None
        self.contributed = 0
        """How many others honest proposers have named beside themselves."""

    # ---- the topic ----

    def on_entry(self, entry: Entry) -> None:
        """Fold a message as soon as it is there."""
        before, recorded = self.state, entry.recorded
        try:
            self.state = read(before, TOPIC, recorded.raw, recorded.stamp, recorded.found)
        except Ignore:
            self.states.append(before)
            return
        except ProtocolError as error:
            self.states.append(before)
            if entry.author is not None and entry.author not in self._plan.faulty:
                detail = f"record {recorded.stamp.sequence} of {entry.author}: {error}"
                raise Violation("no honest record is invalid", detail) from None
            return
        self.states.append(self.state)
        self._check_state(before, self.state, recorded)

    def _check_state(self, before: RunState | None, state: RunState, recorded: Recorded) -> None:
        stamp = recorded.stamp
        if before is None or state.money is not before.money:
            check_money(state.money)
        wronged = state.seats.expelled - self._plan.faulty
        if wronged:
            raise Violation("no honest member is expelled", f"{sorted(wronged)}")
        last = state.last
        if last is not None and (before is None or before.last is None or before.last.number != last.number):
            assert before is not None
            self._on_ended(before, last, recorded)
        if state.open is None:
            return
        self._opened.setdefault(state.open.number, stamp.time)
        for vote in state.open.seconds:
            self._contradicted.setdefault(vote.body.voter, stamp.time)
        if len(state.open.proposals) > 1:
            self._contradicted.setdefault(state.open.proposer, stamp.time)

    def _on_ended(self, before: RunState, last: ClosedRound, recorded: Recorded) -> None:
        number, current, stamp = last.number, before.open, recorded.stamp
        if number in self._ended or current is None or current.number != number:
            raise Violation("one outcome a round", f"round {number} ended {last.ending} and before")
        self._ended[number] = last.ending
        self.endings[last.ending] += 1
        self.rounds += 1
        late = stamp.time - current.deadline
        op = parse_record(recorded.raw).op
        if (late > 0) != (op == "close"):
            raise Violation(
                "closes, and nothing else, end rounds after the deadline", f"a {op} at {late / SECOND} s"
            )
        most = (
            CLOSE_MARGIN
            + back_off(before) * (len(before.roster) - 1).bit_length()
            + 2 * self.latency
            + SECOND
        )
        if late > most + self._excused(before, current.deadline, stamp.time):
            raise Violation("rounds end in time", f"round {number} ended {late / SECOND:.1f} s late")
        if last.ending == "accepted":
            self._check_accepted(before, last)
        healed = self.healed_at
        if healed is not None and self._opened[number] > healed and last.ending not in DECIDED:
            self._check_alive(before, last)

    def _excused(self, state: RunState, start: int, end: int) -> int:
        """How much later than it should a round may end because of outages and crashes after its deadline."""
        faults = self._plan.faults
        spans = (*faults.writing, *faults.reading, *faults.crashes)
        times = [(max(start, START + span.start), min(end, START + span.end)) for span in spans]
        lost = sum(to - since for since, to in times if to > since)
        # Who tried in an outage notices after a while, and tries again when it is next its turn.
        return lost + PATIENCE + 2 * back_off(state) if lost else 0

    @property
    def latency(self) -> int:
        """From a submission to its readers, at most."""
        return self._plan.faults.finality + SECOND

    def _check_accepted(self, state: RunState, last: ClosedRound) -> None:
        """Property 4: an honest approval by another, and more honest approvals than rejections, but for f."""
        members, faulty = last.members, self._plan.faulty
        liars = len(members & faulty)
        third = (len(members) - 1) // 3
        if liars > third or state.params.approvals_needed(len(members)) != third + 1:
            return
        counted = last.votes[: last.counted]
        yes = [v for v in counted if v.body.choice is Choice.APPROVE and v.body.voter not in faulty]
        if not yes:
            raise Violation("accepted implies an honest approval", f"round {last.number}")
        said = self._votes.get(last.number, {})
        if last.time > (state.open.deadline if state.open else 0):
            said = {v.body.voter: v.body.choice for v in counted if v.body.voter not in faulty}
        no = sum(choice in NAY for voter, choice in said.items() if voter in members)
        if len(yes) + (last.proposer not in faulty) + liars <= no:
            detail = (
                f"round {last.number}: {len(yes)} honest approvals, {no} honest rejections, {liars} liars"
            )
            raise Violation("honest approvals outweigh honest rejections", detail)

    def _check_alive(self, state: RunState, last: ClosedRound) -> None:
        honest = last.members - self._plan.faulty
        if last.proposer in honest and 2 * len(honest) >= len(last.members):
            detail = f"round {last.number} of {last.proposer} ended {last.ending}, {len(honest)} of {len(last.members)}"
            raise Violation("after healing, living proposers' rounds are decided", detail)

    # ---- nodes ----

    def on_step(self, node: "Node", event: Event, outcome: Outcome) -> None:
        """A core has taken an event."""
        if not node.is_honest or node.core is None:
            return
        view = node.core.view
        if isinstance(event, Recorded):
            expected = self.states[event.stamp.sequence]
            if view.state is not expected and view.state != expected:
                raise Violation("all folds are equal", f"{node.place} at {event.stamp.sequence}")
        if len(view.early) > 2 * self._plan.setup.peers or len(view.work.waiting) > self._plan.setup.peers:
            raise Violation("queues are bounded", f"{node.place} keeps {len(view.early)} early messages")
        if outcome.commands and not isinstance(event, PeerUp):
            self._count(node, outcome)

    def _count(self, node: "Node", outcome: Outcome) -> None:
        assert node.core is not None
        current = node.core.view.open
        number = Round(0) if current is None else current.number
        now = node.around.scheduler.now
        windows = 2 + (now - self._opened.get(number, now)) // (60 * SECOND)
        for command in outcome.commands:
            name = type(command).__name__
            if name == "Write":
                name = command.record.op  # type: ignore[union-attr]
            key = (node.place, node.life, number, name)
            self._done[key] += 1
            most = PER_WINDOW.get(name)
            if most is not None and number and self._done[key] > most * windows:
                raise Violation(
                    "effects are bounded", f"{node.place} does {name} {self._done[key]} times in {number}"
                )

    def on_drop(self, node: "Node", drop: Drop) -> None:
        """A node talks to another no more."""
        if node.is_honest and not self._is_faulty(drop.peer, node):
            raise Violation("no honest peer is dropped", f"{node.place} drops {drop.peer}: {drop.reason}")

    def _is_faulty(self, peer: str, node: "Node") -> bool:
        state = self.state
        place = None if state is None else state.place_of(peer)
        return place is None or place in self._plan.faulty

    def on_signed(self, node: "Node", event: Signed) -> None:
        """A node's journal has a body, and it is signed."""
        if node.place in self._plan.faulty:
            return
        body = event.body
        key, raw = (node.place, slot_of(body), body.round), canonical(body)
        if self._signed.setdefault(key, raw) != raw:
            raise Violation(
                "one body a slot and round", f"{node.place} signs a second {key[1]} in {body.round}"
            )
        if isinstance(body, ProposalBody):
            self._check_contributors(body)
        choice = getattr(body, "choice", None)
        if choice is not None:
            self._votes.setdefault(body.round, {})[node.place] = choice

    def _check_contributors(self, body: ProposalBody) -> None:
        """A reward is shared by members alone, each of them once, and by nobody where proposers work alone."""
        state = self.state
        assert state is not None
        accounts = [each.account for each in body.contributors]
        strangers = set(accounts) - {member.account for member in state.roster}
        if strangers or len(set(accounts)) != len(accounts):
            raise Violation("members share a reward", f"round {body.round}: {accounts}")
        if sum(each.share for each in body.contributors) != WHOLE:
            raise Violation("shares make a whole", f"round {body.round}: {body.contributors}")
        if len(accounts) > 1 and not state.params.contribution_window:
            raise Violation(
                "proposers work alone where nobody contributes", f"round {body.round}: {accounts}"
            )
        self.contributed += len(accounts) - 1

    def on_learnt(self, node: "Node", effect: Train | Merge | Score) -> None:
        """A node's learner is done with something."""
        wanted = {effect.head}
        if isinstance(effect, Score):
            wanted.add(effect.candidate)
        elif isinstance(effect, Merge):
            wanted |= {effect.own, *(digest for _, digest in effect.updates)}
        if not wanted <= node.store:
            raise Violation("learners have what they need", f"{node.place}: {effect}")

    def on_adopt(self, node: "Node", effect: Adopt) -> None:
        """A node's learner is told of the head."""
        if effect.head not in node.store:
            raise Violation("learners have what they need", f"{node.place} adopts what it has not")

    def on_life(self, node: "Node", is_up: bool) -> None:
        """A node came up, or went down."""

    def on_flood(self, node: "Node") -> None:
        """A node wants to write more at once than it may."""
        if node.is_honest:
            raise Violation("queues are bounded", f"{node.place} writes too much at once")

    # ---- the end ----

    def is_quiet(self, nodes: "list[Node]") -> bool:
        """Whether everybody honest has read everything, and has the head, and everybody has their money."""
        state = self.state
        assert state is not None
        if not is_paid_off(state) and self._plan.pool:
            return False
        up = [node for node in nodes if node.is_honest and node.core is not None]
        return all(
            node.core is not None and node.core.view.state == state and state.head in node.store
            for node in up
        )

    def check_end(self, nodes: "list[Node]") -> None:
        """All is quiet again: everybody honest knows the same and has the head, and a fold without memory agrees."""
        state = None
        for entry in self._topic.entries:
            recorded = entry.recorded
            try:
                state = fold_record(state, TOPIC, recorded.raw, recorded.stamp, recorded.found)
            except ProtocolError:
                continue
        if state != self.state or state is None:
            raise Violation("all folds are equal", "a fold without memory differs")
        for node in nodes:
            if node.is_honest and node.core is not None:
                self._check_told(node, state)
        self._check_punished(state)
        if self._plan.pool and not is_paid_off(state):
            raise Violation("nobody is owed for ever", f"{state.money.owed} are owed at the end")

    def _check_punished(self, state: RunState) -> None:
        """Who said two things on the topic is out, unless there was no time for that."""
        end = START if state.last is None else state.last.time
        since = max(self.healed_at or end, START)
        for place, seen in self._contradicted.items():
            if place not in state.seats.expelled and max(seen, since) + 120 * SECOND < end:
                raise Violation("contradictions are punished", f"{place} said two things on the topic")

    def _check_told(self, node: "Node", state: RunState) -> None:
        assert node.core is not None
        if node.core.view.state != state:
            raise Violation("all come to the same head", f"{node.place} has not read everything")
        if state.head not in node.store:
            raise Violation("all come to the same head", f"{node.place} has not got the head")
