"""A mirror of transactions alone, made up for tests: it answers as the public ones do, or misbehaves as told."""

import base64
import re
from typing import Any

import httpx

from ledger.mirror import Mirror
from ledger.pages import nanoseconds
from protocol.ids import SECOND, Nanoseconds

START = 1_800_000_000
TREASURY, PAYEE, PAYER = "0.0.1002", "0.0.1003", "0.0.7"

Entry = dict[str, Any]


def stamp(time: int) -> str:
    return f"{time // SECOND}.{time % SECOND:09}"


def at(seconds: int, nanos: int = 0) -> Nanoseconds:
    """A consensus time, after the start of these tests."""
    return Nanoseconds((START + seconds) * SECOND + nanos)


def name_of(start: int, payer: str = PAYER) -> str:
    return f"{payer}-{START + start}-000000001"


def entry(start: int, time: int, moves: dict[str, int] | None = None, **fields: Any) -> Entry:
    """A transaction as a mirror shows it; `start` names it, `time` is when consensus had it, in seconds."""
    return {
        "transaction_id": name_of(start),
        "consensus_timestamp": stamp(at(time)),
        "result": "SUCCESS",
        "name": "CRYPTOTRANSFER",
        "memo_base64": base64.b64encode(fields.pop("memo", b"")).decode(),
        "charged_tx_fee": 100,
        "scheduled": False,
        "nonce": 0,
        "node": "0.0.3",
        "transfers": [{"account": who, "amount": amount} for who, amount in (moves or {}).items()],
    } | fields


def paid(start: int, time: int, amount: int = 10, **fields: Any) -> Entry:
    """A payment out of the treasury."""
    return entry(start, time, {TREASURY: -amount - 100, PAYEE: amount, "0.0.802": 100}, **fields)


class Shown:
    """The REST interface over some transactions; `behind` answers show only the first `few` of them."""

    def __init__(self, entries: list[Entry], window: int | None = None) -> None:
        self.entries = sorted(entries, key=lambda entry: entry["consensus_timestamp"])
        self.window = window
        """Nanoseconds that one page may span, as on the public mirrors."""
        self.behind, self.few = 0, 0
        self.asked: list[httpx.URL] = []

    def mirror(self) -> Mirror:
        return Mirror("http://127.0.0.1:1", attempts=1, transport=httpx.MockTransport(self))

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request.url)
        entries = self.entries[: self.few] if self.behind > 0 else self.entries
        self.behind -= 1
        path = request.url.path.removeprefix("/api/v1/transactions")
        return self._one(path[1:], request, entries) if path else self._page(request, entries)

    def _one(self, name: str, request: httpx.Request, entries: list[Entry]) -> httpx.Response:
        scheduled, nonce = request.url.params.get("scheduled"), request.url.params.get("nonce")
        found = [
            entry
            for entry in entries
            if entry["transaction_id"] == name
            and scheduled in (None, str(entry["scheduled"]).lower())
            and nonce in (None, str(entry["nonce"]))
        ]
        return httpx.Response(200 if found else 404, json={"transactions": found})

    def _page(self, request: httpx.Request, entries: list[Entry]) -> httpx.Response:
        params = request.url.params
        limit = int(params["limit"])
        if params["order"] == "desc":
            return httpx.Response(200, json={"transactions": entries[::-1][:limit], "links": {"next": None}})
        low, high = at(-(10**6)), at(10**9)
        for text in params.get_list("timestamp"):
            match = re.fullmatch(r"(gt|gte|lte):([0-9]+\.[0-9]{9})", text)
            assert match is not None, text
            time = nanoseconds(match[2])
            low, high = (low, time) if match[1] == "lte" else (time + (match[1] == "gt"), high)
        end = high if self.window is None else min(high, low + self.window - 1)
        account = params["account.id"]
        found = [
            entry
            for entry in entries
            if low <= nanoseconds(entry["consensus_timestamp"]) <= end
            and any(
                line["account"] == account and (line["amount"] < 0 or params.get("type") != "debit")
                for line in entry["transfers"]
            )
        ]
        page, following = found[:limit], None
        if len(page) == limit:
            following = nanoseconds(page[-1]["consensus_timestamp"])
        elif end < high:
            following = end
        return httpx.Response(
            200,
            json={
                "transactions": page,
                "links": {"next": None if following is None else self._link(request.url, following, high)},
            },
        )

    def _link(self, url: httpx.URL, after: int, high: int) -> str:
        kept = "&".join(f"{k}={v}" for k, v in url.params.multi_items() if k != "timestamp")
        return f"{url.path}?{kept}&timestamp=gt:{stamp(after)}&timestamp=lte:{stamp(high)}"
