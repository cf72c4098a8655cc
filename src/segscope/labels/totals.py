"""What the images of a split hold in all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pandas as pd

from segscope.artefacts.measures import Measure, measure_table, of_split
from segscope.artefacts.skipped import count_skipped
from segscope.errors import SegscopeError

FEWEST = 4  # images: of fewer there is no map whose neighbours could be judged
_COUNTED = {
    "images": "images",
    "instances": "n_instances",
    "crowds": "n_crowds",
    "grayscale_files": "is_grayscale_file",
    "gray": "is_gray",
    "low_light": "low_light",
    "without_annotation": "without_annotation",
}


def totals(samples: pd.DataFrame) -> pd.Series:
    """Sums of the columns of samples.parquet, and of images; those of several tables can be added."""
    plain = (samples["n_instances"] + samples["n_crowds"]) == 0
    return samples.assign(images=1, without_annotation=plain).drop(columns=["image_id"]).sum(numeric_only=True)


def require_enough(of: Mapping[str, pd.Series]) -> None:
    """Raise SegscopeError if all splits together have too few images. of: `totals` by split."""
    images = sum(int(total["images"]) for total in of.values())
    if images < FEWEST:
        raise SegscopeError(f"there are {images} images in all that can be used, and a run needs {FEWEST} or more")


def label_measures(of: Mapping[str, pd.Series], skipped: pd.DataFrame, categories: pd.DataFrame) -> pd.DataFrame:
    """Counts and pixel shares of each split. of: `totals` by split. skipped: rows of skipped.parquet."""
    rows: list[Measure] = []
    for split, total in of.items():
        reasons = count_skipped(skipped[skipped["split"] == split])
        rows += of_split(split, _measures(total, categories))
        rows += of_split(split, [Measure("skipped", sum(reasons.values()))])
        rows += of_split(split, [Measure(f"skipped.{reason}", n) for reason, n in reasons.items()])
    return measure_table(rows)


def _measures(total: pd.Series, categories: pd.DataFrame) -> Iterator[Measure]:
    images = int(total["images"])
    yield from (Measure(name, int(total[column])) for name, column in _COUNTED.items())
    yield Measure("pixel_share.background", total["share.background"] / images, images)
    for group, column in (("", "name"), ("super.", "supercategory")):
        for name in categories[column].unique():
            if total[f"count.{group}{name}"]:
                yield Measure(f"count.{group}{name}", int(total[f"count.{group}{name}"]))
            if total[f"share.{group}{name}"]:
                yield Measure(f"pixel_share.{group}{name}", total[f"share.{group}{name}"] / images, images)
