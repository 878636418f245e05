"""The public JavaScript SDK, a client that shares no code with us, does what ours does."""

import json
import shutil
import subprocess
from pathlib import Path

import httpx
import pytest

from ledger.localnet.description import DESCRIPTION
from tests.ledger.localnet_process import running_localnet

FOLDER = Path(__file__).parent / "js"
SDK = FOLDER / "node_modules" / "@hiero-ledger" / "sdk" / "package.json"
HBAR = 100_000_000

pytestmark = [
    pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed: install Node.js 20"),
    pytest.mark.skipif(not SDK.exists(), reason="the JavaScript SDK is missing: run tests/ledger/js/install"),
]


@pytest.fixture(scope="module")
def seen(tmp_path_factory) -> dict:
    """What the client saw, and under `rest` what the mirror shows of it."""
    directory = tmp_path_factory.mktemp("localnet")
    with running_localnet(directory, "--nodes", "3") as localnet:
        command = ["node", "client.mjs", str(directory / DESCRIPTION)]
        client = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, timeout=90, check=False)
        assert client.returncode == 0, client.stderr
        seen: dict = json.loads(client.stdout)
        api = f"{localnet.description.mirror_rest}/api/v1"
        seen["rest"] = {
            "messages": httpx.get(f"{api}/topics/{seen['messages']['topic']}/messages").json()["messages"],
            "schedule": httpx.get(f"{api}/schedules/{seen['schedule']['schedule']}").json(),
        }
    return seen


def test_it_is_the_version_that_was_pinned():
    wanted = json.loads((FOLDER / "package.json").read_text())["dependencies"]["@hiero-ledger/sdk"]
    assert json.loads(SDK.read_text())["version"] == wanted


def test_it_submits_and_reads_whole_messages(seen):
    messages = seen["messages"]
    assert messages["unsigned"] == "INVALID_SIGNATURE"
    assert (messages["short"], messages["isLongWhole"], messages["chunks"]) == ("short", True, 4)
    assert (messages["memo"], messages["sequence"]) == ("from JavaScript", 5)
    shown = seen["rest"]["messages"]
    assert [message["sequence_number"] for message in shown] == [1, 2, 3, 4, 5]
    assert shown[-1]["running_hash"] == messages["runningHash"]


def test_it_transfers_and_reads_the_record(seen):
    transfer = seen["transfer"]
    assert (transfer["memo"], transfer["fee"], transfer["balance"]) == ("payout 1", 100_000, HBAR + 700)
    assert transfer["moved"] == {"0.0.2": -100_700, transfer["account"]: 700, "0.0.802": 100_000}


def test_two_of_three_run_its_schedule(seen):
    schedule = seen["schedule"]
    assert schedule["identical"] == "IDENTICAL_SCHEDULE_ALREADY_CREATED"
    assert schedule["signings"] == [
        "SUCCESS",
        "NO_NEW_VALID_SIGNATURES",
        "SUCCESS",
        "SCHEDULE_ALREADY_EXECUTED",
    ]
    assert (schedule["isExecuted"], schedule["isSuccess"]) == (True, True)
    assert schedule["balance"] == 5 * HBAR - 1_000
    assert seen["rest"]["schedule"]["executed_timestamp"] is not None
