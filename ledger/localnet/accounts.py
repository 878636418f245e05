"""Accounts: created, changed, deleted; the money between them, and what they let others take of it."""

from collections.abc import Iterator
from dataclasses import replace

from ledger.hiero import ResponseCode, basic_types_pb2
from ledger.localnet.envelope import Envelope
from ledger.localnet.errors import Refused
from ledger.localnet.execution import Execution, auto_renew_seconds, check_memo
from ledger.localnet.keys import is_well_formed
from ledger.localnet.state import FIRST_ENTITY, Account, Allowance, Ledger

MAX_TRANSFERS = 10
MAX_ALLOWANCES = 20


def create_account(execution: Execution) -> None:
    """cryptoCreateAccount."""
    operation = execution.envelope.body.cryptoCreateAccount
    check_memo(operation.memo)
    if not operation.HasField("key"):
        raise Refused(ResponseCode.KEY_REQUIRED)
    if not is_well_formed(operation.key):
        raise Refused(ResponseCode.BAD_ENCODING)
    auto_renew = auto_renew_seconds(operation.autoRenewPeriod.seconds)
    execution.require(*create_account_signers(execution.ledger, execution.envelope))
    if operation.initialBalance >= 1 << 63:
        raise Refused(ResponseCode.INVALID_INITIAL_BALANCE)
    payer = execution.envelope.payer
    if execution.ledger.accounts[payer].balance < operation.initialBalance:
        raise Refused(ResponseCode.INSUFFICIENT_PAYER_BALANCE)
    num = execution.new_entity()
    execution.ledger.accounts[num] = Account(
        num=num,
        key=operation.key,
        balance=0,
        created=execution.time,
        memo=operation.memo,
        receiver_signature_required=operation.receiverSigRequired,
        auto_renew_seconds=auto_renew,
    )
    execution.move(payer, -operation.initialBalance)
    execution.move(num, operation.initialBalance)
    execution.receipt.accountID.accountNum = num


def create_account_signers(_: Ledger, envelope: Envelope) -> Iterator[basic_types_pb2.Key]:
    """The new key, where the account is to sign for what it receives."""
    operation = envelope.body.cryptoCreateAccount
    if operation.receiverSigRequired:
        yield operation.key


def update_account(execution: Execution) -> None:
    """cryptoUpdateAccount: key, memo, receiver signature, renewal period."""
    operation = execution.envelope.body.cryptoUpdateAccount
    account = execution.ledger.account(operation.accountIDToUpdate)
    execution.entity = account.num
    if operation.HasField("memo"):
        check_memo(operation.memo.value)
        account = replace(account, memo=operation.memo.value)
    if operation.HasField("autoRenewPeriod"):
        seconds = auto_renew_seconds(operation.autoRenewPeriod.seconds)
        account = replace(account, auto_renew_seconds=seconds)
    if operation.HasField("receiverSigRequiredWrapper"):
        required = operation.receiverSigRequiredWrapper.value
        account = replace(account, receiver_signature_required=required)
    if operation.HasField("key"):
        if not is_well_formed(operation.key):
            raise Refused(ResponseCode.BAD_ENCODING)
        account = replace(account, key=operation.key)
    execution.require(*update_account_signers(execution.ledger, execution.envelope))
    execution.ledger.accounts[account.num] = account


def update_account_signers(ledger: Ledger, envelope: Envelope) -> Iterator[basic_types_pb2.Key]:
    """The account's key, and the new one."""
    operation = envelope.body.cryptoUpdateAccount
    yield ledger.account(operation.accountIDToUpdate).key
    if operation.HasField("key"):
        yield operation.key


def delete_account(execution: Execution) -> None:
    """cryptoDelete: what is left goes to another account."""
    operation = execution.envelope.body.cryptoDelete
    account = execution.ledger.account(operation.deleteAccountID)
    heir = execution.ledger.account(operation.transferAccountID)
    execution.entity = account.num
    if account.num < FIRST_ENTITY:
        raise Refused(ResponseCode.ENTITY_NOT_ALLOWED_TO_DELETE)
    if account.num == heir.num:
        raise Refused(ResponseCode.TRANSFER_ACCOUNT_SAME_AS_DELETE_ACCOUNT)
    execution.require(*delete_account_signers(execution.ledger, execution.envelope))
    execution.move(account.num, -account.balance)
    execution.move(heir.num, account.balance)
    execution.ledger.accounts[account.num] = replace(account, balance=0, is_deleted=True)


def delete_account_signers(ledger: Ledger, envelope: Envelope) -> Iterator[basic_types_pb2.Key]:
    """The account's key, and its heir's where that signs for what it receives."""
    operation = envelope.body.cryptoDelete
    heir = ledger.account(operation.transferAccountID)
    yield ledger.account(operation.deleteAccountID).key
    if heir.receiver_signature_required:
        yield heir.key


def transfer(execution: Execution) -> None:
    """cryptoTransfer, of hbar."""
    ledger, payer = execution.ledger, execution.envelope.payer
    amounts = execution.envelope.body.cryptoTransfer.transfers.accountAmounts
    if len(amounts) > MAX_TRANSFERS:
        raise Refused(ResponseCode.TRANSFER_LIST_SIZE_LIMIT_EXCEEDED)
    transfers = [(ledger.account(item.accountID), item.amount) for item in amounts]
    if any(
        {part.name for part, _ in item.ListFields()} - {"accountID", "amount", "is_approval"}
        for item in amounts
    ):
        raise Refused(ResponseCode.NOT_SUPPORTED)
    if sum(amount for _, amount in transfers) != 0:
        raise Refused(ResponseCode.INVALID_ACCOUNT_AMOUNTS)
    if len({account.num for account, _ in transfers}) != len(transfers):
        raise Refused(ResponseCode.ACCOUNT_REPEATED_IN_ACCOUNT_AMOUNTS)
    execution.require(*transfer_signers(ledger, execution.envelope))
    taken = {item.accountID.accountNum: -item.amount for item in amounts if _is_taken(item)}
    for owner, amount in taken.items():
        _check_allowance(ledger.allowances.get((owner, payer)), amount)
    if any(account.balance + amount < 0 for account, amount in transfers):
        raise Refused(ResponseCode.INSUFFICIENT_ACCOUNT_BALANCE)
    for account, amount in transfers:
        execution.move(account.num, amount)
    for owner, amount in taken.items():
        allowance = ledger.allowances.pop((owner, payer))
        if allowance.left > amount:
            ledger.allowances[owner, payer] = replace(allowance, left=allowance.left - amount)


def transfer_signers(ledger: Ledger, envelope: Envelope) -> Iterator[basic_types_pb2.Key]:
    """Who gives without having approved it before, and who signs for what it receives.

    An account that was deleted still has its key here: a scheduled transfer to it fails once it is executed.
    """
    for item in envelope.body.cryptoTransfer.transfers.accountAmounts:
        account = ledger.known_account(item.accountID)
        gives = item.amount < 0 and not item.is_approval
        if gives or (item.amount > 0 and account.receiver_signature_required):
            yield account.key


def _is_taken(item: basic_types_pb2.AccountAmount) -> bool:
    return bool(item.is_approval and item.amount < 0)


def _check_allowance(allowance: Allowance | None, amount: int) -> None:
    if allowance is None:
        raise Refused(ResponseCode.SPENDER_DOES_NOT_HAVE_ALLOWANCE)
    if allowance.left < amount:
        raise Refused(ResponseCode.AMOUNT_EXCEEDS_ALLOWANCE)


def approve_allowance(execution: Execution) -> None:
    """cryptoApproveAllowance, of hbar; 0 takes an allowance back."""
    ledger = execution.ledger
    approvals = execution.envelope.body.cryptoApproveAllowance.cryptoAllowances
    if not approvals:
        raise Refused(ResponseCode.EMPTY_ALLOWANCES)
    if len(approvals) > MAX_ALLOWANCES:
        raise Refused(ResponseCode.MAX_ALLOWANCES_EXCEEDED)
    granted: dict[tuple[int, int], int] = {}
    for item in approvals:
        owner = _owner(ledger, execution.envelope, item.owner)
        spender = _allowance_account(ledger, item.spender, ResponseCode.INVALID_ALLOWANCE_SPENDER_ID)
        if item.amount < 0:
            raise Refused(ResponseCode.NEGATIVE_ALLOWANCE_AMOUNT)
        if owner.num == spender.num:
            raise Refused(ResponseCode.SPENDER_ACCOUNT_SAME_AS_OWNER)
        granted[owner.num, spender.num] = item.amount
    execution.require(*approve_allowance_signers(ledger, execution.envelope))
    for pair, amount in granted.items():
        ledger.allowances.pop(pair, None)
        if amount:
            ledger.allowances[pair] = Allowance(amount, amount, execution.time)


def approve_allowance_signers(ledger: Ledger, envelope: Envelope) -> Iterator[basic_types_pb2.Key]:
    """Every owner."""
    for item in envelope.body.cryptoApproveAllowance.cryptoAllowances:
        yield _owner(ledger, envelope, item.owner).key


def _owner(ledger: Ledger, envelope: Envelope, owner: basic_types_pb2.AccountID) -> Account:
    if not owner.accountNum and not owner.alias:
        return ledger.accounts[envelope.payer]
    return _allowance_account(ledger, owner, ResponseCode.INVALID_ALLOWANCE_OWNER_ID)


def _allowance_account(ledger: Ledger, num: basic_types_pb2.AccountID, status: ResponseCode) -> Account:
    try:
        return ledger.account(num)
    except Refused:
        raise Refused(status) from None
