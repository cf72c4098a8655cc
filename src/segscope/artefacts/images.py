"""Reading and encoding pictures with Pillow."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

from segscope.errors import SegscopeError

EXIF_ORIENTATION = 0x0112


class SizeMismatchError(SegscopeError):
    """An image is not of the size that its annotations are of."""


def open_image(path: Path | str, size: tuple[int, int] | None = None) -> Image.Image:
    """Decode an image file, whatever its name's extension says.

    COCO annotates the pixels as stored, so an EXIF rotation is not applied. 16-bit pixels become 8-bit ones, and
    so do wider integers of 16 or 8 bits.
    Raises SegscopeError if the file is missing, truncated or not an image, SizeMismatchError if it is not of the
    width and height `size`.
    """
    try:
        with Image.open(path) as image:
            if size and image.size != size:
                raise SizeMismatchError(f"image {path} is {_shape(image.size)}, {_size_hint(image, size)}")
            image.load()
            return _eight_bits(image)
    except SizeMismatchError:
        raise
    except Exception as error:
        # Pillow's decoders raise whatever a broken file provokes in them: OSError, SyntaxError, struct.error, …
        raise SegscopeError(f"image {path} cannot be decoded: {error}") from error


def _shape(size: tuple[int, int]) -> str:
    return f"{size[0]}×{size[1]}"


def _size_hint(image: Image.Image, size: tuple[int, int]) -> str:
    hint = f"its annotations are of {_shape(size)}"
    if image.size == size[::-1] and image.getexif().get(EXIF_ORIENTATION, 1) in (5, 6, 7, 8):
        hint += " (turned as its EXIF orientation says; annotate the pixels as stored)"
    return hint


def _eight_bits(image: Image.Image) -> Image.Image:
    if image.mode == "F":
        raise SegscopeError("its pixels are floating-point numbers")
    if not image.mode.startswith("I"):
        return image
    values = np.asarray(image)
    if values.min() < 0 or values.max() > 0xFFFF:
        raise SegscopeError("its pixels have more than 16 bits")
    # Of values that 8 bits hold nothing but black would be left: they were 8 bits in a wider type.
    return Image.fromarray((values if values.max() <= 0xFF else values >> 8).astype(np.uint8))


def to_rgb(image: Image.Image) -> Image.Image:
    """The picture as RGB; transparency is dropped, the colours under it stay."""
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")
    return image if image.mode == "RGB" else image.convert("RGB")


def resize_image(image: Image.Image, size: int) -> Image.Image:
    """The picture as RGB at size × size pixels, by a bilinear filter that is anti-aliased when it shrinks."""
    return to_rgb(image).resize((size, size), Image.Resampling.BILINEAR)


def encode_png(picture: Image.Image | np.ndarray) -> bytes:
    """PNG bytes of a picture or of a uint8 H × W array."""
    if isinstance(picture, np.ndarray):
        picture = Image.fromarray(picture)
    buffer = io.BytesIO()
    # Run-length coding of the filtered rows: for photographs as small as the default, at a quarter of the time.
    picture.save(buffer, "PNG", compress_level=1, compress_type=3)
    return buffer.getvalue()


def decode_png(data: bytes) -> np.ndarray:
    """The array that `encode_png` encoded."""
    return np.asarray(Image.open(io.BytesIO(data)))
