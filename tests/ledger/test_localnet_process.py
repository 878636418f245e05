"""The localnet as a process: it survives kill -9, and says clearly why it cannot start."""

import base64
import os
import signal
import socket
import stat
import subprocess
import sys
import threading

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from ledger.hiero import (
    AccountCreateTransaction,
    AccountId,
    Client,
    Hbar,
    Network,
    PrivateKey,
    ResponseCode,
    TopicCreateTransaction,
    TopicMessageSubmitTransaction,
    _Node,
)
from ledger.localnet.description import Description, read_description
from ledger.localnet.errors import LocalnetError
from ledger.localnet.serve import Ports, serve
from tests.ledger.localnet_process import running_localnet

DER = (Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
SUBMITTERS = 3
BEFORE_KILL = 60


def client_of(description: Description) -> Client:
    node = _Node(AccountId(0, 0, 3), description.nodes["0.0.3"], None)
    client = Client(Network("localnet", nodes=[node], mirror_address=description.mirror_grpc))
    client.set_operator(AccountId(0, 0, 2), PrivateKey.from_string(description.operator_key))
    client.max_attempts = 1
    return client


def new_account_client(client: Client, description: Description) -> Client:
    """A client with a payer of its own: the SDK's transaction ids of one payer collide under threads."""
    key = PrivateKey.generate_ed25519()
    transaction = AccountCreateTransaction().set_key_without_alias(key.public_key())
    account = transaction.set_initial_balance(Hbar(100)).execute(client).account_id
    own = client_of(description)
    own.set_operator(account, key)
    return own


def history(description: Description, topic) -> list[dict]:
    messages, url = [], f"/api/v1/topics/{topic}/messages?limit=100"
    while url is not None:
        answer = httpx.get(description.mirror_rest + url).raise_for_status().json()
        messages += answer["messages"]
        url = answer["links"]["next"]
    return messages


def balances(description: Description) -> list[dict]:
    return httpx.get(f"{description.mirror_rest}/api/v1/balances").raise_for_status().json()["balances"]


def submit_until_refused(client: Client, topic, acknowledged: list, enough: threading.Event) -> None:
    for i in range(100_000):
        try:
            receipt = TopicMessageSubmitTransaction(topic, f"{client.operator_account_id} {i}").execute(
                client
            )
        except Exception:  # noqa: BLE001  whatever the SDK makes of a server that is gone
            return
        if receipt.status != ResponseCode.SUCCESS:
            return
        acknowledged.append(
            (receipt._receipt_proto.topicSequenceNumber, receipt._receipt_proto.topicRunningHash)
        )
        if len(acknowledged) >= BEFORE_KILL:
            enough.set()


def test_what_was_acknowledged_survives_kill_9(tmp_path):
    acknowledged: list[tuple[int, bytes]] = []
    enough = threading.Event()
    with running_localnet(tmp_path) as localnet:
        client = client_of(localnet.description)
        topic = TopicCreateTransaction(memo="kept").execute(client).topic_id
        clients = [new_account_client(client, localnet.description) for _ in range(SUBMITTERS)]
        threads = [
            threading.Thread(target=submit_until_refused, args=(own, topic, acknowledged, enough))
            for own in clients
        ]
        for thread in threads:
            thread.start()
        assert enough.wait(30)
        shown = history(localnet.description, topic)
        localnet.kill()
        for thread in threads:
            thread.join(30)
    assert len(acknowledged) >= BEFORE_KILL
    assert (tmp_path / "localnet.json").exists()  # nobody was there to remove it

    with running_localnet(tmp_path) as localnet:
        kept = history(localnet.description, topic)
        assert kept[: len(shown)] == shown
        by_sequence = {message["sequence_number"]: message["running_hash"] for message in kept}
        for sequence, running_hash in acknowledged:
            assert base64.b64decode(by_sequence[sequence]) == running_hash
        receipt = TopicMessageSubmitTransaction(topic, "after").execute(client_of(localnet.description))
        assert receipt.status == ResponseCode.SUCCESS
        kept = history(localnet.description, topic)
        assert [message["sequence_number"] for message in kept] == list(range(1, len(kept) + 1))
        money = balances(localnet.description)

    # A torn last write is cut off; everything before it is untouched.
    with (tmp_path / "journal").open("ab") as journal:
        journal.write(b"\x00\x00\x01\x00torn")
    with running_localnet(tmp_path) as localnet:
        assert history(localnet.description, topic) == kept
        assert balances(localnet.description) == money


def test_a_clean_stop_removes_the_description_and_keeps_the_ledger(tmp_path):
    with running_localnet(tmp_path) as localnet:
        first = localnet.description
        assert stat.S_IMODE((tmp_path / "localnet.json").stat().st_mode) == 0o600
        assert stat.S_IMODE((tmp_path / "operator.key").stat().st_mode) == 0o600
        localnet.child.send_signal(signal.SIGINT)
        assert localnet.child.wait(20) == 0
    assert not (tmp_path / "localnet.json").exists()
    with pytest.raises(LocalnetError, match="no localnet serves"):
        read_description(tmp_path)
    with running_localnet(tmp_path) as localnet:
        assert localnet.description.operator_key == first.operator_key
        assert localnet.description.pid == localnet.child.pid


def test_a_second_localnet_in_the_directory_says_so_and_leaves_the_first_alone(tmp_path):
    with running_localnet(tmp_path) as localnet:
        command = [sys.executable, "-m", "ledger.localnet", "--dir", str(tmp_path), "--any-port"]
        second = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert second.returncode == 2
        assert len(second.stderr.splitlines()) == 1
        assert "in use by another localnet" in second.stderr
        assert read_description(tmp_path) == localnet.description
        nodes = f"{localnet.description.mirror_rest}/api/v1/network/nodes"
        assert httpx.get(nodes).status_code == 200


@pytest.mark.parametrize("face", ["consensus", "mirror_grpc", "mirror_rest"])
async def test_a_port_in_use_is_named_with_a_remedy(tmp_path, face):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        chosen = {"consensus": (0,), "mirror_grpc": 0, "mirror_rest": (0,)}
        chosen[face] = port if face == "mirror_grpc" else (port,)
        with pytest.raises(LocalnetError, match=rf"port {port} .* --any-port"):
            await serve(tmp_path, Ports(**chosen))
    assert not (tmp_path / "localnet.json").exists()


async def test_a_directory_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(LocalnetError, match=r"cannot be used .* choose another directory"):
        await serve(tmp_path / "file", Ports.ephemeral())


async def test_a_damaged_journal_is_refused_and_nothing_claims_to_serve(tmp_path):
    (tmp_path / "operator.key").write_text(Ed25519PrivateKey.generate().private_bytes(*DER).hex())
    (tmp_path / "journal").write_bytes(b"not one")
    (tmp_path / "localnet.json").write_text("{}")
    with pytest.raises(LocalnetError, match="not a localnet journal"):
        await serve(tmp_path, Ports.ephemeral())
    assert not (tmp_path / "localnet.json").exists()


async def test_a_ledger_without_its_key_is_refused(tmp_path):
    with running_localnet(tmp_path):
        pass
    os.remove(tmp_path / "operator.key")
    with pytest.raises(LocalnetError, match=r"operator\.key is missing"):
        await serve(tmp_path, Ports.ephemeral())


@pytest.mark.parametrize(
    ("options", "said"),
    [(("--outage", "0.0.99:1-2"), "is no outage"), (("--fees", "PRICES"), "the price list says")],
)
def test_an_option_that_makes_no_sense_is_explained_in_one_line(tmp_path, options, said):
    prices = tmp_path / "prices.toml"
    prices.write_text("query = 1")
    chosen = [str(prices) if option == "PRICES" else option for option in options]
    command = [sys.executable, "-m", "ledger.localnet", "--dir", str(tmp_path / "net"), "--any-port", *chosen]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert len(ended.stderr.splitlines()) == 1
    assert said in ended.stderr
    assert not (tmp_path / "net" / "journal").exists()
