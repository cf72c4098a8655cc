import json
import shutil
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from PIL import Image
from sklearn.metrics import jaccard_score, log_loss

from segscope import training
from segscope.dataset import augmented, count_pixels, read_examples, shards, training_batches, validation_batches
from segscope.errors import SegscopeError
from segscope.images import encode_png
from segscope.masks import category_classes
from segscope.params import Train
from segscope.records import example, open_shard
from segscope.training import Checkpoint, PixelCrossEntropy, SegmentationMetrics, class_weights, fit, make_deterministic

NAMES = ["background", "person", "car"]
CLASS_OF = category_classes({"person": [1], "car": [3]})
SIZE = 16


@pytest.fixture
def files(tmp_path):
    """Eight pictures: the left half is category 1 and red, the right half category 3 and blue or nothing."""
    with open_shard(tmp_path, "train", 0, 1) as writer:
        for i in range(8):
            mask = np.zeros((SIZE, SIZE), np.uint8)
            mask[:, : SIZE // 2] = 1
            mask[: SIZE // 2, SIZE // 2 :] = 3 if i % 2 else 0
            mask[-1] = 255
            pixels = np.zeros((SIZE, SIZE, 3), np.uint8)
            pixels[mask == 1, 0] = pixels[mask == 3, 2] = 250 - i
            writer.write(
                example({"image_id": i, "image": encode_png(Image.fromarray(pixels)), "mask": encode_png(mask)})
            )
    return shards(tmp_path, "train")


@pytest.fixture
def examples(files):
    return read_examples(files, SIZE)


def test_examples_are_read_as_written(examples):
    rows = list(examples)
    assert [int(i) for i, _, _ in rows] == list(range(8))
    _, image, mask = rows[1]
    assert mask.numpy()[0].tolist() == [1] * 8 + [3] * 8
    assert image.numpy()[0, 0].tolist() == [249, 0, 0]


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


def test_training_metrics_equal_scikit_learns():
    rng = np.random.default_rng(0)
    logits, target = rng.normal(size=(5, 8, 8, 3)), rng.integers(0, 3, (5, 8, 8))
    target[0][target[0] == 2] = 0
    target[1, :3] = 255
    metric = SegmentationMetrics(NAMES)
    metric.update_state(target[:2], logits[:2])
    metric.update_state(target[2:], logits[2:])
    found = {name: float(value) for name, value in metric.result().items()}
    counted, predicted = target != 255, logits.argmax(-1)
    for k, name in ((1, "person"), (2, "car")):
        expected = jaccard_score(target[counted], predicted[counted], labels=[k], average=None)[0]
        assert found[f"iou_{name}"] == pytest.approx(expected, rel=1e-5)
        images = [
            jaccard_score(t[c], p[c], labels=[k], average=None)[0]
            for t, p, c in zip(target, predicted, counted, strict=True)
            if (t == k).any()
        ]
        assert found[f"mean_iou_{name}"] == pytest.approx(np.mean(images), rel=1e-5)
    assert set(found) == {"iou_person", "iou_car", "mean_iou_person", "mean_iou_car"}


def reds(batches, n) -> list[list[int]]:
    """The numbers of the pictures of n batches, told by their red."""
    return [(250 - images.numpy()[:, :, :, 0].max((1, 2))).astype(int).tolist() for images, _ in batches.take(n)]


def test_each_pass_takes_every_example_once_in_another_order(files):
    order = reds(training_batches(files, SIZE, CLASS_OF, 4, "flip", 0), 6)
    passes = [order[i] + order[i + 1] for i in (0, 2, 4)]
    assert all(sorted(numbers) == list(range(8)) for numbers in passes)
    assert len({tuple(numbers) for numbers in passes}) == 3
    assert reds(training_batches(files, SIZE, CLASS_OF, 4, "flip", 1), 6) != order


def test_a_stream_that_begins_later_goes_on_as_the_whole_one(files):
    whole = list(training_batches(files, SIZE, CLASS_OF, 3, "flip_crop", 0).take(9))
    later = list(training_batches(files, SIZE, CLASS_OF, 3, "flip_crop", 0, first=5).take(4))
    for (image, mask), (other_image, other_mask) in zip(whole[5:], later, strict=True):
        assert np.array_equal(image, other_image)
        assert np.array_equal(mask, other_mask)


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


def val(files) -> tf.data.Dataset:
    examples = read_examples(files, SIZE)
    return validation_batches(examples, len(list(examples)), CLASS_OF, 4)


def run(files, folder: Path, model: keras.Model | None = None, patience: int = 100, **options) -> pd.DataFrame:
    make_deterministic(0)
    options = Train(batch_size=4, patience=patience, **options)
    return fit(
        model or tiny_model(),
        lambda first: training_batches(files, SIZE, CLASS_OF, 4, "flip_crop", 0, first),
        val(files),
        PixelCrossEntropy(np.ones(3)),
        NAMES,
        2,
        options,
        Checkpoint(folder / "checkpoint", "one", patience),
        folder / "live",
    )


def test_a_model_learns_and_equal_seeds_give_equal_histories(files, tmp_path):
    first = run(files, tmp_path / "a", epochs=40, learning_rate=0.1)
    second = run(files, tmp_path / "b", epochs=40, learning_rate=0.1)
    assert first["val_iou_person"].iloc[-1] > 0.95
    assert first["epoch"].tolist() == list(range(1, 41))
    assert first["learning_rate"].is_monotonic_decreasing
    assert first.equals(second)


class Killed(BaseException):
    pass


class KillAfter(keras.callbacks.Callback):
    def __init__(self, epochs: int):
        super().__init__()
        self.epochs = epochs

    def on_train_batch_begin(self, batch, logs=None):
        if self.model.optimizer.iterations >= 2 * self.epochs + 1:
            raise Killed


def test_a_killed_training_goes_on_and_ends_as_if_it_had_not_been(files, tmp_path, monkeypatch):
    whole_model, model = tiny_model(), tiny_model()
    model.set_weights(whole_model.get_weights())
    undisturbed = run(files, tmp_path / "a", whole_model, epochs=6, learning_rate=0.05)
    for epochs in (1, 4):
        # In the middle of the epoch after that one.
        monkeypatch.setattr(training.keras.callbacks, "TerminateOnNaN", lambda n=epochs: KillAfter(n))
        with pytest.raises(Killed):
            run(files, tmp_path / "b", model, epochs=6, learning_rate=0.05)
    monkeypatch.undo()
    resumed = run(files, tmp_path / "b", tiny_model(), epochs=6, learning_rate=0.05)
    assert resumed.equals(undisturbed)
    live = {folder: sorted((tmp_path / folder / "live" / "plots").rglob("*.tsv")) for folder in "ab"}
    assert len(live["a"]) == 11
    assert [file.name for file in live["a"]] == [file.name for file in live["b"]]
    log = tmp_path / "b" / "live" / "plots" / "metrics" / "val" / "iou_person.tsv"
    values = pd.read_csv(log, sep="\t")["iou_person"]
    assert values.to_numpy() == pytest.approx(undisturbed["val_iou_person"].to_numpy())


def test_the_best_epoch_is_restored_and_patience_ends_the_training(files, tmp_path):
    model = tiny_model()
    history = run(files, tmp_path, model, patience=3, epochs=60, learning_rate=1.0, schedule="constant")
    order = pd.DataFrame({"score": history[["val_mean_iou_person", "val_mean_iou_car"]].mean(axis=1)})
    order["loss"] = -history["val_loss"]
    best = order.sort_values(["score", "loss"]).index[-1]
    assert len(history) == best + 1 + 3 < 60
    metric = SegmentationMetrics(NAMES)
    for images, target in val(files):
        metric.update_state(target, model(images, training=False))
    assert float(metric.result()["mean_iou_car"]) == pytest.approx(history["val_mean_iou_car"][best], abs=1e-6)
    shutil.rmtree(tmp_path / "live")
    again = run(files, tmp_path, tiny_model(), patience=3, epochs=60, learning_rate=1.0, schedule="constant")
    assert again.equals(history)
    assert len(pd.read_csv(tmp_path / "live" / "plots" / "metrics" / "val" / "loss.tsv", sep="\t")) == len(history)


def test_a_checkpoint_of_another_training_is_not_used(files, tmp_path):
    run(files, tmp_path, epochs=2)
    assert Checkpoint(tmp_path / "checkpoint", "one", 1).history
    assert not Checkpoint(tmp_path / "checkpoint", "another", 1).history
    assert not (tmp_path / "checkpoint").exists()


def test_the_fingerprint_changes_with_settings_and_files(files):
    file = Path(files[0])
    first = training.fingerprint({"epochs": 1}, [file])
    assert training.fingerprint({"epochs": 1}, [file]) == first
    assert training.fingerprint({"epochs": 2}, [file]) != first
    file.write_bytes(file.read_bytes() + b"more")
    assert training.fingerprint({"epochs": 1}, [file]) != first


def test_divergence_is_an_error_and_leaves_no_checkpoint(files, tmp_path):
    model = tiny_model()
    model.layers[-1].bias.assign([np.nan, 0, 0])
    with pytest.raises(SegscopeError, match=r"training diverged in epoch 1 .* lower train\.learning_rate"):
        run(files, tmp_path, model, epochs=3)
    assert not (tmp_path / "checkpoint").exists()


def test_one_image_is_enough(tmp_path):
    with open_shard(tmp_path, "train", 0, 1) as writer:
        pixels = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
        mask = np.repeat(np.array([0, 1, 3, 3], np.uint8), SIZE * SIZE // 4).reshape(SIZE, SIZE)
        writer.write(example({"image_id": 1, "image": encode_png(Image.fromarray(pixels)), "mask": encode_png(mask)}))
    history = run(shards(tmp_path, "train"), tmp_path, epochs=2)
    assert np.isfinite(history["val_loss"]).all()


@pytest.mark.parametrize("options", [{"xla": True}, {"precision": "mixed_bfloat16"}, {"precision": "mixed_float16"}])
def test_xla_and_mixed_precision_train_nearly_alike(files, tmp_path, options):
    size, losses = 32, []
    for kind in ({}, options):
        make_deterministic(0)
        model = training.build_model("none", None, size, 3, Train(**kind))
        wanted = kind.get("precision", "float32").removeprefix("mixed_")
        assert model.get_layer("up_1_conv").compute_dtype == wanted
        assert model.output.dtype == "float32"
        batches = training_batches(files, SIZE, CLASS_OF, 4, "none", 0)
        enlarged = batches.map(lambda x, y: (tf.repeat(tf.repeat(x, 2, 1), 2, 2), tf.repeat(tf.repeat(y, 2, 1), 2, 2)))
        history = fit(
            model,
            lambda first, data=enlarged: data,
            enlarged.take(2),
            PixelCrossEntropy(np.ones(3)),
            NAMES,
            4,
            Train(epochs=2, **kind),
            Checkpoint(tmp_path / "checkpoint", str(kind), 9),
            tmp_path / "live",
        )
        losses.append(history["loss"].to_numpy())
        saved = training.in_float32(model)
        assert {layer.compute_dtype for layer in saved.layers} == {"float32"}
        for images, _ in enlarged.take(1):
            expected = model(images, training=False)
            assert np.allclose(saved(images, training=False), expected, atol=0.05 * np.abs(expected).max() + 1e-3)
    assert losses[1] == pytest.approx(losses[0], rel=0.03)


MIRRORED = """
import json, sys
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
sys.path.insert(0, {tests!r})
from test_training import *
with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
    model = tiny_model()
assert model.distribute_strategy.num_replicas_in_sync == 2
model.set_weights([np.full(w.shape, 0.01, np.float32) for w in model.get_weights()])
history = run({files!r}, Path({folder!r}), model, epochs=3)
print(json.dumps(history.to_dict("list")))
"""


def test_two_devices_train_as_one(files, tmp_path):
    code = MIRRORED.format(tests=str(Path(__file__).parent), files=files, folder=str(tmp_path / "mirrored"))
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    mirrored = json.loads(result.stdout.splitlines()[-1])
    model = tiny_model()
    model.set_weights([np.full(w.shape, 0.01, np.float32) for w in model.get_weights()])
    single = run(files, tmp_path / "single", model, epochs=3)
    for key in single:
        assert mirrored[key] == pytest.approx(single[key].tolist(), rel=1e-4), key
