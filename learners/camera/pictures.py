"""Pictures as files, and as the small grey images that policies see."""

import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from learners.data.episode import DataError
from learners.data.pictures import FORMATS, shape_of

Grey = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Lens:
    """What part of a picture a policy sees, and how small."""

    height: int
    width: int
    crop_top: float = 0.0
    """Shares of the picture's height that are cut off."""
    crop_bottom: float = 0.0


def seen_in(picture: bytes, lens: Lens) -> Grey:
    """The image a policy sees of a PNG or JPEG file: (height, width). Raises DataError.

    A grey picture of just that size is seen as it is, to the bit.
    """
    shape = shape_of(picture)  # bounds the pixels before any is decoded
    try:
        with Image.open(io.BytesIO(picture), formats=FORMATS) as image:
            if not (lens.crop_top or lens.crop_bottom):
                image.draft(
                    "L", (lens.width, lens.height)
                )  # of a large JPEG only every second, fourth ... pixel
            grey = image.convert("L")
    except (OSError, ValueError, SyntaxError, EOFError) as fault:
        raise DataError(f"a picture of {shape} cannot be decoded: {fault}") from None
    top, bottom = lens.crop_top * grey.height, (1 - lens.crop_bottom) * grey.height
    if (grey.height, grey.width, top, bottom) != (lens.height, lens.width, 0, lens.height):
        box = (0, top, grey.width, bottom)
        grey = grey.resize((lens.width, lens.height), Image.Resampling.BILINEAR, box)
    return np.array(grey)


def png_of(image: Grey) -> bytes:
    """A grey image as a PNG file: the same image gives the same bytes, with one version of Pillow."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()
