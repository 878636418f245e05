"""What the doctor finds: one line each, with its cause and what to do."""

from dataclasses import dataclass
from typing import Literal

Grade = Literal["ok", "warning", "problem"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    subject: str
    """`keys`, `ledger`, and so on: the part of the node that it is about."""
    grade: Grade
    cause: str
    """What is so."""
    remedy: str = ""
    """What to do about it; empty where nothing has to be done."""


Findings = tuple[Finding, ...]


def fine(subject: str, cause: str) -> Finding:
    """Something is as it should be."""
    return Finding(subject, "ok", cause)


def doubt(subject: str, cause: str, remedy: str) -> Finding:
    """A node can take part like this, but somebody should look at it."""
    return Finding(subject, "warning", cause, remedy)


def problem(subject: str, cause: str, remedy: str) -> Finding:
    """A node cannot take part like this, or not for long."""
    return Finding(subject, "problem", cause, remedy)


def refused(subject: str, error: Exception) -> Finding:
    """What the node itself would say, and end: our errors name a cause, then a remedy after a semicolon."""
    cause, _, remedy = " ".join(str(error).split()).partition("; ")
    return problem(subject, cause, remedy or "see its documentation")
