"""records: canonical and bounded; Ignore for what is foreign, Invalid for what is wrong."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from protocol.errors import Ignore, Invalid, ProtocolError
from protocol.fields import MAX_INTEGER, canonical, canonical_json
from protocol.ids import Digest, Ppm, Signature, base64url, digest_of
from protocol.messages import Choice
from protocol.parse import MAX_RECORD, parse_record
from protocol.records import (
    Genesis,
    Member,
    VerdictRecord,
    entry_of,
    proposal_of,
    vote_entry_of,
    vote_of,
)
from tests.protocol.world import PEERS, Run, account, genesis, propose, verdict, vote_record

RUN = Run(5)
PROPOSAL = RUN.proposal()
VOTES = RUN.votes(PROPOSAL, *[Choice.APPROVE] * 4)
RECORDS = [
    RUN.genesis,
    verdict(PROPOSAL, VOTES, "accepted"),
    vote_record(PROPOSAL, VOTES[0]),
    propose(PROPOSAL),
    RUN.close(),
    RUN.pass_turn(),
    RUN.present(2),
]
RAW = [canonical(record) for record in RECORDS]

digests = st.binary(min_size=32, max_size=32).map(lambda b: Digest(base64url(b)))
signatures = st.binary(min_size=64, max_size=64).map(lambda b: Signature(base64url(b)))
entries = st.tuples(
    st.integers(0, 999), st.sampled_from(Choice), st.integers(-1_000_000, 1_000_000), signatures
)


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.op)
def test_round_trip(record):
    assert parse_record(canonical(record)) == record


@given(
    digests,
    digests,
    st.integers(1, MAX_INTEGER),
    signatures,
    st.lists(entries, max_size=9),
    st.sampled_from(["accepted", "rejected", "neutral"]),
)
@settings(max_examples=50)
def test_any_verdict_survives_a_round_trip(base, candidate, number, signature, votes, outcome):
    entry = entry_of(PROPOSAL).model_copy(
        update={"base": base, "candidate": candidate, "round": number, "size": number, "sig": signature}
    )
    record = VerdictRecord(proposal=entry, votes=tuple(votes), outcome=outcome)
    assert parse_record(canonical(record)) == record


@given(
    st.integers(1, 1_000_000),
    st.integers(0, 9 * 10**9),
    st.integers(0, 1_000_000),
    st.integers(1, 604_800),
)
@settings(max_examples=30)
def test_any_genesis_survives_a_round_trip(members, num, share, window):
    record = genesis(1 + members % 30, topic=f"0.0.{num}", approval=share, round_window=window)
    assert parse_record(canonical(record)) == record


def test_four_votes_and_one_contributor_fit_one_topic_message():
    large = {"round": 999_999, "size": 999_999_999, "proposer": 99}
    opening = PROPOSAL.body.opening.model_copy(update={"sequence": 99_999_999})
    body = PROPOSAL.body.model_copy(update=large | {"opening": opening})
    votes = [
        vote.model_copy(
            update={
                "body": vote.body.model_copy(
                    update={"gain": Ppm(-99_999), "choice": Choice.REJECT, "voter": 99}
                )
            }
        )
        for vote in VOTES
    ]
    record = verdict(PROPOSAL.model_copy(update={"body": body}), votes, "rejected")
    assert len(canonical(record)) <= 1024


def test_entries_stand_for_what_was_signed():
    assert proposal_of(entry_of(PROPOSAL), RUN.now.run) == PROPOSAL
    vote = VOTES[0]
    assert vote_of(vote_entry_of(vote), RUN.now.run, vote.body.round, vote.body.proposal) == vote


def test_an_entry_whose_shares_do_not_add_up_is_invalid():
    entry = entry_of(PROPOSAL).model_copy(update={"contributors": ((account(0), Ppm(1)),)})
    with pytest.raises(Invalid, match="shares"):
        proposal_of(entry, RUN.now.run)


def test_the_run_is_the_digest_of_the_genesis():
    assert RUN.genesis.run() == digest_of(RAW[0])
    assert genesis(5, topic="0.0.7").run() != RUN.genesis.run()
    assert genesis(5, reward_vote=1).run() != RUN.genesis.run()
    assert genesis(4).run() != RUN.genesis.run()


def test_a_peer_is_in_a_roster_once():
    twice = (Member(peer=PEERS[0], account=account(0)), Member(peer=PEERS[0], account=account(1)))
    with pytest.raises(ValidationError, match="twice"):
        Genesis(topic="0.0.1", params=RUN.genesis.params, roster=twice)


@pytest.mark.parametrize("change", ["{} ", "{}\n", " {}"])
def test_a_peer_cannot_be_in_a_roster_under_a_second_spelling(change):
    outline = json.loads(RAW[0])
    outline["roster"][1]["peer"] = change.format(PEERS[0])
    with pytest.raises(Invalid):
        parse_record(canonical_json(outline))


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"hello",
        b"null",
        b"[]",
        b"{}",
        b'{"p":"hcs-2","v":1}',
        b'{"p":"roundabout"}',
        b'{"p":"roundabout","v":2,"op":"close"}',
        b'{"p":"roundabout","v":"1","op":"close"}',
        b"[" * MAX_RECORD,
        b'{"p":' * 5000,
        b"9" * MAX_RECORD,
        b"\xff",
        b"x" * (MAX_RECORD + 1),
        b'{"p":"\\ud800","v":1}',
        b'{"p":"roundabout","v":NaN}',
    ],
)
def test_what_does_not_claim_to_be_ours_is_ignored(raw):
    with pytest.raises(Ignore):
        parse_record(raw)


@pytest.mark.parametrize(
    "raw",
    [
        b'{"p":"roundabout","v":1}',
        b'{"op":"stop","p":"roundabout","v":1}',
        b'{"op":"a\\nb","p":"roundabout","v":1}',
        b'{"op":"close","p":"roundabout","round":1,"run":"x","v":1}',
        b'{"op":"close","two\\nlines":1,"p":"roundabout","v":1}',
        b'{"op":"close","\\u2028\\u001b[2J":1,"p":"roundabout","v":1}',
        b'{"op":"verdict","p":"roundabout","v":1,"votes":' + b"[" * 100 + b"]" * 100 + b"}",
        b'{"op":["close"],"p":"roundabout","v":1}',
        RAW[4].replace(b'"v":1', b'"v":1.0'),
        RAW[4].replace(b'"v":1', b'"v":true'),
        RAW[4].replace(b'"v":1', b'"v":1,"v":1'),
        RAW[4].replace(b'"round":1', b'"round":9007199254740992'),
        RAW[4].replace(b'"round":1', b'"round":' + b"9" * 4000),
        RAW[4].replace(b'"round":1', b'"round":null'),
        RAW[4].replace(b'"round":1', b'"extra":1,"round":1'),
        RAW[4] + b" ",
        b" " + RAW[4],
        json.dumps(json.loads(RAW[1])).encode(),
    ],
)
def test_what_claims_to_be_ours_and_is_malformed_is_invalid(raw):
    with pytest.raises(Invalid) as caught:
        parse_record(raw)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 300


@given(st.binary(max_size=300))
def test_random_bytes_are_ignored(raw):
    with pytest.raises(Ignore):
        parse_record(raw)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
KEYS = st.sampled_from(["op", "proposal", "votes", "vote", "outcome", "run", "round", "body", "sig", "topic"])


@given(st.dictionaries(KEYS, JSON | st.sampled_from(["verdict", "vote", "close", "pass", "genesis"])))
def test_any_json_that_claims_to_be_ours_is_invalid(outline):
    with pytest.raises(Invalid) as caught:
        parse_record(json.dumps(outline | {"p": "roundabout", "v": 1}).encode())
    assert str(caught.value).isprintable()


@given(st.sampled_from(RAW), st.data())
@settings(max_examples=200)
def test_a_mutated_record_is_another_one_or_without_effect(raw, data):
    mutant = bytearray(raw)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(mutant)))
        mutant[at : at + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=4))
    try:
        record = parse_record(bytes(mutant))
    except ProtocolError:
        return
    assert canonical(record) == mutant
