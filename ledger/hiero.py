"""The one door to hiero_sdk_python: what Roundabout uses of the Hedera SDK and of its protobuf classes.

No other module imports the SDK, so an upgrade, a private name that moves, or a missing extra shows here and
only here. The `*_pb2` modules are the HAPI and mirror messages; both have a consensus service, hence
the mirror's prefix.
"""

from hiero_sdk_python.account.account_allowance_approve_transaction import AccountAllowanceApproveTransaction
from hiero_sdk_python.account.account_create_transaction import AccountCreateTransaction
from hiero_sdk_python.account.account_delete_transaction import AccountDeleteTransaction
from hiero_sdk_python.account.account_id import AccountId
from hiero_sdk_python.account.account_info import AccountInfo
from hiero_sdk_python.account.account_update_transaction import AccountUpdateTransaction
from hiero_sdk_python.client.client import Client
from hiero_sdk_python.client.network import Network
from hiero_sdk_python.consensus.topic_create_transaction import TopicCreateTransaction
from hiero_sdk_python.consensus.topic_delete_transaction import TopicDeleteTransaction
from hiero_sdk_python.consensus.topic_id import TopicId
from hiero_sdk_python.consensus.topic_info import TopicInfo
from hiero_sdk_python.consensus.topic_message_submit_transaction import TopicMessageSubmitTransaction
from hiero_sdk_python.consensus.topic_update_transaction import TopicUpdateTransaction
from hiero_sdk_python.crypto.key_list import KeyList
from hiero_sdk_python.crypto.private_key import PrivateKey
from hiero_sdk_python.crypto.public_key import PublicKey
from hiero_sdk_python.exceptions import MaxAttemptsError, PrecheckError, ReceiptStatusError
from hiero_sdk_python.file.file_append_transaction import FileAppendTransaction
from hiero_sdk_python.file.file_contents_query import FileContentsQuery
from hiero_sdk_python.file.file_create_transaction import FileCreateTransaction
from hiero_sdk_python.file.file_delete_transaction import FileDeleteTransaction
from hiero_sdk_python.file.file_info_query import FileInfoQuery
from hiero_sdk_python.hapi.mirror import consensus_service_pb2 as mirror_consensus_service_pb2
from hiero_sdk_python.hapi.mirror import mirror_network_service_pb2
from hiero_sdk_python.hapi.services import (
    address_book_service_pb2,
    basic_types_pb2,
    consensus_create_topic_pb2,
    consensus_delete_topic_pb2,
    consensus_get_topic_info_pb2,
    consensus_service_pb2,
    consensus_submit_message_pb2,
    consensus_update_topic_pb2,
    crypto_approve_allowance_pb2,
    crypto_create_pb2,
    crypto_delete_pb2,
    crypto_get_account_balance_pb2,
    crypto_get_info_pb2,
    crypto_service_pb2,
    crypto_transfer_pb2,
    crypto_update_pb2,
    exchange_rate_pb2,
    file_service_pb2,
    freeze_service_pb2,
    network_service_pb2,
    query_header_pb2,
    query_pb2,
    response_header_pb2,
    response_pb2,
    schedulable_transaction_body_pb2,
    schedule_create_pb2,
    schedule_delete_pb2,
    schedule_get_info_pb2,
    schedule_service_pb2,
    schedule_sign_pb2,
    smart_contract_service_pb2,
    timestamp_pb2,
    token_service_pb2,
    transaction_contents_pb2,
    transaction_get_receipt_pb2,
    transaction_get_record_pb2,
    transaction_pb2,
    transaction_receipt_pb2,
    transaction_record_pb2,
    transaction_response_pb2,
    util_service_pb2,
)
from hiero_sdk_python.hbar import Hbar
from hiero_sdk_python.node import _Node
from hiero_sdk_python.query.account_balance_query import CryptoGetAccountBalanceQuery
from hiero_sdk_python.query.account_info_query import AccountInfoQuery
from hiero_sdk_python.query.topic_info_query import TopicInfoQuery
from hiero_sdk_python.query.topic_message_query import TopicMessageQuery
from hiero_sdk_python.query.transaction_get_receipt_query import TransactionGetReceiptQuery
from hiero_sdk_python.query.transaction_record_query import TransactionRecordQuery
from hiero_sdk_python.response_code import ResponseCode
from hiero_sdk_python.schedule.schedule_create_transaction import ScheduleCreateTransaction
from hiero_sdk_python.schedule.schedule_delete_transaction import ScheduleDeleteTransaction
from hiero_sdk_python.schedule.schedule_id import ScheduleId
from hiero_sdk_python.schedule.schedule_info_query import ScheduleInfoQuery
from hiero_sdk_python.schedule.schedule_sign_transaction import ScheduleSignTransaction
from hiero_sdk_python.timestamp import Timestamp
from hiero_sdk_python.transaction.transaction import Transaction
from hiero_sdk_python.transaction.transaction_id import TransactionId
from hiero_sdk_python.transaction.transaction_receipt import TransactionReceipt
from hiero_sdk_python.transaction.transaction_record import TransactionRecord
from hiero_sdk_python.transaction.transaction_response import TransactionResponse
from hiero_sdk_python.transaction.transfer_transaction import TransferTransaction

__all__ = [
    "AccountAllowanceApproveTransaction",
    "AccountCreateTransaction",
    "AccountDeleteTransaction",
    "AccountId",
    "AccountInfo",
    "AccountInfoQuery",
    "AccountUpdateTransaction",
    "Client",
    "CryptoGetAccountBalanceQuery",
    "FileAppendTransaction",
    "FileContentsQuery",
    "FileCreateTransaction",
    "FileDeleteTransaction",
    "FileInfoQuery",
    "Hbar",
    "KeyList",
    "MaxAttemptsError",
    "Network",
    "PrecheckError",
    "PrivateKey",
    "PublicKey",
    "ReceiptStatusError",
    "ResponseCode",
    "ScheduleCreateTransaction",
    "ScheduleDeleteTransaction",
    "ScheduleId",
    "ScheduleInfoQuery",
    "ScheduleSignTransaction",
    "Timestamp",
    "TopicCreateTransaction",
    "TopicDeleteTransaction",
    "TopicId",
    "TopicInfo",
    "TopicInfoQuery",
    "TopicMessageQuery",
    "TopicMessageSubmitTransaction",
    "TopicUpdateTransaction",
    "Transaction",
    "TransactionGetReceiptQuery",
    "TransactionId",
    "TransactionReceipt",
    "TransactionRecord",
    "TransactionRecordQuery",
    "TransactionResponse",
    "TransferTransaction",
    "_Node",
    "address_book_service_pb2",
    "basic_types_pb2",
    "consensus_create_topic_pb2",
    "consensus_delete_topic_pb2",
    "consensus_get_topic_info_pb2",
    "consensus_service_pb2",
    "consensus_submit_message_pb2",
    "consensus_update_topic_pb2",
    "crypto_approve_allowance_pb2",
    "crypto_create_pb2",
    "crypto_delete_pb2",
    "crypto_get_account_balance_pb2",
    "crypto_get_info_pb2",
    "crypto_service_pb2",
    "crypto_transfer_pb2",
    "crypto_update_pb2",
    "exchange_rate_pb2",
    "file_service_pb2",
    "freeze_service_pb2",
    "mirror_consensus_service_pb2",
    "mirror_network_service_pb2",
    "network_service_pb2",
    "query_header_pb2",
    "query_pb2",
    "response_header_pb2",
    "response_pb2",
    "schedulable_transaction_body_pb2",
    "schedule_create_pb2",
    "schedule_delete_pb2",
    "schedule_get_info_pb2",
    "schedule_service_pb2",
    "schedule_sign_pb2",
    "smart_contract_service_pb2",
    "timestamp_pb2",
    "token_service_pb2",
    "transaction_contents_pb2",
    "transaction_get_receipt_pb2",
    "transaction_get_record_pb2",
    "transaction_pb2",
    "transaction_receipt_pb2",
    "transaction_record_pb2",
    "transaction_response_pb2",
    "util_service_pb2",
]
