"""Runs in which something is owed, and its payment, for tests of settlements."""

from protocol.ids import Ppm
from protocol.messages import Choice, Contributor
from protocol.state import RunState
from tests.protocol import acts
from tests.protocol.world import Run, account, verdict

POOL = 10**9
RESERVE = 2_000
STRANGER = account(38)


def started(size: int = 3, **changes: object) -> Run:
    """A run that pays after each round, three members, each owed a vote's reward or a proposal's."""
    rules = {"settle_every": 1, "settle_fee": RESERVE, "reward_vote": 700, "reward_proposal": 5_000}
    return Run(size, **({"pool": POOL, "round_window": 100_000} | rules | changes))


def opened(run: Run | None = None, **changes: object) -> Run:
    """A run with a settlement open."""
    run = run or started(**changes)
    run.accept()
    run.put(acts.settle(run))
    return run


def owing(payees: int, **changes: object) -> Run:
    """A run of two members that owes so many contributors."""
    run = started(2, **changes)
    names = [account(20 + n) for n in range(payees)]
    share = 1_000_000 // payees
    shares = [Contributor(account=name, share=Ppm(share)) for name in names[1:]]
    first = Contributor(account=names[0], share=Ppm(1_000_000 - share * (payees - 1)))
    proposal = run.proposal(contributors=(first, *shares))
    run.put(verdict(proposal, run.votes(proposal, Choice.APPROVE), "accepted"))
    return run


def pay(run: Run) -> RunState:
    return run.put(acts.settled(run, acts.pay_out(run)))
