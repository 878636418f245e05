"""A consensus node that answers what it is told to, one answer after the other."""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import grpc

from ledger.hiero import (
    ResponseCode,
    query_pb2,
    response_pb2,
    transaction_contents_pb2,
    transaction_pb2,
    transaction_response_pb2,
)


class ScriptedNode:
    """Answers submissions and questions for receipts by name of response code, or with a gRPC status.

    The last answer of a script is repeated.
    """

    def __init__(self, prechecks: Iterable[str | grpc.StatusCode], receipts: Iterable[str]) -> None:
        self._prechecks = deque(prechecks)
        self._receipts = deque(receipts)
        self.submitted: list[str] = []
        """The valid start of each transaction that arrived."""
        self.address = ""

    def submit(
        self, transaction: transaction_pb2.Transaction, context: grpc.ServicerContext
    ) -> transaction_response_pb2.TransactionResponse:
        signed = transaction_contents_pb2.SignedTransaction.FromString(transaction.signedTransactionBytes)
        body = transaction_pb2.TransactionBody.FromString(signed.bodyBytes)
        start = body.transactionID.transactionValidStart
        self.submitted.append(f"{start.seconds}.{start.nanos}")
        answer = _next(self._prechecks)
        if isinstance(answer, grpc.StatusCode):
            context.abort(answer, "scripted")
        code = int(ResponseCode[answer])
        return transaction_response_pb2.TransactionResponse(nodeTransactionPrecheckCode=code)

    def receipt(self, query: query_pb2.Query, context: grpc.ServicerContext) -> response_pb2.Response:
        response = response_pb2.Response()
        answer = ResponseCode[_next(self._receipts)]
        if answer == ResponseCode.RECEIPT_NOT_FOUND:
            response.transactionGetReceipt.header.nodeTransactionPrecheckCode = int(answer)
        response.transactionGetReceipt.receipt.status = int(answer)
        return response


def _next(script: deque):
    return script.popleft() if len(script) > 1 else script[0]


@contextmanager
def scripted_node(
    prechecks: Iterable[str | grpc.StatusCode] = ("OK",), receipts: Iterable[str] = ("SUCCESS",)
) -> Iterator[ScriptedNode]:
    """A node that listens on a port of its own."""
    node = ScriptedNode(prechecks, receipts)
    server = grpc.server(ThreadPoolExecutor(4))
    services = {
        "proto.ConsensusService": ("submitMessage", node.submit, transaction_pb2.Transaction),
        "proto.CryptoService": ("getTransactionReceipts", node.receipt, query_pb2.Query),
    }
    for service, (method, behaviour, request) in services.items():
        handler = grpc.unary_unary_rpc_method_handler(
            behaviour, request.FromString, lambda message: message.SerializeToString()
        )
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {method: handler}),))
    node.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    try:
        yield node
    finally:
        server.stop(None).wait(5)
