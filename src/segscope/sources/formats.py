"""Label formats: each is read into the tables of a COCO file, and nothing that comes after knows of them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from segscope.artefacts.skipped import SPLITS
from segscope.params import Data
from segscope.sources.class_masks import read_masks
from segscope.sources.coco import CocoSplit, read_coco
from segscope.sources.labelled import Labelled, as_coco
from segscope.sources.panoptic import leave_background, read_panoptic
from segscope.sources.source import Directory, Source
from segscope.sources.yolo import read_yolo


def read_splits(source: Source, data: Data) -> dict[str, CocoSplit]:
    """Each split of the source; where `data.val_share` is set, of the one that it is.

    Annotations of category 255 are of pixels to be ignored. Raises SegscopeError where one is not of `data.format`.
    """
    if data.source == "directory" and data.val_share is not None:
        return divide(read_undivided(source, SPLITS[:1], data)[SPLITS[0]], data.val_share, data.seed)
    return read_undivided(source, SPLITS, data)


def divide(whole: CocoSplit, val_share: float, seed: int) -> dict[str, CocoSplit]:
    """A share of the images as val, chosen by a hash of seed and group or id.

    An image that comes or goes moves no other.
    """
    units = whole.images["group"].fillna(whole.images["source_id"])
    ranks = units.map(lambda unit: int(hashlib.sha256(f"val {seed} {unit}".encode()).hexdigest()[:12], 16) / 16**12)
    of_val = ranks < val_share
    val = whole.images.loc[of_val, "image_id"]
    parts = {}
    for split, images in zip(SPLITS, (whole.images[~of_val], whole.images[of_val]), strict=True):
        tables = {
            name: table[table["image_id"].isin(val) == (split == SPLITS[1])].reset_index(drop=True)
            for name, table in (("annotations", whole.annotations), ("skipped", whole.skipped))
        }
        parts[split] = replace(whole, images=images.reset_index(drop=True), **tables)
    parts[SPLITS[1]] = replace(parts[SPLITS[1]], notes=())  # said once
    return parts


def read_undivided(source: Source, splits: Sequence[str], data: Data) -> dict[str, CocoSplit]:
    """Each of the splits, in whatever `data.format` they are; raises as `read_splits`.

    All are read before any becomes tables, for what is background is asked of all.
    """
    if data.source != "directory" or not isinstance(source, Directory) or data.format == "coco":
        return {split: read_coco(source.annotation_file(split), data.group) for split in splits}
    found = {split: read_labelled(source, split, data) for split in splits}
    if data.format == "panoptic":
        leave_background(list(found.values()))
    return {split: as_coco(found.pop(split), data.group, one_folder=True) for split in splits}


def read_labelled(source: Directory, split: str, data: Data) -> Labelled:
    """A split of a format that is not COCO's own. Raises SegscopeError where it is not of that format."""
    root = Path(data.root)
    match data.format:
        case "panoptic":
            found = read_panoptic(source.annotation_file(split), root)
        case "masks":
            found = read_masks(source.image_folder(split), source.labels(split), root)
        case "yolo":
            found = read_yolo(source.image_folder(split), source.labels(split), root, data.exif)
    return found
