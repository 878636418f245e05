"""Two mirrors side by side: the same, one behind, another history, a chunk that is said to be another's."""

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import anyio
import httpx
import pytest
from click.testing import CliRunner

from ledger.compare import Comparison, compare
from ledger.mirror import Mirror
from ledger.pages import write_history
from node.cli.main import main
from tests.ledger.chains import TOPIC, Chain, Chunk
from tests.ledger.localnet_process import Localnet
from tests.ledger.test_audit import ENTRIES
from tests.ledger.test_audit_localnet import RealRun
from tests.ledger.test_audit_localnet import run as on_a_real_network
from tests.ledger.test_audit_localnet import said as run_audit

Entries = Sequence[dict[str, Any]]


def page_of(entries: Entries, url: str) -> dict[str, Any]:
    """A page of three entries, as a mirror answers."""
    query = parse_qs(urlsplit(url).query)
    after = int(query.get("sequencenumber", ["gt:0"])[0].removeprefix("gt:"))
    shown = entries[after : after + 3]
    path = f"/api/v1/topics/{TOPIC}/messages?sequencenumber=gt:{after + 3}"
    return {"messages": shown, "links": {"next": path if after + 3 < len(entries) else None}}


def compared(mine: Entries, theirs: Entries) -> Comparison:
    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json=page_of(theirs, str(request.url)))

    mirror = Mirror("http://127.0.0.1:1", attempts=1, transport=httpx.MockTransport(answer))
    return anyio.run(compare, mine, mirror, TOPIC)


def chained(*bodies: bytes) -> list[dict[str, Any]]:
    chain = Chain()
    for body in bodies:
        chain.add(body)
    return chain.entries


LETTERS = chained(*(b"%d" % n for n in range(10)))


@pytest.mark.parametrize(("mine", "theirs"), [(10, 10), (10, 4), (4, 10), (0, 3), (3, 0)])
def test_two_mirrors_agree_up_to_the_end_of_the_shorter(mine: int, theirs: int) -> None:
    found = compared(LETTERS[:mine], LETTERS[:theirs])
    assert (found.messages, found.differs) == (min(mine, theirs), False)


@pytest.mark.parametrize("at", [0, 5, 9])
def test_the_first_message_that_differs_is_named(at: int) -> None:
    other = chained(*(b"x" if n == at else b"%d" % n for n in range(10)))
    assert compared(LETTERS, other) == Comparison("http://127.0.0.1:1", at, True)


def test_chunk_information_is_compared_though_no_hash_covers_it() -> None:
    chain = Chain()
    for number in (1, 2):
        chain.add(b"part", chunk=Chunk(1, number, 2))
    hidden = [chain.entries[0], {**chain.entries[1], "chunk_info": None}]
    assert compared(chain.entries, hidden).messages == 1
    (first, second), terse = chain.entries, []
    for entry in (first, second):
        initial = {**entry["chunk_info"]["initial_transaction_id"], "nonce": None, "scheduled": None}
        terse.append({**entry, "chunk_info": {**entry["chunk_info"], "initial_transaction_id": initial}})
    assert not compared(chain.entries, terse).differs, "null is how older entries say 0 and false"


@contextmanager
def serving(entries: Entries) -> Iterator[str]:
    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps(page_of(entries, self.path)).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def said(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(main, ["audit", *map(str, arguments)])
    return result.exit_code, result.output


def test_the_command_says_how_far_another_mirror_agrees(tmp_path: Path) -> None:
    saved = tmp_path / "topic.json"
    write_history(saved, ENTRIES)
    with serving(ENTRIES[:-1]) as url:
        code, text = said("--pages", saved, "--compare", url)
        assert code == 0
        assert f"the same as at {url} up to message {len(ENTRIES) - 1}" in text
        code, text = said("--pages", saved, "--compare", url, "--json")
        assert json.loads(text)["compared"] == {"url": url, "messages": len(ENTRIES) - 1, "differs": False}
    other = [*ENTRIES[:-1], {**ENTRIES[-1], "running_hash": ENTRIES[0]["running_hash"]}]
    with serving(other) as url:
        code, text = said("--pages", saved, "--compare", url)
        assert code == 1
        assert f"message {len(ENTRIES)}: the mirror at {url} has another message here" in text
        code, text = said("--topic", TOPIC, "--mirror", url, "--compare", url)
        assert code == 1, "a history that does not chain is none, whoever agrees"


def test_what_is_not_read_as_a_whole_is_not_compared(tmp_path: Path) -> None:
    code, text = said("--topic", TOPIC, "--mirror", "http://127.0.0.1:1", "--follow", "--compare", "http://x")
    assert code == 2
    assert "leave out --follow and --checkpoint" in text


def test_a_real_mirror_is_the_same_as_itself_and_as_what_was_saved_of_it(
    localnet: Localnet, tmp_path: Path
) -> None:
    saved = tmp_path / "topic.json"

    def check(played: RealRun) -> None:
        url = localnet.network.mirror_rest
        played.found_with_money()
        status, found = played.audit("--save", saved)
        played.play()
        longer, whole = played.audit("--compare", url)
        assert (status, longer) == (0, 0)
        assert whole["compared"] == {"url": url, "messages": whole["messages"], "differs": False}
        status, again = run_audit("--pages", saved, "--compare", url)
        assert status == 0
        assert again["compared"]["messages"] == found["messages"] < whole["messages"]

    on_a_real_network(localnet, check)
