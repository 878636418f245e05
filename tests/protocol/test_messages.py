"""messages: one form for each value, and only Invalid for everything else."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from protocol.errors import Invalid
from protocol.fields import MAX_INTEGER, canonical
from protocol.ids import Ppm, digest_of
from protocol.messages import MAX_MESSAGE, PIECE_BYTES, Choice, Contributor, parse_message
from tests.protocol.world import Run, account

RUN = Run(4)
PROPOSAL = RUN.proposal()
VOTE = RUN.vote(PROPOSAL, RUN.voters[0])
UPDATE = RUN.update(RUN.voters[0])
VALID = [canonical(PROPOSAL), canonical(VOTE), canonical(UPDATE)]


@pytest.mark.parametrize("message", [PROPOSAL, VOTE, UPDATE])
def test_round_trip(message):
    assert parse_message(canonical(message)) == message


def changed(message, path, value):
    """The canonical-looking JSON of a message in which one field is something else."""
    outline = json.loads(canonical(message))
    *way, last = path
    inner = outline
    for key in way:
        inner = inner[key]
    inner[last] = value
    return json.dumps(outline, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("kind",), "vote"),
        (("kind",), "nothing"),
        (("kind",), "line\nbreak"),
        (("signature",), "A" * 87),
        (("signature",), ""),
        (("body", "run"), "A" * 42 + "B"),
        (("body", "round"), 0),
        (("body", "round"), -1),
        (("body", "round"), True),
        (("body", "round"), "1"),
        (("body", "round"), 1.0),
        (("body", "round"), MAX_INTEGER + 1),
        (("body", "round"), 10**400),
        (("body", "size"), 0),
        (("body", "proposer"), 1000),
        (("body", "contributors"), []),
        (("body", "contributors", 0, "share"), 999_999),
        (("body", "contributors", 0, "account"), "0.0.01"),
        (("body", "contributors"), [{"account": "0.0.1", "share": 1}] * 17),
        (("body", "opening", "running_hash"), "A" * 63),
        (("body", "another"), 1),
        (("body", "two\nlines"), 1),
        (("another",), None),
    ],
)
def test_a_field_out_of_bounds_is_invalid(path, value):
    with pytest.raises(Invalid) as caught:
        parse_message(changed(PROPOSAL, path, value))
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("body", "choice"), "perhaps"),
        (("body", "choice"), "APPROVE"),
        (("body", "gain"), 1_000_001),
        (("body", "gain"), 0.5),
        (("body", "voter"), -1),
        (("body", "proposal"), None),
    ],
)
def test_a_vote_out_of_bounds_is_invalid(path, value):
    with pytest.raises(Invalid):
        parse_message(changed(VOTE, path, value))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("kind",), "proposal"),
        (("body", "update"), None),
        (("body", "size"), 0),
        (("body", "size"), 2 * PIECE_BYTES),
        (("body", "pieces"), UPDATE.body.update),
        (("body", "contributor"), -1),
        (("body", "opening"), 1),
    ],
)
def test_an_update_out_of_bounds_is_invalid(path, value):
    with pytest.raises(Invalid):
        parse_message(changed(UPDATE, path, value))


@given(st.integers(1, MAX_INTEGER), st.integers(0, 999), st.integers(1, MAX_INTEGER), st.binary(max_size=9))
def test_every_update_has_one_form(number, contributor, size, name):
    pieces = digest_of(name) if size > PIECE_BYTES else None
    fields = {"round": number, "contributor": contributor, "size": size, "pieces": pieces}
    body = UPDATE.body.model_copy(update=fields | {"update": digest_of(name)})
    message = UPDATE.model_copy(update={"body": body})
    assert parse_message(canonical(message)) == message


def test_only_the_canonical_form_is_a_message():
    outline = json.loads(VALID[0])
    raw = VALID[0].decode()
    for other in (
        json.dumps(outline).encode(),
        json.dumps(dict(reversed(outline.items())), separators=(",", ":")).encode(),
        VALID[0] + b"\n",
        b" " + VALID[0],
        b"\xef\xbb\xbf" + VALID[0],
        raw.replace('"proposer":', '"proposer":0,"proposer":').encode(),
        raw.replace("proposal", "propos\\u0061l").encode(),
        raw.replace('"round":1', '"round":1.0').encode(),
        raw.replace('"round":1', '"round":1e0').encode(),
    ):
        with pytest.raises(Invalid):
            parse_message(other)


def test_a_long_message_is_refused_unread():
    with pytest.raises(Invalid, match="at most"):
        parse_message(b"[" * (MAX_MESSAGE + 1))


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"[" * MAX_MESSAGE,
        b'{"kind":' * 8000,
        b'{"kind":"vote","body":' + b"[" * 5000 + b"]" * 5000 + b"}",
        b'{"kind":"vote","body":{"round":' + b"9" * 60_000 + b"}}",
        b'{"kind":"vote","body":{"round":1e999999999}}',
        b'{"kind":"vote","body":{"round":NaN}}',
        b'{"kind":"\\ud800"}',
        b'{"kind":"vote\x00"}',
        b"\xff\xfe",
    ],
)
def test_rubbish_is_invalid(raw):
    with pytest.raises(Invalid):
        parse_message(raw)


@given(st.binary(max_size=300))
def test_random_bytes_are_invalid(raw):
    with pytest.raises(Invalid):
        parse_message(raw)


@given(st.sampled_from(VALID), st.data())
@settings(max_examples=200)
def test_a_mutated_message_is_another_one_or_invalid(raw, data):
    mutant = bytearray(raw)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(mutant) - 1))
        mutant[at : at + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=4))
        if not mutant:
            break
    try:
        message = parse_message(bytes(mutant))
    except Invalid:
        return
    assert canonical(message) == mutant
    assert bytes(mutant) == raw or message not in (PROPOSAL, VOTE, UPDATE)


def test_shares_must_be_whole():
    body = PROPOSAL.body.model_dump()
    body["opening"] = PROPOSAL.body.opening
    body["contributors"] = (
        Contributor(account=account(0), share=Ppm(600_000)),
        Contributor(account=account(1), share=Ppm(400_000)),
    )
    assert type(PROPOSAL.body)(**body).contributors[1].share == 400_000
    with pytest.raises(ValidationError, match="1000000"):
        type(PROPOSAL.body)(**(body | {"contributors": body["contributors"][:1]}))


def test_models_are_frozen():
    with pytest.raises(ValidationError):
        VOTE.body.choice = Choice.REJECT
