"""The TFRecord shards as tf.data pipelines. Letters: N images, H × W pixels, K classes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import tensorflow as tf

from segscope.artefacts.files import read_json
from segscope.artefacts.records import Records, count_records, index_records, shard_name
from segscope.errors import SegscopeError, made_by
from segscope.params import Train

FOCUS = 4  # one of so many pictures of a training is a closer look

_FEATURES = {
    "image_id": tf.io.FixedLenFeature([], tf.int64),
    "image": tf.io.FixedLenFeature([], tf.string),
    "mask": tf.io.FixedLenFeature([], tf.string),
}


def shards(folder: Path, split: str) -> list[str]:
    """The split's TFRecord files in order. Raises SegscopeError if there are none, or some are missing or cut off."""
    files = sorted(Path(folder).glob(f"{split}-*.tfrecord"))
    if not files:
        raise SegscopeError(f"{folder} has no TFRecord file of split {split}; run `dvc repro masks`")
    if [file.name for file in files] != [shard_name(split, number, len(files)) for number in range(len(files))]:
        raise SegscopeError(f"{folder} has not each TFRecord file of split {split} once; run `dvc repro masks`")
    counts = Path(folder) / f"{split}.json"  # which whoever writes shards alone may leave out
    held = read_json(counts, dict[str, int], made_by("masks")) if counts.exists() else {}
    for file in files:
        if (count := count_records(str(file))) != held.get(file.name, count):
            whole = held[file.name]
            raise SegscopeError(f"{file} is not whole ({count} of {whole} records); {made_by('masks')}")
    return [*map(str, files)]


def split_records(folder: Path, image_size: int, *splits: str) -> Records:
    """The records of splits. Raises SegscopeError as `shards` and `index_records` do."""
    return index_records([file for split in splits for file in shards(folder, split)], image_size)


def read_records(records: Records, image_size: int) -> tf.data.Dataset:
    """(image_id int64, image uint8 H × W × 3, mask of COCO category ids uint8 H × W) of records, in their order."""
    fetch = _fetcher(records)
    return tf.data.Dataset.range(len(records)).map(
        lambda index: _parse(fetch(index), image_size), num_parallel_calls=tf.data.AUTOTUNE
    )


def _fetcher(records: Records) -> Callable[[tf.Tensor], tf.Tensor]:
    """A record's bytes, of its index."""

    def fetch(index: tf.Tensor) -> tf.Tensor:
        # Said to have no state, for else determinism has one read at a time.
        return tf.ensure_shape(tf.numpy_function(records.read, [index], tf.string, stateful=False), [])

    return fetch


def _parse(record: tf.Tensor, image_size: int) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    row = tf.io.parse_single_example(record, _FEATURES)
    image = tf.ensure_shape(tf.io.decode_png(row["image"], 3), (image_size, image_size, 3))
    return row["image_id"], image, _mask(row, image_size)


def _mask(row: Mapping[str, tf.Tensor], image_size: int) -> tf.Tensor:
    return tf.ensure_shape(tf.io.decode_png(row["mask"], 1), (image_size, image_size, 1))[..., 0]


@dataclass(frozen=True, eq=False)
class Examples:
    """N examples of TFRecord files, in file order, and which class their masks' values are of.

    image_size: H and W. class_of_id: as of `Taxonomy`. pixels: int64 N × K, of each class, background first, in each.
    """

    records: Records
    image_size: int
    class_of_id: np.ndarray
    pixels: np.ndarray

    @property
    def image_ids(self) -> np.ndarray:
        """int64[N]."""
        return self.records.image_id

    @property
    def files(self) -> tuple[str, ...]:
        """The TFRecord files."""
        return self.records.files

    def __getitem__(self, which: slice | np.ndarray) -> Examples:
        """Some of them. which: a slice, indices or bool[N]."""
        return replace(self, records=self.records[which], pixels=self.pixels[which])


def open_records(files: Sequence[str], image_size: int) -> Records:
    """All records of TFRecord files. Raises SegscopeError if there are none, and as `index_records` does."""
    records = index_records(files, image_size)
    if not len(records):
        raise SegscopeError(f"{files[0]} and its like hold no image; run `dvc repro masks`")
    return records


def open_examples(files: Sequence[str], image_size: int, class_of_id: np.ndarray, n_classes: int) -> Examples:
    """All examples of TFRecord files. Raises SegscopeError as `open_records` does."""
    records = open_records(files, image_size)
    return Examples(records, image_size, class_of_id, _count_pixels(records, image_size, class_of_id, n_classes))


def _count_pixels(records: Records, image_size: int, class_of_id: np.ndarray, n_classes: int) -> np.ndarray:
    """The pixels of each class in each record's mask, int64 N × K; ignored ones are not counted."""
    fetch, features = _fetcher(records), {"mask": _FEATURES["mask"]}
    masks = tf.data.Dataset.range(len(records)).map(
        lambda index: _mask(tf.io.parse_single_example(fetch(index), features), image_size),
        num_parallel_calls=tf.data.AUTOTUNE,
    )
    counts = np.zeros((len(records), n_classes), np.int64)
    for of_image, mask in zip(counts, masks.as_numpy_iterator(), strict=True):
        of_image += np.bincount(class_of_id[mask.ravel()], minlength=n_classes)[:n_classes]
    return counts


def training_batches(examples: Examples, options: Train, first: int = 0) -> tf.data.Dataset:
    """(image float32 N × H × W × 3, class uint8 N × H × W), endlessly, from batch `first` on.

    Each pass takes every example once, in an order of its own; with `augment: zoom`, each FOCUS-th picture is one more,
    of `Focus`. Order and augmentation are functions of seed and position, so that a stream that begins later goes on as
    the whole one would. An example is read from its file when its turn comes.
    """
    n, lookup, seed = len(examples.records), tf.constant(examples.class_of_id), options.seed
    focus = Focus(examples.pixels[:, 1:]) if options.augment == "zoom" else None
    fetch = _fetcher(examples.records)

    def read(index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        _, image, mask = _parse(fetch(index), examples.image_size)
        return tf.cast(image, tf.float32), tf.gather(lookup, tf.cast(mask, tf.int32))

    def in_turn(turn: tf.Tensor) -> tf.Tensor:
        return tf.random.experimental.index_shuffle(turn % n, tf.stack([seed, turn // n]), n - 1)

    def example(position: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        own = tf.stack([seed, position])
        if focus is None:
            return augmented(*read(in_turn(position)), options.augment, own)
        draw, closer = tf.random.stateless_uniform([7], own), position % FOCUS == FOCUS - 1
        shown, k = focus.choose(draw[:2])
        image, mask = read(tf.where(closer, shown, in_turn(position - position // FOCUS)))
        return tf.cond(
            closer, lambda: zoomed(image, mask, k, draw[2:]), lambda: augmented(image, mask, "flip_crop", own)
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


def validation_batches(examples: Examples, batch_size: int) -> tf.data.Dataset:
    """(image float32 N × H × W × 3, class uint8 N × H × W) of the examples, in order."""
    lookup = tf.constant(examples.class_of_id)

    def prepare(_: tf.Tensor, image: tf.Tensor, mask: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return tf.cast(image, tf.float32), tf.gather(lookup, tf.cast(mask, tf.int32))

    read = read_records(examples.records, examples.image_size)
    return read.map(prepare, num_parallel_calls=tf.data.AUTOTUNE).batch(batch_size).prefetch(2)


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
