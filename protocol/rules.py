"""The rules of a round as short pure functions over integers (SPEC.md, rules)."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from protocol.ids import AccountId, Ppm, RunningHash, Tinybar, unbase64url
from protocol.messages import Choice
from protocol.params import Params
from protocol.records import Outcome

MILLION = 1_000_000
MIN_DEADBAND = Ppm(2_000)
"""0.2%: with a smaller one, changes that gain nothing are approved up to half of the time."""


def choice_for(gain: Ppm, error: Ppm) -> Choice:
    """The vote that a paired comparison calls for.

    gain: mean paired difference; error: its standard error. The deadband is max(0.2%, 0.67 standard errors).
    """
    deadband = max(MIN_DEADBAND, error * 67 // 100)
    if gain > deadband:
        return Choice.APPROVE
    if gain < -deadband:
        return Choice.REJECT
    return Choice.ABSTAIN


@dataclass(frozen=True, slots=True)
class Count:
    """The votes of a round, counted; the proposal itself is the proposer's approval."""

    members: int
    """n: members that may vote in the round, the proposer among them."""
    approvals: int
    """a: the proposer's included."""
    rejections: int
    """j: unavailable included."""
    abstentions: int
    """s."""

    @property
    def missing(self) -> int:
        """u: members whose vote is not in the record."""
        return self.members - self.approvals - self.rejections - self.abstentions


def count_of(choices: Iterable[Choice], members: int) -> Count:
    """Count the choices of the members other than the proposer, and the proposer's own approval."""
    approvals, rejections, abstentions = 1, 0, 0
    for choice in choices:
        if choice is Choice.APPROVE:
            approvals += 1
        elif choice is Choice.ABSTAIN:
            abstentions += 1
        else:
            rejections += 1
    return Count(members, approvals, rejections, abstentions)


def has_quorum(count: Count, params: Params) -> bool:
    """Whether enough members have voted for any outcome: a + j + s reaches P of n."""
    voted = count.approvals + count.rejections + count.abstentions
    return voted * MILLION >= params.participation * count.members


def tally(count: Count, params: Params) -> Outcome | None:
    """The outcome that no missing vote can turn any more, or None while it is open.

    Accepted when it would be even if every missing vote were a rejection; rejected when it would be even if
    every missing vote were an approval; neutral when all votes are in and it is neither.
    """
    a, j, u = count.approvals, count.rejections, count.missing
    if has_quorum(count, params):
        if a * MILLION > params.approval * (a + j + u) and a - 1 >= params.approvals_needed(count.members):
            return "accepted"
        if j >= 1 and (a + u) * MILLION <= params.approval * (a + u + j):
            return "rejected"
    return "neutral" if u == 0 else None


def close_tally(count: Count, params: Params) -> Outcome | None:
    """The outcome at the deadline, when missing votes count as abstentions; None without a quorum."""
    if not has_quorum(count, params):
        return None
    silent = Count(count.members, count.approvals, count.rejections, count.abstentions + count.missing)
    return tally(silent, params)


def shuffled(size: int, beacon: RunningHash, purpose: bytes = b"order") -> tuple[int, ...]:
    """A permutation of range(size) drawn from a running hash: Fisher-Yates, all equally likely.

    purpose: what is drawn from the hash; what is drawn for another purpose tells nothing about it.
    """
    order = list(range(size))
    seed = b"roundabout/1/%b\n" % purpose + unbase64url(beacon, 48)
    draw = 0
    for last in range(size - 1, 0, -1):
        bound = last + 1
        while True:
            value = int.from_bytes(hashlib.sha256(seed + draw.to_bytes(8, "big")).digest()[:8], "big")
            draw += 1
            if (
                value < 2**64 - 2**64 % bound
            ):  # reject the incomplete last block, so that no place is favoured
                break
        pick = value % bound
        order[last], order[pick] = order[pick], order[last]
    return tuple(order)


def committee_for(members: frozenset[int], proposer: int, size: int, beacon: RunningHash) -> frozenset[int]:
    """Who votes on a proposal beside its proposer: `size` of the other members, all equally likely."""
    others = sorted(members - {proposer})
    return frozenset(others[place] for place in shuffled(len(others), beacon, b"committee")[:size])


def proposer_for(order: Sequence[int], cursor: int, active: frozenset[int]) -> tuple[int, int] | None:
    """The next proposer and the cursor after it: the first active place in the order from the cursor on."""
    for position in range(cursor, len(order)):
        if order[position] in active:
            return order[position], position + 1
    return None


def split_reward(
    reward: Tinybar, shares: Sequence[tuple[AccountId, int]]
) -> tuple[tuple[AccountId, Tinybar], ...]:
    """A reward by shares in ppm that add up to a million, rounded down; the remainder is the first one's."""
    parts = [reward * share // MILLION for _, share in shares]
    parts[0] += reward - sum(parts)
    return tuple((account, Tinybar(part)) for (account, _), part in zip(shares, parts, strict=True))


def trimmed_gain(gains: Iterable[Ppm], members: int) -> Ppm:
    """The mean of the votes' gains without the f highest and the f lowest, rounded down; 0 without any.

    f = floor((n-1)/3) of n members, not of the votes: leaving honest votes out must not give liars more weight.
    At least one is kept, the lowest first, so that with f liars none moves it above what an honest one said.
    """
    ordered = sorted(gains)
    faulty = (members - 1) // 3
    kept = ordered[: max(1, len(ordered) - faulty)]
    kept = kept[min(faulty, len(kept) - 1) :] if kept else kept
    return Ppm(sum(kept) // len(kept)) if kept else Ppm(0)


def proposal_reward(gains: Iterable[Ppm], members: int, params: Params) -> Tinybar:
    """What an accepted proposal earns: min(reward_proposal, k x the trimmed mean gain), never less than nothing."""
    gain = max(0, trimmed_gain(gains, members))
    return Tinybar(min(params.reward_proposal, params.reward_per_ppm * gain))


def proposal_penalty(gains: Sequence[Ppm], params: Params) -> Tinybar:
    """What a clearly rejected proposal costs: min(penalty_rejected, k x loss).

    gains: of its votes, at least one. More than half of them tell this loss or a greater one: of four votes two that
    tell a loss of everything do not raise it, and one that tells a gain does not lower it.
    """
    loss = max(0, -sorted(gains)[len(gains) // 2])
    return Tinybar(min(params.penalty_rejected, params.reward_per_ppm * loss))


def is_outvoted(against: int, decisive: int, members: int) -> bool:
    """Whether what somebody said is clearly contradicted: less is noise.

    against: votes that say the opposite, at least two thirds of the `decisive` votes of the others, and more
    than half of the members of the round. A proposal is its proposer's approval.
    """
    return 3 * against >= 2 * decisive and 2 * against > members


def scaled(rewards: Sequence[Tinybar], pool: Tinybar) -> tuple[Tinybar, ...]:
    """Rewards as a pool can pay them: none above a 64th of it; pro rata, rounded down, where it is too small."""
    capped = [min(reward, pool // 64) for reward in rewards]
    total = sum(capped)
    if total > pool:
        capped = [reward * pool // total for reward in capped]
    return tuple(Tinybar(reward) for reward in capped)
