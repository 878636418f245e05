"""Small recordings in the formats of others, made on disk."""

import json
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tests.learners.pictures import jpeg, png

HEADER = "center,left,right,steering,throttle,brake,speed"


def stamp(millisecond: int) -> str:
    """The time of an Udacity picture, so many milliseconds after noon."""
    second, rest = divmod(millisecond, 1000)
    return f"2024_01_31_12_{second // 60:02d}_{second % 60:02d}_{rest:03d}"


def udacity_rows(times: Sequence[int], folder: str = "C:\\Users\\me\\sim\\IMG\\") -> list[str]:
    return [
        ", ".join([*(f"{folder}{side}_{stamp(time)}.jpg" for side in ("center", "left", "right")),
                   f"{(n % 5 - 2) / 10}", "0.5", "0", "20.0"])
        for n, time in enumerate(times)
    ]  # fmt: skip


def udacity(folder: Path, times: Sequence[int], rows: Sequence[str] | None = None) -> Path:
    """A recording with a picture for every time; rows: other lines than those of the times."""
    (folder / "IMG").mkdir(parents=True)
    for time in times:
        (folder / f"IMG/center_{stamp(time)}.jpg").write_bytes(jpeg(32, 16, time))
    (folder / "driving_log.csv").write_text("\n".join(udacity_rows(times) if rows is None else rows) + "\n")
    return folder


def record(index: int, time: int, **other: object) -> dict[str, object]:
    return {
        "_index": index, "_session_id": "24-01-31_0", "_timestamp_ms": 1_700_000_000_000 + time,
        "cam/image_array": f"{index}_cam_image_array_.jpg", "user/angle": 0.25, "user/throttle": 0.5,
        "user/mode": "user",
    } | other  # fmt: skip


def tub(
    folder: Path,
    records: Sequence[dict[str, object] | str],
    *,
    deleted: Sequence[int] = (),
    inputs: Sequence[str] = ("cam/image_array", "user/angle", "user/throttle", "user/mode"),
    per_catalog: int = 1000,
) -> Path:
    """A tub with a picture for every record that is an object."""
    (folder / "images").mkdir(parents=True)
    for each in records:
        if isinstance(each, dict):
            index = int(str(each["_index"]))
            (folder / f"images/{each['cam/image_array']}").write_bytes(jpeg(16, 12, index))
    names = []
    for start in range(0, len(records), per_catalog):
        names.append(f"catalog_{start // per_catalog}.catalog")
        lines = [
            each if isinstance(each, str) else json.dumps(each)
            for each in records[start : start + per_catalog]
        ]
        (folder / names[-1]).write_text("\n".join(lines) + "\n")
    last = {
        "paths": names,
        "current_index": len(records),
        "max_len": per_catalog,
        "deleted_indexes": list(deleted),
    }
    types = ["image_array", *["float"] * (len(inputs) - 1)]
    manifest = [list(inputs), types, {}, {"created_at": 1.0}, last]
    (folder / "manifest.json").write_text("\n".join(map(json.dumps, manifest)) + "\n")
    return folder


def lerobot(folder: Path, lengths: Sequence[int], version: str = "v3.0", **replaced: pa.Array) -> Path:
    """A LeRobot dataset with pictures, as their writers lay it out; replaced: columns of the data instead."""
    frames = sum(lengths)
    episodes = [number for number, length in enumerate(lengths) for _ in range(length)]
    places = [frame for length in lengths for frame in range(length)]
    columns = {
        "observation.state": pa.array([[float(n), 1.0] for n in range(frames)], pa.list_(pa.float32(), 2)),
        "action": pa.array([[n / 100, -0.5] for n in range(frames)], pa.list_(pa.float32(), 2)),
        "is_intervention": pa.array([n % 4 == 0 for n in range(frames)]),
        "observation.images.top": pa.array(
            [{"bytes": png(8, 6, n), "path": f"{n}.png"} for n in range(frames)]
        ),
        "next.reward": pa.array([0.0] * frames, pa.float32()),
        "timestamp": pa.array([place / 10 for place in places], pa.float32()),
        "frame_index": pa.array(places),
        "episode_index": pa.array(episodes),
        "index": pa.array(range(frames)),
        "task_index": pa.array([episode % 2 for episode in episodes]),
    } | replaced
    table = pa.table(columns)
    single = {"shape": [1], "names": None}
    features = {
        "observation.state": {"dtype": "float32", "shape": [2], "names": {"motors": ["x", "y"]}},
        "action": {"dtype": "float32", "shape": [2], "names": ["steering", "throttle"]},
        "is_intervention": {"dtype": "bool", **single},
        "observation.images.top": {
            "dtype": "image",
            "shape": [6, 8, 3],
            "names": ["height", "width", "channel"],
        },
        "next.reward": {"dtype": "float32", **single},
        **{
            name: {"dtype": "int64", **single}
            for name in ("frame_index", "episode_index", "index", "task_index")
        },
        "timestamp": {"dtype": "float32", **single},
    }
    (folder / "meta").mkdir(parents=True)
    (folder / "data/chunk-000").mkdir(parents=True)
    info = {"codebase_version": version, "fps": 10, "features": features, "total_episodes": len(lengths)}
    (folder / "meta/info.json").write_text(json.dumps(info))
    if version == "v3.0":
        pq.write_table(table, folder / "data/chunk-000/file-000.parquet")
        tasks = pa.table({"task_index": [0, 1], "__index_level_0__": ["left lap", "right lap"]})
        pq.write_table(tasks, folder / "meta/tasks.parquet")
        return folder
    for number in range(len(lengths)):
        chosen = table.filter(pa.array([episode == number for episode in episodes]))
        pq.write_table(chosen, folder / f"data/chunk-000/episode_{number:06d}.parquet")
    lines = [json.dumps({"task_index": n, "task": task}) for n, task in enumerate(("left lap", "right lap"))]
    (folder / "meta/tasks.jsonl").write_text("\n".join(lines))
    return folder
