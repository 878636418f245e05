import json
from collections.abc import Callable
from typing import Any

import anyio
import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.lookup import LAG, LONGEST_SCHEDULE, LONGEST_WAY, PAUSES, FileTransfers, MirrorTransfers
from ledger.mirror import MAX_GAPS, MAX_TRANSACTIONS, PAGE_ENTRIES, Mirror
from ledger.topic import LedgerError
from protocol.ids import SECOND, AccountId, Tinybar
from protocol.transfers import Lookup, Named, Outgoing, TransactionId, Transfer
from tests.ledger.shown import PAYEE, PAYER, TREASURY, Entry, Shown, at, entry, name_of, paid, stamp

BACKENDS = ("asyncio", "trio")
DAY = 24 * 3600
URL = "http://127.0.0.1:1"


class Reader:
    """Lookups on a made-up mirror, in no time: it remembers how long it would have waited."""

    def __init__(self, answer: Callable[[httpx.Request], httpx.Response], backend: str = "asyncio") -> None:
        self.answer, self.backend = answer, backend
        self.waited: list[float] = []

    def find(self, *lookups: Lookup) -> list[tuple[Transfer, ...]]:
        async def main() -> list[tuple[Transfer, ...]]:
            transport = httpx.MockTransport(self.answer)
            async with Mirror(URL, attempts=1, transport=transport) as mirror:
                transfers = MirrorTransfers(mirror, self.sleep)
                return [await transfers.find(lookup) for lookup in lookups]

        return anyio.run(main, backend=self.backend)

    async def sleep(self, seconds: float) -> None:
        self.waited.append(seconds)


def plain(start: int) -> Named:
    return Named(TransactionId(name_of(start)))


def scheduled(start: int) -> Named:
    return Named(TransactionId(name_of(start) + "?scheduled"))


def outgoing(since: int, until: int, account: str = TREASURY) -> Outgoing:
    return Outgoing(AccountId(account), at(since), at(until))


LATER = entry(10**7, 10**7)
"""A transaction of others, after which nothing of these tests can come."""


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_transaction_is_found_with_all_that_it_says(backend):
    reader = Reader(Shown([paid(1, 2, memo="Zürich".encode())]), backend)
    assert reader.find(plain(1)) == [
        (
            Transfer(
                id=TransactionId(f"{PAYER}-1800000001-000000001"),
                name="CRYPTOTRANSFER",
                result="SUCCESS",
                time=at(2),
                memo="Zürich",
                fee=Tinybar(100),
                moves=(
                    (AccountId("0.0.1002"), -110),
                    (AccountId("0.0.1003"), 10),
                    (AccountId("0.0.802"), 100),
                ),
            ),
        )
    ]
    assert reader.waited == []


def test_lines_of_one_account_are_one_move_and_none_moves_nothing():
    lines = [
        {"account": "0.0.9", "amount": 5},
        {"account": "0.0.10", "amount": -5},
        {"account": "0.0.9", "amount": 2},
        {"account": "0.0.10", "amount": 5},
    ]
    ((found,),) = Reader(Shown([entry(1, 2, transfers=lines)])).find(plain(1))
    assert found.moves == (("0.0.9", 7),)


def test_the_scheduled_transaction_and_the_one_that_scheduled_it_are_two():
    created = entry(1, 2, name="SCHEDULECREATE")
    executed = paid(1, 50, scheduled=True, memo=b"7")
    reader = Reader(Shown([created, executed]))
    (first,), (second,) = reader.find(plain(1), scheduled(1))
    assert (first.name, first.time, first.id) == ("SCHEDULECREATE", at(2), name_of(1))
    assert (second.memo, second.time, second.id) == ("7", at(50), name_of(1) + "?scheduled")


def test_what_it_calls_up_does_not_have_its_name():
    parent, child = entry(1, 2, name="CONTRACTCALL"), paid(1, 3, nonce=1)
    reader = Reader(Shown([parent, child, LATER]))
    (named,), (out,) = reader.find(plain(1), outgoing(0, 10))
    assert named.name == "CONTRACTCALL"
    assert out.id == name_of(1) + "/1"
    assert FileTransfers([parent, child]).found(plain(1)) == (named,)


def test_a_duplicate_is_not_the_transaction():
    entries = [entry(1, 5), entry(1, 2, result="DUPLICATE_TRANSACTION"), LATER]
    ((found,),) = Reader(Shown(entries)).find(plain(1))
    assert (found.time, found.result) == (at(5), "SUCCESS")
    assert Reader(Shown(entries[1:])).find(plain(1)) == [()]


def test_a_failure_under_the_same_name_does_not_hide_the_success():
    entries = [entry(1, 2, result="INVALID_PAYER_SIGNATURE"), entry(1, 3, result="INVALID_NODE_ACCOUNT")]
    ((found,),) = Reader(Shown(entries)).find(plain(1))
    assert (found.result, found.succeeded) == ("INVALID_PAYER_SIGNATURE", False)
    ((found,),) = Reader(Shown([*entries, entry(1, 4)])).find(plain(1))
    assert (found.time, found.succeeded) == (at(4), True)


def test_two_successes_under_one_name_are_refused():
    entries = [entry(1, 2), entry(1, 3)]
    for find in (Reader(Shown(entries)).find, FileTransfers(entries).found):
        with pytest.raises(LedgerError, match=r"succeed twice, .*; use another mirror"):
            find(plain(1))


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_machine_that_is_behind_is_asked_again(backend):
    shown = Shown([entry(0, 0), paid(1, 2)])
    shown.behind, shown.few = 4, 1
    reader = Reader(shown, backend)
    ((found,),) = reader.find(plain(1))
    assert found.time == at(2)
    assert reader.waited == list(PAUSES[:2])


def test_what_stays_unknown_is_waited_for_only_so_long():
    reader = Reader(Shown([entry(0, 0)]))
    assert reader.find(plain(1), scheduled(1)) == [(), ()]
    assert reader.waited == [*PAUSES, *PAUSES]


def test_what_can_no_longer_come_is_not_waited_for():
    way, schedule = (LONGEST_WAY // SECOND, LONGEST_SCHEDULE // SECOND)
    late = Shown([entry(0, 2 + way)])
    reader = Reader(late)
    assert reader.find(plain(1), plain(1)) == [(), ()]
    assert reader.waited == []
    assert len([url for url in late.asked if url.path.endswith("/transactions")]) == 1, "time only moves on"
    assert reader.find(scheduled(1)) == [()]
    assert reader.waited == list(PAUSES)
    reader = Reader(Shown([entry(0, 2 + way + schedule)]))
    assert reader.find(scheduled(1)) == [()]
    assert reader.waited == []


@pytest.mark.parametrize(
    "name",
    [
        "",
        "?scheduled",
        "0.0.7",
        "0.0.7-1-1",
        "0.0.7-1800000000-000000001/1",
        "0.0.7-1800000000-000000001?scheduled?scheduled",
        "0.0.7-01-000000001",
        "0.0.7-9223372036-854775808",
        "0.0.7-99999999999999999999-000000001",
        "0.0.7-1800000000-٠٠٠٠٠٠٠٠١",
        "0.0.7-1800000000-000000001\n",
        "../../x-1-000000001",
    ],
)
def test_a_name_that_is_none_is_found_nowhere_and_never_asked_for(name):
    reader = Reader(pytest.fail)
    assert reader.find(Named(TransactionId(name))) == [()]
    assert FileTransfers([paid(1, 2)]).found(Named(TransactionId(name))) == ()


def test_a_name_that_the_mirror_cannot_read_is_not_found():
    """Else one record that names such a transaction would stop everybody who reads it."""

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/transactions"):
            return httpx.Response(200, json={"transactions": [LATER]})
        return httpx.Response(400, json={"_status": {"messages": [{"message": "Invalid parameter"}]}})

    reader = Reader(answer)
    assert reader.find(Named(TransactionId(f"0.0.{2**60}-1800000000-000000001"))) == [()]


@pytest.mark.parametrize("backend", BACKENDS)
def test_all_that_an_account_paid_in_a_time_both_ends_included(backend):
    entries = [paid(n, n) for n in range(1, 6)]
    entries[2] |= {"result": "INVALID_SIGNATURE"}
    received = entry(9, 3, {TREASURY: 10, PAYER: -110, "0.0.802": 100})
    received["consensus_timestamp"] = stamp(at(3, 7))
    ((*found,),) = Reader(Shown([*entries, received, LATER]), backend).find(outgoing(2, 4))
    assert [(transfer.time, transfer.succeeded) for transfer in found] == [
        (at(2), True),
        (at(3), False),
        (at(4), True),
    ]


def test_what_was_not_asked_for_but_is_no_payment_is_left_out():
    """A token may have been debited, or the mirror may not know the filter."""
    received = entry(1, 2, {TREASURY: 10, PAYER: -10})

    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={"transactions": [received], "links": {"next": None}})

    assert Reader(answer).find(outgoing(0, 2)) == [()]


def test_all_pages_are_read():
    entries = [paid(n, n) for n in range(2 * PAGE_ENTRIES + 1)]
    shown = Shown([*entries, LATER])
    (found,) = Reader(shown).find(outgoing(0, 10**6))
    assert [transfer.time for transfer in found] == [at(n) for n in range(2 * PAGE_ENTRIES + 1)]
    assert len(shown.asked) == 4


def test_quiet_months_do_not_end_the_list():
    """Public mirrors show sixty days a page, and link on from one that is empty."""
    entries = [paid(1, 1), paid(2, 400 * DAY)]
    shown = Shown([*entries, entry(3, 500 * DAY)], window=60 * DAY * SECOND)
    (found,) = Reader(shown).find(outgoing(0, 500 * DAY))
    assert [transfer.time for transfer in found] == [at(1), at(400 * DAY)]


def test_nothing_is_asked_of_a_time_that_is_none():
    assert Reader(pytest.fail).find(outgoing(5, 4)) == [()]


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_part_of_what_was_paid_is_not_taken_for_the_whole(backend):
    shown = Shown([paid(1, 1), paid(2, 5)])
    shown.behind, shown.few = 3, 1
    reader = Reader(shown, backend)
    ((*found,),) = reader.find(outgoing(0, 5))
    assert [transfer.time for transfer in found] == [at(1), at(5)]
    assert reader.waited == list(PAUSES), "nothing later says that all machines have it"
    shown = Shown([paid(1, 1), paid(2, 5), entry(3, 5 + LAG // SECOND)])
    shown.behind, shown.few = 1, 2
    reader = Reader(shown, backend)
    assert reader.find(outgoing(0, 5)) == [tuple(found)]
    assert reader.waited == list(PAUSES[:1])
    reader = Reader(Shown([paid(1, 1)]), backend)
    with pytest.raises(LedgerError, match="is behind: it shows nothing after") as caught:
        reader.find(outgoing(0, 5))
    assert reader.waited == list(PAUSES)
    assert "\n" not in str(caught.value)


def listing(*pages: list[Entry], following: str | None = None) -> Callable[[httpx.Request], httpx.Response]:
    """A mirror that is current, and lists these pages one after the other."""
    left = list(pages)

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.params.get("order") == "desc":
            return httpx.Response(200, json={"transactions": [LATER]})
        page = left.pop(0) if len(left) > 1 else left[0]
        return httpx.Response(200, json={"transactions": page, "links": {"next": following}})

    return answer


LINK = f"/api/v1/transactions?account.id={TREASURY}&limit=100&order=asc"


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (listing([paid(1, 2), paid(2, 1)]), "out of order"),
        (listing([paid(1, 2), paid(1, 2)]), "out of order"),
        (listing([paid(1, 101)]), "others than it was asked for"),
        (listing([paid(1, -1)]), "others than it was asked for"),
        (listing([paid(1, 1)], following=LINK), "out of order"),
        (listing([], following=LINK), "one empty page after another"),
        (listing([paid(1, 1)], following="https://elsewhere/"), "outside its interface"),
        (listing([paid(1, 1, charged_tx_fee=1.5)]), "malformed transaction"),
        (listing([paid(1, 1, charged_tx_fee=-1)]), "malformed transaction"),
        (listing([paid(1, 1, memo_base64="*")]), "malformed transaction"),
        (listing([paid(1, 1, memo_base64="é")]), "malformed transaction"),
        (listing([paid(1, 1, transaction_id="0.0.7-1-1")]), "malformed transaction"),
        (
            listing([paid(1, 1, transaction_id="0.0.7-1800000000-000000001?scheduled")]),
            "malformed transaction",
        ),
        (listing([paid(1, 1, consensus_timestamp="1800000001.5")]), "malformed transaction"),
        (listing([paid(1, 1, consensus_timestamp=1800000001)]), "malformed transaction"),
        (listing([paid(1, 1, transfers=[{"account": TREASURY, "amount": 2**63}])]), "malformed transaction"),
        (listing([paid(1, 1, transfers=[{"account": "x", "amount": 1}])]), "malformed transaction"),
        (listing([paid(1, 1, scheduled="true")]), "malformed transaction"),
        (listing([paid(1, 1, nonce=True)]), "malformed transaction"),
        (listing([paid(1, 1, result="SUCCESS\nall is well")]), "malformed transaction"),
    ],
)
def test_a_mirror_that_lies_is_refused_in_one_line(answer, expected):
    with pytest.raises(LedgerError, match=expected) as caught:
        Reader(answer).find(outgoing(0, 100))
    assert "\n" not in str(caught.value)
    assert "; use another mirror" in str(caught.value)


def test_empty_pages_are_passed_over_up_to_a_bound():
    asked = []

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.params.get("order") == "desc":
            return httpx.Response(200, json={"transactions": [LATER]})
        asked.append(request)
        return httpx.Response(200, json={"transactions": [], "links": {"next": LINK}})

    with pytest.raises(LedgerError, match="empty page"):
        Reader(answer).find(outgoing(0, 100))
    assert len(asked) == MAX_GAPS + 1


def test_more_than_can_be_read_is_an_error_and_not_a_part():
    served = iter(range(10**6))

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.params.get("order") == "desc":
            return httpx.Response(200, json={"transactions": [LATER]})
        page = [paid(n, n) for n, _ in zip(served, range(PAGE_ENTRIES), strict=False)]
        return httpx.Response(200, json={"transactions": page, "links": {"next": LINK}})

    with pytest.raises(LedgerError, match=f"more than {MAX_TRANSACTIONS} transactions"):
        Reader(answer).find(outgoing(0, 10**6))


def test_bytes_of_a_memo_that_are_no_text_are_replaced():
    transfers = FileTransfers([entry(1, 1, memo=b"a\xff\xe2\x82b\0"), entry(2, 2, memo_base64=None)])
    assert [transfers.found(plain(n))[0].memo for n in (1, 2)] == ["a\ufffd\ufffdb\0", ""]


def test_a_saved_history_says_what_the_mirror_said():
    entries = [
        paid(1, 1),
        paid(2, 5, scheduled=True, result="INSUFFICIENT_PAYER_BALANCE"),
        entry(3, 6, {TREASURY: 5, PAYEE: -5}),
        paid(4, 9, nonce=2),
    ]
    lookups: list[Lookup] = [plain(n) for n in range(5)]
    lookups += [scheduled(n) for n in range(5)]
    lookups += [outgoing(since, until) for since in range(10) for until in range(10)]
    lookups += [outgoing(0, 9, PAYEE), outgoing(0, 9, "0.0.55")]
    transfers = FileTransfers([*entries[::-1], *entries])
    assert Reader(Shown([*entries, LATER])).find(*lookups) == [transfers.found(lookup) for lookup in lookups]
    assert anyio.run(transfers.find, plain(1)) == transfers.found(plain(1))


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        ([paid(1, 1), paid(1, 1, amount=11)], "two transactions at 1800000001.000000000; save it again"),
        ([{}], "malformed transaction"),
        ([paid(1, 1, nonce=-1)], "malformed transaction"),
    ],
)
def test_a_saved_history_that_is_none_is_refused(entries, expected):
    with pytest.raises(LedgerError, match=expected) as caught:
        FileTransfers(entries)
    assert "\n" not in str(caught.value)


junk = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.binary(max_size=4)
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
fields = st.sampled_from(sorted(paid(1, 1)))


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(fields, junk), min_size=1, max_size=3))
def test_whatever_stands_in_an_entry_it_is_read_or_refused_in_one_line(changes):
    changed: dict[str, Any] = paid(1, 1) | dict(changes)
    try:
        transfers = FileTransfers([changed])
    except LedgerError as error:
        assert "\n" not in str(error)  # noqa: PT017 (it may also be read)
        return
    assert len(transfers.found(outgoing(0, 1))) <= 1


moves = st.dictionaries(
    st.integers(1, 2**62).map(lambda num: f"0.0.{num}"), st.integers(-(2**63), 2**63 - 1), max_size=5
)


@settings(max_examples=200, deadline=None)
@given(moves, st.binary(max_size=100), st.integers(0, 10**6), st.booleans())
def test_what_the_mirror_shows_is_what_the_fold_is_told(moves, memo, time, is_scheduled):
    transfers = FileTransfers([entry(1, time, moves, memo=memo, scheduled=is_scheduled)])
    (found,) = transfers.found(scheduled(1) if is_scheduled else plain(1))
    assert transfers.found(plain(1) if is_scheduled else scheduled(1)) == ()
    assert dict(found.moves) == {account: amount for account, amount in moves.items() if amount}
    assert list(found.moves) == sorted(found.moves)
    assert found.memo == memo.decode("utf-8", "replace")
    for account, amount in moves.items():
        paid_out = transfers.found(Outgoing(AccountId(account), found.time, found.time))
        assert paid_out == ((found,) if amount < 0 else ())


pages = st.fixed_dictionaries(
    {"transactions": st.lists(st.dictionaries(fields, junk) | junk, max_size=3) | junk}
)
answers = st.one_of(
    junk,
    pages,
    st.lists(st.dictionaries(fields, junk), max_size=2).map(
        lambda changes: {"transactions": [paid(1, n + 1) | change for n, change in enumerate(changes)]}
    ),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(answers, min_size=1, max_size=4), st.sampled_from([200, 200, 200, 400, 404, 500, 302]))
def test_whatever_a_mirror_answers_it_is_read_or_refused_in_one_line(contents, status):
    left = iter(contents)

    def answer(_: httpx.Request) -> httpx.Response:
        content = next(left, contents[-1])
        return httpx.Response(status, text=json.dumps(content, default=str))

    for lookup in (plain(1), scheduled(1), outgoing(0, 10)):
        try:
            (found,) = Reader(answer).find(lookup)
        except LedgerError as error:
            assert "\n" not in str(error)  # noqa: PT017 (it may also be read)
        else:
            assert all(isinstance(transfer, Transfer) for transfer in found)
