"""train: fit the U-Net of the chosen variant on a frozen encoder."""

from math import ceil
from pathlib import Path

import pandas as pd

from segscope import schemas, stage
from segscope.dataset import count_pixels, read_examples, shards, training_batches
from segscope.encoder import read_encoder
from segscope.files import atomic_path, write_json
from segscope.masks import variant_classes
from segscope.params import Params
from segscope.training import build_model, class_weights, fit, make_deterministic

ARTIFACTS = Path("artifacts")


def main(params: Params) -> None:
    make_deterministic(params.train.seed)
    size = params.data.image_size
    categories = schemas.read_parquet("data/categories.parquet", schemas.CATEGORIES)
    classes = params.variants[params.variant]
    class_of = variant_classes(classes, categories)
    names = ["background", *classes]
    examples = {split: read_examples(shards(ARTIFACTS / "dataset", split), size) for split in ("train", "val")}
    n_train, pixels = count_pixels(examples["train"], class_of, len(names))
    weights = class_weights(pixels, params.train.class_weights, names)
    model = build_model(*read_encoder(Path("data/weights")), size, len(names))
    batch_size, seed = params.train.batch_size, params.train.seed
    history = fit(
        model,
        training_batches(examples["train"], class_of, batch_size, params.train.augment, seed),
        training_batches(examples["val"], class_of, batch_size, "none", seed),
        weights,
        names,
        ceil(n_train / batch_size),
        params.train,
    )
    with atomic_path(ARTIFACTS / "model.keras") as temporary:
        model.save(temporary)
    write_history(history)
    write_json("metrics/train.json", metrics(history, weights, names))


def write_history(history: pd.DataFrame) -> None:
    with atomic_path(ARTIFACTS / "training") as folder:
        folder.mkdir()
        history.to_csv(folder / "history.csv", index=False)


def metrics(history: pd.DataFrame, weights, names: list[str]) -> dict:
    last = history.iloc[-1].drop("epoch").to_dict()
    return {
        "epochs": len(history),
        "train": {key: value for key, value in last.items() if not key.startswith("val_")},
        "val": {key.removeprefix("val_"): value for key, value in last.items() if key.startswith("val_")},
        "class_weight": dict(zip(names, weights.tolist(), strict=True)),
    }


if __name__ == "__main__":
    stage.run(main)
