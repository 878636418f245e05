"""`roundabout data`: import, inspect and split from the command line, and their exits."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from node.cli.main import main
from tests.learners.recordings import record as tub_record
from tests.learners.recordings import tub, udacity

TIMES = [*range(0, 2000, 100), *range(9000, 11_000, 100), *range(30_000, 32_000, 100)]


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(main, ["data", *map(str, words)])


def facts(result: Result) -> dict[str, Any]:
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


@pytest.fixture
def log(tmp_path: Path) -> Path:
    source = udacity(tmp_path / "log", TIMES)
    (source / "IMG" / sorted(path.name for path in (source / "IMG").iterdir())[3]).unlink()
    return source


def test_a_recording_is_imported_inspected_and_shown(tmp_path: Path, log: Path) -> None:
    folder, picture = tmp_path / "data", tmp_path / "sheet.png"
    told = facts(run("import", "--from", "udacity", log, "--into", folder, "--validation", "0.5", "--json"))
    assert (told["episodes"], told["frames"], told["known_episodes"]) == (3, 59, 0)
    assert [(each["reason"], each["rows"]) for each in told["skipped"]] == [("the picture is missing", 1)]
    assert sum(told["dataset"]["episodes"].values()) == 3
    again = run("import", "--from", "udacity", log, "--into", folder)
    assert again.exit_code == 0
    assert "0 new episodes with 0 frames; 3 episodes with 59 frames were there already" in again.stdout
    assert "left out: 1 rows: the picture is missing (first: driving_log.csv, line 4" in again.stdout
    seen = facts(run("inspect", folder, "--picture", picture, "--json"))
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert sum(seen["histogram"]["train"]) == seen["frames"]["train"]
    assert sum(seen["histogram"]["validation"]) == seen["frames"]["validation"] > 0
    parts = facts(run("split", folder, "--json"))
    assert [each["part"] for each in parts["episodes"]].count("validation") == told["dataset"]["episodes"][
        "validation"
    ]
    late = run("split", folder, "--validation", "0.1")
    assert late.exit_code == 1
    assert "their parts are settled for ever" in late.stderr
    assert "steering:" in run("inspect", folder).stdout
    frames = folder / "data/chunk-000/file-001.parquet"
    frames.write_bytes(frames.read_bytes()[:-9])
    damaged = run("inspect", folder)
    assert (damaged.exit_code, damaged.stderr.count("\n")) == (1, 1)
    assert "file-001.parquet cannot be read" in damaged.stderr


def test_what_cannot_be_done_is_said_in_one_line(tmp_path: Path, log: Path) -> None:
    folder = tmp_path / "data"
    run("import", "--from", "udacity", log, "--into", folder)
    records = tub(tmp_path / "tub", [tub_record(n, 50 * n) for n in range(4)])
    for words, cause in (
        (("inspect", tmp_path), "holds no dataset"),
        (("split", tmp_path), "holds no dataset"),
        (("import", "--from", "donkeycar", log, "--into", folder), "manifest.json is missing"),
        (("import", "--from", "donkeycar", records, "--into", folder), "import it into another folder"),
        (
            ("import", "--from", "udacity", log, "--into", folder, "--validation", "0.9"),
            "has validation 200000",
        ),
        (
            ("import", "--from", "udacity", log, "--into", folder, "--validation", "2"),
            "2.0 is not in the range",
        ),
        (("import", "--from", "vhs", log, "--into", folder), "'vhs' is not one of"),
    ):
        result = run(*words)
        assert (result.exit_code, result.stderr.count("\n")) == (2, 1), result.output
        assert cause in result.stderr
