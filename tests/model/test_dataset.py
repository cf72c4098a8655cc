from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from pictures import SIZE, TAXONOMY, write_examples, write_pictures

from segscope.artefacts.records import index_records, open_shard
from segscope.errors import SegscopeError
from segscope.labels.conversion import Converted
from segscope.labels.shards import write_shards
from segscope.model.dataset import (
    FOCUS,
    Examples,
    Focus,
    augmented,
    open_examples,
    read_records,
    shards,
    training_batches,
    validation_batches,
    zoomed,
)
from segscope.params import Train


@pytest.fixture
def files(tmp_path):
    return write_pictures(tmp_path)


def examples(files) -> Examples:
    return open_examples(files, SIZE, TAXONOMY.class_of_id, len(TAXONOMY.class_names))


def test_examples_are_read_as_written(files):
    rows = list(read_records(index_records(files, SIZE), SIZE))
    assert [int(i) for i, _, _ in rows] == list(range(8))
    _, image, mask = rows[1]
    assert mask.numpy()[0].tolist() == [1] * 8 + [3] * 8
    assert image.numpy()[0, 0].tolist() == [249, 0, 0]


def test_a_split_without_files_is_an_error(tmp_path):
    with pytest.raises(SegscopeError, match="no TFRecord file of split val"):
        shards(tmp_path, "val")


def test_a_split_that_lacks_a_file_is_an_error(tmp_path):
    for number in range(3):
        with open_shard(tmp_path, "val", number, 3):
            pass
    files = shards(tmp_path, "val")
    assert [Path(file).name for file in files] == [f"val-0000{number}-of-00003.tfrecord" for number in range(3)]
    Path(files[2]).unlink()
    with pytest.raises(SegscopeError, match="has not each TFRecord file of split val once; run `dvc repro masks`"):
        shards(tmp_path, "val")


@pytest.mark.parametrize("whole", [0, 1, 2])
def test_a_file_that_ends_between_two_records_is_not_whole(whole, tmp_path):
    pictures = (Converted(i, record, []) for i, record in enumerate([b"one", b"two", b"three"]))
    list(write_shards(tmp_path, "val", 3, pictures))
    (file,) = shards(tmp_path, "val")
    rest = len(b"".join([b"one", b"two", b"three"][:whole])) + 16 * whole
    Path(file).write_bytes(Path(file).read_bytes()[:rest])
    with pytest.raises(SegscopeError, match=rf"val-00000-of-00001.tfrecord is not whole \({whole} of 3 records\); run"):
        shards(tmp_path, "val")


def test_a_split_without_an_image_is_an_error(tmp_path):
    with open_shard(tmp_path, "val", 0, 1):
        pass
    with pytest.raises(SegscopeError, match="hold no image; run `dvc repro masks`"):
        examples(shards(tmp_path, "val"))


def test_the_examples_named_are_read_alone_in_the_order_of_the_files(files):
    some = index_records(files, SIZE).of(np.array([6, 1, 4, 9]))
    assert [int(i) for i, _, _ in read_records(some, SIZE)] == [1, 4, 6]
    assert list(read_records(index_records(files, SIZE).of(np.array([], int)), SIZE)) == []


def test_pixels_of_each_class_are_counted_in_each_example_without_the_ignored(files):
    found = examples(files)
    assert found.image_ids.tolist() == list(range(8))
    # The last of 16 rows is ignored; of the odd ones' right half, the upper half is car.
    assert found.pixels.tolist() == [[15 * 8, 15 * 8, 0], [7 * 8, 15 * 8, 8 * 8]] * 4


def reds(batches, n) -> list[list[int]]:
    """The numbers of the pictures of n batches, told by their red."""
    return [(250 - images.numpy()[:, :, :, 0].max((1, 2))).astype(int).tolist() for images, _ in batches.take(n)]


def flips(seed: int) -> Train:
    return Train(batch_size=4, augment="flip", seeds=[seed])


def test_each_pass_takes_every_example_once_in_another_order(files):
    order = reds(training_batches(examples(files), flips(0)), 6)
    passes = [order[i] + order[i + 1] for i in (0, 2, 4)]
    assert all(sorted(numbers) == list(range(8)) for numbers in passes)
    assert len({tuple(numbers) for numbers in passes}) == 3
    assert reds(training_batches(examples(files), flips(1)), 6) != order


def test_only_the_examples_named_are_taken(files):
    some = examples(files)[np.array([1, 4, 6, 7])]
    order = reds(training_batches(some, flips(0)), 2)
    assert [sorted(numbers) for numbers in order] == [[1, 4, 6, 7]] * 2
    assert reds(validation_batches(some, 3), 9) == [[1, 4, 6], [7]]


@pytest.mark.parametrize("augment", ["flip_crop", "zoom"])
def test_a_stream_that_begins_later_goes_on_as_the_whole_one(files, augment):
    options = Train(batch_size=3, augment=augment)
    whole = list(training_batches(examples(files), options).take(9))
    later = list(training_batches(examples(files), options, first=5).take(4))
    for (image, mask), (other_image, other_mask) in zip(whole[5:], later, strict=True):
        assert np.array_equal(image, other_image)
        assert np.array_equal(mask, other_mask)


@pytest.mark.parametrize("augment", ["none", "flip", "flip_crop"])
def test_augmentation_varies_picture_and_mask_alike(files, augment):
    for i, image, mask in read_records(index_records(files, SIZE), SIZE):
        new_image, new_mask = augmented(tf.cast(image, tf.float32), mask, augment, tf.constant([int(i), 7], tf.int64))
        red = new_image.numpy()[..., 0] > 125
        person = new_mask.numpy() == 1
        ignored = new_mask.numpy() == 255
        assert red[~ignored].shape == person[~ignored].shape
        # Bilinear and nearest resizing differ by at most a pixel along an edge.
        assert (red != person)[~ignored].mean() <= (0 if augment != "flip_crop" else 0.13)


def test_augmentation_is_seeded_and_varies(files):
    _, image, mask = next(iter(read_records(index_records(files, SIZE), SIZE)))
    image = tf.cast(image, tf.float32)
    results = [augmented(image, mask, "flip_crop", tf.constant([s, 0], tf.int64))[0].numpy() for s in (1, 1, 2, 3, 4)]
    assert np.array_equal(results[0], results[1])
    assert len({r.tobytes() for r in results}) > 2


def test_a_closer_look_is_at_a_class_the_rarer_the_more_often_and_at_each_example_that_shows_it_alike():
    # Of the first class 90 pixels in two examples, of the second 10 in one, of the third none.
    focus = Focus(np.array([[80, 0, 0], [10, 10, 0], [0, 0, 0]]))
    draws = [
        (class_draw, index_draw) for class_draw in np.arange(0, 1, 0.01) for index_draw in (0, 0.4, 0.6, 0.99999999)
    ]
    chosen = [tuple(int(x) for x in focus.choose(tf.constant(draw, tf.float32))) for draw in draws]
    assert {pair: chosen.count(pair) for pair in set(chosen)} == {(0, 1): 20, (1, 1): 20, (1, 2): 360}


def test_a_closer_look_shows_the_class_and_varies_picture_and_mask_alike():
    size = 32
    mask = np.zeros((size, size), np.uint8)
    mask[3:6, 20:24] = 2
    picture = np.where(mask[..., None] == 2, np.float32(255), np.float32(0)).repeat(3, -1)
    draws = np.random.default_rng(0).random((60, 5)).astype(np.float32)
    shares = []
    for draw in (*draws, np.full(5, 1 - 2**-24, np.float32), np.zeros(5, np.float32)):
        image, label = zoomed(tf.constant(picture), tf.constant(mask), tf.constant(2, tf.int64), tf.constant(draw))
        assert image.shape == (size, size, 3)
        assert (label.numpy() == 2).any()
        assert ((image.numpy()[..., 0] > 127) != (label.numpy() == 2)).mean() < 0.13
        shares.append((label.numpy() == 2).mean())
    # From as it is to 1 / 0.3 of the size.
    assert min(shares) == (mask == 2).mean()
    assert max(shares) > 6 * (mask == 2).mean()


def test_every_so_manieth_picture_is_a_closer_look_and_the_others_take_every_example_once(tmp_path):
    # The one car is a pixel in a black picture, so that most crops of it look like no picture as it is.
    masks = np.zeros((6, SIZE, SIZE), np.uint8)
    masks[0, 5, 5] = 3
    images = np.full((6, SIZE, SIZE, 3), 0, np.uint8) + np.arange(0, 60, 10, dtype=np.uint8)[:, None, None, None]
    found = examples(write_examples(tmp_path, images, masks))
    ((picture, _),) = training_batches(found, Train(batch_size=24, augment="zoom")).take(1)
    numbers = (picture.numpy().mean((1, 2, 3)) / 10).round().astype(int)
    closer = np.arange(24) % FOCUS == FOCUS - 1
    assert set(numbers[closer]) == {0}
    in_turn = numbers[~closer].reshape(-1, 6)
    assert np.sort(in_turn).tolist() == [list(range(6))] * 3
