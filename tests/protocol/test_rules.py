"""rules: brute force over all small rounds, and the draws."""

from collections import Counter
from itertools import pairwise, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.ids import AccountId, Ppm, RunningHash, Tinybar, base64url
from protocol.messages import Choice
from protocol.rules import (
    MIN_DEADBAND,
    Count,
    choice_for,
    close_tally,
    count_of,
    has_quorum,
    proposer_for,
    shuffled,
    split_reward,
    tally,
)
from tests.protocol.world import params

APPROVALS = (0, 333_333, 500_000, 666_667, 999_999, 1_000_000)
QUORUMS = (0, 340_000, 500_000, 800_000, 1_000_000)
RULES = [
    params(approval=a, participation=p, min_approvals=m)
    for a, p, m in product(APPROVALS, QUORUMS, (0, 1, 2, 4))
]
DEFAULT = params()


def counts(members):
    """Every count a record about a round of so many members can give, the proposer's approval included."""
    for approvals in range(1, members + 1):
        for rejections in range(members - approvals + 1):
            for abstentions in range(members - approvals - rejections + 1):
                yield Count(members, approvals, rejections, abstentions)


def outcomes_of_parts(members, rules):
    """For each full round, the outcomes that any subset of its votes gives.

    Leaving out one vote at a time reaches every subset, so each count inherits what its parts can say.
    """
    said = {}
    for count in sorted(counts(members), key=lambda c: -c.missing):
        a, j, s = count.approvals, count.rejections, count.abstentions
        parts = {tally(count, rules)} - {None}
        for less in ((a - 1, j, s), (a, j - 1, s), (a, j, s - 1)):
            parts |= said.get(less, set())
        said[a, j, s] = parts
        yield count, parts


@pytest.mark.parametrize("members", range(1, 13))
def test_no_part_of_the_votes_contradicts_another_or_the_whole(members):
    for rules in RULES:
        for count, parts in outcomes_of_parts(members, rules):
            assert len(parts) <= 1, (count, rules, parts)
            if parts:
                assert parts == {tally(count, rules)}, (count, rules, parts)


@pytest.mark.parametrize("members", range(1, 13))
def test_a_decided_tally_is_what_the_deadline_says_of_every_larger_part(members):
    for rules in RULES:
        for count, parts in outcomes_of_parts(members, rules):
            if parts:
                assert parts == {close_tally(count, rules)}


@pytest.mark.parametrize("members", range(1, 10))
def test_a_full_count_always_has_an_outcome_that_follows_from_its_definition(members):
    for rules in RULES:
        for count in counts(members):
            if count.missing:
                continue
            a, j = count.approvals, count.rejections
            above = a * 1_000_000 > rules.approval * (a + j)
            expected = (
                "accepted"
                if above and a - 1 >= rules.min_approvals
                else "rejected"
                if j and not above
                else "neutral"
            )
            assert tally(count, rules) == expected


@given(st.lists(st.sampled_from(Choice), max_size=11), st.randoms(use_true_random=False))
def test_the_order_of_votes_never_matters(choices, random):
    other = list(choices)
    random.shuffle(other)
    assert count_of(choices, 12) == count_of(other, 12)


def test_unavailable_counts_as_a_rejection_and_the_proposal_as_an_approval():
    assert count_of([], 3) == Count(3, 1, 0, 0)
    assert count_of([Choice.UNAVAILABLE, Choice.REJECT], 3) == Count(3, 1, 2, 0)


def test_votes_equal_to_the_approval_share_do_not_accept():
    assert tally(Count(4, 2, 2, 0), DEFAULT) == "rejected"
    assert tally(Count(4, 3, 0, 0), DEFAULT) == "accepted"
    assert tally(Count(4, 2, 0, 0), DEFAULT) is None
    assert tally(Count(4, 2, 1, 1), DEFAULT) == "accepted"


def test_without_rejections_nothing_is_rejected():
    strangers = params(min_approvals=2)
    assert tally(Count(4, 1, 0, 3), strangers) == "neutral"
    assert tally(Count(4, 2, 0, 2), strangers) == "neutral"


def test_no_outcome_below_the_quorum():
    rules = params(participation=800_000)
    assert not has_quorum(Count(10, 7, 0, 0), rules)
    assert tally(Count(10, 7, 0, 0), rules) is None
    assert tally(Count(10, 8, 0, 0), rules) == "accepted"
    assert close_tally(Count(10, 7, 0, 0), rules) is None


def test_at_the_deadline_the_missing_abstain():
    assert close_tally(Count(5, 2, 1, 0), DEFAULT) == "accepted"
    assert close_tally(Count(5, 1, 2, 0), DEFAULT) == "rejected"
    assert close_tally(Count(5, 2, 0, 0), DEFAULT) is None
    assert close_tally(Count(5, 1, 0, 2), params(min_approvals=1)) == "neutral"


@pytest.mark.parametrize("size", range(4, 14))
def test_accepted_among_strangers_implies_an_honest_approval_and_no_honest_majority_against(size):
    most = (size - 1) // 3
    rules = params(min_approvals=most + 1)
    for count in counts(size):
        early, late = tally(count, rules), close_tally(count, rules)
        if "accepted" not in (early, late):
            continue
        # A verdict may leave votes out, all of them honest rejections; a close counts what reached the topic.
        rejections = count.rejections + (count.missing if early == "accepted" else 0)
        for faulty, is_proposer in product(range(most + 1), (False, True)):
            for approving in range(is_proposer, faulty + 1):
                for rejecting in range(min(faulty - approving, count.rejections) + 1):
                    honest_others = count.approvals - approving - (not is_proposer)
                    assert honest_others >= 1
                    assert count.approvals - approving + faulty > rejections - rejecting


def test_choice_for_keeps_still_inside_the_deadband():
    assert choice_for(Ppm(2_000), Ppm(0)) is Choice.ABSTAIN
    assert choice_for(Ppm(2_001), Ppm(0)) is Choice.APPROVE
    assert choice_for(Ppm(-2_000), Ppm(0)) is Choice.ABSTAIN
    assert choice_for(Ppm(-2_001), Ppm(0)) is Choice.REJECT
    assert choice_for(Ppm(6_700), Ppm(10_000)) is Choice.ABSTAIN
    assert choice_for(Ppm(6_701), Ppm(10_000)) is Choice.APPROVE


@given(st.integers(-1_000_000, 1_000_000), st.integers(0, 1_000_000))
def test_choice_for_is_symmetric(gain, error):
    mirror = {
        Choice.APPROVE: Choice.REJECT,
        Choice.REJECT: Choice.APPROVE,
        Choice.ABSTAIN: Choice.ABSTAIN,
    }
    assert choice_for(Ppm(-gain), Ppm(error)) is mirror[choice_for(Ppm(gain), Ppm(error))]
    if abs(gain) <= MIN_DEADBAND:
        assert choice_for(Ppm(gain), Ppm(error)) is Choice.ABSTAIN


def beacon(seed):
    return RunningHash(base64url(seed.to_bytes(48, "big")))


@given(st.integers(0, 200), st.integers(0, 2**384 - 1))
def test_shuffled_is_a_permutation(size, seed):
    assert sorted(shuffled(size, beacon(seed))) == list(range(size))


def test_shuffled_favours_no_order():
    draws = 12_000
    seen = Counter(shuffled(4, beacon(seed)) for seed in range(draws))
    expected = draws / 24
    chi_square = sum((seen[order] - expected) ** 2 / expected for order in seen)
    assert len(seen) == 24
    assert chi_square < 49.7  # the 0.1% point for 23 degrees of freedom; the inputs are fixed


def test_shuffled_never_changes_between_versions():
    assert shuffled(9, beacon(7)) == (8, 2, 3, 1, 5, 6, 4, 0, 7)


def test_proposer_for_skips_the_inactive():
    order = (3, 1, 0, 2)
    assert proposer_for(order, 0, frozenset({0, 1, 2, 3})) == (3, 1)
    assert proposer_for(order, 1, frozenset({0, 2})) == (0, 3)
    assert proposer_for(order, 3, frozenset({0, 1})) is None
    assert proposer_for(order, 4, frozenset({0, 1})) is None


@given(st.integers(1, 40), st.integers(0, 2**32), st.data())
def test_in_an_epoch_every_active_place_has_one_turn(size, seed, data):
    active = frozenset(data.draw(st.sets(st.integers(0, size - 1))))
    order, cursor, turns = shuffled(size, beacon(seed)), 0, []
    while (turn := proposer_for(order, cursor, active)) is not None:
        place, cursor = turn
        turns.append(place)
    assert sorted(turns) == sorted(active)


@given(
    st.integers(0, 2**63),
    st.lists(st.integers(1, 1_000_000), min_size=0, max_size=15),
)
def test_split_reward_conserves_to_the_tinybar(reward, cuts):
    points = sorted({0, 1_000_000, *cuts})
    shares = [b - a for a, b in pairwise(points)]
    parts = split_reward(Tinybar(reward), [(AccountId(f"0.0.{i}"), share) for i, share in enumerate(shares)])
    assert sum(amount for _, amount in parts) == reward
    for (_, amount), share in list(zip(parts, shares, strict=True))[1:]:
        assert amount == reward * share // 1_000_000
    assert parts[0][1] >= reward * shares[0] // 1_000_000
