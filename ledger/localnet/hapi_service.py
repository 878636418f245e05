"""The consensus node's gRPC face, the Hedera API: transactions and queries, as bytes in and bytes out.

Every method of every HAPI service that takes a transaction or a query is routed here by its descriptor, so
that one which is not implemented is refused by status, like on a public node. Bytes are parsed here, not by
gRPC, so that malformed ones get a status too.
"""

from collections.abc import Callable
from typing import TypeAlias

import grpc
from google.protobuf.message import DecodeError

from ledger.hiero import (
    ResponseCode,
    address_book_service_pb2,
    consensus_service_pb2,
    crypto_service_pb2,
    file_service_pb2,
    freeze_service_pb2,
    network_service_pb2,
    query_header_pb2,
    query_pb2,
    response_pb2,
    schedule_service_pb2,
    smart_contract_service_pb2,
    token_service_pb2,
    transaction_response_pb2,
    util_service_pb2,
)
from ledger.localnet.envelope import any_transaction_key, parse_envelope
from ledger.localnet.errors import Refused
from ledger.localnet.network import LocalNetwork
from ledger.localnet.queries import QUERIES, QueryKind

MAX_REQUEST_BYTES = 16_384
"""A query with its payment fits; a transaction that is too long still gets its own status up to here."""

_Context: TypeAlias = grpc.aio.ServicerContext[bytes, bytes]
_Method: TypeAlias = "grpc.RpcMethodHandler[bytes, bytes]"  # generic in its type stub only

_FILES = (
    address_book_service_pb2,
    consensus_service_pb2,
    crypto_service_pb2,
    file_service_pb2,
    freeze_service_pb2,
    network_service_pb2,
    schedule_service_pb2,
    smart_contract_service_pb2,
    token_service_pb2,
    util_service_pb2,
)


def methods_taking(message: str) -> frozenset[str]:
    """The full names, `/proto.Service/method`, of every HAPI method with a request of this type."""
    return frozenset(
        f"/{service.full_name}/{method.name}"
        for file in _FILES
        for service in file.DESCRIPTOR.services_by_name.values()
        for method in service.methods
        if method.input_type.name == message
    )


class HapiService(grpc.GenericRpcHandler):
    """One consensus node of a network."""

    def __init__(self, network: LocalNetwork, node: int, elapsed: Callable[[], int] = lambda: 0) -> None:
        """elapsed: nanoseconds since the network began to serve; outages go by it."""
        self._network = network
        self._node = node
        self._elapsed = elapsed
        self._count = 0
        transaction: _Method = grpc.unary_unary_rpc_method_handler(self._on_transaction)
        query: _Method = grpc.unary_unary_rpc_method_handler(self._on_query)
        self._methods: dict[str, _Method] = dict.fromkeys(methods_taking("Transaction"), transaction)
        self._methods |= dict.fromkeys(methods_taking("Query"), query)

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> "_Method | None":
        """The handler of a method, or None, which gRPC answers with UNIMPLEMENTED."""
        return self._methods.get(handler_call_details.method)

    async def _on_transaction(self, request: bytes, context: _Context) -> bytes:
        await self._check_reachable(context)
        self._count += 1
        if self._network.behaviour.is_busy(self._node, self._count):
            return _precheck_response(ResponseCode.BUSY, 0)
        try:
            entry = await self._network.submit(request, self._node)
        except Refused as refused:
            return _precheck_response(refused.status, refused.cost)
        return _precheck_response(ResponseCode.OK, entry.record.transactionFee if entry else 0)

    async def _check_reachable(self, context: _Context) -> None:
        if self._network.behaviour.is_out(self._node, self._elapsed()):
            await context.abort(grpc.StatusCode.UNAVAILABLE, f"node 0.0.{self._node} is out, on purpose")

    async def _on_query(self, request: bytes, context: _Context) -> bytes:
        await self._check_reachable(context)
        try:
            query = query_pb2.Query.FromString(request)
        except DecodeError:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "not a Query")
        name = query.WhichOneof("query")
        if name is None:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "the Query is empty")
        kind = QUERIES.get(name)
        if kind is None:
            await context.abort(grpc.StatusCode.UNIMPLEMENTED, f"the localnet does not answer {name}")
        header = getattr(query, name).header
        try:
            response = await self._answer(query, header, kind)
        except Refused as refused:
            response = response_pb2.Response()
            answer = getattr(response, kind.response)
            answer.header.nodeTransactionPrecheckCode = refused.status.value
            answer.header.cost = refused.cost
        getattr(response, kind.response).header.responseType = header.responseType
        return bytes(response.SerializeToString())

    async def _answer(
        self, query: query_pb2.Query, header: query_header_pb2.QueryHeader, kind: QueryKind
    ) -> response_pb2.Response:
        response = response_pb2.Response()
        answer = getattr(response, kind.response)
        if self._is_pending_receipt(query):
            response.transactionGetReceipt.receipt.status = ResponseCode.UNKNOWN.value
            return response
        cost = self._network.ledger.fees.query_price() if kind.is_paid else 0
        if header.responseType == query_header_pb2.ResponseType.COST_ANSWER:
            answer.header.cost = cost
            return response
        if header.responseType != query_header_pb2.ResponseType.ANSWER_ONLY:
            raise Refused(ResponseCode.NOT_SUPPORTED)
        # Asked before it is paid for: a query that cannot be answered costs nothing.
        kind.answer(self._network.ledger, query, response)
        if cost:
            await self._charge(header, cost)
            kind.answer(self._network.ledger, query, response)
        answer.header.cost = cost
        return response

    def _is_pending_receipt(self, query: query_pb2.Query) -> bool:
        if not query.HasField("transactionGetReceipt"):
            return False
        try:
            key = any_transaction_key(query.transactionGetReceipt.transactionID)
        except Refused:
            return False
        return self._network.is_pending(key)

    async def _charge(self, header: query_header_pb2.QueryHeader, cost: int) -> None:
        raw = header.payment.SerializeToString()
        amounts = parse_envelope(raw).body.cryptoTransfer.transfers.accountAmounts
        if sum(item.amount for item in amounts if item.accountID.accountNum == self._node) < cost:
            raise Refused(ResponseCode.INSUFFICIENT_TX_FEE, cost=cost)
        entry = await self._network.submit(raw, self._node)
        if entry is not None and entry.record.receipt.status != ResponseCode.SUCCESS:
            raise Refused(ResponseCode(entry.record.receipt.status))


def _precheck_response(status: ResponseCode, cost: int) -> bytes:
    response = transaction_response_pb2.TransactionResponse(
        nodeTransactionPrecheckCode=status.value, cost=cost
    )
    return bytes(response.SerializeToString())
