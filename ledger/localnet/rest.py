"""The mirror node's REST face: topics, messages, transactions, accounts, balances, the network; read only."""

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from http import HTTPStatus
from typing import TypeVar

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ledger.hiero import ResponseCode
from ledger.localnet import rest_json
from ledger.localnet.errors import LocalnetError
from ledger.localnet.network import LocalNetwork
from ledger.localnet.rest_json import Json
from ledger.localnet.rest_query import (
    BadParameter,
    Query,
    parse_entity,
    parse_integer,
    parse_query,
    parse_timestamp,
    select,
)
from ledger.localnet.state import NODES, OPERATOR, Entry, Ledger, Topic
from ledger.localnet.transactions import KINDS

API = "/api/v1"
_TRANSACTION_ID = re.compile(r"0\.0\.([0-9]{1,19})-([0-9]{1,19})-([0-9]{1,9})", re.ASCII)
T = TypeVar("T")
_HEADERS = {"Access-Control-Allow-Origin": "*"}


class NotFound(Exception):
    """Nothing of that name; status 404."""


class MirrorRest:
    """The endpoints over one network."""

    def __init__(self, network: LocalNetwork, node_ports: Mapping[int, tuple[int, ...]]) -> None:
        self._network = network
        self._node_ports = node_ports

    def app(self) -> Starlette:
        """The ASGI application."""
        endpoints: dict[str, Callable[[Request], Json]] = {
            "/topics/{topic}": self._topic,
            "/topics/{topic}/messages": self._messages,
            "/topics/{topic}/messages/{sequence}": self._message,
            "/transactions": self._transactions,
            "/transactions/{id}": self._transaction,
            "/accounts/{account}": self._account,
            "/accounts/{account}/allowances/crypto": self._allowances,
            "/balances": self._balances,
            "/schedules": self._schedules,
            "/schedules/{schedule}": self._schedule,
            "/network/nodes": self._nodes,
            "/network/exchangerate": self._exchange_rate,
        }
        return Starlette(
            routes=[Route(API + path, _endpoint(answer)) for path, answer in endpoints.items()],
            exception_handlers={
                BadParameter: _on_bad,
                NotFound: _on_not_found,
                LocalnetError: _on_stopped,
                HTTPException: _on_http,
            },
        )

    @property
    def _ledger(self) -> Ledger:
        return self._network.mirror

    def _topic(self, request: Request) -> Json:
        _query(request, frozenset(), "asc")
        return rest_json.topic(self._named_topic(request))

    def _messages(self, request: Request) -> Json:
        query = _query(request, frozenset({"sequencenumber", "timestamp", "encoding"}), "asc")
        if any(value != "base64" for value in query.values("encoding")):
            raise BadParameter("encoding")
        topic = self._named_topic(request)
        sequences = query.window("sequencenumber", parse_integer)
        page = select(
            self._ledger.messages[topic.num],
            lambda message: message.time,
            query.window("timestamp", parse_timestamp),
            query,
            lambda message: message.sequence in sequences,
        )
        last = rest_json.timestamp(page[-1].time) if page else ""
        return {
            "links": {"next": query.next_link("timestamp", last, len(page))},
            "messages": [rest_json.message(topic.num, message) for message in page],
        }

    def _message(self, request: Request) -> Json:
        _query(request, frozenset(), "asc")
        topic = self._named_topic(request)
        sequence = _path(request, "sequence", parse_integer)
        messages = self._ledger.messages[topic.num]
        if not 1 <= sequence <= len(messages):
            raise NotFound
        return rest_json.message(topic.num, messages[sequence - 1])

    def _transactions(self, request: Request) -> Json:
        known = frozenset({"account.id", "timestamp", "transactiontype", "type", "result"})
        query = _query(request, known, "desc")
        if not any(query.values("account.id")):
            return self._transaction_page(query, self._ledger.entries)
        accounts = query.window("account.id", parse_entity)
        if accounts.low != accounts.high:  # one account, as the index has them
            raise BadParameter("account.id")
        entries = self._ledger.by_account.get(accounts.low, [])
        return self._transaction_page(query, entries, accounts.low)

    def _transaction(self, request: Request) -> Json:
        query = _query(request, frozenset({"nonce", "scheduled"}), "asc")
        match = _TRANSACTION_ID.fullmatch(request.path_params["id"])
        if match is None:
            raise BadParameter("transactionId")
        start = int(match[1]), int(match[2]), int(match[3])
        scheduled = _last(query, "scheduled", _parse_boolean)
        found = [
            self._ledger.by_id[*start, is_scheduled]
            for is_scheduled in (False, True)
            if (*start, is_scheduled) in self._ledger.by_id and scheduled in (None, is_scheduled)
        ]
        nonce = _last(query, "nonce", parse_integer)
        # Every transaction here has nonce 0; asking for another finds nothing.
        if not found or nonce:
            raise NotFound
        return {"transactions": [rest_json.transaction(entry) for entry in found]}

    def _account(self, request: Request) -> Json:
        query = _query(request, frozenset({"timestamp", "transactiontype", "transactions"}), "desc")
        account = self._ledger.accounts.get(_path(request, "account", parse_entity))
        if account is None:
            raise NotFound
        page: Json = {"transactions": [], "links": {"next": None}}
        if "false" not in query.values("transactions"):
            page = self._transaction_page(query, self._ledger.by_account.get(account.num, []))
        return rest_json.account(self._ledger, account) | page

    def _balances(self, request: Request) -> Json:
        query = _query(request, frozenset({"account.id"}), "desc")
        accounts = sorted(self._ledger.accounts.values(), key=lambda account: account.num)
        window = query.window("account.id", parse_entity)
        page = select(accounts, lambda account: account.num, window, query, lambda _: True)
        last = f"0.0.{page[-1].num}" if page else ""
        return {
            "balances": [rest_json.balance(account) for account in page],
            "links": {"next": query.next_link("account.id", last, len(page))},
            "timestamp": rest_json.timestamp(self._ledger.time),
        }

    def _allowances(self, request: Request) -> Json:
        query = _query(request, frozenset({"spender.id"}), "asc")
        owner = _path(request, "account", parse_entity)
        given = sorted(
            (spender, allowance)
            for (giver, spender), allowance in self._ledger.allowances.items()
            if giver == owner
        )
        window = query.window("spender.id", parse_entity)
        page = select(given, lambda item: item[0], window, query, lambda _: True)
        last = f"0.0.{page[-1][0]}" if page else ""
        return {
            "allowances": [rest_json.allowance(owner, *item) for item in page],
            "links": {"next": query.next_link("spender.id", last, len(page))},
        }

    def _schedules(self, request: Request) -> Json:
        query = _query(request, frozenset({"account.id", "schedule.id"}), "asc")
        schedules = tuple(self._ledger.schedules.values())
        creators = query.window("account.id", parse_entity)
        page = select(
            schedules,
            lambda schedule: schedule.num,
            query.window("schedule.id", parse_entity),
            query,
            lambda schedule: schedule.creator in creators,
        )
        last = f"0.0.{page[-1].num}" if page else ""
        return {
            "links": {"next": query.next_link("schedule.id", last, len(page))},
            "schedules": [rest_json.schedule(schedule) for schedule in page],
        }

    def _schedule(self, request: Request) -> Json:
        _query(request, frozenset(), "asc")
        schedule = self._ledger.schedules.get(_path(request, "schedule", parse_entity))
        if schedule is None:
            raise NotFound
        return rest_json.schedule(schedule)

    def _nodes(self, request: Request) -> Json:
        query = _query(request, frozenset({"file.id", "node.id"}), "asc")
        wanted = query.window("node.id", parse_integer)
        created = self._ledger.accounts[OPERATOR].created
        nodes = [
            rest_json.node(created, num, ports)
            for num, ports in self._node_ports.items()
            if num - NODES[0] in wanted
        ]
        return {"links": {"next": None}, "nodes": nodes}

    def _exchange_rate(self, request: Request) -> Json:
        _query(request, frozenset({"timestamp"}), "asc")
        return rest_json.exchange_rate(self._ledger)

    def _named_topic(self, request: Request) -> Topic:
        topic = self._ledger.topics.get(_path(request, "topic", parse_entity))
        if topic is None:
            raise NotFound
        return topic

    def _transaction_page(self, query: Query, entries: Sequence[Entry], account: int | None = None) -> Json:
        window = query.window("timestamp", parse_timestamp)
        page = select(entries, lambda entry: entry.time, window, query, _wanted_transactions(query, account))
        last = rest_json.timestamp(page[-1].time) if page else ""
        return {
            "links": {"next": query.next_link("timestamp", last, len(page))},
            "transactions": [rest_json.transaction(entry) for entry in page],
        }


def _wanted_transactions(query: Query, account: int | None) -> Callable[[Entry], bool]:
    """Whether an entry passes the filters on type, result, and what the account, or any, gave or got.

    Raises BadParameter.
    """
    types = {value.upper() for value in query.values("transactiontype")}
    results = set(query.values("result"))
    if results - {"success", "fail"}:
        raise BadParameter("result")
    directions = {value.lower() for value in query.values("type")}
    if directions - {"credit", "debit"}:
        raise BadParameter("type")

    def is_wanted(entry: Entry) -> bool:
        if types and KINDS[entry.kind].name not in types:
            return False
        outcome = "success" if entry.record.receipt.status == ResponseCode.SUCCESS else "fail"
        if results and outcome not in results:
            return False
        shown = {
            "debit" if item.amount < 0 else "credit"
            for item in entry.record.transferList.accountAmounts
            if account in (None, item.accountID.accountNum)
        }
        # Mirrors answer who asks for both at once with nothing.
        return not directions or (len(directions) == 1 and directions <= shown)

    return is_wanted


def _last(query: Query, name: str, parse: Callable[[str], T]) -> T | None:
    """The last value of a parameter, which is the one that counts; None without any. Raises BadParameter."""
    values = [value.removeprefix("eq:") for value in query.values(name)]
    try:
        return [parse(value) for value in values][-1] if values else None
    except ValueError:
        raise BadParameter(name) from None


def _parse_boolean(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError(text)
    return text.lower() == "true"


def _query(request: Request, known: frozenset[str], order: str) -> Query:
    return parse_query(request.url.path, request.query_params.multi_items(), known, order)


def _path(request: Request, name: str, parse: Callable[[str], int]) -> int:
    try:
        return parse(request.path_params[name])
    except ValueError:
        raise BadParameter(name) from None


def _endpoint(answer: Callable[[Request], Json]) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        return JSONResponse(answer(request), headers=_HEADERS)

    return endpoint


def _failure(status: int, message: str) -> Response:
    return JSONResponse({"_status": {"messages": [{"message": message}]}}, status, headers=_HEADERS)


async def _on_bad(_: Request, fault: Exception) -> Response:
    return _failure(HTTPStatus.BAD_REQUEST, str(fault))


async def _on_not_found(_: Request, __: Exception) -> Response:
    return _failure(HTTPStatus.NOT_FOUND, "Not found")


async def _on_stopped(_: Request, fault: Exception) -> Response:
    return _failure(HTTPStatus.SERVICE_UNAVAILABLE, str(fault))


async def _on_http(_: Request, fault: Exception) -> Response:
    status = fault.status_code if isinstance(fault, HTTPException) else HTTPStatus.NOT_FOUND
    return _failure(status, HTTPStatus(status).phrase.capitalize())
