"""An audit put aside: what is needed to go on with it, as canonical JSON that carries its own digest.

The digest finds damage, not malice: who can write the file can make it say anything, so a checkpoint is worth
what the disk is worth that it lies on. Integers that may pass 2^53 (times, amounts) are decimal strings.
"""

import base64
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, ValidationError

from ledger.audit import Audit, Passed, Violation
from ledger.checkpoint_book import BookForm, book_form, book_of
from ledger.checkpoint_holding import HoldingForm, holding_form, holding_of
from ledger.checkpoint_money import Decimal
from ledger.checkpoint_state import (
    ClosedForm,
    StateForm,
    closed_form,
    closed_round,
    form_of,
    state_of,
)
from ledger.chunks import MAX_CHUNKS, MAX_OPEN, GroupKey, History, OpenGroup
from ledger.evidence import Equivocation, Kind, evidence_of
from ledger.files import read_bounded, write_whole
from ledger.pages import MAX_FILE, RawEntry
from ledger.topic import LedgerError
from protocol.fields import (
    MAX_INTEGER,
    AccountField,
    DigestField,
    Model,
    Place,
    RoundField,
    RunningHashField,
    TopicField,
    canonical,
)
from protocol.ids import (
    AccountId,
    Digest,
    Nanoseconds,
    RunningHash,
    TopicId,
    base64url,
    digest_of,
    unbase64url,
)
from protocol.messages import first_error

Sequence = Annotated[int, Field(ge=0, le=MAX_INTEGER)]
Whole = Annotated[str, StringConstraints(pattern=r"^-?[0-9]{1,4300}$")]
Hex = Annotated[str, StringConstraints(pattern=r"^([0-9a-f]{2})*$")]


class GroupForm(Model):
    """A message of which some chunks are here."""

    payer: AccountField
    account: AccountField
    valid_start: str
    nonce: Whole
    scheduled: bool
    sequence: Sequence
    time: Decimal
    total: Annotated[int, Field(ge=1, le=MAX_CHUNKS)]
    parts: tuple[tuple[Annotated[int, Field(ge=1, le=MAX_CHUNKS)], Hex], ...]


class CheckpointBody(Model):
    """Everything an audit knows after a message."""

    format: Literal["roundabout-audit/2"] = "roundabout-audit/2"
    topic: TopicField
    sequence: Sequence
    time: Decimal
    running_hash: RunningHashField
    groups: Annotated[tuple[GroupForm, ...], Field(max_length=MAX_OPEN)]
    messages: Sequence
    began: Decimal | None
    state: StateForm | None
    rounds: tuple[ClosedForm, ...]
    book: BookForm
    holding: HoldingForm | None
    violations: tuple[tuple[Sequence, str], ...]
    ignored: tuple[tuple[Sequence, str], ...]
    seen: tuple[tuple[Kind, RoundField, Place, DigestField, Sequence], ...]
    found: tuple[tuple[Kind, RoundField, Place, Sequence, Sequence], ...]


class Checkpoint(Model):
    """The file: a body, and the digest of its canonical form."""

    body: CheckpointBody
    digest: DigestField


def body_of(result: Audit) -> CheckpointBody:
    """What must be kept of an audit that is not finished, and whose history holds so far."""
    history, evidence = result.history, result.evidence
    return CheckpointBody(
        topic=result.topic,
        sequence=history.sequence,
        time=str(history.time),
        running_hash=RunningHash(base64url(history.running_hash)),
        groups=tuple(_group_form(key, group) for key, group in history.open.items()),
        messages=result.messages,
        began=None if result.began is None else str(result.began),
        state=None if result.state is None else form_of(result.state),
        rounds=tuple(map(closed_form, result.rounds)),
        book=book_form(result.book),
        holding=None if result.holding is None else holding_form(result.holding),
        violations=tuple((v.sequence, v.reason) for v in result.violations if v.sequence is not None),
        ignored=tuple((p.sequence, p.reason) for p in result.ignored),
        seen=tuple(
            (*slot, Digest(base64url(signed)), at) for slot, (signed, at) in evidence.first_shown().items()
        ),
        found=tuple((e.kind, e.round, e.member, e.first, e.second) for e in evidence.found.values()),
    )


def audit_of(body: CheckpointBody) -> Audit:
    """The audit as it was when it was put aside."""
    rounds = [closed_round(form) for form in body.rounds]
    result = Audit(
        body.topic,
        state=None
        if body.state is None
        else state_of(body.state, body.topic, rounds[-1] if rounds else None),
        messages=body.messages,
        rounds=rounds,
        book=book_of(body.book),
        holding=None if body.holding is None else holding_of(body.holding),
        violations=[Violation(*entry) for entry in body.violations],
        ignored=[Passed(*entry) for entry in body.ignored],
        evidence=evidence_of(
            {
                (kind, round, member): (unbase64url(digest, 32), at)
                for kind, round, member, digest, at in body.seen
            },
            [Equivocation(*entry) for entry in body.found],
        ),
        began=None if body.began is None else Nanoseconds(int(body.began)),
    )
    running_hash = unbase64url(body.running_hash, 48)
    result.history = History(body.topic, body.sequence, Nanoseconds(int(body.time)), running_hash)
    result.history.open.update(map(_group, body.groups))
    return result


def write_checkpoint(path: Path, result: Audit) -> None:
    """Put an audit aside, before it is finished; the file appears whole or not at all. Raises LedgerError."""
    if result.waiting:
        raise LedgerError(
            "a message is read and not judged yet, so the checkpoint is left as it was; audit again"
        )
    body = body_of(result)
    write_whole(
        path, canonical(Checkpoint(body=body, digest=digest_of(canonical(body)))), "the checkpoint"
    )  # fmt: skip


def read_checkpoint(path: Path, topic: TopicId) -> Audit:
    """An audit that was put aside, or a new one where there is no file yet. Raises LedgerError."""
    try:
        with path.open("rb") as source:
            data = read_bounded(source, MAX_FILE)
    except FileNotFoundError:
        return Audit(topic)
    except OSError as error:
        raise LedgerError(f"cannot read {path}: {error.strerror}; check the path") from error
    remedy = "delete it to audit from the first message"
    if len(data) > MAX_FILE:
        raise LedgerError(f"{path} is longer than {MAX_FILE} bytes and no checkpoint; {remedy}")
    try:
        checkpoint = Checkpoint.model_validate_json(data)
    except ValidationError as error:
        raise LedgerError(f"{path} is no checkpoint ({first_error(error)}); {remedy}") from None
    if digest_of(canonical(checkpoint.body)) != checkpoint.digest:
        raise LedgerError(f"{path} is damaged: it does not have the digest that it says; {remedy}")
    if checkpoint.body.topic != topic:
        raise LedgerError(f"{path} is a checkpoint of topic {checkpoint.body.topic}, not {topic}; {remedy}")
    return audit_of(checkpoint.body)


def confirm(result: Audit, entry: RawEntry | None) -> None:
    """Check that a history has, at the place where an audit stands, the very message it stands on.

    `entry` is what the history has there, None for nothing. Raises LedgerError.
    """
    expected = result.history
    claimed = None if entry is None else (entry.get("sequence_number"), entry.get("running_hash"))
    if claimed != (expected.sequence, base64.b64encode(expected.running_hash).decode()):
        raise LedgerError(
            f"the checkpoint does not belong to this history of topic {result.topic}: they differ at message "
            f"{expected.sequence}; compare with another mirror, or delete it to audit from the first message"
        )


def _group_form(key: GroupKey, group: OpenGroup) -> GroupForm:
    payer, account, valid_start, nonce, scheduled = key
    return GroupForm(
        payer=AccountId(payer),
        account=AccountId(account),
        valid_start=valid_start,
        nonce=str(nonce),
        scheduled=scheduled,
        sequence=group.sequence,
        time=str(group.time),
        total=group.total,
        parts=tuple((number, part.hex()) for number, part in group.parts.items()),
    )


def _group(form: GroupForm) -> tuple[GroupKey, OpenGroup]:
    key = (form.payer, form.account, form.valid_start, int(form.nonce), form.scheduled)
    parts = {number: bytes.fromhex(part) for number, part in form.parts}
    return key, OpenGroup(form.sequence, Nanoseconds(int(form.time)), form.payer, form.total, parts)
