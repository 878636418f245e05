"""How well the driving learner drives MetaDrive's roads, with traffic off and on.

    python -m bench.metadrive [--labels 4000] [--turns 8] [--rounds 10] [--maps 20] [--seeds 1] [--json]

(As a module: run as a file, its folder would hide MetaDrive itself.) Rows: MetaDrive's own experts; the expert that
labels; behaviour cloning, which is one turn with all labels; DAgger, one peer that adopts each of its own candidates;
five peers with private families of maps and the protocol's own vote, with as many labels together. Each drives the same
public maps that nobody trains or votes on: `plain` ones, without ramps, and the mixture `shipped` with MetaDrive, where
ramps can lie across the road (docs/metadrive.md).
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from learners import weights
from learners.driving.learner import DrivingLearner
from learners.driving.policy import policy_of
from learners.metadrive.learner import metadrive_learner
from learners.metadrive.scenario import PLAIN, PUBLIC, held_out
from learners.metadrive.world import drive
from protocol.ids import Round, digest_of
from protocol.params import LearnerRef, Params
from protocol.rules import choice_for, count_of, tally

MIXTURES = {"plain": PLAIN, "shipped": ""}
FAMILIES = ("SC", "SCX", "SCT", "SCO", "CXTO")
"""Kinds of block that each of five peers has at home."""
THEIRS = ("idm", "ppo")
_ANY = digest_of(b"")
RULES = Params(learner=LearnerRef(name="metadrive", spec=_ANY), initial=_ANY)

Row = dict[str, object]


def main() -> None:
    """Print a row of the table as soon as it is known; with --json, all of them as one last line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--labels", type=int, default=4000, help="expert labels of each row")
    parser.add_argument("--turns", type=int, default=8, help="turns that DAgger takes for them")
    parser.add_argument(
        "--rounds", type=int, default=10, help="rounds that five peers take for them; 0: no such row"
    )
    parser.add_argument("--steps", type=int, default=1500, help="training steps of a turn")
    parser.add_argument("--maps", type=int, default=20, help="held-out maps of each mixture")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument(
        "--traffic", default="0,0.1", help="cars in ten metres of lane; several apart by commas"
    )
    parser.add_argument("--mixtures", default=",".join(MIXTURES), help="which held-out maps")
    parser.add_argument(
        "--theirs", choices=THEIRS, help="only this expert of MetaDrive's, in a process of its own"
    )
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    if not 1 <= arguments.maps <= PUBLIC:
        parser.error(f"--maps is 1..{PUBLIC}")
    rows = []
    for row in table(arguments):
        rows.append(row)
        sys.stdout.write(json.dumps(row) + "\n")
        sys.stdout.flush()
    if arguments.json:
        sys.stdout.write(json.dumps({"rows": rows}) + "\n")


def table(arguments: argparse.Namespace) -> Iterator[Row]:
    """The rows, for each traffic and seed."""
    for traffic in map(float, arguments.traffic.split(",")):
        if arguments.theirs is not None:
            yield _row(arguments.theirs, traffic, _their_drives(arguments.theirs, traffic), arguments)
            continue
        for name in THEIRS:
            yield from _asked(name, traffic, arguments)
        yield _row(
            "expert",
            traffic,
            lambda index, blocks, t=traffic: drive(None, held_out(index, blocks, t))[0],
            arguments,
        )
        for seed in range(arguments.seeds):
            yield _learned("cloning", traffic, seed, cloned, arguments)
            yield _learned("dagger", traffic, seed, alone, arguments)
            if arguments.rounds:
                yield _learned("together", traffic, seed, together, arguments)


def cloned(
    folder: Path, traffic: float, seed: int, arguments: argparse.Namespace
) -> tuple[DrivingLearner, Path, str]:
    """All labels in one turn, in which the expert drives; as many training steps as all turns of DAgger."""
    steps = arguments.steps * arguments.turns
    return _in_turns(folder, {"labels_per_turn": arguments.labels, "train_steps": steps}, traffic, seed, 1)


def alone(
    folder: Path, traffic: float, seed: int, arguments: argparse.Namespace
) -> tuple[DrivingLearner, Path, str]:
    """One peer, all kinds of block, adopting each of its own candidates."""
    options = {"labels_per_turn": arguments.labels // arguments.turns, "train_steps": arguments.steps}
    return _in_turns(folder, options, traffic, seed, arguments.turns)


def together(
    folder: Path, traffic: float, seed: int, arguments: argparse.Namespace
) -> tuple[DrivingLearner, Path, str]:
    """Five peers in turns, each with a family of its own; a candidate is adopted when the protocol's vote says so."""
    common = {
        "traffic": traffic,
        "labels_per_turn": arguments.labels // arguments.rounds,
        "validation_maps": 8,
    }
    peers = [
        metadrive_learner(
            {**common, "train_steps": arguments.steps, "blocks": blocks, "seed": 10 * seed + place},
            folder / blocks,
        )
        for place, blocks in enumerate(FAMILIES)
    ]
    head, verdicts = folder / "0", ""
    peers[0].initial(head)
    for number in range(1, arguments.rounds + 1):
        proposer, candidate = peers[number % len(peers)], folder / str(number)
        proposer.propose(head, Round(number), candidate)
        found = [peer.score(head, candidate, Round(number)) for peer in peers if peer is not proposer]
        votes = [choice_for(seen.gain, seen.error) for seen in found]
        is_accepted = tally(count_of(votes, len(peers)), RULES) == "accepted"
        verdicts += "+" if is_accepted else "-"
        head = candidate if is_accepted else head
    return peers[0], head, verdicts


def _in_turns(
    folder: Path, options: dict[str, object], traffic: float, seed: int, turns: int
) -> tuple[DrivingLearner, Path, str]:
    learner = metadrive_learner(
        {"traffic": traffic, "seed": 10 * seed + 9, "train_maps": 64, **options}, folder
    )
    head = folder / "0"
    learner.initial(head)
    for turn in range(1, turns + 1):
        learner.propose(head, Round(turn), folder / str(turn))
        head = folder / str(turn)
    return learner, head, ""


def _learned(
    name: str,
    traffic: float,
    seed: int,
    learn: Callable[[Path, float, int, argparse.Namespace], tuple[DrivingLearner, Path, str]],
    arguments: argparse.Namespace,
) -> Row:
    with tempfile.TemporaryDirectory() as folder:
        began = time.process_time()
        learner, head, verdicts = learn(Path(folder), traffic, seed, arguments)
        seconds = round(time.process_time() - began, 1)
        policy = policy_of(weights.load(head, learner.describe()))
    known: Row = {"seed": seed, "labels": arguments.labels, "cpu_seconds": seconds}
    if verdicts:
        known["rounds"] = verdicts
    return {
        **_row(
            name, traffic, lambda index, blocks: drive(policy, held_out(index, blocks, traffic))[0], arguments
        ),
        **known,
    }


def _row(
    name: str, traffic: float, driven: Callable[[int, str], float], arguments: argparse.Namespace
) -> Row:
    """Arrivals and mean route completion on each mixture."""
    row: Row = {"row": name, "traffic": traffic, "maps": arguments.maps}
    for mixture in arguments.mixtures.split(","):
        progress = np.array([driven(index, MIXTURES[mixture]) for index in range(arguments.maps)])
        row[mixture] = {
            "arrived": round(float((progress == 1.0).mean()), 3),
            "completion": round(float(progress.mean()), 3),
        }
    return row


def _asked(name: str, traffic: float, arguments: argparse.Namespace) -> list[Row]:
    """The row of an expert of MetaDrive's. Its driver is chosen when a simulation opens, one in a process."""
    command = [sys.executable, "-m", "bench.metadrive", "--theirs", name, "--traffic", str(traffic), "--json"]
    command += ["--maps", str(arguments.maps), "--mixtures", arguments.mixtures]
    answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    rows: list[Row] = json.loads(answer.splitlines()[-1])["rows"]
    return rows


def _their_drives(name: str, traffic: float) -> Callable[[int, str], float]:
    from metadrive.engine.base_engine import BaseEngine
    from metadrive.envs.metadrive_env import MetaDriveEnv
    from metadrive.policy.expert_policy import ExpertPolicy
    from metadrive.policy.idm_policy import IDMPolicy

    np.random.seed(0)  # the PPO expert draws its actions from there
    BaseEngine.try_pull_asset = staticmethod(lambda: None)
    driver = {"idm": IDMPolicy, "ppo": ExpertPolicy}[name]
    config = {"start_seed": 0, "num_scenarios": PUBLIC, "store_map": False, "log_level": 50}
    environment = MetaDriveEnv({**config, "agent_policy": driver, "traffic_density": traffic})
    environment.reset(seed=0)

    def driven(index: int, blocks: str) -> float:
        scenario = held_out(index, blocks, traffic)
        kind, content = ("block_sequence", scenario.blocks) if scenario.blocks else ("block_num", 3)
        environment.engine.global_config["map_config"].update({"type": kind, "config": content})
        environment.reset(seed=scenario.seed)
        for _ in range(1000):
            _, _, is_over, _, info = environment.step([0.0, 0.0])
            if is_over:
                break
        return 1.0 if info["arrive_dest"] else min(max(float(info["route_completion"]), 0.0), 0.999)

    return driven


if __name__ == "__main__":
    main()
