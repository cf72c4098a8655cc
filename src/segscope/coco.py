"""COCO annotation files: reading, checking, choosing images, decoding instance masks."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas as pd
from pycocotools import mask as rle

from segscope.errors import SegscopeError

MAX_CATEGORY_ID = 254  # masks are 8 bits: 0 is background, 255 ignore


@dataclass(frozen=True)
class CocoSplit:
    """One annotation file.

    images: image_id, file_name, width, height. annotations: the file's own dicts, grouped by image id.
    categories: category_id, name, supercategory. All ordered by id.
    """

    images: pd.DataFrame
    annotations: dict[int, list[dict[str, Any]]]
    categories: pd.DataFrame


def read_coco(path: Path | str) -> CocoSplit:
    """Read a COCO instances file. Raises SegscopeError if it is not one, or contradicts itself."""
    path = Path(path)
    try:
        document = json.loads(path.read_bytes())
    except OSError as error:
        raise SegscopeError(f"annotation file {path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise SegscopeError(f"annotation file {path} is not JSON (is it truncated?): {error}") from error
    return parse_coco(document, path)


def parse_coco(document: Any, path: Path | str) -> CocoSplit:
    """Check and index a COCO document; `path` names it in errors."""
    images = _rows(document, "images", {"id": int, "file_name": str, "width": int, "height": int}, path)
    categories = _rows(document, "categories", {"id": int, "name": str}, path)
    annotations = _rows(document, "annotations", {"id": int, "image_id": int, "category_id": int}, path)
    for name, rows in (("image", images), ("category", categories), ("annotation", annotations)):
        _check_unique(name, [row["id"] for row in rows], path)
    for row in images:
        _check_image(row, path)
    category_ids = {row["id"] for row in categories}
    if bad := sorted(i for i in category_ids if not 1 <= i <= MAX_CATEGORY_ID):
        raise SegscopeError(f"{path}: category ids must be 1 to {MAX_CATEGORY_ID}, not {_some(bad)}")
    grouped: dict[int, list[dict[str, Any]]] = {row["id"]: [] for row in images}
    for row in annotations:
        if row["image_id"] not in grouped or row["category_id"] not in category_ids:
            raise SegscopeError(
                f"{path}: annotation {row['id']} names image {row['image_id']} and category "
                f"{row['category_id']}; one of them is not in the file"
            )
        grouped[row["image_id"]].append(row)
    for rows in grouped.values():
        rows.sort(key=lambda row: row["id"])
    return CocoSplit(
        images=pd.DataFrame(
            [(r["id"], r["file_name"], r["width"], r["height"]) for r in images],
            columns=["image_id", "file_name", "width", "height"],
        ).sort_values("image_id", ignore_index=True),
        annotations=grouped,
        categories=pd.DataFrame(
            [(r["id"], r["name"], str(r.get("supercategory") or r["name"])) for r in categories],
            columns=["category_id", "name", "supercategory"],
        ).sort_values("category_id", ignore_index=True),
    )


def _rows(document: Any, key: str, types: dict[str, type], path: Path | str) -> list[dict[str, Any]]:
    rows = document.get(key) if isinstance(document, dict) else None
    if not isinstance(rows, list):
        raise SegscopeError(f"{path} is not a COCO instances file: it has no list {key!r}")
    for i, row in enumerate(rows):
        for field, kind in types.items():
            value = row.get(field) if isinstance(row, dict) else None
            if not isinstance(value, kind) or isinstance(value, bool):
                raise SegscopeError(f"{path}: {key}[{i}].{field} must be of type {kind.__name__}, not {value!r}")
    return rows


def _check_unique(name: str, ids: Sequence[int], path: Path | str) -> None:
    if len(set(ids)) < len(ids):
        repeated = pd.Series(ids)[pd.Series(ids).duplicated()].unique().tolist()
        raise SegscopeError(f"{path}: {name} ids must be unique; repeated: {_some(repeated)}")


def _check_image(row: dict[str, Any], path: Path | str) -> None:
    name = PurePosixPath(row["file_name"])
    if name.is_absolute() or ".." in name.parts or "\\" in row["file_name"] or not name.parts:
        raise SegscopeError(
            f"{path}: image {row['id']} has file_name {row['file_name']!r}; "
            "it must be a relative path inside the image folder"
        )
    if row["width"] < 1 or row["height"] < 1:
        raise SegscopeError(f"{path}: image {row['id']} has size {row['width']}×{row['height']}")


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
    annotation of each), `any` (of at least one) or `none` (every image is taken). Of more than `max_images` a
    seeded sample is drawn that depends on nothing but the images' ids and the seed.
    """
    images = split.images
    if match != "none" and category_ids:
        present = images["image_id"].map(lambda i: {a["category_id"] for a in split.annotations[i]})
        combine = all if match == "all" else any
        images = images[present.map(lambda have: combine(have & set(wanted) for wanted in category_ids))]
    if len(images) > max_images:
        chosen = np.random.default_rng(seed).permutation(len(images))[:max_images]
        images = images.iloc[np.sort(chosen)]
    return images.reset_index(drop=True)


def encode_rle(mask: np.ndarray) -> dict[str, Any]:
    """COCO's compressed RLE of a boolean H × W mask; `counts` as text."""
    encoded = rle.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {"size": [int(n) for n in encoded["size"]], "counts": encoded["counts"].decode("ascii")}


def annotation_rle(annotation: dict[str, Any], height: int, width: int) -> dict[str, Any]:
    """An annotation's segmentation (polygons, uncompressed or compressed RLE) as one compressed RLE.

    Raises SegscopeError if it is none of these, or of another size than the image.
    """
    segmentation = annotation.get("segmentation")
    try:
        if isinstance(segmentation, list):
            polygons = [p for p in segmentation if len(p) >= 6]
            if not polygons:
                return encode_rle(np.zeros((height, width), bool))
            return rle.merge(rle.frPyObjects(polygons, height, width))
        if list(segmentation["size"]) != [height, width]:
            raise ValueError(f"its RLE is of size {segmentation['size']}, the image {[height, width]}")
        if isinstance(segmentation["counts"], list):
            if sum(segmentation["counts"]) != height * width or min(segmentation["counts"]) < 0:
                raise ValueError("its RLE does not cover the image")
            return rle.frPyObjects(segmentation, height, width)
        return {"size": [height, width], "counts": segmentation["counts"]}
    except (TypeError, ValueError, KeyError) as error:
        raise SegscopeError(
            f"annotation {annotation.get('id')} of image {annotation.get('image_id')} has no usable "
            f"segmentation: {error}"
        ) from error


def decode_rle(counts: str | bytes, height: int, width: int) -> np.ndarray:
    """A compressed RLE as a boolean H × W mask."""
    counts = counts.encode("ascii") if isinstance(counts, str) else counts
    return rle.decode({"size": [height, width], "counts": counts}).astype(bool)
