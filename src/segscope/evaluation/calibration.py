"""Whether a model is as sure as it is right. Letters: N images, H × W pixels, K classes."""

from __future__ import annotations

import numpy as np
import pandas as pd

from segscope.artefacts.measures import Measure
from segscope.evaluation.bootstrap import bootstrap_weights, interval
from segscope.evaluation.loss import of_class
from segscope.taxonomy import IGNORE

RELIABILITY_BINS = 15


def reliability_counts(probabilities: np.ndarray, target: np.ndarray, bins: int = RELIABILITY_BINS) -> np.ndarray:
    """Of each image's pixels by confidence: their number, summed confidence and number correct, float64 N × bins × 3.

    The confidence of a pixel is its largest probability; bin b holds those in (b / bins, (b + 1) / bins].
    probabilities: float32 N × H × W × K. target: uint8 N × H × W classes (or 255).
    """
    n, predicted = len(probabilities), probabilities.argmax(-1)
    confidence = of_class(probabilities, predicted)
    counted = target != IGNORE
    bin_of = np.clip(np.ceil(confidence * bins).astype(np.intp) - 1, 0, bins - 1)
    cell = (np.arange(n)[:, None, None] * bins + bin_of)[counted]
    correct = (predicted == target)[counted]
    columns = [np.bincount(cell, weights, n * bins) for weights in (None, confidence[counted], correct)]
    return np.stack(columns, -1).reshape(n, bins, 3).astype(np.float64)


def calibration_error(counts: np.ndarray) -> np.ndarray:
    """Expected calibration error, 0…1, of counts … × bins × 3 summed over images; NaN without a pixel.

    The mean over pixels of the gap between a bin's accuracy and its mean confidence: Guo et al. 2017, On Calibration
    of Modern Neural Networks (https://arxiv.org/abs/1706.04599).
    """
    pixels, confidence, correct = np.moveaxis(counts, -1, 0)
    gap, total = np.abs(correct - confidence).sum(-1), pixels.sum(-1)
    return np.divide(gap, total, out=np.full(np.shape(total), np.nan), where=total > 0)


def calibration_measures(counts: np.ndarray) -> list[Measure]:
    """calibration_error of a split with its 95 % interval, and the mean confidence; counts: N × bins × 3."""
    total, images = counts.sum(0), int((counts[..., 0].sum(1) > 0).sum())
    pixels, confidence, _ = total.sum(0)
    ends = (np.nan, np.nan)
    if images > 1:
        ends = interval(calibration_error(np.tensordot(bootstrap_weights(len(counts)), counts, 1)))
    return [
        Measure("calibration_error", float(calibration_error(total)), images, *ends),
        Measure("confidence", confidence / pixels if pixels else np.nan, images),
    ]


def reliability_curve(counts: np.ndarray) -> pd.DataFrame:
    """Mean confidence, accuracy and share of the pixels of each bin that holds any; N × bins × 3."""
    total = counts.sum(0)
    pixels, confidence, correct = total[total[:, 0] > 0].T
    return pd.DataFrame(
        {"confidence": confidence / pixels, "accuracy": correct / pixels, "pixels": pixels / pixels.sum()}
    )
