"""Pictures from outside: PNG and JPEG alone, and never more pixels than asked for."""

import io
import warnings

from PIL import Image, UnidentifiedImageError

from learners.data.episode import MAX_IMAGE_BYTES, DataError, ImageShape

MAX_PIXELS = 4_000_000
"""Pixels of one picture."""
FORMATS = ("PNG", "JPEG")
_CHANNELS = {"RGB": 3, "L": 1}


def shape_of(data: bytes) -> ImageShape:
    """The size a picture says it has; its pixels are not decoded. Raises DataError."""
    with _opened(data) as image:
        return _shape(image)


def check_picture(data: bytes) -> ImageShape:
    """Decode a picture wholly, and return its size. Raises DataError when it is damaged or cut short."""
    with _opened(data) as image:
        shape = _shape(image)
        try:
            image.load()
        # Pillow's decoders raise these for damaged files, whatever is damaged in them.
        except (OSError, ValueError, SyntaxError, EOFError) as fault:
            raise DataError(f"a picture that cannot be decoded: {fault}") from None
    return shape


def _opened(data: bytes) -> Image.Image:
    if len(data) > MAX_IMAGE_BYTES:
        raise DataError(f"a picture of {len(data):,} bytes; at most {MAX_IMAGE_BYTES:,} are taken")
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            return Image.open(io.BytesIO(data), formats=FORMATS)
        except (Image.DecompressionBombWarning, Image.DecompressionBombError):
            raise DataError(f"a picture with more than {MAX_PIXELS:,} pixels") from None
        except UnidentifiedImageError:
            raise DataError("a picture that is neither PNG nor JPEG, or is damaged") from None
        except (OSError, ValueError, SyntaxError, EOFError) as fault:
            raise DataError(f"a picture that cannot be read: {fault}") from None


def _shape(image: Image.Image) -> ImageShape:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise DataError(f"a picture of {width} x {height}; at most {MAX_PIXELS:,} pixels are taken")
    if image.mode not in _CHANNELS:
        raise DataError(f"a picture of Pillow's mode {image.mode}; colour (RGB) and grey (L) are taken")
    return ImageShape(height, width, _CHANNELS[image.mode])
