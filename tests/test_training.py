import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from sklearn.metrics import jaccard_score, log_loss

from segscope.dataset import augmented, count_pixels, read_examples, shards, training_batches
from segscope.errors import SegscopeError
from segscope.images import encode_png
from segscope.masks import category_classes
from segscope.params import Train
from segscope.records import example, open_shard
from segscope.training import PixelCrossEntropy, class_weights, fit, iou_metrics, make_deterministic

NAMES = ["background", "person", "car"]
CLASS_OF = category_classes({"person": [1], "car": [3]})
SIZE = 16


@pytest.fixture
def examples(tmp_path):
    """Eight pictures: the left half is category 1 and red, the right half category 3 and blue or nothing."""
    with open_shard(tmp_path, "train", 0, 1) as writer:
        for i in range(8):
            mask = np.zeros((SIZE, SIZE), np.uint8)
            mask[:, : SIZE // 2] = 1
            mask[: SIZE // 2, SIZE // 2 :] = 3 if i % 2 else 0
            mask[-1] = 255
            pixels = np.zeros((SIZE, SIZE, 3), np.uint8)
            pixels[mask == 1, 0] = pixels[mask == 3, 2] = 250
            writer.write(
                example({"image_id": i, "image": encode_png(Image.fromarray(pixels)), "mask": encode_png(mask)})
            )
    return read_examples(shards(tmp_path, "train"), SIZE)


def test_examples_are_read_as_written(examples):
    rows = list(examples)
    assert [int(i) for i, _, _ in rows] == list(range(8))
    _, image, mask = rows[1]
    assert mask.numpy()[0].tolist() == [1] * 8 + [3] * 8
    assert image.numpy()[0, 0].tolist() == [250, 0, 0]


def test_a_split_without_files_is_an_error(tmp_path):
    with pytest.raises(SegscopeError, match="no TFRecord file of split val"):
        shards(tmp_path, "val")


def test_pixels_are_counted_without_the_ignored(examples):
    n, pixels = count_pixels(examples, CLASS_OF, 3)
    assert n == 8
    assert pixels.tolist() == [8 * 7 * 8 + 4 * 8 * 8, 8 * 15 * 8, 4 * 8 * 8]


def test_weights_have_mean_one_over_pixels_and_favour_the_rare():
    pixels = np.array([900, 90, 10])
    for scheme, ratio in (("none", 1), ("sqrt_balanced", 3), ("balanced", 9)):
        weights = class_weights(pixels, scheme, NAMES)
        assert (weights * pixels).sum() / pixels.sum() == pytest.approx(1)
        assert weights[2] / weights[1] == pytest.approx(ratio)


def test_a_class_without_pixels_is_an_error():
    with pytest.raises(SegscopeError, match=r"train split has no pixel of class car: choose other images"):
        class_weights(np.array([10, 5, 0]), "none", NAMES)


def test_the_loss_is_weighted_cross_entropy_over_counted_pixels():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(1, 4, 4, 3)).astype(np.float32)
    target = rng.integers(0, 3, (1, 4, 4)).astype(np.uint8)
    target[0, 0] = 255
    weights = [0.5, 2.0, 3.0]
    p = tf.nn.softmax(logits).numpy()[target != 255]
    y = target[target != 255]
    w = np.array(weights)[y]
    expected = log_loss(y, p, labels=range(3), sample_weight=w) * w.mean()
    assert float(PixelCrossEntropy(weights)(target, logits)) == pytest.approx(expected, rel=1e-5)


def test_training_iou_equals_scikit_learns():
    rng = np.random.default_rng(0)
    logits, target = rng.normal(size=(3, 8, 8, 3)), rng.integers(0, 3, (3, 8, 8))
    for k, metric in enumerate(iou_metrics(NAMES), start=1):
        metric.update_state(target, logits)
        expected = jaccard_score(target.ravel(), logits.argmax(-1).ravel(), labels=[k], average=None)[0]
        assert float(metric.result()) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("augment", ["none", "flip", "flip_crop"])
def test_augmentation_varies_picture_and_mask_alike(examples, augment):
    for i, image, mask in examples:
        new_image, new_mask = augmented(tf.cast(image, tf.float32), mask, augment, tf.constant([int(i), 7], tf.int64))
        red = new_image.numpy()[..., 0] > 125
        person = new_mask.numpy() == 1
        ignored = new_mask.numpy() == 255
        assert red[~ignored].shape == person[~ignored].shape
        # Bilinear and nearest resizing differ by at most a pixel along an edge.
        assert (red != person)[~ignored].mean() <= (0 if augment != "flip_crop" else 0.13)


def test_augmentation_is_seeded_and_varies(examples):
    _, image, mask = next(iter(examples))
    image = tf.cast(image, tf.float32)
    results = [augmented(image, mask, "flip_crop", tf.constant([s, 0], tf.int64))[0].numpy() for s in (1, 1, 2, 3, 4)]
    assert np.array_equal(results[0], results[1])
    assert len({r.tobytes() for r in results}) > 2


def tiny_model() -> keras.Model:
    return keras.Sequential([keras.Input((SIZE, SIZE, 3)), keras.layers.Rescaling(1 / 255), keras.layers.Conv2D(3, 1)])


def run(examples, **options):
    make_deterministic(0)
    options = Train(batch_size=4, **options)
    batches = training_batches(examples, CLASS_OF, 4, "flip_crop", 0)
    val = training_batches(examples, CLASS_OF, 4, "none", 0)
    return fit(tiny_model(), batches, val, np.ones(3, np.float32), NAMES, 2, options)


def test_a_model_learns_and_equal_seeds_give_equal_histories(examples):
    first = run(examples, epochs=40, learning_rate=0.1)
    second = run(examples, epochs=40, learning_rate=0.1)
    assert first["val_iou_person"].iloc[-1] > 0.95
    assert first["epoch"].tolist() == list(range(1, 41))
    assert first.equals(second)


def test_divergence_is_an_error(examples):
    def broken() -> keras.Model:
        model = tiny_model()
        model.layers[-1].bias.assign([np.nan, 0, 0])
        return model

    batches = training_batches(examples, CLASS_OF, 4, "none", 0)
    with pytest.raises(SegscopeError, match=r"training diverged in epoch 1 .* lower train\.learning_rate"):
        fit(broken(), batches, batches, np.ones(3, np.float32), NAMES, 2, Train(epochs=3))
