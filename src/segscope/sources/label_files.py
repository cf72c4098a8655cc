"""Label files are untrusted: pictures and text of regular files, of known formats, up to a size."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from segscope.artefacts.images import opened
from segscope.errors import SegscopeError, reason
from segscope.limits import MAX_LABEL_BYTES, read_within

LOSSLESS = (".png", ".bmp", ".tif", ".tiff", ".gif")  # JPEG's values are not those that were written


def read_pixels(path: Path, mode: str | None = None) -> np.ndarray:
    """A picture's values: of a palette its indices, unless it is converted to `mode`. Wider integers stay as they are.

    Raises SegscopeError if it cannot be read.
    """
    try:
        with opened(path) as image:
            image.load()
            return np.asarray(image.convert(mode) if mode and not image.mode.startswith("I") else image)
    except Exception as error:  # Pillow's decoders raise whatever a broken file provokes in them
        raise SegscopeError(f"{path} cannot be decoded: {reason(error, path)}") from error


def read_text(path: Path) -> str:
    """A file's text, without a byte order mark; bytes that are no UTF-8 become U+FFFD. Raises SegscopeError."""
    try:
        data = read_within(path, MAX_LABEL_BYTES)
    except OSError as error:
        raise SegscopeError(f"{path} cannot be read: {error.strerror}") from error
    return data.decode("utf-8-sig", errors="replace")
