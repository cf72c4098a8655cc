"""The images that a run is about: chosen from the annotation files of all splits, under ids that are unique.

Tables of images: split, image_id, source_id, file_name, width, height (pixels), from `choose` on also path.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from segscope.coco import CocoSplit, resolve_categories, select_images, skipped_table
from segscope.errors import SegscopeError


def common_categories(splits: Mapping[str, CocoSplit]) -> pd.DataFrame:
    """The splits' categories. Raises SegscopeError, naming a difference, if they are not the same in all."""
    (first, one), *others = splits.items()
    for name, other in others:
        if not one.categories.equals(other.categories):
            rows = pd.concat([one.categories, other.categories]).drop_duplicates(keep=False)
            odd = rows[["source_id", "name"]].drop_duplicates().itertuples(index=False)
            listed = ", ".join(f"{row.source_id} {row.name}" for row in list(odd)[:5])
            raise SegscopeError(f"the annotation files of {first} and {name} list different categories: {listed}")
    return one.categories


def separate_ids(splits: Mapping[str, CocoSplit]) -> dict[str, CocoSplit]:
    """The splits under image ids that are unique over all of them.

    Where files share ids, as those of many exports do, a later file's ids are raised by a power of ten;
    `source_id` stays the file's own.
    """
    ids = pd.concat([split.images["image_id"] for split in splits.values()])
    if ids.is_unique:
        return dict(splits)
    step = 10 ** (len(str(ids.abs().max())) + 1)
    if step * len(splits) > np.iinfo(np.int64).max:
        raise SegscopeError("the annotation files share image ids, and these are too large to be told apart")
    return {name: _raised(split, number * step) for number, (name, split) in enumerate(splits.items())}


def _raised(split: CocoSplit, by: int) -> CocoSplit:
    tables = {
        name: getattr(split, name).assign(image_id=lambda t: t["image_id"] + by)
        for name in ("images", "annotations", "skipped")
    }
    return replace(split, **tables)


def choose(
    splits: Mapping[str, CocoSplit], contains: Sequence[str], match: str, max_images: Mapping[str, int], seed: int
) -> pd.DataFrame:
    """The subset's images, as `select_images` chooses them in each split.

    Raises SegscopeError if a name of `contains` does not exist, or no image of a split fits.
    """
    chosen = []
    for name, split in splits.items():
        wanted = [set(resolve_categories([category], split.categories)) for category in contains]
        images = select_images(split, wanted, match, max_images[name], seed)
        if images.empty:
            raise SegscopeError(f"no image of split {name} fits data.contains {list(contains)}, data.match {match}")
        chosen.append(images.assign(split=name))
    return pd.concat(chosen, ignore_index=True)


def in_earlier_split(images: pd.DataFrame) -> pd.Series:
    """Whether an image's file belongs to an earlier split too: measured there, it would flatter the model."""
    return images.groupby("path")["split"].transform("first") != images["split"]


def leave_out(
    images: pd.DataFrame, out: pd.Series, reason: str, detail: pd.Series | str
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The images that stay, and the others as rows of skipped.parquet; out: boolean, by the images' index."""
    left = images[out].assign(reason=reason, detail=detail if isinstance(detail, str) else detail[out])
    return images[~out], skipped_table(left.to_dict("records")).assign(split=left["split"].to_numpy())


def of_images(truth: pd.DataFrame, images: pd.DataFrame) -> pd.DataFrame:
    """The rows of truth.parquet, whose image ids are the annotation files' own, of the images, with the images' ids."""
    known = images[["split", "source_id", "image_id"]].rename(
        columns={"source_id": "image_id", "image_id": "unique_id"}
    )
    own = truth.merge(known, on=["split", "image_id"])
    return own.assign(image_id=own["unique_id"]).drop(columns="unique_id")
