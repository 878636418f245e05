"""A dataset is whole or as it was before, whatever happens; its parts are settled once; foreign bytes are refused."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from learners import files
from learners.data import dataset as dataset_module
from learners.data import meta
from learners.data.dataset import Dataset, open_dataset
from learners.data.episode import DataError, Episode, Features, ImageShape, episode_of
from learners.data.split import part_of
from protocol.ids import Ppm
from tests.learners.pictures import png

FEATURES = Features(20, ("speed", "bend"), ("steering", "throttle"), validation=Ppm(250_000))
WITH_IMAGES = Features(10, ("speed",), ("steering",), ImageShape(6, 8), Ppm(500_000))


def drive(seed: int, frames: int = 5, features: Features = FEATURES) -> Episode:
    rng = np.random.default_rng(seed)
    shape = features.image
    return episode_of(
        rng.standard_normal((frames, len(features.states))),
        rng.standard_normal((frames, len(features.actions))),
        rng.random(frames) < 0.5,
        np.arange(frames) / features.fps,
        None if shape is None else [png(shape.width, shape.height, seed * 1000 + f) for f in range(frames)],
    )


def same(one: Episode, other: Episode) -> bool:
    return one.digest() == other.digest() and one.images == other.images


def all_of(found: Dataset) -> list[Episode]:
    return [found.read(entry) for entry in found.entries]


@pytest.mark.parametrize("features", [FEATURES, WITH_IMAGES, Features(5, (), ("a", "b", "c"))])
def test_what_was_appended_is_read_again(tmp_path: Path, features: Features) -> None:
    first = open_dataset(tmp_path, create=features)
    episodes = [drive(seed, frames, features) for seed, frames in enumerate((1, 300, 7, 64))]
    for episode in episodes:
        first.append(episode, task="around the lake")
    found = open_dataset(tmp_path)
    assert all(map(same, all_of(found), episodes))
    for read, written in zip(all_of(found), episodes, strict=True):
        assert np.array_equal(read.states, written.states)
        assert np.array_equal(read.actions, written.actions)
        assert np.array_equal(read.interventions, written.interventions)
        assert np.allclose(read.timestamps, written.timestamps, atol=1e-6)
        assert read.timestamps.dtype == np.float64
    info = found.info
    assert (info.episodes, info.frames, info.features) == (4, 372, features)
    assert info.interventions == sum(int(e.interventions.sum()) for e in episodes)
    assert info.tasks == ("around the lake",)
    assert info.train + info.validation == 4
    assert info.train_frames + info.validation_frames == 372


def test_each_episode_is_in_one_part_for_ever(tmp_path: Path) -> None:
    found = open_dataset(tmp_path, create=FEATURES)
    parts = {}
    for seed in range(24):
        found.append(drive(seed))
        again = open_dataset(tmp_path)
        for entry in again.entries:
            assert parts.setdefault(entry.digest, entry.part) == entry.part
    trained = {episode.digest() for episode in found.train()}
    validated = {episode.digest() for episode in found.validation()}
    assert len(validated) == 6
    assert len(trained) == 18
    assert not trained & validated


def test_equal_episodes_are_never_on_both_sides(tmp_path: Path) -> None:
    found = open_dataset(tmp_path, create=FEATURES)
    for _ in range(12):
        found.append(drive(1))
    assert len({entry.part for entry in found.entries}) == 1
    twice = open_dataset(tmp_path / "at once", create=FEATURES)
    twice.extend([drive(seed % 3) for seed in range(24)])
    assert len({(entry.digest, entry.part) for entry in twice.entries}) == 3


@given(st.integers(0, 1_000_000), st.text(max_size=8), st.integers(1, 400))
def test_any_number_of_episodes_has_its_share(share: int, salt: str, episodes: int) -> None:
    parts = [part_of(number, Ppm(share), salt) for number in range(episodes)]
    for count in {1, episodes // 2, episodes} - {0}:
        assert abs(parts[:count].count("validation") - count * share / 1_000_000) <= 1
    assert parts == [part_of(number, Ppm(share), salt) for number in range(episodes)]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1_000_000), st.lists(st.integers(0, 6), min_size=1, max_size=12), st.text(max_size=5))
def test_no_frame_is_ever_in_both_parts(
    tmp_path_factory: pytest.TempPathFactory, share: int, seeds: list[int], salt: str
) -> None:
    features = Features(20, ("x",), ("y",), validation=Ppm(share), salt=salt)
    folder = tmp_path_factory.mktemp("split")
    found = open_dataset(folder, create=features)
    found.extend([drive(seed, 3, features) for seed in seeds])
    rows = {part: {row.tobytes() for episode in episodes for row in np.hstack([episode.states, episode.actions])}
            for part, episodes in (("t", found.train()), ("v", found.validation()))}  # fmt: skip
    assert not rows["t"] & rows["v"]
    assert len(rows["t"] | rows["v"]) == 3 * len(set(seeds))


def test_the_salt_decides_who_is_drawn() -> None:
    drawn = {salt: [part_of(n, Ppm(200_000), salt) for n in range(50)] for salt in "abc"}
    assert drawn["a"] != drawn["b"] != drawn["c"]
    assert {part_of(0, Ppm(0), salt) for salt in "abc"} == {"train"}


class _Broken(Exception):
    pass


def _break_at(monkeypatch: pytest.MonkeyPatch, module: ModuleType, call: int, *, is_written: bool) -> None:
    calls = iter(range(1000))

    def write(path: Path, data: bytes) -> None:
        if next(calls) != call:
            files.write_whole(path, data)
        elif is_written:
            files.write_whole(path, data)
            raise _Broken
        else:
            path.with_name(path.name + files.TEMPORARY).write_bytes(data[: len(data) // 2])
            raise _Broken

    monkeypatch.setattr(module, "write_whole", write)


@pytest.mark.parametrize("is_written", [False, True])
@pytest.mark.parametrize("call", range(6))
def test_a_crash_at_any_write_leaves_all_or_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: int, is_written: bool
) -> None:
    found = open_dataset(tmp_path, create=FEATURES)
    found.append(drive(0))
    with monkeypatch.context() as patch:
        _break_at(patch, dataset_module, call, is_written=is_written)
        with pytest.raises(_Broken):
            # Three files of frames, the tasks, the episodes, the totals.
            found.extend([drive(1), drive(2), drive(3)], task="another")
    after = open_dataset(tmp_path)
    assert len(after) in ({1, 4} if call == 4 else {4} if call == 5 else {1})
    assert all(same(one, drive(seed)) for seed, one in enumerate(all_of(after)))
    count = len(after)
    found.append(drive(9))  # the process that met the fault goes on
    again = open_dataset(tmp_path)
    assert len(again) == count + 1
    assert same(again.read(again.entries[-1]), drive(9))
    on_disk = sorted((tmp_path / "data/chunk-000").glob("*.parquet"))
    assert len(on_disk) == count + 1  # nothing that LeRobot would read, and we would not
    assert meta.parse(meta.InfoFile, tmp_path / "meta/info.json").total_episodes == count + 1


@pytest.mark.parametrize("call", range(2))
def test_a_crash_while_the_folder_is_made_leaves_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: int
) -> None:
    with monkeypatch.context() as patch:
        _break_at(patch, dataset_module, call, is_written=False)
        with pytest.raises(_Broken):
            open_dataset(tmp_path, create=FEATURES)
    with pytest.raises(DataError, match="holds no dataset"):
        open_dataset(tmp_path)
    other = Features(7, (), ("a",))
    assert open_dataset(tmp_path, create=other).features == other


_APPEND_FOR_EVER = """
import sys
from pathlib import Path
from learners.data.dataset import open_dataset
from tests.learners.test_dataset import drive
found = open_dataset(Path(sys.argv[1]))
for seed in range(10_000):
    found.extend([drive(seed), drive(seed + 20_000)], task=f"task {seed % 50}")
    sys.stdout.write("+\\n")
    sys.stdout.flush()
"""


def test_a_killed_process_leaves_pairs_of_whole_episodes(tmp_path: Path) -> None:
    open_dataset(tmp_path, create=FEATURES)
    for _ in range(3):
        before = len(open_dataset(tmp_path)) // 2
        with subprocess.Popen(
            [sys.executable, "-c", _APPEND_FOR_EVER, str(tmp_path)], stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            told = sum(1 for _ in zip(range(4), process.stdout, strict=False))
            os.kill(process.pid, signal.SIGKILL)
            told += len(process.stdout.read()) // 2
        found = open_dataset(tmp_path)
        assert len(found) % 2 == 0
        assert before + told <= len(found) // 2 <= before + told + 1
        assert len(all_of(found)) == len(found)


def test_two_writers_take_turns(tmp_path: Path) -> None:
    one, other = open_dataset(tmp_path, create=FEATURES), open_dataset(tmp_path)
    one.append(drive(1), source="a")
    other.append(drive(2), source="b")
    with pytest.raises(DataError, match="has the episode a already"):
        other.append(drive(3), source="a")
    with dataset_module._alone(tmp_path), pytest.raises(DataError, match="another process appends"):
        one.append(drive(4))
    assert [entry.source for entry in open_dataset(tmp_path).entries] == ["a", "b"]


def test_a_long_dataset_has_several_files_of_episodes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(meta, "EPISODES_PER_FILE", 3)
    monkeypatch.setattr(meta, "FILES_PER_CHUNK", 2)
    found = open_dataset(tmp_path, create=FEATURES)
    for seed in range(11):
        found.append(drive(seed))
    names = [path.relative_to(tmp_path).as_posix() for path in sorted(tmp_path.glob("meta/episodes/*/*"))]
    assert names == [f"meta/episodes/chunk-00{n // 2}/file-00{n % 2}.parquet" for n in range(4)]
    assert (tmp_path / "data/chunk-005/file-000.parquet").exists()
    assert all(map(same, all_of(open_dataset(tmp_path)), map(drive, range(11))))


def test_the_share_is_set_while_there_is_nothing(tmp_path: Path) -> None:
    found = open_dataset(tmp_path, create=FEATURES)
    found.share(Ppm(1_000_000))
    assert open_dataset(tmp_path).append(drive(1)).part == "validation"
    with pytest.raises(DataError, match="1 episodes, and their parts are settled"):
        found.share(Ppm(0))


def test_the_layout_is_lerobot_s(tmp_path: Path) -> None:
    found = open_dataset(tmp_path, create=WITH_IMAGES)
    found.extend([drive(1, 3, WITH_IMAGES), drive(2, 2, WITH_IMAGES)], task="lap")
    table = pq.read_table(tmp_path / "data/chunk-000/file-001.parquet")
    assert table.column("index").to_pylist() == [3, 4]
    assert table.column("next.done").to_pylist() == [False, True]
    assert (
        table.column("observation.state").type == pa.float32()
    )  # a single number is bare, as LeRobot has it
    assert table.column("observation.images.front").type.get_field_index("bytes") == 0
    tasks = pq.read_table(tmp_path / "meta/tasks.parquet")
    assert tasks.to_pylist() == [{"task_index": 0, "task": "lap"}]
    assert b'"index_columns": ["task"]' in tasks.schema.metadata[b"pandas"]
    row = pq.read_table(tmp_path / "meta/episodes/chunk-000/file-000.parquet").to_pylist()[1]
    assert (row["dataset_from_index"], row["dataset_to_index"], row["data/file_index"]) == (3, 5, 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"actions": np.zeros((5, 3), np.float32)}, r"actions are float32 \(5, 3\), not float32 \(5, 2\)"),
        ({"states": np.zeros((5, 2), np.float64)}, "states are float64"),
        (
            {"states": np.full((5, 2), np.nan, np.float32)},
            "states hold a number that is not finite, in frame 0",
        ),
        ({"timestamps": np.array([0, 1, 2, 1.5, 3])}, "run backwards"),
        ({"timestamps": np.array([0, 1, 2, 3, np.inf])}, "timestamps hold a number that is not finite"),
        ({"interventions": np.zeros(4, np.bool_)}, "interventions are bool"),
        ({"images": (b"",) * 5}, "has pictures where the dataset has none"),
    ],
)
def test_an_episode_that_does_not_fit_is_refused(
    tmp_path: Path, change: dict[str, object], message: str
) -> None:
    good = drive(1)
    parts = {name: getattr(good, name) for name in Episode.__slots__} | change
    found = open_dataset(tmp_path, create=FEATURES)
    with pytest.raises(DataError, match=message):
        found.append(Episode(**parts))
    assert not (tmp_path / "data").exists()


def test_pictures_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    found = open_dataset(tmp_path, create=WITH_IMAGES)
    numbers = ([[0.0]], [[0.0]], [False], [0.0])
    for image, message in (
        (png(6, 8, 1), "picture of frame 0 is 6 x 8, those of the dataset 8 x 6"),
        (b"GIF89a" + bytes(100), "neither PNG nor JPEG"),
        (b"\x89PNG", "neither PNG nor JPEG"),
        (png(8, 6, 1, "RGBA"), "mode RGBA"),
        (bytes(5_000_000), "5,000,000 bytes; at most"),
    ):
        with pytest.raises(DataError, match=message):
            found.append(episode_of(*numbers, [image]))


def test_another_dataset_s_features_are_refused(tmp_path: Path) -> None:
    open_dataset(tmp_path, create=FEATURES)
    with pytest.raises(DataError, match="whose fps is 20, not 10; use another folder"):
        open_dataset(tmp_path, create=WITH_IMAGES)
    with pytest.raises(DataError, match="holds no dataset"):
        open_dataset(tmp_path / "nowhere")


def _rewrite(path: Path, **columns: pa.Array) -> None:
    table = pq.read_table(path)
    for name, values in columns.items():
        table = table.set_column(table.schema.get_field_index(name), name, values)
    pq.write_table(table, path)


def test_frames_that_changed_are_named(tmp_path: Path) -> None:
    found = open_dataset(tmp_path, create=FEATURES)
    entry = found.append(drive(1))
    path = tmp_path / "data/chunk-000/file-000.parquet"
    whole = path.read_bytes()
    _rewrite(path, intervention=pa.array([True] * 5))
    with pytest.raises(DataError, match=r"file-000.parquet is damaged: its frames changed"):
        found.read(entry)
    for columns, message in (
        ({"timestamp": pa.array(["x"] * 5)}, "not what meta/ says"),
        ({"timestamp": pa.array([None] * 5, pa.float32())}, "5 missing"),
        ({"action": pa.array([[0.0, 1.0]] * 4 + [None], pa.list_(pa.float32(), 2))}, "missing in 1 of 5"),
    ):
        path.write_bytes(whole)
        _rewrite(path, **columns)
        with pytest.raises(DataError, match=message):
            found.read(entry)
    path.unlink()
    with pytest.raises(DataError, match=r"file-000.parquet is missing; restore"):
        list(open_dataset(tmp_path).train())


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_a_changed_byte_is_noticed_or_harmless(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("damaged")
    found = open_dataset(folder, create=FEATURES)
    found.append(drive(1))
    path = folder / data.draw(st.sampled_from(["data/chunk-000/file-000.parquet", "meta/tasks.parquet",
                                               "meta/episodes/chunk-000/file-000.parquet"]))  # fmt: skip
    raw = bytearray(path.read_bytes())
    place = data.draw(st.integers(0, len(raw) - 1))
    raw[place] ^= data.draw(st.integers(1, 255))
    path.write_bytes(raw)
    try:
        (read,) = all_of(open_dataset(folder))
    except DataError as fault:
        told = str(fault)
    else:
        told = "" if same(read, drive(1)) else "\n"
    assert "\n" not in told


def test_episodes_that_vanish_are_missed(tmp_path: Path) -> None:
    found = open_dataset(tmp_path, create=FEATURES)
    found.append(drive(1))
    (tmp_path / "meta/episodes/chunk-000/file-000.parquet").unlink()
    for use in (lambda: open_dataset(tmp_path), lambda: found.append(drive(2))):
        with pytest.raises(DataError, match="meta/episodes has 0 of 1 episodes; restore"):
            use()
    assert (tmp_path / "data/chunk-000/file-000.parquet").exists()


def test_a_small_file_cannot_become_a_large_memory(tmp_path: Path) -> None:
    """One picture of a megabyte, said ten thousand times by a dictionary: 10 GB if it were believed."""
    found = open_dataset(tmp_path, create=Features(10, (), ("a",), ImageShape(6, 8)))
    features, frames = found.features, 10_000
    image = png(8, 6, 1) + bytes(1_000_000)  # what follows a picture's end is nobody's business
    pictures = pa.StructArray.from_arrays(
        [pa.DictionaryArray.from_arrays(pa.array([0] * frames, pa.int32()), pa.array([image])),
         pa.array(["x"] * frames)], ["bytes", "path"])  # fmt: skip
    zeros = pa.array([0] * frames)
    table = pa.table({
        "action": pa.array([0.0] * frames, pa.float32()), "intervention": pa.array([False] * frames),
        "timestamp": pa.array([0.0] * frames, pa.float32()), "frame_index": zeros, "episode_index": zeros,
        "index": zeros, "task_index": zeros, "next.done": pa.array([False] * frames),
        "observation.images.front": pictures,
    })  # fmt: skip
    path = tmp_path / "bomb.parquet"
    pq.write_table(table, path, compression="zstd", store_schema=False)
    assert path.stat().st_size < 100_000
    with pytest.raises(DataError, match="more than 268,435,456 bytes of pictures"):
        dataset_module.frames.load(path, features, frames)


def test_a_dataset_of_another_program_is_refused_with_the_way_out(tmp_path: Path) -> None:
    found = open_dataset(tmp_path, create=FEATURES)
    found.append(drive(1))
    path = tmp_path / "meta/episodes/chunk-000/file-000.parquet"
    pq.write_table(pq.read_table(path).drop_columns(["part"]), path)
    with pytest.raises(
        DataError, match=r"no column part: another program wrote it; .* data import --from lerobot"
    ):
        open_dataset(tmp_path)
    info = tmp_path / "meta/info.json"
    info.write_text(info.read_text().replace("v3.0", "v2.1"))
    with pytest.raises(DataError, match=r"version v2.1, not v3.0; import"):
        open_dataset(tmp_path)
    info.write_text("[]")
    with pytest.raises(DataError, match=r"info.json: .*; restore it"):
        open_dataset(tmp_path)


def test_the_digits_learner_loads_no_pyarrow() -> None:
    seen = "import sys; import learners.digits.learner, learners.worker; print('pyarrow' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", seen], capture_output=True, text=True, check=True)
    assert told.stdout == "False\n"
