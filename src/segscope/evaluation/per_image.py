"""Figures of each image. Letters: N images, H × W pixels, K classes (0 is background), C category positions."""

from __future__ import annotations

import numpy as np
import pandas as pd

from segscope.evaluation.counts import confusion, count_pixels, iou, outcomes
from segscope.evaluation.loss import of_class, pixel_loss
from segscope.taxonomy import IGNORE, Taxonomy


def image_table(
    probabilities: np.ndarray, predicted: np.ndarray, positions: np.ndarray, taxonomy: Taxonomy
) -> pd.DataFrame:
    """The numeric columns of predictions.parquet, one row an image.

    probabilities: float32 N × H × W × K. predicted: the classes of the largest, uint8 N × H × W. positions: uint8
    N × H × W category positions (or 255). confidence: mean over counted pixels of the largest probability; for a class,
    the mean of its probability over the pixels predicted as it (NaN if there are none).
    """
    counted = positions != IGNORE
    counts = count_pixels(predicted, positions, len(taxonomy.class_names), len(taxonomy.category_names))
    lookup = np.full(256, IGNORE, np.uint8)
    lookup[: len(taxonomy.class_of_position)] = taxonomy.class_of_position
    matrix = confusion(counts, taxonomy.class_of_position)
    tp, fp, fn = outcomes(matrix)
    per_class = iou(tp, fp, fn)
    total = matrix.sum((1, 2))
    columns: dict[str, object] = {
        "loss": pixel_loss(probabilities, lookup[positions]),
        "pixel_accuracy": np.divide(tp.sum(1), total, out=np.full(len(tp), np.nan), where=total > 0),
        "confidence": _mean(of_class(probabilities, predicted), counted),
    }
    for k, name in enumerate(taxonomy.classes, start=1):
        columns[f"iou.{name}"] = per_class[:, k]
        columns[f"confidence.{name}"] = _mean(probabilities[..., k], counted & (predicted == k))
    columns["counts"] = list(counts.reshape(len(counts), -1))
    return pd.DataFrame(columns)


def _mean(values: np.ndarray, where: np.ndarray) -> np.ndarray:
    """Each image's mean of the chosen pixels, float64[N] of N × H × W; NaN of none."""
    pixels = where.sum((1, 2))
    total = np.where(where, values, 0).sum((1, 2), dtype=np.float64)
    return np.divide(total, pixels, out=np.full(len(total), np.nan), where=pixels > 0)


def pixel_counts(predictions: pd.DataFrame, taxonomy: Taxonomy) -> np.ndarray:
    """The pixels of N rows of predictions.parquet by predicted class and category position, int N × K × C."""
    stacked = np.stack(predictions["counts"].to_numpy())
    return stacked.reshape(len(stacked), len(taxonomy.class_names), len(taxonomy.category_names))


def image_scores(predictions: pd.DataFrame, taxonomy: Taxonomy) -> pd.DataFrame:
    """Each image's loss, and `iou.CLASS` where its ground truth shows the class, else NaN; as the metrics count them.

    predictions: rows of predictions.parquet.
    """
    member = np.eye(len(taxonomy.class_names), dtype=int)[taxonomy.class_of_position]
    pixels = pixel_counts(predictions, taxonomy).sum(1) @ member
    scores = {"loss": predictions["loss"].to_numpy(float)}
    for k, name in enumerate(taxonomy.classes, start=1):
        scores[f"iou.{name}"] = np.where(pixels[:, k] > 0, predictions[f"iou.{name}"].to_numpy(float), np.nan)
    return pd.DataFrame(scores, index=predictions.index)
