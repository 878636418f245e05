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
