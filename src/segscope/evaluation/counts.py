"""Pixel counts, from which all metrics follow by sums.

Letters: N images, H × W pixels, K classes (0 is background), C category positions (0 is
unlabelled, then the categories in order). Ignored pixels (255) count nowhere.
"""

from __future__ import annotations

import numpy as np

from segscope.taxonomy import IGNORE


def count_pixels(predicted: np.ndarray, categories: np.ndarray, n_classes: int, n_categories: int) -> np.ndarray:
    """Pixels by predicted class and true category, int64 N × K × C.

    predicted: uint8 N × H × W classes. categories: uint8 N × H × W positions (or 255).
    """
    n = len(predicted)
    counted = categories != IGNORE
    image = np.broadcast_to(np.arange(n)[:, None, None], predicted.shape)
    cell = (image * n_classes + predicted) * n_categories + np.where(counted, categories, 0)
    counts = np.bincount(cell[counted], minlength=n * n_classes * n_categories)
    return counts.reshape(n, n_classes, n_categories)


def confusion(counts: np.ndarray, class_of_position: np.ndarray) -> np.ndarray:
    """Pixels by predicted and true class, N × K × K, from counts N × K × C and each position's class, int[C]."""
    member = np.eye(counts.shape[1], dtype=counts.dtype)[class_of_position]
    return counts @ member


def outcomes(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """True positive, false positive and false negative pixels, each … × K, from confusion … × K × K."""
    true_positive = np.diagonal(matrix, axis1=-2, axis2=-1)
    return true_positive, matrix.sum(-1) - true_positive, matrix.sum(-2) - true_positive


def iou(true_positive: np.ndarray, false_positive: np.ndarray, false_negative: np.ndarray) -> np.ndarray:
    """TP / (TP + FP + FN), NaN where all are 0."""
    union = true_positive + false_positive + false_negative
    return np.divide(true_positive, union, out=np.full(union.shape, np.nan), where=union > 0)
