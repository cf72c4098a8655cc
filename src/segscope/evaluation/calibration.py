"""Whether a model is as sure as it is right. Letters: N images, H × W pixels, K classes (0 is background).

Of all pixels this is answered by the background, which is most of them and easy: each predicted class is asked apart.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from segscope.artefacts.measures import Measure
from segscope.evaluation.bootstrap import Bootstrap, interval
from segscope.evaluation.loss import of_class
from segscope.taxonomy import IGNORE

RELIABILITY_BINS = 15


def reliability_counts(
    probabilities: np.ndarray, predicted: np.ndarray, target: np.ndarray, bins: int = RELIABILITY_BINS
) -> np.ndarray:
    """Of each image's pixels by predicted class and confidence: number, summed confidence and number correct.

    The confidence of a pixel is its largest probability; bin b holds those in (b / bins, (b + 1) / bins].
    probabilities: float32 N × H × W × K. predicted: the classes of the largest, uint8 N × H × W. target: uint8
    N × H × W classes (or 255). Returns float64 N × K × bins × 3.
    """
    n, classes = len(probabilities), probabilities.shape[-1]
    confidence = of_class(probabilities, predicted)
    counted = target != IGNORE
    bin_of = np.clip(np.ceil(confidence * bins).astype(np.intp) - 1, 0, bins - 1)
    cell = ((np.arange(n)[:, None, None] * classes + predicted) * bins + bin_of)[counted]
    correct = (predicted == target)[counted]
    columns = [np.bincount(cell, weights, n * classes * bins) for weights in (None, confidence[counted], correct)]
    return np.stack(columns, -1).reshape(n, classes, bins, 3).astype(np.float64)


def calibration_measures(counts: np.ndarray, classes: Sequence[str], bootstrap: Bootstrap) -> list[Measure]:
    """How sure the model is of the pixels it predicts as each class, how many are right, and the gap between the two.

    confidence.CLASS, right.CLASS, and gap.CLASS, which is their difference: positive where the model is too sure; in
    0…1, with 95 % intervals over groups; of each class but background that is predicted at all. calibration_error: see
    `calibration_error`. counts: N × K × bins × 3. classes: the K names. bootstrap: of the N images' groups.
    """
    sums = counts.sum(2)[:, 1:]  # N × classes × (pixels, confidence, correct)
    asked = [k for k in range(len(classes) - 1) if sums[:, k, 0].any()]
    if not asked:
        return []
    sums, names = sums[:, asked], [classes[1:][i] for i in asked]
    shares = _shares(sums.sum(0))
    drawn = _shares(bootstrap.sums(sums.reshape(len(sums), -1)).reshape(-1, len(asked), 3))
    images = (sums[..., 0] > 0).sum(0)
    carriers = bootstrap.carriers(sums[..., 0])
    several = bootstrap.number(sums[..., 0] > 0) > 1
    rows = []
    for kind, name in enumerate(("confidence", "right", "gap")):
        for k, of in enumerate(names):
            low, high = interval(drawn[:, k, kind]) if several[k] else (np.nan, np.nan)
            rows.append(Measure(f"{name}.{of}", shares[k, kind], int(images[k]), low, high, carriers=carriers[k]))
    error, low, high = calibration_error(shares[:, 2], drawn[..., 2])
    low, high = (low, high) if several.all() else (np.nan, np.nan)
    found = int((sums[..., 0] > 0).any(1).sum())
    return [Measure("calibration_error", error, found, low, high, carriers=float(carriers.min())), *rows]


def _shares(sums: np.ndarray) -> np.ndarray:
    """Mean confidence, share right and their difference, … × 3, of summed pixels, confidence and correct, … × 3."""
    pixels, confidence, correct = np.moveaxis(sums, -1, 0)
    above = np.stack([confidence, correct, confidence - correct], -1)
    return np.divide(above, pixels[..., None], out=np.full(above.shape, np.nan), where=pixels[..., None] > 0)


def calibration_error(gaps: np.ndarray, drawn: np.ndarray) -> tuple[float, float, float]:
    """The root mean square of the classes' gaps, without what chance adds to it, and its 95 % interval.

    gaps: float[K]. drawn: the same in R resamples, R × K. A gap's square is too large by its variance, which is taken
    off: the debiased calibration error of Kumar et al. 2019, Verified Uncertainty Calibration
    (https://arxiv.org/abs/1909.10155), each predicted class being a bin, of equal weight. (To ask each predicted class
    apart is the top-label calibration of Gupta and Ramdas 2022, https://arxiv.org/abs/2107.08353.)

    The interval: by the triangle inequality the root mean square is no further from the true one than that of the gaps'
    errors is large, whose 95 % quantile the resamples give. So it covers a model without any error, too.
    """
    drawn = drawn[np.isfinite(drawn).any(1)]
    square = float(np.mean(gaps**2 - np.nanvar(drawn, axis=0)))
    reach = float(np.nanquantile(np.sqrt(np.nanmean((drawn - gaps) ** 2, axis=1)), 0.95))
    plain = float(np.sqrt(np.mean(gaps**2)))
    return max(square, 0.0) ** 0.5, max(plain - reach, 0.0), plain + reach


def reliability_curve(counts: np.ndarray, classes: Sequence[str]) -> pd.DataFrame:
    """Mean confidence, accuracy and share of the class's pixels of each predicted class's bins that hold any.

    counts: N × K × bins × 3. classes: the K names.
    """
    total = counts.sum(0)
    k, b = np.nonzero(total[..., 0])
    pixels, confidence, correct = total[k, b].T
    return pd.DataFrame(
        {
            "class": np.array(classes, dtype=object)[k],
            "confidence": confidence / pixels,
            "accuracy": correct / pixels,
            "pixels": pixels / total[..., 0].sum(1)[k],
        }
    )
