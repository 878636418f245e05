"""Who may take part: whether this node fits the run, and which peers it talks to."""

from learners.learner import LearnerSpec
from node.means import Means
from protocol.ids import PeerId
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
    if place in state.seats.expelled:
        raise RunError(
            f"peer {peer} was thrown out of run {state.run} for contradicting itself; use another key"
        )
    check_learner(state, spec)
    if means.blobs.path_of(state.params.initial) is None:
        raise RunError(
            f"this learner's initial weights are not the run's {state.params.initial}; "
            "check [learner] options and the installed version"
        )
    return state


def check_learner(state: RunState, spec: LearnerSpec) -> None:
    """Check that our learner is the run's, also after an upgrade. Raises RunError."""
    learner = state.params.learner
    if (learner.name, learner.spec) != (spec.name, spec.digest()):
        raise RunError(
            f"the run learns {learner.name} {learner.spec}, this learner is {spec.name} {spec.digest()}; "
            "check [learner] and the installed version"
        )


def admitted(state: RunState) -> frozenset[PeerId]:
    """Whom we talk to: all who belong to the run, or will when the next epoch starts."""
    places = state.seated | state.seats.joining
    return frozenset(state.roster[place].peer for place in places)
