"""The mirror node's gRPC face: follow a topic, and read the address book."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from typing import TypeAlias

import grpc
from google.protobuf.message import DecodeError, Message

from ledger.hiero import (
    basic_types_pb2,
    mirror_consensus_service_pb2,
    mirror_network_service_pb2,
    timestamp_pb2,
)
from ledger.localnet.network import LocalNetwork
from ledger.localnet.rest_json import NODE_CERT_HASH, WARNING
from ledger.localnet.state import NODES, SECOND_NS, entity_num
from ledger.localnet.state import Message as TopicMessage
from ledger.running_hash import RUNNING_HASH_VERSION

MAX_REQUEST_BYTES = 1_024
ADDRESS_BOOKS = (101, 102)
"""The files that hold the address book, 0.0.101 and 0.0.102."""

_Context: TypeAlias = grpc.aio.ServicerContext[bytes, bytes]
_Method: TypeAlias = "grpc.RpcMethodHandler[bytes, bytes]"  # generic in its type stub only


class MirrorService(grpc.GenericRpcHandler):
    """A mirror node of a network."""

    def __init__(self, network: LocalNetwork, node_ports: Mapping[int, tuple[int, ...]]) -> None:
        self._network = network
        self._node_ports = node_ports
        self._methods = {
            "/com.hedera.mirror.api.proto.ConsensusService/subscribeTopic": self._on_subscribe,
            "/com.hedera.mirror.api.proto.NetworkService/getNodes": self._on_get_nodes,
        }

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> "_Method | None":
        """The handler of a method, or None, which gRPC answers with UNIMPLEMENTED."""
        method = self._methods.get(handler_call_details.method)
        return None if method is None else grpc.unary_stream_rpc_method_handler(method)

    async def _on_subscribe(self, request: bytes, context: _Context) -> AsyncIterator[bytes]:
        query = mirror_consensus_service_pb2.ConsensusTopicQuery()
        await _parse(query, request, context)
        asked = query.topicID
        topic = entity_num(asked.shardNum, asked.realmNum, asked.topicNum)
        if topic not in self._network.mirror.topics:
            await context.abort(grpc.StatusCode.NOT_FOUND, "Topic does not exist")
        start = (
            _nanoseconds(query.consensusStartTime) if query.HasField("consensusStartTime") else time.time_ns()
        )
        end = _nanoseconds(query.consensusEndTime) if query.HasField("consensusEndTime") else None
        left = query.limit or None
        async for message in self._follow(asked.topicNum, start, end):
            yield _topic_response(message).SerializeToString()
            left = None if left is None else left - 1
            if left == 0:
                return

    async def _follow(self, topic: int, start: int, end: int | None) -> AsyncIterator[TopicMessage]:
        """The messages of a topic from a time on, those to come included, up to the end if there is one."""
        messages = self._network.mirror.messages[topic]
        position = 0
        while True:
            changed = self._network.changed
            while position < len(messages):
                message = messages[position]
                position += 1
                if end is not None and message.time >= end:
                    return
                if message.time >= start:
                    yield message
            wait_s = None if end is None else (end - time.time_ns()) / SECOND_NS
            if wait_s is not None and wait_s <= 0:
                return
            try:
                await asyncio.wait_for(changed.wait(), wait_s)
            except TimeoutError:
                return

    async def _on_get_nodes(self, request: bytes, context: _Context) -> AsyncIterator[bytes]:
        query = mirror_network_service_pb2.AddressBookQuery()
        await _parse(query, request, context)
        if query.file_id.fileNum not in ADDRESS_BOOKS:
            await context.abort(
                grpc.StatusCode.INVALID_ARGUMENT, "the address books are files 0.0.101 and 0.0.102"
            )
        for node, ports in self._node_ports.items():
            address = basic_types_pb2.NodeAddress(
                nodeId=node - NODES[0], description=WARNING, nodeCertHash=NODE_CERT_HASH.encode()
            )
            address.nodeAccountId.accountNum = node
            for port in ports:
                address.serviceEndpoint.add(ipAddressV4=bytes((127, 0, 0, 1)), port=port)
            yield address.SerializeToString()


async def _parse(query: Message, request: bytes, context: _Context) -> None:
    try:
        query.ParseFromString(request)
    except DecodeError:
        await context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"not a {query.DESCRIPTOR.name}")


def _nanoseconds(timestamp: timestamp_pb2.Timestamp) -> int:
    return int(timestamp.seconds) * SECOND_NS + int(timestamp.nanos)


def _topic_response(message: TopicMessage) -> mirror_consensus_service_pb2.ConsensusTopicResponse:
    seconds, nanos = divmod(message.time, SECOND_NS)
    return mirror_consensus_service_pb2.ConsensusTopicResponse(
        consensusTimestamp=timestamp_pb2.Timestamp(seconds=seconds, nanos=nanos),
        message=message.body,
        runningHash=message.running_hash,
        sequenceNumber=message.sequence,
        runningHashVersion=RUNNING_HASH_VERSION,
        chunkInfo=message.chunk,
    )
