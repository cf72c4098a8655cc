"""COCO panoptic: a JSON file, and a PNG an image whose pixels are numbers of segments.

https://cocodataset.org/#format-data: a pixel's number is R + 256 G + 65536 B; 0 is of no segment.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
from joblib import delayed
from pycocotools import mask as rle_api

from segscope.artefacts.parallel import workers
from segscope.artefacts.segmentation import union
from segscope.artefacts.skipped import skip
from segscope.errors import SegscopeError
from segscope.limits import MAX_ANNOTATION_BYTES, read_within
from segscope.sources.ids import id_number, id_text, whole
from segscope.sources.json_text import decode
from segscope.sources.label_files import read_pixels
from segscope.sources.labelled import Labelled
from segscope.sources.names import path_below
from segscope.sources.regions import encode_regions

VOID_SHARE = 0.5  # of the pixels: in COCO's own files fewer are of no segment
NONE = -1  # the number of a segment that has none, or void's 0


class _Document(msgspec.Struct):
    images: list[dict[str, Any]]
    annotations: list[Any]
    categories: list[Any]


class Read(NamedTuple):
    """One PNG: its height and width, and the RLE of each number; or why it has none."""

    size: tuple[int, ...] = ()
    regions: Mapping[int, str] = {}
    error: str | None = None


def read_panoptic(path: Path, root: Path) -> Labelled:
    """The images of a panoptic file that have a PNG; each segment is an annotation, and pixels of none are ignored.

    Raises SegscopeError if it is none.
    """
    try:
        document, _ = decode(read_within(path, MAX_ANNOTATION_BYTES), _Document, path)
    except OSError as error:
        raise SegscopeError(f"annotation file {path} cannot be read: {error.strerror}") from error
    except msgspec.ValidationError as error:
        raise SegscopeError(f"{path} is not a COCO panoptic file: {error}") from error
    folder, skipped = png_folder(path, root), list[dict[str, Any]]()
    rows = list(_rows(document.annotations, skipped))
    if document.annotations and not rows:
        raise SegscopeError(f"{path} is not a COCO panoptic file: no annotation has file_name and segments_info")
    files = [path_below(root, folder, row["file_name"]) for row in rows]
    results = workers()(delayed(read_png)(file) for file in files)
    found = Labelled(path, categories=document.categories, skipped=skipped)
    labelled = set[str | None]()
    for row, read in zip(rows, results, strict=True):
        if read.error:
            skipped.append(skip("bad_label", read.error, _number(row), None, row["file_name"]))
            continue
        labelled.add(id_text(row["image_id"]))
        found.pixels += read.size[0] * read.size[1]
        annotations, ignored = _segments(row, read)
        found.annotations += annotations
        if ignored:
            found.ignored.append((row["image_id"], ignored))
    bad = {row["image_id"] for row in skipped if row["reason"] == "bad_label"}
    for image in document.images:
        text = id_text(image.get("id"))
        if text is None or text in labelled:
            found.images.append(image)
        elif id_number(text) not in bad:
            skipped.append(
                skip("missing_label", f"{path} has no annotation of it", id_number(text), None, image.get("file_name"))
            )
    return found


def leave_background(splits: Sequence[Labelled]) -> None:
    """Ignore nothing, and say so, where that were more than VOID_SHARE of all the pixels of all splits.

    The files then hold objects alone, as exporters write them, and the rest is background. It is decided of all splits
    at once, so that none is measured otherwise than it is learned.
    """
    ignored = sum(int(rle_api.area(rle)) for found in splits for _, rle in found.ignored)
    pixels = sum(found.pixels for found in splits)
    if ignored > VOID_SHARE * pixels:
        for found in splits:
            found.ignored.clear()
        splits[0].notes.append(
            f"{' and '.join(str(found.path) for found in splits)}: {ignored / pixels:.0%} of the pixels are of no "
            "segment, and taken as background: where all is labelled they are few, and ignored"
        )


def png_folder(path: Path, root: Path) -> Path:
    """Where a panoptic file's PNGs are: called like it, beside it or in `root`; else beside it."""
    return next((each for each in (path.with_suffix(""), root / path.stem) if each.is_dir()), path.parent)


def _rows(annotations: list[Any], skipped: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for number, row in enumerate(annotations):
        if (
            isinstance(row, dict)
            and isinstance(row.get("file_name"), str)
            and isinstance(row.get("segments_info"), list)
            and id_text(row.get("image_id")) is not None
        ):
            yield row
        else:
            skipped.append(skip("malformed", f"annotations[{number}]: no image_id, file_name and segments_info"))


def _number(row: dict[str, Any]) -> int:
    return id_number(id_text(row["image_id"]) or "")


def _segments(row: dict[str, Any], read: Read) -> tuple[list[dict[str, Any]], dict[str, Any] | None]:
    """An image's annotations, and the RLE of the pixels that are of none."""
    size, segments = list(read.size), [each for each in row["segments_info"] if isinstance(each, dict)]
    listed = [whole(each.get("id")) or NONE for each in segments]
    nowhere = [size[0] * size[1]]
    annotations = [
        {
            "id": each.get("id"),
            "image_id": row["image_id"],
            "category_id": each.get("category_id"),
            "iscrowd": each.get("iscrowd", 0),
            "segmentation": {"size": size, "counts": read.regions.get(number, nowhere)},
        }
        for each, number in zip(segments, listed, strict=True)
    ]
    own = set(listed)
    rest = [{"size": size, "counts": counts.encode()} for number, counts in read.regions.items() if number not in own]
    ignored = {"size": size, "counts": union(rest)} if rest else None
    return annotations, ignored


def read_png(path: Path | None) -> Read:
    """Decode a PNG of segments."""
    if path is None:
        return Read(error="its file_name must be a path inside data.root")
    try:
        numbers = segment_numbers(path)
        return Read(numbers.shape, encode_regions(numbers))
    except SegscopeError as error:
        return Read(error=str(error))


def segment_numbers(path: Path) -> np.ndarray:
    """The numbers of segments that a PNG's pixels are, int32 H × W. Raises SegscopeError."""
    values = read_pixels(path, mode="RGB")
    if values.ndim == 2:
        return values.astype(np.int32)
    numbers = values[..., 2].astype(np.int32)
    for channel in (1, 0):
        numbers <<= 8
        numbers |= values[..., channel]
    return numbers
