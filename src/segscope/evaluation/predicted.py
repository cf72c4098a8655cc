"""What is measured: images as a model sees them. Letters: N images, H × W pixels, K classes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Predicted(NamedTuple):
    """A batch of images as a model sees them.

    image_ids: int64[N]. masks: of category ids, uint8 N × H × W. probabilities: float32 N × H × W × K. steadier: the
    mean of these and of the mirror images', mirrored back; None where it was not asked for. sure: whether they say how
    sure the model is; else they are 0 and 1, as all that is known is each pixel's class.
    """

    image_ids: np.ndarray
    masks: np.ndarray
    probabilities: np.ndarray
    steadier: np.ndarray | None = None
    sure: bool = True
