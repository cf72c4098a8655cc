"""What is optimised and measured while training. Letters: N images, H × W pixels, K classes."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from segscope.errors import SegscopeError
from segscope.taxonomy import IGNORE

OVERLAP = 0.5  # weight beside cross-entropy


def class_weights(pixels: np.ndarray, scheme: str, names: Sequence[str]) -> np.ndarray:
    """Weights float32[K] of the classes, of mean 1 over the pixels.

    pixels: int[K] of each class. scheme: `none`; `balanced`: inverse frequency; `sqrt_balanced`: its square root.
    Raises SegscopeError if a class has no pixel.
    """
    absent = [name for name, count in zip(names, pixels, strict=True) if count == 0]
    if absent:
        raise SegscopeError(
            f"the train split has no pixel of class {', '.join(absent)}: choose other images (data.contains, "
            "data.match, data.max_images) or another variant"
        )
    share = pixels / pixels.sum()
    weights = share ** -{"none": 0.0, "sqrt_balanced": 0.5, "balanced": 1.0}[scheme]
    return (weights / (weights * share).sum()).astype(np.float32)


class PixelCrossEntropy(keras.losses.Loss):
    """The objective: mean cross-entropy in nats over pixels that are not 255, each weighted by its true class."""

    def __init__(self, weights: Sequence[float], name: str = "pixel_cross_entropy"):
        super().__init__(name=name)
        self.weights = [float(w) for w in weights]

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        y_true = tf.cast(y_true, tf.int32)
        counted = y_true != IGNORE
        target = tf.where(counted, y_true, 0)
        weight = tf.where(counted, tf.gather(tf.constant(self.weights), target), 0.0)
        loss = tf.nn.sparse_softmax_cross_entropy_with_logits(target, y_pred) * weight
        pixels = tf.reduce_sum(tf.cast(counted, tf.float32), (1, 2))
        return tf.math.divide_no_nan(tf.reduce_sum(loss, (1, 2)), pixels)


class CrossEntropyAndOverlap(PixelCrossEntropy):
    """The same, and OVERLAP times 1 less the soft IoU, the mean over the classes but background that an image shows.

    The soft IoU of probabilities p and truth t, 0 or 1, is Σ p t / Σ (p + t - p t) over an image's pixels (Rahman and
    Wang 2016, https://doi.org/10.1007/978-3-319-50835-1_22): what is small weighs as much as what is large.
    """

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        y_true = tf.cast(y_true, tf.int32)
        # An ignored pixel's one-hot vector is 0.
        truth = tf.one_hot(y_true, len(self.weights))[..., 1:]
        counted = tf.cast(y_true != IGNORE, tf.float32)[..., None]
        probability = tf.nn.softmax(y_pred)[..., 1:] * counted
        both, pixels = tf.reduce_sum(probability * truth, (1, 2)), tf.reduce_sum(truth, (1, 2))
        # One pixel more in both: what no probability is given to must have a gradient, too.
        overlap = (both + 1) / (tf.reduce_sum(probability, (1, 2)) + pixels - both + 1)
        shown = tf.cast(pixels > 0, tf.float32)
        missed = tf.math.divide_no_nan(tf.reduce_sum((1 - overlap) * shown, 1), tf.reduce_sum(shown, 1))
        return super().call(y_true, y_pred) + OVERLAP * missed


class PixelLoss(keras.metrics.Mean):
    """The unweighted loss, from logits: the mean over images of `segscope.evaluation.loss.pixel_loss`.

    An image of ignored pixels alone has none.
    """

    def __init__(self) -> None:
        super().__init__(name="pixel_loss")

    def update_state(self, y_true: tf.Tensor, y_pred: tf.Tensor, sample_weight: None = None) -> None:
        unweighted = PixelCrossEntropy([1.0] * y_pred.shape[-1])
        counted = tf.cast(y_true, tf.int32) != IGNORE
        super().update_state(unweighted.call(y_true, y_pred), tf.reduce_any(counted, (1, 2)))


class SegmentationMetrics(keras.metrics.Metric):
    """From logits, for each class but background: iou_NAME of the dataset, mean_iou_NAME over images that show it."""

    def __init__(self, names: Sequence[str]):
        super().__init__(name="segmentation")
        self._names = list(names)
        k = len(names)
        self._matrix = self.add_variable((k, k), "zeros", name="matrix")
        self._sums = self.add_variable((k,), "zeros", name="sums")
        self._shown = self.add_variable((k,), "zeros", name="shown")

    def update_state(self, y_true: tf.Tensor, y_pred: tf.Tensor, sample_weight: None = None) -> None:
        k = len(self._names)
        # An ignored pixel's one-hot vector is 0, so that it counts nowhere.
        true = tf.one_hot(tf.cast(y_true, tf.int32), k)
        predicted = tf.one_hot(tf.argmax(y_pred, -1, tf.int32), k)
        matrix = tf.einsum("nhwt,nhwp->ntp", true, predicted)
        shown = tf.cast(tf.reduce_sum(matrix, 2) > 0, tf.float32)
        self._matrix.assign_add(tf.reduce_sum(matrix, 0))
        self._sums.assign_add(tf.reduce_sum(_iou(matrix) * shown, 0))
        self._shown.assign_add(tf.reduce_sum(shown, 0))

    def result(self) -> dict[str, tf.Tensor]:
        dataset, mean = _iou(self._matrix), tf.math.divide_no_nan(self._sums.value, self._shown.value)
        return {
            f"{kind}_{name}": values[k]
            for kind, values in (("iou", dataset), ("mean_iou", mean))
            for k, name in enumerate(self._names)
            if k
        }


def _iou(matrix: tf.Tensor) -> tf.Tensor:
    """IoU of each class from confusion … × K × K; 0 where there is no pixel of it."""
    intersection = tf.linalg.diag_part(matrix)
    union = tf.reduce_sum(matrix, -1) + tf.reduce_sum(matrix, -2) - intersection
    return tf.math.divide_no_nan(intersection, union)
