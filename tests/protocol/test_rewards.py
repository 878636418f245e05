"""rewards and penalties: what a round moves, and between whom."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.ids import Ppm, Tinybar
from protocol.messages import Choice, Contributor
from protocol.money import Money, TreasuryKeys, total_of, with_penalty, with_rewards
from protocol.rules import is_outvoted, proposal_reward, scaled, trimmed_gain
from tests.protocol.world import (
    POOL,
    TREASURY,
    Run,
    account,
    params,
    propose,
    total,
    verdict,
    vote_record,
)

YES, NO, GONE, DONT_KNOW = Choice.APPROVE, Choice.REJECT, Choice.UNAVAILABLE, Choice.ABSTAIN


def money(pool=0, stakes=()):
    return Money(
        treasury=TREASURY,
        keys=TreasuryKeys(1, (0,)),
        stakes=stakes,
        pool=Tinybar(pool),
        deposits=Tinybar(pool + sum(stakes)),
    )


# ---- gains ----


@pytest.mark.parametrize(
    ("gains", "members", "mean"),
    [
        ((), 4, 0),
        ((), 1, 0),
        ((7,), 2, 7),
        ((10, 21), 3, 15),
        ((1, 2, 1_000_000), 4, 2),
        ((-1_000_000, 2, 3), 4, 2),
        ((5, 5, 5, 1_000_000), 5, 5),
        ((-7, -8), 3, -8),  # rounded down
        ((10, 1_000_000), 4, 10),  # the highest may lie; at least one stays
        ((1_000_000,), 13, 1_000_000),
        ((3, 4, 5, 900, 900, 900), 13, 4),
    ],
)
def test_trimmed_gain(gains, members, mean):
    assert trimmed_gain([Ppm(gain) for gain in gains], members) == mean


@given(st.integers(1, 30), st.data())
def test_liars_never_move_the_gain_above_what_an_honest_one_said(members, data):
    faulty = (members - 1) // 3
    gain = st.integers(-1_000_000, 1_000_000).map(Ppm)
    honest = data.draw(st.lists(gain, min_size=1, max_size=max(1, members - 1 - faulty)))
    liars = data.draw(st.lists(gain, max_size=faulty))
    assert trimmed_gain([*honest, *liars], members) <= max(honest)
    everybody = members - 1 - faulty
    if len(honest) == everybody:
        assert trimmed_gain([*honest, *liars], members) >= min(honest)


def test_a_proposal_earns_what_it_gains_up_to_a_limit():
    rules = params(reward_proposal=5_000, reward_per_ppm=10)
    gains = [0, 1, 499, 500, 501, 1_000_000, -1, -1_000_000]
    paid = [proposal_reward([Ppm(gain)], 2, rules) for gain in gains]
    assert paid == [0, 10, 4_990, 5_000, 5_000, 5_000, 0, 0]
    assert proposal_reward([], 1, rules) == 0


def played(run, gains, choice=YES, **changes):
    """One accepted round, with these gains; the proposer's and the voters' accounts."""
    proposer, voters = run.current.proposer, run.voters
    proposal = run.proposal(**changes)
    votes = [run.vote(proposal, voter, choice, gain=Ppm(g)) for voter, g in zip(voters, gains, strict=False)]
    run.put(verdict(proposal, votes, "accepted"))
    return account(proposer), [account(voter) for voter in voters]


def test_gains_of_the_votes_decide_the_reward():
    run = Run(4, pool=POOL, reward_proposal=10**6, reward_per_ppm=3, reward_vote=7)
    proposer, voters = played(run, (100, 40, 999_999))
    assert run.now.earned_by(proposer) == 300
    assert [run.now.earned_by(voter) for voter in voters] == [7, 7, 7]
    before = total(run.now)
    played(run, (0, 0, 999_999))
    assert total(run.now) == before + 3 * 7


def test_a_vote_that_is_contradicted_has_no_gain():
    """It counts as an abstention, and its gain not at all, whatever it says."""
    run = Run(2, pool=POOL, reward_proposal=1_000, approval=400_000)
    proposal, voter = run.proposal(), run.voters[0]
    for gain in (900, 901):
        run.put(vote_record(proposal, run.vote(proposal, voter, DONT_KNOW, gain=Ppm(gain))))
    run.expire()
    assert run.now.last.ending == "accepted"
    assert run.now.money.earned == ()


def test_the_gain_of_who_never_saw_the_candidate_does_not_count():
    run = Run(4, pool=POOL, reward_proposal=10**6, reward_per_ppm=1)
    proposer = run.current.proposer
    proposal = run.proposal()
    one, two, three = run.voters
    votes = [
        run.vote(proposal, one, YES, gain=Ppm(60)),
        run.vote(proposal, two, YES, gain=Ppm(80)),
        run.vote(proposal, three, GONE, gain=Ppm(-1_000_000)),
    ]
    run.put(verdict(proposal, votes, "accepted"))
    assert run.now.earned_by(account(proposer)) == 60


# ---- the pool's limits ----


def test_no_reward_exceeds_a_64th_of_the_pool():
    run = Run(2, pool=6_400, reward_proposal=1_000, reward_vote=1_000)
    proposer, (voter,) = played(run, (900_000,))
    assert run.now.earned_by(proposer) == run.now.earned_by(voter) == 100
    assert run.now.money.pool == 6_200
    played(run, (900_000,))
    assert run.now.money.pool == 6_200 - 2 * 96


@pytest.mark.parametrize("pool", [0, 1, 63])
def test_a_pool_too_small_for_a_64th_pays_nothing(pool):
    run = Run(2, pool=pool, reward_proposal=1_000, reward_vote=1_000)
    played(run, (900_000,))
    assert (run.now.money.earned, run.now.money.pool) == ((), pool)


def test_more_than_64_payees_share_what_there_is():
    assert scaled([Tinybar(10)] * 65, Tinybar(640)) == (9,) * 65
    assert scaled([Tinybar(10)] * 64, Tinybar(640)) == (10,) * 64
    assert scaled([Tinybar(5)] * 128, Tinybar(640)) == (5,) * 128
    assert scaled([], Tinybar(640)) == ()
    after = with_rewards(money(640), [(Tinybar(10), [(account(n), 1_000_000)]) for n in range(65)])
    assert (after.pool, total_of(after.owed)) == (640 - 65 * 9, 65 * 9)


@given(st.integers(0, 10_000), st.lists(st.integers(0, 500), max_size=150))
def test_no_pool_is_overdrawn(pool, rewards):
    paid = scaled([Tinybar(reward) for reward in rewards], Tinybar(pool))
    assert sum(paid) <= pool
    assert all(0 <= amount <= min(reward, pool // 64) for amount, reward in zip(paid, rewards, strict=True))


# ---- contributors ----

SHARES = st.lists(st.integers(1, 1_000), min_size=1, max_size=16)


@given(st.integers(0, 10**6), SHARES)
def test_every_tinybar_of_a_reward_is_somebodys(reward, weights):
    shares = [weight * 1_000_000 // sum(weights) for weight in weights]
    shares[0] += 1_000_000 - sum(shares)
    before = money(10**9)
    entries = [(account(n), share) for n, share in enumerate(shares)]
    after = with_rewards(before, [(Tinybar(reward), entries)])
    assert total_of(after.owed) == total_of(after.earned) == reward
    assert after.pool == before.pool - reward
    for number, share in enumerate(shares[1:], 1):
        assert dict(after.owed).get(account(number), 0) == reward * share // 1_000_000


def contributors(*shares):
    return tuple(Contributor(account=who, share=Ppm(share)) for who, share in shares)


def test_the_first_contributor_has_what_rounding_leaves():
    run = Run(2, pool=POOL, reward_proposal=1_000)
    thirds = contributors((account(20), 333_334), (account(21), 333_333), (account(20), 333_333))
    played(run, (900_000,), contributors=thirds)
    assert (run.now.earned_by(account(20)), run.now.earned_by(account(21))) == (667, 333)


def test_what_would_go_to_the_treasury_stays_in_the_pool():
    run = Run(2, pool=POOL, reward_proposal=1_000)
    played(run, (900_000,), contributors=contributors((account(20), 400_000), (TREASURY, 600_000)))
    assert run.now.money.owed == ((account(20), 400),)
    assert run.now.money.pool == POOL - 400
    played(run, (900_000,), contributors=contributors((TREASURY, 1_000_000)))
    assert run.now.money.pool == POOL - 400


# ---- penalties ----


def rejected(votes, size=4, stake=1_000, **rules):
    """A rejected round; what the proposer lost."""
    run = Run(size, **({"penalty_rejected": 300} | rules))
    proposer = run.current.proposer
    if stake:
        run.topup(proposer, stake)
    proposal = run.proposal()
    assert run.put(verdict(proposal, run.votes(proposal, *votes), "rejected")).last.ending == "rejected"
    lost = stake - run.now.money.stakes[proposer]
    assert run.now.money.pool == lost
    return lost


@pytest.mark.parametrize(
    ("votes", "lost"),
    [
        ((NO, NO, NO), 300),
        ((NO, NO, YES), 0),  # half of the decisive votes
        ((NO, NO, DONT_KNOW), 0),  # two thirds, but only half of the members
        ((NO, GONE, GONE), 0),
        ((GONE, GONE, GONE), 0),
        ((NO, NO, GONE), 0),
    ],
)
def test_only_a_clear_rejection_costs(votes, lost):
    assert rejected(votes) == lost


@pytest.mark.parametrize(("stake", "lost"), [(0, 0), (1, 1), (299, 299), (300, 300), (301, 300)])
def test_a_penalty_never_exceeds_the_stake(stake, lost):
    assert rejected((NO, NO, NO), stake=stake) == lost


@pytest.mark.parametrize(
    ("choices", "members", "clear"),
    [
        ((NO, NO), 3, True),
        ((NO, NO, YES), 4, False),  # half of the members
        ((NO,) * 4 + (YES,), 6, True),
        ((NO,) * 3 + (YES,), 5, True),
        ((NO,) * 3 + (YES, YES), 6, False),  # half of the members
        ((NO,) * 4 + (YES,) * 3, 7, False),  # four sevenths of the decisive
        ((NO,) * 4 + (DONT_KNOW,) * 3, 8, False),
        ((NO,) * 5 + (DONT_KNOW,) * 3, 9, True),
        ((NO,), 2, False),
    ],
)
def test_two_thirds_of_the_decisive_and_more_than_half_of_all(choices, members, clear):
    assert is_outvoted(choices.count(NO), len(choices) - choices.count(DONT_KNOW), members) is clear


def outvoted(outcome, *votes, size=5):
    """What each voter lost of its stake, in order, and the proposer."""
    run = Run(size, penalty_outvoted=40, penalty_rejected=300)
    for place in range(size):
        run.topup(place, 1_000)
    proposer, voters = run.current.proposer, run.voters
    proposal = run.proposal()
    stakes = run.put(verdict(proposal, run.votes(proposal, *votes), outcome)).money.stakes
    return [1_000 - stakes[place] for place in (*voters, proposer)]


@pytest.mark.parametrize(
    ("outcome", "votes", "lost"),
    [
        ("accepted", (YES, YES, NO, NO), (0, 0, 40, 40, 0)),
        ("accepted", (YES, YES, NO, GONE), (0, 0, 40, 40, 0)),  # a veto is one by any name
        ("accepted", (YES, YES, DONT_KNOW, NO), (0, 0, 0, 40, 0)),
        ("accepted", (YES, DONT_KNOW, DONT_KNOW, NO), (0, 0, 0, 0, 0)),
        ("rejected", (YES, DONT_KNOW, NO, NO), (0, 0, 0, 0, 0)),
        ("rejected", (NO, NO, NO, YES), (0, 0, 0, 40, 300)),
        ("rejected", (NO, NO, GONE, YES), (0, 0, 0, 0, 0)),  # who could not fetch it says nothing of it
    ],
)
def test_who_says_the_opposite_of_nearly_all_others_pays(outcome, votes, lost):
    assert outvoted(outcome, *votes) == list(lost)


@pytest.mark.parametrize(
    ("votes", "lost"),
    [
        ((YES, DONT_KNOW, NO, NO), (0, 0, 50, 50, 100)),
        ((YES, DONT_KNOW, NO, GONE), (0, 0, 50, 50, 100)),
        ((DONT_KNOW, DONT_KNOW, DONT_KNOW, NO), (0, 0, 0, 50, 50)),
        ((NO, NO, NO, YES), (0, 0, 0, 0, 0)),  # a clear rejection has its own penalty
        ((NO, NO, NO, NO), (0, 0, 0, 0, 0)),
    ],
)
def test_a_contested_rejection_costs_both_sides_the_same(votes, lost):
    run = Run(5, penalty_contested=50)
    for place in range(5):
        run.topup(place, 1_000)
    proposer, voters = run.current.proposer, run.voters
    proposal = run.proposal()
    money = run.put(verdict(proposal, run.votes(proposal, *votes), "rejected")).money
    assert tuple(1_000 - money.stakes[place] for place in (*voters, proposer)) == lost
    assert money.pool == sum(lost)


def test_who_loses_a_narrow_vote_pays_nothing():
    run = Run(5, penalty_contested=50)
    for place in range(5):
        run.topup(place, 1_000)
    proposal = run.proposal()
    state = run.put(verdict(proposal, run.votes(proposal, YES, DONT_KNOW, DONT_KNOW, NO), "accepted"))
    assert sum(state.money.stakes) == 5_000


@pytest.mark.parametrize(
    ("votes", "reward"),
    [
        ((YES, YES, NO, NO), 400),  # nobody who is clearly contradicted lowers it
        (
            (YES, YES, DONT_KNOW, DONT_KNOW),
            200,
        ),  # who abstains has found no gain: the mean of 0 and 400, trimmed
    ],
)
def test_a_liar_cannot_talk_a_gain_away(votes, reward):
    run = Run(5, pool=POOL, reward_proposal=1_000, reward_per_ppm=1)
    proposal = run.proposal()
    gains = [400 if choice is YES else -1_000_000 for choice in votes]
    cast = [
        run.vote(proposal, voter, choice, gain=gain)
        for voter, choice, gain in zip(run.voters, votes, gains, strict=True)
    ]
    state = run.put(verdict(proposal, cast, "accepted"))
    assert sum(amount for _, amount in state.money.earned) == reward


@pytest.mark.parametrize(
    ("losses", "lost"),
    [((5, 9, 700, 20), 9), ((30, 10**6, 10**6, 1), 30), ((400, 400, 400, 400), 300), ((0, 0, 0, 0), 0)],
)
def test_a_clear_rejection_costs_as_much_as_it_would_have_harmed(losses, lost):
    run = Run(5, penalty_rejected=300, reward_per_ppm=1)
    proposer = run.current.proposer
    run.topup(proposer, 1_000)
    proposal = run.proposal()
    votes = [
        run.vote(proposal, voter, NO, gain=-loss) for voter, loss in zip(run.voters, losses, strict=True)
    ]
    assert 1_000 - run.put(verdict(proposal, votes, "rejected")).money.stakes[proposer] == lost


def test_absence_costs_once_the_next_round_is_over():
    run = Run(3, penalty_absent=70, inactive_after=9)
    for place in range(3):
        run.topup(place, 100)
    proposal, quiet = run.proposal(), run.voters[1]
    run.put(verdict(proposal, [run.vote(proposal, run.voters[0])], "accepted"))
    assert sum(run.now.money.stakes) == 300
    run.accept()
    assert (run.now.money.stakes[quiet], run.now.money.pool) == (30, 70)
    assert run.accept().money.stakes[quiet] == 30


def test_a_hurried_pass_costs_nobody_whose_vote_had_no_time():
    for wait, lost in ((1, 0), (40, 70)):
        run = Run(3, penalty_absent=70)
        for place in range(3):
            run.topup(place, 100)
        proposal, quiet = run.proposal(), run.voters[1]
        run.put(verdict(proposal, [run.vote(proposal, run.voters[0])], "accepted"))
        run.put(run.pass_turn(), at=run.time + wait * 10**9)
        assert run.now.money.stakes[quiet] == 100 - lost


def test_a_proposer_on_the_topic_never_pays_for_absence():
    run = Run(3, penalty_absent=70)
    proposer = run.current.proposer
    for place in range(3):
        run.topup(place, 100)
    run.put(propose(run.proposal()))
    run.expire()
    run.accept()
    assert [run.now.money.stakes[place] for place in range(3)] == [
        100 if place == proposer else 30 for place in range(3)
    ]


@given(st.integers(0, 10**6), st.integers(0, 10**6))
def test_a_penalty_moves_from_the_stake_to_the_pool(stake, penalty):
    after = with_penalty(money(5, (Tinybar(stake),)), 0, Tinybar(penalty))
    assert after.stakes[0] == max(0, stake - penalty)
    assert after.pool + after.stakes[0] == 5 + stake
