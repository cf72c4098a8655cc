"""From instance masks to one mask of COCO category ids per image. Letters: H × W pixels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from PIL import Image

from segscope.coco import annotation_rle, decode_rle, resolve_categories
from segscope.errors import SegscopeError

BACKGROUND = 0
IGNORE = 255


def instances_table(annotations: Sequence[dict], height: int, width: int) -> pd.DataFrame:
    """One row an annotation, in the columns of instances.parquet that the annotation determines.

    area (pixels) and bbox (left, top, width, height) are those of the decoded mask.
    """
    rows = []
    for annotation in annotations:
        rle = annotation_rle(annotation, height, width)
        mask = decode_rle(rle["counts"], height, width)
        rows.append(
            {
                "annotation_id": annotation["id"],
                "category_id": annotation["category_id"],
                "area": int(mask.sum()),
                "bbox": bbox(mask),
                "iscrowd": bool(annotation.get("iscrowd", 0)),
                "height": height,
                "width": width,
                "rle": rle["counts"] if isinstance(rle["counts"], str) else rle["counts"].decode("ascii"),
            }
        )
    columns = ["annotation_id", "category_id", "area", "bbox", "iscrowd", "height", "width", "rle"]
    return pd.DataFrame(rows, columns=columns)


def compose_mask(instances: pd.DataFrame, height: int, width: int, crowd: str = "include") -> np.ndarray:
    """Paint instances into one uint8 H × W mask: 0 background, 255 ignore, else the COCO category id.

    Crowds are painted first, then smaller instances over larger ones, ties by annotation id. `crowd`:
    `include` paints a crowd as its category, `ignore` as 255.
    """
    mask = np.zeros((height, width), np.uint8)
    order = instances.assign(single=~instances["iscrowd"].astype(bool)).sort_values(
        ["single", "area", "annotation_id"], ascending=[True, False, True]
    )
    for row in order.itertuples():
        value = IGNORE if row.iscrowd and crowd == "ignore" else row.category_id
        mask[decode_rle(row.rle, height, width)] = value
    return mask


def bbox(mask: np.ndarray) -> list[float]:
    """Left, top, width, height in pixels of a boolean mask; zeros if it is empty."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return [0.0, 0.0, 0.0, 0.0]
    left, top = columns[0], rows[0]
    return [float(left), float(top), float(columns[-1] - left + 1), float(rows[-1] - top + 1)]


def resize_mask(mask: np.ndarray, size: int) -> np.ndarray:
    """A uint8 mask at size × size, by nearest neighbour."""
    return np.asarray(Image.fromarray(mask).resize((size, size), Image.Resampling.NEAREST))


def variant_classes(variant: Mapping[str, Sequence[str]], categories: pd.DataFrame) -> np.ndarray:
    """The lookup table of `category_classes` for a variant: class → names of categories or super-categories."""
    return category_classes({name: resolve_categories(of, categories) for name, of in variant.items()})


def category_classes(classes: Mapping[str, Sequence[int]]) -> np.ndarray:
    """Lookup table uint8[256]: COCO category id → class (0 background, then in order; 255 stays 255).

    Raises SegscopeError if two classes claim one category.
    """
    table = np.zeros(256, np.uint8)
    for number, (name, category_ids) in enumerate(classes.items(), start=1):
        for category_id in category_ids:
            if table[category_id]:
                other = list(classes)[table[category_id] - 1]
                raise SegscopeError(f"category {category_id} belongs to two classes: {other} and {name}")
            table[category_id] = number
    table[IGNORE] = IGNORE
    return table
