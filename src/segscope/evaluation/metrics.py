"""The metrics of a split, each the ratio of two sums over images.

Letters: N images, K classes (0 is background), C category positions (0 is unlabelled).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from segscope.artefacts.measures import Measure
from segscope.evaluation.bootstrap import Bootstrap, interval
from segscope.evaluation.counts import confusion, iou, outcomes
from segscope.taxonomy import Taxonomy


@dataclass(frozen=True)
class Ratio:
    """A metric: the sum of above over images, divided by that of below; float64[N] each.

    shown: bool[N], the images that the metric is about.
    """

    above: np.ndarray
    below: np.ndarray
    shown: np.ndarray

    def value(self) -> float:
        """The metric over all images, NaN where nothing is below."""
        return float(_divided(self.above.sum(), self.below.sum()))


def _divided(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    return np.divide(above, below, out=np.full(np.shape(above), np.nan), where=below > 0)


def ratios(counts: np.ndarray, loss: np.ndarray, taxonomy: Taxonomy) -> dict[str, Ratio]:
    """loss, pixel_accuracy, iou.CLASS and mean_iou.CLASS of each class but background, recall.CATEGORY.

    counts: int N × K × C, pixels by predicted class and category. loss: float[N], NaN of images without a counted
    pixel. mean_iou: over the images whose ground truth shows the class. recall: of the pixels of a category, the share
    predicted as its yardstick class; of categories that any image shows.
    """
    tp, fp, fn = (part.astype(float) for part in outcomes(confusion(counts, taxonomy.class_of_position)))
    known, pixels = np.isfinite(loss), (tp + fn).sum(1)
    found = {
        "loss": Ratio(np.where(known, loss, 0), known.astype(float), known),
        "pixel_accuracy": Ratio(tp.sum(1), pixels, pixels > 0),
    }
    each = iou(tp, fp, fn)
    shown = tp + fn > 0
    # Where no image shows a class, how well it is found is unknown, whatever is predicted as it.
    union = (tp + fp + fn) * shown.any(0)
    for k, name in enumerate(taxonomy.classes, start=1):
        found[f"iou.{name}"] = Ratio(tp[:, k], union[:, k], shown[:, k])
    for k, name in enumerate(taxonomy.classes, start=1):
        found[f"mean_iou.{name}"] = Ratio(np.where(shown, each, 0)[:, k], shown[:, k].astype(float), shown[:, k])
    position = {name: i for i, name in enumerate(taxonomy.category_names)}
    for name, k in taxonomy.yardsticks.items():
        pixels = counts[:, :, position[name]].sum(1).astype(float)
        if pixels.any():
            found[f"recall.{name}"] = Ratio(counts[:, k, position[name]].astype(float), pixels, pixels > 0)
    return found


def resampled(found: Mapping[str, Ratio], bootstrap: Bootstrap) -> dict[str, np.ndarray]:
    """Each metric in each resample of the images' groups, float64[R]."""
    sums = bootstrap.sums(_columns(found))
    return {name: _divided(sums[:, 2 * i], sums[:, 2 * i + 1]) for i, name in enumerate(found)}


def carriers(found: Mapping[str, Ratio], bootstrap: Bootstrap) -> dict[str, float]:
    """The fewer of the groups that carry the sum above and of those that carry the sum below (`Bootstrap.carriers`).

    Of an IoU these are those that hold the true positives.
    """
    fewer = bootstrap.carriers(_columns(found)).reshape(-1, 2).min(1)
    return dict(zip(found, fewer.tolist(), strict=True))


def ratio_measures(found: Mapping[str, Ratio], bootstrap: Bootstrap) -> list[Measure]:
    """Each metric with its 95 % bootstrap interval over groups, and its carriers; of a single group there is none."""
    drawn, carry = resampled(found, bootstrap), carriers(found, bootstrap)
    several = bootstrap.number(np.stack([ratio.shown for ratio in found.values()], 1)) > 1
    rows = []
    for (name, ratio), some in zip(found.items(), several, strict=True):
        low, high = interval(drawn[name]) if some else (np.nan, np.nan)
        rows.append(Measure(name, ratio.value(), int(ratio.shown.sum()), low, high, carriers=carry[name]))
    return rows


def _columns(found: Mapping[str, Ratio]) -> np.ndarray:
    """What is above and below of each metric in turn, float64 N × 2M."""
    return np.stack([column for ratio in found.values() for column in (ratio.above, ratio.below)], axis=1)
