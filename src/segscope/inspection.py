"""What a folder of images and labels holds, and the params to use it with: `segscope inspect`.

Nothing is written. All labels are read, as the first stage reads them; of outlines and pictures, a sample is looked at.
"""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
from pydantic import ValidationError

from segscope.artefacts.images import image_size, opened, orientation
from segscope.artefacts.segmentation import decode_segmentation
from segscope.artefacts.skipped import SPLITS, explain, require_usable, skip, skipped_table
from segscope.errors import SegscopeError, printable
from segscope.params import INTERVAL_ENDS, RESERVED, Data
from segscope.sources.categories import some
from segscope.sources.coco import CocoSplit
from segscope.sources.formats import read_splits
from segscope.sources.layouts import FORMATS, Layout, find_layouts
from segscope.sources.source import Source, open_source
from segscope.sources.subset import common_categories, separate_ids
from segscope.taxonomy import IGNORE, find_categories

LOOKED_AT = 2000  # outlines, and pictures, of each split
VAL_SHARE = 0.2


@dataclass(frozen=True)
class Seen:
    """What was looked at of a split's pictures and outlines.

    sizes: width and height of pictures. turned: how many have an EXIF orientation; fit_stored, fit_turned: of those on
    their side, how many have their labels' size as stored, and as turned. outlines: how many were looked at. skipped:
    what would be left out of it.
    """

    sizes: Counter[tuple[int, int]]
    turned: int
    fit_stored: int
    fit_turned: int
    outlines: int
    skipped: pd.DataFrame


def inspect_folder(folder: Path) -> list[str]:
    """Lines for a person, the last of which is a command. Raises SegscopeError if there is nothing to be used."""
    if not folder.is_dir():
        raise SegscopeError(f"{folder} is not a directory")
    layout, *others = find_layouts(folder)
    data = data_of(folder, layout)
    try:
        source = open_source(data, folder)
        files, categories, notes = common_categories(separate_ids(read_splits(source, data)))
        paths = {split: _paths(found, split, source) for split, found in files.items()}
    except SegscopeError as error:
        raise SegscopeError(
            f"{folder} looks like {FORMATS[layout.format]} in {layout.annotations}, but {error}"
        ) from error
    seen = {split: look(files[split], paths[split], split, source) for split in files}
    lines = [f"{folder}: {FORMATS[layout.format]}" + ("" if layout.splits else ", not split")]
    lines += [_split_line(split, files[split], data) for split in SPLITS]
    shown = pd.concat([found.annotations for found in files.values()])
    counts = shown["category_id"].map(categories.set_index("category_id")["name"]).value_counts()
    often = [f"{name} {n}" for name, n in counts.items()]
    lines.append(f"categories: {len(categories)}, {len(counts)} with annotations: {some(often, 8) or 'none'}")
    lines += _picture_lines(seen)
    if others:
        there = [f"{FORMATS[other.format]} in {other.annotations}" for other in others]
        lines.append(f"also there, and not looked at: {some(there, 3)}")
    lines += [f"note: {note}" for note in islice(_distinct(*(f.notes for f in files.values()), notes), 4)]
    lines += [_skipped_line(split, files[split], seen[split], data) for split in SPLITS]
    lines = [lines[0], *(line.replace(f"{folder}/", "") for line in lines[1:])]
    extra = [("data.exif", "apply")] if _turned(seen.values()) else []
    command = command_of(folder, layout, extra + variant_of(categories, [str(name) for name in counts.index]))
    return [printable(line, keep="") for line in (*lines, "to use it, in the project's folder:", command)]


def data_of(folder: Path, layout: Layout) -> Data:
    """The params of a layout."""
    names = dict(zip(SPLITS, layout.splits, strict=True)) if layout.splits else None
    given = {"splits": names} if names else {"val_share": VAL_SHARE}
    paths = {"root": str(folder), "annotations": layout.annotations, "images": layout.images}
    try:
        return Data.model_validate({"source": "directory", "format": layout.format} | given | paths)
    except ValidationError as error:
        named = paths | (names or {})
        wrong = [repr(named.get(str(each["loc"][-1]))) for each in error.errors(include_url=False)]
        raise SegscopeError(f"{folder}: {', '.join(wrong)} can be no value of a param: rename it") from error


# What would come of it.


def _paths(found: CocoSplit, split: str, source: Source) -> pd.Series:
    return pd.Series(
        [source.image_path(split, name) for name in found.images["file_name"]], found.images.index, dtype=object
    )


def look(found: CocoSplit, paths: pd.Series, split: str, source: Source) -> Seen:
    """Look whether a split's images are there, and at some of its pictures and outlines."""
    rows = []
    images = found.images.assign(path=[None if path is None else path.as_posix() for path in paths])
    for row in images[images["path"].isna()].itertuples():
        rows.append(skip("unsafe_file_name", "it must be a path inside data.root", row.image_id, None, row.file_name))
    images = images[images["path"].notna()]
    why = source.fetch(images, len(images))
    for row in images[images["path"].isin(list(why))].itertuples():
        rows.append(skip("missing_file", why[row.path], row.image_id, None, row.file_name))
    images = images[~images["path"].isin(list(why))]
    sizes, turned, fits = Counter[tuple[int, int]](), 0, Counter[str]()
    known: dict[int, tuple[int, int]] = {}
    for row in spread(images, LOOKED_AT).itertuples():
        try:
            stored, shown, side = _sizes(row.path)
        except SegscopeError as error:
            rows.append(skip("unreadable_image", str(error), row.image_id, None, row.file_name))
            continue
        sizes[stored] += 1
        turned += side > 1
        listed = (row.width, row.height) if row.width else stored
        if side > 4 and stored[0] != stored[1]:
            fits.update([kind for kind, size in (("stored", stored), ("turned", shown)) if size == listed])
        if listed not in (stored, shown):
            detail = f"it is {stored[0]}×{stored[1]}, its labels are of {listed[0]}×{listed[1]}"
            rows.append(skip("size_mismatch", detail, row.image_id, None, row.file_name))
        else:
            known[row.image_id] = listed
    outlines = spread(found.annotations[found.annotations["image_id"].isin(known)], LOOKED_AT)
    for row in outlines.itertuples():
        width, height = known[row.image_id]
        try:
            decode_segmentation(bytes(row.segmentation), height, width)
        except SegscopeError as error:
            rows.append(skip("bad_segmentation", str(error), row.image_id, row.annotation_id))
    skipped = pd.concat([found.skipped, skipped_table(rows)])
    return Seen(sizes, turned, fits["stored"], fits["turned"], len(outlines), skipped)


def spread(table: pd.DataFrame, most: int) -> pd.DataFrame:
    """At most so many rows, evenly from all."""
    return table if len(table) <= most else table.iloc[np.linspace(0, len(table) - 1, most).astype(int)]


def _sizes(path: str) -> tuple[tuple[int, int], tuple[int, int], int]:
    """The size of a picture as it is stored and as it is shown, and its EXIF orientation."""
    stored, shown = (image_size(path, exif) for exif in ("ignore", "apply"))
    with opened(path) as image:
        return stored, shown, orientation(image)


def _turned(seen: Iterable[Seen]) -> bool:
    """Whether the labels are of the pictures as they are shown."""
    each = list(seen)
    return sum(s.fit_turned for s in each) > sum(s.fit_stored for s in each)


# In words.


def _split_line(split: str, found: CocoSplit, data: Data) -> str:
    annotations = found.annotations
    objects = annotations[annotations["category_id"] != IGNORE]
    without = len(found.images) - found.images["image_id"].isin(objects["image_id"]).sum()
    name = getattr(data.splits, split)
    said = f"{split}: {len(found.images)} images"
    if data.val_share is None:
        said += f" in {data.images.replace('{split}', name)}, labels in {data.annotations.replace('{split}', name)}"
    else:
        share = data.val_share if split == SPLITS[1] else 1 - data.val_share
        said += f" ({share:.0%} of those in {data.images}, labels in {data.annotations})"
    said += f"; {len(objects)} annotation{'s' * (len(objects) != 1)}"
    if objects["iscrowd"].any():
        said += f", {objects['iscrowd'].sum()} of them crowds"
    if without:
        said += f"; {without} images without"
    ignored = len(annotations) - len(objects)
    return said + (f"; {ignored} with pixels to be ignored" if ignored else "")


def _picture_lines(seen: Mapping[str, Seen]) -> Iterator[str]:
    sizes = sum((each.sizes for each in seen.values()), Counter[tuple[int, int]]())
    if not sizes:
        return
    n = sizes.total()
    often = [f"{w}×{h} ({count} of {n})" for (w, h), count in sizes.most_common(3)]
    least, most = min(sizes, key=lambda size: size[0] * size[1]), max(sizes, key=lambda size: size[0] * size[1])
    between = f"; from {least[0]}×{least[1]} to {most[0]}×{most[1]}" if len(sizes) > 1 else ""
    yield f"image sizes: {some(often, 3)}{between}"
    turned = sum(each.turned for each in seen.values())
    if turned:
        how = "if their labels are of the pictures as shown, not as stored, add -S data.exif=apply"
        if _turned(seen.values()):
            how = "their labels are of the pictures as shown, so data.exif is apply"
        elif any(each.fit_stored for each in seen.values()):
            how = "their labels are of the pictures as stored"
        yield f"EXIF: {turned} of {n} images have an orientation; {how}"


def _skipped_line(split: str, found: CocoSplit, seen: Seen, data: Data) -> str:
    """What is left out, and whether it is more than the first stages allow."""
    if seen.skipped.empty:
        return f"left out of {split}: nothing found"
    said = f"left out of {split}: {explain(seen.skipped)}"
    missing = (seen.skipped["reason"] == "missing_file").sum()
    if missing > int(data.max_missing * len(found.images)):
        said += f"; a run would stop, for data.max_missing allows {data.max_missing:.0%} of the images"
    try:
        of = seen.skipped["reason"].value_counts()
        images = seen.sizes.total() - of.get("size_mismatch", 0)
        outlines = seen.outlines - of.get("bad_segmentation", 0)
        require_usable(seen.skipped, images, outlines, data.max_unusable, split)
    except SegscopeError:
        said += (
            f"; a run would stop, for data.max_unusable allows {data.max_unusable:.0%} of the images and annotations"
        )
    return said


def _distinct(*notes: Iterable[str]) -> Iterator[str]:
    return iter(dict.fromkeys(note for each in notes for note in each))


# The command.


def variant_of(categories: pd.DataFrame, by_count: Sequence[str]) -> list[tuple[str, str]]:
    """Overrides for a variant of the two most frequent categories, unless person and car are there."""
    chosen = [] if all(find_categories(name, categories) for name in ("person", "car")) else list(by_count[:2])
    if not chosen:
        return []
    classes = ",".join(f"{_class_name(name, n)}:[{quoted(name)}]" for n, name in enumerate(chosen, start=1))
    contains = ",".join(map(quoted, chosen))
    return [("+variants.mine", f"{{{classes}}}"), ("variant", "mine"), ("data.contains", f"[{contains}]")]


def _class_name(category: str, number: int) -> str:
    """A name for a class that needs no quotes in an override."""
    name = re.sub(r"\W+", "_", category, flags=re.ASCII).strip("_")
    good = re.fullmatch(r"[A-Za-z]\w{0,40}", name) and not name.lower().endswith(INTERVAL_ENDS)
    return name if good and name.lower() not in (*RESERVED, "null", "true", "false") else f"class_{number}"


def quoted(text: str) -> str:
    """Text as a value of an override of `dvc exp run -S`, whose grammar is Hydra's."""
    if re.fullmatch(r"[A-Za-z/.][\w/.-]*", text, re.ASCII) and text.lower() not in (
        "true",
        "false",
        "null",
        "nan",
        "inf",
    ):
        return text
    escaped = re.sub(r'(\\*)"', r'\1\1\\"', text)
    escaped = re.sub(r"(\\+)$", r"\1\1", escaped)
    return f'"{escaped}"'


def command_of(folder: Path, layout: Layout, extra: Sequence[tuple[str, str]]) -> str:
    """The command that runs the pipeline on a layout, with further overrides."""
    pairs = [("data.source", "directory"), ("data.root", quoted(str(folder))), ("data.format", layout.format)]
    if layout.splits:
        pairs += [(f"data.splits.{split}", quoted(name)) for split, name in zip(SPLITS, layout.splits, strict=True)]
    else:
        pairs.append(("data.val_share", str(VAL_SHARE)))
    pairs += [("data.annotations", quoted(layout.annotations)), ("data.images", quoted(layout.images)), *extra]
    return "dvc exp run -n mine " + " ".join(f"-S {shlex.quote(f'{key}={value}')}" for key, value in pairs)
