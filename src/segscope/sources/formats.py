"""Label formats: each is read into the tables of a COCO file, and nothing that comes after knows of them."""

from __future__ import annotations

from pathlib import Path

from segscope.params import Data
from segscope.sources.class_masks import read_masks
from segscope.sources.coco import CocoSplit, read_coco
from segscope.sources.labelled import as_coco
from segscope.sources.panoptic import read_panoptic
from segscope.sources.source import Directory, Source
from segscope.sources.yolo import read_yolo


def read_split(source: Source, split: str, data: Data) -> CocoSplit:
    """A split of the source, in whatever `data.format` it is.

    Annotations of category 255 are of pixels to be ignored. Raises SegscopeError where it is not of that format.
    """
    if data.source != "directory" or not isinstance(source, Directory) or data.format == "coco":
        return read_coco(source.annotation_file(split), data.group)
    root = Path(data.root)
    match data.format:
        case "panoptic":
            found = read_panoptic(source.annotation_file(split), root)
        case "masks":
            found = read_masks(source.image_folder(split), source.labels(split), root)
        case "yolo":
            found = read_yolo(source.image_folder(split), source.labels(split), root, data.exif)
    return as_coco(found, data.group)
