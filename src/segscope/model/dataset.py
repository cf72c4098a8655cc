"""The TFRecord shards as tf.data pipelines. Letters: N images, H × W pixels, K classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import tensorflow as tf

from segscope.errors import SegscopeError
from segscope.params import Train
from segscope.taxonomy import IGNORE

FOCUS = 4  # one of so many pictures of a training is a closer look

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


def image_ids(files: Sequence[str]) -> np.ndarray:
    """The ids of the files' examples, int64[N], in order."""
    return np.array([int(_image_id(record)) for record in tf.data.TFRecordDataset(files)], np.int64)


def _image_id(record: tf.Tensor) -> tf.Tensor:
    return tf.io.parse_single_example(record, {"image_id": _FEATURES["image_id"]})["image_id"]


def _parse(record: tf.Tensor, image_size: int) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    row = tf.io.parse_single_example(record, _FEATURES)
    image = tf.ensure_shape(tf.io.decode_png(row["image"], 3), (image_size, image_size, 3))
    mask = tf.ensure_shape(tf.io.decode_png(row["mask"], 1), (image_size, image_size, 1))
    return row["image_id"], image, mask[..., 0]


@dataclass(frozen=True, eq=False)
class Examples:
    """Some examples of TFRecord files, and which class their mask's values are of.

    image_ids: int64[N], of the examples, in file order. image_size: H and W. class_of_id: as of `Taxonomy`.
    """

    files: Sequence[str]
    image_ids: np.ndarray
    image_size: int
    class_of_id: np.ndarray


def training_batches(examples: Examples, options: Train, first: int = 0) -> tf.data.Dataset:
    """(image float32 N × H × W × 3, class uint8 N × H × W), endlessly, from batch `first` on.

    Each pass takes every example once, in an order of its own; with `augment: zoom`, each FOCUS-th picture is one more,
    of `Focus`. Order and augmentation are functions of seed and position, so that a stream that begins later goes on as
    the whole one would. The encoded examples are held in memory.
    """
    pairs = tf.data.TFRecordDataset(examples.files).map(lambda record: (_image_id(record), record))
    ids, held = zip(*pairs.as_numpy_iterator(), strict=True)
    records = tf.constant(np.array(held, object)[np.isin(ids, examples.image_ids)])
    n, lookup, seed = len(records), tf.constant(examples.class_of_id), options.seed
    zooms = options.augment == "zoom"
    focus = Focus(_pixels_of_each(examples)) if zooms else None

    def read(index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        _, image, mask = _parse(records[index], examples.image_size)
        return tf.cast(image, tf.float32), tf.gather(lookup, tf.cast(mask, tf.int32))

    def in_turn(turn: tf.Tensor, position: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        index = tf.random.experimental.index_shuffle(turn % n, tf.stack([seed, turn // n]), n - 1)
        augment = "flip_crop" if zooms else options.augment
        return augmented(*read(index), augment, tf.stack([seed, position]))

    def example(position: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        if focus is None:
            return in_turn(position, position)
        draw = tf.random.stateless_uniform([7], tf.stack([seed, position]))
        index, k = focus.choose(draw[:2])
        return tf.cond(
            position % FOCUS == FOCUS - 1,
            lambda: zoomed(*read(index), k, draw[2:]),
            lambda: in_turn(position - position // FOCUS, position),
        )

    positions = tf.data.Dataset.counter(first * options.batch_size)
    return positions.map(example, num_parallel_calls=tf.data.AUTOTUNE).batch(options.batch_size).prefetch(2)


class Focus:
    """Which example is looked at more closely, for which class: a class, the fewer its pixels the more often; one of
    the examples that show it, each alike.

    pixels: int N × K, of each class but background in each example.
    """

    def __init__(self, pixels: np.ndarray):
        total = pixels.sum(0)
        chance = np.divide(1, total, out=np.zeros(len(total)), where=total > 0)
        showing = [np.flatnonzero(of) for of in pixels.T]
        counts = np.array([len(indices) for indices in showing])
        self._upto = tf.constant(np.cumsum(chance) / chance.sum(), tf.float32)
        self._indices = tf.constant(np.concatenate(showing), tf.int64)
        self._starts, self._counts = tf.constant(np.cumsum(counts) - counts), tf.constant(counts)

    def choose(self, draw: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The example's index, int64, and the class, int64 from 1; draw: float32[2], uniform in [0, 1)."""
        row = tf.reduce_sum(tf.cast(draw[0] >= self._upto, tf.int64))
        return self._indices[self._starts[row] + _one_of(self._counts[row], draw[1])], row + 1


def _one_of(count: tf.Tensor, draw: tf.Tensor) -> tf.Tensor:
    """A number of 0…count - 1, int64; draw: uniform in [0, 1)."""
    # float32 may round a draw near 1 up to count.
    return tf.minimum(tf.cast(draw * tf.cast(count, tf.float32), tf.int64), count - 1)


def _pixels_of_each(examples: Examples) -> np.ndarray:
    """The pixels of each class but background in each example, int N × K, in file order."""
    class_of_id = examples.class_of_id
    size = 1 + int(class_of_id[class_of_id != IGNORE].max())
    masks = read_examples(examples.files, examples.image_size, examples.image_ids).map(lambda _id, _image, mask: mask)
    counts = [np.bincount(class_of_id[mask.ravel()], minlength=256)[:size] for mask in masks.as_numpy_iterator()]
    return np.stack(counts)[:, 1:]


def validation_batches(examples: Examples, batch_size: int) -> tf.data.Dataset:
    """(image float32 N × H × W × 3, class uint8 N × H × W) of the examples, in order."""
    lookup = tf.constant(examples.class_of_id)

    def prepare(_: tf.Tensor, image: tf.Tensor, mask: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return tf.cast(image, tf.float32), tf.gather(lookup, tf.cast(mask, tf.int32))

    read = read_examples(examples.files, examples.image_size, examples.image_ids)
    # Keras takes the end of a dataset of unknown length for an accident.
    counted = read.apply(tf.data.experimental.assert_cardinality(len(examples.image_ids)))
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
        image, mask = _cropped(image, mask, top, left, side)
    return image, mask[..., 0]


def zoomed(image: tf.Tensor, mask: tf.Tensor, k: tf.Tensor, draw: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """A square crop about some pixel of class k, which the mask must show, resized as `augmented` does, maybe mirrored.

    Its side is 0.3 to 1 of the picture's, all ratios alike; the pixel lies within the middle four fifths where the
    picture's edge lets it. draw: float32[5], uniform in [0, 1), of which it is a pure function.
    """
    size = mask.shape[0]
    pixels = tf.where(tf.cast(mask, tf.int64) == k)
    pixel = pixels[_one_of(tf.shape(pixels, tf.int64)[0], draw[0])]
    side = tf.cast(0.3 ** draw[1] * size, tf.int32)
    shift = (0.5 + 0.8 * (draw[2:4] - 0.5)) * tf.cast(side, tf.float32)
    corner = tf.cast(tf.cast(pixel, tf.float32) - shift, tf.int32)
    top, left = tf.unstack(tf.clip_by_value(corner, 0, size - side))
    image, mask = _cropped(image, mask[..., None], top, left, side)
    flip = draw[4] < 0.5
    return tf.where(flip, image[:, ::-1], image), tf.where(flip, mask[:, ::-1], mask)[..., 0]


def _cropped(
    image: tf.Tensor, mask: tf.Tensor, top: tf.Tensor, left: tf.Tensor, side: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    size, box = image.shape[0], (top, left, side, side)
    image = tf.image.resize(tf.image.crop_to_bounding_box(image, *box), (size, size))
    mask = tf.image.resize(tf.image.crop_to_bounding_box(mask, *box), (size, size), method="nearest")
    return tf.ensure_shape(image, (size, size, 3)), tf.ensure_shape(mask, (size, size, 1))


def count_pixels(
    files: Sequence[str], image_size: int, class_of_id: np.ndarray, n_classes: int
) -> tuple[np.ndarray, np.ndarray]:
    """The files' image ids, int64[N], and each class's pixels over them, int64[K]; ignored ones are not counted."""
    ids: list[np.ndarray] = []
    counts = np.zeros(256, np.int64)
    for batch, _, mask in read_examples(files, image_size).batch(64):
        ids.append(batch.numpy())
        counts += np.bincount(class_of_id[mask.numpy().ravel()], minlength=256)
    return np.concatenate(ids), counts[:n_classes]
