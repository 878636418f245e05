"""What a stranger sends is exactly the canonical bytes of the spec, or BadWeights in one line."""

import json
import struct
from pathlib import Path

import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from learners import weights
from learners.driving.policy import initial_weights, tensor_specs
from learners.learner import BadWeights, LearnerSpec, TensorSpec
from protocol.ids import digest_of

SPEC = LearnerSpec("driving", tensor_specs(8), "lap-progress/1")
BLOB = weights.dump(initial_weights(tensor_specs(8)))

dtypes = st.sampled_from(
    [torch.float32, torch.float64, torch.bfloat16, torch.float16, torch.int64, torch.int32, torch.uint8]
)
shapes = st.lists(st.integers(0, 4), max_size=3)
tensor_maps = st.dictionaries(
    st.text('abcé."\\\n ', min_size=1, max_size=6),
    st.builds(torch.ones, shapes, dtype=dtypes),
    min_size=1,
    max_size=5,
)


@settings(deadline=None)
@given(tensor_maps)
def test_the_bytes_are_those_of_the_safetensors_library(tensors: dict[str, torch.Tensor]) -> None:
    blob = weights.dump(tensors)
    assert blob == safetensors.torch.save(tensors)
    found = weights.load(blob, LearnerSpec("any", weights.spec_of(tensors), "none"))
    assert all(torch.equal(found[name], tensor) for name, tensor in tensors.items())
    assert found.keys() == tensors.keys()


def test_initial_weights_are_the_same_bytes_on_every_machine() -> None:
    assert (
        digest_of(weights.dump(initial_weights(tensor_specs(64))))
        == "fTeWBehIOXb-U4Y7twpO2SfrkD1E1EceSKt9XWD8-5c"
    )


def test_a_file_loads_like_its_bytes(tmp_path: Path) -> None:
    file = tmp_path / "blob"
    file.write_bytes(BLOB)
    found, expected = weights.load(file, SPEC), initial_weights(tensor_specs(8))
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_loaded_tensors_can_be_written_without_touching_the_blob() -> None:
    blob = bytes(BLOB)
    weights.load(blob, SPEC)["layer0.bias"].zero_()
    assert blob == weights.dump(initial_weights(tensor_specs(8)))


@settings(max_examples=300, deadline=None)
@given(st.integers(0, len(BLOB) * 8 - 1))
def test_a_flipped_bit_is_refused_or_changes_one_finite_value(bit: int) -> None:
    raw = bytearray(BLOB)
    raw[bit // 8] ^= 1 << bit % 8
    try:
        found = weights.load(bytes(raw), SPEC)
    except BadWeights:
        return
    assert weights.dump(found) == bytes(raw)  # no two blobs mean the same weights
    assert all(bool(torch.isfinite(tensor).all()) for tensor in found.values())


@settings(deadline=None)
@given(st.integers(0, len(BLOB) - 1))
def test_a_truncated_blob_is_refused(size: int) -> None:
    with pytest.raises(BadWeights, match="bytes, the spec makes"):
        weights.load(BLOB[:size], SPEC)


@settings(deadline=None)
@given(st.binary(min_size=1, max_size=64))
def test_trailing_bytes_are_refused(extra: bytes) -> None:
    with pytest.raises(BadWeights):
        weights.load(BLOB + extra, SPEC)


@settings(deadline=None)
@given(st.binary(max_size=200) | st.binary(min_size=len(BLOB), max_size=len(BLOB)))
def test_noise_is_refused(noise: bytes) -> None:
    with pytest.raises(BadWeights):
        weights.load(noise, SPEC)


@settings(deadline=None)
@given(st.integers(0, 2**64 - 1).filter(lambda size: size != struct.unpack("<Q", BLOB[:8])[0]))
def test_a_false_header_length_is_refused(size: int) -> None:
    with pytest.raises(BadWeights, match="header's length"):
        weights.load(struct.pack("<Q", size) + BLOB[8:], SPEC)


@pytest.mark.parametrize(
    "bomb", [b"[" * 10_000, b'{"a":' * 10_000, b"9" * 10_000], ids=["lists", "maps", "digits"]
)
def test_a_json_bomb_is_refused_unparsed(bomb: bytes) -> None:
    padded = (struct.pack("<Q", len(bomb)) + bomb).ljust(len(BLOB), b" ")[: len(BLOB)]
    with pytest.raises(BadWeights):
        weights.load(padded, SPEC)


def _with_header(change: dict[str, object], drop: str | None = None) -> bytes:
    size = struct.unpack("<Q", BLOB[:8])[0]
    header = {**json.loads(BLOB[8 : 8 + size]), **change}
    header.pop(drop, None)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + BLOB[8 + size :]


@pytest.mark.parametrize(
    ("change", "drop"),
    [
        ({"__metadata__": {"format": "pt"}}, None),
        ({"extra": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}}, None),
        ({}, "layer0.bias"),
        ({"layer0.bias": {"dtype": "I32", "shape": [8], "data_offsets": [0, 32]}}, None),
        ({"layer0.bias": {"dtype": "F32", "shape": [4, 2], "data_offsets": [0, 32]}}, None),
        ({"layer0.bias": {"dtype": "F32", "shape": [8], "data_offsets": [32, 64]}}, None),
    ],
    ids=["metadata", "another tensor", "a missing one", "type", "shape", "overlap"],
)
def test_another_header_is_refused(change: dict[str, object], drop: str | None) -> None:
    with pytest.raises(BadWeights):
        weights.load(_with_header(change, drop), SPEC)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_values_that_are_not_finite_are_refused(value: float) -> None:
    tensors = initial_weights(tensor_specs(8))
    tensors["layer1.weight"][3, 4] = value
    with pytest.raises(BadWeights, match=r"'layer1.weight' holds values that are not finite"):
        weights.load(weights.dump(tensors), SPEC)


def test_a_huge_file_is_refused_before_it_is_read(tmp_path: Path) -> None:
    file = tmp_path / "blob"
    with file.open("wb") as sparse:
        sparse.truncate(2**40)  # a terabyte of holes: reading it would take all memory
    with pytest.raises(BadWeights, match="1099511627776 bytes"):
        weights.load(file, SPEC)


def test_a_spec_may_hold_a_scalar_and_an_empty_tensor() -> None:
    specs = (TensorSpec("empty", (0, 3), "F32"), TensorSpec("scalar", (), "F64"))
    tensors = {"empty": torch.zeros(0, 3), "scalar": torch.tensor(2.0, dtype=torch.float64)}
    assert weights.spec_of(tensors) == specs
    assert weights.load_tensors(weights.dump(tensors), specs)["scalar"].item() == 2.0
