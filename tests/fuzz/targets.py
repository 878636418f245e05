"""All targets, by name."""

from random import Random

from tests.fuzz import ledger_targets, local_targets, network_targets, reach_targets, topic_targets
from tests.fuzz.mutate import mutated
from tests.fuzz.target import Target

TARGETS: dict[str, Target] = {
    target.name: target
    for module in (topic_targets, ledger_targets, local_targets, network_targets, reach_targets)
    for target in module.TARGETS
}


def bend(target: Target, seed: int, runs: int) -> None:
    """Try so many mutations of a target's seeds. A finding names its input: the same seed finds it again."""
    random, seeds = Random(seed), target.seeds()
    for number in range(runs):
        data = mutated(random, seeds, target.words)
        try:
            target.run(data)
        except BaseException as error:
            error.add_note(f"target {target.name}, seed {seed}, input {number}: {data[:2_000]!r}")
            raise
