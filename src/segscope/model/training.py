"""Training: what a training learns from and how, and the fit itself. Letters: N images, K classes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import ceil
from pathlib import Path
from tempfile import TemporaryDirectory

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from segscope.artefacts.files import sha256_of
from segscope.artefacts.measures import Measure, measure_table, of_split
from segscope.artefacts.parallel import in_turn
from segscope.errors import SegscopeError, made_by, reading
from segscope.model import unet as network
from segscope.model.callbacks import Checkpoint, Held, LiveLog, Progress
from segscope.model.dataset import Examples, open_examples, training_batches, validation_batches
from segscope.model.folds import fold_of
from segscope.model.history import best_metrics
from segscope.model.objective import (
    CrossEntropyAndOverlap,
    PixelCrossEntropy,
    PixelLoss,
    SegmentationMetrics,
    class_weights,
)
from segscope.model.saving import save_model
from segscope.params import Train
from segscope.taxonomy import Taxonomy

HOLDOUT_PARTS = 1000
OBJECTIVES = {"cross_entropy": PixelCrossEntropy, "overlap": CrossEntropyAndOverlap}


@dataclass(frozen=True, eq=False)
class Training:
    """A training: the examples it learns from and is measured on, each class's weight in the objective, the options.

    held: examples of the train split that it does not learn from, by which it decides when to stop; None: it does not.
    """

    train: Examples
    val: Examples
    class_weights: Mapping[str, float]
    options: Train
    held: Examples | None = None

    @property
    def images(self) -> dict[str, int]:
        """The number of images of each split."""
        return {"train": len(self.train.image_ids), "val": len(self.val.image_ids)}

    @property
    def steps_per_epoch(self) -> int:
        """The number of batches that hold every example once."""
        return ceil(self.images["train"] / self.options.batch_size)


def prepare_training(
    files: Mapping[str, Sequence[str]], image_size: int, taxonomy: Taxonomy, options: Train
) -> Training:
    """The training on all examples of the train files, with class weights by their pixels.

    files: TFRecord files of train and of val. Raises SegscopeError if a class has no pixel in the train files, and as
    `segscope.artefacts.records.index_records` does.
    """
    names = taxonomy.class_names
    train, val = (
        open_examples(files[split], image_size, taxonomy.class_of_id, len(names)) for split in ("train", "val")
    )
    weights = class_weights(train.pixels.sum(0), options.class_weights, names).tolist()
    return Training(train, val, dict(zip(names, weights, strict=True)), options)


def hold_out(training: Training, groups: pd.Series) -> Training:
    """The training with `train.holdout` of the train split's groups held out, chosen by their hash.

    groups: by image_id. Raises SegscopeError if that leaves no image on one of the sides.
    """
    share, ids = training.options.holdout, training.train.image_ids
    if not share:
        return training
    held = fold_of(groups.loc[ids].to_numpy(), HOLDOUT_PARTS) < share * HOLDOUT_PARTS
    if held.all() or not held.any():
        raise SegscopeError(f"train.holdout: {share} of these {len(ids)} images leaves none on one side; choose 0")
    return _require_classes(replace(training, train=training.train[~held], held=training.train[held]), "train.holdout")


def _require_classes(training: Training, key: str) -> Training:
    if not training.train.pixels[:, 1:].any():
        raise SegscopeError(f"{key}: what is left to learn from shows no class, for its images are of few groups")
    return training


def repeats(training: Training) -> list[Training]:
    """The same training with each of the other seeds."""
    return [replace(training, options=options) for options in training.options.of_seeds()[1:]]


def fold_trainings(training: Training, groups: pd.Series, folds: int) -> list[Training]:
    """For each fold of train's groups the training that leaves it out, class weights as they are; none for one fold.

    groups: by image_id. Each holds out a part of what it is left with, as `hold_out` does.
    """
    ids = training.train.image_ids
    fold = fold_of(groups.loc[ids].to_numpy(), folds)
    return [
        hold_out(_require_classes(replace(training, train=training.train[fold != number]), "labels.folds"), groups)
        for number in range(folds if folds > 1 else 0)
    ]


def make_deterministic(seed: int) -> None:
    """Seed Python, numpy and TensorFlow, and keep TensorFlow to deterministic kernels."""
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()


def build_model(kind: str, weights: Path | None, image_size: int, n_classes: int, options: Train) -> keras.Model:
    """The U-Net on the encoder that `segscope.model.encoder.read_encoder` describes.

    In mixed precision it computes in 16 bits, but variables and logits are float32. The decoder's weights are those of
    the options' seed.
    """
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(options.precision)
    try:
        encoder = build_encoder(kind, weights, image_size, options.enlarge)
        model = network.unet(encoder, n_classes, options.decoder)
    finally:
        keras.config.set_dtype_policy(before)
    network.draw_kernels(model.trainable_variables, options.seed)
    return model


def build_encoder(kind: str, weights: Path | None, image_size: int, enlarge: int = 1) -> keras.Model:
    """The encoder that `segscope.model.encoder.read_encoder` describes, seeing the picture `enlarge` times as large."""
    if weights and kind == "torch":
        with reading(weights, made_by("download")), np.load(weights) as file:
            arrays = {name: file[name] for name in file.files}
            if {array.dtype for array in arrays.values()} != {np.dtype(np.float32)}:
                raise ValueError("its arrays are of other types than weights are")
            return network.torch_encoder(image_size, arrays, enlarge)
    return network.keras_encoder(image_size, "imagenet" if kind == "imagenet" else weights, enlarge)


def count_parameters(model: keras.Model) -> dict[str, int]:
    """The number of trained and of frozen weights."""
    kinds = {"trained": model.trainable_variables, "frozen": model.non_trainable_variables}
    return {
        kind: sum(int(variable.shape.num_elements()) for variable in variables) for kind, variables in kinds.items()
    }


def strategy() -> tf.distribute.Strategy:
    """Every GPU of the machine if there are several, else what TensorFlow chooses by itself."""
    several = len(tf.config.list_physical_devices("GPU")) > 1
    return tf.distribute.MirroredStrategy() if several else tf.distribute.get_strategy()


def fingerprint(settings: Mapping[str, object], files: Sequence[Path]) -> str:
    """A checksum of all that decides a training: settings, files read, this program's and TensorFlow's code."""
    # Of the whole package: what decides the weights is spread over it, and more of it may come to.
    code = sorted(Path(__file__).parent.glob("*.py"))
    contents = [sha256_of(file) for file in (*code, *files)]
    text = json.dumps([dict(settings), contents, keras.__version__, tf.__version__], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def optimizer(options: Train, steps_per_epoch: int) -> keras.optimizers.Optimizer:
    """Adam, at a constant learning rate or one that falls to 0 along a cosine over all epochs."""
    rate = options.learning_rate
    if options.schedule == "cosine":
        rate = keras.optimizers.schedules.CosineDecay(rate, steps_per_epoch * options.epochs)
    return keras.optimizers.Adam(rate)


def train(
    training: Training, encoder: tuple[str, Path | None], checkpoint_folder: Path, log_folder: Path
) -> tuple[keras.Model, pd.DataFrame, Checkpoint]:
    """The trained model, its history and its checkpoint, from the same start whatever was trained before.

    encoder: as `segscope.model.encoder.read_encoder` gives it. The rest as `fit`.
    """
    kind, weights = encoder
    examples, options = training.train, training.options.of_seeds()[0]
    make_deterministic(options.seed)
    with strategy().scope():
        model = build_model(kind, weights, examples.image_size, len(training.class_weights), options)
    settings = {
        "encoder": kind,
        "classes": list(training.class_weights),
        "class_of_id": examples.class_of_id.tolist(),
        "size": examples.image_size,
        "images": [examples.image_ids.tolist(), training.val.image_ids.tolist()],
        "held": training.held.image_ids.tolist() if training.held else None,
        **options.model_dump(),
    }
    read = [*map(Path, (*examples.files, *training.val.files)), *([weights] if weights else [])]
    checkpoint = Checkpoint(checkpoint_folder, fingerprint(settings, read), options.patience)
    return model, fit(model, training, checkpoint, log_folder), checkpoint


def train_others(
    trainings: Mapping[Path, Training], encoder: tuple[str, Path | None], checkpoint_folder: Path
) -> list[Checkpoint]:
    """Train each model beside the one that is analysed, and save it as its file. Returns their checkpoints.

    A task each. The rest as `train`; each has a checkpoint folder of its own beside checkpoint_folder.
    """
    tasks = [
        (file, training, checkpoint_folder.with_name(f"{checkpoint_folder.name}-{file.stem}"))
        for file, training in trainings.items()
    ]
    fingerprints = in_turn(partial(_train_other, encoder), tasks)
    return [
        Checkpoint(own, fingerprint, training.options.patience)
        for (_, training, own), fingerprint in zip(tasks, fingerprints, strict=True)
    ]


def _train_other(encoder: tuple[str, Path | None], task: tuple[Path, Training, Path]) -> str:
    """Train a model, save it as its file, and return the fingerprint of what is in its checkpoint folder."""
    file, training, own = task
    with TemporaryDirectory() as logs:
        model, _, checkpoint = train(training, encoder, own, Path(logs) / file.stem)
    save_model(model, file)
    return checkpoint.fingerprint


def fit(model: keras.Model, training: Training, checkpoint: Checkpoint, log_folder: Path) -> pd.DataFrame:
    """Train in place, or go on where a killed training stopped, and restore the kept epoch's weights.

    Each epoch is written to the checkpoint and to DVCLive's log folder. Returns the history (`segscope.model.history`).
    Raises SegscopeError if the objective stops being finite.
    """
    options, steps, names = training.options, training.steps_per_epoch, list(training.class_weights)
    with model.distribute_strategy.scope():
        model.compile(
            optimizer(options, steps),
            OBJECTIVES[options.objective](list(training.class_weights.values())),
            metrics=[SegmentationMetrics(names), PixelLoss()],
        )
        # Else its variables come to be while the step is traced, which is traced again then: seconds of each training.
        model.optimizer.build(model.trainable_variables)
        done = checkpoint.resume(model)
    if done:
        print(f"going on after epoch {done}")
    model.fit(
        training_batches(training.train, options, done * steps),
        validation_data=validation_batches(training.val, options.batch_size),
        initial_epoch=done,
        # Of a training that had ended when it was killed, only the log is written again.
        epochs=done if checkpoint.finished else options.epochs,
        steps_per_epoch=steps,
        shuffle=False,
        verbose=0,
        callbacks=[
            keras.callbacks.TerminateOnNaN(),
            *([Held(validation_batches(training.held, options.batch_size))] if training.held else []),
            checkpoint,
            LiveLog(log_folder, checkpoint),
            Progress(log_folder.name, checkpoint),
        ],
    )
    history = pd.DataFrame(checkpoint.history)
    if not np.isfinite(history["objective"]).all():
        checkpoint.remove()
        raise SegscopeError(
            f"training diverged in epoch {len(history)} (the objective is not finite): lower train.learning_rate "
            f"({options.learning_rate})"
        )
    checkpoint.restore_best(model)
    return history


def training_measures(training: Training, model: keras.Model, history: pd.DataFrame) -> pd.DataFrame:
    """The measures of a training.

    Of the kept epoch, the objective of each split, and what was measured of train while its weights changed, on
    augmented images: `running_…`. val's loss and IoUs of that epoch are those that the predict stage measures.
    """
    best = best_metrics(history)
    rows = [Measure("epochs", best["epochs"]), Measure("epoch", best["epoch"])]
    rows += [Measure(f"parameters.{kind}", number) for kind, number in count_parameters(model).items()]
    rows += [Measure(f"class_weight.{name}", weight) for name, weight in training.class_weights.items()]
    for split, images in training.images.items():
        rows += of_split(split, [Measure("objective", best[split]["objective"], images)])
    running = [Measure("running_loss", best["train"]["loss"])]
    for kind in ("iou", "mean_iou"):
        names = list(training.class_weights)[1:]
        running += [Measure(f"running_{kind}.{name}", best["train"][f"{kind}_{name}"]) for name in names]
    return measure_table(rows + of_split("train", running))
