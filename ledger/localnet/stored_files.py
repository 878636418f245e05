"""Files of the Hedera File Service: small contents on the ledger itself."""

from collections.abc import Iterator
from dataclasses import replace

from ledger.hiero import ResponseCode, basic_types_pb2
from ledger.localnet.envelope import Envelope
from ledger.localnet.errors import Refused
from ledger.localnet.execution import Execution, check_memo
from ledger.localnet.keys import is_satisfied, is_well_formed
from ledger.localnet.state import SECOND_NS, Ledger, StoredFile

MAX_FILE_BYTES = 1_048_576
DEFAULT_LIFE_S = 7_776_000


def create_file(execution: Execution) -> None:
    """fileCreate: contents, and the keys that may change them; without any it stays as it is."""
    operation = execution.envelope.body.fileCreate
    check_memo(operation.memo)
    if not all(is_well_formed(key) for key in operation.keys.keys):
        raise Refused(ResponseCode.BAD_ENCODING)
    expires = execution.time + DEFAULT_LIFE_S * SECOND_NS
    if operation.HasField("expirationTime"):
        expires = operation.expirationTime.seconds * SECOND_NS + operation.expirationTime.nanos
    if not execution.time < expires < 1 << 63:
        raise Refused(ResponseCode.INVALID_EXPIRATION_TIME)
    execution.require(*create_file_signers(execution.ledger, execution.envelope))
    num = execution.new_entity()
    execution.ledger.files[num] = StoredFile(
        num=num,
        created=execution.time,
        memo=operation.memo,
        keys=tuple(operation.keys.keys),
        contents=operation.contents,
        expires=expires,
    )
    execution.receipt.fileID.fileNum = num


def create_file_signers(_: Ledger, envelope: Envelope) -> Iterator[basic_types_pb2.Key]:
    """Every key of the file."""
    yield from envelope.body.fileCreate.keys.keys


def append_file(execution: Execution) -> None:
    """fileAppend."""
    operation = execution.envelope.body.fileAppend
    file = _changeable(execution, operation.fileID)
    if not operation.contents:
        raise Refused(ResponseCode.FILE_CONTENT_EMPTY)
    execution.require(*append_file_signers(execution.ledger, execution.envelope))
    if len(file.contents) + len(operation.contents) > MAX_FILE_BYTES:
        raise Refused(ResponseCode.MAX_FILE_SIZE_EXCEEDED)
    execution.ledger.files[file.num] = replace(file, contents=file.contents + operation.contents)


def append_file_signers(ledger: Ledger, envelope: Envelope) -> Iterator[basic_types_pb2.Key]:
    """Every key of the file."""
    yield from ledger.file(envelope.body.fileAppend.fileID).keys


def delete_file(execution: Execution) -> None:
    """fileDelete, by any one of its keys."""
    file = _changeable(execution, execution.envelope.body.fileDelete.fileID)
    if not any(is_satisfied(key, execution.envelope.signatures) for key in file.keys):
        raise Refused(ResponseCode.INVALID_SIGNATURE)
    execution.ledger.files[file.num] = replace(file, contents=b"", is_deleted=True)


def _changeable(execution: Execution, file_id: basic_types_pb2.FileID) -> StoredFile:
    file = execution.ledger.file(file_id)
    execution.entity = file.num
    if file.is_deleted:
        raise Refused(ResponseCode.FILE_DELETED)
    if not file.keys:
        raise Refused(ResponseCode.UNAUTHORIZED)
    return file
