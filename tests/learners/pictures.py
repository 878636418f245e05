"""Small pictures for tests."""

import io

import numpy as np
from PIL import Image


def png(width: int, height: int, seed: int, mode: str = "RGB") -> bytes:
    return _encoded(width, height, seed, mode, "PNG")


def jpeg(width: int, height: int, seed: int, mode: str = "RGB") -> bytes:
    return _encoded(width, height, seed, mode, "JPEG")


def _encoded(width: int, height: int, seed: int, mode: str, kind: str) -> bytes:
    channels = len(Image.new(mode, (1, 1)).getbands())
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, channels), np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels.squeeze(), mode=None).convert(mode).save(out, kind)
    return out.getvalue()
