"""How much of a model's classes an image shows: what its scores depend on first. Letters: N images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from segscope.evaluation.words import listed
from segscope.taxonomy import Taxonomy


@dataclass(frozen=True)
class Subject:
    """Some of a model's classes. columns: the groups that its samples' columns `share.…` and `count.…` are of."""

    classes: tuple[str, ...]
    columns: tuple[str, ...]

    def __str__(self) -> str:
        return listed(self.classes)

    def share(self, samples: pd.DataFrame) -> np.ndarray:
        """Its share of each image's pixels, float64[N]."""
        return self._summed(samples, "share")

    def count(self, samples: pd.DataFrame) -> np.ndarray:
        """Its instances in each image, float64[N]."""
        return self._summed(samples, "count")

    def size(self, samples: pd.DataFrame) -> np.ndarray:
        """The mean share of an instance, float64[N]; NaN where there is none."""
        count, share = self.count(samples), self.share(samples)
        return np.divide(share, count, out=np.full(len(count), np.nan), where=count > 0)

    def query(self, share: float) -> str:
        """For `DataFrame.query` of samples.parquet: the images that show so large a share of it."""
        return f"{' + '.join(f'`share.{name}`' for name in self.columns)} >= {share!r}"

    def _summed(self, samples: pd.DataFrame, prefix: str) -> np.ndarray:
        return samples[[f"{prefix}.{name}" for name in self.columns]].to_numpy(float).sum(1)


def subjects(taxonomy: Taxonomy) -> dict[str, Subject]:
    """What each score is about: of `loss` all classes, of `iou.CLASS` that class."""
    each = {name: _columns(taxonomy, name) for name in taxonomy.classes}
    all_of_them = tuple(column for columns in each.values() for column in columns)
    return {"loss": Subject(tuple(each), all_of_them)} | {
        f"iou.{name}": Subject((name,), columns) for name, columns in each.items()
    }


def _columns(taxonomy: Taxonomy, name: str) -> tuple[str, ...]:
    """The class's categories, or a super-category where they are all of it."""
    held = set(taxonomy.category_ids[name])
    columns: list[str] = []
    for group, rows in taxonomy.categories.groupby("supercategory", sort=False):
        whole: Sequence[int] = rows["category_id"].tolist()
        if held.issuperset(whole) and len(whole) > 1:
            columns.append(f"super.{group}")
        else:
            columns += rows.loc[rows["category_id"].isin(held), "name"].tolist()
    return tuple(columns)
