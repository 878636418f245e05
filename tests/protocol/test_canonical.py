"""canonical: the bytes of RFC 8785, whatever the value, by another implementation's word."""

import json
from typing import Any

import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from protocol.fields import MAX_INTEGER, Model, canonical, canonical_json
from tests.protocol.world import Run

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
CONTROLS = st.text(
    st.sampled_from([*map(chr, range(0x21)), '"', "\\", "/", "\x7f", "\x80", "\u2028", "😀", "\ufeff"])
)
NAMES = st.from_regex(r"[a-z_][a-z0-9_]{0,12}", fullmatch=True)
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-MAX_INTEGER, MAX_INTEGER), TEXT, CONTROLS
)  # fmt: skip
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(NAMES, inner, max_size=5),
    max_leaves=25,
)


class Inner(Model):
    """A model inside a model, its fields in no order."""

    zeta: str
    alpha: int


class Outer(Model):
    """A model with all that ours have."""

    name: str
    inner: Inner
    many: tuple[Inner, ...]
    pair: tuple[int, str | None, bool]
    at: int


INNER = st.builds(Inner, zeta=TEXT | CONTROLS, alpha=st.integers(-MAX_INTEGER, MAX_INTEGER))
OUTER = st.builds(
    Outer,
    name=TEXT | CONTROLS,
    inner=INNER,
    many=st.lists(INNER, max_size=3).map(tuple),
    pair=st.tuples(st.integers(-MAX_INTEGER, MAX_INTEGER), st.none() | TEXT, st.booleans()),
    at=st.integers(-MAX_INTEGER, MAX_INTEGER),
)


@given(VALUES)
@settings(max_examples=500)
def test_plain_values(value: Any) -> None:
    assert canonical_json(value) == rfc8785.dumps(value)


@given(OUTER)
@settings(max_examples=300)
def test_models(model: Outer) -> None:
    assert canonical(model) == rfc8785.dumps(model.model_dump(mode="json"))


@pytest.mark.parametrize(
    "code", [*range(0x21), 0x22, 0x2F, 0x5C, 0x7F, 0x80, 0xD7FF, 0xE000, 0xFFFF, 0x10FFFF]
)
def test_every_kind_of_character(code: int) -> None:
    assert canonical_json(chr(code)) == rfc8785.dumps(chr(code))


def test_all_records_and_messages_of_a_run() -> None:
    run = Run(5)
    proposal = run.proposal()
    vote = run.vote(proposal, run.voters[0])
    run.accept()
    for model in (
        run.genesis,
        proposal,
        vote,
        proposal.body,
        vote.body,
        run.close(),
        run.pass_turn(),
        run.present(1),
    ):
        assert canonical(model) == rfc8785.dumps(model.model_dump(mode="json"))
    for raw, _ in run.topic.messages:
        assert rfc8785.dumps(json.loads(raw)) == raw


@pytest.mark.parametrize(
    "value", [MAX_INTEGER + 1, -MAX_INTEGER - 1, 2**64, "\ud800", {1: 2}, {1, 2}, b"bytes"]
)
def test_what_has_no_canonical_form_is_refused(value: Any) -> None:
    with pytest.raises(TypeError):
        canonical_json([value])


def test_what_is_no_model_of_ours_is_refused() -> None:
    class Foreign(BaseModel):
        number: int

    with pytest.raises(TypeError):
        canonical(Inner.model_construct(zeta=Foreign(number=1), alpha=1))


def ours(model: type[Model]) -> list[type[Model]]:
    return [model, *(found for below in model.__subclasses__() for found in ours(below))]


def test_no_model_has_a_float_a_name_that_is_not_ascii_or_a_form_of_its_own() -> None:
    """What orjson and RFC 8785 write differently."""
    import ledger.checkpoint  # noqa: F401 (so that its models are among them)

    for model in ours(Model):
        schema = json.dumps(model.model_json_schema()) if model is not Model else "{}"
        assert '"type": "number"' not in schema, model
        assert all(name.isascii() for name in model.model_fields), model
        assert not model.__pydantic_decorators__.field_serializers, model
        assert not model.__pydantic_decorators__.model_serializers, model
        assert not model.model_computed_fields, model
        assert not model.__private_attributes__, model
        assert all(field.alias is None for field in model.model_fields.values()), model
