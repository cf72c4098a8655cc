"""Boundary IoU: how well outlines fit, whatever is inside them.

Cheng et al. 2021, "Boundary IoU: Improving Object-Centric Image Segmentation Evaluation"
(https://arxiv.org/abs/2103.16562): the IoU of the pixels of either mask that are near the mask's own outline. Letters:
N images, H × W pixels, K classes (0 is background).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from segscope.evaluation.metrics import Ratio
from segscope.taxonomy import IGNORE

WIDTH = 0.02  # of the image's diagonal


def boundary_counts(predicted: np.ndarray, target: np.ndarray, n_classes: int) -> np.ndarray:
    """Pixels near either outline of each class but background: int64 N × K-1 × 2, of both masks and of either.

    predicted, target: uint8 N × H × W classes; where the target is 255 nothing counts, and what is there bounds both
    masks, as the image's edge does.
    """
    bounded = [np.where(target == IGNORE, IGNORE, classes) for classes in (predicted, target)]
    near = [np.where(_near_outline(classes), classes, 0) for classes in bounded]
    found = np.zeros((len(target), n_classes - 1, 2), np.int64)
    for k in range(1, n_classes):
        a, b = (classes == k for classes in near)
        found[:, k - 1, 0] = (a & b).sum((1, 2))
        found[:, k - 1, 1] = (a | b).sum((1, 2))
    return found


def boundary_ratios(counts: np.ndarray, shown: np.ndarray, classes: Sequence[str]) -> dict[str, Ratio]:
    """boundary_iou.CLASS: as iou.CLASS, of the pixels near outlines.

    counts: of `boundary_counts`. shown: bool N × K-1, whether an image's ground truth shows the class. classes: the
    K-1 names.
    """
    above, union = np.moveaxis(counts.astype(float), -1, 0)
    # Where no image shows a class, how well it is found is unknown, whatever is predicted as it.
    below = union * shown.any(0)
    return {f"boundary_iou.{name}": Ratio(above[:, k], below[:, k], shown[:, k]) for k, name in enumerate(classes)}


def reach(height: int, width: int, share: float = WIDTH) -> int:
    """So many pixels are a share of the image's diagonal, rounded as in the published code; one at least."""
    return max(1, round(share * (height**2 + width**2) ** 0.5))


def windows(values: np.ndarray, around: int, combine: np.ufunc) -> np.ndarray:
    """The combination (np.minimum, np.logical_or, …) of each pixel and those at most `around` rows and columns away.

    values: N × H × W. Of the windows that are wholly in the picture: N × H - 2 around × W - 2 around.
    """
    for _ in range(2):
        values, length = np.swapaxes(values, 1, 2), 1
        while length < 2 * around + 1:
            step = min(length, 2 * around + 1 - length)
            values = combine(values[:, :-step], values[:, step:])
            length += step
    return values


def _near_outline(classes: np.ndarray) -> np.ndarray:
    """The pixels that as many erosions by 3 × 3 pixels as the outline is wide remove from the mask of their class.

    bool N × H × W: those that have another class, or what is outside the image, among the pixels so near.
    """
    _, height, width = classes.shape
    d = reach(height, width)
    near = np.ones(classes.shape, bool)
    if min(height, width) > 2 * d:
        near[:, d:-d, d:-d] = windows(classes, d, np.minimum) != windows(classes, d, np.maximum)
    return near
