"""Running a trained model over a dataset. Letters: N images, H × W pixels, K classes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from segscope.errors import SegscopeError


def load_model(path: Path, n_classes: int, image_size: int) -> keras.Model:
    """The trained model. Raises SegscopeError if it cannot be read, or is not of this variant and size."""
    try:
        model = keras.models.load_model(path, compile=False)
    except (OSError, ValueError, TypeError) as error:
        raise SegscopeError(f"model {path} cannot be read ({error}); run `dvc repro train`") from error
    if model.output_shape[1:] != (image_size, image_size, n_classes):
        raise SegscopeError(
            f"model {path} gives {model.output_shape[1:]}, the params ask for {(image_size, image_size, n_classes)}; "
            "run `dvc repro train`"
        )
    return model


def predict_batches(
    model: keras.Model, examples: tf.data.Dataset, n: int, title: str, batch_size: int = 32
) -> Iterator[tuple[np.ndarray, np.ndarray, list[np.ndarray]]]:
    """Yield (image_id int64[N], mask of category ids uint8 N × H × W, the model's outputs), with a progress bar.

    `n` is the number of examples, for the bar only.
    """
    run = tf.function(lambda x: model(x, training=False), reduce_retracing=True)
    with tqdm(total=n, desc=title, unit="image", disable=None) as bar:
        for ids, images, masks in examples.batch(batch_size).prefetch(2):
            outputs = run(tf.cast(images, tf.float32))
            outputs = outputs if isinstance(outputs, list | tuple) else [outputs]
            yield ids.numpy(), masks.numpy(), [output.numpy() for output in outputs]
            bar.update(len(ids))
