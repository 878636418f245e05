"""Recordings of others become whole episodes; what cannot be used is named, counted and left out."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from learners.data import dataset as dataset_module
from learners.data.dataset import open_dataset
from learners.data.episode import DataError, ImageShape
from learners.data.importing import FORMATS
from learners.data.importing.recording import Summary
from learners.data.importing.taking import take
from tests.learners.pictures import png
from tests.learners.recordings import HEADER, lerobot, record, stamp, tub, udacity, udacity_rows
from tests.learners.test_dataset import all_of

TENTHS = range(0, 3000, 100)
"""Milliseconds: three seconds at ten frames a second."""


def bring(kind: str, source: Path, into: Path) -> Summary:
    return take(FORMATS[kind](source), into)


def reasons(summary: Summary) -> dict[str, int]:
    return {each.reason: each.rows for each in summary.skipped}


@pytest.mark.parametrize("has_header", [False, True])
@pytest.mark.parametrize("paths", ["C:\\Users\\me\\sim\\IMG\\", "IMG/", "/home/me/IMG/"])
def test_a_simulator_s_log_is_imported(tmp_path: Path, paths: str, has_header: bool) -> None:
    rows = udacity_rows(TENTHS, paths)
    source = udacity(tmp_path / "log", TENTHS, [HEADER, *rows] if has_header else rows)
    done = bring("udacity", source, tmp_path / "data")
    assert (done.rows, done.episodes, done.frames, done.skipped) == (30, 1, 30, ())
    found = open_dataset(tmp_path / "data")
    assert found.features.image == ImageShape(16, 32)
    assert (found.features.fps, found.features.states) == (10, ("speed",))
    (episode,) = all_of(found)
    assert episode.actions[:2].tolist() == [
        [pytest.approx(0.2), 0.5],
        [pytest.approx(0.1), 0.5],
    ]  # left is positive
    assert episode.states[0, 0] == pytest.approx(20 * 0.44704)
    assert episode.timestamps[-1] == pytest.approx(2.9, abs=1e-4)
    assert episode.images is not None
    assert episode.images[7] == (source / f"IMG/center_{stamp(700)}.jpg").read_bytes()


def test_columns_are_found_by_their_names(tmp_path: Path) -> None:
    rows = ["colour,speed,steering,throttle,brake,center,left,right"]
    rows += [f"red,10,0.5,0.1,0.3,IMG/center_{stamp(time)}.jpg,l,r" for time in TENTHS]
    done = bring("udacity", udacity(tmp_path / "log", TENTHS, rows), tmp_path / "data")
    assert "columns that are not imported: colour" in done.notes
    (episode,) = all_of(open_dataset(tmp_path / "data"))
    assert np.allclose(episode.actions, [-0.5, -0.2])  # braking is negative throttle


def test_a_damaged_log_gives_what_is_sound(tmp_path: Path) -> None:
    rows = udacity_rows(TENTHS)
    rows[3] = rows[3].replace("0.5", "fast")
    rows[4] = "only, three, columns"
    rows[5] = rows[5].replace("20.0", "nan")
    rows[6] = rows[6].replace(", 0.5,", ", 7,")
    rows[10] = rows[10].replace(stamp(1000), "2024_99_99_99_99_99_999")
    source = udacity(tmp_path / "log", TENTHS, [*rows, "", '"'])
    (source / f"IMG/center_{stamp(800)}.jpg").unlink()
    cut = source / f"IMG/center_{stamp(900)}.jpg"
    cut.write_bytes(cut.read_bytes()[:200])
    (source / f"IMG/center_{stamp(1200)}.jpg").write_bytes(b"GIF89a")
    (source / f"IMG/center_{stamp(1300)}.jpg").write_bytes(bytes(5_000_000))
    done = bring("udacity", source, tmp_path / "data")
    assert reasons(done) == {
        "throttle is no number": 1,
        "fewer columns than a row has": 1,
        "speed is not finite": 1,
        "a number is out of range": 1,
        "the picture is missing": 1,
        "the picture cannot be decoded": 2,
        "the picture's name tells no time, as others do": 1,
        "the picture is too large": 1,
    }
    assert done.frames == 30 - 9 == open_dataset(tmp_path / "data").info.frames
    assert done.rows == done.frames + sum(reasons(done).values())
    assert next(each for each in done.skipped if each.reason.endswith("missing")).first.startswith(
        "driving_log.csv, line 9: center_2024"
    )


def test_recordings_are_cut_at_gaps_and_long_drives_in_pieces(tmp_path: Path) -> None:
    times = [
        *range(0, 3000, 250),
        *range(5000, 8000, 250),
        *range(1000, 2000, 250),
        *range(20_000, 150_000, 250),
    ]
    source = udacity(tmp_path / "log", sorted(set(times)), udacity_rows(times))
    done = bring("udacity", source, tmp_path / "data")
    found = open_dataset(tmp_path / "data")
    # A gap, the clock set back, a gap; then 130 s in pieces of 60 s, a second apart.
    assert [entry.length for entry in found.entries] == [12, 12, 4, 241, 241, 30]
    assert reasons(done) == {"in the second between two pieces of one drive": 8}
    assert sum(entry.length for entry in found.entries) + 8 == len(times) == done.rows


def test_names_without_a_time_are_taken_at_an_assumed_rate(tmp_path: Path) -> None:
    source = udacity(tmp_path / "log", TENTHS)
    for path in sorted((source / "IMG").iterdir()):
        path.rename(path.with_name(f"frame{path.stem[-6:]}.jpg"))
    rows = [f"frame{stamp(time)[-6:]}.jpg,l,r,0,0,0,1" for time in TENTHS]
    (source / "driving_log.csv").write_text("\n".join(rows))
    done = bring("udacity", source, tmp_path / "data")
    assert any("10 frames a second are assumed" in note for note in done.notes)
    assert open_dataset(tmp_path / "data").info.frames == 30


def test_a_tub_is_imported(tmp_path: Path) -> None:
    records = [record(n, 50 * n) for n in range(40)]
    records += [record(n, 50 * n, _session_id="24-01-31_1") for n in range(40, 50)]
    source = tub(tmp_path / "tub", records, deleted=[0, 20, 21], per_catalog=16)
    done = bring("donkeycar", source, tmp_path / "data")
    assert reasons(done) == {"deleted by its driver": 3}
    found = open_dataset(tmp_path / "data")
    assert [entry.length for entry in found.entries] == [19, 18, 10]
    assert (found.features.fps, found.features.states, found.features.image) == (20, (), ImageShape(12, 16))
    assert all_of(found)[0].actions[0].tolist() == [-0.25, 0.5]
    assert found.info.interventions == 0


def test_who_takes_over_from_the_pilot_intervenes(tmp_path: Path) -> None:
    records = [record(n, 50 * n, **{"user/mode": "local" if 5 <= n < 12 else "user"}) for n in range(20)]
    done = bring("donkeycar", tub(tmp_path / "tub", records), tmp_path / "data")
    assert reasons(done) == {"the pilot drove": 7}
    first, second = all_of(open_dataset(tmp_path / "data"))
    assert first.interventions.tolist() == [False] * 5
    assert second.interventions.tolist() == [True] * 8


def test_other_parts_and_their_columns(tmp_path: Path) -> None:
    inputs = ("cam/image_array", "steering", "throttle", "enc/speed", "imu/acl_x")
    records = [
        {"_index": n, "_timestamp_ms": 50 * n, "cam/image_array": f"{n}.jpg", "steering": -0.5, "throttle": 0.1,
         "enc/speed": 1.5, "imu/acl_x": 0.1} for n in range(10)
    ]  # fmt: skip
    done = bring("donkeycar", tub(tmp_path / "tub", records, inputs=inputs), tmp_path / "data")
    assert done.notes == ("columns that are not imported: imu/acl_x",)
    (episode,) = all_of(open_dataset(tmp_path / "data"))
    assert episode.states.tolist() == [[1.5]] * 10
    assert episode.actions[0].tolist() == [0.5, pytest.approx(0.1)]


def test_a_damaged_tub_gives_what_is_sound(tmp_path: Path) -> None:
    records: list[dict[str, object] | str] = [record(n, 50 * n) for n in range(30)]
    records[4] = '{"_index": 4, "_session'
    records[5] = record(5, 250, **{"user/angle": "left"})
    records[6] = record(6, 300, **{"user/throttle": 3.0})
    records[7] = record(7, 350) | {"cam/image_array": "7.jpg"}
    records[9] = "x" * 300_000
    source = tub(tmp_path / "tub", records, per_catalog=15)
    (source / "images/7.jpg").unlink()
    (source / "images/8_cam_image_array_.jpg").write_bytes(b"\xff\xd8\xff\xe0 no picture")
    lines = (source / "manifest.json").read_text().splitlines()
    lines[4] = lines[4].replace('"catalog_1.catalog"', '"catalog_1.catalog", "catalog_2.catalog"')
    (source / "manifest.json").write_text("\n".join(lines))
    done = bring("donkeycar", source, tmp_path / "data")
    assert done.frames == 24
    assert sum(reasons(done).values()) == 6 == done.rows - done.frames
    assert reasons(done)["a record that is too long"] == 1
    assert reasons(done)["the picture is missing"] == reasons(done)["the picture cannot be decoded"] == 1
    assert any("user/angle: Input should be a valid number" in reason for reason in reasons(done))
    assert any("user/throttle: Input should be less than or equal to 1" in reason for reason in reasons(done))
    assert done.notes == ("catalog_2.catalog is missing, with all its records",)


def test_names_in_a_tub_do_not_lead_out_of_it(tmp_path: Path) -> None:
    (tmp_path / "secret.jpg").write_bytes(b"")
    records = [record(n, 50 * n) for n in range(5)]
    source = tub(tmp_path / "tub", records)
    catalog = source / "catalog_0.catalog"
    catalog.write_text(catalog.read_text().replace("3_cam_image_array_.jpg", "../../secret.jpg"))
    done = bring("donkeycar", source, tmp_path / "data")
    assert reasons(done) == {"the picture's name is no file name": 1}
    manifest = source / "manifest.json"
    manifest.write_text(manifest.read_text().replace("catalog_0.catalog", "../catalog_0.catalog"))
    with pytest.raises(DataError, match=r"manifest.json: paths.0: String should match"):
        FORMATS["donkeycar"](source)


@pytest.mark.parametrize("version", ["v3.0", "v2.1"])
def test_a_lerobot_dataset_is_imported(tmp_path: Path, version: str) -> None:
    done = bring("lerobot", lerobot(tmp_path / "lerobot", [5, 7, 80], version), tmp_path / "data")
    assert (done.rows, done.skipped) == (92, ())
    assert done.notes == ("columns that are not imported: next.reward",)
    found = open_dataset(tmp_path / "data")
    assert [(entry.length, entry.task) for entry in found.entries] == [
        (5, "left lap"), (7, "right lap"), (80, "left lap")]  # fmt: skip
    assert (found.features.states, found.features.actions) == (("x", "y"), ("steering", "throttle"))
    assert found.info.interventions == 23
    second = all_of(found)[1]
    assert second.states[:, 0].tolist() == [5, 6, 7, 8, 9, 10, 11]
    assert second.timestamps[3] == pytest.approx(0.3)


def test_our_own_dataset_is_a_lerobot_dataset(tmp_path: Path) -> None:
    bring("udacity", udacity(tmp_path / "log", TENTHS), tmp_path / "one")
    bring("lerobot", tmp_path / "one", tmp_path / "two")
    (here,), (there,) = all_of(open_dataset(tmp_path / "one")), all_of(open_dataset(tmp_path / "two"))
    assert here.digest() == there.digest()


def test_a_damaged_lerobot_dataset_gives_what_is_sound(tmp_path: Path) -> None:
    states: list[list[float] | None] = [[0.0, 1.0] for _ in range(20)]
    states[3], states[4], states[5] = None, [float("nan"), 0.0], [1.0]
    pictures: list[dict[str, object]] = [{"bytes": png(8, 6, n), "path": f"{n}.png"} for n in range(20)]
    pictures[10], pictures[11] = (
        {"bytes": None, "path": "elsewhere.png"},
        {"bytes": b"no picture", "path": "x"},
    )
    source = lerobot(
        tmp_path / "lerobot", [20],
        **{"observation.state": pa.array(states, pa.list_(pa.float64())),
           "observation.images.top": pa.array(pictures)},
    )  # fmt: skip
    (source / "data/chunk-000/file-001.parquet").write_bytes(b"PAR1 no parquet PAR1")
    done = bring("lerobot", source, tmp_path / "data")
    assert done.frames == 15
    found = reasons(done)
    assert found["observation.state is missing in 1 of 1 rows"] == 1
    assert found["a number is not finite"] == 1
    assert found["observation.state does not hold 2 numbers in every row"] == 1
    assert found["observation.images.top lacks the bytes of 1 pictures"] == 1
    assert found["a picture that is neither PNG nor JPEG, or is damaged"] == 1
    assert any("a file that cannot be read" in reason and "file-001" in reason for reason in found)


SOURCES: dict[str, Callable[[Path], Path]] = {
    "udacity": lambda folder: udacity(folder, [*range(0, 2000, 100), *range(9000, 11_000, 100)]),
    "donkeycar": lambda folder: tub(folder, [record(n, 50 * n) for n in range(40)], deleted=[20]),
    "lerobot": lambda folder: lerobot(folder, [20, 20]),
}


@pytest.mark.parametrize("kind", SOURCES)
def test_the_same_recording_twice_adds_nothing(tmp_path: Path, kind: str) -> None:
    source = SOURCES[kind](tmp_path / "source")
    first = bring(kind, source, tmp_path / "data")
    before = open_dataset(tmp_path / "data").entries
    again = bring(kind, source, tmp_path / "data")
    assert (again.episodes, again.known_episodes, again.known_frames) == (0, first.episodes, first.frames)
    assert open_dataset(tmp_path / "data").entries == before
    copy = SOURCES[kind](tmp_path / "elsewhere")
    assert bring(kind, copy, tmp_path / "data").episodes == 0


class _Broken(Exception):
    pass


@pytest.mark.parametrize("kind", SOURCES)
def test_an_import_that_broke_off_is_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    source = SOURCES[kind](tmp_path / "source")
    bring(kind, source, tmp_path / "at once")
    written = dataset_module.write_whole
    calls = iter(range(100))

    def write(path: Path, data: bytes) -> None:
        if next(calls) == 7:  # in the second episode
            raise _Broken
        written(path, data)

    with monkeypatch.context() as patch:
        patch.setattr(dataset_module, "write_whole", write)
        with pytest.raises(_Broken):
            bring(kind, source, tmp_path / "data")
    assert len(open_dataset(tmp_path / "data")) == 1
    done = bring(kind, source, tmp_path / "data")
    assert (done.episodes, done.known_episodes) == (1, 1)
    assert open_dataset(tmp_path / "data").entries == open_dataset(tmp_path / "at once").entries


def test_a_recording_that_grew_is_refused(tmp_path: Path) -> None:
    source = udacity(tmp_path / "log", TENTHS)
    bring("udacity", source, tmp_path / "data")
    log = source / "driving_log.csv"
    log.write_text(log.read_text() + udacity_rows([0])[0])
    with pytest.raises(DataError, match="1 episodes of an earlier state of this recording; import only"):
        bring("udacity", source, tmp_path / "data")
    pool = tub(tmp_path / "tub", [record(n, 50 * n) for n in range(10)])
    bring("donkeycar", pool, tmp_path / "tubs")
    manifest = pool / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"deleted_indexes": []', '"deleted_indexes": [0]'))
    with pytest.raises(DataError, match="an earlier state of this recording"):
        bring("donkeycar", pool, tmp_path / "tubs")


def test_what_is_no_recording_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "driving_log.csv").write_text("1,2,3\n")
    (tmp_path / "manifest.json").write_text("{}")
    (tmp_path / "meta").mkdir()
    (tmp_path / "meta/info.json").write_text('{"codebase_version": "v1.6", "fps": 10, "features": {}}')
    for kind, message in (
        ("udacity", "driving_log.csv has no row with 7 columns"),
        ("donkeycar", "has 1 lines, and a tub of version 2 has 5"),
        ("lerobot", "is of version v1.6; known: v3.0"),
    ):
        with pytest.raises(DataError, match=message) as told:
            FORMATS[kind](tmp_path)
        assert "\n" not in str(told.value)
        with pytest.raises(DataError, match="is missing"):
            FORMATS[kind](tmp_path / "nowhere")


def test_recordings_of_another_kind_do_not_mix(tmp_path: Path) -> None:
    bring("udacity", SOURCES["udacity"](tmp_path / "log"), tmp_path / "data")
    with pytest.raises(DataError, match=r"data has states speed, the recording none; import it into another"):
        bring("donkeycar", SOURCES["donkeycar"](tmp_path / "tub"), tmp_path / "data")
