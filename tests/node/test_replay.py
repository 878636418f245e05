"""`roundabout replay`: what a peer signed is found again, and what is not is named."""

import json
import shutil
import struct
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import anyio
import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from click.testing import CliRunner, Result

from learners.driving.learner import DrivingLearner, driving_learner
from learners.learner import Comparison, LearnerError
from ledger.audit import audit
from node.blobs import Blobs
from node.cli.main import main
from node.config import load_config
from node.history import FOLDER, BlobHistory, HistoryError, MergeNote
from node.provenance import provenance_of
from node.replay import Claim, Fate, Finding, claims_of, recompute
from protocol.ids import Digest, Ppm, Round, digest_of
from protocol.messages import Choice, Contributor
from protocol.params import LearnerRef
from protocol.rules import choice_for, count_of, tally
from tests.ledger.test_audit import PLAYED, TOPIC, ChainedRun
from tests.node.world import StubLearner, number_in
from tests.protocol.world import PEERS, account, verdict

ZERO, ONE, TWO = (struct.pack("<d", float(number)) for number in range(3))
PROPOSER = 0


# ---- what there is to do again ----


def test_the_claims_of_a_peer_are_its_votes_and_its_proposals() -> None:
    rounds = audit(TOPIC, PLAYED.entries).rounds
    claims = [(place, claim) for place in range(4) for claim in claims_of(rounds, place)]
    with_proposal = [closed for closed in rounds if closed.proposal is not None]
    assert sum(claim.what == "training" for _, claim in claims) == len(with_proposal) == 3
    votes = [(place, claim.round, claim.vote) for place, claim in claims if claim.vote is not None]
    signed = [(v.body.voter, c.number, (v.body.choice, v.body.gain)) for c in with_proposal for v in c.votes]
    assert sorted(votes) == sorted(signed)
    assert any(len(c.votes) > c.counted for c in with_proposal), "a late vote is one, too"
    for place, claim in claims:
        (closed,) = (c for c in with_proposal if c.number == claim.round)
        assert closed.proposal is not None
        assert (claim.base, claim.candidate) == (closed.proposal.body.base, closed.proposal.body.candidate)
        assert (claim.vote is None) == (closed.proposer == place)


def test_the_work_of_several_is_known_as_such() -> None:
    run = ChainedRun()
    shares = (
        Contributor(account=account(0), share=Ppm(600_000)),
        Contributor(account=account(1), share=Ppm(400_000)),
    )
    proposal = run.proposal(contributors=shares)
    run.put(verdict(proposal, run.votes(proposal, *[Choice.APPROVE] * 3), "accepted"))
    rounds = audit(TOPIC, run.entries).rounds
    (claim,) = claims_of(rounds, rounds[0].proposer)
    assert claim.contributors == 2


# ---- doing it again ----


def found(data: Path, claim: Claim, learner: StubLearner | None = None) -> Finding:
    """What comes of one claim, with weights that are numbers."""
    scratch = data / "scratch"
    scratch.mkdir()

    async def do() -> list[Finding]:
        return [each async for each in recompute([claim], data, learner or StubLearner(), scratch)]

    (finding,) = anyio.run(do)
    assert not list(scratch.iterdir())
    return finding


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data directory with the weights 0, 1 and 2."""
    blobs = Blobs(tmp_path / "blobs")
    for weights in (ZERO, ONE, TWO, b"malformed"):
        blobs.put(weights)
    return tmp_path


def vote(choice: Choice, gain: int, candidate: bytes = ONE) -> Claim:
    return Claim(Round(3), digest_of(ZERO), digest_of(candidate), (choice, Ppm(gain)))


def training(candidate: bytes, contributors: int = 1) -> Claim:
    return Claim(Round(3), digest_of(ZERO), digest_of(candidate), None, contributors)


@pytest.mark.parametrize(
    ("claim", "fate"),
    [
        (vote(Choice.APPROVE, 100_000), Fate.SAME),
        (vote(Choice.APPROVE, 100_001), Fate.DIFFERS),
        (vote(Choice.REJECT, 100_000), Fate.DIFFERS),
        (vote(Choice.ABSTAIN, 0), Fate.DIFFERS),
        (vote(Choice.REJECT, 0, b"malformed"), Fate.SAME),
        (vote(Choice.ABSTAIN, 0, b"malformed"), Fate.DIFFERS),
        (vote(Choice.UNAVAILABLE, 0, b"never here"), Fate.UNSEEN),
        (vote(Choice.APPROVE, 5, b"never here"), Fate.MISSING),
        (training(ONE), Fate.SAME),
        (training(TWO), Fate.DIFFERS),
        (training(b"never here"), Fate.DIFFERS),
        (training(TWO, contributors=2), Fate.MERGED),
        (replace(training(TWO), gathers=True), Fate.MERGED),
        (replace(training(ONE), gathers=True), Fate.SAME),
        (replace(training(ONE), base=digest_of(b"gone")), Fate.MISSING),
        (replace(training(ONE), base=digest_of(b"malformed")), Fate.FAILED),
    ],
)  # fmt: skip
def test_what_comes_of_a_claim(data: Path, claim: Claim, fate: Fate) -> None:
    assert found(data, claim).fate is fate


@pytest.mark.parametrize(
    ("own", "updates", "candidate", "fate"),
    [
        (ONE, [ONE], TWO, Fate.SAME),
        (ONE, [ONE], ONE, Fate.SAME),  # the merge came to nothing
        (ONE, [ONE], ZERO, Fate.DIFFERS),
        (TWO, [ONE], struct.pack("<d", 3.0), Fate.DIFFERS),  # its own update was another
        (ONE, [b"never here"], TWO, Fate.MISSING),
    ],
)  # fmt: skip
def test_what_was_merged_is_merged_again(
    data: Path, own: bytes, updates: list[bytes], candidate: bytes, fate: Fate
) -> None:
    (data / FOLDER).mkdir()
    note = MergeNote(own=digest_of(own), updates=tuple(digest_of(update) for update in updates))
    (data / FOLDER / "merge-3.json").write_text(note.model_dump_json())
    assert found(data, training(candidate, contributors=1 if candidate == own else 2)).fate is fate


def test_a_damaged_note_of_a_merge_is_refused(data: Path) -> None:
    (data / FOLDER).mkdir()
    (data / FOLDER / "merge-3.json").write_text('{"own": "x"}')
    with pytest.raises(HistoryError, match=r"merge-3\.json is damaged"):
        found(data, training(TWO, contributors=2))


def test_differences_are_shown(data: Path) -> None:
    wrong = found(data, vote(Choice.REJECT, -7))
    assert wrong.said == "signed reject -7 ppm; found approve +100000 ppm"


def test_another_candidate_is_compared_with_the_one_proposed(data: Path) -> None:
    said = f"signed {digest_of(TWO)}; found {digest_of(ONE)}, which scores -100000 ppm beside it"
    assert found(data, training(TWO)).said == said


def test_missing_weights_are_named(data: Path) -> None:
    claim = replace(vote(Choice.APPROVE, 5, b"never here"), base=digest_of(b"nor here"))
    assert found(data, claim).missing == (digest_of(b"nor here"), digest_of(b"never here"))


def test_a_learner_that_cannot_is_a_finding(data: Path) -> None:
    class Broken(StubLearner):
        async def score(self, head: Path, candidate: Path, round: Round, deadline: float) -> Comparison:
            raise LearnerError("the learner's process died")

    finding = found(data, vote(Choice.APPROVE, 100_000), Broken())
    assert (finding.fate, finding.said) == (Fate.FAILED, "the learner's process died")
    assert number_in(data / "blobs" / bytes_name(ONE)) == 1.0


def bytes_name(weights: bytes) -> str:
    import hashlib

    return hashlib.sha256(weights).hexdigest()


# ---- a run on roads, and the command ----

OPTIONS = {
    "family": "medium", "labels_per_turn": 20, "train_tracks": 2, "validation_tracks": 2,
    "validation_starts": 1, "train_steps": 10, "hidden": 8,
}  # fmt: skip
LEARNER = "learners.driving.learner:driving_learner"
ROUNDS = 4
US = 1
"""Our place in a run of two."""


@dataclass
class Home:
    """Our home after a run, and the run's topic."""

    folder: Path
    topic: Path
    rounds: list[tuple[int, int, Digest, Digest]]
    """Number, proposer, base and candidate of each."""

    def replay(self, *arguments: object) -> Result:
        command = ["replay", "--home", str(self.folder), "--topic", str(self.topic), *map(str, arguments)]
        return CliRunner().invoke(main, command, prog_name="roundabout")

    def facts(self, status: int, *arguments: object) -> Any:
        result = self.replay("--json", *arguments)
        assert result.exit_code == status, result.output
        return json.loads(result.stdout)

    def contents(self) -> dict[str, bytes]:
        files = (file for file in self.folder.rglob("*") if file.is_file())
        return {str(file.relative_to(self.folder)): file.read_bytes() for file in files}

    def configure(self, options: dict[str, Any]) -> None:
        pairs = "\n".join(f"{key} = {json.dumps(value)}" for key, value in options.items())
        (self.folder / "node.toml").write_text(
            f'data = "data"\n[identity]\nfile = "no-key-is-needed.pem"\n[ledger]\nnetwork = "localnet"\n'
            f'topic = "{TOPIC}"\naccount = "{account(US)}"\n[learner]\nname = "{LEARNER}"\n'
            f"[learner.options]\n{pairs}\n"
        )


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """Two drive, in turns; what one of them is left with."""
    folder = tmp_path_factory.mktemp("home")
    made = Home(folder, folder.parent / f"{folder.name}.json", [])
    made.configure(OPTIONS | {"seed": US})
    learners = [
        driving_learner(
            OPTIONS | {"seed": place}, folder / "data" / "learner" if place == US else folder.parent / "x"
        )
        for place in range(2)
    ]
    blobs = Blobs(folder / "data" / "blobs")
    history = BlobHistory(
        folder / "data" / FOLDER,
        10**6,
        TOPIC,
        PEERS[US],
        provenance_of(load_config(folder / "node.toml").learner),
    )
    play(made, learners, blobs, history)
    return made


def play(made: Home, learners: list[DrivingLearner], blobs: Blobs, history: BlobHistory) -> None:
    spec, out = learners[0].describe(), made.folder.parent / "weights"
    learners[0].initial(out)
    run = ChainedRun(
        2, learner=LearnerRef(name=spec.name, spec=spec.digest()), initial=blobs.put(out.read_bytes())
    )
    for number in range(1, ROUNDS + 1):
        proposer, round = run.current.proposer, Round(number)
        head = blobs.path_of(run.now.head)
        assert head is not None
        learners[proposer].propose(head, round, out)
        candidate = blobs.put(out.read_bytes())
        made.rounds.append((number, proposer, run.now.head, candidate))
        path = blobs.path_of(candidate)
        assert path is not None
        assert history.keep(round, {run.now.head: head, candidate: path})
        seen = learners[1 - proposer].score(head, path, round)
        proposal = run.proposal(candidate=candidate)
        cast = run.vote(proposal, 1 - proposer, choice_for(seen.gain, seen.error), gain=seen.gain)
        outcome = tally(count_of([cast.body.choice], 2), run.now.params)
        assert outcome is not None
        run.put(verdict(proposal, [cast], outcome))
    made.topic.write_text(json.dumps({"messages": run.entries}))


def test_a_driver_finds_again_all_that_it_signed(home: Home) -> None:
    before = home.contents()
    facts = home.facts(0)
    assert home.contents() == before, "nothing in a home is written to"
    assert facts["ok"] is True
    assert facts["place"] == US
    assert [finding["fate"] for finding in facts["findings"]] == ["same"] * ROUNDS
    trained = [each["round"] for each in facts["findings"] if each["what"] == "training"]
    assert len(trained) == 2, "so labels of a later round were there when the first was trained again"
    assert facts["changed"] == []
    assert facts["violations"] == 0


def test_rounds_that_are_none_are_refused(home: Home) -> None:
    for wrong in ("0", "3-2", "x", "-", ""):
        refused = home.replay("--rounds", wrong)
        assert refused.exit_code == 2
        assert len(refused.stderr.splitlines()) == 1
    beyond = home.replay("--rounds", "70-")
    assert beyond.exit_code == 2
    assert "member 1 has signed neither vote nor proposal in these rounds" in beyond.stderr


def test_one_bit_of_the_private_data_is_enough(home: Home) -> None:
    first, *_ = sorted((home.folder / "data" / "learner" / "demonstrations" / "data").rglob("*.parquet"))
    whole = first.read_bytes()
    flip_a_bit(first)
    try:
        result = home.replay()
    finally:
        first.write_bytes(whole)
    assert result.exit_code == 2
    assert f"{first.name} is damaged: its frames changed since they were written" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_labels_that_were_lost_are_asked_for_again_and_are_the_same(home: Home, tmp_path: Path) -> None:
    learner = home.folder / "data" / "learner"
    learner.rename(tmp_path / "learner")
    try:
        learner.mkdir()
        result = home.replay()
    finally:
        shutil.rmtree(learner)
        (tmp_path / "learner").rename(learner)
    assert result.exit_code == 0, result.output
    assert f"  {ROUNDS} recomputed: {ROUNDS} the same" in result.stdout


def flip_a_bit(file: Path) -> None:
    """Another state in the first row, in a file that is whole."""
    rows = parquet.read_table(file)
    states = np.array(rows["observation.state"].to_pylist(), np.float32)
    states.view(np.uint32)[0, 3] ^= 1 << 20
    kind = rows.schema.field("observation.state").type
    column = rows.schema.get_field_index("observation.state")
    parquet.write_table(
        rows.set_column(column, rows.schema.field(column), pa.array(list(states), kind)), file
    )


def test_another_option_is_named(home: Home) -> None:
    home.configure(OPTIONS | {"seed": US, "validation_tracks": 3})
    try:
        facts = home.facts(1, "--rounds", "1-3")
    finally:
        home.configure(OPTIONS | {"seed": US})
    assert [each["round"] for each in facts["findings"]] == [1, 2, 3]
    assert {each["what"] for each in facts["findings"] if each["fate"] == "differs"} == {"vote"}
    assert facts["changed"] == [{"since": 1, "differences": ["option validation_tracks was 2, is 3"]}]


def test_weights_that_have_rotted_are_named_and_not_recomputed(home: Home) -> None:
    gone, candidate = [(number, made) for number, proposer, _, made in home.rounds if proposer != US][-1]
    after = [number for number, _, base, _ in home.rounds if base == candidate]
    file = home.folder / "data" / FOLDER / hexadecimal(candidate)
    whole = file.read_bytes()
    file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))  # the store's file is the same one
    try:
        result = home.replay()
    finally:
        file.write_bytes(whole)
    assert result.exit_code == 0
    assert f"  round {gone}, vote: missing; weights were not kept: {candidate}" in result.stdout
    assert result.stdout.count(f": missing; weights were not kept: {candidate}") == 1 + len(after)
    assert f"{1 + len(after)} not recomputed for want of weights: keep_history = true" in result.stdout


def hexadecimal(digest: Digest) -> str:
    from protocol.ids import unbase64url

    return unbase64url(digest, 32).hex()


def test_a_home_without_a_history_is_refused(home: Home, tmp_path: Path) -> None:
    other = Home(tmp_path, home.topic, [])
    other.configure(OPTIONS | {"seed": US})
    refused = other.replay()
    assert refused.exit_code == 2
    assert len(refused.stderr.splitlines()) == 1
    assert "keep_history = true" in refused.stderr
    assert not (tmp_path / "data").exists()


def test_a_topic_comes_from_one_place(home: Home) -> None:
    refused = home.replay("--mirror", "http://127.0.0.1:1")
    assert refused.exit_code == 2
    assert "either" in refused.stderr


def test_a_topic_that_does_not_chain_is_refused(home: Home, tmp_path: Path) -> None:
    pages = json.loads(home.topic.read_text())
    pages["messages"][1]["message"] = pages["messages"][0]["message"]
    changed = tmp_path / "topic.json"
    changed.write_text(json.dumps(pages))
    refused = Home(home.folder, changed, []).replay()
    assert refused.exit_code == 2
    assert "breaks at sequence number 2" in refused.stderr
