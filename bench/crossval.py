"""Recipes compared by cross-validation over images, on the photographs that the environment variable COCO_MINI names.

    python bench/crossval.py run NAME [KEY=VALUE ...]   # of params.yaml: variant=supercategory train.recipe=reference
    python bench/crossval.py compare NAME NAME ...      # each against the first, paired over the same images

All images of both splits are dealt into five folds. Each fold is judged once, by a model that learned from the others,
and decided on a part of them (`train.holdout`) or not at all: nothing about the judged images is known to the training.
Results are kept in bench/results.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import tensorflow as tf
import yaml
from scipy.special import softmax

from bench import write_project
from segscope.evaluation.bootstrap import Bootstrap, interval
from segscope.evaluation.counts import confusion, iou, outcomes
from segscope.evaluation.per_image import image_table, pixel_counts
from segscope.model.dataset import read_examples, shards
from segscope.model.encoder import read_encoder
from segscope.model.history import best_metrics
from segscope.model.inference import predict_batches
from segscope.model.training import hold_out, prepare_training, train
from segscope.params import Params
from segscope.params_file import parse_params
from segscope.run import Run

ROOT = Path(__file__).parent.parent
RESULTS = Path(__file__).parent / "results"
FOLDS = 5
RESAMPLES = 2000


def read_params(changes: list[str]) -> Params:
    """params.yaml with some keys changed, as `dvc exp run -S` would."""
    document = yaml.safe_load((ROOT / "params.yaml").read_text())
    for change in changes:
        key, value = change.split("=", 1)
        *groups, name = key.split(".")
        target = document
        for group in groups:
            target = target[group]
        target[name] = yaml.safe_load(value)
    return parse_params(yaml.safe_dump(document), "params.yaml, as changed,")


def deal(project: Run, folder: Path) -> list[str]:
    """Write the examples of both splits into one file a fold, at random; returns the files."""
    records = [
        record
        for split in ("train", "val")
        for record in tf.data.TFRecordDataset(shards(project.path("dataset"), split)).as_numpy_iterator()
    ]
    order = np.random.default_rng(0).permutation(len(records))
    files = [str(folder / f"fold-{i}.tfrecord") for i in range(FOLDS)]
    for i, file in enumerate(files):
        with tf.io.TFRecordWriter(file) as writer:
            for index in order[i::FOLDS]:
                writer.write(records[index])
    return files


def judge_fold(files: list[str], test: int, project: Run, scratch: Path) -> pd.DataFrame:
    """Train without the fold, then each of its images' confusion: image_id, confusion (K × K, flat)."""
    size, taxonomy = project.params.data.image_size, project.taxonomy
    parts = {"train": [file for file in files if file != files[test]], "val": [files[test]]}
    training = prepare_training(parts, size, taxonomy, project.params.train.applied())
    training = hold_out(training, pd.Series(training.image_ids, training.image_ids))
    encoder = read_encoder(project.path("weights"))
    model, history, _ = train(training, encoder, scratch / f"checkpoint-{test}", scratch / f"live-{test}")
    best = best_metrics(history)
    print(f"fold {test}: epoch {best['epoch']} of {best['epochs']}", flush=True)
    rows = []
    for ids, masks, (logits,) in predict_batches(model, read_examples([files[test]], size), 0, f"fold {test}"):
        table = image_table(softmax(logits, -1), taxonomy.position_of_id[masks], taxonomy)
        matrix = confusion(pixel_counts(table, taxonomy), taxonomy.class_of_position)
        rows.append(pd.DataFrame({"image_id": ids, "confusion": list(matrix.reshape(len(ids), -1))}))
    return pd.concat(rows)


def run(name: str, changes: list[str]) -> None:
    params = read_params(changes)
    with tempfile.TemporaryDirectory() as scratch:
        project = Run(params, write_project(Path(scratch) / "project", Path(os.environ["COCO_MINI"])))
        files = deal(project, Path(scratch))
        rows = []
        for test in range(FOLDS):
            rows.append(judge_fold(files, test, project, Path(scratch)))
            keras.backend.clear_session()
    RESULTS.mkdir(exist_ok=True)
    table = pd.concat(rows).sort_values("image_id")
    table.attrs = {"classes": list(params.classes)}
    table.to_parquet(RESULTS / f"{name}.parquet", index=False)
    compare([name])


def values(parts: np.ndarray, weights: np.ndarray) -> dict[str, np.ndarray]:
    """Dataset IoU, and mean IoU over the images that show the class, of each resample; parts: N × 3 (TP, FP, FN)."""
    shown = (parts[:, 0] + parts[:, 2]) > 0
    each = np.where(shown, iou(*parts.T), 0)
    return {"IoU": iou(*(weights @ parts).T), "mean IoU": (weights @ each) / (weights @ shown)}


def compare(names: list[str]) -> None:
    tables = {name: pd.read_parquet(RESULTS / f"{name}.parquet") for name in names}
    first = tables[names[0]]
    drawn = Bootstrap(np.arange(len(first)), RESAMPLES).weights()
    weights = np.vstack([np.ones(len(first)), *drawn])
    rows = []
    for k, label in enumerate(first.attrs["classes"], start=1):
        found = {}
        for name, table in tables.items():
            if not table["image_id"].equals(first["image_id"]):
                raise SystemExit(f"{name} was not judged on the images of {names[0]}")
            matrix = np.stack(table["confusion"]).reshape(len(table), len(first.attrs["classes"]) + 1, -1)
            parts = np.stack([part[:, k] for part in outcomes(matrix)], -1).astype(float)
            found[name] = values(parts, weights)
        for name in names:
            for metric, drawn in found[name].items():
                difference = drawn - found[names[0]][metric]
                row = {"recipe": name, "class": label, "metric": metric, "value": _with_interval(drawn)}
                rows.append(row | ({"against first": _with_interval(difference)} if name != names[0] else {}))
    print(pd.DataFrame(rows).fillna("").to_markdown(index=False))


def _with_interval(drawn: np.ndarray) -> str:
    low, high = interval(drawn[1:])
    return f"{drawn[0]:.3f} ({low:.3f} to {high:.3f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    trained = commands.add_parser("run", help="train and judge a recipe")
    trained.add_argument("name")
    trained.add_argument("changes", nargs="*", metavar="KEY=VALUE")
    compared = commands.add_parser("compare", help="compare kept results")
    compared.add_argument("names", nargs="+", metavar="NAME")
    options = parser.parse_args()
    if options.command == "run":
        if "COCO_MINI" not in os.environ:
            sys.exit("set COCO_MINI to the photographs' directory")
        run(options.name, options.changes)
    else:
        compare(options.names)


if __name__ == "__main__":
    main()
