"""The network on its event loop: transactions that arrive together, and a disk that fails."""

import asyncio

import pytest

from ledger.hiero import PrivateKey, ResponseCode, basic_types_pb2, transaction_contents_pb2, transaction_pb2
from ledger.localnet.errors import LocalnetError, Refused
from ledger.localnet.journal import Genesis, Journal
from ledger.localnet.network import LocalNetwork, replay
from ledger.localnet.state import NODE, OPERATOR, SECOND_NS

KEY = PrivateKey.from_bytes_ed25519(bytes(range(32)))
GENESIS = Genesis(time=1, operator_key=KEY.public_key().to_bytes_raw())
NOW = 1_800_000_000 * SECOND_NS


def create_topic(nanos: int) -> bytes:
    body = transaction_pb2.TransactionBody(transactionFee=10**9)
    body.transactionID.accountID.accountNum = OPERATOR
    body.transactionID.transactionValidStart.seconds = NOW // SECOND_NS
    body.transactionID.transactionValidStart.nanos = nanos
    body.transactionValidDuration.seconds = 120
    body.nodeAccountID.accountNum = NODE
    body.consensusCreateTopic.autoRenewPeriod.seconds = 7_776_000
    body_bytes = body.SerializeToString()
    pair = basic_types_pb2.SignaturePair(pubKeyPrefix=GENESIS.operator_key, ed25519=KEY.sign(body_bytes))
    signed = transaction_contents_pb2.SignedTransaction(
        bodyBytes=body_bytes, sigMap=basic_types_pb2.SignatureMap(sigPair=[pair])
    )
    return transaction_pb2.Transaction(signedTransactionBytes=signed.SerializeToString()).SerializeToString()


class FailingJournal(Journal):
    """A journal whose disk is full."""

    def append(self, batch) -> None:
        list(batch)
        raise OSError(28, "No space left on device")


async def test_transactions_that_arrive_together_share_one_frame_and_keep_their_order(tmp_path):
    path = tmp_path / "journal"
    with Journal(path, GENESIS) as journal:
        network = LocalNetwork(journal, lambda: NOW)
        changed = network.changed
        raws = [create_topic(i) for i in range(5)]
        outcomes = await asyncio.gather(
            *(network.submit(raw, NODE) for raw in [*raws, raws[0]]), return_exceptions=True
        )
    assert [entry.time for entry in outcomes[:5]] == [NOW + i for i in range(5)]
    assert isinstance(outcomes[5], Refused)
    assert outcomes[5].status == ResponseCode.DUPLICATE_TRANSACTION
    assert changed.is_set()
    with Journal(path, GENESIS) as journal:
        assert len(journal._replay) == 1
        assert replay(journal) == network.ledger


async def test_nothing_is_acknowledged_or_shown_when_the_disk_fails(tmp_path):
    with FailingJournal(tmp_path / "journal", GENESIS) as journal:
        network = LocalNetwork(journal, lambda: NOW)
        changed = network.changed
        with pytest.raises(Refused) as refused:
            await network.submit(create_topic(0), NODE)
        assert refused.value.status == ResponseCode.BUSY
        with pytest.raises(LocalnetError, match="cannot be written"):
            await network.failed
        with pytest.raises(LocalnetError, match="has stopped"):
            _ = network.ledger
        with pytest.raises(Refused):
            await network.submit(create_topic(1), NODE)
        assert not changed.is_set()


async def test_more_than_a_batch_at_once_is_refused_as_busy(tmp_path, monkeypatch):
    monkeypatch.setattr("ledger.localnet.network.MAX_BATCH", 2)
    with Journal(tmp_path / "journal", GENESIS) as journal:
        network = LocalNetwork(journal, lambda: NOW)
        outcomes = await asyncio.gather(
            *(network.submit(create_topic(i), NODE) for i in range(3)), return_exceptions=True
        )
    assert isinstance(outcomes[2], Refused)
    assert outcomes[2].status == ResponseCode.BUSY
    assert [entry.entity for entry in outcomes[:2]] == [1001, 1002]
