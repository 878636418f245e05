"""What faulty members do: one behaviour an entry, several of which make up a liar (docs/simulation.md).

A liar is a real node, whose core is honest: behaviours change what it finds, says, writes and serves, and
stir up more every few seconds. A behaviour that does not mention one of these leaves it as it is.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from learners.learner import Comparison
from node.simulation import forging
from protocol.fields import canonical
from protocol.ids import SECOND, Digest, PeerId, Ppm, Round, digest_of
from protocol.messages import Choice, Message, Proposal, ProposalBody, Update, Vote
from protocol.parse import Record, parse_record
from protocol.payments import FailedRecord, SettledRecord, SettleRecord
from protocol.records import CloseRecord, ProposeRecord, VerdictRecord, VoteRecord, proposal_of
from protocol.state import OpenRound, RunState
from protocol.transfers import TransactionId

if TYPE_CHECKING:
    from node.simulation.node import Node

Find = Callable[["Node", Comparison], Comparison]
Say = Callable[["Node", bytes, PeerId], list[bytes]]
Write = Callable[["Node", bytes], list[bytes]]
Serves = Callable[["Node", int, Digest], bool]
Stir = Callable[["Node"], None]

STIR_EVERY = 7 * SECOND


def _find(node: "Node", found: Comparison) -> Comparison:
    return found


def _say(node: "Node", frame: bytes, peer: PeerId) -> list[bytes]:
    return [frame]


def _write(node: "Node", raw: bytes) -> list[bytes]:
    return [raw]


def _serves(node: "Node", asker: int, digest: Digest) -> bool:
    return True


def _stir(node: "Node") -> None:
    return


@dataclass(frozen=True, slots=True)
class Behaviour:
    """One way to misbehave."""

    name: str
    find: Find = _find
    """What it says that its learner found."""
    say: Say = _say
    """What it says to a peer in place of a frame."""
    write: Write = _write
    """What it writes to the topic in place of a record."""
    serves: Serves = _serves
    """Whether it gives a blob that it has to a place."""
    stir: Stir = _stir
    """What else it does, every few seconds."""


# ---- votes that lie ----


def _gain(gain: int, found: Comparison) -> Comparison:
    return replace(found, candidate=Ppm(gain), gain=Ppm(gain), error=Ppm(0))


def _inverse(node: "Node", found: Comparison) -> Comparison:
    return _gain(-found.gain, found)


def _random_gain(node: "Node", found: Comparison) -> Comparison:
    return _gain(node.random.randint(-1_000_000, 1_000_000), found)


# ---- saying different things to different peers ----


def _is_own_proposal(node: "Node", message: object) -> bool:
    return isinstance(message, Proposal) and message.body.proposer == node.place


def _say_two_proposals(node: "Node", frame: bytes, peer: PeerId) -> list[bytes]:
    message = node.memo.parsed(frame)
    if not isinstance(message, Proposal) or not _is_own_proposal(node, message):
        return [frame]
    if node.random.random() < 0.5:
        return [frame]
    other = node.around.weights.make(message.body.base, 0)
    node.store.add(other)
    second = canonical(forging.other_proposal(node.figure.secret, message, other))
    return [second] if node.random.random() < 0.7 else [frame, second]


def _write_two_proposals(node: "Node", raw: bytes) -> list[bytes]:
    record, state = parse_record(raw), node.around.state
    if not isinstance(record, ProposeRecord) or state is None:
        return [raw]
    proposal = proposal_of(record.proposal, state.run)
    other = forging.other_proposal(node.figure.secret, proposal, digest_of(raw))
    return [raw, forging.propose_record(other)]


def _say_two_votes(node: "Node", frame: bytes, peer: PeerId) -> list[bytes]:
    message = node.memo.parsed(frame)
    if not isinstance(message, Vote) or message.body.voter != node.place or node.random.random() < 0.4:
        return [frame]
    second = canonical(forging.other_vote(node.figure.secret, message, node.random))
    return [second] if node.random.random() < 0.7 else [frame, second]


def _write_two_votes(node: "Node", raw: bytes) -> list[bytes]:
    record, state = parse_record(raw), node.around.state
    if not isinstance(record, VoteRecord) or state is None or record.vote[0] != node.place:
        return [raw]
    return [raw, forging.vote_record(record, state.run, node.figure.secret, node.random)]


# ---- blobs ----


def _withhold(node: "Node", asker: int, digest: Digest) -> bool:
    return False


def _serve_some(node: "Node", asker: int, digest: Digest) -> bool:
    return asker % 2 == 0


# ---- updates ----


def _own_update(node: "Node", frame: bytes) -> Update | None:
    message = node.memo.parsed(frame)
    return message if isinstance(message, Update) and message.body.contributor == node.place else None


def _withhold_update(node: "Node", asker: int, digest: Digest) -> bool:
    given = None if node.core is None else node.core.view.work.gathering.given
    return given is None or given.body.update != digest


def _say_absurd_update(node: "Node", frame: bytes, peer: PeerId) -> list[bytes]:
    """Weights that ruin whatever they are added to; sometimes the head itself."""
    if (update := _own_update(node, frame)) is None:
        return [frame]
    absurd = update.body.base
    if node.random.random() < 0.8:
        absurd = node.around.weights.make(update.body.base, -900_000)
        node.store.add(absurd)
    return [canonical(forging.other_update(node.figure.secret, update, update=absurd))]


def _say_update_of_old_head(node: "Node", frame: bytes, peer: PeerId) -> list[bytes]:
    if (update := _own_update(node, frame)) is None:
        return [frame]
    return [canonical(forging.other_update(node.figure.secret, update, base=digest_of(b"some old head")))]


def _say_update_of_another(node: "Node", frame: bytes, peer: PeerId) -> list[bytes]:
    if (update := _own_update(node, frame)) is None:
        return [frame]
    other = (node.place + 1) % len(node.around.state.roster) if node.around.state else 0
    return [frame, canonical(forging.other_update(node.figure.secret, update, contributor=other))]


def _say_two_updates(node: "Node", frame: bytes, peer: PeerId) -> list[bytes]:
    if (update := _own_update(node, frame)) is None:
        return [frame]
    other = node.around.weights.make(update.body.base, 0)
    node.store.add(other)
    return [frame, canonical(forging.other_update(node.figure.secret, update, update=other))]


def _say_update_late(node: "Node", frame: bytes, peer: PeerId) -> list[bytes]:
    if _own_update(node, frame) is None:
        return [frame]
    wait = int(node.random.random() * 70 * SECOND)
    node.around.scheduler.after(wait, node.around.network.send, node, (peer,), frame)
    return []


def _say_update_to_all(node: "Node", frame: bytes, peer: PeerId) -> list[bytes]:
    if _own_update(node, frame) is not None:
        _tell_all(node, frame)
    return [frame]


# ---- verdicts ----


def _leave_out_votes(node: "Node", raw: bytes) -> list[bytes]:
    record = parse_record(raw)
    if not isinstance(record, VerdictRecord) or not record.votes:
        return [raw]
    return [forging.shorter_verdict(record, node.random.randrange(len(record.votes)))]


def _turn_verdict(node: "Node", raw: bytes) -> list[bytes]:
    record = parse_record(raw)
    return [forging.turned_verdict(record)] if isinstance(record, VerdictRecord) else [raw]


def _write_late(node: "Node", raw: bytes) -> list[bytes]:
    """As if the last chunk of each record came late."""
    wait = int(node.random.random() * 70 * SECOND)
    node.around.publish_later(raw, node.figure.account, node.place, wait)
    return []


# ---- more than anybody asked for ----


def _open(node: "Node") -> tuple[RunState, OpenRound] | None:
    state = node.around.state
    return None if state is None or state.open is None else (state, state.open)


def _tell_all(node: "Node", *frames: bytes) -> None:
    state = node.around.state
    if state is not None:
        peers = tuple(member.peer for member in state.roster if member.peer != node.figure.peer)
        for frame in frames:
            node.around.network.send(node, peers, frame)


def _put(node: "Node", raw: bytes, wait: int = 0) -> None:
    node.around.publish_later(raw, node.figure.account, node.place, wait)


def _propose_out_of_turn(node: "Node") -> None:
    if (now := _open(node)) is None:
        return
    state, current = now
    candidate = node.around.weights.make(state.head, 0)
    node.store.add(candidate)
    proposal = forging.proposal_for(state, current, node.place, node.figure.secret, state.head, candidate)
    _tell_all(node, canonical(proposal))
    if node.random.random() < 0.3:
        _put(node, forging.propose_record(proposal))


def _propose_on_old_head(node: "Node", frame: bytes, peer: PeerId) -> list[bytes]:
    message = node.memo.parsed(frame)
    if not isinstance(message, Proposal) or not _is_own_proposal(node, message):
        return [frame]
    body: ProposalBody = message.body.model_copy(update={"base": digest_of(b"some old head")})
    return [canonical(forging.signed_proposal(node.figure.secret, body))]


def _send_garbage(node: "Node") -> None:
    draw = node.random
    frames = [draw.randbytes(draw.randint(1, 80)), b"x" * 70_000, b"[" * 5_000, b"{}", b'{"kind":"vote"}']
    if node.heard:
        heard = draw.choice(node.heard)
        frames += [heard[:-1], heard.replace(b'"signature":"', b'"signature":"A'), heard + b" "]
        frames.append(_spoilt(node.memo.parsed(heard)))
    _tell_all(node, draw.choice(frames))


def _spoilt(message: Message) -> bytes:
    """A message whose signature is another's."""
    if isinstance(message, Vote):
        body = message.body.model_copy(update={"gain": Ppm(7)})
        return canonical(message.model_copy(update={"body": body}))
    return canonical(message.model_copy(update={"body": message.body.model_copy(update={"size": 7})}))


def _send_other_run(node: "Node") -> None:
    if (now := _open(node)) is None:
        return
    state, current = now
    other = replace(state, run=digest_of(b"another run"))
    secret = node.figure.secret
    vote = forging.vote_for(other, current.number, state.head, node.place, secret, Choice.APPROVE)
    _tell_all(node, canonical(vote))


def _send_early(node: "Node") -> None:
    """Many messages on the next round."""
    if (now := _open(node)) is None:
        return
    state, current = now
    for n in range(4):
        number, proposal = Round(current.number + 1), digest_of(b"early %d" % n)
        choice = node.random.choice(list(Choice))
        vote = forging.vote_for(state, number, proposal, node.place, node.figure.secret, choice)
        _tell_all(node, canonical(vote))


def _replay(node: "Node") -> None:
    draw, entries = node.random, node.around.topic.entries
    if node.heard:
        _tell_all(node, draw.choice(node.heard))
    if entries:
        _put(node, draw.choice(entries).recorded.raw)


def _write_junk(node: "Node") -> None:
    draw = node.random
    heads = [
        b"",
        b'{"p":"roundabout","v":1,"op":',
        b'{"p":"hcs-2"}',
        b"[" * 3_000,
        b'{"op":"close","p":"roundabout"',
    ]
    _put(node, draw.choice(heads) + draw.randbytes(draw.randint(0, 40)))
    entry = draw.choice(node.around.topic.entries)
    raw = entry.recorded.raw
    cut = draw.randrange(len(raw) + 1)
    _put(node, draw.choice([raw[:cut], raw[:cut] + b"!" + raw[cut:], raw + b"\n", b" " + raw]))


def _hurry(node: "Node") -> None:
    """Records before their time: a close, a settlement, what came of a payment; a pass in whoever's turn."""
    if (now := _open(node)) is None:
        return
    state, current = now
    number = state.money.settlements
    false_id = TransactionId(f"{node.figure.account}-1700000000-000000001")
    records: list[Record] = [
        CloseRecord(run=state.run, round=current.number),
        SettleRecord(run=state.run, number=number + 1),
        FailedRecord(run=state.run, number=max(1, number)),
        SettledRecord(run=state.run, number=max(1, number), transaction=false_id),
    ]
    _put(node, canonical(node.random.choice(records)))
    if node.random.random() < 0.3:
        _put(node, forging.pass_record(state, current.number, node.figure.secret))


def _accuse_falsely(node: "Node") -> None:
    if (now := _open(node)) is None or not node.heard:
        return
    message = node.memo.parsed(node.heard[-1])
    if isinstance(message, Proposal):
        _put(node, forging.repeated_fault(message))
    elif isinstance(message, Vote):
        _put(node, forging.false_fault(now[0], message, node.figure.secret))


def _pass_after_proposing(node: "Node") -> None:
    """Pass, once one has proposed."""
    if (now := _open(node)) is not None and now[1].proposer == node.place:
        _put(node, forging.pass_record(now[0], now[1].number, node.figure.secret))


BEHAVIOURS = {
    behaviour.name: behaviour
    for behaviour in (
        Behaviour("always yes", find=lambda node, found: _gain(500_000, found)),
        Behaviour("always no", find=lambda node, found: _gain(-500_000, found)),
        Behaviour("inverse votes", find=_inverse),
        Behaviour("random gains", find=_random_gain),
        Behaviour("two proposals", say=_say_two_proposals, write=_write_two_proposals),
        Behaviour("two votes", say=_say_two_votes, write=_write_two_votes),
        Behaviour("withheld blobs", serves=_withhold),
        Behaviour("blobs for some", serves=_serve_some),
        Behaviour("withheld updates", serves=_withhold_update),
        Behaviour("absurd updates", say=_say_absurd_update),
        Behaviour("updates of an old head", say=_say_update_of_old_head),
        Behaviour("updates of another", say=_say_update_of_another),
        Behaviour("two updates", say=_say_two_updates),
        Behaviour("late updates", say=_say_update_late),
        Behaviour("updates to all", say=_say_update_to_all),
        Behaviour("left-out votes", write=_leave_out_votes),
        Behaviour("wrong outcomes", write=_turn_verdict),
        Behaviour("late records", write=_write_late),
        Behaviour("wrong turn", stir=_propose_out_of_turn),
        Behaviour("stale base", say=_propose_on_old_head),
        Behaviour("garbage", stir=_send_garbage),
        Behaviour("another run", stir=_send_other_run),
        Behaviour("early messages", stir=_send_early),
        Behaviour("replay", stir=_replay),
        Behaviour("junk on the topic", stir=_write_junk),
        Behaviour("early records", stir=_hurry),
        Behaviour("false faults", stir=_accuse_falsely),
        Behaviour("pass after proposing", stir=_pass_after_proposing),
        Behaviour("mute to peers", say=lambda node, frame, peer: []),
    )
}
LIES = ("always yes", "always no", "inverse votes", "random gains")
"""Of these a liar has one, if any."""
TRICKS = tuple(name for name in BEHAVIOURS if name not in LIES)
