"""Tensors to safetensors bytes and back; what a stranger sent is checked before anything is allocated for it.

The bytes are canonical: for a spec there is exactly one header, so the same tensors have one digest, and a
header need not be parsed to be checked. It is the header the safetensors library writes, without metadata.
"""

import json
from collections.abc import Mapping
from pathlib import Path

import torch

from learners.learner import BadWeights, LearnerSpec, TensorSpec

# safetensors lays tensors out by element type, in this order, then by name.
_DTYPES: dict[str, torch.dtype] = {
    "I64": torch.int64,
    "F64": torch.float64,
    "F32": torch.float32,
    "I32": torch.int32,
    "BF16": torch.bfloat16,
    "F16": torch.float16,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
}
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}
_RANK = {name: rank for rank, name in enumerate(_DTYPES)}


def spec_of(tensors: Mapping[str, torch.Tensor]) -> tuple[TensorSpec, ...]:
    """The specs of tensors, sorted by name. Raises KeyError for an element type that is not supported."""
    return tuple(
        TensorSpec(name, tuple(tensor.shape), _NAMES[tensor.dtype])
        for name, tensor in sorted(tensors.items())
    )


def dump(tensors: Mapping[str, torch.Tensor]) -> bytes:
    """The one safetensors encoding of these tensors."""
    specs = spec_of(tensors)
    body = b"".join(_raw(tensors[spec.name]) for spec in _laid_out(specs))
    return _header(specs) + body


def load(data: bytes | Path, spec: LearnerSpec) -> dict[str, torch.Tensor]:
    """The tensors in a blob, or in the file that holds it, by name.

    Raises BadWeights unless it is what `dump` writes for tensors of the spec, every element finite.
    """
    return load_tensors(data, spec.tensors)


def load_tensors(data: bytes | Path, specs: tuple[TensorSpec, ...]) -> dict[str, torch.Tensor]:
    """As `load`, for bare tensor specs."""
    header = _header(specs)
    size = len(header) + sum(_size(spec) for spec in specs)
    found = data.stat().st_size if isinstance(data, Path) else len(data)
    if found != size:
        raise BadWeights(f"weights have {found} bytes, the spec makes {size}")
    raw = data.read_bytes() if isinstance(data, Path) else data
    if raw[:8] != header[:8]:
        raise BadWeights(f"the header's length is {int.from_bytes(raw[:8], 'little')}, not {len(header) - 8}")
    if raw[: len(header)] != header or len(raw) != size:
        raise BadWeights(
            "the header is not the canonical one of the spec's tensors, shapes, types and offsets"
        )
    return _tensors(raw, len(header), specs)


def _tensors(raw: bytes, offset: int, specs: tuple[TensorSpec, ...]) -> dict[str, torch.Tensor]:
    writable = bytearray(raw)
    tensors = {}
    for spec in _laid_out(specs):
        dtype = _DTYPES[spec.dtype]
        count = _size(spec) // dtype.itemsize
        if count == 0:
            tensor = torch.zeros(spec.shape, dtype=dtype)
        else:
            tensor = torch.frombuffer(writable, dtype=dtype, count=count, offset=offset).reshape(spec.shape)
        if dtype.is_floating_point and not bool(torch.isfinite(tensor).all()):
            raise BadWeights(f"tensor {spec.name!r} holds values that are not finite")
        tensors[spec.name] = tensor
        offset += _size(spec)
    return tensors


def _header(specs: tuple[TensorSpec, ...]) -> bytes:
    entries, offset = {}, 0
    for spec in _laid_out(specs):
        end = offset + _size(spec)
        entries[spec.name] = {"dtype": spec.dtype, "shape": list(spec.shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # so that tensors begin at a multiple of eight bytes
    return len(text).to_bytes(8, "little") + text


def _laid_out(specs: tuple[TensorSpec, ...]) -> list[TensorSpec]:
    return sorted(specs, key=lambda spec: (_RANK[spec.dtype], spec.name.encode()))


def _size(spec: TensorSpec) -> int:
    size = _DTYPES[spec.dtype].itemsize
    for extent in spec.shape:
        size *= extent
    return size


def _raw(tensor: torch.Tensor) -> bytes:
    flat = tensor.detach().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b""
