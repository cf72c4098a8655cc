"""Running a trained model over a dataset. Letters: N images, H × W pixels, K classes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from segscope.evaluation.predicted import Predicted
from segscope.limits import MAX_LAYER_VALUES
from segscope.model.dataset import read_examples, shards
from segscope.model.unet import activations

# image_id int64[N], mask of category ids uint8 N × H × W, the model's outputs.
Batch = tuple[np.ndarray, np.ndarray, list[np.ndarray]]


@dataclass(frozen=True)
class Split:
    """The n images of a split in the folder of TFRecord files, or those of them that `only` names: int64[n]."""

    folder: Path
    name: str
    n: int
    only: np.ndarray | None = None

    def examples(self, size: int) -> tf.data.Dataset:
        """See `read_examples`."""
        return read_examples(shards(self.folder, self.name), size, self.only)

    def batches(self, size: int, batch_size: int, title: str) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """The same in batches of arrays, with a progress bar."""
        with tqdm(total=self.n, desc=title, unit="image", disable=None) as bar:
            for ids, pictures, masks in self.examples(size).batch(batch_size).as_numpy_iterator():
                yield ids, pictures, masks
                bar.update(len(ids))


def set_seeds(seed: int) -> None:
    """Seed all generators that a library may draw from: Python's, NumPy's, TensorFlow's."""
    keras.utils.set_random_seed(seed)


def predict_split(model: keras.Model, split: Split, batch_size: int, mirrored: bool = False) -> Iterator[Predicted]:
    """The probabilities of a split's images; mirrored: those that are steadier, too."""
    examples = split.examples(model.input_shape[1])
    batches = predict_batches(model, examples, split.n, f"predict {split.name}", batch_size, mirrored)
    for ids, masks, (logits, *others) in batches:
        p = tf.nn.softmax(logits).numpy()
        steadier = (p + tf.nn.softmax(others[0]).numpy()) / 2 if mirrored else None
        yield Predicted(ids, masks, p, steadier)


def layer_batches(model: keras.Model, layers: Sequence[str], splits: Iterable[Split], title: str) -> Iterator[Batch]:
    """The activations of the named layers, of all images of the splits."""
    probe = activations(model, tuple(layers))
    values = sum(math.prod(output.shape[1:]) for output in probe.outputs)
    batch_size = min(32, max(1, MAX_LAYER_VALUES // values))
    for split in splits:
        examples = split.examples(model.input_shape[1])
        for ids, masks, outputs in predict_batches(probe, examples, split.n, f"{title} {split.name}", batch_size):
            yield ids, masks, outputs[:-1]


def predict_batches(
    model: keras.Model, examples: tf.data.Dataset, n: int, title: str, batch_size: int = 32, mirrored: bool = False
) -> Iterator[Batch]:
    """The model's outputs of all examples, with a progress bar.

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
