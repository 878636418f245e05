import base64
import json
from pathlib import Path

import pytest

from ledger.running_hash import INITIAL_RUNNING_HASH, next_running_hash

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "hcs_running_hash_v3.json").read_text())


def nanoseconds(timestamp: str) -> int:
    seconds, nanos = timestamp.split(".")
    return int(seconds) * 1_000_000_000 + int(nanos)


@pytest.mark.parametrize("chain", VECTORS["chains"], ids=lambda chain: chain["topic_id"])
def test_public_testnet_chains(chain):
    running = INITIAL_RUNNING_HASH
    for message in chain["messages"]:
        running = next_running_hash(
            running,
            message["payer_account_id"],
            chain["topic_id"],
            nanoseconds(message["consensus_timestamp"]),
            message["sequence_number"],
            base64.b64decode(message["message"]),
        )
        assert running == base64.b64decode(message["running_hash"])


def test_every_input_matters():
    known = ((0, 0, 5), (0, 0, 7), 1_000_000_001, 1, b"one")
    hashes = {
        next_running_hash(INITIAL_RUNNING_HASH, *known),
        next_running_hash(b"\1" * 48, *known),
        next_running_hash(INITIAL_RUNNING_HASH, (0, 0, 6), *known[1:]),
        next_running_hash(INITIAL_RUNNING_HASH, known[0], (0, 0, 8), *known[2:]),
        next_running_hash(INITIAL_RUNNING_HASH, *known[:2], 1_000_000_002, *known[3:]),
        next_running_hash(INITIAL_RUNNING_HASH, *known[:3], 2, known[4]),
        next_running_hash(INITIAL_RUNNING_HASH, *known[:4], b"two"),
    }
    assert len(hashes) == 7


def test_a_text_and_a_triple_are_the_same_entity():
    assert next_running_hash(bytes(48), "0.0.5", "0.0.7", 1, 1, b"x") == next_running_hash(
        bytes(48), (0, 0, 5), (0, 0, 7), 1, 1, b"x"
    )


def test_a_short_previous_hash_is_refused():
    with pytest.raises(ValueError, match="48 bytes"):
        next_running_hash(b"", "0.0.5", "0.0.7", 1, 1, b"x")
