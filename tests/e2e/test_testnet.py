"""What the ledger client does on a public network; the same body runs on a localnet, so that it is known to work.

On testnet it needs an account there: ROUNDABOUT_TESTNET_ACCOUNT, and its key in ROUNDABOUT_TESTNET_KEY. Another
network than testnet, of the same kind, is named by ROUNDABOUT_TESTNET_NETWORK. See docs/networks.md.
"""

import base64
import logging
import os
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path

import anyio
import pytest

from ledger.chunks import History
from ledger.hedera import Hedera
from ledger.outbox import Outbox, Payment
from ledger.pages import RawEntry
from ledger.topic import LedgerError, TopicMessage
from node.config import LedgerAccess
from node.networks import account_key, open_account, profile_of
from protocol.ids import AccountId, Nanoseconds, Tinybar, TopicId
from tests.ledger.key_forms import shown_forms
from tests.ledger.localnet_process import running_localnet

ACCOUNT, KEY = "ROUNDABOUT_TESTNET_ACCOUNT", "ROUNDABOUT_TESTNET_KEY"
NETWORK = "ROUNDABOUT_TESTNET_NETWORK"
PATIENCE = 240.0
SHORT, LONG = b"short", bytes(range(256)) * 10
NODE = AccountId("0.0.3")
"""Every network has this account."""
# A public network's pace, where it matters to a reader: no receipt yet, and a mirror that is behind.
PACE = ("--nodes", "3", "--finality-ms", "300", "--mirror-lag-ms", "500")


def given_access() -> LedgerAccess:
    """The account that the environment names, or a skip that says what is missing."""
    missing = [name for name in (ACCOUNT, KEY) if not os.environ.get(name)]
    if missing:
        pytest.skip(f"needs an account on testnet: set {' and '.join(missing)}; see docs/networks.md")
    network = os.environ.get(NETWORK, "testnet")
    assert network != "mainnet", f"tests spend no real hbar: name another network in {NETWORK}"
    return LedgerAccess.model_validate({"network": network, "account": os.environ[ACCOUNT], "key_env": KEY})


@pytest.fixture(params=["localnet", pytest.param("testnet", marks=pytest.mark.testnet)])
def access(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[LedgerAccess]:
    """An account with money, and its key in the environment."""
    if request.param == "testnet":
        yield given_access()
        return
    (tmp_path / "net").mkdir()
    with running_localnet(tmp_path / "net", *PACE) as localnet:
        monkeypatch.setenv(KEY, localnet.key)
        network = localnet.network
        yield LedgerAccess.model_validate(
            {
                "network": "localnet",
                "account": localnet.operator,
                "key_env": KEY,
                "mirror": network.mirror_rest,
                "mirror_grpc": network.mirror_grpc,
                "nodes": network.nodes,
            }
        )


def test_topic_messages_and_money_on_a_network(
    access: LedgerAccess, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    anyio.run(exchange, access, tmp_path / "outbox.db", backend="trio")
    assert caplog.text
    # A comparison that fails would itself show what it compares.
    leaked = any(form in caplog.text for form in shown_forms(account_key(access, None)))
    assert not leaked, "the key was logged"


async def exchange(access: LedgerAccess, file: Path) -> None:
    """Write to a topic of our own and move a tinybar, and see all of it on the mirror."""
    with Outbox.open(file, Tinybar(profile_of(access).spend_limit)) as outbox, anyio.fail_after(PATIENCE):
        async with open_account(access, account_key(access, None), outbox) as hedera:
            topic = await hedera.create_topic("roundabout test")
            await hedera.submit(topic, SHORT)
            await hedera.submit(topic, LONG)
            await check_messages(hedera, topic)
            await check_transfer(hedera, outbox, topic)
            assert outbox.pending(owner_of(hedera)) == ()


async def check_messages(hedera: Hedera, topic: TopicId) -> None:
    """Both came back whole and in order, and every entry of the topic chains to the one before."""
    found: list[TopicMessage] = []
    async with aclosing(hedera.topic(topic).follow()) as messages:
        async for message in messages:
            found += [] if message is None else [message]
            if len(found) == 2:
                break
    assert [message.body for message in found] == [SHORT, LONG]
    assert [message.sequence for message in found] == [1, 4], "one chunk, then three"
    assert {message.payer for message in found} == {hedera.account}
    history = History(topic)
    # A public mirror is several machines: the next answer may be from one that is behind.
    while history.sequence < 4:
        async with aclosing(hedera.mirror.messages(topic, history.sequence)) as entries:
            async for entry in entries:
                history.add(entry)
        await anyio.sleep(0.5)
    assert base64.urlsafe_b64encode(history.running_hash).decode().rstrip("=") == found[-1].running_hash


async def check_transfer(hedera: Hedera, outbox: Outbox, topic: TopicId) -> None:
    """A tinybar moves once however often it is asked for; outbox and mirror agree on it."""
    memo = f"roundabout test {topic}"
    name = await hedera.transfer(NODE, Tinybar(1), memo, key="the tinybar")
    assert await hedera.transfer(NODE, Tinybar(1), memo, key="the tinybar") == name
    entry = outbox.enqueue(owner_of(hedera), Payment(NODE, Tinybar(1), memo), "the tinybar", Nanoseconds(0))
    assert (entry.state, entry.status) == ("done", "SUCCESS")
    seconds, nanos = divmod(entry.start, 10**9)
    assert name == f"{hedera.account}-{seconds}-{nanos:09}"
    shown = await shown_transaction(hedera, name)
    assert shown["result"] == "SUCCESS"
    assert base64.b64decode(shown["memo_base64"]).decode() == memo
    moved = {transfer["account"]: transfer["amount"] for transfer in shown["transfers"]}
    assert moved[hedera.account] == -1 - shown["charged_tx_fee"]
    assert moved[NODE] >= 1, "and its share of the fee, should it be the node that took the transaction"


async def shown_transaction(hedera: Hedera, name: str) -> RawEntry:
    """A transaction, once the mirror shows it."""
    while True:
        try:
            shown = await hedera.mirror.transaction(name)
        except LedgerError:
            shown = ()
        if shown:
            (only,) = shown
            return only
        await anyio.sleep(0.5)


def owner_of(hedera: Hedera) -> str:
    """Whose entries an account's are in an outbox."""
    return f"{hedera.network.name} {hedera.account}"
