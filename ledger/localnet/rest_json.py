"""The JSON of the mirror node's REST API: field names and forms are those of the public mirrors."""

from base64 import b64encode
from typing import Any

from ledger.hiero import ResponseCode, basic_types_pb2, consensus_submit_message_pb2
from ledger.localnet.fees import RATE_EXPIRES_S
from ledger.localnet.keys import ED25519_BYTES
from ledger.localnet.state import (
    NODES,
    SECOND_NS,
    Account,
    Allowance,
    Entry,
    Ledger,
    Message,
    Schedule,
    Signatory,
    Topic,
)
from ledger.localnet.transactions import KINDS
from ledger.running_hash import RUNNING_HASH_VERSION

Json = dict[str, Any]

WARNING = "localnet: one sequencer behind every node, not a public network"
"""What the address book says of each node."""
NODE_CERT_HASH = "0x" + "00" * 48
"""The node has no certificate; SDKs insist on the form of its hash."""


def entity(num: int | None) -> str | None:
    """`0.0.num`, or null."""
    return None if num is None else f"0.0.{num}"


def timestamp(time: int) -> str:
    """Nanoseconds as `seconds.nanoseconds`, nine digits."""
    return f"{time // SECOND_NS}.{time % SECOND_NS:09d}"


def base64_text(data: bytes) -> str:
    """Standard base64 with padding."""
    return b64encode(data).decode()


def key(value: basic_types_pb2.Key | None) -> Json | None:
    """A key: raw hex where it is a single one, its protobuf's hex otherwise."""
    if value is None:
        return None
    match value.WhichOneof("key"):
        case "ed25519":
            return {"_type": "ED25519", "key": value.ed25519.hex()}
        case "ECDSA_secp256k1":
            return {"_type": "ECDSA_SECP256K1", "key": value.ECDSA_secp256k1.hex()}
        case _:
            return {"_type": "ProtobufEncoded", "key": value.SerializeToString().hex()}


def transaction_id(value: basic_types_pb2.TransactionID) -> str:
    """`0.0.num-seconds-nanoseconds`."""
    start = value.transactionValidStart
    return f"0.0.{value.accountID.accountNum}-{start.seconds}-{start.nanos:09d}"


def message(topic: int, value: Message) -> Json:
    """One topic message."""
    return {
        "chunk_info": _chunk(value.chunk),
        "consensus_timestamp": timestamp(value.time),
        "message": base64_text(value.body),
        "payer_account_id": entity(value.payer),
        "running_hash": base64_text(value.running_hash),
        "running_hash_version": RUNNING_HASH_VERSION,
        "sequence_number": value.sequence,
        "topic_id": entity(topic),
    }


def _chunk(value: consensus_submit_message_pb2.ConsensusMessageChunkInfo | None) -> Json | None:
    if value is None:
        return None
    initial = value.initialTransactionID
    start = initial.transactionValidStart
    return {
        "initial_transaction_id": {
            "account_id": entity(initial.accountID.accountNum),
            "nonce": initial.nonce,
            "scheduled": initial.scheduled,
            "transaction_valid_start": f"{start.seconds}.{start.nanos:09d}",
        },
        "number": value.number,
        "total": value.total,
    }


def topic(value: Topic) -> Json:
    """One topic."""
    created = timestamp(value.created)
    return {
        "admin_key": key(value.admin_key),
        "auto_renew_account": entity(value.auto_renew_account),
        "auto_renew_period": value.auto_renew_seconds,
        "created_timestamp": created,
        "custom_fees": {"created_timestamp": created, "fixed_fees": []},
        "deleted": value.is_deleted,
        "fee_exempt_key_list": [],
        "fee_schedule_key": None,
        "memo": value.memo,
        "submit_key": key(value.submit_key),
        "timestamp": {"from": created, "to": None},
        "topic_id": entity(value.num),
    }


def transaction(value: Entry) -> Json:
    """One transaction, successful or not."""
    record = value.record
    start = record.transactionID.transactionValidStart
    return {
        "batch_key": None,
        "bytes": None,
        "charged_tx_fee": record.transactionFee,
        "consensus_timestamp": timestamp(value.time),
        "entity_id": entity(value.entity),
        "high_volume": False,
        "max_custom_fees": [],
        "max_fee": str(value.max_fee),
        "memo_base64": base64_text(record.memo.encode()),
        "name": KINDS[value.kind].name,
        "nft_transfers": [],
        "node": entity(value.node or None),
        "nonce": 0,
        "parent_consensus_timestamp": None,
        "result": ResponseCode(record.receipt.status).name,
        "scheduled": record.transactionID.scheduled,
        "staking_reward_transfers": [],
        "token_transfers": [],
        "transaction_hash": base64_text(record.transactionHash),
        "transaction_id": transaction_id(record.transactionID),
        "transfers": [
            {"account": entity(item.accountID.accountNum), "amount": item.amount, "is_approval": False}
            for item in record.transferList.accountAmounts
        ],
        "valid_duration_seconds": str(value.valid_seconds),
        "valid_start_timestamp": f"{start.seconds}.{start.nanos:09d}",
    }


def account(ledger: Ledger, value: Account) -> Json:
    """One account, without its transactions."""
    return {
        "account": entity(value.num),
        "alias": None,
        "auto_renew_period": value.auto_renew_seconds,
        "balance": {"balance": value.balance, "timestamp": timestamp(ledger.time), "tokens": []},
        "created_timestamp": timestamp(value.created),
        "decline_reward": False,
        "deleted": value.is_deleted,
        "ethereum_nonce": 0,
        "evm_address": "0x" + value.num.to_bytes(20, "big").hex(),
        "expiry_timestamp": None,
        "key": key(value.key),
        "max_automatic_token_associations": 0,
        "memo": value.memo,
        "pending_reward": 0,
        "receiver_sig_required": value.receiver_signature_required,
        "staked_account_id": None,
        "staked_node_id": None,
        "stake_period_start": None,
    }


def balance(value: Account) -> Json:
    """One line of the list of balances."""
    return {"account": entity(value.num), "balance": value.balance, "tokens": []}


def allowance(owner: int, spender: int, value: Allowance) -> Json:
    """What one account lets another take."""
    return {
        "amount": value.left,
        "amount_granted": value.granted,
        "owner": entity(owner),
        "spender": entity(spender),
        "timestamp": {"from": timestamp(value.time), "to": None},
    }


def schedule(value: Schedule) -> Json:
    """One schedule, whether it waits, has been executed or deleted, or has expired."""
    return {
        "admin_key": key(value.admin_key),
        "consensus_timestamp": timestamp(value.created),
        "creator_account_id": entity(value.creator),
        "deleted": value.deleted is not None,
        "executed_timestamp": None if value.executed is None else timestamp(value.executed),
        "expiration_time": timestamp(value.expires) if value.is_expiry_given else None,
        "memo": value.memo,
        "payer_account_id": entity(value.payer),
        "schedule_id": entity(value.num),
        "signatures": [_signatory(item) for item in value.signatories],
        "transaction_body": base64_text(value.body.SerializeToString()),
        "wait_for_expiry": False,
    }


def _signatory(value: Signatory) -> Json:
    return {
        "consensus_timestamp": timestamp(value.time),
        "public_key_prefix": base64_text(value.key),
        "signature": base64_text(value.signature),
        "type": "ED25519" if len(value.key) == ED25519_BYTES else "ECDSA_SECP256K1",
    }


def node(created: int, num: int, ports: tuple[int, ...]) -> Json:
    """One consensus node."""
    return {
        "admin_key": None,
        "decline_reward": False,
        "description": WARNING,
        "file_id": "0.0.102",
        "max_stake": 0,
        "memo": "",
        "min_stake": 0,
        "node_account_id": entity(num),
        "node_cert_hash": NODE_CERT_HASH,
        "node_id": num - NODES[0],
        "public_key": "0x",
        "reward_rate_start": 0,
        "service_endpoints": [
            {"domain_name": "", "ip_address_v4": "127.0.0.1", "port": port} for port in ports
        ],
        "stake": 0,
        "stake_not_rewarded": 0,
        "stake_rewarded": 0,
        "staking_period": None,
        "timestamp": {"from": timestamp(created), "to": None},
    }


def exchange_rate(ledger: Ledger) -> Json:
    """The fixed exchange rate."""
    rate = {
        "cent_equivalent": ledger.fees.cents_per_hbar,
        "expiration_time": RATE_EXPIRES_S,
        "hbar_equivalent": 1,
    }
    return {"current_rate": rate, "next_rate": rate, "timestamp": timestamp(ledger.time)}
