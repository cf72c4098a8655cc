"""Reading and encoding pictures with Pillow."""

from __future__ import annotations

import io
import os
import re
import warnings
from contextlib import nullcontext
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, UnidentifiedImageError

from segscope.errors import SegscopeError, reason
from segscope.limits import MAX_IMAGE_BYTES, MAX_IMAGE_PIXELS, MAX_IMAGE_SCANS, MAX_IMAGE_SEGMENTS, MAX_IMAGE_SIDE

EXIF_ORIENTATION = 0x0112
TIFF_TILE_WIDTH, TIFF_TILE_HEIGHT = 322, 323
_MARK = re.compile(rb"\xff[^\x00\x01\xd0-\xd8\xff]")  # of a JPEG's segment, or of its end
_SCAN, _END = b"\xff\xda", b"\xff\xd9"
_MILLIONS = f"{MAX_IMAGE_PIXELS / 1e6:.0f}"
# An image file is untrusted. Of Pillow's formats those that photographs come in: some others start a program, and a
# JPEG 2000 of a hundred bytes takes gigabytes.
FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "AVIF", "PPM", "TGA")
_UPRIGHT = {  # how a picture is turned or mirrored, by its EXIF orientation
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class SizeMismatchError(SegscopeError):
    """An image is not of the size that its annotations are of."""


def open_image(path: Path | str | BinaryIO, size: tuple[int, int] | None = None, exif: str = "ignore") -> Image.Image:
    """Decode an image file, whatever its name's extension says.

    exif: `ignore` its orientation, as COCO annotates the pixels as stored, or `apply` it. 16-bit pixels become 8-bit
    ones, and so do wider integers of 16 or 8 bits; `info` then has their largest value as `largest`.
    Raises SegscopeError if the file is missing, truncated or not an image, SizeMismatchError if it is not of the
    width and height `size`.
    """
    try:
        with opened(path) as image:
            if size and _size(image, exif) != size:
                raise SizeMismatchError(
                    f"image {path} is {_shape(_size(image, exif))}, {_size_hint(image, size, exif)}"
                )
            turned = orientation(image) if exif == "apply" else 1
            image.load()
            picture = _eight_bits(image)
            return picture if turned == 1 else picture.transpose(_UPRIGHT[turned])
    except SizeMismatchError:
        raise
    except Exception as error:
        # Pillow's decoders raise whatever a broken file provokes in them: OSError, SyntaxError, struct.error, …
        raise SegscopeError(f"image {path} cannot be decoded: {reason(error, path)}") from error


def opened(path: Path | str | BinaryIO) -> Image.Image:
    """The image, not decoded yet. Raises SegscopeError if it is no file, or would take too much to be decoded."""
    if isinstance(path, str | Path) and os.path.exists(path) and not os.path.isfile(path):
        raise SegscopeError("it is no file")  # of a pipe or a device there is no end
    _require_bounded_jpeg(_jpeg(path))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # our own bound is lower
            image = Image.open(path, formats=FORMATS)
    except UnidentifiedImageError as error:
        raise SegscopeError(f"it is in none of the formats that are read: {', '.join(FORMATS)}") from error
    except Image.DecompressionBombError as error:
        raise SegscopeError(f"its pixels are more than {_MILLIONS} million: scale it down") from error
    try:
        _require_bounded(image)
    except BaseException:
        image.close()
        raise
    return image


def _require_bounded(image: Image.Image) -> None:
    """Raise SegscopeError if an image would take too much memory or time to be decoded."""
    if image.width * image.height > MAX_IMAGE_PIXELS:
        raise SegscopeError(f"its pixels are {_shape(image.size)}, more than {_MILLIONS} million: scale it down")
    if max(image.size) > MAX_IMAGE_SIDE:
        raise SegscopeError(f"its pixels are {_shape(image.size)}, a side more than {MAX_IMAGE_SIDE}: cut it")
    tags = getattr(image, "tag_v2", {})
    tile = int(tags.get(TIFF_TILE_WIDTH, 0)) * int(tags.get(TIFF_TILE_HEIGHT, 0))
    if tile > MAX_IMAGE_PIXELS:  # though the image be of a single pixel
        raise SegscopeError(f"a tile of it has more than {_MILLIONS} million pixels")


def _jpeg(path: Path | str | BinaryIO) -> bytes:
    """The content of a file if it begins as a JPEG does, else nothing."""
    with nullcontext(path) if not isinstance(path, str | Path) else open(path, "rb") as file:
        file.seek(0)
        start = file.read(2)
        content = b""
        if start == b"\xff\xd8":
            file.seek(0)
            content = file.read(MAX_IMAGE_BYTES + 1)
        file.seek(0)
    if len(content) > MAX_IMAGE_BYTES:
        raise SegscopeError(f"it has more than {MAX_IMAGE_BYTES} bytes")
    return content


def _require_bounded_jpeg(data: bytes) -> None:
    """Raise SegscopeError if a JPEG is of very many parts, each of which takes Pillow time whatever the picture is."""
    segments, scans, at = 0, 0, 2
    while (mark := _MARK.search(data, at)) and mark[0] != _END:
        segments, scans = segments + 1, scans + (mark[0] == _SCAN)
        if segments > MAX_IMAGE_SEGMENTS or (not scans and mark.start() - at > MAX_IMAGE_SEGMENTS):
            raise SegscopeError(f"it is stored in more than {MAX_IMAGE_SEGMENTS} segments, or has filling between them")
        if scans > MAX_IMAGE_SCANS:  # its pixels are gone over so often
            raise SegscopeError(f"it is stored in more than {MAX_IMAGE_SCANS} scans")
        # A segment begins with its length; after a scan's, its code goes on to the next mark.
        at = mark.end() + int.from_bytes(data[mark.end() : mark.end() + 2])


def image_size(path: Path | str, exif: str) -> tuple[int, int]:
    """Width and height of an image file, as `open_image` has it, which is not decoded. Raises SegscopeError."""
    try:
        with opened(path) as image:
            return _size(image, exif)
    except Exception as error:  # as above
        raise SegscopeError(f"image {path} cannot be decoded: {reason(error, path)}") from error


def orientation(image: Image.Image) -> int:
    """How the EXIF data say that the picture is to be turned or mirrored: 1 (not at all) … 8.

    Of a TIFF file 1: Pillow turns it itself.
    """
    if image.format == "TIFF":
        return 1
    try:
        turned = image.getexif().get(EXIF_ORIENTATION, 1)
    except Exception:  # whatever damaged EXIF data provoke in Pillow
        return 1
    return turned if turned in _UPRIGHT else 1


def _size(image: Image.Image, exif: str) -> tuple[int, int]:
    width, height = image.size
    return (height, width) if exif == "apply" and orientation(image) > 4 else (width, height)


def _shape(size: tuple[int, int]) -> str:
    return f"{size[0]}×{size[1]}"


def _size_hint(image: Image.Image, size: tuple[int, int], exif: str) -> str:
    hint = f"its annotations are of {_shape(size)}"
    if _size(image, exif) != size[::-1]:
        return hint
    if orientation(image) > 4:
        other = "apply" if exif == "ignore" else "ignore"
        return f"{hint} (turned by its EXIF orientation: data.exif: {other} reads it so)"
    return f"{hint} (width and height are swapped; without them in the file, they are those of the image)"


def _eight_bits(image: Image.Image) -> Image.Image:
    if image.mode == "F":
        raise SegscopeError("its pixels are floating-point numbers")
    if not image.mode.startswith("I"):
        return image
    values = np.asarray(image)
    if values.min() < 0 or values.max() > 0xFFFF:
        raise SegscopeError("its pixels have more than 16 bits")
    # Of values that 8 bits hold nothing but black would be left: they were 8 bits in a wider type.
    picture = Image.fromarray((values if values.max() <= 0xFF else values >> 8).astype(np.uint8))
    picture.info = image.info | {"largest": int(values.max())}
    return picture


def to_rgb(image: Image.Image) -> Image.Image:
    """The picture as RGB; transparency is dropped, the colours under it stay."""
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")
    return image if image.mode == "RGB" else image.convert("RGB")


def resize_image(image: Image.Image, size: int) -> Image.Image:
    """The picture as RGB at size × size pixels, by a bilinear filter that is anti-aliased when it shrinks."""
    return to_rgb(image).resize((size, size), Image.Resampling.BILINEAR)


def encode_png(picture: Image.Image | np.ndarray) -> bytes:
    """PNG bytes of a picture or of a uint8 H × W array; of a colour profile nothing: its readers take none."""
    if isinstance(picture, np.ndarray):
        picture = Image.fromarray(picture)
    buffer = io.BytesIO()
    # Run-length coding of the filtered rows: for photographs as small as the default, at a quarter of the time.
    picture.save(buffer, "PNG", compress_level=1, compress_type=3, icc_profile=None)
    return buffer.getvalue()


def decode_png(data: bytes) -> np.ndarray:
    """The array that `encode_png` encoded. Raises SegscopeError if it is none."""
    try:
        with opened(io.BytesIO(data)) as image:
            return np.asarray(image)
    except Exception as error:  # as above
        raise SegscopeError(f"a mask of a table cannot be decoded: {error}") from error
