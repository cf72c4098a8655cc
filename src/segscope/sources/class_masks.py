"""Folders of masks whose pixels are numbers of classes, one PNG an image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from joblib import delayed

from segscope.artefacts.parallel import workers
from segscope.artefacts.skipped import skip
from segscope.errors import SegscopeError
from segscope.sources.beside import MASK_ENDINGS, PICTURES, files_below, image_rows, key_of, pair, writable
from segscope.sources.label_files import LOSSLESS, read_pixels
from segscope.sources.labelled import Labelled
from segscope.sources.legend import BACKGROUND, IGNORED, find_legend
from segscope.sources.regions import components, encode_regions
from segscope.taxonomy import IGNORE

REGION = 0  # the annotation id of what is to be ignored; components are numbered from 1


class Meaning(NamedTuple):
    """Values that are background and to be ignored; all others are classes."""

    background: frozenset[int]
    ignored: frozenset[int]


class Read(NamedTuple):
    """One mask: its size, each component's value and RLE, the RLE of what is to be ignored; or why it has none."""

    width: int = 0
    height: int = 0
    regions: Sequence[tuple[int, str]] = ()
    ignored: str | None = None
    error: str | None = None


def read_masks(images: Path, masks: Path, root: Path) -> Labelled:
    """The images of a folder that have a mask; each connected component of a class is an annotation.

    So an object that others do not touch is one annotation, to be counted, measured and suspected alone, as COCO's are.
    255 is ignored unless the table of names has it; 0 is background unless the table has it as something else.
    Raises SegscopeError if there is no folder of masks, no table of names, or nothing but 0 and 255.
    """
    legend = find_legend(masks, root)
    named = {value for value, *_ in legend.rows}
    meaning = Meaning(
        frozenset(legend.values_of(BACKGROUND) | ({0} - named)),
        frozenset(legend.values_of(IGNORED) | ({IGNORE} - named)),
    )
    skipped: list[dict[str, Any]] = []
    pictures, labels = _files(images, masks, skipped)
    of = pair(pictures, labels)
    rows = image_rows(pictures)
    skipped += [skip("missing_label", f"no mask in {masks}", None, None, name) for name in pictures if name not in of]
    skipped += [
        skip("unknown_image", f"mask {masks / name} is of no image, or another is called more like it", file_name=name)
        for name in sorted({*labels} - {*of.values()})
    ]
    rows = [row for row in rows if row["file_name"] in of]
    results = workers()(delayed(read_mask)(masks / of[row["file_name"]], meaning) for row in rows)
    found = Labelled(legend.path, categories=legend.categories((*BACKGROUND, *IGNORED)), skipped=skipped)
    for row, read in zip(rows, results, strict=True):
        if read.error:
            skipped.append(skip("bad_label", read.error, None, None, row["file_name"]))
            continue
        found.images.append(row | {"width": read.width, "height": read.height})
        size = [read.height, read.width]
        found.annotations += [
            {"id": n, "image_id": row["id"], "category_id": value, "segmentation": {"size": size, "counts": counts}}
            for n, (value, counts) in enumerate(read.regions, start=REGION + 1)
        ]
        if read.ignored:
            found.ignored.append((row["id"], {"size": size, "counts": read.ignored}))
    if found.ignored and not found.annotations and IGNORE in meaning.ignored:
        raise SegscopeError(
            f"{masks} holds masks of 0 and 255 alone, and 255 is to be ignored unless {legend.path} has it: "
            "add 255 there, with the name of the class"
        )
    return found


def _files(images: Path, masks: Path, skipped: list[dict[str, Any]]) -> tuple[list[str], list[str]]:
    """The names of the images and of the masks, each relative to its folder, which may be one."""
    for folder in (images, masks):
        if not folder.is_dir():
            raise SegscopeError(
                f"there is no folder {folder}: look at data.root, data.splits, data.annotations and data.images; "
                "`segscope inspect` with data.root says what there is"
            )
    if images != masks:
        pictures = files_below(images, PICTURES, apart=masks)
        return writable(pictures, skipped), writable(files_below(masks, LOSSLESS, apart=images), skipped)
    files = writable(files_below(images, PICTURES), skipped)
    return split_masks(files)


def split_masks(files: Sequence[str]) -> tuple[list[str], list[str]]:
    """The images and the masks among the files of one folder: masks are called so, or are PNGs beside others."""
    lossless = [name for name in files if Path(name).suffix.lower() in LOSSLESS]
    masks = [name for name in lossless if MASK_ENDINGS.search(Path(name).stem)]
    if not masks:
        others = {key_of(name) for name in set(files) - set(lossless)}
        masks = [name for name in lossless if key_of(name) in others]
    apart = set(masks)
    return [name for name in files if name not in apart], masks


def read_mask(path: Path, meaning: Meaning) -> Read:
    """Decode a mask into components and what is to be ignored."""
    try:
        values = class_values(path)
        ignored = np.isin(values, list(meaning.ignored))
        # One higher, for a table may name value 0, too; of a large picture 64 bits would be half a gigabyte.
        kept = values.astype(np.int64 if values.itemsize > 2 else np.int32) + 1
        kept[ignored | np.isin(values, list(meaning.background))] = 0
        numbers, kinds = components(kept)
        counts = encode_regions(numbers)
    except SegscopeError as error:
        return Read(error=str(error))
    height, width = values.shape
    regions = [(kind - 1, counts[n]) for n, kind in enumerate(kinds, start=1)]
    return Read(width, height, regions, encode_regions(ignored.astype(np.uint8))[1] if ignored.any() else None)


def class_values(path: Path) -> np.ndarray:
    """The numbers that a mask's pixels are, H × W; of a palette its indices. Raises SegscopeError if there are none."""
    values = read_pixels(path)
    if values.ndim == 3:
        colours = values[..., :3] if values.shape[2] > 2 else values[..., :1]
        if (colours != colours[..., :1]).any():
            raise SegscopeError(
                f"mask {path} is a picture of colours, not of class numbers: export class indices, or map its colours"
            )
        values = colours[..., 0]
    if not np.issubdtype(values.dtype, np.integer) and values.dtype != bool:
        raise SegscopeError(f"mask {path} holds numbers of type {values.dtype}, not whole ones")
    if values.min() < 0:
        raise SegscopeError(f"mask {path} holds negative numbers")
    return values
