"""Segmentations of COCO files, as exporters write them. Letters: H × W pixels."""

from __future__ import annotations

import base64
import re
import zlib
from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np
from pycocotools import mask as rle_api

from segscope.artefacts.rle import rle_runs, without_empty_runs
from segscope.errors import SegscopeError
from segscope.limits import MAX_IMAGE_PIXELS, MAX_OUTLINE

MAX_COORDINATE = 100_000  # pixels; pycocotools' work and memory grow with a polygon's extent, in the frame or out of it
# Pixels from the origin: an outline that is all nearer is one of fractions, for it would be of a single pixel.
NORMALISED = 1.01

# What is wrong with a segmentation, and whence that comes.
KINDS = {
    "it is empty": "rectangles and key points are exported so (CVAT, Label Studio, Roboflow's object detection): "
    "export polygons or masks",
    "its polygons have fewer than three points": "a box [x, y, width, height] or a line is no outline; scripts that "
    "turn boxes or lines into COCO write these",
    "a polygon has an odd count of numbers": "it must be x, y, x, y, …; scripts that cut or join lists lose one",
    "its coordinates are not numbers": "a data frame's gaps become NaN or null",
    "its coordinates are too large": f"beyond {MAX_COORDINATE} pixels",
    "its outline is too long": f"more than {MAX_OUTLINE} pixels",
    "its image is too large": f"more than {MAX_IMAGE_PIXELS} pixels",
    "its RLE is of another size than the image": "COCO's size is [height, width], its runs go down the columns; "
    "scripts write [width, height], or the runs of a transposed mask",
    "its RLE does not cover the image": "the mask is of another size than the image, or its runs are cut",
    "its RLE is malformed": "its counts are text that is not COCO's code",
    "it is neither polygons nor RLE": "other tools' shapes must be converted",
}


def decode_segmentation(text: bytes, height: int, width: int) -> tuple[str, str | None]:
    """`read_segmentation` of the JSON that an annotation file has. Raises SegscopeError also if it is none."""
    try:
        segmentation = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise SegscopeError(str(error)) from error
    return read_segmentation(segmentation, height, width)


def read_segmentation(segmentation: object, height: int, width: int) -> tuple[str, str | None]:
    """A segmentation (polygons, uncompressed or compressed RLE) as the `counts` of a compressed RLE.

    Also returns as what it had to be read if it is not written as COCO's are: polygons as pairs, in one list, of
    fractions of width and height, or as run lengths; RLEs in a list, of bytes as text, in base64; all of it as text.
    Polygons may reach out of the frame; of several, those of fewer than three points cover nothing.
    Raises SegscopeError that begins with one of KINDS if it is none of these, or of another size than the image.
    What is returned decodes within the image, and no run of it but the first is empty: pycocotools itself trusts its
    input, and its merging writes beyond its memory, or never ends, where that is not so.
    """
    if height * width > MAX_IMAGE_PIXELS:  # for which pycocotools makes memory, without asking whether it got any
        raise SegscopeError(f"its image is too large: {width}×{height}")
    if isinstance(segmentation, str):
        try:
            return read_segmentation(msgspec.json.decode(segmentation), height, width)[0], "JSON in a string"
        except (msgspec.DecodeError, RecursionError) as error:
            raise SegscopeError(f"it is {'neither polygons nor RLE' if segmentation else 'empty'}") from error
    if not segmentation:
        raise SegscopeError("it is empty")
    if isinstance(segmentation, dict):
        return _rle(segmentation, height, width)
    if not isinstance(segmentation, list):
        raise SegscopeError("it is neither polygons nor RLE")
    if all(isinstance(each, dict) for each in segmentation):
        counts = [{"size": [height, width], "counts": _rle(each, height, width)[0]} for each in segmentation]
        return union(counts), "RLE in a list"
    try:
        polygons, form = _polygons(segmentation)
    except OverflowError as error:  # a whole number of hundreds of digits
        raise SegscopeError("its coordinates are too large") from error
    except (TypeError, ValueError, KeyError) as error:
        raise SegscopeError(f"its coordinates are not numbers: {error}") from error
    if len(polygons) == 1 and _are_runs(polygons[0], height, width):
        return _encoded(polygons[0], height, width), "run lengths in place of a polygon"
    if any(len(points) % 2 for points in polygons):
        raise SegscopeError("a polygon has an odd count of numbers")
    polygons = [points for points in polygons if len(points) >= 6]
    if not polygons:
        raise SegscopeError("its polygons have fewer than three points")
    extent = np.abs(np.concatenate(polygons)).max()  # NaN if there is one, which Python's own `max` may pass over
    if not extent <= MAX_COORDINATE:
        what = "not numbers" if np.isnan(extent) else "too large"
        raise SegscopeError(f"its coordinates are {what}")
    if are_fractions(extent, height, width):
        polygons = [points * np.resize((width, height), len(points)) for points in polygons]
        form = "fractions of width and height"
    if sum(map(_perimeter, polygons)) > MAX_OUTLINE:
        raise SegscopeError("its outline is too long")
    return union(rle_api.frPyObjects(polygons, height, width)), form


def are_fractions(extent: float, height: int, width: int) -> bool:
    """Whether coordinates, of which `extent` is the largest, are fractions; of 2 × 2 pixels and fewer none are."""
    return extent <= NORMALISED and max(height, width) > 2


def union(rles: list[dict[str, Any]]) -> str:
    """The code of what any of the RLEs covers."""
    while len(rles) > 8:  # of n at once pycocotools takes time as n²: each is merged with all that were before
        rles = [rle_api.merge(rles[i : i + 8]) for i in range(0, len(rles), 8)]
    return rle_api.merge(rles)["counts"].decode("ascii")


def _polygons(items: list) -> tuple[list[np.ndarray], str | None]:
    """The polygons x, y, x, y, … of lists of numbers, of pairs, or of lists of pairs.

    Raises TypeError, ValueError or KeyError for anything else.
    """
    if not any(isinstance(item, list) for item in items):
        return [np.asarray(items, np.float64)], "one list of numbers"
    if all(item and isinstance(item[0], list) for item in items):
        return [np.asarray(item, np.float64).reshape(-1) for item in items if _pairs(item)], "pairs of numbers"
    if len(items) > 2 and all(len(item) == 2 for item in items):
        return [np.asarray(items, np.float64).reshape(-1)], "pairs of numbers"
    polygons = [np.asarray(item, np.float64) for item in items]
    if any(points.ndim != 1 for points in polygons):
        raise ValueError("lists in lists")
    return polygons, None


def _perimeter(points: np.ndarray) -> float:
    """Of a closed polygon x, y, x, y, …, in pixels along its longer axis: the steps that pycocotools takes."""
    corners = points.reshape(-1, 2)
    return float(np.abs(corners - np.roll(corners, 1, axis=0)).max(1).sum())


def _pairs(points: list) -> bool:
    if any(len(pair) != 2 for pair in points):
        raise ValueError("points that are not pairs")
    return True


def _are_runs(numbers: np.ndarray, height: int, width: int) -> bool:
    """Whether numbers that stand for a polygon can only be run lengths."""
    if numbers.sum() != height * width or (numbers < 0).any() or (numbers % 1).any():
        return False
    return len(numbers) % 2 == 1 or numbers.max() > max(height, width)


def _encoded(runs: np.ndarray, height: int, width: int) -> str:
    runs = without_empty_runs(runs.astype(np.int64))
    return rle_api.frPyObjects({"size": [height, width], "counts": runs.tolist()}, height, width)["counts"].decode()


def _rle(segmentation: dict[str, Any], height: int, width: int) -> tuple[str, str | None]:
    size, counts = segmentation.get("size"), segmentation.get("counts")
    try:
        if size is not None and [float(side) for side in size] != [height, width]:
            raise SegscopeError(f"its RLE is of another size than the image: {size}, not {[height, width]}")
        if isinstance(counts, list):
            runs = np.asarray(counts, np.float64)
            if runs.ndim != 1 or (runs % 1).any():
                raise SegscopeError("its RLE is malformed: counts are not whole numbers")
            _require_cover(runs, height, width)
            return _encoded(runs, height, width), None
    except (TypeError, ValueError, OverflowError) as error:
        raise SegscopeError(f"its RLE is malformed: {error}") from error
    if not isinstance(counts, str):
        raise SegscopeError("its RLE is malformed: it has no counts")
    longest = 8 * (height * width + 8)  # of a run a pixel, six characters each, in base64
    wrong: SegscopeError | None = None
    for code, form in _codes(counts, longest) if len(counts) <= longest else ():
        try:
            runs = rle_runs(code)
            _require_cover(runs, height, width)
            return (code if runs[1:].all() else _encoded(runs, height, width)), form
        except SegscopeError as error:
            wrong = wrong or error
        except ValueError:
            wrong = wrong or SegscopeError("its RLE is malformed")
    raise wrong or SegscopeError("its RLE is malformed")


def _codes(counts: str, longest: int) -> Iterator[tuple[str, str | None]]:
    """The codes that `counts` may mean, the written one first. longest: characters of an unpacked one."""
    yield counts, None
    if literal := re.fullmatch(r"""b(['"])([^'"]*)\1""", counts):  # COCO's code has backslashes, and no quotes
        yield literal[2].replace(r"\\", "\\"), "bytes as text"
    try:
        data = base64.b64decode(counts, validate=True)
        yield data.decode("latin-1"), "base64"
        yield zlib.decompressobj().decompress(data, longest).decode("latin-1"), "compressed base64"
    except (ValueError, zlib.error):
        return


def _require_cover(runs: np.ndarray, height: int, width: int) -> None:
    if not len(runs) or not (runs.min() >= 0 and runs.max() <= height * width and runs.sum() == height * width):
        raise SegscopeError("its RLE does not cover the image")
