"""What a participant may sign beside motions, and the place of each in its journal (SPEC.md, signing)."""

from protocol.messages import ProposalBody, UpdateBody, VoteBody
from protocol.records import AddressBody, PassBody, PresentBody

Body = ProposalBody | VoteBody | UpdateBody | PassBody | PresentBody | AddressBody
"""What a participant may sign."""


def slot_of(body: Body) -> str:
    """The place of a body in the journal: one body a round. Who proposes does not also pass."""
    return "turn" if isinstance(body, ProposalBody | PassBody) else kind_of(body)


def kind_of(body: Body) -> str:
    """The kind of a body: its domain when it is signed."""
    match body:
        case ProposalBody():
            return "proposal"
        case VoteBody():
            return "vote"
        case UpdateBody():
            return "update"
        case PassBody():
            return "pass"
        case PresentBody():
            return "present"
        case AddressBody():
            return "address"
