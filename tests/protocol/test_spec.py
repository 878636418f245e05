"""SPEC.md: its example is real, and its sections are the names of what they specify."""

import ast
import json
import re
from pathlib import Path

import pytest

import protocol
from protocol import ahead, contributions, duties, fold, rounds, rules, state, step, timing, treasurer
from protocol.fields import canonical, canonical_json
from protocol.messages import Choice
from protocol.params import Params
from protocol.parse import Record, parse_record
from tests.protocol.world import Run, verdict

HERE = Path(protocol.__file__).parent
SPEC = (HERE / "SPEC.md").read_text(encoding="utf-8")


def example():
    """Round 1 of a run of five: the record that decides it, and the run before it."""
    run = Run(5)
    proposal = run.proposal()
    votes = run.votes(proposal, Choice.APPROVE, Choice.APPROVE, Choice.ABSTAIN, Choice.REJECT)
    return run, verdict(proposal, votes, "accepted")


def test_the_example_is_the_record_that_the_code_makes():
    (block,) = re.findall(r"```json\n(.*?)```", SPEC, re.DOTALL)
    raw = canonical_json(json.loads(block))
    run, record = example()
    assert parse_record(raw) == record
    assert raw == canonical(record)
    assert len(raw) <= 1024
    assert run.put(raw).totals.accepted == 1


@pytest.mark.parametrize(
    ("module", "names"),
    [
        (rules, "choice_for tally close_tally shuffled committee_for proposer_for"),
        (rules, "proposal_reward proposal_penalty is_outvoted scaled split_reward"),
        (fold, "begin apply"),
        (rounds, "open_round close_round settle_attendance credit_late_vote"),
        (state, "state_digest"),
    ],
)
def test_sections_are_named_after_functions(module, names):
    for name in names.split():
        assert callable(getattr(module, name))
        assert f"\n### {name}\n" in SPEC


def test_sections_that_code_cites_exist():
    titles = re.findall(r"^#+ (.+)$", SPEC, re.MULTILINE)
    for package in ("protocol", "ledger", "learners", "node"):
        for path in (HERE.parent / package).rglob("*.py"):
            for cited in re.findall(r"\(SPEC\.md, ([^):]+)", path.read_text(encoding="utf-8")):
                assert any(title.startswith(cited) for title in titles), f"{path.name} cites {cited}"


def test_every_parameter_operation_event_and_effect_is_explained():
    for name in Params.model_fields:
        assert f"| `{name}`" in SPEC
    for kind in Record.__args__:
        assert re.search(rf"^\| [^|]*`{kind.model_fields['op'].default}`[^|]* \|", SPEC, re.MULTILINE)
    view = ast.parse((HERE / "view.py").read_text(encoding="utf-8"))
    for node in view.body:
        if isinstance(node, ast.ClassDef) and node.name not in (
            "Work",
            "View",
            "Payment",
            "Charge",
            "Ahead",
            "Gathering",
        ):
            assert f"`{node.name}" in SPEC, node.name
    for name in (
        "follow_head",
        "take_turn",
        "contribute",
        "gather",
        "gather_time",
        "cast_vote",
        "decide",
        "reach_topic",
        "close",
        "pay",
        "accuse",
        "alarm",
        "last_call",
        "announce",
        "train_ahead",
    ):
        assert any(
            callable(getattr(module, name, None))
            for module in (step, ahead, contributions, duties, timing, treasurer)
        )
        assert f"`{name}" in SPEC
