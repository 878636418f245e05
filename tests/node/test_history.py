"""The weights of past rounds, kept for a replay."""

import errno
import logging
import os
import shutil
from pathlib import Path

import pytest

from learners.learner import Comparison
from node.blobs import Blobs, stored_blob
from node.config import LearnerSection
from node.history import BlobHistory, HistoryError, kept_blob, read_notes
from node.provenance import Provenance, provenance_of
from protocol.fields import canonical
from protocol.ids import Digest, Round, digest_of
from tests.node.nodes import running, world_of
from tests.node.world import TOPIC, StubLearner
from tests.protocol.world import PEERS

HERE = Provenance(
    python="3.11.7", system="Linux x86_64", cpu="a cpu (avx2)", threads=1, packages={"torch": "2.13.0"},
    learner="stub", options={"seed": 1},
)  # fmt: skip


def history_in(folder: Path, quota: int = 1000, provenance: Provenance = HERE) -> BlobHistory:
    return BlobHistory(folder, quota, TOPIC, PEERS[0], provenance)


def put(blobs: Blobs, *bodies: bytes) -> dict[Digest, Path]:
    found = {blobs.put(body): body for body in bodies}
    return {digest: path for digest in found if (path := blobs.path_of(digest)) is not None}


async def test_what_was_voted_on_and_proposed_stays_when_the_store_forgets_it(tmp_path: Path) -> None:
    async with world_of(tmp_path, 3, max_rounds=9, round_window=20) as world:
        learner = Remembering()
        peer = world.identities[0].peer
        history = BlobHistory(tmp_path / "0" / "history", 10_000, TOPIC, peer, HERE)
        nodes = [world.node(0, learner, history), world.node(1), world.node(2)]
        await world.topic.submit(canonical(world.genesis))
        async with running(*nodes):
            await world.until(lambda: all(n.driver.view.state and n.state.open is None for n in nodes))
            await world.until(lambda: len(list((tmp_path / "0" / "blobs").iterdir())) <= 7)
        proposed = [record.proposal for record in world.with_effect("verdict")]
        own = {digest for body in proposed if body.proposer == 0 for digest in (body.base, body.candidate)}
    assert own
    assert len(learner.seen) > 4
    data = tmp_path / "0"
    assert all(kept_blob(data, digest) is not None for digest in own | learner.seen)
    assert any(stored_blob(data / "blobs", digest) is None for digest in own | learner.seen)
    (note,) = read_notes(data / "history")
    assert (note.topic, note.peer, note.provenance) == (TOPIC, peer, HERE)
    assert not (tmp_path / "1" / "history").exists()


class Remembering(StubLearner):
    """Knows which weights it has compared."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[Digest] = set()

    async def score(self, head: Path, candidate: Path, round: Round, deadline: float) -> Comparison:
        self.seen |= {digest_of(head.read_bytes()), digest_of(candidate.read_bytes())}
        return await super().score(head, candidate, round, deadline)


def test_a_round_is_kept_as_a_whole_or_not_at_all(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    blobs, data = Blobs(tmp_path / "blobs"), tmp_path
    history = history_in(tmp_path / "history", quota=250)
    first, second = put(blobs, b"a" * 100, b"b" * 100), put(blobs, b"b" * 100, b"c" * 60)
    third, fourth = put(blobs, b"d" * 50), put(blobs, b"e")
    assert history.keep(Round(1), first)
    assert history.keep(Round(1), first), "what is there needs no room"
    assert not history.keep(Round(2), second)
    assert not history.keep(Round(3), second)
    (said,) = [record.getMessage() for record in caplog.records]
    assert said.startswith("the history is full: round 2 and, it may be, those after it cannot be replayed")
    assert "history_quota" in said
    assert history.keep(Round(4), third)
    again = history_in(tmp_path / "history", quota=250)
    assert not again.keep(Round(5), fourth), "what an earlier life kept counts"
    shutil.rmtree(tmp_path / "blobs")
    assert kept_blob(data, digest_of(b"b" * 100)) is not None
    assert kept_blob(data, digest_of(b"c" * 60)) is None


def test_a_disk_without_links_has_copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "link", refuse)
    files = put(Blobs(tmp_path / "blobs"), b"weights")
    assert history_in(tmp_path / "history").keep(Round(1), files)
    (file,) = files.values()
    file.unlink()
    found = kept_blob(tmp_path, digest_of(b"weights"))
    assert found is not None
    assert found.read_bytes() == b"weights"


def test_what_has_rotted_is_not_kept(tmp_path: Path) -> None:
    files = put(Blobs(tmp_path / "blobs"), b"weights")
    assert history_in(tmp_path / "history").keep(Round(1), files)
    (file,) = files.values()
    file.write_bytes(b"weightz")
    assert kept_blob(tmp_path, digest_of(b"weights")) is None


def test_it_is_noted_when_something_else_computes(tmp_path: Path) -> None:
    files = put(Blobs(tmp_path / "blobs"), b"weights")
    other = HERE.model_copy(update={"packages": {"torch": "2.14.0"}, "options": {}})
    for round, provenance in ((3, HERE), (4, HERE), (6, other), (7, other), (8, HERE)):
        assert history_in(tmp_path / "history", provenance=provenance).keep(Round(round), files)
    notes = read_notes(tmp_path / "history")
    assert [(note.since, note.provenance) for note in notes] == [(3, HERE), (6, other), (8, HERE)]
    assert HERE.differences(other) == ("torch was 2.13.0, is 2.14.0", "option seed was 1, is not there")
    assert HERE.differences(HERE) == ()


@pytest.mark.parametrize("damage", [b"", b"[]x", b'[{"topic": 1}]', b"\xff"])
def test_damaged_notes_are_refused_in_one_line(tmp_path: Path, damage: bytes) -> None:
    (tmp_path / "provenance.json").write_bytes(damage)
    with pytest.raises(
        HistoryError, match=r"provenance.json is damaged .*; restore it, or move .* away$"
    ) as refused:
        read_notes(tmp_path)
    assert "\n" not in str(refused.value)


def test_the_provenance_of_this_machine() -> None:
    found = provenance_of(LearnerSection(name="digits", options={"of": 3}))
    assert found.packages["torch"]
    assert found.packages["roundabout-learning"]
    assert found.cpu
    assert (found.threads, found.learner, found.options) == (1, "digits", {"of": 3})
    assert found == Provenance.model_validate_json(found.model_dump_json())
