"""predict: what the model makes of every image, its metrics, and the labels it contradicts."""

from pathlib import Path

import keras
import numpy as np
import pandas as pd
from scipy.special import softmax

from segscope import evaluation, labels, schemas, stage
from segscope.dataset import read_examples, shards
from segscope.files import atomic_path, write_json
from segscope.images import encode_png
from segscope.masks import variant_classes
from segscope.params import Params
from segscope.prediction import load_model, predict_batches

ARTIFACTS = Path("artifacts")


def main(params: Params) -> None:
    keras.utils.set_random_seed(params.predict.seed)
    categories = schemas.read_parquet("data/categories.parquet", schemas.CATEGORIES)
    samples = schemas.read_parquet(ARTIFACTS / "samples.parquet", schemas.samples_schema(categories))
    instances = schemas.read_parquet(ARTIFACTS / "instances.parquet", schemas.INSTANCES)
    truth = schemas.read_parquet("data/truth.parquet", schemas.TRUTH)
    classes = params.variants[params.variant]
    class_of = variant_classes(classes, categories)
    class_of_category = class_of[[0, *categories["category_id"]]]
    names = ["background", *classes]
    size = params.data.image_size
    model = load_model(ARTIFACTS / "model.keras", len(names), size)
    position = evaluation.category_index(categories["category_id"])
    shapes = dict(zip(samples["image_id"], zip(samples["height"], samples["width"], strict=True), strict=True))
    by_image = dict(list(instances.groupby("image_id")))
    rows, found = [], []
    for split, n in samples["split"].value_counts(sort=False).items():
        examples = read_examples(shards(ARTIFACTS / "dataset", split), size)
        for ids, masks, (logits,) in predict_batches(model, examples, n, f"predict {split}", params.predict.batch_size):
            p = softmax(logits, axis=-1)
            table = evaluation.image_table(p, position[masks], class_of_category, names)
            pictures = [encode_png(mask) for mask in p.argmax(-1).astype(np.uint8)]
            rows.append(table.assign(image_id=ids, split=split, mask=pictures))
            for i, image_id in enumerate(ids):
                annotations = by_image.get(image_id, instances[:0])
                issues = labels.suspects(p[i], masks[i], annotations, class_of, names, shapes[image_id])
                found.append(issues.assign(image_id=image_id, split=split))
    predictions = pd.concat(rows, ignore_index=True)
    suspects = pd.concat([issues for issues in found if len(issues)] or found[:1])
    suspects = suspects.sort_values("score", ascending=False)
    metrics, matrices = evaluate(predictions, categories, class_of_category, names, params)
    for split, values in metrics.items():
        chosen = suspects[suspects["split"] == split]
        values["suspects"] = {kind: int((chosen["kind"] == kind).sum()) for kind in labels.KINDS}
        if quality := labels.ranking_quality(chosen, truth[truth["split"] == split]):
            values["planted_faults"] = quality
    schema = schemas.predictions_schema(list(classes), len(categories))
    schemas.write_parquet(ARTIFACTS / "predictions.parquet", predictions, schema)
    schemas.write_parquet(ARTIFACTS / "label_issues.parquet", suspects, schemas.LABEL_ISSUES)
    write_plots(metrics, matrices["val"], names)
    write_json("metrics/predict.json", metrics)


def evaluate(
    predictions: pd.DataFrame,
    categories: pd.DataFrame,
    class_of_category: np.ndarray,
    names: list[str],
    params: Params,
) -> tuple[dict[str, dict], dict[str, np.ndarray]]:
    """Metrics and confusion (predicted × true class) of each split."""
    metrics, matrices = {}, {}
    for split, part in predictions.groupby("split"):
        counts = np.stack(part["counts"]).reshape(len(part), len(names), -1)
        matrix = evaluation.confusion(counts, class_of_category)
        loss = part["loss"].to_numpy(float)
        metrics[split] = evaluation.split_metrics(matrix, loss, names, params.predict.bootstrap, params.predict.seed)
        metrics[split]["recall"] = evaluation.category_recall(counts.sum(0), categories, class_of_category)
        matrices[split] = matrix.sum(0)
    return metrics, matrices


def write_plots(metrics: dict[str, dict], matrix: np.ndarray, names: list[str]) -> None:
    """For `dvc plots`: IoU of each class and split; the val split's confusion as shares of each true class."""
    iou = [
        {"class": f"{name} ({split})", "iou": values["iou"][name]}
        for split, values in metrics.items()
        for name in names[1:]
    ]
    share = matrix / np.maximum(matrix.sum(0), 1)
    confusion = [
        {"actual": actual, "predicted": predicted, "share": share[p, a]}
        for a, actual in enumerate(names)
        for p, predicted in enumerate(names)
    ]
    with atomic_path(ARTIFACTS / "plots") as folder:
        folder.mkdir()
        pd.DataFrame(iou).to_csv(folder / "iou.csv", index=False)
        pd.DataFrame(confusion).to_csv(folder / "confusion.csv", index=False)


if __name__ == "__main__":
    stage.run(main)
