"""Topics made up for tests: entries that chain, as a mirror would return them."""

import base64
from dataclasses import dataclass
from typing import Any

from ledger.running_hash import INITIAL_RUNNING_HASH, next_running_hash
from protocol.ids import AccountId, Nanoseconds, TopicId

TOPIC = TopicId("0.0.1001")
PAYER = AccountId("0.0.7")
START = 1_800_000_000


@dataclass(frozen=True)
class Chunk:
    """What a submitter says about a part: `valid_start` tells messages apart."""

    valid_start: int
    number: int
    total: Any


def chunk_info(payer: str, chunk: Chunk) -> dict[str, Any]:
    return {
        "initial_transaction_id": {
            "account_id": payer,
            "nonce": 0,
            "scheduled": False,
            "transaction_valid_start": f"{START}.{chunk.valid_start:09}",
        },
        "number": chunk.number,
        "total": chunk.total,
    }


class Chain:
    """Grows a topic; `step` nanoseconds pass between messages unless told otherwise."""

    def __init__(self, topic: TopicId = TOPIC) -> None:
        self.topic = topic
        self.entries: list[dict[str, Any]] = []
        self._hash = INITIAL_RUNNING_HASH
        self._time = START * 10**9

    def add(
        self, body: bytes, payer: AccountId = PAYER, chunk: Chunk | None = None, step: int = 1_000
    ) -> dict[str, Any]:
        self._time += step
        sequence = len(self.entries) + 1
        self._hash = next_running_hash(self._hash, payer, self.topic, Nanoseconds(self._time), sequence, body)
        seconds, nanos = divmod(self._time, 10**9)
        entry = {
            "chunk_info": chunk and chunk_info(payer, chunk),
            "consensus_timestamp": f"{seconds}.{nanos:09}",
            "message": base64.b64encode(body).decode(),
            "payer_account_id": payer,
            "running_hash": base64.b64encode(self._hash).decode(),
            "running_hash_version": 3,
            "sequence_number": sequence,
            "topic_id": self.topic,
        }
        self.entries.append(entry)
        return entry
