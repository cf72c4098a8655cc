"""Cross-entropy of pixels. Letters: N images, H × W pixels, K classes. Ignored pixels (255) count nowhere."""

from __future__ import annotations

import numpy as np

from segscope.taxonomy import IGNORE

MOST_LOSS = -np.log(1e-12)  # nats of a pixel: 27.6


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
    p = of_class(probabilities, np.where(counted, target, 0).astype(np.intp))
    return np.where(counted, -np.log(np.maximum(p, np.float32(1e-12))), np.float32(0))


def loss_maps(probabilities: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Each image's loss at half the resolution, as levels of `level_loss`: uint8 N × H/2 × W/2.

    A cell's is the mean of its counted pixels; 0 where there is none.
    """
    n, height, width = target.shape

    def summed(values: np.ndarray) -> np.ndarray:
        return values.reshape(n, height // 2, 2, width // 2, 2).sum((2, 4))

    pixels = summed(target != IGNORE)
    loss = np.divide(summed(cross_entropy(probabilities, target)), pixels, out=np.zeros(pixels.shape), where=pixels > 0)
    return (255 * np.sqrt(loss / MOST_LOSS)).round().astype(np.uint8)


def level_loss(levels: np.ndarray) -> np.ndarray:
    """The nats of a loss map's levels, float64: fine steps where the loss is small, none cut off."""
    return MOST_LOSS * (levels / 255.0) ** 2


def of_class(probabilities: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Each pixel's probability of one class: N × H × W of N × H × W × K. (For the largest, much faster than max.)"""
    return np.take_along_axis(probabilities, classes[..., None], -1)[..., 0]
