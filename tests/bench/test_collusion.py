"""What two of five who work against the others cost a run, and themselves, by the protocol's own fold."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from bench.adversaries import HBAR, POOL, STAKE, net, play, preset
from bench.collective import WHOLE, Collective, Conduct, Peer
from bench.hostile import ATTACKS, Ballot, Hostile, Idle, against_all, honestly, in_league, slyly, unavailable
from learners.driving.learner import DrivingLearner
from learners.driving.options import DrivingOptions
from learners.driving.world import TrackWorld
from protocol.ids import Ppm, Round
from tests.bench.levels import Levels, levels_of

HOSTILE = (1, 3)
STEPS = (1_000_000, 60_000, 60_000, 60_000, 60_000)
"""The first member is as well served as can be after one turn, and abstains ever after."""


class Harmful(Conduct):
    """Proposes what undoes two honest members' levels, and leaves the others' alone."""

    def candidate(
        self, member: Peer, head: Path, own: Path, updates: Sequence[Path], round: Round, out: Path
    ) -> tuple[Path, tuple[Ppm, ...]] | None:
        levels = levels_of(head)
        levels[2] = levels[4] = 0
        out.write_text(" ".join(str(level) for level in levels))
        return out, (WHOLE,)


def collective(folder: Path, hostile: Conduct, has_public: bool = True, **rules: object) -> Collective:
    peers = [
        Peer(f"peer-{place}", Levels(place, 5, step, has_public), hostile if place in HOSTILE else Conduct())
        for place, step in enumerate(STEPS)
    ]
    return Collective(peers, folder, stake=STAKE, pool=POOL, params={**preset(), **rules})


def honest_levels(run: Collective) -> list[int]:
    return [level for place, level in enumerate(levels_of(run.head)) if place not in HOSTILE]


@pytest.mark.parametrize("ballot", [against_all, unavailable, in_league])
def test_who_rejects_everything_loses_its_seat_and_no_honest_member_does(
    tmp_path: Path, ballot: Ballot
) -> None:
    run = collective(tmp_path, Hostile(Idle(), ballot))
    _, seats = play(run, labels=1_000, rounds=60)
    assert seats[-1] == {0, 2, 4}
    assert honest_levels(run) == [WHOLE] * 3
    money, stake_min = run.state.money, run.state.params.stake_min
    assert all(money.stakes[place] < stake_min for place in HOSTILE)
    assert all(money.stakes[place] >= stake_min for place in (0, 2, 4))


def test_who_rejects_only_what_is_contested_pays_and_stops_nobody_for_good(tmp_path: Path) -> None:
    run = collective(tmp_path, Hostile(Idle(), slyly))
    play(run, labels=1_000, rounds=60)
    assert honest_levels(run) == [WHOLE] * 3
    assert all(net(run)[place] < 0 for place in HOSTILE)


def test_without_public_roads_two_who_reject_what_is_contested_stop_the_run_for_a_while(
    tmp_path: Path,
) -> None:
    """The member that is well served abstains, and of the others nobody can tell who is honest."""
    run = collective(tmp_path, Hostile(Idle(), slyly), has_public=False)
    turns, _ = play(run, labels=1_000, rounds=20)
    contested = [turn for turn in turns if turn.ending == "rejected"]
    assert len(contested) >= 3
    for turn in contested:
        theirs = sum(turn.lost[place] for place in HOSTILE)
        assert theirs == sum(turn.lost) - theirs > 0
    assert max(honest_levels(run)[1:]) < WHOLE


def test_harm_to_two_that_the_third_does_not_notice_at_home_is_clearly_rejected(tmp_path: Path) -> None:
    run = collective(tmp_path, Hostile(Harmful(), in_league))
    turns, seats = play(run, labels=1_000, rounds=60)
    assert not any(turn.ending == "accepted" for turn in turns[1:] if turn.proposer in HOSTILE)
    assert seats[-1] == {0, 2, 4}
    assert all(net(run)[place] < 0 for place in HOSTILE)
    assert honest_levels(run) == [WHOLE] * 3


def test_honest_members_who_agree_pay_nothing(tmp_path: Path) -> None:
    peers = [Peer(f"peer-{place}", Levels(place, 5, step), Conduct()) for place, step in enumerate(STEPS)]
    run = Collective(peers, tmp_path, stake=STAKE, pool=POOL, params=preset())
    turns, _ = play(run, labels=1_000, rounds=20)
    assert run.state.money.stakes == (STAKE,) * 5
    assert all(turn.ending == "accepted" for turn in turns)
    assert sum(amount for _, amount in run.state.money.earned) > 10 * HBAR


def test_an_empty_proposal_and_a_lazy_vote_earn_nothing(tmp_path: Path) -> None:
    class Empty(Conduct):
        def candidate(
            self, member: Peer, head: Path, own: Path, updates: Sequence[Path], round: Round, out: Path
        ) -> tuple[Path, tuple[Ppm, ...]] | None:
            return head, (WHOLE,)

    run = collective(tmp_path, Hostile(Empty(), honestly))
    turns, _ = play(run, labels=1_000, rounds=20)
    assert any(turn.ending == "accepted" for turn in turns if turn.proposer in HOSTILE)
    accounts = {run.state.roster[place].account for place in HOSTILE}
    assert not accounts & {account for account, _ in run.state.money.earned}


@pytest.mark.slow
def test_two_who_reject_what_helps_all_others_lose_their_seats(tmp_path: Path) -> None:
    """With learners that drive: what the first round's merge brings is clear to all who are honest."""
    names = ("gentle-wide", "gentle-narrow", "medium", "tight-wide", "tight-narrow")
    rules = {**preset(), "stake_min": STAKE}  # whoever pays once is out
    peers = []
    for place, name in enumerate(names):
        options = DrivingOptions(
            family=name, seed=place, labels_per_turn=80, train_steps=200, merge_steps=300, validation_tracks=8
        )
        learner = DrivingLearner("driving", options, TrackWorld(options), tmp_path / name)
        conduct = ATTACKS["league-scale"].conduct if place in HOSTILE else Conduct()
        peers.append(Peer(name, learner, conduct))
    run = Collective(peers, tmp_path, stake=STAKE, pool=POOL, params=rules)
    turns, seats = play(run, labels=1_000_000, rounds=2)
    assert seats[-1] == {0, 2, 4}
    assert all(turn.proposer not in HOSTILE for turn in turns if turn.ending == "accepted")
    assert all(net(run)[place] < 0 for place in HOSTILE)
