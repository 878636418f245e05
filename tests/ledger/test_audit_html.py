"""The report as a page: it says what the report says, fetches nothing, and believes no string it shows."""

import re
from collections.abc import Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ledger.report_html
import ledger.report_money
from ledger.audit import audit, report
from ledger.charts import credits_chart, money, percent
from ledger.files import write_whole
from ledger.markup import tag, text
from ledger.report_html import page
from ledger.topic import LedgerError
from protocol.ids import SECOND
from protocol.messages import Choice
from protocol.payments import SettledRecord, SettleRecord
from tests.ledger.chains import TOPIC
from tests.ledger.moneyed import MoneyedRun, finished, opened, pay
from tests.ledger.test_audit import ENTRIES, ChainedRun, played
from tests.protocol.world import TREASURY, verdict, vote_record

HOSTILE = "</style><script>alert(1)</script><img src=http://evil.example/x onerror='a'> & \" \u202e\x00\ud800"
EMPTY = {"meta", "br"}


class Reader(HTMLParser):
    """Reads a page as a browser does, and insists that every element is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []

    def handle_starttag(self, name: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((name, dict(attributes)))
        if name not in EMPTY:
            self.open.append(name)

    def handle_startendtag(self, name: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((name, dict(attributes)))

    def handle_endtag(self, name: str) -> None:
        assert self.open.pop() == name

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.words.append(data)


def read(found: Mapping[str, Any], again: str = "roundabout audit") -> Reader:
    written = page(found, again)
    ElementTree.fromstring(written)
    reader = Reader()
    reader.feed(written)
    reader.close()
    assert reader.open == []
    return reader


def said(found: Mapping[str, Any], again: str = "roundabout audit") -> str:
    return " ".join(" ".join(read(found, again).words).split())


def fetches(reader: Reader) -> list[str]:
    """What a browser would run or ask for."""
    wanted = [name for name, _ in reader.tags if name in {"script", "link", "img", "iframe", "object", "use"}]
    for _, attributes in reader.tags:
        wanted += [
            key for key in attributes if key in {"src", "href", "srcset", "data"} or key.startswith("on")
        ]
    return wanted


FUNDED = MoneyedRun(settle_fee=1_000, settle_every=1)
played(FUNDED)
FUNDED.topup(1, 777)
FUNDED.put(SettleRecord(run=FUNDED.now.run, number=1), at=FUNDED.time + SECOND)
FUNDED.put(SettledRecord(run=FUNDED.now.run, number=1, transaction=pay(FUNDED)))
FUNDED.pay("nothing", "of ours", 55)
FOUND = report(finished(FUNDED))


def test_the_page_of_a_run_that_holds() -> None:
    words = said(FOUND, "roundabout audit --topic 0.0.1001")
    assert words.index("\u2713 ok") < words.index("The run") < words.index("Rounds")
    for shown in (FOUND["run"], FOUND["head"], "roundabout audit --topic 0.0.1001", "rounds 5"):
        assert shown in words
    for ending in ("accepted", "rejected", "neutral", "closed", "passed"):
        assert f"{FOUND[ending]} {ending}" in words
    for account, amount in FOUND["credits"].items():
        assert f"{account}: {amount} tinybar" in words
    for entry in FOUND["timeline"]:
        assert f"Round {entry['round']} {entry['ending']}" in words
        assert entry["candidate"] is None or entry["candidate"] in words
        assert f"message {entry['sequence']}, 2027-01-15" in words


def test_every_vote_is_on_the_page_and_late_ones_are_marked() -> None:
    reader = read(FOUND)
    chips = [a["class"] for name, a in reader.tags if name == "li" and a.get("class", "") in
             {f"{c}{late}" for c in Choice for late in ("", " late")}]  # fmt: skip
    votes = [vote for entry in FOUND["timeline"] for vote in entry["votes"]]
    assert chips == [f"{v['choice']}{' late' if v['late'] else ''}" for v in votes]
    dots = [a["class"] for name, a in reader.tags if name == "circle"]
    assert len(dots) == len(votes)
    assert sum("late" in (kind or "") for kind in dots) == 1


def test_the_page_fetches_and_runs_nothing() -> None:
    reader = read(FOUND)
    assert fetches(reader) == []
    written = page(FOUND, "again")
    assert "http" not in written
    assert not re.search(r"url\(|@import", written)


def test_violations_come_first_and_name_their_message() -> None:
    run = ChainedRun()
    sequence = run.put_wrong(run.close(round=9))
    words = said(report(audit(TOPIC, run.entries)))
    assert "1 violation" in words
    assert words.index(f"message {sequence} round 9 is not open") < words.index("The run")
    assert "\u2713 ok" not in words


def test_equivocations_are_shown_with_both_messages() -> None:
    run = ChainedRun()
    proposal = run.proposal()
    votes = run.votes(proposal, *[Choice.APPROVE] * 3)
    run.put(verdict(proposal, votes, "accepted"))
    voter = votes[0].body.voter
    run.put_wrong(vote_record(proposal, run.vote(proposal, voter, Choice.REJECT)))
    words = said(report(audit(TOPIC, run.entries)))
    assert f"messages 2 and 3 two votes of member {voter} in round 1" in words
    assert "1 message without effect" in words


@pytest.mark.parametrize("entries", [[], ENTRIES[:1], ENTRIES[1:], ENTRIES[:2]])
def test_any_report_has_a_page(entries: list[dict[str, Any]]) -> None:
    read(report(audit(TOPIC, entries)))


def test_hostile_strings_are_shown_and_never_obeyed() -> None:
    def poisoned(value: Any, key: str = "") -> Any:
        if isinstance(value, dict):
            return {k: poisoned(v, k) for k, v in value.items()}
        if isinstance(value, list):
            return [poisoned(v, key) for v in value]
        free = isinstance(value, str) and key not in {"time", "began", "choice", "ending", "source"}
        return HOSTILE if free else value

    assert FOUND["money"]["account"]["unclaimed"]

    found = poisoned(FOUND) | {
        "violations": [{"sequence": 1, "reason": HOSTILE}],
        "ignored": [{"sequence": 2, "reason": HOSTILE}],
        "credits": {HOSTILE: 1},
        "money": poisoned(FOUND["money"])
        | {
            "account": FOUND["money"]["account"]
            | {"unclaimed": [{"transaction": HOSTILE, "amount": 5, "memo": HOSTILE}]}
        },
    }
    reader = read(found, HOSTILE)
    assert fetches(reader) == []
    assert "<script>alert(1)</script>" in " ".join(reader.words), "shown as it is"
    page(found, HOSTILE).encode()


@given(st.text(st.characters(codec=None)))
@settings(max_examples=200, deadline=None)
def test_any_string_comes_back_as_text(value: str) -> None:
    element = ElementTree.fromstring(tag("p", value, title=value))
    shown = "".join(c if c.isprintable() or c == "\n" else "\ufffd" for c in value)
    assert (element.text or "") == shown
    text(value).encode()


def test_a_long_run_is_cut_to_its_latest_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger.report_html, "MAX_ROUNDS", 2)
    words = said(FOUND)
    assert "The first 3 rounds are left out" in words
    assert "Round 3 " not in words
    assert "Round 4 closed" in words


def test_a_long_list_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger.report_html, "MAX_LISTED", 2)
    faults = [{"sequence": n, "reason": f"fault {n}"} for n in range(1, 6)]
    words = said(FOUND | {"ok": False, "violations": faults})
    assert "fault 2" in words
    assert "fault 3" not in words
    assert "and 3 more" in words


def test_numbers_as_people_read_them() -> None:
    assert [percent(ppm) for ppm in (8_301, -3_887, 0, 1_000_000)] == [
        "+0.83%",
        "\u22120.39%",
        "0%",
        "+100.00%",
    ]
    assert money(999, 999) == "999 tinybar"
    assert [money(n, 10**9) for n in (0, 55_000_000, 10**9, 1)] == [
        "0 \u210f",
        "0.55 \u210f",
        "10 \u210f",
        "0.00000001 \u210f",
    ]


def test_labels_of_an_axis_fit_beside_it() -> None:
    for top in (1, 999_999, 10**6, 55_000_000, 10**11, 2**53):
        found = {"timeline": [{"round": 1, "credits": {"0.0.1": top}, "votes": []}]}
        labels = re.findall(r'<text [^>]*text-anchor="end">([^<]*)<', credits_chart(found["timeline"], {}))
        assert len(labels) == 3
        assert all(len(label) <= 9 for label in labels)


def test_a_chart_that_begins_late_begins_with_what_was_earned_before() -> None:
    shown = [{"round": 9, "credits": {"0.0.1": 50}, "votes": []}]
    drawing = credits_chart(shown, {"0.0.1": 50, "0.0.2": 100})
    first, second = re.findall(r'points="([^"]*)"', drawing)
    assert [point.split(",")[1] for point in first.split()] == ["111.0", "16.0"]
    assert [point.split(",")[1] for point in second.split()] == ["16.0", "16.0"]


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    write_whole(file, b"one", "the page")
    write_whole(file, b"two", "the page")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"two"]
    with pytest.raises(LedgerError, match=r"cannot write the page to .*; choose another place"):
        write_whole(tmp_path / "no" / "where.html", b"", "the page")
    directory = tmp_path / "directory"
    directory.mkdir()
    with pytest.raises(LedgerError):
        write_whole(directory, b"", "the page")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["directory", "report.html"]


def test_money_is_on_the_page() -> None:
    words = said(FOUND)
    facts = FOUND["money"]
    assert f"The treasury, {facts['treasury']}" in words
    for name in ("pool", "stakes", "paid", "deposits"):
        assert f"{name} {money(facts[name], facts['deposits'])}" in words
    (settlement,) = facts["settlements"]
    for shown in (
        "settled",
        settlement["transaction"],
        *(f"to {account}" for account in settlement["payees"]),
    ):
        assert shown in words
    (unclaimed,) = facts["account"]["unclaimed"]
    assert unclaimed["transaction"] in words
    assert "On a square-root scale" in words
    assert "topup" in words
    assert words.index("The treasury") < words.index("What each participant did")


def test_a_theft_comes_first_on_the_page() -> None:
    run = opened()
    run.time += SECOND
    run.ledger.put(run.time, TREASURY, {"0.0.6666": 700, TREASURY: -700}, "hello")
    words = said(report(finished(run)))
    assert words.index("treasury transaction 0.0.1002-") < words.index("The run")


def test_a_run_without_a_treasury_has_no_money_on_its_page() -> None:
    words = said(FOUND | {"money": FOUND["money"] | {"treasury": None}, "events": []})
    assert "treasury" not in words


def test_a_long_list_of_settlements_shows_the_latest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger.report_money, "MAX_ROWS", 2)
    settlement = FOUND["money"]["settlements"][0]
    many = [settlement | {"number": n, "transaction": f"number {n}"} for n in range(1, 5)]
    words = said(FOUND | {"money": FOUND["money"] | {"settlements": many}})
    assert "The first 2 are left out here" in words
    assert "number 2" not in words
    assert "number 4" in words
