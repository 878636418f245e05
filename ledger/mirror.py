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
)
from ledger.topic import LedgerError
from protocol.ids import AccountId, TopicId, is_entity

PAGE_ENTRIES = 100
"""Entries asked for at a time; mirrors serve no more."""
MAX_PAGE = 8 * 1024 * 1024
"""Bytes of the largest page that is read."""
MAX_TRANSACTIONS = 10_000
"""The most transactions one call returns."""

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
        except httpx.InvalidURL as error:
            raise LedgerError(f"{url!r} is no URL of a mirror ({error}); check [ledger] mirror") from error
        if parsed.scheme not in ("http", "https") or not parsed.host or (parsed.port or 0) > 65_535:
            raise LedgerError(f"{url!r} is no URL of a mirror; [ledger] mirror wants http(s)://host:port")
        self._http = httpx.AsyncClient(
            base_url=self.url,
            timeout=timeout,
            transport=transport,
            headers={"accept": "application/json"},
            trust_env=False,
        )

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
        page = await self._page(f"/api/v1/accounts/{_checked(account)}", f"account {account}")
        return self._typed(AccountEntry, page)

    async def transactions(self, account: AccountId, limit: int = MAX_TRANSACTIONS) -> tuple[RawEntry, ...]:
        """The transactions that moved an account's money, oldest first, as the mirror returned them.

        Raises LedgerError, also when there are more than `limit`: a part would look like the whole.
        """
        path = f"/api/v1/transactions?account.id={_checked(account)}&limit={PAGE_ENTRIES}&order=asc"
        found: list[RawEntry] = []
        async for entry in self._entries(path, "transactions", f"account {account}"):
            if len(found) == limit:
                raise LedgerError(f"account {account} has more than {limit} transactions; raise the limit")
            self._typed(TransactionEntry, entry)
            found.append(entry)
        return tuple(found)

    async def transaction(self, transaction_id: str) -> tuple[RawEntry, ...]:
        """All that happened under one transaction id, `0.0.payer-seconds-nanos`, as the mirror returned it.

        Empty when the mirror knows none (yet). Raises LedgerError.
        """
        payer, *start = transaction_id.split("-")
        if (
            not is_entity(payer)
            or len(start) != 2
            or not all(part.isascii() and part.isdigit() for part in start)
        ):
            raise LedgerError(f"{transaction_id!r} is no transaction id; it reads 0.0.payer-seconds-nanos")
        page = await self._page(f"/api/v1/transactions/{transaction_id}", None)
        entries = self._list(page, "transactions") if page else []
        for entry in entries:
            self._typed(TransactionEntry, entry)
        return tuple(entries)

    async def schedule(self, schedule: ScheduleId) -> ScheduleEntry | None:
        """A schedule, also one that is over; None when the mirror knows none (yet). Raises LedgerError."""
        page = await self._page(f"/api/v1/schedules/{_checked(schedule)}", None)
        return self._typed(ScheduleEntry, page) if page else None

    async def nodes(self) -> tuple[NodeEntry, ...]:
        """The consensus nodes of the network. Raises LedgerError."""
        path = f"/api/v1/network/nodes?limit={PAGE_ENTRIES}&order=asc"
        return tuple(
            [self._typed(NodeEntry, entry) async for entry in self._entries(path, "nodes", "the network")]
        )

    async def _entries(self, path: str, name: str, subject: str) -> AsyncIterator[RawEntry]:
        """The entries of a list, page after page, for as long as pages have entries."""
        following: str | None = path
        while following is not None:
            page = await self._page(following, subject)
            entries = self._list(page, name)
            following = self._next(page) if entries else None
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
        """One JSON object, retried with back-off; for a 404 empty without a subject, else LedgerError."""
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
        if status == httpx.codes.NOT_FOUND:
            if subject is None:
                return {}
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
        async with self._http.stream("GET", path) as response:
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


def _checked(entity: str) -> str:
    if not is_entity(entity):
        raise LedgerError(f"{entity!r} is no Hedera id; it reads 0.0.1234")
    return entity
