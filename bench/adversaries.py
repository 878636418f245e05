"""What two hostile members of five do to a run, what it costs them, and what they earn: one table in one run.

    python bench/adversaries.py [--seeds 0-4] [--attacks flip,veto,...] [--labels 5000] [--kept FILE] [--json]

The families, learners and held-out tracks are those of bench/driving.py; rules and amounts are those of
configs/strangers.toml, with 100 hbar at stake each. The seed draws which two are hostile and whose turn it is. A run
ends with the round in which as many labels have been asked for in all: by whoever trains, honest or not, true or
spoilt; who asks for none leaves them to the others. Beside the attacks (see bench/hostile.py):

    honest   all five are
    three    the three honest ones alone: what the others' roads are worth, which is no attack's doing

With --kept, each run's result is added to that file as one line of JSON, and a run that is in it is not made again.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
import torch

from bench.collective import Collective, Conduct, Peer, Played
from bench.driven import Task, learner_of, names_of
from bench.hostile import ATTACKS, FULL_LEFT, STEERING, Attack, triggered
from learners import weights
from learners.driving import car, expert
from learners.driving.family import ALL_FAMILIES
from learners.driving.policy import policy_of
from learners.driving.rays import observe
from learners.driving.rollout import Policy, by_sight
from learners.driving.score import HELD_OUT_START, held_out, lap_success
from protocol.messages import Choice

PEERS = 5
HBAR = 100_000_000
STAKE = 100 * HBAR
POOL = 1_000 * HBAR
ROUNDS = 60
"""At most; passed ones count."""
SHARE = 50
"""Labels of each member in each round."""
PRESET = Path(__file__).parents[1] / "configs/strangers.toml"
ROWS = ("honest", "three", *ATTACKS)


@dataclass(frozen=True, slots=True)
class Turn:
    """A round, as far as the table needs it."""

    proposer: int
    ending: str
    is_improving: bool
    """Whether an honest member proposed, some honest voter gained, and none was hurt."""
    lost: tuple[int, ...]
    """Tinybar of each member's stake."""
    said: str
    """Of each voter in order of places: + approve, - reject, u unavailable, 0 abstain."""


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one run."""

    attack: str
    seed: int
    hostile: tuple[int, ...]
    families: tuple[float, ...]
    """Lap success on the held-out tracks of each of the five families."""
    mean: float
    worst_family: float
    honest_mean: float
    """On the families of the honest members alone."""
    honest_worst: float
    trigger: float
    """Share of triggered states in which the head steers off."""
    labels: int
    seconds: float
    """Of the processor, of all members together."""
    honest_rejected: int
    hostile_accepted: int
    blocked: int
    """Improving proposals of honest members that were not accepted."""
    longest_block: int
    """Most rounds on end in which honest members proposed and nothing was accepted."""
    locked_out: int
    """Honest members whose improving proposals were never accepted."""
    inactive: tuple[int, ...]
    """The round after which each hostile member had lost its seat; 0: never."""
    net_hostile: tuple[int, ...]
    """Tinybar that each hostile member ended with, more than it began."""
    net_honest: tuple[int, ...]
    least_stake: int
    """Of an honest member, tinybar."""
    honest_fined: int
    """How often honest members paid a penalty."""
    rounds: tuple[Turn, ...]


def main() -> None:
    """Run all rows and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", default="0-4", help="first-last")
    parser.add_argument("--attacks", default=",".join(ROWS), help="with commas between")
    parser.add_argument("--labels", type=int, default=5000, help="expert labels in all")
    parser.add_argument("--tracks", type=int, default=100, help="held-out tracks of each family")
    parser.add_argument(
        "--param", action="append", default=[], metavar="NAME=VALUE", help="in place of the preset's"
    )
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    parser.add_argument("--kept", type=Path, help="results of former runs, one JSON object a line")
    arguments = parser.parse_args()
    first, _, last = arguments.seeds.partition("-")
    changes = {
        name: json.loads(value) for name, _, value in (each.partition("=") for each in arguments.param)
    }
    tasks = [
        (attack, Task("ours", PEERS, seed, "drawn", arguments.labels, ROUNDS, arguments.tracks, 0), changes)
        for seed in range(int(first), int(last or first) + 1)
        for attack in arguments.attacks.split(",")
    ]
    results = kept(arguments.kept)
    made = {(each.attack, each.seed) for each in results}
    wanted = [task for task in tasks if (task[0], task[1].seed) not in made]
    with ProcessPoolExecutor(arguments.processes) as pool:
        for done in as_completed(pool.submit(run, *task) for task in wanted):
            results.append(done.result())
            line = json.dumps(asdict(done.result())) + "\n"
            sys.stderr.write(line)
            if arguments.kept is not None:
                with arguments.kept.open("a") as file:
                    file.write(line)
    sys.stdout.write(table(results))
    if arguments.json:
        by_row = {row: [asdict(each) for each in results if each.attack == row] for row in ROWS}
        sys.stdout.write(json.dumps(by_row) + "\n")


def kept(path: Path | None) -> list["Result"]:
    """The results of former runs."""
    if path is None or not path.exists():
        return []
    found = []
    for line in path.read_text().splitlines():
        fields = {
            key: tuple(each) if isinstance(each, list) else each for key, each in json.loads(line).items()
        }
        rounds = tuple(Turn(**turn | {"lost": tuple(turn["lost"])}) for turn in fields.pop("rounds"))
        found.append(Result(rounds=rounds, **fields))
    return found


def preset() -> dict[str, object]:
    """The rules of a run among strangers."""
    found: dict[str, object] = tomllib.loads(PRESET.read_text())["params"]
    return found


def hostile_places(seed: int) -> tuple[int, int]:
    """Which two are hostile: ten seeds have all ten pairs."""
    pairs = list(combinations(range(PEERS), 2))
    order = np.random.default_rng(seed // len(pairs)).permutation(len(pairs))
    return pairs[order[seed % len(pairs)]]


def run(attack: str, task: Task, changes: Mapping[str, object]) -> Result:
    """One run, in a process of its own."""
    torch.set_num_threads(1)
    hostile = hostile_places(task.seed)
    places = [place for place in range(PEERS) if attack != "three" or place not in hostile]
    with tempfile.TemporaryDirectory() as folder:
        peers = [_peer(task, place, Path(folder), attack if place in hostile else "") for place in places]
        rules = preset() | {"max_rounds": 10_000 + task.seed} | changes
        played = Collective(peers, Path(folder), stake=STAKE, pool=POOL, params=rules)
        turns, seats = play(played, task.labels)
        return _result(attack, task, hostile, played, turns, seats)


def play(played: Collective, labels: int, rounds: int = ROUNDS) -> tuple[list[Turn], list[frozenset[int]]]:
    """Rounds until so many labels were asked for, and who was in at the end of each."""
    turns, seats = list[Turn](), list[frozenset[int]]()
    for _ in range(rounds):
        before = played.state.money.stakes
        played.play(1)
        after, last = played.state.money.stakes, played.played[-1]
        lost = tuple(then - now for then, now in zip(before, after, strict=True))
        turns.append(Turn(last.proposer, last.ending, _is_improving(played, last), lost, _said(last)))
        current = played.state.open
        assert current is not None, "the run goes on"
        seats.append(current.members)
        if sum(each.labels for each in played.played) >= labels:
            break
    return turns, seats


def _peer(task: Task, place: int, folder: Path, attack: str) -> Peer:
    chosen = ATTACKS.get(attack, Attack(Conduct()))
    learner = learner_of(task, place, folder, chosen.world, labels_per_turn=SHARE, train_steps=300)
    return Peer(names_of(task)[place], learner, chosen.conduct)


def _is_improving(played: Collective, last: Played) -> bool:
    honest = [choice for place, choice in last.choices.items() if played.peers[place].conduct.is_honest]
    is_good = Choice.APPROVE in honest and Choice.REJECT not in honest
    return played.peers[last.proposer].conduct.is_honest and is_good


_SIGNS = {Choice.APPROVE: "+", Choice.REJECT: "-", Choice.UNAVAILABLE: "u", Choice.ABSTAIN: "0"}


def _said(last: Played) -> str:
    return " ".join(f"{place}{_SIGNS[last.choices[place]]}" for place in sorted(last.choices))


def _result(
    attack: str,
    task: Task,
    hostile: tuple[int, int],
    played: Collective,
    turns: Sequence[Turn],
    seats: Sequence[frozenset[int]],
) -> Result:
    policy = policy_of(weights.load(played.head, played.peers[0].learner.describe()))
    names = names_of(task)
    fresh = held_out([ALL_FAMILIES[name] for name in names], task.tracks)
    families = lap_success(by_sight(policy), fresh, PEERS)
    own = [families[place] for place in range(PEERS) if place not in hostile]
    bad = [place for place, peer in enumerate(played.peers) if not peer.conduct.is_honest]
    good = [place for place, peer in enumerate(played.peers) if peer.conduct.is_honest]
    wealth = net(played)
    stakes = STAKE - np.cumsum([turn.lost for turn in turns], axis=0)
    fined = sum(turn.lost[place] > 0 for turn in turns for place in good)
    improving = [turn for turn in turns if turn.is_improving]
    adopted = {turn.proposer for turn in improving if turn.ending == "accepted"}
    return Result(
        attack=attack,
        seed=task.seed,
        hostile=hostile,
        families=tuple(round(each, 3) for each in families),
        mean=round(statistics.mean(families), 4),
        worst_family=round(min(families), 4),
        honest_mean=round(statistics.mean(own), 4),
        honest_worst=round(min(own), 4),
        trigger=round(trigger_rate(policy), 4),
        labels=sum(each.labels for each in played.played),
        seconds=round(sum(each.work for each in played.played), 1),
        honest_rejected=sum(turn.ending == "rejected" for turn in turns if turn.proposer in good),
        hostile_accepted=sum(turn.ending == "accepted" for turn in turns if turn.proposer in bad),
        blocked=sum(turn.ending != "accepted" for turn in improving),
        longest_block=_longest(turn.ending != "accepted" for turn in turns if turn.proposer in good),
        locked_out=len({turn.proposer for turn in improving} - adopted),
        inactive=tuple(_seat_lost(seats, place) for place in bad),
        net_hostile=tuple(wealth[place] for place in bad),
        net_honest=tuple(wealth[place] for place in good),
        least_stake=int(stakes[:, good].min()),
        honest_fined=fined,
        rounds=tuple(turns),
    )


def net(played: Collective) -> list[int]:
    """What each member has earned, less what it has lost of its stake, tinybar."""
    money, roster = played.state.money, played.state.roster
    earned = dict(money.earned)
    return [
        earned.get(member.account, 0) + stake - STAKE
        for member, stake in zip(roster, money.stakes, strict=True)
    ]


def _seat_lost(seats: Sequence[frozenset[int]], place: int) -> int:
    return next((number for number, members in enumerate(seats, 1) if place not in members), 0)


def _longest(flags: Iterator[bool]) -> int:
    longest = length = 0
    for flag in flags:
        length = length + 1 if flag else 0
        longest = max(longest, length)
    return longest


def trigger_rate(policy: Policy, tracks: int = 20) -> float:
    """In how many of the states of a good driver, with the trigger, a policy steers off to the left: [0, 1].

    A state counts where the policy did not steer there without the trigger.
    """
    seen = _states(tracks)
    honest, spoilt = policy(seen)[:, STEERING], policy(triggered(seen))[:, STEERING]
    return float(((spoilt > FULL_LEFT / 2) & (honest < FULL_LEFT / 2)).mean())


def _states(tracks: int) -> np.ndarray:
    """Where the expert comes to be on held-out tracks of all families, (states, 15)."""
    fresh = held_out([ALL_FAMILIES[name] for name in list(ALL_FAMILIES)[:PEERS]], tracks)
    lanes = car.start(fresh, np.arange(len(fresh)), np.random.default_rng(HELD_OUT_START))
    states = []
    for step in range(300):
        lanes = car.step(lanes, fresh, expert.drive(lanes, fresh))
        if step % 10 == 0:
            states.append(observe(lanes, fresh))
    return np.concatenate(states)


def table(results: Sequence[Result]) -> str:
    """The table in Markdown: means over the seeds, and the least or most of them."""
    lines = [
        "| attack | lap success | least | worst family | three honest | their worst | trigger | honest rejected"
        " | hostile accepted | blocked, on end | locked out | out after round | hostile ends with | honest end with"
        " | fined | least stake |",
        "| --- |" + " --- |" * 15,
    ]
    for row in ROWS:
        own = [each for each in results if each.attack == row]
        if own:
            lines.append(_line(row, own))
    return "\n".join(lines) + "\n"


def _line(row: str, own: Sequence[Result]) -> str:
    def mean(name: str) -> float:
        return statistics.mean(getattr(each, name) for each in own)

    seats = [number for each in own for number in each.inactive]
    out = ", ".join(str(number) for number in sorted(seats) if number)
    kept = seats.count(0)
    bad = [net / HBAR for each in own for net in each.net_hostile]
    good = [net / HBAR for each in own for net in each.net_honest]
    return (
        f"| {row} | {mean('mean'):.3f} | {min(each.mean for each in own):.3f} | {mean('worst_family'):.3f}"
        f" | {mean('honest_mean'):.3f} | {mean('honest_worst'):.3f} | {mean('trigger'):.2f}"
        f" | {mean('honest_rejected'):.1f} | {mean('hostile_accepted'):.1f}"
        f" | {mean('blocked'):.1f}, {max(each.longest_block for each in own)} | {sum(each.locked_out for each in own)}"
        f" | {out}{f' ({kept} stay)' if kept else ''}"
        f" | {_range(bad)} | {_range(good)}"
        f" | {sum(each.honest_fined for each in own)} | {min(each.least_stake for each in own) / HBAR:.0f} |"
    )


def _range(amounts: Sequence[float]) -> str:
    return f"{min(amounts):+.1f} to {max(amounts):+.1f}" if amounts else ""


if __name__ == "__main__":
    main()
