"""What any label format is turned into: a COCO document, and what is to be ignored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd

from segscope.artefacts.skipped import skipped_table
from segscope.sources.coco import CocoSplit, parse_coco
from segscope.sources.ids import id_numbers
from segscope.taxonomy import IGNORE


@dataclass
class Labelled:
    """A split of another format.

    path: what errors name. images, annotations, categories: rows as COCO has them. ignored: image id and segmentation
    of pixels that count nowhere; pixels: of how many in all, where that is asked. skipped: rows of `skip`. notes: what
    is read otherwise than the format has it.
    """

    path: Path
    images: list[dict[str, Any]] = field(default_factory=list)
    annotations: list[dict[str, Any]] = field(default_factory=list)
    categories: Sequence[Any] = ()
    ignored: list[tuple[Any, Any]] = field(default_factory=list)
    pixels: int = 0
    skipped: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def as_coco(found: Labelled, group: str | None = None, one_folder: bool = False) -> CocoSplit:
    """The tables that `parse_coco` makes of it, and with category 255 what is to be ignored: masks are painted so.

    group, one_folder: as of `parse_coco`. Raises SegscopeError as `parse_coco` does.
    """
    document = {"images": found.images, "annotations": found.annotations, "categories": found.categories}
    split = parse_coco(msgspec.json.encode(document), found.path, group, one_folder)
    # A region, not an object, below all that is.
    lowest = split.annotations["annotation_id"].min() if len(split.annotations) else 1
    ignored = pd.DataFrame(
        {
            "annotation_id": min(0, lowest - 1),
            "image_id": id_numbers([image_id for image_id, _ in found.ignored]),
            "category_id": IGNORE,
            "iscrowd": True,
            "segmentation": pd.Series([msgspec.json.encode(s) for _, s in found.ignored], dtype=object),
        }
    )
    ignored = ignored[ignored["image_id"].isin(split.images["image_id"])].astype({"image_id": np.int64})
    annotations = pd.concat([split.annotations, ignored]).astype(split.annotations.dtypes)
    return replace(
        split,
        annotations=annotations.sort_values(["image_id", "annotation_id"], ignore_index=True),
        skipped=pd.concat([skipped_table(found.skipped), split.skipped], ignore_index=True),
        notes=(*found.notes, *split.notes),
    )
