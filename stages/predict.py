"""predict: what the model makes of every image, its metrics, and the labels it contradicts."""

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pandas as pd

from segscope import evaluation, labels, plots, schemas, stage
from segscope.confusions import category_table
from segscope.dataset import read_examples, shards
from segscope.files import atomic_folder, write_json
from segscope.folds import fold_model, fold_of
from segscope.judgement import Judgement, find_confusions, judge, metrics, pixel_counts
from segscope.label_quality import ranking_quality
from segscope.masks import variant_classes
from segscope.params import Params
from segscope.prediction import load_model

ARTIFACTS = Path("artifacts")


def main(params: Params) -> None:
    keras.utils.set_random_seed(params.predict.seed)
    categories = schemas.read_parquet("data/categories.parquet", schemas.CATEGORIES)
    samples = schemas.read_parquet(ARTIFACTS / "samples.parquet", schemas.samples_schema(categories))
    instances = schemas.read_parquet(ARTIFACTS / "instances.parquet", schemas.INSTANCES)
    truth = schemas.read_parquet("data/truth.parquet", schemas.TRUTH)
    classes = params.variants[params.variant]
    names = ["background", *classes]
    class_of = variant_classes(classes, categories)
    size = params.data.image_size
    model = load_model(ARTIFACTS / "model.keras", len(names), size)

    def look(model: keras.Model, split: str, images: pd.DataFrame, annotations: pd.DataFrame | None) -> Judgement:
        only = None if len(images) == (samples["split"] == split).sum() else images["image_id"].to_numpy()
        examples = read_examples(shards(ARTIFACTS / "dataset", split), size, only)
        title, batch = f"predict {split}", params.predict.batch_size
        return judge(model, examples, images, annotations, categories, class_of, names, title, batch)

    judged, measured, confused = {}, {}, {}
    for split, images in samples.groupby("split"):
        # The model has seen the train split's labels: it cannot judge them.
        judged[split] = look(model, split, images, instances if split == "val" else None)
        measured[split] = metrics(judged[split], categories, class_of, names, params.predict)
        confused[split] = find_confusions(judged[split], categories, class_of, names, params.predict)
        measured[split]["false_positives"] = {
            name: {category: values["share"] for category, values in found["categories"].items()}
            for name, found in confused[split].items()
        }
    suspects = {"val": judged["val"].suspects}
    if params.labels.folds > 1:
        suspects["train"] = train_suspects(params, look, samples[samples["split"] == "train"], instances, len(names))
    for split, found in suspects.items():
        measured[split]["suspects"] = {kind: int((found["kind"] == kind).sum()) for kind in labels.KINDS}
        if quality := ranking_quality(found, truth[truth["split"] == split]):
            measured[split]["planted_faults"] = quality
    predictions = plots.by_split({split: found.predictions for split, found in judged.items()})
    suspects = plots.by_split(suspects)
    schema = schemas.predictions_schema(list(classes), len(categories))
    schemas.write_parquet(ARTIFACTS / "predictions.parquet", predictions, schema)
    schemas.write_parquet(ARTIFACTS / "label_issues.parquet", suspects, schemas.LABEL_ISSUES)
    write_tables(judged, measured, categories, class_of, names)
    write_json("metrics/predict.json", measured)
    write_json(ARTIFACTS / "confusions.json", confused)
    for found in confused["val"].values():
        print(found["statement"])


def train_suspects(
    params: Params, look: Callable[..., Judgement], train: pd.DataFrame, instances: pd.DataFrame, n_classes: int
) -> pd.DataFrame:
    """The suspects of the train split, each image judged by the model of the fold that did not see it."""
    fold = fold_of(train["image_id"].to_numpy(), params.labels.folds)
    found = []
    for number in np.unique(fold):
        model = load_model(fold_model(ARTIFACTS / "folds", number), n_classes, params.data.image_size)
        found.append(look(model, "train", train[fold == number], instances).suspects)
    return pd.concat(found).sort_values("score", ascending=False, kind="stable")


def write_tables(
    judged: dict[str, Judgement],
    measured: dict[str, dict],
    categories: pd.DataFrame,
    class_of: np.ndarray,
    names: list[str],
) -> None:
    """What `dvc plots` and the report draw, as CSV."""
    counts = {split: pixel_counts(found, names) for split, found in judged.items()}
    matrix = evaluation.confusion(counts["val"], evaluation.class_of_positions(class_of, categories)).sum(0)
    curves = {split: evaluation.reliability_curve(found.reliability) for split, found in judged.items()}
    pairs = {split: category_table(table, categories["name"], names) for split, table in counts.items()}
    tables = {
        "iou": plots.iou_table(measured, names),
        "confusion": plots.confusion_table(matrix, names),
        "loss": plots.loss_histogram({split: found.predictions["loss"] for split, found in judged.items()}),
        "reliability": plots.by_split(curves),
        "categories": plots.by_split(pairs),
    }
    with atomic_folder(ARTIFACTS / "plots") as folder:
        for name, table in tables.items():
            table.to_csv(folder / f"{name}.csv", index=False)


if __name__ == "__main__":
    stage.run(main)
