"""Faults planted into a copy of a COCO dataset's annotations, to measure how well suspect labels find them."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from pycocotools import mask as rle_api
from scipy.ndimage import binary_dilation, binary_erosion, shift

from segscope.artefacts import schemas, tables
from segscope.artefacts.rle import bbox, decode_rle, encode_rle
from segscope.artefacts.segmentation import decode_segmentation
from segscope.errors import SegscopeError
from segscope.sources.coco import CocoSplit, read_coco
from segscope.sources.ids import own_id
from segscope.suspects.find import KINDS
from segscope.taxonomy import find_categories, resolve_categories

MIN_SHARE = 0.01  # of the image's pixels: a fault in a smaller annotation is below a model's sight
OUTLINE = 0.25  # of the shorter side of an annotation's box: how far its outline is moved


class Change(NamedTuple):
    """What becomes of an annotation: its category (None: it is dropped), and its new RLE (None: as it was)."""

    category_id: int | None
    rle: str | None = None


def corrupt_split(
    coco: CocoSplit, classes: Mapping[str, Sequence[int]], others: Sequence[int], share: float, seed: int
) -> tuple[dict[tuple[int, int], Change], pd.DataFrame]:
    """Plant faults into a split's annotations, one an image at most, all kinds about equally often.

    classes: two or more, name → category ids. others: the category ids that are background. share: of the images, those
    that get a fault; fewer where too few have an annotation that a fault can befall: no crowd, 1 % of the image or
    more, and for `ambiguous` of a background category. Mislabeled: the first category of another class. Missing:
    dropped. Inaccurate: the outline grown, shrunk or shifted by a quarter of its box's shorter side. Ambiguous: a
    background object gets the first category of a class.

    Returns the changes by (image_id, annotation_id), and rows of truth.parquet without split.
    """
    draw = np.random.default_rng(seed)
    candidates = _candidates(coco)
    first = {name: ids[0] for name, ids in classes.items()}
    class_of = {i: name for name, ids in classes.items() for i in ids}
    pools = {
        kind: candidates[candidates["category_id"].isin(others if kind == "ambiguous" else class_of)] for kind in KINDS
    }
    budget = round(share * len(coco.images))
    taken: set[int] = set()
    changes, truth = {}, []
    for n in range(budget):
        kind = KINDS[n % len(KINDS)]
        pool = pools[kind][~pools[kind]["image_id"].isin(taken)]
        if pool.empty:
            continue
        victim = pool.iloc[int(draw.integers(len(pool)))]
        taken.add(victim["image_id"])
        category, rle = int(victim["category_id"]), None
        labelled: int | None = category
        if kind == "mislabeled":
            labelled = first[str(draw.choice([name for name in classes if name != class_of[category]]))]
        elif kind == "ambiguous":
            labelled = first[str(draw.choice(list(classes)))]
        elif kind == "inaccurate":
            mask = decode_rle(victim["rle"], victim["height"], victim["width"])
            rle = encode_rle(_careless(mask, draw))
        else:
            labelled = None
        changes[int(victim["image_id"]), int(victim["annotation_id"])] = Change(labelled, rle)
        own = None if kind == "missing" else victim["annotation_id"]
        true = None if kind == "ambiguous" else category
        truth.append((victim["image_id"], kind, own, labelled, true, victim["bbox"]))
    columns = ["image_id", "planted", "annotation_id", "category_id", "true_category_id", "bbox"]
    return changes, pd.DataFrame(truth, columns=columns).astype(dict.fromkeys(columns[2:5], "Int64"))


def _candidates(coco: CocoSplit) -> pd.DataFrame:
    """The annotations that are large enough and no crowds, with rle, height, width and bbox."""
    sized = coco.images.loc[coco.images["height"] > 0, ["image_id", "height", "width"]]
    table = coco.annotations[~coco.annotations["iscrowd"]].merge(sized)
    rows = []
    for row in table.to_dict("records"):
        try:
            row["rle"], _ = decode_segmentation(row["segmentation"], row["height"], row["width"])
        except SegscopeError:
            continue
        encoded = {"size": [row["height"], row["width"]], "counts": row["rle"].encode("ascii")}
        if rle_api.area(encoded) >= MIN_SHARE * row["height"] * row["width"]:
            rows.append(row | {"bbox": rle_api.toBbox(encoded).tolist()})
    columns = ["annotation_id", "image_id", "category_id", "rle", "height", "width", "bbox"]
    return pd.DataFrame(rows, columns=[*table.columns, "rle", "bbox"])[columns]


def _careless(mask: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """The mask with its outline moved: grown, shrunk or shifted."""
    _, _, width, height = bbox(mask)
    step = max(2, round(OUTLINE * min(width, height)))
    way = draw.choice(["grown", "shrunk", "shifted"])
    if way == "grown":
        return binary_dilation(mask, iterations=step)
    if way == "shrunk":
        # Not so far that nothing is left of a thin shape.
        while not (smaller := binary_erosion(mask, iterations=step)).any():
            step //= 2
            if step == 0:
                return mask
        return smaller
    moved = shift(mask.astype(np.uint8), draw.choice([-step, step], 2), order=0) > 0
    return moved if moved.any() else mask


def corrupt_directory(
    root: Path,
    out: Path,
    annotations: Mapping[str, str],
    images: Sequence[str],
    variant: Mapping[str, Sequence[str]],
    variants: Sequence[Mapping[str, Sequence[str]]],
    share: float,
    seed: int,
) -> pd.DataFrame:
    """Write a copy of a COCO-layout directory whose annotations have planted faults; the images are hard links.

    annotations: split → annotation file below root. images: the folders of images below root. variant: class → names of
    categories or super-categories, between which labels are swapped. variants: background is what none of them holds; a
    name in them that the data lack is none. Equal arguments plant equal faults. Also writes truth.parquet, which the
    download stage finds; returns its rows.
    Raises SegscopeError if `out` exists, or no fault could be planted.
    """
    if out.exists():
        raise SegscopeError(f"{out} exists already: choose another folder, or remove it")
    files = [Path(os.path.normpath(name)) for name in (*annotations.values(), *images)]
    if any(file.is_absolute() or ".." in file.parts for file in files):
        raise SegscopeError(f"{root}: annotations and images must lie below it to be copied")
    truths = []
    try:
        for number, (split, name) in enumerate(annotations.items()):
            coco = read_coco(root / name)
            classes = {
                c: resolve_categories(names, coco.categories, f"class {c} of the variant")
                for c, names in variant.items()
            }
            if len(classes) < 2:
                raise SegscopeError(f"to swap labels takes two classes; the variant has {', '.join(classes)}")
            every = [name for each in variants for names in each.values() for name in names]
            held = {i for name in every for i in find_categories(name, coco.categories)}
            others = [i for i in coco.categories["category_id"] if i not in held]
            changes, truth = corrupt_split(coco, classes, others, share, seed + number)
            source = dict(zip(coco.categories["category_id"], coco.categories["source_id"], strict=True))
            _write_annotations(root / name, out / name, changes, source)
            truths.append(truth.assign(split=split))
        made = {out / name for name in annotations.values()}  # may lie among the images
        for folder in images:
            shutil.copytree(
                root / folder,
                out / folder,
                copy_function=lambda source, target: None if Path(target) in made else _link(source, target),
                dirs_exist_ok=True,
            )
        table = pd.concat(truths, ignore_index=True)
        if table.empty:
            raise SegscopeError(f"{root}: no annotation is large enough to plant a fault in")
        tables.write_parquet(out / "truth.parquet", table, schemas.TRUTH)
    except BaseException:
        shutil.rmtree(out, ignore_errors=True)
        raise
    return table


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system
        shutil.copy2(source, target)


def _write_annotations(
    source: Path, target: Path, changes: Mapping[tuple[int, int], Change], category_source: Mapping[int, str]
) -> None:
    """Copy an annotation file with the changes; rows that are no annotations are copied as they are."""
    document = json.loads(source.read_bytes())
    if not isinstance(document, dict) or not isinstance(document["annotations"], list):
        raise SegscopeError(f"{source}: faults are planted only into an object whose annotations are a list")
    shape = {
        row["id"]: [row["height"], row["width"]] for row in document["images"] if _has(row, "id", "height", "width")
    }
    rows, made = [], 0
    for row in document["annotations"]:
        change = changes.get((row["image_id"], row["id"])) if _has(row, "image_id", "id") else None
        made += change is not None
        if change is None:
            rows.append(row)
        elif change.category_id is not None:
            row["category_id"] = own_id(category_source[change.category_id])
            if change.rle is not None:
                encoded = {"size": shape[row["image_id"]], "counts": change.rle}
                row |= {"segmentation": encoded, "area": int(rle_api.area(encoded))}
                row["bbox"] = rle_api.toBbox(encoded).tolist()
            rows.append(row)
    if made != len(changes):
        raise SegscopeError(
            f"{source}: faults are planted only where the ids of images and annotations are whole numbers, of at most "
            "13 digits"
        )
    document["annotations"] = rows
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(document), encoding="utf-8")


def _has(row: object, *keys: str) -> bool:
    return isinstance(row, dict) and set(keys) <= set(row)
