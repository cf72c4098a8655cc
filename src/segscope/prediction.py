"""Running a trained model over a dataset. Letters: N images, H × W pixels, K classes."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
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


Batch = tuple[np.ndarray, np.ndarray, list[np.ndarray]]


def predict_batches(
    model: keras.Model, examples: tf.data.Dataset, n: int, title: str, batch_size: int = 32, mirrored: bool = False
) -> Iterator[Batch]:
    """Yield (image_id int64[N], mask of category ids uint8 N × H × W, the model's outputs), with a progress bar.

    mirrored: after a model's only output, that of the mirrored images, mirrored back. `n` is the number of examples,
    for the bar only. While the caller looks at a batch, the model works on the next.
    """

    def predict(ids: tf.Tensor, images: tf.Tensor, masks: tf.Tensor) -> Batch:
        pixels = tf.cast(images, tf.float32)
        outputs = model.predict_on_batch(pixels)
        outputs = outputs if isinstance(outputs, list) else [outputs]
        if mirrored:
            outputs.append(model.predict_on_batch(pixels[:, :, ::-1])[:, :, ::-1])
        return ids.numpy(), masks.numpy(), outputs

    batches = examples.batch(batch_size).prefetch(2)
    with tqdm(total=n, desc=title, unit="image", disable=None) as bar, ThreadPoolExecutor(1) as pool:
        for batch in _one_ahead(pool.submit(predict, *batch) for batch in batches):
            yield batch
            bar.update(len(batch[0]))


def _one_ahead(futures: Iterator[Future[Batch]]) -> Iterator[Batch]:
    """The results in order; the next future is asked for before a result is given out."""
    waiting = next(futures, None)
    while waiting is not None:
        following = next(futures, None)
        yield waiting.result()
        waiting = following
