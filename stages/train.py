"""train: fit the U-Net of the chosen variant on a frozen encoder."""

from math import ceil
from pathlib import Path

from segscope import schemas, stage
from segscope.dataset import count_pixels, read_examples, shards, training_batches, validation_batches
from segscope.encoder import read_encoder
from segscope.files import atomic_path, write_json
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
    options, size = params.train.applied(), params.data.image_size
    make_deterministic(options.seed)
    categories = schemas.read_parquet("data/categories.parquet", schemas.CATEGORIES)
    classes = params.variants[params.variant]
    class_of = variant_classes(classes, categories)
    names = ["background", *classes]
    files = {split: shards(ARTIFACTS / "dataset", split) for split in ("train", "val")}
    n_train, pixels = count_pixels(read_examples(files["train"], size), class_of, len(names))
    n_val, _ = count_pixels(read_examples(files["val"], size), class_of, len(names))
    weights = class_weights(pixels, options.class_weights, names)
    kind, encoder = read_encoder(Path("data/weights"))
    with strategy().scope():
        model = build_model(kind, encoder, size, len(names), options)
    settings = {"classes": {name: list(held) for name, held in classes.items()}, "size": size, **options.model_dump()}
    read = [*map(Path, files["train"] + files["val"]), *([encoder] if encoder else [])]
    checkpoint = Checkpoint(CHECKPOINT, fingerprint(settings, read), options.patience)
    history = fit(
        model,
        lambda first: training_batches(
            files["train"], size, class_of, options.batch_size, options.augment, options.seed, first
        ),
        validation_batches(read_examples(files["val"], size), n_val, class_of, options.batch_size),
        PixelCrossEntropy(weights),
        names,
        ceil(n_train / options.batch_size),
        options,
        checkpoint,
        ARTIFACTS / "training",
    )
    history.to_csv(ARTIFACTS / "training" / "history.csv", index=False)
    with atomic_path(ARTIFACTS / "model.keras") as temporary:
        in_float32(model).save(temporary)
    metrics = best_metrics(history)
    data = {"source": params.data.source, "train": n_train, "val": n_val}
    parameters = {
        kind: sum(int(variable.shape.num_elements()) for variable in variables)
        for kind, variables in (("trained", model.trainable_variables), ("frozen", model.non_trainable_variables))
    }
    with atomic_path(ARTIFACTS / "model.md") as temporary:
        write_card(temporary, classes, size, parameters, options.model_dump(), data, metrics)
    write_json("metrics/train.json", metrics | {"class_weight": dict(zip(names, weights.tolist(), strict=True))})
    checkpoint.remove()


if __name__ == "__main__":
    stage.run(main)
