"""Cross-entropy of pixels. Letters: N images, H × W pixels, K classes. Ignored pixels (255) count nowhere."""

from __future__ import annotations

import numpy as np

from segscope.taxonomy import IGNORE

LOSS_PER_LEVEL = 1 / 32  # nats of a level of a loss map


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
    """`cross_entropy` at half the resolution in levels of 1/32 nat, at most 255: uint8 N × H/2 × W/2."""
    loss = cross_entropy(probabilities, target)
    n, height, width = loss.shape
    halved = loss.reshape(n, height // 2, 2, width // 2, 2).mean((2, 4))
    return np.minimum(halved / LOSS_PER_LEVEL, 255).round().astype(np.uint8)


def of_class(probabilities: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Each pixel's probability of one class: N × H × W of N × H × W × K. (For the largest, much faster than max.)"""
    return np.take_along_axis(probabilities, classes[..., None], -1)[..., 0]
