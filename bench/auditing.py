"""How fast a history is audited, next to the bare signature checks and hashes that it takes."""

import gc
import hashlib
import json
import multiprocessing
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import coincurve
from coincurve.ecdsa import cdata_to_der, deserialize_compact

from bench.history import TOPIC, verdicts
from ledger.ahead import Ahead, uncollected
from ledger.audit import Audit, audit, judge, report
from ledger.chunks import Dropped
from ledger.pages import RawEntry, read_history, write_history
from ledger.verifier import ROW
from ledger.verifiers import Verifiers, cores
from protocol.fields import canonical
from protocol.fold import read
from protocol.records import Stamp
from protocol.signing import DOMAIN, holds

Signed = tuple[coincurve.PublicKey, bytes, bytes]
"""A key, a digest, a compact signature."""
Work = tuple[list[Signed], list[bytes], list[bytes]]
"""Of one verdict: signatures to check, bytes for SHA-256, bytes for SHA-384."""

_material: list[Work] = []


def bare(first: int, last: int) -> float:
    """Seconds that the signatures and hashes of some verdicts take and nothing else."""
    began = time.perf_counter()
    for signed, bodies, chained in _material[first:last]:
        for body in bodies:
            hashlib.sha256(body).digest()
        for stream in chained:
            hashlib.sha384(stream).digest()
        for key, digest, signature in signed:
            if not key.verify(cdata_to_der(deserialize_compact(signature)), digest, hasher=None):
                raise AssertionError("the history is made up, and right")
    return time.perf_counter() - began


def material(entries: Sequence[RawEntry]) -> list[Work]:
    """What must be checked and hashed of each verdict of a history."""
    result, works = Audit(TOPIC), []
    chained: list[bytes] = []
    for entry in entries:
        found = result.read(entry)
        chained += [b"." * 1_024, b"." * 190]  # a chunk, and the framing around its hash
        for message in found:
            assert not isinstance(message, Dropped)
            judged = judge(result.state, message, holds)
            result.take(judged)
            if judged.checks:
                kinds = ["proposal", *["vote"] * (len(judged.checks) - 1)]
                bodies = [
                    f"{DOMAIN}{kind}\n".encode() + canonical(body)
                    for kind, (body, *_) in zip(kinds, judged.checks, strict=True)
                ]
                signed = [
                    (coincurve.PublicKey(key), digest, compact) for _, key, digest, compact in judged.checks
                ]
                works.append((signed, [*bodies, message.body], chained))
            chained = []
    return works


def throughput(entries: Sequence[RawEntry], processes: int, repeats: int) -> dict[str, Any]:
    """Verdicts a second of the bare work and of the audit, both with so many processes, taken in turns.

    The best of all turns, since whatever else the machine does can only take away; and the median of the
    ratios within a turn.
    """
    _material.extend(material(entries))
    count = len(_material)
    edges = [count * n // processes for n in range(processes + 1)]
    context = multiprocessing.get_context("fork")  # the material is there already
    samples: dict[str, list[float]] = {"bound": [], "audit": [], "one_core": [], "one_core_bound": []}
    with ProcessPoolExecutor(processes, mp_context=context) as pool:
        list(pool.map(bare, edges[:-1], [edge + 50 for edge in edges[:-1]]))
        for _ in range(repeats):
            began = time.perf_counter()
            list(pool.map(bare, edges[:-1], edges[1:]))
            samples["bound"].append(count / (time.perf_counter() - began))
            samples["audit"].append(count / _audit_seconds(entries, processes))
            samples["one_core_bound"].append(count / bare(0, count))
            samples["one_core"].append(count / _audit_seconds(entries, 0))
    _material.clear()
    best = {name: max(found) for name, found in samples.items()}
    ratios = [a / b for a, b in zip(samples["audit"], samples["bound"], strict=True)]
    alone = [a / b for a, b in zip(samples["one_core"], samples["one_core_bound"], strict=True)]
    return {
        "verdicts": count,
        "processes": processes,
        **{name: round(rate) for name, rate in best.items()},
        "ratio": round(best["audit"] / best["bound"], 3),
        "median_ratio": round(statistics.median(ratios), 3),
        "one_core_ratio": round(best["one_core"] / best["one_core_bound"], 3),
        "one_core_median_ratio": round(statistics.median(alone), 3),
    }


def _audit_seconds(entries: Sequence[RawEntry], processes: int) -> float:
    """From parsed file to the report's data; the start of processes is not in it. 0 processes: this one alone."""
    gc.collect()
    if not processes:
        with uncollected():
            began = time.perf_counter()
            found = report(audit(TOPIC, entries))
            elapsed = time.perf_counter() - began
    else:
        with Verifiers(processes - 1) as verifiers, uncollected():
            _wait_until_up(verifiers, processes - 1)
            began = time.perf_counter()
            result = Audit(TOPIC)
            ahead = Ahead(result, verifiers)
            for entry in entries:
                ahead.add(entry)
            ahead.finish()
            result.finish()
            found = report(result)
            elapsed = time.perf_counter() - began
    if not found["ok"]:
        raise AssertionError("the history is made up, and right")
    return elapsed


def _wait_until_up(verifiers: Verifiers, processes: int) -> None:
    for _ in range(max(1, processes)):
        verifiers.give(bytes(ROW))  # no signature, but an answer: nothing at all has none to wait for
    for _ in range(max(1, processes)):
        verifiers.answer()


def command_seconds(file: Path) -> float:
    """Of the whole command, from start to exit."""
    began = time.perf_counter()
    command = [sys.executable, "-m", "node.cli", "audit", "--pages", str(file), "--json"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def growth(file: Path, count: int) -> dict[str, Any]:
    """The fold over the first verdicts of a saved history, in this process: its own seconds, and memory it adds."""
    entries = read_history(file).messages[: 2 + 2 * count]
    chains = Audit(TOPIC)
    messages = [m for entry in entries for m in chains.read(entry) if not isinstance(m, Dropped)]
    state = None
    before, began = _resident(), time.process_time()
    for message in messages:
        stamp = Stamp(message.sequence, message.time, message.running_hash)
        state = read(state, TOPIC, message.body, stamp)
    seconds, folded = time.process_time() - began, _resident()
    result = audit(TOPIC, entries)
    audited = _resident()
    assert state == result.state
    return {
        "verdicts": count,
        "fold_seconds": round(seconds, 2),
        "fold_mb": round((folded - before) / 1e6, 1),
        "audit_mb": round((audited - folded) / 1e6, 1),
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1_024 / 1e6),
    }


def _resident() -> int:
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def measure(folder: Path, count: int, repeats: int) -> dict[str, Any]:
    """All of it, for a history of `count` verdicts at 8 votes each, and the fold for a tenth of them as well."""
    file = folder / "history.json"
    entries = verdicts(count)
    write_history(file, entries)
    folds = []
    for size in (count // 10, count):
        command = [sys.executable, "-m", "bench.ledger", "--growth", str(file), "--verdicts", str(size)]
        folds.append(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    return {
        "audit": throughput(entries, cores(), repeats),
        "command_seconds": round(command_seconds(file), 2),
        "fold": [json.loads(line) for line in folds],
    }
