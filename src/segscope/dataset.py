"""The TFRecord shards as tf.data pipelines. Letters: N images, H × W pixels, K classes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import tensorflow as tf

from segscope.errors import SegscopeError

_FEATURES = {
    "image_id": tf.io.FixedLenFeature([], tf.int64),
    "image": tf.io.FixedLenFeature([], tf.string),
    "mask": tf.io.FixedLenFeature([], tf.string),
}


def shards(folder: Path, split: str) -> list[str]:
    """The split's TFRecord files in order. Raises SegscopeError if there are none."""
    files = sorted(str(path) for path in Path(folder).glob(f"{split}-*.tfrecord"))
    if not files:
        raise SegscopeError(f"{folder} has no TFRecord file of split {split}; run `dvc repro masks`")
    return files


def read_examples(files: Sequence[str], image_size: int, only: np.ndarray | None = None) -> tf.data.Dataset:
    """(image_id int64, image uint8 H × W × 3, mask of COCO category ids uint8 H × W), in file order.

    only: image ids, to read the examples of these alone.
    """
    records = tf.data.TFRecordDataset(files)
    if only is not None:
        wanted = tf.constant(only, tf.int64)
        records = records.filter(lambda record: tf.reduce_any(_image_id(record) == wanted))
    return records.map(partial(_parse, image_size=image_size), num_parallel_calls=tf.data.AUTOTUNE)


def _image_id(record: tf.Tensor) -> tf.Tensor:
    return tf.io.parse_single_example(record, {"image_id": _FEATURES["image_id"]})["image_id"]


def read_ids(files: Sequence[str]) -> np.ndarray:
    """The image ids of all examples, int64[N], in file order."""
    ids = tf.data.TFRecordDataset(files).map(_image_id, num_parallel_calls=tf.data.AUTOTUNE)
    return np.array(list(ids.as_numpy_iterator()), np.int64)


def _parse(record: tf.Tensor, image_size: int) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    row = tf.io.parse_single_example(record, _FEATURES)
    image = tf.ensure_shape(tf.io.decode_png(row["image"], 3), (image_size, image_size, 3))
    mask = tf.ensure_shape(tf.io.decode_png(row["mask"], 1), (image_size, image_size, 1))
    return row["image_id"], image, mask[..., 0]


def training_batches(
    files: Sequence[str],
    image_size: int,
    class_of: np.ndarray,
    batch_size: int,
    augment: str,
    seed: int,
    first: int = 0,
    only: np.ndarray | None = None,
) -> tf.data.Dataset:
    """(image float32 N × H × W × 3, class uint8 N × H × W), endlessly, from batch `first` on.

    Each pass takes every example once, in an order of its own. Order and augmentation are functions of seed and
    position, so that a stream that begins later goes on as the whole one would. The encoded examples are held in
    memory. class_of: the lookup table of `masks.category_classes`. augment: see `augmented`. only: as `read_examples`.
    """
    records = np.array(list(tf.data.TFRecordDataset(files).as_numpy_iterator()), object)
    records = tf.constant(records if only is None else records[np.isin(read_ids(files), only)])
    n, lookup = len(records), tf.constant(class_of)

    def example(position: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        index = tf.random.experimental.index_shuffle(position % n, tf.stack([seed, position // n]), n - 1)
        _, image, mask = _parse(records[index], image_size)
        label = tf.gather(lookup, tf.cast(mask, tf.int32))
        return augmented(tf.cast(image, tf.float32), label, augment, tf.stack([seed, position]))

    positions = tf.data.Dataset.counter(first * batch_size)
    return positions.map(example, num_parallel_calls=tf.data.AUTOTUNE).batch(batch_size).prefetch(2)


def validation_batches(examples: tf.data.Dataset, n: int, class_of: np.ndarray, batch_size: int) -> tf.data.Dataset:
    """(image float32 N × H × W × 3, class uint8 N × H × W) of the n examples of `read_examples`, in order."""
    lookup = tf.constant(class_of)

    def prepare(_: tf.Tensor, image: tf.Tensor, mask: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return tf.cast(image, tf.float32), tf.gather(lookup, tf.cast(mask, tf.int32))

    # Keras takes the end of a dataset of unknown length for an accident.
    counted = examples.apply(tf.data.experimental.assert_cardinality(n))
    return counted.map(prepare, num_parallel_calls=tf.data.AUTOTUNE).batch(batch_size).prefetch(2)


def augmented(image: tf.Tensor, mask: tf.Tensor, augment: str, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Vary one image and its mask alike; a pure function of the seed (int64[2]).

    augment: `none`; `flip`: mirrored with probability 1/2; `flip_crop`: also a square crop of 0.5 to 1 of the
    side, anywhere, resized back (bilinear; the mask by nearest neighbour).
    """
    if augment == "none":
        return image, mask
    mask = mask[..., None]
    draw = tf.random.stateless_uniform([4], seed)
    flip = draw[0] < 0.5
    image = tf.cond(flip, lambda: tf.image.flip_left_right(image), lambda: image)
    mask = tf.cond(flip, lambda: tf.image.flip_left_right(mask), lambda: mask)
    if augment == "flip_crop":
        size = image.shape[0]
        side = tf.cast((0.5 + draw[1] / 2) * size, tf.int32)
        top, left = tf.unstack(tf.cast(draw[2:] * tf.cast(size - side + 1, tf.float32), tf.int32))
        image = tf.image.resize(tf.image.crop_to_bounding_box(image, top, left, side, side), (size, size))
        mask = tf.image.resize(
            tf.image.crop_to_bounding_box(mask, top, left, side, side), (size, size), method="nearest"
        )
        image = tf.ensure_shape(image, (size, size, 3))
        mask = tf.ensure_shape(mask, (size, size, 1))
    return image, mask[..., 0]


def count_pixels(examples: tf.data.Dataset, class_of: np.ndarray, n_classes: int) -> tuple[int, np.ndarray]:
    """The number of examples, and the pixels of each class over them, int64[K]; ignored pixels are not counted."""
    n, counts = 0, np.zeros(256, np.int64)
    for _, _, mask in examples.batch(64):
        n += len(mask)
        counts += np.bincount(class_of[mask.numpy().ravel()], minlength=256)
    return n, counts[:n_classes]
