"""What lies on disk when a daemon starts: read before it is written, and named in one line where it is damaged."""

import shutil
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from pathlib import Path

import anyio
import pytest
import pytest_asyncio

from tests.e2e.conftest import roundabout
from tests.trials.conduct import check_agreement, check_signatures, more_decisions
from tests.trials.trial import Trial, name_of, trial

SIZE = 3
HURT = 2
NOT_MEMORY = ("operator.json", "addresses.db")
"""What is made anew at each start, and what is only a cache."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def run(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Trial]:
    """A run in which one daemon has taken part, and is dead now."""
    async with trial(tmp_path_factory.mktemp("startup"), SIZE, round_window=4, inactive_after=50) as run:
        run.start_daemons(*range(SIZE))
        await run.until_together(*range(SIZE))
        await more_decisions(run, SIZE)
        run.kill(name_of(HURT))
        del run.processes[name_of(HURT)]
        for name in ("journal.db", "outbox.db"):
            with closing(sqlite3.connect(run.data(HURT) / name)) as database:
                database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        yield run


def nonsense(file: Path) -> None:
    file.write_bytes(b"nonsense" * 1_000)


def hole(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[4_096:8_192] = bytes(4_096)
    file.write_bytes(data)


def half(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:4_500])


def folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


@pytest.mark.parametrize("damage", [nonsense, hole, half, folder])
@pytest.mark.parametrize(
    ("name", "says"),
    [("journal.db", "leave the run and join again with a new key"), ("outbox.db", "outbox")],
)
@pytest.mark.asyncio(loop_scope="module")
async def test_damage_is_one_line_and_nothing_is_overwritten(
    run: Trial, name: str, says: str, damage: Callable[[Path], None]
) -> None:
    data = run.home / "hurt"
    shutil.rmtree(data, ignore_errors=True)
    # What was half done when it died is removed at the start, and should be.
    shutil.copytree(run.data(HURT), data, ignore=shutil.ignore_patterns("*.tmp"))
    damage(data / name)
    before = snapshot(data)
    text = (run.home / f"{HURT}.toml").read_text().replace(f'"data-{HURT}"', '"hurt"')
    (run.home / "hurt.toml").write_text(text)
    done = await anyio.to_thread.run_sync(roundabout, "node", "--config", str(run.home / "hurt.toml"))
    assert done.returncode == 2, done.stderr
    (line,) = [line for line in done.stderr.splitlines() if not line.startswith("{")]
    assert line.startswith("roundabout: ")
    assert str(data / name) in line
    assert says in line
    after = snapshot(data)
    assert {file: after[file] for file in before} == before


def snapshot(data: Path) -> dict[Path, bytes]:
    """What is on disk and must not be lost, but for what SQLite makes anew."""
    return {
        file: file.read_bytes()
        for file in data.rglob("*")
        if file.is_file() and file.name not in NOT_MEMORY and not file.name.endswith(("-shm", "-wal"))
    }


@pytest.mark.asyncio(loop_scope="module")
async def test_rotten_blobs_are_fetched_again(run: Trial) -> None:
    blobs = run.data(HURT) / "blobs"
    rotten = [file for file in blobs.iterdir() if len(file.name) == 64]
    assert rotten
    for file in rotten:
        file.write_bytes(b"rotten!!")
    (blobs / "half.tmp").write_bytes(b"half")
    run.start_daemons(HURT)
    await run.until_together(*range(SIZE))
    await more_decisions(run, 2 * SIZE)
    run.check_children()
    assert not (blobs / "half.tmp").exists()
    told = await run.told()
    check_signatures(run, told)
    await check_agreement(run, told)
    said = [event for event in run.life(HURT) if event["event"] == "scored"]
    assert said
    assert all(event["choice"] == "approve" for event in said), "what is rotten is not judged"
