"""What the latent space is asked to keep apart: two sides, and kinds of images. Letters: N images.

Both are of the labels alone, never of what the model makes of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from segscope.taxonomy import Taxonomy

HEAVY_SHARE = 0.05
NONE = "none"  # what the images without labels are of


class Side(NamedTuple):
    """Images that are heavy in something. columns: of samples.parquet, the shares of pixels that count."""

    name: str
    columns: list[str]


def sides(samples: pd.DataFrame, taxonomy: Taxonomy) -> list[Side]:
    """The two sides of a run's images; none of a variant of one class.

    Persons and vehicles, whatever the classes, where the variant has some of both: so the figures of two such variants
    are of the same images. Else the two classes that most images have much of.
    """
    held = taxonomy.categories[taxonomy.class_of_position[1:] > 0]
    if "person" in set(held["name"]) and "vehicle" in set(held["supercategory"]):
        return [Side("person", ["share.person"]), Side("vehicle", ["share.super.vehicle"])]
    names = taxonomy.categories.set_index("category_id")["name"]
    classes = [Side(name, [f"share.{names[i]}" for i in ids]) for name, ids in taxonomy.category_ids.items()]
    often = sorted(classes, key=lambda side: int((_share(samples, side) >= HEAVY_SHARE).sum()), reverse=True)
    return often[:2] if len(often) > 1 else []


def heavy_groups(samples: pd.DataFrame, two: Sequence[Side]) -> np.ndarray:
    """1 for images heavy in the first side, 0 in the second, -1 for others, int[N].

    Heavy: at least 5 % of the pixels, and at least twice the other's share.
    """
    group = np.full(len(samples), -1)
    if two:
        first, second = (_share(samples, side) for side in two)
        group[(first >= HEAVY_SHARE) & (first >= 2 * second)] = 1
        group[(second >= HEAVY_SHARE) & (second >= 2 * first)] = 0
    return group


def _share(samples: pd.DataFrame, side: Side) -> np.ndarray:
    return samples.reindex(columns=side.columns, fill_value=0.0).to_numpy(float).sum(axis=1)


def kinds(samples: pd.DataFrame, categories: pd.DataFrame) -> tuple[np.ndarray, str]:
    """What most pixels of each image are of, object[N], and what it is: super-category, or category.

    Super-categories where there are several, else categories, as exports have one super-category or none; where the
    images are all of one category, too, they are of no kind: all are "none", and the word is empty.
    """
    dominant = samples["dominant"].to_numpy(object)
    if _several(dominant):
        return dominant, "super-category"
    names = categories["name"].to_numpy(object)
    shares = samples.reindex(columns=[f"share.{name}" for name in names], fill_value=0.0).to_numpy(float)
    dominant = np.where(shares.any(1), names[shares.argmax(1)], NONE)
    return (dominant, "category") if _several(dominant) else (np.full(len(samples), NONE, object), "")


def _several(kinds: np.ndarray) -> bool:
    return len(set(kinds) - {NONE}) > 1
