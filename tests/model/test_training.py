import json
import shutil
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
from pictures import (
    CATEGORIES,
    NAMES,
    SIZE,
    TAXONOMY,
    tiny_model,
    training_of,
    write_examples,
    write_pictures,
)
from scipy.special import softmax

from segscope.errors import SegscopeError
from segscope.evaluation.loss import pixel_loss
from segscope.model import saving, training
from segscope.model.callbacks import Checkpoint
from segscope.model.dataset import Examples, validation_batches
from segscope.model.history import best_metrics
from segscope.model.objective import SegmentationMetrics
from segscope.model.training import (
    Training,
    fit,
    hold_out,
    make_deterministic,
    prepare_training,
    train,
    training_measures,
)
from segscope.params import Train
from segscope.taxonomy import Taxonomy


@pytest.fixture
def files(tmp_path):
    return write_pictures(tmp_path)


def run(training: Training, folder: Path, model: keras.Model | None = None) -> pd.DataFrame:
    make_deterministic(0)
    checkpoint = Checkpoint(folder / "checkpoint", "one", training.options.patience)
    return fit(model or tiny_model(), training, checkpoint, folder / "live")


def test_a_model_learns(files, tmp_path):
    history = run(training_of(files, epochs=40, learning_rate=0.1), tmp_path)
    assert history["val_iou_person"].iloc[-1] > 0.95
    assert history["epoch"].tolist() == list(range(1, 41))
    assert history["learning_rate"].is_monotonic_decreasing


def test_equal_seeds_give_equal_histories(files, tmp_path):
    learned = training_of(files, epochs=4, learning_rate=0.1)
    assert run(learned, tmp_path / "a").equals(run(learned, tmp_path / "b"))


def test_the_loss_of_val_is_the_evaluations_and_the_objective_is_weighted(files, tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (3, SIZE, SIZE, 3), dtype=np.uint8)
    masks = np.random.default_rng(1).choice(np.array([0, 1, 3, 255], np.uint8), (3, SIZE, SIZE))
    masks[1] = 255  # no loss is known of it
    val = write_examples(tmp_path, images, masks, "val")
    weighted, model = (
        training_of(files, val, epochs=3, class_weights="balanced", objective="cross_entropy"),
        tiny_model(),
    )
    assert weighted.images == {"train": 8, "val": 3}
    best = best_metrics(run(weighted, tmp_path, model))
    target = weighted.val.class_of_id[masks]
    probabilities = softmax(model.predict(images.astype(np.float32), verbose=0), axis=-1)
    assert best["val"]["loss"] == pytest.approx(np.nanmean(pixel_loss(probabilities, target)), rel=1e-5)
    counted = target != 255
    p = np.take_along_axis(probabilities, np.where(counted, target, 0)[..., None], -1)[..., 0]
    weight = np.array(list(weighted.class_weights.values()))[np.where(counted, target, 0)]
    of_image = (-np.log(p) * weight * counted).sum((1, 2)) / np.maximum(counted.sum((1, 2)), 1)
    assert best["val"]["objective"] == pytest.approx(of_image.mean(), rel=1e-4)


def test_the_measures_are_those_of_the_kept_epoch(files):
    weighted = training_of(files, class_weights="balanced")
    train = {"objective": 5.0, "loss": 4.0, "iou_person": 0.5, "iou_car": 0.2, "mean_iou_person": 0.4}
    val = {"val_objective": 3.0, "val_loss": 2.0, "val_mean_iou_person": 0.6, "val_mean_iou_car": 0.2}
    held = {"held_objective": 1.0, "held_mean_iou_car": 0.3}
    best = {"epoch": 2, "learning_rate": 0.1, **train, "mean_iou_car": 0.1, **val, **held}
    others = [{**best, "epoch": epoch, "objective": 9.0, "held_mean_iou_car": 0.1} for epoch in (1, 3)]
    table = training_measures(weighted, tiny_model(), pd.DataFrame([others[0], best, others[1]]))
    assert {(row.split, row.measure): row.value for row in table.itertuples()} == {
        ("", "epochs"): 3,
        ("", "epoch"): 2,
        ("", "parameters.trained"): 12,
        ("", "parameters.frozen"): 0,
        # Of the 1920 pixels that count, 704 are background, 960 person, 256 car.
        ("", "class_weight.background"): pytest.approx(1920 / 704 / 3),
        ("", "class_weight.person"): pytest.approx(1920 / 960 / 3),
        ("", "class_weight.car"): pytest.approx(1920 / 256 / 3),
        ("train", "objective"): 5,
        ("val", "objective"): 3,
        ("train", "running_loss"): 4,
        ("train", "running_iou.person"): 0.5,
        ("train", "running_iou.car"): 0.2,
        ("train", "running_mean_iou.person"): 0.4,
        ("train", "running_mean_iou.car"): 0.1,
    }
    assert table.query("measure == 'objective'")["images"].tolist() == [8, 8]


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
    whole_model, model, last = tiny_model(), tiny_model(), tiny_model()
    model.set_weights(whole_model.get_weights())
    learned = training_of(files, epochs=6, learning_rate=0.05)
    undisturbed = run(learned, tmp_path / "a", whole_model)
    for epochs in (1, 4):
        # In the middle of the epoch after that one.
        monkeypatch.setattr(training.keras.callbacks, "TerminateOnNaN", lambda n=epochs: KillAfter(n))
        with pytest.raises(Killed):
            run(learned, tmp_path / "b", model)
    monkeypatch.undo()
    resumed = run(learned, tmp_path / "b", last)
    assert resumed.equals(undisturbed)
    for name, trained in (("a", whole_model), ("b", last)):
        saving.save_model(trained, tmp_path / f"{name}.keras")
    assert (tmp_path / "a.keras").read_bytes() == (tmp_path / "b.keras").read_bytes()
    live = {folder: sorted((tmp_path / folder / "live" / "plots").rglob("*.tsv")) for folder in "ab"}
    assert len(live["a"]) == 13
    assert [file.name for file in live["a"]] == [file.name for file in live["b"]]
    log = tmp_path / "b" / "live" / "plots" / "metrics" / "val" / "iou_person.tsv"
    values = pd.read_csv(log, sep="\t")["iou_person"]
    assert values.to_numpy() == pytest.approx(undisturbed["val_iou_person"].to_numpy())


def alone(learned: Training) -> pd.Series:
    """Each image its own group."""
    return pd.Series(learned.train.image_ids, index=learned.train.image_ids)


def test_without_a_holdout_all_epochs_are_trained_and_the_last_is_kept(files, tmp_path):
    model = tiny_model()
    history = run(training_of(files, patience=1, epochs=8, learning_rate=1.0, schedule="constant"), tmp_path, model)
    assert len(history) == 8
    assert best_metrics(history)["epoch"] == 8
    assert last_mean_iou(model, training_of(files).val) == pytest.approx(history["val_mean_iou_car"].iloc[-1], abs=1e-6)


def last_mean_iou(model: keras.Model, examples: Examples) -> float:
    metric = SegmentationMetrics(NAMES)
    for images, target in validation_batches(examples, 4):
        metric.update_state(target, model(images, training=False))
    return float(metric.result()["mean_iou_car"])


def test_the_best_epoch_of_the_held_out_images_is_kept_and_patience_ends_the_training(files, tmp_path):
    model = tiny_model()
    whole = training_of(files, patience=3, epochs=60, learning_rate=1.0, schedule="constant", holdout=0.4)
    learned = hold_out(whole, alone(whole))
    history = run(learned, tmp_path, model)
    order = pd.DataFrame({"score": history[["held_mean_iou_person", "held_mean_iou_car"]].mean(axis=1)})
    order["objective"] = -history["held_objective"]
    best = order.sort_values(["score", "objective"]).index[-1]
    assert len(history) == best + 1 + 3 < 60
    assert last_mean_iou(model, learned.held) == pytest.approx(history["held_mean_iou_car"][best], abs=1e-6)
    assert last_mean_iou(model, learned.val) == pytest.approx(history["val_mean_iou_car"][best], abs=1e-6)
    shutil.rmtree(tmp_path / "live")
    again = run(learned, tmp_path)
    assert again.equals(history)
    for split in ("val", "held"):
        log = tmp_path / "live" / "plots" / "metrics" / split / "loss.tsv"
        assert len(pd.read_csv(log, sep="\t")) == len(history)


def test_what_is_held_out_are_whole_groups_and_nothing_of_it_is_learned(files):
    whole = training_of(files, holdout=0.4)
    groups = alone(whole) // 2 * 2
    learned = hold_out(whole, groups)
    kept, held = learned.train.image_ids, learned.held.image_ids
    assert sorted([*kept, *held]) == whole.train.image_ids.tolist()
    assert not set(groups[kept]) & set(groups[held])
    assert hold_out(training_of(files), groups).held is None
    one_group = pd.Series(0, index=groups.index)
    with pytest.raises(SegscopeError, match=r"train\.holdout: 0\.4 of these 8 images leaves none on one side"):
        hold_out(whole, one_group)


def test_a_checkpoint_of_another_training_is_not_used(files, tmp_path):
    run(training_of(files, epochs=2), tmp_path)
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


def test_the_fingerprint_is_of_all_code_of_the_package_that_a_training_runs(monkeypatch):
    read = []
    monkeypatch.setattr(training, "sha256_of", lambda file: read.append(Path(file)) or "")
    training.fingerprint({}, [])
    used = [module.__file__ for name, module in sys.modules.items() if name.startswith("segscope.model.")]
    assert {Path(file) for file in used} <= set(read)
    assert {"objective.py", "callbacks.py", "dataset.py", "unet.py"} <= {file.name for file in read}


@pytest.mark.parametrize(
    ("changed", "same"),
    [
        ({}, True),
        ({"classes": {"car": ["car"], "person": ["person"]}}, False),
        ({"epochs": 3}, False),
        ({"encoder": "imagenet"}, False),
    ],
)
def test_a_checkpoint_belongs_to_one_training(files, tmp_path, monkeypatch, changed, same):
    """The order of the classes, the options and the kind of the encoder are part of it."""
    found = []
    monkeypatch.setattr(training, "build_model", lambda *_: tiny_model())
    monkeypatch.setattr(training, "fit", lambda model, training, checkpoint, folder: found.append(checkpoint))
    for settings in ({}, changed):
        taxonomy = Taxonomy(CATEGORIES, settings.get("classes", TAXONOMY.classes))
        options = Train(epochs=settings.get("epochs", 2))
        learned = prepare_training({"train": files, "val": files}, SIZE, taxonomy, options)
        train(learned, (settings.get("encoder", "none"), None), tmp_path / "checkpoint", tmp_path / "live")
    assert (found[0].fingerprint == found[1].fingerprint) == same


def test_divergence_is_an_error_and_leaves_no_checkpoint(files, tmp_path):
    model = tiny_model()
    model.layers[-1].bias.assign([np.nan, 0, 0])
    with pytest.raises(SegscopeError, match=r"training diverged in epoch 1 .* lower train\.learning_rate"):
        run(training_of(files, epochs=3), tmp_path, model)
    assert not (tmp_path / "checkpoint").exists()


def test_one_image_is_enough(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (1, SIZE, SIZE, 3), dtype=np.uint8)
    mask = np.repeat(np.array([0, 1, 3, 3], np.uint8), SIZE * SIZE // 4).reshape(1, SIZE, SIZE)
    history = run(training_of(write_examples(tmp_path, pixels, mask), epochs=2), tmp_path)
    assert np.isfinite(history[["val_objective", "val_loss"]]).all(axis=None)


def trained_unet(folder: Path, **options) -> tuple[keras.Model, Training, np.ndarray]:
    """A U-Net of random weights, trained for a few epochs, and the objective of each."""
    learned = training_of(write_pictures(folder, 32), size=32, batch_size=2, augment="none", epochs=6, **options)
    make_deterministic(0)
    model = training.build_model("none", None, 32, 3, learned.options)
    history = fit(model, learned, Checkpoint(folder / "checkpoint", "", 9), folder / "live")
    return model, learned, history["objective"].to_numpy()


def check_mixed(model: keras.Model, learned: Training, wanted: str) -> None:
    """It computes in 16 bits, and its file in 32 nearly the same."""
    assert model.get_layer("up_1_conv").compute_dtype == wanted
    assert model.output.dtype == "float32"
    saved = saving.in_float32(model)
    assert {layer.compute_dtype for layer in saved.layers} == {"float32"}
    for images, _ in validation_batches(learned.val, 4).take(1):
        expected = model(images, training=False)
        assert np.allclose(saved(images, training=False), expected, atol=0.05 * np.abs(expected).max() + 1e-3)


def test_in_bfloat16_a_training_is_nearly_the_same(tmp_path):
    *_, plain = trained_unet(tmp_path / "plain")
    model, learned, objectives = trained_unet(tmp_path / "mixed", precision="mixed_bfloat16")
    assert objectives == pytest.approx(plain, rel=0.12)
    check_mixed(model, learned, "bfloat16")


def test_in_float16_a_training_learns(tmp_path):
    """The first steps are lost to the scale of the loss, and others are coarse."""
    model, learned, objectives = trained_unet(tmp_path, precision="mixed_float16")
    assert (np.diff(objectives) < 0).all()
    assert objectives[-1] < 0.85 * objectives[0]
    check_mixed(model, learned, "float16")


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
history = run(training_of({files!r}, epochs=3), Path({folder!r}), model)
print(json.dumps(history.to_dict("list")))
"""


def test_two_devices_train_as_one(files, tmp_path):
    code = MIRRORED.format(tests=str(Path(__file__).parent), files=files, folder=str(tmp_path / "mirrored"))
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    mirrored = json.loads(result.stdout.splitlines()[-1])
    model = tiny_model()
    model.set_weights([np.full(w.shape, 0.01, np.float32) for w in model.get_weights()])
    single = run(training_of(files, epochs=3), tmp_path / "single", model)
    for key in single:
        assert mirrored[key] == pytest.approx(single[key].tolist(), rel=1e-4), key
