"""Training: loss, class weights, metrics and the fit itself. Letters: N images, H × W pixels, K classes."""

from __future__ import annotations

import contextlib
import hashlib
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import tensorflow as tf
from dvclive import Live

from segscope import dataset
from segscope import model as network
from segscope.errors import SegscopeError
from segscope.files import atomic_path, sha256_of
from segscope.masks import IGNORE
from segscope.params import Train


def make_deterministic(seed: int) -> None:
    """Seed Python, numpy and TensorFlow, and keep TensorFlow to deterministic kernels."""
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()


def build_model(kind: str, weights: Path | None, image_size: int, n_classes: int, options: Train) -> keras.Model:
    """The U-Net on the encoder that `segscope.encoder.read_encoder` describes.

    In mixed precision it computes in 16 bits, but variables and logits are float32.
    """
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(options.precision)
    try:
        if kind == "torch":
            with np.load(weights) as arrays:
                encoder = network.torch_encoder(image_size, arrays)
        else:
            encoder = network.keras_encoder(image_size, "imagenet" if kind == "imagenet" else weights)
        return network.unet(encoder, n_classes, options.decoder)
    finally:
        keras.config.set_dtype_policy(before)


def in_float32(model: keras.Model) -> keras.Model:
    """The same model, computing in 32 bits: what reads it needs no support for 16 bits."""

    def as_float32(layer: keras.layers.Layer) -> keras.layers.Layer:
        return layer.__class__.from_config(layer.get_config() | {"dtype": "float32"})

    # A clone of the layers alone: of a compiled model, Keras would clone the loss, too.
    copy = keras.models.clone_model(keras.Model(model.input, model.output), clone_function=as_float32)
    copy.set_weights(model.get_weights())
    return copy


def strategy() -> tf.distribute.Strategy:
    """Every GPU of the machine if there are several, else what TensorFlow chooses by itself."""
    several = len(tf.config.list_physical_devices("GPU")) > 1
    return tf.distribute.MirroredStrategy() if several else tf.distribute.get_strategy()


def fingerprint(settings: Mapping[str, object], files: Sequence[Path]) -> str:
    """A checksum of all that decides a training: settings, files read, this program's and TensorFlow's code."""
    code = [Path(module.__file__) for module in (dataset, network)] + [Path(__file__)]
    contents = [sha256_of(file) for file in (*code, *files)]
    text = json.dumps([dict(settings), contents, keras.__version__, tf.__version__], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def class_weights(pixels: np.ndarray, scheme: str, names: Sequence[str]) -> np.ndarray:
    """Weights float32[K] of the classes, of mean 1 over the pixels.

    pixels: int[K] of each class. scheme: `none`; `balanced`: inverse frequency; `sqrt_balanced`: its square root.
    Raises SegscopeError if a class has no pixel.
    """
    absent = [name for name, count in zip(names, pixels, strict=True) if count == 0]
    if absent:
        raise SegscopeError(
            f"the train split has no pixel of class {', '.join(absent)}: choose other images (data.contains, "
            "data.match, data.max_images) or another variant"
        )
    share = pixels / pixels.sum()
    weights = share ** -{"none": 0.0, "sqrt_balanced": 0.5, "balanced": 1.0}[scheme]
    return (weights / (weights * share).sum()).astype(np.float32)


class PixelCrossEntropy(keras.losses.Loss):
    """Mean cross-entropy in nats over pixels that are not 255, each weighted by its true class."""

    def __init__(self, weights: Sequence[float], name: str = "pixel_cross_entropy"):
        super().__init__(name=name)
        self.weights = [float(w) for w in weights]

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        y_true = tf.cast(y_true, tf.int32)
        counted = y_true != IGNORE
        target = tf.where(counted, y_true, 0)
        weight = tf.where(counted, tf.gather(tf.constant(self.weights), target), 0.0)
        loss = tf.nn.sparse_softmax_cross_entropy_with_logits(target, y_pred) * weight
        pixels = tf.reduce_sum(tf.cast(counted, tf.float32), (1, 2))
        return tf.math.divide_no_nan(tf.reduce_sum(loss, (1, 2)), pixels)


class SegmentationMetrics(keras.metrics.Metric):
    """From logits, for each class but background: iou_NAME of the dataset, mean_iou_NAME over images that show it."""

    def __init__(self, names: Sequence[str]):
        super().__init__(name="segmentation")
        self._names = list(names)
        k = len(names)
        self._matrix = self.add_variable((k, k), "zeros", name="matrix")
        self._sums = self.add_variable((k,), "zeros", name="sums")
        self._shown = self.add_variable((k,), "zeros", name="shown")

    def update_state(self, y_true: tf.Tensor, y_pred: tf.Tensor, sample_weight: None = None) -> None:
        k = len(self._names)
        # An ignored pixel's one-hot vector is 0, so that it counts nowhere.
        true = tf.one_hot(tf.cast(y_true, tf.int32), k)
        predicted = tf.one_hot(tf.argmax(y_pred, -1, tf.int32), k)
        matrix = tf.einsum("nhwt,nhwp->ntp", true, predicted)
        shown = tf.cast(tf.reduce_sum(matrix, 2) > 0, tf.float32)
        self._matrix.assign_add(tf.reduce_sum(matrix, 0))
        self._sums.assign_add(tf.reduce_sum(_iou(matrix) * shown, 0))
        self._shown.assign_add(tf.reduce_sum(shown, 0))

    def result(self) -> dict[str, tf.Tensor]:
        dataset, mean = _iou(self._matrix), tf.math.divide_no_nan(self._sums.value, self._shown.value)
        return {
            f"{kind}_{name}": values[k]
            for kind, values in (("iou", dataset), ("mean_iou", mean))
            for k, name in enumerate(self._names)
            if k
        }


def _iou(matrix: tf.Tensor) -> tf.Tensor:
    """IoU of each class from confusion … × K × K; 0 where there is no pixel of it."""
    intersection = tf.linalg.diag_part(matrix)
    union = tf.reduce_sum(matrix, -1) + tf.reduce_sum(matrix, -2) - intersection
    return tf.math.divide_no_nan(intersection, union)


class Checkpoint(keras.callbacks.Callback):
    """Keeps the history, the last and the best weights in a folder after every epoch, and stops in time.

    Keras's BackupAndRestore and EarlyStopping do not keep the history, nor the best epoch, over a restart.

    history: one row an epoch. The best epoch is that of `best_row`; training stops `patience` epochs after it. What is
    in the folder belongs to `fingerprint`; of another training, it is removed.
    """

    def __init__(self, folder: Path, fingerprint: str, patience: int):
        super().__init__()
        self._folder, self._fingerprint, self._patience = folder, fingerprint, patience
        self.history: list[dict[str, float]] = self._read()
        if not self.history:
            self.remove()

    def _read(self) -> list[dict[str, float]]:
        try:
            state = json.loads((self._folder / "state.json").read_text(encoding="utf-8"))
            return state["history"] if state["fingerprint"] == self._fingerprint else []
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return []

    @property
    def finished(self) -> bool:
        """Whether no epoch was better for `patience` epochs."""
        return bool(self.history) and len(self.history) - self.best_epoch() >= self._patience

    def resume(self, model: keras.Model) -> int:
        """Load the last epoch's weights and optimizer into a compiled model; returns the number of epochs done."""
        if self.history:
            model.optimizer.build(model.trainable_variables)
            model.load_weights(self._weights("last", len(self.history)))
        return len(self.history)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        row = {"epoch": epoch + 1, "learning_rate": float(self.model.optimizer.learning_rate), **(logs or {})}
        self.history.append(row)
        if not np.isfinite(row["loss"]):
            return
        names = {"last": epoch + 1, "best": self.best_epoch()}
        for name, number in names.items():
            if number == epoch + 1:
                with atomic_path(self._weights(name, number)) as temporary:
                    self.model.save_weights(temporary)
        # The state names the weights, so it is written after them, and the weights it named are removed after it.
        with atomic_path(self._folder / "state.json") as temporary:
            temporary.write_text(json.dumps({"fingerprint": self._fingerprint, "history": self.history}))
        for file in set(self._folder.glob("*.weights.h5")) - {self._weights(*item) for item in names.items()}:
            file.unlink()
        self.model.stop_training = self.finished

    def best_epoch(self) -> int:
        """The number of the best epoch, from 1."""
        return best_row(self.history)["epoch"]

    def restore_best(self, model: keras.Model) -> None:
        """Load the best epoch's weights."""
        model.load_weights(self._weights("best", self.best_epoch()))

    def remove(self) -> None:
        """Forget everything; what else is in the folder stays."""
        for name in ("state.json", "*.weights.h5", ".state.json.partial*", ".*.weights.h5.partial*"):
            for file in self._folder.glob(name):
                file.unlink()
        with contextlib.suppress(OSError):
            self._folder.rmdir()

    def _weights(self, name: str, epoch: int) -> Path:
        return self._folder / f"{name}-{epoch:04d}.weights.h5"


def best_row(history: Sequence[Mapping[str, float]]) -> Mapping[str, float]:
    """The epoch whose val mean IoU is highest on average over the classes; of equals, that of the lowest val loss."""

    def merit(row: Mapping[str, float]) -> tuple[float, float]:
        return np.mean([row[key] for key in row if key.startswith("val_mean_iou_")]), -row["val_loss"]

    return max(history, key=merit)


def best_metrics(history: pd.DataFrame) -> dict[str, object]:
    """Of a history: the number of epochs, the best epoch, and its numbers of each split."""
    rows = history.to_dict("records")
    best = best_row(rows)
    values = {key: value for key, value in best.items() if key not in ("epoch", "learning_rate")}
    return {
        "epochs": len(rows),
        "epoch": best["epoch"],
        "train": {key: value for key, value in values.items() if not key.startswith("val_")},
        "val": {key.removeprefix("val_"): value for key, value in values.items() if key.startswith("val_")},
    }


class LiveLog(keras.callbacks.Callback):
    """Writes each epoch's numbers with DVCLive, those of a resumed training's earlier epochs first."""

    def __init__(self, folder: Path, checkpoint: Checkpoint):
        super().__init__()
        self._folder, self._checkpoint = folder, checkpoint

    def on_train_begin(self, logs: dict | None = None) -> None:
        self._live = Live(str(self._folder), report=None, save_dvc_exp=False, dvcyaml=None)
        for row in self._checkpoint.history:
            self._log(row)

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        self._log(self._checkpoint.history[-1])

    def _log(self, row: Mapping[str, float]) -> None:
        for key, value in row.items():
            if key == "learning_rate":
                self._live.log_metric(key, value)
            elif key != "epoch":
                split, name = ("val", key[4:]) if key.startswith("val_") else ("train", key)
                self._live.log_metric(f"{split}/{name}", value)
        self._live.next_step()

    def on_train_end(self, logs: dict | None = None) -> None:
        self._live.end()


def optimizer(options: Train, steps_per_epoch: int) -> keras.optimizers.Optimizer:
    """Adam, at a constant learning rate or one that falls to 0 along a cosine over all epochs."""
    rate = options.learning_rate
    if options.schedule == "cosine":
        rate = keras.optimizers.schedules.CosineDecay(rate, steps_per_epoch * options.epochs)
    return keras.optimizers.Adam(rate)


def fit(
    model: keras.Model,
    train: Callable[[int], tf.data.Dataset],
    val: tf.data.Dataset,
    loss: keras.losses.Loss,
    names: Sequence[str],
    steps_per_epoch: int,
    options: Train,
    checkpoint: Checkpoint,
    log_folder: Path,
) -> pd.DataFrame:
    """Train in place, or go on where a killed training stopped, and restore the best epoch's weights.

    train: the endless batches from a given one on. Returns the history, one row an epoch. Raises SegscopeError if
    the loss stops being finite.
    """
    with model.distribute_strategy.scope():
        model.compile(
            optimizer(options, steps_per_epoch), loss, metrics=[SegmentationMetrics(names)], jit_compile=options.xla
        )
        done = checkpoint.resume(model)
    if done:
        print(f"going on after epoch {done}")
    model.fit(
        train(done * steps_per_epoch),
        validation_data=val,
        initial_epoch=done,
        # Of a training that had ended when it was killed, only the log is written again.
        epochs=done if checkpoint.finished else options.epochs,
        steps_per_epoch=steps_per_epoch,
        shuffle=False,
        verbose="auto" if sys.stdout.isatty() else 2,
        callbacks=[keras.callbacks.TerminateOnNaN(), checkpoint, LiveLog(log_folder, checkpoint)],
    )
    table = pd.DataFrame(checkpoint.history)
    if not np.isfinite(table["loss"]).all():
        checkpoint.remove()
        raise SegscopeError(
            f"training diverged in epoch {len(table)} (the loss is not finite): lower train.learning_rate "
            f"({options.learning_rate})"
        )
    checkpoint.restore_best(model)
    return table
