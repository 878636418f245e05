"""What the demo does to the processes and files around it."""

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import anyio
import pytest

from node.blobs import Blobs
from node.demo.evaluation import Evaluator
from node.demo.layout import DemoError, Layout
from node.demo.session import Demo, blob_of
from protocol.ids import digest_of


def test_looking_into_a_daemons_store_leaves_its_unfinished_files_alone(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    store = Blobs(layout.node(0) / "data" / "blobs")
    unfinished, head = store.new_temp(), store.put(b"head")
    demo = cast(Demo, SimpleNamespace(options=SimpleNamespace(peers=1), layout=layout))
    assert blob_of(demo, head).read_bytes() == b"head"
    assert unfinished.exists()
    with pytest.raises(DemoError, match="no node has the blob"):
        blob_of(demo, digest_of(b"another"))


async def test_an_evaluator_that_died_is_named_in_one_line(tmp_path: Path) -> None:
    process = await anyio.open_process([sys.executable, "-c", ""])
    await process.wait()
    evaluator = Evaluator(process)
    for _ in range(2):
        with pytest.raises(DemoError, match="the evaluator ended"):
            await evaluator.lap_success(tmp_path, 1)


def test_a_second_demo_keeps_its_hands_off_a_running_ones_directory(tmp_path: Path) -> None:
    journal = tmp_path / "run" / "journal"
    with Layout(tmp_path).prepared():
        journal.touch()
        with pytest.raises(DemoError, match="another demo is running"), Layout(tmp_path).prepared():
            pass
        assert journal.exists()
    with Layout(tmp_path).prepared():
        assert not journal.exists()


@pytest.mark.parametrize("kept", ["notes.txt", "run"])
def test_a_directory_that_is_not_a_demos_is_left_as_it_is(tmp_path: Path, kept: str) -> None:
    (tmp_path / kept).mkdir()
    with pytest.raises(DemoError, match="holds something else; name an empty"), Layout(tmp_path).prepared():
        pass
    assert [path.name for path in tmp_path.iterdir()] == [kept]
