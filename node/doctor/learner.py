"""The learner: whether it starts, and is the one that the run learns with."""

import tempfile
from pathlib import Path

from learners.client import open_learner
from learners.learner import LearnerError
from node.admission import RunError, check_learner
from node.config import LearnerSection
from node.doctor.findings import Findings, fine, problem, refused
from protocol.ids import digest_of
from protocol.state import RunState


async def examine_learner(
    learner: LearnerSection, data: Path, state: RunState | None, running: bool
) -> Findings:
    """Start one, ask it what it is, and for the weights that all begin with.

    It reads the daemon's own data where no daemon does; else it has an empty folder.
    """
    with tempfile.TemporaryDirectory(prefix="rb-") as temporary:
        home = Path(temporary)
        folder = home / "data" if running or not has_data(data) else data
        try:
            async with open_learner(learner.name, learner.options, folder, home) as process:
                spec, merges = await process.describe(), process.merges
                out = home / "initial"
                await process.initial(out)
                initial = digest_of(out.read_bytes())
        except (LearnerError, OSError) as error:
            return (refused("learner", error),)
    started = fine("learner", f"{spec.name} starts, {len(spec.tensors)} tensors, scorer {spec.scorer}")
    if state is None:
        return (started,)
    try:
        check_learner(state, spec, merges)
    except RunError as error:
        return (started, refused("learner", error))
    if initial != state.params.initial:
        said = f"its initial weights are not the run's {state.params.initial}"
        return (started, problem("learner", said, "check [learner] options and the installed version"))
    return (started, fine("learner", "it is the run's"))


def has_data(folder: Path) -> bool:
    """Whether a learner has been there before."""
    return folder.is_dir()
