"""Metrics, all from one array of counts per image.

Letters: N images, H × W pixels, K classes (0 is background), C categories (0 is unlabelled, then the COCO
categories in order). Ignored pixels (255) count nowhere.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from segscope.masks import IGNORE

RELIABILITY_BINS = 15
LOSS_PER_LEVEL = 1 / 32  # nats of a level of a loss map


def category_index(category_ids: Sequence[int]) -> np.ndarray:
    """Lookup table uint8[256]: COCO category id → position 0…C-1; 255 stays 255."""
    table = np.zeros(256, np.uint8)
    table[list(category_ids)] = np.arange(1, len(category_ids) + 1)
    table[IGNORE] = IGNORE
    return table


def class_of_positions(class_of: np.ndarray, categories: pd.DataFrame) -> np.ndarray:
    """Each category position's class, uint8[C], from the lookup table of `masks.category_classes`."""
    return class_of[[0, *categories["category_id"]]]


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


def confusion(counts: np.ndarray, class_of_category: np.ndarray) -> np.ndarray:
    """Pixels by predicted and true class, N × K × K, from counts N × K × C and each category's class, int[C]."""
    member = np.eye(counts.shape[1], dtype=counts.dtype)[class_of_category]
    return counts @ member


def outcomes(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """True positive, false positive and false negative pixels, each … × K, from confusion … × K × K."""
    true_positive = np.diagonal(matrix, axis1=-2, axis2=-1)
    return true_positive, matrix.sum(-1) - true_positive, matrix.sum(-2) - true_positive


def iou(true_positive: np.ndarray, false_positive: np.ndarray, false_negative: np.ndarray) -> np.ndarray:
    """TP / (TP + FP + FN), NaN where all are 0."""
    union = true_positive + false_positive + false_negative
    return np.divide(true_positive, union, out=np.full(union.shape, np.nan), where=union > 0)


def pixel_loss(probabilities: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Mean cross-entropy in nats of each image, float64[N]; NaN where every pixel is ignored.

    probabilities: float32 N × H × W × K. target: uint8 N × H × W classes (or 255).
    """
    pixels = (target != IGNORE).sum((1, 2))
    loss = cross_entropy(probabilities, target).sum((1, 2), dtype=np.float64)
    return np.divide(loss, pixels, out=np.full(len(loss), np.nan), where=pixels > 0)


def cross_entropy(probabilities: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The cross-entropy of each pixel in nats, float32 N × H × W; 0 where ignored. Arguments as of `pixel_loss`."""
    counted = target != IGNORE
    p = _of_class(probabilities, np.where(counted, target, 0).astype(np.intp))
    return np.where(counted, -np.log(np.maximum(p, np.float32(1e-12))), np.float32(0))


def loss_maps(probabilities: np.ndarray, target: np.ndarray) -> np.ndarray:
    """`cross_entropy` at half the resolution in levels of 1/32 nat, at most 255: uint8 N × H/2 × W/2."""
    loss = cross_entropy(probabilities, target)
    n, height, width = loss.shape
    halved = loss.reshape(n, height // 2, 2, width // 2, 2).mean((2, 4))
    return np.minimum(halved / LOSS_PER_LEVEL, 255).round().astype(np.uint8)


def _of_class(probabilities: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Each pixel's probability of one class: N × H × W of N × H × W × K. (For the largest, much faster than max.)"""
    return np.take_along_axis(probabilities, classes[..., None], -1)[..., 0]


def bootstrap_weights(n: int, resamples: int, seed: int) -> np.ndarray:
    """How often each of n images occurs in each resample, float64 resamples × n."""
    return np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=resamples).astype(np.float64)


def interval(values: np.ndarray) -> tuple[float, float]:
    """The 2.5 and 97.5 % quantiles of bootstrap values, NaN left out."""
    values = values[np.isfinite(values)]
    return tuple(np.quantile(values, (0.025, 0.975)).tolist()) if len(values) else (np.nan, np.nan)


def split_metrics(
    matrix: np.ndarray, loss: np.ndarray, names: Sequence[str], resamples: int, seed: int
) -> dict[str, object]:
    """Metrics of one split: loss, pixel_accuracy, iou and mean_iou of each class but background, with 95 % intervals.

    matrix: confusion N × K × K. loss: float[N].
    """
    weights = bootstrap_weights(len(matrix), resamples, seed)
    tp, fp, fn = outcomes(matrix)
    per_image = iou(tp, fp, fn)
    dataset: dict[str, float] = {}
    mean: dict[str, float] = {}
    for k, name in enumerate(names):
        if k == 0:
            continue
        each = [part[:, k] for part in (tp, fp, fn)]
        low, high = interval(iou(*(weights @ part for part in each)))
        dataset |= {name: iou(*(part.sum() for part in each))[()], f"{name}_low": low, f"{name}_high": high}
        shown = (each[0] + each[2]) > 0
        values = np.where(shown, per_image[:, k], 0)
        total = weights @ shown
        low, high = interval(np.divide(weights @ values, total, out=np.full(resamples, np.nan), where=total > 0))
        average = values.sum() / shown.sum() if shown.any() else np.nan
        mean |= {name: average, f"{name}_low": low, f"{name}_high": high}
    return {
        "images": len(matrix),
        "loss": float(np.nanmean(loss)),
        "pixel_accuracy": float(tp.sum() / matrix.sum()),
        "iou": dataset,
        "mean_iou": mean,
    }


def yardstick_classes(categories: pd.DataFrame, class_of_category: np.ndarray) -> dict[str, int]:
    """Category → the class that its `recall` is measured by, for each category that has one.

    It is the class that holds the category, or else the one that holds another category of its super-category:
    so bus is measured by the class that holds car in every variant.
    """
    own = pd.Series(class_of_category[1:], index=categories.index)
    held = own[own > 0].groupby(categories["supercategory"]).first()
    classes = own.where(own > 0, categories["supercategory"].map(held))
    return {name: int(k) for name, k in zip(categories["name"], classes, strict=True) if k > 0}


def category_recall(counts: np.ndarray, categories: pd.DataFrame, class_of_category: np.ndarray) -> dict[str, float]:
    """Of each category's pixels, the share predicted as its yardstick class; counts: K × C, summed over images."""
    position = {name: i for i, name in enumerate(categories["name"], start=1)}
    result = {}
    for name, k in yardstick_classes(categories, class_of_category).items():
        total = counts[:, position[name]].sum()
        if total:
            result[name] = float(counts[k, position[name]] / total)
    return result


def image_table(
    probabilities: np.ndarray, categories: np.ndarray, class_of_category: np.ndarray, names: Sequence[str]
) -> pd.DataFrame:
    """The numeric columns of predictions.parquet, one row an image.

    probabilities: float32 N × H × W × K. categories: uint8 N × H × W positions (or 255). class_of_category:
    uint8[C]. names: of the K classes. confidence: mean over pixels of the largest probability; for a class,
    the mean of its probability over the pixels predicted as it (NaN if there are none).
    """
    predicted = probabilities.argmax(-1)
    counts = count_pixels(predicted, categories, len(names), len(class_of_category))
    lookup = np.full(256, IGNORE, np.uint8)
    lookup[: len(class_of_category)] = class_of_category
    matrix = confusion(counts, class_of_category)
    tp, fp, fn = outcomes(matrix)
    per_class = iou(tp, fp, fn)
    total = matrix.sum((1, 2))
    columns: dict[str, object] = {
        "loss": pixel_loss(probabilities, lookup[categories]),
        "pixel_accuracy": np.divide(tp.sum(1), total, out=np.full(len(tp), np.nan), where=total > 0),
        "confidence": _of_class(probabilities, predicted).mean((1, 2)),
    }
    for k, name in enumerate(names):
        if k:
            taken = predicted == k
            pixels = taken.sum((1, 2))
            sure = np.where(taken, probabilities[..., k], 0).sum((1, 2))
            columns[f"iou.{name}"] = per_class[:, k]
            columns[f"confidence.{name}"] = np.divide(sure, pixels, out=np.full(len(sure), np.nan), where=pixels > 0)
    columns["counts"] = list(counts.reshape(len(counts), -1))
    return pd.DataFrame(columns)


def image_scores(predictions: pd.DataFrame, classes: Sequence[str], class_of_category: np.ndarray) -> pd.DataFrame:
    """Each image's loss, and `iou.CLASS` where its ground truth shows the class, else NaN; as the metrics count them.

    predictions: rows of predictions.parquet. classes: without background. class_of_category: uint8[C].
    """
    counts = np.stack(predictions["counts"].to_numpy()).reshape(len(predictions), len(classes) + 1, -1)
    pixels = counts.sum(1) @ np.eye(len(classes) + 1, dtype=int)[class_of_category]
    scores = {"loss": predictions["loss"].to_numpy(float)}
    for k, name in enumerate(classes, start=1):
        scores[f"iou.{name}"] = np.where(pixels[:, k] > 0, predictions[f"iou.{name}"].to_numpy(float), np.nan)
    return pd.DataFrame(scores, index=predictions.index)


def reliability_counts(probabilities: np.ndarray, target: np.ndarray, bins: int = RELIABILITY_BINS) -> np.ndarray:
    """Of each image's pixels by confidence: their number, summed confidence and number correct, float64 N × bins × 3.

    The confidence of a pixel is its largest probability; bin b holds those in (b / bins, (b + 1) / bins].
    probabilities: float32 N × H × W × K. target: uint8 N × H × W classes (or 255).
    """
    n, predicted = len(probabilities), probabilities.argmax(-1)
    confidence = _of_class(probabilities, predicted)
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


def calibration(counts: np.ndarray, resamples: int, seed: int) -> dict[str, float]:
    """Expected calibration error of a split with its 95 % interval, mean confidence and accuracy; N × bins × 3."""
    total = counts.sum(0)
    weights = bootstrap_weights(len(counts), resamples, seed)
    resampled = (weights @ counts.reshape(len(counts), -1)).reshape(-1, *counts.shape[1:])
    low, high = interval(calibration_error(resampled))
    pixels, confidence, correct = total.sum(0)
    return {
        "ece": calibration_error(total)[()],
        "ece_low": low,
        "ece_high": high,
        "confidence": confidence / pixels,
        "accuracy": correct / pixels,
    }


def reliability_curve(counts: np.ndarray) -> pd.DataFrame:
    """Mean confidence, accuracy and share of the pixels of each bin that holds any; N × bins × 3."""
    total = counts.sum(0)
    pixels, confidence, correct = total[total[:, 0] > 0].T
    return pd.DataFrame(
        {"confidence": confidence / pixels, "accuracy": correct / pixels, "pixels": pixels / pixels.sum()}
    )
