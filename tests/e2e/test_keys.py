"""The account's private key stays out of whatever the real commands say and write, also at level debug."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ledger.hiero import PrivateKey
from tests.e2e.conftest import ROOT, roundabout
from tests.e2e.founded import Founded
from tests.ledger.key_forms import shown_forms

VARIABLE = "RB_ACCOUNT_KEY"
SUBMITTED = re.compile(r'"submitted"|\] submitted')


def leaks(key: bytes, home: Path, said: str, *known: Path) -> list[str]:
    """Where a key shows: in what was said, or in a file other than those that are known to hold it."""
    forms = shown_forms(key)
    raw = PrivateKey.from_bytes_ecdsa(key) if len(key) == 32 else PrivateKey.from_der(key)
    found = ["said"] if any(form in said for form in forms) else []
    for path in home.rglob("*"):
        if path.is_file() and path not in known:
            data = path.read_bytes()
            if raw.to_bytes_raw() in data or any(form.encode() in data for form in forms):
                found.append(str(path))
    return found


@pytest.mark.parametrize(
    ("source", "form"),
    [
        ("identity", "json"),
        pytest.param("file", "text", marks=pytest.mark.slow),
        ("environment", "json"),
    ],
)
def test_a_daemon_that_pays(founded: Founded, tmp_path: Path, source: str, form: str) -> None:
    key = founded.identity(0).secret
    account = tmp_path / "account.key"
    ledger: dict[str, Any] = {}
    if source == "file":
        account.write_text(key.hex())
        ledger = {"key_file": "account.key"}
    elif source == "environment":
        ledger = {"key_env": VARIABLE}
    log = {"level": "debug", "format": form}
    file = founded.node_config(tmp_path / "node.toml", 0, ledger=ledger, log=log)
    der = PrivateKey.from_bytes_ecdsa(key).to_string_der()
    process = subprocess.Popen(
        [sys.executable, "-m", "node.cli", "node", "--config", str(file)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, VARIABLE: der},
    )
    said = ""
    try:
        assert process.stdout is not None
        for line in process.stdout:  # pytest-timeout bounds the wait: it closes the round at its deadline
            said += line
            if SUBMITTED.search(line):
                process.send_signal(signal.SIGTERM)
    finally:
        process.kill()
    assert leaks(key, tmp_path, said, account) == []
    assert process.wait() == 0
    assert SUBMITTED.search(said)


@pytest.mark.parametrize("source", ["file", "environment"])
def test_a_founding(founded: Founded, tmp_path: Path, source: str) -> None:
    key, account = founded.localnet.key, tmp_path / "account.key"
    ledger: dict[str, Any] = founded.ledger | {"account": founded.localnet.operator}
    if source == "file":
        account.write_text(key)
        ledger |= {"key_file": str(account)}
    else:
        ledger |= {"key_env": VARIABLE}
    file = founded.founding(tmp_path / "run.toml", ledger=ledger)
    done = roundabout("found", str(file), env={**os.environ, VARIABLE: key})
    assert leaks(bytes.fromhex(key), tmp_path, done.stdout + done.stderr, account) == []
    assert done.returncode == 0
    assert done.stdout.startswith("topic 0.0.")


def misplaced(key: str) -> dict[str, tuple[dict[str, Any], str, str]]:
    """What is under [ledger], what is in the environment, and what is said; a key is where it cannot be."""
    return {
        "two keys": ({"key_file": "a.key", "key_env": VARIABLE}, key, "both name a key; leave one out"),
        "none in the variable": ({"key_env": VARIABLE}, "", f"{VARIABLE} is empty; set it"),
        "half of one": ({"key_env": VARIABLE}, key[:-1], f"{VARIABLE} holds no private key"),
        "in key_env": ({"key_env": key}, key, "expected the name of an environment variable"),
        "in key_file": ({"key_file": key}, key, "ledger.key_file: Value error, a key itself"),
        "in account": ({"account": key}, key, "ledger.account"),
        "under a name of its own": ({"key": key}, key, "unknown key ledger.key"),
        "of somebody else": ({"key_env": VARIABLE, "account": "0.0.1001"}, key, "INVALID_SIGNATURE"),
    }


@pytest.mark.parametrize("case", misplaced(""))
def test_a_founding_that_is_refused(founded: Founded, tmp_path: Path, case: str) -> None:
    key = founded.localnet.key
    changes, held, says = misplaced(key)[case]
    ledger = founded.ledger | {"account": founded.localnet.operator} | changes
    file = founded.founding(tmp_path / "run.toml", ledger=ledger)
    done = roundabout("found", str(file), env={**os.environ, VARIABLE: held})
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert says in line
    assert leaks(bytes.fromhex(key), tmp_path, line, file) == []
    assert key[-64:-8] not in line, "nor most of it"


@pytest.mark.parametrize("form", ["raw", "DER"])
def test_a_daemon_that_is_refused(founded: Founded, tmp_path: Path, form: str) -> None:
    secret = founded.identity(0).secret
    key = secret.hex() if form == "raw" else PrivateKey.from_bytes_ecdsa(secret).to_string_der()
    for ledger in ({"key_env": key}, {"key_file": key}, {"key_env": VARIABLE}):
        file = founded.node_config(tmp_path / "node.toml", 0, ledger=ledger, log={"level": "debug"})
        done = roundabout("node", "--config", str(file), env={**os.environ, VARIABLE: key[2:]})
        assert done.returncode == 2, done.stderr
        assert key[-40:] not in done.stderr
        assert leaks(secret, tmp_path, done.stderr, file) == []
