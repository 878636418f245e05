"""A learner in its own process, asked from both event loops: its answers, refusals, bugs and deaths."""

import importlib.metadata
import json
import logging
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from learners.client import LearnerProcess, open_learner
from learners.learner import BadWeights, Comparison, LearnerError, TensorSpec, Training
from learners.process import Process
from learners.registry import find_learner
from protocol.ids import Round

ROOT = Path(__file__).parents[2]
STUB = "tests.learners.stub:Stub"
DRIVING = "learners.driving.learner:driving_learner"
PATIENCE = 60.0

both_loops = pytest.mark.parametrize("backend", ["asyncio", "trio"])


def opened(folder: Path, name: str = STUB, **options: object) -> AbstractAsyncContextManager[LearnerProcess]:
    env = {"PYTHONPATH": str(ROOT), "RB_TEST": "here"}
    return open_learner(name, options, folder / "data", folder / "run", env)


def ask(folder: Path, word: str) -> Path:
    head = folder / word
    head.write_text(word)
    return head


def propose(
    learner: LearnerProcess, folder: Path, word: str, deadline: float = PATIENCE
) -> Coroutine[None, None, Training]:
    return learner.propose(ask(folder, word), Round(3), folder / "out", deadline)


def run(backend: str, scenario: Callable[[], Awaitable[None]]) -> None:
    anyio.run(scenario, backend=backend)


@both_loops
def test_a_learner_that_keeps_nothing_of_the_head_is_not_asked_to(tmp_path: Path, backend: str) -> None:
    async def scenario() -> None:
        async with opened(tmp_path, "tests.learners.stub:Plain") as learner:
            await learner.describe()
            assert not learner.merges
            head = ask(tmp_path, "work")
            with pytest.raises(LearnerError, match="cannot merge updates"):
                await learner.merge(head, head, [head], Round(3), tmp_path / "merged", PATIENCE)
            pid = learner.pid
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
            await learner.adopt(head, Round(3))
            assert learner.pid == pid, "whoever asks a dead process starts another"
            assert not (tmp_path / "adopted").exists()

    run(backend, scenario)


@both_loops
def test_every_method_of_the_port_round_trips(tmp_path: Path, backend: str) -> None:
    async def scenario() -> None:
        async with opened(tmp_path) as learner:
            spec = await learner.describe()
            assert (spec.name, spec.scorer) == ("stub", "none/1")
            assert spec.tensors == (TensorSpec("RB_TEST=here", (1, 2), "F32"),)
            await learner.initial(tmp_path / "initial")
            assert (tmp_path / "initial").read_bytes() == b"initial"
            assert await propose(learner, tmp_path, "work") == Training(250, 500, 0.25)
            assert (tmp_path / "out").read_text() == "round 3 in data"
            head = tmp_path / "work"
            assert await learner.score(head, head, Round(3), PATIENCE) == Comparison(1, -2, -3, 4, 5)
            assert learner.merges
            out, updates = tmp_path / "merged", [ask(tmp_path, "one"), ask(tmp_path, "two")]
            merging = await learner.merge(head, head, updates, Round(3), out, PATIENCE)
            assert (merging.shares, out.read_text()) == ((400_000, 300_000, 300_000), "work+work+one+two")
            pid = learner.pid
            assert pid is not None
            os.kill(pid, signal.SIGINT)  # Ctrl-C is for the daemon
            await learner.adopt(head, Round(3))
            assert (tmp_path / "adopted").read_text() == "round 3"
            assert learner.pid == pid

    run(backend, scenario)


@both_loops
def test_the_driving_learner_works_in_its_process(tmp_path: Path, backend: str) -> None:
    async def scenario() -> None:
        options = {
            "family": "medium",
            "seed": 1,
            "train_steps": 20,
            "validation_tracks": 8,
            "validation_starts": 1,
        }
        async with opened(tmp_path, DRIVING, **options) as learner:
            assert (await learner.describe()).name == "driving"
            head, out = tmp_path / "head", tmp_path / "out"
            await learner.initial(head)
            assert (await learner.propose(head, Round(1), out, PATIENCE)).labels == 250
            assert (await learner.score(head, head, Round(1), PATIENCE)).gain == 0
            out.write_bytes(b"rubbish")
            with pytest.raises(BadWeights, match="weights have 7 bytes"):
                await learner.score(head, out, Round(1), PATIENCE)

    run(backend, scenario)


@both_loops
def test_refusals_travel_as_what_they_are(tmp_path: Path, backend: str) -> None:
    async def scenario() -> None:
        async with opened(tmp_path) as learner:
            with pytest.raises(BadWeights, match="tensor 'x' holds values that are not finite"):
                await propose(learner, tmp_path, "bad")
            with pytest.raises(LearnerError, match="no data for this round; drive some more"):
                await propose(learner, tmp_path, "refuse")
            with pytest.raises(LearnerError, match="failed in propose: RuntimeError: a bug of ours"):
                await propose(learner, tmp_path, "bug")
            pid = learner.pid
            assert await propose(learner, tmp_path, "work") == Training(250, 500, 0.25)
            assert learner.pid == pid  # none of this ended it

    run(backend, scenario)


@both_loops
def test_a_death_in_mid_call_is_told_and_survived(tmp_path: Path, backend: str) -> None:
    async def scenario() -> None:
        async with opened(tmp_path) as learner:
            with pytest.raises(
                LearnerError, match=r"died in propose: exit status 7; .*that was my last word"
            ):
                await propose(learner, tmp_path, "die")
            assert await propose(learner, tmp_path, "work") == Training(250, 500, 0.25)

    run(backend, scenario)


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    """Where a hanging stub writes its process id: reading waits for it."""
    os.mkfifo(tmp_path / "out")
    return tmp_path / "out"


async def hanging(pipe: Path) -> int:
    """The process id of a stub, once it hangs."""
    return int(await anyio.to_thread.run_sync(pipe.read_text))


@both_loops
def test_a_process_killed_in_mid_call_is_started_again(tmp_path: Path, pipe: Path, backend: str) -> None:
    async def scenario() -> None:
        async with opened(tmp_path) as learner, anyio.create_task_group() as tasks:

            async def kill() -> None:
                os.kill(await hanging(pipe), signal.SIGKILL)

            tasks.start_soon(kill)
            with pytest.raises(LearnerError, match="died in propose: killed by signal 9"):
                await propose(learner, tmp_path, "hang")
            first = await learner.describe()
            assert first.name == "stub"

    run(backend, scenario)


@both_loops
def test_a_late_process_is_ended(tmp_path: Path, backend: str) -> None:
    async def scenario() -> None:
        async with opened(tmp_path) as learner:
            await learner.describe()
            pid = learner.pid
            assert pid is not None
            with pytest.raises(
                LearnerError, match=r"did not finish propose within 0.5 s and was ended; allow"
            ):
                await propose(learner, tmp_path, "hang", deadline=0.5)
            with pytest.raises(ProcessLookupError):
                os.kill(pid, 0)
            assert (await learner.describe()).name == "stub"

    run(backend, scenario)


@both_loops
def test_leaving_ends_the_process_and_removes_the_socket(tmp_path: Path, pipe: Path, backend: str) -> None:
    async def scenario() -> None:
        async with opened(tmp_path) as learner:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_propose_and_be_cancelled, learner, tmp_path)
                pid = await hanging(pipe)
                tasks.cancel_scope.cancel()
            mode = [folder.stat().st_mode & 0o777 for folder in (tmp_path / "run").iterdir()]
            assert mode == [0o700]
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
        assert list((tmp_path / "run").iterdir()) == []
        with pytest.raises(LearnerError, match="closed"):
            await learner.describe()

    run(backend, scenario)


@both_loops
def test_what_is_given_up_stops_early_and_the_same_process_goes_on(
    tmp_path: Path, pipe: Path, backend: str
) -> None:
    async def scenario() -> None:
        async with opened(tmp_path) as learner:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_propose_and_be_cancelled, learner, tmp_path, "toil")
                pid = await hanging(pipe)
                tasks.cancel_scope.cancel()
            # It would toil for ever: this is answered because it asked whether anybody waits.
            assert (await learner.describe()).name == "stub"
            assert learner.pid == pid

    run(backend, scenario)


@both_loops
def test_what_is_given_up_while_it_is_sent_stops_too(
    tmp_path: Path, pipe: Path, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent, given_up = Process.call, threading.Event()

    def slow(process: Process, method: str, body: bytes, deadline: float) -> object:
        future = sent(process, method, body, deadline)
        if method == "Propose":
            given_up.wait(PATIENCE)
        return future

    async def scenario() -> None:
        async with opened(tmp_path) as learner:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_propose_and_be_cancelled, learner, tmp_path, "toil")
                pid = await hanging(pipe)
                tasks.cancel_scope.cancel()
            given_up.set()
            assert (await learner.describe()).name == "stub"
            assert learner.pid == pid

    monkeypatch.setattr(Process, "call", slow)
    run(backend, scenario)


async def _propose_and_be_cancelled(learner: LearnerProcess, folder: Path, word: str = "hang") -> None:
    await propose(learner, folder, word)


@both_loops
def test_what_cannot_start_is_told_in_one_line(tmp_path: Path, backend: str) -> None:
    async def scenario() -> None:
        for name, options, message in [
            (STUB, {"wrong": 1}, "option 'wrong' is wrong; remove it"),
            (STUB, {"crash": 1}, "ended before describe: exit status 3; last words: no more memory"),
            ("nobody", {}, "there is no learner named 'nobody'; known: "),
            ("tests.learners.stub:Nobody", {}, "cannot be loaded: module"),
            ("no.such:Learner", {}, "cannot be loaded: No module named 'no'"),
        ]:
            async with opened(tmp_path, name, **options) as learner:
                with pytest.raises(LearnerError, match=message) as caught:
                    await learner.describe()
                assert "\n" not in str(caught.value)

    run(backend, scenario)


def test_the_log_of_the_process_is_passed_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        async with opened(tmp_path) as learner:
            with pytest.raises(LearnerError):
                await propose(learner, tmp_path, "bug")

    with caplog.at_level(logging.INFO, "learners.worker"):
        run("asyncio", scenario)
    assert "RuntimeError: a bug of ours" in caplog.text  # with its traceback
    assert "libraries print, too" in caplog.text


def test_the_socket_moves_where_the_path_is_too_long(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 60) / ("e" * 60)

    async def scenario() -> None:
        async with open_learner(STUB, {}, tmp_path, deep, {"PYTHONPATH": str(ROOT)}) as learner:
            assert (await learner.describe()).name == "stub"

    run("asyncio", scenario)


def test_secrets_of_the_daemon_stay_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RB_PASSPHRASE", "hush")

    async def scenario() -> None:
        async with opened(tmp_path) as learner:
            names = [tensor.name for tensor in (await learner.describe()).tensors]
            assert names == ["RB_TEST=here"]

    run("asyncio", scenario)


ORPHAN = """
import sys, anyio
from pathlib import Path
from learners.client import open_learner
async def main():
    name, folder, root = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
    async with open_learner(name, {}, folder, folder, {"PYTHONPATH": root}) as learner:
        await learner.propose(folder / "hang", 1, folder / "out", 60.0)
anyio.run(main)
"""


def test_a_process_ends_with_its_parent_even_in_mid_call(tmp_path: Path, pipe: Path) -> None:
    ask(tmp_path, "hang")
    command = [sys.executable, "-c", ORPHAN, STUB, str(tmp_path), str(ROOT)]
    with subprocess.Popen(command, cwd=ROOT) as parent:
        end = os.pidfd_open(anyio.run(hanging, pipe))
        waiting = select.poll()
        waiting.register(end, select.POLLIN)
        assert not waiting.poll(0)
        parent.kill()
        parent.wait()
    assert waiting.poll(PATIENCE * 1000)  # readable once the process has ended
    os.close(end)


def test_a_process_ends_when_told(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "learners.worker", "--socket", str(tmp_path / "s"), "--learner", STUB]
    with subprocess.Popen(
        [*command, "--data", str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT
    ) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline()) == {"kind": "ready"}
        process.terminate()
        assert process.wait(PATIENCE) == -signal.SIGTERM


def test_the_daemons_end_imports_neither_torch_nor_numpy() -> None:
    code = "import sys, learners.client; sys.exit(bool({'torch', 'numpy', 'safetensors'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_a_learner_is_found_by_its_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    point = importlib.metadata.EntryPoint("driving", DRIVING, "roundabout.learners")
    points = importlib.metadata.EntryPoints([point])
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda **wanted: points.select(**wanted))
    assert getattr(find_learner("driving"), "__name__", "") == "driving_learner"
    with pytest.raises(LearnerError, match=r"there is no learner named 'flying'; known: .*driving"):
        find_learner("flying")


@pytest.mark.parametrize(
    ("says", "refusal"),
    [
        ("print('hello')", "began with another word"),
        ("print('x' * 2_000_000, end='')", "began with an endless word"),
        ("""print('{"kind":"fault","blames":"learner","message":"no data"}')""", "no data"),
    ],
)
def test_a_process_that_begins_with_something_else_is_refused(
    tmp_path: Path, says: str, refusal: str
) -> None:
    command = [sys.executable, "-c", f"import sys, time; {says}; sys.stdout.flush(); time.sleep(60)"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as popen:
        try:
            with pytest.raises(LearnerError, match=refusal):
                Process(popen, tmp_path / "socket").wait_ready(time.monotonic() + PATIENCE)
        finally:
            popen.kill()
