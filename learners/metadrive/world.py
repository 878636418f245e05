"""MetaDrive's roads as a world for the driving learner."""

from collections.abc import Sequence

import numpy as np

from learners.driving.dataset import Demonstrations
from learners.driving.policy import ACTIONS
from learners.driving.rehearsal import Drives
from learners.driving.rollout import Policy
from learners.driving.track import Floats
from learners.driving.world import Laps
from learners.metadrive.options import MetaDriveOptions
from learners.metadrive.scenario import PUBLIC, Scenario, rehearsal, training, validation
from learners.metadrive.sight import OBSERVATION
from learners.metadrive.simulator import simulator
from learners.wanted import check_wanted

DRIVE_STEPS = 2400
"""Steps of 0.1 s driven for each turn's labels."""
REHEARSALS = 6
"""Public maps that each policy drives in a rehearsal."""
STATES = 2000
"""States kept of them, at most."""
_NUDGE = 0.3  # the spread of a nudge to the wheel while the expert drives,
_NUDGED = 8  # steps that it lasts,
_NUDGES = 0.25  # and the share of time it does


class MetaDriveWorld:
    """One peer's maps and traffic; implements `learners.driving.world.World`."""

    observation = OBSERVATION
    scorer = "route-completion/1"
    """The score of a drive is the share of its route that was driven, 1 for arrival."""

    def __init__(self, options: MetaDriveOptions) -> None:
        """Choose the private maps; the simulation opens at the first drive."""
        roads = (options.blocks, options.length, options.traffic)
        self._training = training(options.seed, options.train_maps, *roads)
        self._validation = validation(options.seed, options.validation_maps, *roads)
        self._traffic = options.traffic

    def collect(
        self, policy: Policy | None, labels: int, seed: int, known: Demonstrations | None = None
    ) -> Demonstrations:
        """Exactly `labels` states of drives on the training maps, each with the expert's action there.

        known: of no use here, where states are drawn.

        While the expert drives, the wheel is nudged now and then, or its drives would show only how to go on in the
        middle of the lane (DART: Laskey et al. 2017).
        """
        rng = np.random.default_rng(seed)
        driving, steps = simulator(), max(DRIVE_STEPS, labels)
        observations, actions = (
            np.empty((steps, OBSERVATION), np.float32),
            np.empty((steps, ACTIONS), np.float32),
        )
        seen, nudge = driving.start(self._drawn(rng)), 0.0
        for index in range(steps):
            if driving.is_over:
                check_wanted()
                seen = driving.start(self._drawn(rng))
            if index % _NUDGED == 0:
                nudge = float(rng.normal(0.0, _NUDGE)) * (rng.random() < _NUDGES)
            observations[index], actions[index] = seen, driving.expert()
            done = actions[index] + (nudge, 0.0) if policy is None else _act(policy, seen)
            seen = driving.step(done)
        chosen = rng.choice(steps, labels, replace=False)
        return Demonstrations(observations[chosen], actions[chosen])

    def rehearse(self, teachers: Sequence[Policy], seed: int, watched: Sequence[Policy] = ()) -> Drives:
        """See `learners.driving.rehearsal.rehearse`: the same, on public maps with traffic as on one's own."""
        rng = np.random.default_rng(seed)
        chosen = rng.choice(PUBLIC, REHEARSALS, replace=False)
        progress = np.zeros((len(teachers) + len(watched), REHEARSALS))
        states, actions = [np.zeros((0, OBSERVATION), np.float32)], [np.zeros((0, ACTIONS), np.float32)]
        for place, index in enumerate(chosen):
            drives = [drive(policy, rehearsal(int(index), self._traffic)) for policy in (*teachers, *watched)]
            progress[:, place] = [reached for reached, _ in drives]
            able = np.flatnonzero(progress[: len(teachers), place] == 1.0)
            if len(able):
                fastest = min((drives[which][1] for which in able), key=len)
                states.append(fastest)
                done = np.median([teachers[int(which)](fastest) for which in able], axis=0)
                actions.append(done.astype(np.float32))
        seen, done = np.concatenate(states), np.concatenate(actions)
        kept = rng.choice(len(seen), min(STATES, len(seen)), replace=False)
        return Drives(progress, Demonstrations(seen[kept], done[kept]))

    def laps(self, policy: Policy) -> Laps:
        """The share of each validation route that is driven: (validation_maps,)."""
        return np.array([drive(policy, scenario)[0] for scenario in self._validation])

    def _drawn(self, rng: np.random.Generator) -> Scenario:
        return self._training[int(rng.integers(len(self._training)))]


def drive(policy: Policy | None, scenario: Scenario) -> tuple[float, Floats]:
    """One drive: its progress, and what was seen at each step (steps, OBSERVATION); None lets the expert drive."""
    check_wanted()
    driving = simulator()
    seen, states = driving.start(scenario), []
    while not driving.is_over:
        states.append(seen)
        seen = driving.step(driving.expert() if policy is None else _act(policy, seen))
    return driving.progress, np.array(states, np.float32)


def _act(policy: Policy, seen: Floats) -> Floats:
    action: Floats = policy(seen[None])[0]
    return action
