"""YOLO segmentation: `data.yaml`, and a text file an image, of a line an object: its class, then x y of its outline.

Coordinates are fractions of the image's width and height (https://docs.ultralytics.com/datasets/segment/).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from segscope.artefacts.images import image_size
from segscope.artefacts.segmentation import are_fractions
from segscope.artefacts.skipped import skip
from segscope.errors import SegscopeError
from segscope.sources.beside import PICTURES, files_below, image_rows, key_of, pair, writable
from segscope.sources.ids import id_number, id_text, whole
from segscope.sources.label_files import read_text
from segscope.sources.labelled import Labelled
from segscope.sources.legend import find_legend

NO_LABELS = ("classes", "labels", "readme", "obj", "train", "val", "valid", "test", "requirements", "notes")


def read_yolo(images: Path, labels: Path, root: Path, exif: str) -> Labelled:
    """The images of a folder; those without a label file are background, as YOLO takes them.

    exif: as of `open_image`; fractions are of the picture's width and height so. Raises SegscopeError if there are no
    folders, or no table of names.
    """
    for folder in (images, labels):
        if not folder.is_dir():
            raise SegscopeError(
                f"there is no folder {folder}: look at data.root, data.splits, data.annotations and data.images; "
                "`segscope inspect` with data.root says what there is"
            )
    legend = find_legend(labels, root)
    found = Labelled(legend.path, categories=legend.categories())
    pictures = writable(files_below(images, PICTURES), found.skipped)
    texts = writable(label_files(labels, pictures), found.skipped)
    of = pair(pictures, texts)
    found.skipped += [
        skip("unknown_image", f"{labels / name} is of no image, or another is called more like it", file_name=name)
        for name in sorted({*texts} - {*of.values()})
    ]
    for row in image_rows(pictures):
        try:
            width, height = image_size(images / row["file_name"], exif)
        except SegscopeError:
            width, height = 0, 0  # listed when it is chosen
        found.images.append(row | {"width": width, "height": height})
        if row["file_name"] in of:
            found.annotations += _objects(labels / of[row["file_name"]], row, width, height, found.skipped)
    return found


def label_files(folder: Path, pictures: Sequence[str] = ()) -> list[str]:
    """The files below a folder that may be labels: those that are called as pictures are, whatever that is."""
    keys = {key_of(name) for name in pictures}
    return [
        name
        for name in files_below(folder, (".txt",))
        if key_of(name) in keys or Path(name).stem.casefold() not in NO_LABELS
    ]


def _objects(
    path: Path, image: dict[str, Any], width: int, height: int, skipped: list[dict[str, Any]]
) -> Iterator[dict[str, Any]]:
    """Its annotations, numbered by line; lines that are no numbers are listed."""
    about = id_number(id_text(image["id"]) or "")
    try:
        lines = read_text(path).splitlines()
    except SegscopeError as error:
        skipped.append(skip("malformed", str(error), about, 0, image["file_name"]))
        return
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        kind, *rest = line.split()
        try:
            values = [float(text) for text in rest]
            category = whole(float(kind))
        except ValueError:
            values, category = [], None
        if category is None or not values:
            detail = f"{path}, line {number}: it is not a class and x y x y …: {line[:60]!r}"
            skipped.append(skip("malformed", detail, about, number, image["file_name"]))
            continue
        # Rounded, so that what was written as half a pixel is half a pixel, and falls to the same side.
        scaled = [round(value * (height if i % 2 else width), 4) for i, value in enumerate(values)]
        if are_fractions(max(map(abs, scaled)), height, width):  # and would be read as such once more
            detail = f"{path}, line {number}: it lies within a pixel of the picture's corner"
            skipped.append(skip("no_pixels", detail, about, number, image["file_name"]))
            continue
        yield {"id": number, "image_id": image["id"], "category_id": category, "segmentation": [scaled]}
