"""Learners by name: installed distributions declare theirs in the entry point group `roundabout.learners`."""

import importlib
import importlib.metadata
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import cast

from learners.learner import Learner, LearnerError

GROUP = "roundabout.learners"

LearnerFactory = Callable[[Mapping[str, object], Path], Learner]
"""Makes a learner from its options and its private data folder. Raises LearnerError."""


def find_learner(name: str) -> LearnerFactory:
    """The learner of that name, or at that `package.module:Class`.

    Raises LearnerError when there is none, or when it cannot be imported here.
    """
    try:
        if ":" in name:
            module, _, attribute = name.partition(":")
            return cast(LearnerFactory, getattr(importlib.import_module(module), attribute))
        known = importlib.metadata.entry_points(group=GROUP)
        if name in known.names:
            return cast(LearnerFactory, known[name].load())
    except (ImportError, AttributeError) as fault:
        raise LearnerError(f"learner {name!r} cannot be loaded: {fault}; install what it needs") from fault
    listed = ", ".join(sorted(known.names)) or "none is installed"
    raise LearnerError(f"there is no learner named {name!r}; known: {listed}")
