"""What a learner's figures depend on beside weights and data: versions, processor, threads, options.

The same of all of it gives the same blobs and votes, bit for bit (docs/replay.md); another of one may not.
"""

import importlib.metadata
import platform
from collections.abc import Iterator, Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, JsonValue

from learners.process import THREADS
from learners.registry import GROUP
from node.config import LearnerSection

_PACKAGES = ("roundabout-learning", "torch", "numpy", "safetensors", "gymnasium", "scikit-learn", "pyarrow")
# Those by which mathematical libraries choose how they compute.
_INSTRUCTIONS = frozenset({"avx", "avx2", "avx512f", "avx512_bf16", "amx_tile", "fma", "asimd", "sve"})
_CPUINFO = Path("/proc/cpuinfo")


class Provenance(BaseModel):
    """Where, with what and how a learner computed."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    python: str
    system: str
    cpu: str
    """Its model, and which of the instructions it has that matter."""
    threads: int
    packages: Mapping[str, str]
    """Versions of what is installed here."""
    learner: str
    options: Mapping[str, JsonValue]

    def differences(self, now: "Provenance") -> tuple[str, ...]:
        """What is not the same any more, each in a few words."""
        return tuple(_differences(self, now))


def provenance_of(learner: LearnerSection) -> Provenance:
    """The present one of this machine and interpreter, in which learners' processes run, too."""
    return Provenance(
        python=platform.python_version(),
        system=f"{platform.system()} {platform.machine()}",
        cpu=_cpu(),
        threads=THREADS,
        packages=dict(_versions(learner.name)),
        learner=learner.name,
        options=dict(learner.options),
    )


def _versions(learner: str) -> Iterator[tuple[str, str]]:
    own = {
        entry.dist.name for entry in importlib.metadata.entry_points(group=GROUP, name=learner) if entry.dist
    }
    for name in sorted({*_PACKAGES, *own}):
        try:
            yield name, importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # not every learner needs every one


def _cpu() -> str:
    try:
        first, _, _ = _CPUINFO.read_text(errors="replace").partition("\n\n")
    except OSError:
        return platform.processor() or platform.machine()
    lines = (line.partition(":") for line in first.splitlines())
    facts = {name.strip(): value.strip() for name, _, value in lines}
    has = sorted(_INSTRUCTIONS & set(facts.get("flags", facts.get("Features", "")).split()))
    return f"{facts.get('model name', platform.machine())} ({' '.join(has) or 'no instructions named'})"


def _differences(before: Provenance, now: Provenance) -> Iterator[str]:
    for field in ("python", "system", "cpu", "threads", "learner"):
        yield from _difference(field, getattr(before, field), getattr(now, field))
    for name in sorted({*before.packages, *now.packages}):
        yield from _difference(name, before.packages.get(name), now.packages.get(name))
    for name in sorted({*before.options, *now.options}):
        yield from _difference(f"option {name}", before.options.get(name), now.options.get(name))


def _difference(what: str, before: object, now: object) -> Iterator[str]:
    if before != now:
        yield f"{what} was {_shown(before)}, is {_shown(now)}"


def _shown(value: object) -> str:
    return "not there" if value is None else str(value)[:120]
