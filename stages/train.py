"""train: fit the U-Net of the chosen variant on a frozen encoder."""

from math import ceil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import keras
import numpy as np
import pandas as pd

from segscope import schemas, stage
from segscope.dataset import count_pixels, read_examples, read_ids, shards, training_batches, validation_batches
from segscope.encoder import read_encoder
from segscope.files import atomic_folder, atomic_path, write_json
from segscope.folds import fold_model, fold_of
from segscope.masks import variant_classes
from segscope.model_card import write_card
from segscope.params import Params
from segscope.training import (
    Checkpoint,
    PixelCrossEntropy,
    best_metrics,
    build_model,
    class_weights,
    fingerprint,
    fit,
    in_float32,
    make_deterministic,
    strategy,
)

ARTIFACTS = Path("artifacts")
# Not an output: DVC removes a stage's outputs before it runs, and a killed training goes on from here.
CHECKPOINT = ARTIFACTS / "checkpoint"


def main(params: Params) -> None:
    data = prepare(params)
    fold_ids = read_ids(data.files["train"]) if params.labels.folds > 1 else np.array([], np.int64)
    model, history, checkpoint = train(params, data, CHECKPOINT, ARTIFACTS / "training")
    history.to_csv(ARTIFACTS / "training" / "history.csv", index=False)
    with atomic_path(ARTIFACTS / "model.keras") as temporary:
        in_float32(model).save(temporary)
    metrics = best_metrics(history)
    parameters = {
        kind: sum(int(variable.shape.num_elements()) for variable in variables)
        for kind, variables in (("trained", model.trainable_variables), ("frozen", model.non_trainable_variables))
    }
    images = {"source": params.data.source, "train": data.n_train, "val": data.n_val}
    with atomic_path(ARTIFACTS / "model.md") as temporary:
        write_card(
            temporary,
            data.classes,
            params.data.image_size,
            parameters,
            params.train.applied().model_dump(),
            images,
            metrics,
        )
    train_folds(params, data, fold_ids)
    write_json("metrics/train.json", metrics | {"class_weight": dict(zip(data.names, data.weights, strict=True))})
    checkpoint.remove()


class Training(NamedTuple):
    """What all trainings of this run share. files: of each split. weights: of each class."""

    files: dict[str, list[str]]
    classes: dict[str, list[str]]
    names: list[str]
    class_of: np.ndarray
    n_train: int
    n_val: int
    weights: list[float]


def prepare(params: Params) -> Training:
    options, size = params.train.applied(), params.data.image_size
    categories = schemas.read_parquet("data/categories.parquet", schemas.CATEGORIES)
    classes = params.variants[params.variant]
    class_of = variant_classes(classes, categories)
    names = ["background", *classes]
    files = {split: shards(ARTIFACTS / "dataset", split) for split in ("train", "val")}
    n_train, pixels = count_pixels(read_examples(files["train"], size), class_of, len(names))
    n_val, _ = count_pixels(read_examples(files["val"], size), class_of, len(names))
    weights = class_weights(pixels, options.class_weights, names).tolist()
    return Training(files, classes, names, class_of, n_train, n_val, weights)


def train(
    params: Params, data: Training, checkpoint_folder: Path, log_folder: Path, only: np.ndarray | None = None
) -> tuple[keras.Model, pd.DataFrame, Checkpoint]:
    """Train on the train split, or only on some of its images, from the same start whatever was trained before."""
    options, size = params.train.applied(), params.data.image_size
    make_deterministic(options.seed)
    kind, encoder = read_encoder(Path("data/weights"))
    with strategy().scope():
        model = build_model(kind, encoder, size, len(data.names), options)
    classes = {name: list(held) for name, held in data.classes.items()}
    settings = {"classes": classes, "size": size, **options.model_dump()}
    if only is not None:
        settings["only"] = only.tolist()
    read = [*map(Path, data.files["train"] + data.files["val"]), *([encoder] if encoder else [])]
    checkpoint = Checkpoint(checkpoint_folder, fingerprint(settings, read), options.patience)
    history = fit(
        model,
        lambda first: training_batches(
            data.files["train"], size, data.class_of, options.batch_size, options.augment, options.seed, first, only
        ),
        validation_batches(read_examples(data.files["val"], size), data.n_val, data.class_of, options.batch_size),
        PixelCrossEntropy(data.weights),
        data.names,
        ceil((data.n_train if only is None else len(only)) / options.batch_size),
        options,
        checkpoint,
        log_folder,
    )
    return model, history, checkpoint


def train_folds(params: Params, data: Training, image_ids: np.ndarray) -> None:
    """A model for each fold of the train split that has not seen it; none for one fold."""
    folds, checkpoints = params.labels.folds, []
    fold = fold_of(image_ids, folds)
    with atomic_folder(ARTIFACTS / "folds") as folder, TemporaryDirectory() as logs:
        write_json(folder / "folds.json", {"folds": folds, "images": np.bincount(fold, minlength=folds).tolist()})
        for number in range(folds if folds > 1 else 0):
            print(f"fold {number + 1} of {folds}")
            scratch = CHECKPOINT.with_name(f"{CHECKPOINT.name}-fold-{number}")
            model, _, checkpoint = train(params, data, scratch, Path(logs) / str(number), image_ids[fold != number])
            in_float32(model).save(fold_model(folder, number))
            checkpoints.append(checkpoint)
    for checkpoint in checkpoints:
        checkpoint.remove()


if __name__ == "__main__":
    stage.run(main)
