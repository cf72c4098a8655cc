"""Training: loss, class weights, metrics and the fit itself. Letters: N images, H × W pixels, K classes."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from segscope import model as network
from segscope.errors import SegscopeError
from segscope.masks import IGNORE
from segscope.params import Train


def make_deterministic(seed: int) -> None:
    """Seed Python, numpy and TensorFlow, and keep TensorFlow to deterministic kernels."""
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()


def build_model(kind: str, weights: Path | None, image_size: int, n_classes: int) -> keras.Model:
    """The U-Net on the encoder that `segscope.encoder.read_encoder` describes."""
    if kind == "torch":
        with np.load(weights) as arrays:
            encoder = network.torch_encoder(image_size, arrays)
    else:
        encoder = network.keras_encoder(image_size, "imagenet" if kind == "imagenet" else weights)
    return network.unet(encoder, n_classes)


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
    """Mean cross-entropy in nats over pixels that are not 255, each weighted by its true class."""

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


def iou_metrics(names: Sequence[str]) -> list[keras.metrics.Metric]:
    """A dataset IoU from logits for each class but background."""
    return [
        keras.metrics.IoU(
            num_classes=len(names),
            target_class_ids=[k],
            ignore_class=IGNORE,
            sparse_y_pred=False,
            name=f"iou_{name}",
        )
        for k, name in enumerate(names)
        if k
    ]


def fit(
    model: keras.Model,
    train: tf.data.Dataset,
    val: tf.data.Dataset,
    weights: np.ndarray,
    names: Sequence[str],
    steps_per_epoch: int,
    options: Train,
) -> pd.DataFrame:
    """Train in place. Returns the history: one row an epoch, columns as Keras names them plus `epoch`.

    Raises SegscopeError if the loss stops being finite.
    """
    rate = options.learning_rate
    if options.schedule == "cosine":
        rate = keras.optimizers.schedules.CosineDecay(rate, steps_per_epoch * options.epochs)
    model.compile(keras.optimizers.Adam(rate), PixelCrossEntropy(weights), metrics=iou_metrics(names))
    history = model.fit(
        train,
        validation_data=val,
        epochs=options.epochs,
        verbose="auto" if sys.stdout.isatty() else 2,
        callbacks=[keras.callbacks.TerminateOnNaN()],
    )
    table = pd.DataFrame(history.history)
    if len(table) < options.epochs or not np.isfinite(table["loss"]).all():
        raise SegscopeError(
            f"training diverged in epoch {len(table)} (the loss is not finite): lower train.learning_rate "
            f"({options.learning_rate})"
        )
    table.insert(0, "epoch", np.arange(1, len(table) + 1))
    return table
