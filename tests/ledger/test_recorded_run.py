"""The recorded run has everything in it that a change could be made to."""

from typing import get_args

from ledger.audit import report
from protocol.messages import Choice
from protocol.parse import Record
from protocol.state import Ending
from tests.ledger.recorded_run import ROUNDS, ops_of, recorded
from tests.ledger.rewriting import audited
from tests.ledger.survivors import tail_of


def test_it_has_each_op_and_each_ending_and_holds() -> None:
    recording = recorded()
    found = report(audited(recording))
    assert found["violations"] == []
    assert found["rounds"] == ROUNDS
    assert ops_of(recording) == {record.model_fields["op"].default for record in get_args(Record)}
    assert {entry["ending"] for entry in found["timeline"]} == set(get_args(Ending))
    assert {vote["choice"] for entry in found["timeline"] for vote in entry["votes"]} == set(Choice)
    settlements = found["money"]["settlements"]
    assert {(each["kind"], each["outcome"]) for each in settlements} == {
        ("payment", "settled"),
        ("payment", "failed"),
        ("rotation", "settled"),
    }
    assert found["anchored"] == recording.spans[tail_of(recording)][0] == found["timeline"][-2]["sequence"]
    account = found["money"]["account"]
    assert (account["key"], account["source"], len(account["unclaimed"])) == ("holds", "mirror", 1)
    assert any(len(chunks) > 1 for chunks in map(range, *zip(*recording.spans, strict=True)))
