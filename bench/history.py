"""A topic with as many verdicts as wanted, as a mirror would return it: made up, signed and chained."""

import base64
import hashlib
from dataclasses import dataclass, field
from typing import Any

import coincurve

from ledger.running_hash import INITIAL_RUNNING_HASH, next_running_hash
from protocol.fields import Model, canonical
from protocol.fold import read
from protocol.ids import (
    SECOND,
    AccountId,
    Nanoseconds,
    Ppm,
    PublicKey,
    RunningHash,
    Tinybar,
    TopicId,
    base64url,
    digest_of,
    peer_id_of,
)
from protocol.messages import Choice, Contributor, Proposal, ProposalBody, Vote, VoteBody
from protocol.params import LearnerRef, Params
from protocol.records import Genesis, Member, Stamp, VerdictRecord, entry_of, vote_entry_of
from protocol.signing import sign
from protocol.state import RunState

TOPIC = TopicId("0.0.1001")
PAYER = AccountId("0.0.7")
START = 1_800_000_000 * SECOND
CHUNK = 1_024
"""Bytes of a topic message; a longer record comes in chunks."""
_ANY = digest_of(b"")


@dataclass(slots=True)
class Chain:
    """A topic that grows: entries as a mirror returns them."""

    entries: list[dict[str, Any]] = field(default_factory=list)
    running_hash: bytes = INITIAL_RUNNING_HASH
    time: int = START

    def add(self, record: Model) -> tuple[bytes, Stamp]:
        """Put a record on the topic, in chunks where it is long; what a reader is told of it."""
        raw = canonical(record)
        parts = [raw[at : at + CHUNK] for at in range(0, len(raw), CHUNK)]
        initial = self.time
        for number, part in enumerate(parts, start=1):
            self._put(part, number, len(parts), initial)
        stamp = Stamp(len(self.entries), Nanoseconds(self.time), RunningHash(base64url(self.running_hash)))
        return raw, stamp

    def _put(self, part: bytes, number: int, total: int, initial: int) -> None:
        self.time += SECOND // 4
        sequence = len(self.entries) + 1
        self.running_hash = next_running_hash(self.running_hash, PAYER, TOPIC, self.time, sequence, part)
        self.entries.append(
            {
                "chunk_info": {
                    "initial_transaction_id": {
                        "account_id": PAYER,
                        "nonce": 0,
                        "scheduled": False,
                        "transaction_valid_start": _mirror_time(initial),
                    },
                    "number": number,
                    "total": total,
                },
                "consensus_timestamp": _mirror_time(self.time),
                "message": base64.b64encode(part).decode(),
                "payer_account_id": PAYER,
                "running_hash": base64.b64encode(self.running_hash).decode(),
                "running_hash_version": 3,
                "sequence_number": sequence,
                "topic_id": TOPIC,
            }
        )


def verdicts(count: int, votes: int = 8) -> list[dict[str, Any]]:
    """The entries of a run of `count` verdicts at `votes` votes each, by one member more than that."""
    chain, secrets = Chain(), [hashlib.sha256(b"bench %d" % place).digest() for place in range(votes + 1)]
    state = read(None, TOPIC, *chain.add(_genesis(secrets)))
    for number in range(count):
        state = read(state, TOPIC, *chain.add(_verdict(state, secrets, number)))
    return chain.entries


def _genesis(secrets: list[bytes]) -> Genesis:
    keys = (PublicKey(coincurve.PrivateKey(secret).public_key.format()) for secret in secrets)
    return Genesis(
        topic=TOPIC,
        params=Params(
            learner=LearnerRef(name="driving", spec=_ANY),
            initial=_ANY,
            reward_proposal=Tinybar(1_000_000),
            reward_vote=Tinybar(10_000),
        ),
        roster=tuple(
            Member(peer=peer_id_of(key), account=AccountId(f"0.0.{2_000 + place}"))
            for place, key in enumerate(keys)
        ),
    )


def _verdict(state: RunState, secrets: list[bytes], number: int) -> VerdictRecord:
    """The open round decided: three rounds of four accepted, one rejected."""
    current = state.open
    assert current is not None
    body = ProposalBody(
        run=state.run,
        round=current.number,
        base=state.head,
        candidate=digest_of(b"candidate %d" % number),
        size=1_000_000,
        opening=current.opening,
        contributors=(Contributor(account=state.roster[current.proposer].account, share=Ppm(1_000_000)),),
        proposer=current.proposer,
    )
    proposal = Proposal(body=body, signature=sign(secrets[current.proposer], "proposal", body))
    digest, choice = body.digest(), Choice.REJECT if number % 4 == 3 else Choice.APPROVE
    return VerdictRecord(
        proposal=entry_of(proposal),
        votes=tuple(
            vote_entry_of(Vote(body=vote, signature=sign(secrets[vote.voter], "vote", vote)))
            for vote in (
                VoteBody(
                    run=state.run,
                    round=current.number,
                    proposal=digest,
                    voter=voter,
                    choice=choice,
                    gain=Ppm(number % 20_000 - 10_000 + voter),
                )
                for voter in sorted(current.members - {current.proposer})
            )
        ),
        outcome="rejected" if choice is Choice.REJECT else "accepted",
    )


def _mirror_time(time: int) -> str:
    return f"{time // 10**9}.{time % 10**9:09d}"
