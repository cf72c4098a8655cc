"""Figures of two models that may have other classes, by which both are measured alike.

A class is, here, the categories that it holds. A yardstick is a class of either model: how well both find the pixels of
its categories, whatever they call them. Letters: N images, K classes, C category positions.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from segscope.evaluation.evaluate import table_ratios
from segscope.evaluation.metrics import Ratio
from segscope.evaluation.per_image import pixel_counts
from segscope.taxonomy import Taxonomy

Categories = frozenset[str]


def held(taxonomy: Taxonomy) -> dict[str, Categories]:
    """The names of the categories that each class but background holds."""
    of = np.array(taxonomy.category_names)
    return {
        name: frozenset(of[taxonomy.class_of_position == k].tolist())
        for k, name in enumerate(taxonomy.classes, start=1)
    }


def yardsticks(a: Taxonomy, b: Taxonomy) -> dict[str, Categories]:
    """Every class of either model, once, by its name; where they give one name to two, "NAME of A" and "NAME of B"."""
    found: dict[str, Categories] = {}
    own, other = held(a), held(b)
    for side, classes, others in (("A", own, other), ("B", other, own)):
        for name, categories in classes.items():
            if categories not in found.values():
                twice = name in others and others[name] != categories
                found[f"{name} of {side}" if twice else name] = categories
    return found


def same_question(a: Taxonomy, b: Taxonomy) -> bool:
    """Whether the models have the same classes, whatever these are called, so that each pixel has the same target."""
    return set(held(a).values()) == set(held(b).values())


def predicted_as(taxonomy: Taxonomy, categories: Categories) -> list[str]:
    """The classes by which a model finds some of the categories."""
    return [name for name, own in held(taxonomy).items() if own & categories]


def comparable(
    table: pd.DataFrame, own: Taxonomy, other: Taxonomy, shared: Mapping[str, Categories]
) -> dict[str, Ratio]:
    """The metrics of a model's N images that mean the same of another model.

    iou.YARDSTICK and mean_iou.YARDSTICK of the shared ones; of the classes that both have, boundary_iou.CLASS;
    recall.CATEGORY where the classes that it is measured by have a category in common; with the same classes, all.
    table: rows of predictions.parquet.
    """
    every = table_ratios(table, own)
    found = dict(every) if same_question(own, other) else {}
    found |= yardstick_ratios(table, own, shared)
    mine, others = held(own), held(other)
    for name, categories in shared.items():
        class_name = next((each for each, of in mine.items() if of == categories), None)
        if class_name is not None and categories in others.values():
            found[f"boundary_iou.{name}"] = every[f"boundary_iou.{class_name}"]
    for category in own.yardsticks.keys() & other.yardsticks.keys():
        by_own, by_other = (each.class_names[each.yardsticks[category]] for each in (own, other))
        if mine[by_own] & others[by_other] and f"recall.{category}" in every:
            found[f"recall.{category}"] = every[f"recall.{category}"]
    return {name: found[name] for name in sorted(found, key=_place)}


def yardstick_ratios(table: pd.DataFrame, taxonomy: Taxonomy, shared: Mapping[str, Categories]) -> dict[str, Ratio]:
    """iou.NAME and mean_iou.NAME of each yardstick, as those of a class; table: rows of predictions.parquet."""
    found: dict[str, Ratio] = {}
    for name, (tp, either, shown) in _yardstick_counts(table, taxonomy, shared).items():
        found[f"iou.{name}"] = Ratio(tp, either * shown.any(), shown)
        each = np.divide(tp, either, out=np.zeros(len(tp)), where=either > 0)
        found[f"mean_iou.{name}"] = Ratio(np.where(shown, each, 0), shown.astype(float), shown)
    return found


def image_ious(table: pd.DataFrame, taxonomy: Taxonomy, shared: Mapping[str, Categories]) -> np.ndarray:
    """Each image's mean IoU of the yardsticks that it shows, float64[N]; NaN of an image that shows none."""
    counts = _yardstick_counts(table, taxonomy, shared).values()
    each = np.stack([np.where(shown, tp / np.maximum(either, 1), 0) for tp, either, shown in counts])
    number = np.stack([shown for *_, shown in counts]).sum(0)
    return np.divide(each.sum(0), number, out=np.full(len(table), np.nan), where=number > 0)


def _yardstick_counts(
    table: pd.DataFrame, taxonomy: Taxonomy, shared: Mapping[str, Categories]
) -> dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Of each yardstick the pixels found, those of either side, both float64[N], and whether an image shows it."""
    counts = pixel_counts(table, taxonomy).astype(float)
    names, found = np.array(taxonomy.category_names), {}
    for name, categories in shared.items():
        true = np.isin(names, list(categories))
        by = np.isin(taxonomy.class_names, predicted_as(taxonomy, categories))
        tp, seen, there = (part.sum((1, 2)) for part in (counts[:, by][:, :, true], counts[:, by], counts[:, :, true]))
        found[name] = tp, seen + there - tp, there > 0
    return found


_ORDER = ("loss", "pixel_accuracy", "iou", "mean_iou", "boundary_iou", "recall", "errors")


def _place(name: str) -> tuple[int, str]:
    kind = name.split(".")[0]
    return (_ORDER.index(kind) if kind in _ORDER else len(_ORDER)), name
