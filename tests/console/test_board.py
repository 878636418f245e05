"""The board tells what the fold knows, whatever happened, and stays bounded."""

import math
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

from node.console.board import Board
from node.console.history import MAX_HEADS, MAX_ROUNDS
from node.driver import Driver
from node.net.transport import Connected, Disconnected
from protocol.ids import SECOND, AccountId, Nanoseconds
from protocol.messages import Choice
from protocol.records import VerdictRecord
from protocol.view import CaughtUp, Fetched, Scored, Trained, View
from tests.console.watched import Watched, comparison, contact, number, peer, played, training
from tests.node.nodes import running, world_of
from tests.node.world import TOPIC
from tests.protocol.peer import only
from tests.protocol.world import Run, account, blob, verdict, vote_record

ENDINGS = ("accepted", "rejected", "closed", "passed", "accepted")


def test_before_the_genesis_there_is_little_to_tell() -> None:
    board = Board(peer(0), account(0), TOPIC, lambda: Nanoseconds(SECOND))
    status = board.status()
    assert (status.node.state, status.node.run, status.round, status.members) == (
        "catching up",
        None,
        None,
        (),
    )
    assert board.health().healthy
    board.on_step(View(peer(0), TOPIC), View(peer(0), TOPIC, live=True), CaughtUp(), Nanoseconds(SECOND))
    assert board.state == "live"


def test_rounds_are_told_as_they_ended() -> None:
    run = played(Run(4), *ENDINGS)
    board = Watched(run, 1).board
    rounds, following = board.history.page(None, 10)
    assert following is None
    assert [each.ending for each in rounds] == list(ENDINGS)
    assert [each.number for each in rounds] == [1, 2, 3, 4, 5]
    assert [len(each.votes) for each in rounds] == [3, 3, 0, 0, 3]
    assert [each.gain for each in rounds] == [50_000, -50_000, None, None, 50_000]
    assert rounds[-1].head == run.now.head == board.status().heads[-1].digest
    assert [head.round for head in board.status().heads] == [0, 1, 5]
    assert all(one.closed_ms == two.opened_ms for one, two in pairwise(rounds))
    assert board.status().totals.model_dump() == {
        "accepted": 2, "rejected": 1, "neutral": 0, "closed": 1, "passed": 1,
    }  # fmt: skip


def test_deeds_and_money_add_up_to_what_the_topic_says() -> None:
    run = played(Run(4, pool=10**9, reward_vote=1_000, reward_proposal=5_000), *ENDINGS)
    status = Watched(run, 2).board.status()
    decided = 3
    assert sum(each.proposals for each in status.members) == decided
    assert sum(each.accepted for each in status.members) == 2
    assert sum(each.votes for each in status.members) == decided * 3
    assert [each.earned for each in status.members] == [run.now.earned_by(account(n)) for n in range(4)]
    assert status.own.earned == run.now.earned_by(account(2)) > 0
    assert status.own.owed == dict(run.now.money.owed)[account(2)]
    assert status.money.pool == run.now.money.pool
    mine = Watched(run, 2).board.history.page(None, 10)[0]
    assert sum(each.earned for each in mine) == status.own.earned
    assert status.own.votes == status.own.chances == decided - status.own.proposals


def test_a_late_vote_is_added_to_its_round() -> None:
    run = Run(4, pool=10**9, reward_vote=1_000)
    proposal = run.proposal()
    early, late = run.votes(proposal, Choice.APPROVE, Choice.APPROVE), run.voters[2]
    run.put(verdict(proposal, early, "accepted"))
    watched = Watched(run, late)
    version = watched.board.history.version
    assert watched.board.status().own.votes == 0
    run.put(vote_record(proposal, run.vote(proposal, late, Choice.REJECT)))
    watched.sync()
    (told,) = watched.board.history.since(version)
    assert [(vote.place, vote.late) for vote in told.votes] == sorted(
        [(voter, False) for voter in run.now.last.members - {proposal.body.proposer, late}] + [(late, True)]
    )
    assert (told.earned, told.gain) == (1_000, 50_000)
    assert watched.board.status().own.votes == 1


def test_the_phases_of_a_round_at_a_voter() -> None:
    run = Run(4)
    watched = Watched(run, run.voters[0])
    phases = []

    def note() -> None:
        status = watched.board.status()
        phases.append((status.round.phase, status.node.doing, len(status.round.votes)))

    note()
    proposal = run.proposal()
    watched.hear(proposal)
    note()
    watched.feed(Fetched(proposal.body.candidate))
    note()
    body = only(
        watched.feed(Scored(proposal.body.round, proposal.body.candidate, Choice.APPROVE, 5)), object
    ).body
    watched.sign(body)
    note()
    for vote in run.votes(proposal, *[Choice.APPROVE] * 3)[1:]:
        watched.hear(vote)
    note()
    assert phases == [
        ("training", "waiting", 0),
        ("fetching", "fetching", 0),
        ("scoring", "scoring", 0),
        ("voting", "waiting", 1),
        ("consensus", "waiting", 3),
    ]


def test_the_phases_of_a_round_at_its_proposer() -> None:
    run = Run(4)
    watched = Watched(run, run.current.proposer)
    status = watched.board.status()
    assert (status.round.phase, status.node.doing) == ("training", "training")
    trained = Trained(run.current.number, run.now.head, blob("mine"), 1000)
    watched.sign(only(watched.feed(trained), object).body)
    status = watched.board.status()
    assert (status.round.phase, status.node.doing) == ("voting", "waiting")
    assert (status.round.candidate, status.round.size) == (blob("mine"), 1000)


def test_who_does_not_belong_only_watches() -> None:
    board = Watched(played(Run(4), "accepted"), 7).board
    status = board.status()
    assert (status.node.place, status.node.doing, status.own.earned) == (None, "watching", 0)
    assert not any(member.is_self for member in status.members)


def test_connections_and_the_way_to_peers() -> None:
    watched = Watched(Run(4), 0)
    board = watched.board
    board.on_peer(Connected(peer(1)), Nanoseconds(5 * SECOND))
    board.on_peer(Connected(peer(2)), Nanoseconds(6 * SECOND))
    board.on_peer(Disconnected(peer(2)), Nanoseconds(7 * SECOND))
    told = board.status().members
    assert [(each.connected, each.changed_ms) for each in told] == [
        (True, None), (True, 5_000), (False, 7_000), (False, None),
    ]  # fmt: skip
    board.on_network(lambda: (contact(1), contact(3, is_connected=False, latency=None, refused_for=7.04)))
    told = board.status().members
    assert (told[1].latency, told[1].received, told[1].sent) == (0.004, 1000, 2000)
    assert (told[3].connected, told[3].refused_for) == (False, 7.0)


def test_what_the_learner_did_is_told_whether_it_came_before_or_after_the_end() -> None:
    run = Run(4)
    watched = Watched(run, 0)
    watched.board.on_trained(number(1), training(math.nan), 2.5)
    played(run, "accepted", "accepted")
    watched.sync()
    watched.board.on_scored(number(2), comparison(), 1.5)
    first, second = watched.board.history.page(None, 10)[0]
    assert (first.training.seconds, first.training.loss, first.comparison) == (2.5, None, None)
    assert (second.comparison.gain, second.comparison.seconds) == (50_000, 1.5)
    own = watched.board.status().own
    assert (own.labels, own.training_seconds, own.scoring_seconds) == (140, 2.5, 1.5)


def test_an_overdue_round_is_unhealthy() -> None:
    run = Run(4)
    watched = Watched(run, 0)
    assert watched.board.health().healthy
    watched.now = run.current.deadline + run.now.params.window
    assert watched.board.health().healthy
    watched.now += 1
    assert not watched.board.health().healthy


def test_the_past_is_bounded() -> None:
    run, rounds = Run(1), MAX_ROUNDS + 20
    watched = Watched(run, 0)
    for _ in range(rounds):
        run.put(run.pass_turn())
    watched.sync()
    board = watched.board
    kept, following = board.history.page(1, MAX_ROUNDS)
    assert [each.number for each in kept] == list(range(rounds - MAX_ROUNDS + 1, rounds + 1))
    assert following is None
    for each in range(2 * MAX_ROUNDS):
        board.on_scored(number(each + 1), comparison(), 0.1)
        board.on_trained(number(each + 1), training(), 0.1)
    assert len(board.history._comparisons) == len(board.history._trainings) == MAX_ROUNDS
    assert len(board.history._opened) == 1


def test_heads_are_bounded() -> None:
    run = played(Run(2), *["accepted"] * (MAX_HEADS + 5))
    heads = Watched(run, 0).board.status().heads
    assert len(heads) == MAX_HEADS
    assert heads[-1].round == MAX_HEADS + 5


async def test_a_board_that_comes_later_tells_the_same_past(tmp_path: Path) -> None:
    """Real drivers, on asyncio; what is rebuilt from the topic is what was seen as it happened."""
    async with world_of(tmp_path, 3, max_rounds=6, round_window=30) as world:
        await world.fund(10**6)
        nodes = [world.node(place) for place in range(3)]
        boards = [board_of(world, node) for node in nodes]
        async with running(*nodes):
            await world.until(lambda: all(board.state == "ended" for board in boards))
        told = [board.status() for board in boards]
        assert [each.comparison is not None for each in boards[0].history.page(None, 10)[0]].count(True) == 4
        late = world.node(0)
        board = board_of(world, late)
        async with running(late):
            await world.until(lambda: board.state == "ended")
        assert board.status().totals == told[0].totals
        assert board.status().heads == told[0].heads
        assert past(board) == past(boards[0]) == past(boards[1], earned_as=boards[0])
        assert told[0].own.labels == told[0].own.proposals == 2
        verdicts = world.with_effect("verdict")
        assert len(verdicts) == 6
        assert all(isinstance(each, VerdictRecord) for each in verdicts)


def board_of(world, node) -> Board:
    board = Board(node.identity.peer, AccountId("0.0.3000"), TOPIC, world.clock)
    node.driver = Driver(replace(node.driver.means, observer=board))
    return board


def past(board: Board, earned_as: Board | None = None) -> list[object]:
    """The rounds that are over, without what is one's own."""
    of = {each.number: each.earned for each in (earned_as or board).history.page(None, 100)[0]}
    own = {"comparison": None, "training": None}
    return [
        each.model_copy(update=own | {"earned": of[each.number]}) for each in board.history.page(None, 100)[0]
    ]
