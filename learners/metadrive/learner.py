"""The learner `metadrive`: the driving learner on MetaDrive's roads."""

from collections.abc import Mapping
from pathlib import Path

from learners.driving.learner import DrivingLearner
from learners.metadrive.options import parse_options
from learners.metadrive.simulator import simulator
from learners.metadrive.world import MetaDriveWorld


def metadrive_learner(options: Mapping[str, object], data: Path) -> DrivingLearner:
    """One peer on its own maps. Raises LearnerError, also when MetaDrive is not installed."""
    parsed = parse_options(options)
    simulator()  # what cannot be opened is said now, not in the middle of a round
    return DrivingLearner("metadrive", parsed, MetaDriveWorld(parsed), data)
