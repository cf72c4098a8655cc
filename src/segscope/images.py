"""Reading and encoding pictures with Pillow."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

from segscope.errors import SegscopeError


def open_image(path: Path | str) -> Image.Image:
    """Decode an image file. COCO annotates the pixels as stored, so an EXIF rotation is not applied.

    Raises SegscopeError if the file is missing, truncated or not an image.
    """
    try:
        with Image.open(path) as image:
            image.load()
            return image
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise SegscopeError(f"image {path} cannot be decoded: {error}") from error


def resize_image(image: Image.Image, size: int) -> Image.Image:
    """The picture as RGB at size × size pixels, by a bilinear filter that is anti-aliased when it shrinks."""
    return image.convert("RGB").resize((size, size), Image.Resampling.BILINEAR)


def encode_png(picture: Image.Image | np.ndarray) -> bytes:
    """PNG bytes of a picture or of a uint8 H × W array."""
    if isinstance(picture, np.ndarray):
        picture = Image.fromarray(picture)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def decode_png(data: bytes) -> np.ndarray:
    """The array that `encode_png` encoded."""
    return np.asarray(Image.open(io.BytesIO(data)))
