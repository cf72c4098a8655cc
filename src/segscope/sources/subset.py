"""The images that a run is about: chosen from the annotation files of all splits, under ids that are unique.

Tables of images: split, image_id, source_id, file_name, width, height (pixels), from `choose` on also path.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from segscope.artefacts.measures import Measure, measure_table, of_split
from segscope.artefacts.skipped import count_skipped, explain, skipped_table
from segscope.errors import SegscopeError
from segscope.params import Data
from segscope.sources.categories import some, unite
from segscope.sources.coco import CocoSplit
from segscope.sources.ids import id_number
from segscope.taxonomy import IGNORE, Taxonomy, resolve_categories


def common_categories(splits: Mapping[str, CocoSplit]) -> tuple[dict[str, CocoSplit], pd.DataFrame, list[str]]:
    """The splits with their categories under common ids, these categories, and in what the splits differ.

    Raises SegscopeError as `unite` does.
    """
    categories, id_of, notes = unite({name: split.categories for name, split in splits.items()})
    common = {}
    for name, split in splits.items():
        ids = split.annotations["category_id"].map({**id_of[name], IGNORE: IGNORE}).astype(np.int64)
        common[name] = replace(split, categories=categories, annotations=split.annotations.assign(category_id=ids))
    return common, categories, notes


def separate_ids(splits: Mapping[str, CocoSplit]) -> dict[str, CocoSplit]:
    """The splits under image ids that are unique over all of them.

    Where files share ids, as those of many exports do, a later file's ids are raised by a power of ten, which its notes
    say; `source_id` stays the file's own.
    """
    ids = pd.concat([split.images["image_id"] for split in splits.values()])
    if ids.is_unique:
        return dict(splits)
    step = 10 ** (len(str(ids.abs().max())) + 1)
    return {name: _raised(split, number * step, name) for number, (name, split) in enumerate(splits.items())}


def _raised(split: CocoSplit, by: int, name: str) -> CocoSplit:
    if not by:
        return split
    tables = {
        name: getattr(split, name).assign(image_id=lambda t: t["image_id"] + by)
        for name in ("images", "annotations", "skipped")
    }
    note = (
        f"{name} has image ids that an earlier split has, too: here they are raised by {by}. Images may change that: a "
        "file of data.exclude that was written before names others"
    )
    return replace(split, **tables, notes=(*split.notes, note))


def choose(
    splits: Mapping[str, CocoSplit], contains: Sequence[str], match: str, max_images: Mapping[str, int], seed: int
) -> pd.DataFrame:
    """The subset's images, as `select_images` chooses them in each split.

    Raises SegscopeError if a name of `contains` does not exist, or no image of a split fits.
    """
    chosen = []
    for name, split in splits.items():
        wanted = [set(resolve_categories([category], split.categories, "data.contains")) for category in contains]
        images = select_images(split, wanted, match, max_images[name], seed)
        if images.empty:
            raise SegscopeError(_why_none(name, split, contains, match))
        chosen.append(images.assign(split=name))
    return pd.concat(chosen, ignore_index=True)


def _why_none(name: str, split: CocoSplit, contains: Sequence[str], match: str) -> str:
    """Why no image of a split is chosen: it has none, it has no annotation, or none of what is asked for."""
    left = f"; left out are {explain(split.skipped)}" if len(split.skipped) else ""
    if split.images.empty:
        return f"split {name} has no image{left}"
    if split.annotations.empty:
        return (
            f"none of the {len(split.images)} images of split {name} has an annotation{left}; "
            "`data.match: none` takes images without annotations"
        )
    there = split.annotations["category_id"].map(split.categories.set_index("category_id")["name"])
    return (
        f"no image of split {name} fits data.contains {list(contains)}, data.match {match}; its {len(there)} "
        f"annotations are of {some(there.value_counts().index.tolist())}{left}"
    )


def all_skipped(splits: Mapping[str, CocoSplit]) -> pd.DataFrame:
    """What is left out of the annotation files, as rows of skipped.parquet."""
    return pd.concat([split.skipped.assign(split=name) for name, split in splits.items()])


def subset(
    splits: Mapping[str, CocoSplit], path_of: Callable[[str, str], Path | None], options: Data
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The images that `options` ask for, with their paths; those that have none as rows of skipped.parquet.

    path_of: where the image of a split and file name is.
    """
    images = choose(splits, options.contains, options.match, options.max_images.model_dump(), options.seed)
    paths = [path_of(*row) for row in images[["split", "file_name"]].values]
    images["path"] = [None if path is None else path.as_posix() for path in paths]
    detail = "file_name must be a path inside data.root"
    return leave_out(images, images["path"].isna(), "unsafe_file_name", detail)


def annotations_of(index: pd.DataFrame, splits: Mapping[str, CocoSplit]) -> pd.DataFrame:
    """The images' annotations, as rows of annotations.parquet."""
    table = pd.concat([split.annotations for split in splits.values()])
    table = table[table["image_id"].isin(index["image_id"])].sort_values(["image_id", "annotation_id"])
    return table.assign(segmentation=table["segmentation"].map(bytes))


def unseen_classes(
    index: pd.DataFrame, annotations: pd.DataFrame, taxonomy: Taxonomy, contains: Sequence[str]
) -> Iterator[str]:
    """A line for each class that no image of train shows, as where the images are chosen by other categories."""
    train = index.loc[index["split"] == "train", "image_id"]
    there = set(annotations.loc[annotations["image_id"].isin(train), "category_id"])
    for name, ids in taxonomy.category_ids.items():
        if there.isdisjoint(ids):
            by = f"; data.contains chooses by {', '.join(contains)}" if contains else ""
            yield f"{taxonomy.key}.{name}: no chosen image of train shows it{by}"


def source_measures(
    splits: Mapping[str, CocoSplit], index: pd.DataFrame, annotations: pd.DataFrame, skipped: pd.DataFrame
) -> pd.DataFrame:
    """How many images and annotations of each split there are, and were left out."""
    rows: list[Measure] = []
    for split, coco in splits.items():
        images = index.loc[index["split"] == split, "image_id"]
        reasons = count_skipped(skipped[skipped["split"] == split])
        found = {
            "images": len(images),
            "annotations": int((annotations["image_id"].isin(images) & (annotations["category_id"] != IGNORE)).sum()),
            "images_in_source": len(coco.images),
            "skipped": sum(reasons.values()),
        }
        found |= {f"skipped.{reason}": n for reason, n in reasons.items()}
        rows += of_split(split, [Measure(name, value) for name, value in found.items()])
    return measure_table(rows)


def leave_out(
    images: pd.DataFrame, out: pd.Series, reason: str, detail: pd.Series | str
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The images that stay, and the others as rows of skipped.parquet; out: boolean, by the images' index."""
    left = images[out].assign(reason=reason, detail=detail if isinstance(detail, str) else detail[out])
    return images[~out], skipped_table(left.to_dict("records")).assign(split=left["split"].to_numpy())


def of_images(truth: pd.DataFrame, images: pd.DataFrame) -> pd.DataFrame:
    """The rows of truth.parquet, whose image ids are the annotation files' own, of the images, with the images' ids."""
    known = images[["split", "image_id"]].rename(columns={"image_id": "unique_id"})
    known = known.assign(image_id=images["source_id"].map(id_number))
    own = truth.merge(known, on=["split", "image_id"])
    return own.assign(image_id=own["unique_id"]).drop(columns="unique_id")


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
