"""Who may take part: whether this node fits the run, and which peers it talks to."""

from learners.learner import LearnerSpec
from node.means import Means
from protocol.ids import PeerId
from protocol.settlement import is_paid_off
from protocol.state import RunState


class RunError(Exception):
    """This node cannot take part in this run; the message names cause and remedy."""


def check_run(means: Means, state: RunState | None, spec: LearnerSpec) -> RunState:
    """The state of the run, which this node fits. Raises RunError."""
    if state is None:
        raise RunError(f"no run was founded on topic {means.topic_id}; check [ledger] topic")
    peer = means.identity.peer
    place = state.place_of(peer)
    if place is None:
        raise RunError(
            f"peer {peer} is not in the roster of run {state.run}; check [identity] file, or join it: "
            "see `roundabout motion join --help`"
        )
    check_honour(state, peer)
    if has_left(state, peer):
        raise RunError(
            f"peer {peer} has left run {state.run}; to come back, see `roundabout motion join --help`"
        )
    check_learner(state, spec, means.learner.merges)
    if means.blobs.path_of(state.params.initial) is None:
        raise RunError(
            f"this learner's initial weights are not the run's {state.params.initial}; "
            "check [learner] options and the installed version"
        )
    return state


def check_honour(state: RunState, peer: PeerId) -> None:
    """Check that a member has not been thrown out. Raises RunError."""
    if state.place_of(peer) in state.seats.expelled:
        raise RunError(
            f"peer {peer} was thrown out of run {state.run} for contradicting itself: its stake is lost; "
            "use another key"
        )


def has_left(state: RunState, peer: PeerId) -> bool:
    """Whether a member has left for good; who still holds a key of the treasury goes on signing payments."""
    place, seats = state.place_of(peer), state.seats
    is_away = place in seats.vacant and place not in seats.joining
    return is_away and (place not in state.money.keys.places or is_paid_off(state))


def check_learner(state: RunState, spec: LearnerSpec, merges: bool) -> None:
    """Check that our learner is the run's, also after an upgrade, and can do what its rules ask. Raises RunError."""
    learner = state.params.learner
    if (learner.name, learner.spec) != (spec.name, spec.digest()):
        raise RunError(
            f"the run learns {learner.name} {learner.spec}, this learner is {spec.name} {spec.digest()}; "
            "check [learner] and the installed version"
        )
    if state.params.contribution_window and not merges:
        raise RunError(
            f"members of this run contribute updates (contribution_window {state.params.contribution_window} s), "
            f"and the learner {spec.name} cannot merge them; install a version that can"
        )


def admitted(state: RunState, peer: PeerId) -> frozenset[PeerId]:
    """Whom a peer talks to: all who belong to the run, or will when the next epoch starts; nobody once it has left."""
    places = state.seated | state.seats.joining
    peers = frozenset(state.roster[place].peer for place in places)
    return peers if peer in peers else frozenset()
