"""Running a network over a dataset.

Letters: N images, H × W pixels, K classes, C channels, P of an image's pixels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from typing import NamedTuple, TypeVar

import keras
import numpy as np
import pandas as pd
import tensorflow as tf
from tqdm import tqdm

from segscope.artefacts.records import Records
from segscope.evaluation.bootstrap import SEED
from segscope.evaluation.predicted import Pixels, Predicted, require_finite
from segscope.limits import MAX_LAYER_VALUES
from segscope.model.dataset import read_records
from segscope.model.layers import hypercolumn
from segscope.model.unet import activations
from segscope.taxonomy import Taxonomy

T = TypeVar("T")
# image_id int64[N], mask of category ids uint8 N × H × W, activations of some layers.
Batch = tuple[np.ndarray, np.ndarray, list[np.ndarray]]
_PIXEL_VALUES = 32768  # of a split whose features are wanted, at most
_PIXEL_IMAGES = 2048  # that they are of, at most
_PER_IMAGE = 64  # at most


class Sampled(NamedTuple):
    """Of which pixels the features are wanted: `each` of the images image_ids, and which position their category is.

    image_ids: int64[n]. position_of_id: as of `Taxonomy`.
    """

    image_ids: np.ndarray
    each: int
    position_of_id: np.ndarray

    def where(self, image_ids: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
        """Row and column of the pixels, int32 N × P each, drawn at random of each image, whichever others there are."""
        draws = [np.random.default_rng([SEED, i % 2**63]).integers(0, size, (2, self.each)) for i in image_ids.tolist()]
        y, x = np.stack(draws, 1).astype(np.int32)
        return y, x


def sampled(images: pd.DataFrame, taxonomy: Taxonomy) -> Sampled:
    """Some pixels of some images of a table, at random; few enough to be held."""
    chosen = np.sort(np.random.default_rng(SEED).permutation(images["image_id"].to_numpy())[:_PIXEL_IMAGES])
    each = min(_PER_IMAGE, _PIXEL_VALUES // max(len(chosen), 1))
    return Sampled(chosen, each, taxonomy.position_of_id)


class Wanted(NamedTuple):
    """What is wanted of a model beside its probabilities.

    layers: whose channels' means over each image. mirrored: whether the mirror images' probabilities are, to have
    steadier ones. pixels: whose features are, if any.
    """

    layers: tuple[str, ...] = ()
    mirrored: bool = False
    pixels: Sampled | None = None


NOTHING_MORE = Wanted()


def set_seeds(seed: int) -> None:
    """Seed all generators that a library may draw from: Python's, NumPy's, TensorFlow's."""
    keras.utils.set_random_seed(seed)


def predict_records(
    model: keras.Model, records: Records, batch_size: int, wanted: Wanted = NOTHING_MORE
) -> Iterator[Predicted]:
    """What the network makes of the records' images; all that is wanted of an image comes of one pass over it."""
    size = model.input_shape[1]
    column = hypercolumn(model) if wanted.pixels else ()
    probe = probe_of(model, wanted.layers, column)

    def predict(ids: np.ndarray, pictures: np.ndarray, masks: np.ndarray) -> Predicted:
        some = wanted.pixels
        here = np.isin(ids, some.image_ids) if some else np.zeros(len(ids), bool)
        y, x = some.where(ids, size) if some and here.any() else np.zeros((2, len(ids), 0), np.int32)
        pixels = tf.cast(pictures, tf.float32)
        p, means, features = probe(pixels, y, x)
        require_finite("outputs", ids, p.numpy())
        if wanted.layers:
            require_finite("activations", ids, means.numpy())
        steadier = (p + probe(pixels[:, :, ::-1], y[:, :0], x[:, :0])[0][:, :, ::-1]) / 2 if wanted.mirrored else None
        of_pixels = None
        if some and here.any():
            of_pixels = Pixels(
                features.numpy()[here], some.position_of_id[masks[np.arange(len(ids))[:, None], y, x]][here], ids[here]
            )
        return Predicted(
            ids,
            masks,
            p.numpy(),
            None if steadier is None else steadier.numpy(),
            means=means.numpy() if wanted.layers else None,
            pixels=of_pixels,
        )

    yield from one_ahead(predict, batches_of(records, size, batch_size))


class Probe:
    """A network that gives, of one pass, probabilities, the means of some layers' channels, features over pixels.

    layers: of which the means are; column: of which the features are, names of the network's.
    """

    def __init__(self, model: keras.Model, layers: Sequence[str] = (), column: Sequence[str] = ()):
        names = tuple(dict.fromkeys((*layers, *column)))
        inner, size = activations(model, names), model.input_shape[1]
        means, features = ([names.index(name) for name in of] for of in (layers, column))

        def run(pictures: tf.Tensor, y: tf.Tensor, x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            outputs = inner(pictures, training=False)
            *maps, logits = outputs if names else [outputs]  # Keras gives one output as itself
            nothing = tf.zeros((0,))
            return (
                tf.nn.softmax(logits),
                tf.concat([tf.reduce_mean(maps[i], (1, 2)) for i in means], 1) if means else nothing,
                tf.concat([_over(maps[i], y, x, size) for i in features], -1) if features else nothing,
            )

        whole = tf.TensorSpec((None, *model.input_shape[1:]), tf.float32)
        where = tf.TensorSpec((None, None), tf.int32)
        self._run = tf.function(run, input_signature=[whole, where, where])

    def __call__(self, pictures: tf.Tensor, y: np.ndarray, x: np.ndarray) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Probabilities float32 N × H × W × K, means float32 N × C, features float32 N × P × C.

        pictures: float32 N × H × W × 3, RGB 0…255. y, x: int32 N × P, row and column of the pixels.
        """
        return self._run(pictures, y, x)

    def means(self, pictures: np.ndarray) -> np.ndarray:
        """The means alone, float32 N × C, of uint8 N × H × W × 3 pictures."""
        nowhere = np.zeros((len(pictures), 0), np.int32)
        return self(tf.cast(pictures, tf.float32), nowhere, nowhere)[1].numpy()


@lru_cache(maxsize=2)
def probe_of(model: keras.Model, layers: tuple[str, ...], column: tuple[str, ...] = ()) -> Probe:
    """A Probe, made once for all parts that a process looks at: TensorFlow takes a second to trace one."""
    return Probe(model, layers, column)


@lru_cache(maxsize=2)
def _maps_of(model: keras.Model, layers: tuple[str, ...]) -> keras.Model:
    return activations(model, layers)


def _over(maps: tf.Tensor, y: tf.Tensor, x: tf.Tensor, size: int) -> tf.Tensor:
    """What lies of N × h × w × C maps over pixels of pictures of a side: N × P × C."""
    height, width = maps.shape[1:3]
    return tf.gather_nd(maps, tf.stack([y * height // size, x * width // size], -1), batch_dims=1)


def layer_means(
    model: keras.Model, layers: Sequence[str], splits: Sequence[Records], title: str
) -> tuple[np.ndarray, np.ndarray]:
    """image_id int64[N] and the means of the layers' channels, float32 N × C, of all images of the records."""
    found = []
    with tqdm(total=sum(map(len, splits)), desc=title, unit="image", disable=None) as bar:
        for records in splits:
            for batch in predict_records(model, records, 32, Wanted(tuple(layers))):
                found.append((batch.image_ids, batch.means))
                bar.update(len(batch.image_ids))
    ids, means = (np.concatenate(each) for each in zip(*found, strict=True))
    return ids, means


def layer_batches(model: keras.Model, layers: Sequence[str], records: Records) -> Iterator[Batch]:
    """The activations of the named layers, of the records' images."""
    probe = _maps_of(model, tuple(layers))
    values = sum(math.prod(output.shape[1:]) for output in probe.outputs)
    batch_size = min(32, max(1, MAX_LAYER_VALUES // values))

    def run(ids: np.ndarray, pictures: np.ndarray, masks: np.ndarray) -> Batch:
        return ids, masks, probe.predict_on_batch(pictures.astype(np.float32))[:-1]

    return one_ahead(run, batches_of(records, model.input_shape[1], batch_size))


def batches_of(records: Records, size: int, batch_size: int) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """image_id int64[N], picture uint8 N × H × W × 3 and mask of category ids uint8 N × H × W, a batch at a time."""
    yield from read_records(records, size).batch(batch_size).prefetch(2).as_numpy_iterator()


def one_ahead(work: Callable[..., T], batches: Iterable[tuple]) -> Iterator[T]:
    """What `work` makes of each batch, in order; while the caller looks at one, it works on the next."""
    with ThreadPoolExecutor(1) as pool:
        waiting: Future[T] | None = None
        for batch in batches:
            following = pool.submit(work, *batch)
            if waiting is not None:
                yield waiting.result()
            waiting = following
        if waiting is not None:
            yield waiting.result()
