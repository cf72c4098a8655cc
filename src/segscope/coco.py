"""COCO annotation files: reading, checking, choosing images, run-length encoded masks.

A file's rows are checked one by one. What contradicts the rest is left out and listed, with a reason, in
`CocoSplit.skipped`; a file of which nothing can be trusted is an error.
"""

from __future__ import annotations

import codecs
import hashlib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

import msgspec
import numpy as np
import pandas as pd
from pycocotools import mask as rle

from segscope.errors import SegscopeError

MAX_CATEGORY_ID = 254  # masks are 8 bits: 0 is background, 255 ignore
MAX_COORDINATE = 100_000  # pixels; pycocotools' work and memory grow with a polygon's extent, in the frame or out of it

_Id = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
_Length = Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)]


class _Image(msgspec.Struct):
    id: _Id
    file_name: str
    width: _Length
    height: _Length


class _Category(msgspec.Struct):
    id: _Id
    name: Annotated[str, msgspec.Meta(min_length=1)]
    supercategory: str | None = None


class _Annotation(msgspec.Struct):
    id: _Id
    image_id: _Id
    category_id: _Id
    iscrowd: int | bool | None = 0
    segmentation: msgspec.Raw = msgspec.Raw(b"null")


class _Document(msgspec.Struct):
    images: list[msgspec.Raw]
    annotations: list[msgspec.Raw]
    categories: list[_Category]


@dataclass(frozen=True)
class CocoSplit:
    """One annotation file.

    images: image_id, source_id (the file's own, here the same), file_name, width, height (pixels). annotations:
    annotation_id, image_id, category_id, iscrowd, segmentation (JSON, undecoded), ordered by image and annotation.
    categories: category_id, source_id (the file's own, the same unless that does not fit a mask), name,
    supercategory. skipped: image_id, annotation_id, file_name, reason, detail of each row that is left out.
    """

    images: pd.DataFrame
    annotations: pd.DataFrame
    categories: pd.DataFrame
    skipped: pd.DataFrame


def skip(
    reason: str,
    detail: str,
    image_id: int | None = None,
    annotation_id: int | None = None,
    file_name: str | None = None,
) -> dict[str, Any]:
    """A row of the skipped tables: an image (no annotation id) or an annotation that is left out, and why."""
    return {
        "image_id": image_id,
        "annotation_id": annotation_id,
        "file_name": file_name,
        "reason": reason,
        "detail": detail,
    }


def skipped_table(rows: Iterable[dict[str, Any]]) -> pd.DataFrame:
    """The rows of `skip` as a table; ids are nullable integers."""
    table = pd.DataFrame(rows, columns=["image_id", "annotation_id", "file_name", "reason", "detail"])
    return table.astype({"image_id": "Int64", "annotation_id": "Int64"})


def read_coco(path: Path | str) -> CocoSplit:
    """Read a COCO instances file. Raises SegscopeError if it is not one."""
    try:
        text = Path(path).read_bytes()
    except OSError as error:
        raise SegscopeError(f"annotation file {path} cannot be read: {error.strerror}") from error
    return parse_coco(text, path)


def parse_coco(text: bytes, path: Path | str) -> CocoSplit:
    """Check and index the text of a COCO document; `path` names it in errors.

    Segmentations stay undecoded views of `text`, so that the largest file costs little more than its own size.
    """
    try:
        document = msgspec.json.decode(text.removeprefix(codecs.BOM_UTF8), type=_Document)
    except msgspec.ValidationError as error:
        raise SegscopeError(f"{path} is not a COCO instances file: {error}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise SegscopeError(f"annotation file {path} is not JSON (is it truncated?): {error}") from error
    skipped: list[dict[str, Any]] = []
    categories = _categories(document.categories, path)
    images, known = _images(document.images, skipped)
    annotations = _annotations(document.annotations, categories, known, skipped)
    annotations = annotations[annotations["image_id"].isin(images["image_id"])].reset_index(drop=True)
    return CocoSplit(images, annotations, categories, skipped_table(skipped))


def _rows(raws: list[msgspec.Raw], kind: type, name: str, skipped: list[dict[str, Any]]) -> list[Any]:
    """Decode rows; those that are not of `kind` are listed as malformed."""
    decode = msgspec.json.Decoder(kind).decode
    rows = []
    for number, raw in enumerate(raws):
        try:
            rows.append(decode(raw))
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            skipped.append(skip("malformed", f"{name}[{number}]: {error}"))
    return rows


def _images(raws: list[msgspec.Raw], skipped: list[dict[str, Any]]) -> tuple[pd.DataFrame, set[int]]:
    """The usable images, by id; and the ids of all, so that a skipped image's annotations are not unknown."""
    rows = _rows(raws, _Image, "images", skipped)
    table = pd.DataFrame(
        [(r.id, r.file_name, r.width, r.height) for r in rows], columns=["image_id", "file_name", "width", "height"]
    )
    unsafe = ~table["file_name"].map(_is_safe).astype(bool)
    repeated = table.duplicated() & ~unsafe
    ambiguous = table[~repeated]["image_id"].duplicated(keep=False).reindex(table.index, fill_value=False) & ~unsafe
    for bad, reason, detail in (
        (unsafe, "unsafe_file_name", "file_name must be a relative path inside the image folder"),
        (repeated, "duplicate_id", "the same image is listed before"),
        (ambiguous, "duplicate_id", "several images have this id"),
    ):
        skipped += [skip(reason, detail, r.image_id, None, r.file_name) for r in table[bad].itertuples()]
    usable = table[~(unsafe | repeated | ambiguous)].sort_values("image_id", ignore_index=True)
    usable.insert(1, "source_id", usable["image_id"])
    return usable.astype({"image_id": np.int64, "source_id": np.int64, "width": np.int64, "height": np.int64}), set(
        table["image_id"]
    )


def _is_safe(file_name: str) -> bool:
    path = PurePosixPath(file_name)
    odd = any(not c.isprintable() for c in file_name) or "\\" in file_name
    return not (odd or path.is_absolute() or ".." in path.parts or not path.parts or file_name.endswith("/"))


def _categories(rows: list[_Category], path: Path | str) -> pd.DataFrame:
    table = pd.DataFrame(
        [(r.id, r.name, r.supercategory if r.supercategory not in (None, "", "none") else r.name) for r in rows],
        columns=["source_id", "name", "supercategory"],
    ).sort_values("source_id", ignore_index=True)
    for column in ("source_id", "name"):
        if table[column].duplicated().any():
            repeated = table.loc[table[column].duplicated(), column].unique().tolist()
            what = "ids" if column == "source_id" else "names"
            raise SegscopeError(f"{path}: category {what} must be unique; repeated: {_some(repeated)}")
    if len(table) > MAX_CATEGORY_ID:
        raise SegscopeError(f"{path} has {len(table)} categories; masks of 8 bits hold at most {MAX_CATEGORY_ID}")
    fits = table["source_id"].between(1, MAX_CATEGORY_ID).all()
    table.insert(0, "category_id", table["source_id"] if fits else np.arange(1, len(table) + 1))
    return table.astype({"source_id": np.int64, "category_id": np.int64})


def _annotations(
    raws: list[msgspec.Raw], categories: pd.DataFrame, known_images: set[int], skipped: list[dict[str, Any]]
) -> pd.DataFrame:
    rows = _rows(raws, _Annotation, "annotations", skipped)
    table = pd.DataFrame(
        {
            "annotation_id": np.array([r.id for r in rows], np.int64),
            "image_id": np.array([r.image_id for r in rows], np.int64),
            "source_id": np.array([r.category_id for r in rows], np.int64),
            "iscrowd": np.array([bool(r.iscrowd) for r in rows], bool),
            "segmentation": pd.Series([r.segmentation for r in rows], dtype=object),
        }
    )
    unknown_image = ~table["image_id"].isin(known_images)
    unknown_category = ~table["source_id"].isin(categories["source_id"]) & ~unknown_image
    repeated = table["annotation_id"].duplicated() & ~unknown_image & ~unknown_category
    for bad, reason, column, detail in (
        (unknown_image, "unknown_image", "image_id", "image {} is not in the file"),
        (unknown_category, "unknown_category", "source_id", "category {} is not in the file"),
        (repeated, "duplicate_id", "annotation_id", "an annotation before has id {}"),
    ):
        for row in table[bad].itertuples():
            skipped.append(skip(reason, detail.format(getattr(row, column)), row.image_id, row.annotation_id))
    table = table[~(unknown_image | unknown_category | repeated)]
    category_id = categories.set_index("source_id")["category_id"]
    table = table.assign(category_id=table["source_id"].map(category_id).astype(np.int64))
    columns = ["annotation_id", "image_id", "category_id", "iscrowd", "segmentation"]
    return table.sort_values(["image_id", "annotation_id"], ignore_index=True)[columns]


def _some(values: Sequence[Any], most: int = 5) -> str:
    return ", ".join(map(str, values[:most])) + (f" and {len(values) - most} more" if len(values) > most else "")


def resolve_categories(names: Iterable[str], categories: pd.DataFrame) -> list[int]:
    """Category ids of names, each a category or a super-category (a category of that name goes first).

    Raises SegscopeError naming what exists.
    """
    ids: list[int] = []
    for name in names:
        for column in ("name", "supercategory"):
            found = categories.loc[categories[column] == name, "category_id"].tolist()
            if found:
                ids.extend(found)
                break
        else:
            raise SegscopeError(
                f"{name!r} is neither a category nor a super-category of the data; categories: "
                f"{', '.join(categories['name'])}; super-categories: "
                f"{', '.join(categories['supercategory'].unique())}"
            )
    return ids


def select_images(
    split: CocoSplit, category_ids: Sequence[Collection[int]], match: str, max_images: int, seed: int
) -> pd.DataFrame:
    """The images of the subset, ordered by id.

    category_ids holds one set of ids for each name the subset asks for; `match` is `all` (an image has an
    annotation of each), `any` (of at least one) or `none` (every image is taken). Of more than `max_images` those
    are taken whose hash of seed and id is smallest: a larger limit adds to the choice, and an image that comes or
    goes changes at most one other.
    """
    images = split.images
    if match != "none" and category_ids:
        shown = split.annotations[["image_id", "category_id"]]
        showing = [set(shown.loc[shown["category_id"].isin(wanted), "image_id"]) for wanted in category_ids]
        chosen = set.intersection(*showing) if match == "all" else set.union(*showing)
        images = images[images["image_id"].isin(chosen)]
    ranks = images["source_id"].map(lambda i: hashlib.sha256(f"{seed} {i}".encode()).hexdigest())
    return images.loc[ranks.sort_values().index[:max_images].sort_values()].reset_index(drop=True)


def encode_rle(mask: np.ndarray) -> str:
    """The `counts` of COCO's compressed RLE of a boolean H × W mask."""
    return rle.encode(np.asfortranarray(mask, dtype=np.uint8))["counts"].decode("ascii")


def segmentation_rle(segmentation: object, height: int, width: int) -> str:
    """A COCO segmentation (polygons, uncompressed or compressed RLE) as the `counts` of a compressed RLE.

    Polygons may reach out of the frame; one of fewer than three points covers nothing. Raises SegscopeError if it
    is none of these, or of another size than the image. What is returned decodes within the image: pycocotools
    itself trusts its input.
    """
    try:
        if isinstance(segmentation, list):
            polygons = [_polygon(p) for p in segmentation]
            polygons = [p for p in polygons if len(p) >= 6]
            if not polygons:
                return encode_rle(np.zeros((height, width), bool))
            return rle.merge(rle.frPyObjects(polygons, height, width))["counts"].decode("ascii")
        if not isinstance(segmentation, dict):
            raise ValueError("it has no segmentation")
        size, counts = segmentation.get("size"), segmentation.get("counts")
        if size != [height, width]:
            raise ValueError(f"its RLE is of size {size}, the image {[height, width]}")
        if isinstance(counts, list):
            runs = np.asarray(counts)
            if runs.ndim != 1 or runs.dtype.kind != "i":
                raise ValueError("its RLE's counts are not integers")
        elif isinstance(counts, str):
            runs = rle_runs(counts)
        else:
            raise ValueError("its RLE has no counts")
        if not len(runs) or runs.min() < 0 or runs.max() > height * width or runs.sum() != height * width:
            raise ValueError("its RLE does not cover the image")
        if isinstance(counts, str):
            return counts
        return rle.frPyObjects(segmentation, height, width)["counts"].decode("ascii")
    except (TypeError, ValueError, OverflowError) as error:
        raise SegscopeError(str(error)) from error


def _polygon(points: object) -> np.ndarray:
    if not isinstance(points, list):
        raise ValueError("its polygons are not lists of numbers")
    values = np.asarray(points, np.float64)
    if values.ndim != 1 or not (np.abs(values) <= MAX_COORDINATE).all():
        raise ValueError(f"a polygon's coordinates are not numbers within {MAX_COORDINATE} pixels")
    return values


def rle_runs(counts: str) -> np.ndarray:
    """Run lengths in pixels (int64, background first, column by column) of a compressed RLE's `counts`.

    The code is pycocotools' (https://github.com/cocodataset/cocoapi, common/maskApi.c, rleToString): five bits a
    character, the sixth continues, the highest bit of the last is the sign; from the fourth number on, differences
    to the last but one. Raises ValueError if the text is no such code.
    """
    codes = np.frombuffer(counts.encode("ascii"), np.uint8).astype(np.int64) - 48
    if not len(codes) or codes.min() < 0 or codes.max() > 63 or codes[-1] & 32:
        raise ValueError("its RLE is malformed")
    ends = np.flatnonzero((codes & 32) == 0)
    starts = np.concatenate(([0], ends[:-1] + 1))
    lengths = ends - starts + 1
    if lengths.max() > 7:  # more than 32 bits
        raise ValueError("its RLE is malformed")
    shifts = 5 * (np.arange(len(codes)) - np.repeat(starts, lengths))
    runs = np.add.reduceat((codes & 31) << shifts, starts)
    runs -= np.where(codes[ends] & 16, 1 << (5 * lengths), 0)
    runs[1::2] = np.cumsum(runs[1::2])
    runs[2::2] = np.cumsum(runs[2::2])
    return runs


def decode_rle(counts: str, height: int, width: int) -> np.ndarray:
    """A compressed RLE as a boolean H × W mask."""
    runs = rle_runs(counts)
    return np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(width, height).T
