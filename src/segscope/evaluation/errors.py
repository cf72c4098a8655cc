"""Every class's wrong pixels, taken apart by what went wrong.

After TIDE (Bolya et al. 2020, https://arxiv.org/abs/2008.08115), with connected regions for boxes: one that shares less
than a tenth with the other side is missed, or extra; what is wrong about the others is their outline, their shape, or
the class of a part. Letters: N images, H × W pixels, K classes (0 is background).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from segscope.evaluation.boundary import WIDTH, reach, windows
from segscope.evaluation.metrics import Ratio
from segscope.taxonomy import IGNORE

KINDS = ("boundary", "other_class", "missed", "extra", "shape")
MET = 0.1  # of a region's pixels; TIDE's threshold between an object badly met and background
BAND = WIDTH / 2  # of the diagonal, on either side of an outline: 2 pixels at 128 × 128

_IN_IMAGE = ndimage.generate_binary_structure(3, 1) & np.array([False, True, False])[:, None, None]


def error_counts(predicted: np.ndarray, target: np.ndarray, n_classes: int) -> np.ndarray:
    """The wrong pixels of each class but background by kind: int64 N × K-1 × KINDS, which sum to all of them.

    predicted, target: uint8 N × H × W classes; where the target is 255 nothing counts. A pixel of class k is wrong if
    it is predicted as another, one predicted as k if it is of another. It lies in a connected region of the target,
    or else of the prediction, which is *met* if a tenth or more of it is of k on the other side, too. The first of
    these that holds:

    boundary: the region is met, and both k and another class are in the target within BAND rows and columns (half as
    far as boundary IoU's band reaches). other_class: neither side is background. missed, extra: the region, of the
    target or of the prediction, is not met. shape: it is; a part of it is not found, or too much.
    """
    counted = target != IGNORE
    _, height, width = target.shape
    around = reach(height, width, BAND)
    found = np.zeros((len(target), n_classes - 1, len(KINDS)), np.int64)
    for k in range(1, n_classes):
        true, seen = target == k, (predicted == k) & counted
        wrong = true & ~seen, seen & ~true
        near = _within(true, around) & _within(counted & ~true, around)
        sides = (true, seen, predicted, "missed"), (seen, true, target, "extra")
        for pixels, (masks, others, other, unmet) in zip(wrong, sides, strict=True):
            image, met = np.nonzero(pixels)[0], regions_met(masks, others, pixels)
            tests = near[pixels] & met, other[pixels] > 0, ~met
            kinds = [KINDS.index(kind) for kind in ("boundary", "other_class", unmet)]
            cell = image * len(KINDS) + np.select(tests, kinds, KINDS.index("shape"))
            found[:, k - 1] += np.bincount(cell, minlength=found[:, k - 1].size).reshape(-1, len(KINDS))
    return found


def error_ratios(counts: np.ndarray, classes: Sequence[str]) -> dict[str, Ratio]:
    """errors.CLASS.KIND: the share of the class's wrong pixels that are of the kind.

    counts: of `error_counts`. classes: the K-1 names.
    """
    wrong = counts.sum(2)
    return {
        f"errors.{name}.{kind}": Ratio(counts[:, k, i].astype(float), wrong[:, k].astype(float), wrong[:, k] > 0)
        for k, name in enumerate(classes)
        for i, kind in enumerate(KINDS)
    }


def connected(masks: np.ndarray) -> tuple[np.ndarray, int]:
    """Each pixel's region, 0 outside of all, and their number; masks: bool N × H × W.

    Pixels are connected through their sides, and not from image to image.
    """
    return ndimage.label(masks, _IN_IMAGE)


def regions_met(masks: np.ndarray, others: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Whether a tenth or more of a pixel's connected region of the masks is in the other masks, bool[pixels asked].

    All bool N × H × W; what is asked of lies in the masks.
    """
    region, n = connected(masks)
    pixels, shared = (np.bincount(region[of], minlength=n + 1) for of in (masks, masks & others))
    return (shared >= MET * pixels)[region[asked]]


def _within(masks: np.ndarray, around: int) -> np.ndarray:
    """The pixels with one of the mask at most so many rows and columns away."""
    margin = (0, 0), (around, around), (around, around)
    return windows(np.pad(masks, margin), around, np.logical_or)
