"""Doing again what a peer did in a run: each vote it cast, and each candidate it trained (docs/replay.md).

The topic says what it signed, its home has the weights and the private data. Nothing in the home is written to.
"""

import shutil
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Literal

import anyio.to_thread

from learners.files import TEMPORARY
from learners.learner import BadWeights, LearnerError
from node.history import HistoryError, MergeNote, kept_blob, read_merge
from node.means import LearnerPort
from protocol.ids import Digest, Ppm, Round, digest_of
from protocol.messages import Choice
from protocol.rules import choice_for
from protocol.state import ClosedRound

PATIENCE = 3600.0
"""Seconds that the learner has for one answer; nobody waits for a round to end."""


@dataclass(frozen=True, slots=True)
class Claim:
    """What a peer signed in a round, and what about."""

    round: Round
    base: Digest
    candidate: Digest
    vote: tuple[Choice, Ppm] | None
    """The choice and the gain, in ppm; None: it trained the candidate itself."""
    contributors: int = 1
    """How many peers' work the candidate is, as it says."""
    gathers: bool = False
    """Whether updates that were worth nothing, and are not named, may have gone into it, too."""

    @property
    def what(self) -> Literal["vote", "training"]:
        """In a word."""
        return "training" if self.vote is None else "vote"


class Fate(StrEnum):
    """What came of doing it again."""

    SAME = "same"
    """The very same choice and gain, or the very same bytes."""
    DIFFERS = "differs"
    FAILED = "failed"
    """The learner did not do it."""
    MISSING = "missing"
    """Weights were not kept."""
    MERGED = "merged"
    """The candidate is several peers' work, and what it was made of was not kept."""
    UNSEEN = "unseen"
    """A vote of a peer that never had the candidate: nothing was computed then."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A claim, and what came of doing it again."""

    claim: Claim
    fate: Fate
    said: str = ""
    """What was found, or why nothing was."""
    missing: tuple[Digest, ...] = ()


def claims_of(rounds: Sequence[ClosedRound], place: int, gathers: bool = False) -> Iterator[Claim]:
    """What the peer in a place signed, as far as it is on the topic, in order of rounds.

    gathers: whether the run has a contribution window.
    """
    for closed in rounds:
        if closed.proposal is None:
            continue
        body = closed.proposal.body
        if body.proposer == place:
            yield Claim(closed.number, body.base, body.candidate, None, len(body.contributors), gathers)
        for vote in closed.votes:
            if vote.body.voter == place and vote.body.proposal == body.digest():
                cast = (vote.body.choice, vote.body.gain)
                yield Claim(closed.number, body.base, body.candidate, cast)


def copy_of(data: Path, out: Path) -> Path:
    """A copy of a learner's private data, for a learner that may write; empty where there is none.

    Raises HistoryError.
    """
    try:
        if data.is_dir():
            shutil.copytree(data, out, ignore=shutil.ignore_patterns(f"*{TEMPORARY}"))
        else:
            out.mkdir()
    except OSError as error:  # shutil.Error is one
        cause = error.strerror or "files came and went"
        raise HistoryError(
            f"cannot copy {data} to {out.parent}: {cause}; let TMPDIR name a folder with room for it"
        ) from None
    return out


async def recompute(
    claims: Sequence[Claim], data: Path, learner: LearnerPort, scratch: Path
) -> AsyncIterator[Finding]:
    """What comes of each claim, in order. data: the peer's data directory. scratch: an empty folder for weights.

    Raises HistoryError when the disk cannot be read.
    """
    for claim in claims:
        if claim.vote is not None and claim.vote[0] is Choice.UNAVAILABLE:
            yield Finding(claim, Fate.UNSEEN, "nobody served the candidate then")
            continue
        merge = read_merge(data, claim.round) if claim.vote is None else None
        if merge is not None and merge.own == claim.candidate:
            merge = None  # it came to nothing, and the update was proposed alone
        if claim.contributors > 1 and merge is None:
            yield Finding(claim, Fate.MERGED, f"{claim.contributors} peers' work")
            continue
        if claim.vote is not None:
            wanted: tuple[Digest, ...] = (claim.base, claim.candidate)
        else:
            wanted = (claim.base, *(() if merge is None else merge.updates))
        try:
            found = [await anyio.to_thread.run_sync(kept_blob, data, digest) for digest in wanted]
        except OSError as error:
            raise HistoryError(
                f"cannot read the weights in {data}: {error.strerror}; check its rights"
            ) from None
        files = [file for file in found if file is not None]
        if len(files) < len(wanted):
            gone = tuple(d for d, file in zip(wanted, found, strict=True) if file is None)
            yield Finding(claim, Fate.MISSING, "weights were not kept", gone)
            continue
        try:
            if claim.vote is not None:
                yield await _score_again(claim, claim.vote, files[0], files[1], learner)
            else:
                yield await _train_again(claim, files[0], merge, files[1:], data, learner, scratch)
        except (LearnerError, BadWeights) as error:
            yield Finding(claim, Fate.FAILED, str(error))


async def _score_again(
    claim: Claim, signed: tuple[Choice, Ppm], head: Path, candidate: Path, learner: LearnerPort
) -> Finding:
    try:
        found = await learner.score(head, candidate, claim.round, PATIENCE)
        vote = choice_for(found.gain, found.error), found.gain
    except BadWeights:
        vote = Choice.REJECT, Ppm(0)  # as the driver answers what is malformed
    if vote == signed:
        return Finding(claim, Fate.SAME, _shown(*vote))
    said = f"signed {_shown(*signed)}; found {_shown(*vote)}"
    if signed == (Choice.ABSTAIN, Ppm(0)):
        said += "; so abstains, too, who could not score then: see the log of that day"
    return Finding(claim, Fate.DIFFERS, said)


async def _train_again(
    claim: Claim,
    head: Path,
    merge: MergeNote | None,
    updates: Sequence[Path],
    data: Path,
    learner: LearnerPort,
    scratch: Path,
) -> Finding:
    """Train again, and merge what was merged then."""
    own, out = scratch / f"update-{claim.round}", scratch / f"candidate-{claim.round}"
    try:
        await learner.propose(head, claim.round, own, PATIENCE)
        if merge is None:
            own.replace(out)
        else:
            update = digest_of(await anyio.Path(own).read_bytes())
            if update != merge.own:
                return Finding(claim, Fate.DIFFERS, f"its own update was {merge.own}; found {update}")
            await learner.merge(head, own, updates, claim.round, out, PATIENCE)
        candidate = digest_of(await anyio.Path(out).read_bytes())
        if candidate == claim.candidate:
            return Finding(claim, Fate.SAME, candidate)
        if claim.gathers and merge is None:
            return Finding(claim, Fate.MERGED, f"its own update was {candidate}; the others' are not kept")
        said = f"signed {claim.candidate}; found {candidate}"
        proposed = await anyio.to_thread.run_sync(kept_blob, data, claim.candidate)
        if proposed is not None:
            gap = await learner.score(proposed, out, claim.round, PATIENCE)
            said += f", which scores {gap.gain:+d} ppm beside it"
        return Finding(claim, Fate.DIFFERS, said)
    except OSError as error:
        raise LearnerError(f"its candidate cannot be read: {error.strerror}; free the disk") from None
    finally:
        for file in (own, out):
            file.unlink(missing_ok=True)


def _shown(choice: Choice, gain: Ppm) -> str:
    return f"{choice.value} {gain:+d} ppm"
