"""The mirror node's REST interface: pages of what consensus ordered, read only, trusted for nothing.

Needs neither the Hedera SDK nor torch, so that an auditor can be small.
"""

import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from types import TracebackType
from typing import Any, Self, TypeVar

import anyio
import httpx
from pydantic import BaseModel, ValidationError

from ledger.pages import (
    AccountEntry,
    NodeEntry,
    RawEntry,
    ScheduleEntry,
    ScheduleId,
    TopicEntry,
    TransactionEntry,
    cause_of,
    is_transaction_id,
    nanoseconds,
)
from ledger.topic import LedgerError
from protocol.ids import EPOCH, SECOND, AccountId, Nanoseconds, TopicId, is_entity

PAGE_ENTRIES = 100
"""Entries asked for at a time; mirrors serve no more."""
MAX_PAGE = 8 * 1024 * 1024
"""Bytes of the largest page that is read."""
MAX_TRANSACTIONS = 10_000
"""The most transactions one call returns, unless told otherwise."""
MAX_GAPS = 200
"""Empty pages in a row that are passed over: public mirrors page transactions by 60 days, empty or not."""
LAST = Nanoseconds(2**63 - 1)
"""The latest time that a mirror can be asked for."""

_HEADERS = {"accept": "application/json", "accept-encoding": "gzip, deflate", "user-agent": "roundabout"}
_FIRST_PAUSE = 0.1
_TRICKLE = 3
_Entry = TypeVar("_Entry", bound=BaseModel)


class _Unavailable(Exception):
    """An answer that may be different in a moment."""


class Mirror:
    """A reader of one mirror, open while its context manager is."""

    def __init__(
        self,
        url: str,
        *,
        timeout: float = 10.0,
        attempts: int = 3,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """Reads `http(s)://host:port`; `timeout` in seconds for each request, of which `attempts` are made.

        Raises LedgerError when the URL is none.
        """
        self.url = url.rstrip("/")
        self._attempts = attempts
        self._timeout = timeout
        try:
            parsed = httpx.URL(self.url)
        except (httpx.InvalidURL, UnicodeError) as error:
            raise LedgerError(f"{url!r} is no URL of a mirror ({error}); check [ledger] mirror") from error
        if parsed.scheme not in ("http", "https") or not parsed.host or (parsed.port or 0) > 65_535:
            raise LedgerError(f"{url!r} is no URL of a mirror; [ledger] mirror wants http(s)://host:port")
        # A transport without a client around it: cookies, redirects and proxies take as long as all the rest.
        self._http = httpx.AsyncHTTPTransport(trust_env=False) if transport is None else transport
        self._limits = {"timeout": httpx.Timeout(timeout).as_dict()}

    async def __aenter__(self) -> Self:
        await self._http.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.__aexit__(kind, error, trace)

    async def messages(self, topic: TopicId, after: int = 0) -> AsyncGenerator[RawEntry, None]:
        """The entries of a topic that the mirror has now, from the one after `after` on.

        Nothing is verified: feed them to a `History`. Raises LedgerError.
        """
        path = f"/api/v1/topics/{_checked(topic)}/messages"
        query = f"?limit={PAGE_ENTRIES}&order=asc"
        if after:
            query += f"&sequencenumber=gt:{after}"
        async for entry in self._entries(path + query, "messages", f"topic {topic}"):
            yield entry

    async def topic_info(self, topic: TopicId) -> TopicEntry:
        """Memo and keys of a topic. Raises LedgerError."""
        page = await self._page(f"/api/v1/topics/{_checked(topic)}", f"topic {topic}")
        return self._typed(TopicEntry, page)

    async def account(self, account: AccountId) -> AccountEntry:
        """Balance and key of an account. Raises LedgerError."""
        return self._typed(AccountEntry, await self.account_page(account))

    async def account_page(self, account: AccountId) -> RawEntry:
        """The same as the mirror returned it. Raises LedgerError."""
        # Its transactions would come along, and for a busy account take longer than mirrors wait.
        path = f"/api/v1/accounts/{_checked(account)}?transactions=false"
        page = await self._page(path, f"account {account}")
        self._typed(AccountEntry, page)
        return page

    async def transactions(
        self,
        account: AccountId,
        since: Nanoseconds = EPOCH,
        until: Nanoseconds = LAST,
        *,
        debits: bool = False,
        limit: int = MAX_TRANSACTIONS,
        is_part: bool = False,
    ) -> tuple[RawEntry, ...]:
        """The transactions of an account between two consensus times, both included, as the mirror returned them.

        Oldest first: those that moved its money and those with its transaction ids, or only those in which it
        gave something. Raises LedgerError, also when there are more than `limit`: a part would look like the whole.
        is_part: who asks knows that, and gets the first `limit` of them.
        """
        path = f"/api/v1/transactions?account.id={_checked(account)}&limit={PAGE_ENTRIES}&order=asc"
        path += "&type=debit" if debits else ""
        path += f"&timestamp=gte:{_decimal(since)}" if since > EPOCH else ""
        path += f"&timestamp=lte:{_decimal(until)}" if until < LAST else ""
        found: list[RawEntry] = []
        earliest = since
        async for entry in self._entries(path, "transactions", f"account {account}", MAX_GAPS):
            if len(found) == limit:
                if is_part:
                    break
                raise LedgerError(
                    f"account {account} has more than {limit} transactions in that time: too many to read"
                )
            time = nanoseconds(self._typed(TransactionEntry, entry).consensus_timestamp)
            if not earliest <= time <= until:
                raise LedgerError(
                    f"the mirror at {self.url} shows transactions of {account} out of order, or others than it was "
                    "asked for; use another mirror"
                )
            earliest = Nanoseconds(time + 1)
            found.append(entry)
        return tuple(found)

    async def transaction(self, transaction_id: str, scheduled: bool | None = None) -> tuple[RawEntry, ...]:
        """All that happened under one transaction id, `0.0.payer-seconds-nanos`, as the mirror returned it.

        `scheduled`: only what a schedule made of it, or only what is no schedule's. Empty when the mirror knows
        none (yet). Raises LedgerError.
        """
        if not is_transaction_id(transaction_id):
            raise LedgerError(f"{transaction_id!r} is no transaction id; it reads 0.0.payer-seconds-nanos")
        # Asked in this way, a mirror also looks for what a schedule made weeks after its creation.
        query = "" if scheduled is None else f"?nonce=0&scheduled={str(scheduled).lower()}"
        page = await self._page(f"/api/v1/transactions/{transaction_id}{query}", None)
        entries = self._list(page, "transactions") if page else []
        for entry in entries:
            self._typed(TransactionEntry, entry)
        return tuple(entries)

    async def schedule(self, schedule: ScheduleId) -> ScheduleEntry | None:
        """A schedule, also one that is over; None when the mirror knows none (yet). Raises LedgerError."""
        page = await self._page(f"/api/v1/schedules/{_checked(schedule)}", None)
        return self._typed(ScheduleEntry, page) if page else None

    async def latest(self) -> Nanoseconds:
        """Consensus time of the last transaction that the mirror knows; 0 when it knows none. Raises LedgerError."""
        page = await self._page("/api/v1/transactions?limit=1&order=desc", "the network")
        entries = self._list(page, "transactions")
        if not entries:
            return EPOCH
        return nanoseconds(self._typed(TransactionEntry, entries[0]).consensus_timestamp)

    async def nodes(self) -> tuple[NodeEntry, ...]:
        """The consensus nodes of the network. Raises LedgerError."""
        path = f"/api/v1/network/nodes?limit={PAGE_ENTRIES}&order=asc"
        return tuple(
            [self._typed(NodeEntry, entry) async for entry in self._entries(path, "nodes", "the network")]
        )

    async def _entries(self, path: str, name: str, subject: str, gaps: int = 0) -> AsyncIterator[RawEntry]:
        """The entries of a list, page after page; so many pages in a row may be empty and have a next one."""
        following: str | None = path
        empty = 0
        while following is not None:
            page = await self._page(following, subject)
            entries = self._list(page, name)
            empty = 0 if entries else empty + 1
            following = self._next(page) if entries or gaps else None
            if following is not None and empty > gaps:
                raise LedgerError(
                    f"the mirror at {self.url} links to one empty page after another; use another mirror"
                )
            for entry in entries:
                yield entry

    def _list(self, page: Mapping[str, Any], name: str) -> list[RawEntry]:
        entries = page.get(name)
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise LedgerError(
                f"the mirror at {self.url} answered without a list of {name}; is it a Hedera mirror?"
            )
        return entries

    def _next(self, page: Mapping[str, Any]) -> str | None:
        links = page.get("links")
        following = links.get("next") if isinstance(links, dict) else None
        if following is None:
            return None
        # A link that leaves the interface would make us ask whatever the mirror likes.
        if not isinstance(following, str) or not following.startswith("/api/v1/") or ".." in following:
            raise LedgerError(
                f"the mirror at {self.url} links to a page outside its interface; use another mirror"
            )
        return following

    def _typed(self, model: type[_Entry], entry: RawEntry) -> _Entry:
        try:
            return model.model_validate(entry)
        except ValidationError as error:
            what = model.__name__.removesuffix("Entry").lower()
            raise LedgerError(
                f"the mirror at {self.url} shows a malformed {what} ({cause_of(error)}); use another mirror"
            ) from error

    async def _page(self, path: str, subject: str | None) -> dict[str, Any]:
        """One JSON object, retried with back-off; without a subject, what the mirror does not know is empty."""
        pause = _FIRST_PAUSE
        for left in reversed(range(self._attempts)):
            try:
                status, body = await self._get(path)
                break
            except (httpx.HTTPError, httpx.StreamError, TimeoutError, _Unavailable) as error:
                if not left:
                    cause = str(error) or type(error).__name__
                    raise LedgerError(
                        f"cannot reach the mirror at {self.url}: {cause}; "
                        "is it running? check [ledger] mirror"
                    ) from error
            await anyio.sleep(pause)
            pause *= 2
        # What no mirror can know, an account number of 60 bits for one, is refused with 400.
        if subject is None and status in (httpx.codes.NOT_FOUND, httpx.codes.BAD_REQUEST):
            return {}
        if status == httpx.codes.NOT_FOUND:
            raise LedgerError(
                f"the mirror at {self.url} knows nothing of {subject}; check the id and the network"
            )
        if status != httpx.codes.OK:
            raise LedgerError(f"the mirror at {self.url} answered {status} to {path}; check [ledger] mirror")
        try:
            page = json.loads(body)
        except (ValueError, RecursionError):
            page = None
        if not isinstance(page, dict):
            raise LedgerError(
                f"the mirror at {self.url} answered something that is no JSON object; check [ledger] mirror"
            )
        return page

    async def _get(self, path: str) -> tuple[int, bytes]:
        # The client's own timeout is for each read, and a mirror that trickles would never meet it.
        with anyio.fail_after(_TRICKLE * self._timeout):
            return await self._read(path)

    async def _read(self, path: str) -> tuple[int, bytes]:
        request = httpx.Request("GET", self.url + path, headers=_HEADERS, extensions=self._limits)
        response = await self._http.handle_async_request(request)
        try:
            if response.status_code == httpx.codes.TOO_MANY_REQUESTS or response.is_server_error:
                raise _Unavailable(f"it answered {response.status_code}")
            body = bytearray()
            async for piece in response.aiter_bytes():
                body += piece
                if len(body) > MAX_PAGE:
                    raise LedgerError(
                        f"the mirror at {self.url} sent a page over {MAX_PAGE} bytes; use another mirror"
                    )
            return response.status_code, bytes(body)
        finally:
            await response.aclose()


def _checked(entity: str) -> str:
    if not is_entity(entity):
        raise LedgerError(f"{entity!r} is no Hedera id; it reads 0.0.1234")
    return entity


def _decimal(time: Nanoseconds) -> str:
    return f"{time // SECOND}.{time % SECOND:09}"
