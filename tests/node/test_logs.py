"""What goes to standard error: our own events, and of the libraries what matters, each in one format."""

import json
import subprocess
import sys

import pytest

from tests.e2e.conftest import ROOT

SAY = """
import logging, sys
import libp2p, structlog
from node.logs import set_up_logging
set_up_logging(sys.argv[1], "json")
structlog.get_logger("node.driver").info("ours")
logging.getLogger("libp2p.transport.tcp").error("cannot open a stream")
logging.getLogger("libp2p.network.auto_connector").info("200 new dials")
logging.getLogger("httpx").info("GET")
logging.getLogger("hypercorn.error").warning("theirs")
"""


ABOUT = """
import logging
import structlog
from node.logs import set_up_logging
set_up_logging("info", "json")
rounds = iter([None, 3, 4, 4])
structlog.contextvars.bind_contextvars(peer="us", round=lambda: next(rounds))
structlog.get_logger("node.driver").info("before there is a round")
structlog.get_logger("node.driver").info("in a round")
structlog.get_logger("node.driver").info("about a round", round=2)
logging.getLogger("node.net.mesh").info("connected to %s", "them", extra={"remote": "them", "other": 1})
"""


def test_each_line_says_who_in_which_round_and_about_whom() -> None:
    done = subprocess.run(
        [sys.executable, "-c", ABOUT], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert [(line["peer"], line.get("round"), line.get("remote")) for line in lines] == [
        ("us", None, None),
        ("us", 3, None),
        ("us", 2, None),
        ("us", 4, "them"),
    ]
    assert "round" not in lines[0]
    assert "other" not in lines[3]


@pytest.mark.parametrize(
    ("level", "events"),
    [
        ("info", ["ours", "theirs"]),
        ("error", []),
        ("debug", ["ours", "cannot open a stream", "theirs"]),
    ],
)
def test_each_line_is_an_event_and_libp2p_is_quiet(level: str, events: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SAY, level], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    assert [json.loads(line)["event"] for line in done.stderr.splitlines()] == events
