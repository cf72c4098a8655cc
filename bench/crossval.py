"""Recipes compared by cross-validation over the photographs of a folder in COCO's layout.

    python bench/crossval.py run NAME [KEY=VALUE ...]   # of params.yaml: data.root=FOLDER variant=supercategory
    python bench/crossval.py compare NAME NAME ...      # each against the first, paired over the same images
    python bench/crossval.py compare --together NAME …  # of images that show every class of the first alone

`data.root` is what the environment variable COCO_MINI names if nothing else is said. All images of both splits are
dealt into five folds, near copies into the same one. Each fold is judged once for each of `train.seeds`, by a model
that learned from the others, and decided on a part of them (`train.holdout`) or not at all: nothing about the judged
images is known to the training. Each training's result is kept in bench/results/NAME; a run that was stopped goes on.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import tensorflow as tf
import yaml

from bench import write_project
from segscope.artefacts.records import index_records
from segscope.evaluation.bootstrap import Bootstrap, interval
from segscope.evaluation.counts import confusion, iou, outcomes
from segscope.evaluation.difference import differences
from segscope.evaluation.metrics import Ratio, resampled
from segscope.evaluation.per_image import image_table, pixel_counts
from segscope.latent.groups import find_groups
from segscope.model.dataset import shards, split_records
from segscope.model.encoder import read_encoder
from segscope.model.folds import fold_of
from segscope.model.history import best_metrics
from segscope.model.inference import predict_records
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
    photographs = {"source": "directory", "root": os.environ.get("COCO_MINI"), "match": "none"}
    document["data"] |= photographs
    for change in changes:
        key, value = change.split("=", 1)
        *groups, name = key.split(".")
        target = document
        for group in groups:
            target = target[group]
        target[name] = yaml.safe_load(value)
    if not document["data"]["root"]:
        sys.exit("set COCO_MINI to the photographs' directory, or data.root")
    return parse_params(yaml.safe_dump(document), "params.yaml, as changed,")


def deal(project: Run, groups: pd.Series, folder: Path) -> list[str]:
    """Write the examples of both splits into one file a fold, groups as wholes; returns the files."""
    of_both = [file for split in ("train", "val") for file in shards(project.path("dataset"), split)]
    # The order of the records within a fold decides nothing but the order of the images in a training.
    records = dict(_with_ids(of_both))
    folds = fold_of(groups.to_numpy(), FOLDS)
    files = [str(folder / f"fold-{i}.tfrecord") for i in range(FOLDS)]
    for i, file in enumerate(files):
        with tf.io.TFRecordWriter(file) as writer:
            for image_id in groups.index[folds == i]:
                writer.write(records[image_id])
    return files


def _with_ids(files: list[str]) -> list[tuple[int, bytes]]:
    ids = {"image_id": tf.io.FixedLenFeature([], tf.int64)}
    return [
        (int(tf.io.parse_single_example(record, ids)["image_id"]), record)
        for record in tf.data.TFRecordDataset(files).as_numpy_iterator()
    ]


def judge_fold(files: list[str], test: int, project: Run, seed: int, groups: pd.Series, scratch: Path) -> pd.DataFrame:
    """Train without the fold, then each of its images' confusion: image_id, group, confusion (K × K, flat), minutes."""
    size, taxonomy = project.params.data.image_size, project.taxonomy
    options = project.params.train.applied().model_copy(update={"seeds": [seed]})
    parts = {"train": [file for file in files if file != files[test]], "val": [files[test]]}
    training = hold_out(prepare_training(parts, size, taxonomy, options), groups)
    encoder, start = read_encoder(project.path("weights")), time.perf_counter()
    model, history, _ = train(training, encoder, scratch / f"checkpoint-{seed}-{test}", scratch / f"live-{seed}-{test}")
    minutes, best = (time.perf_counter() - start) / 60, best_metrics(history)
    print(f"seed {seed}, fold {test}: epoch {best['epoch']} of {best['epochs']}, {minutes:.1f} minutes", flush=True)
    rows = []
    for batch in predict_records(model, index_records([files[test]], size), 32):
        ids, masks = batch.image_ids, batch.masks
        table = image_table(batch.probabilities, batch.classes, taxonomy.position_of_id[masks], taxonomy)
        matrix = confusion(pixel_counts(table, taxonomy), taxonomy.class_of_position)
        rows.append(pd.DataFrame({"image_id": ids, "confusion": list(matrix.reshape(len(ids), -1))}))
    return pd.concat(rows).assign(group=lambda table: table["image_id"].map(groups), minutes=minutes)


def run(name: str, changes: list[str]) -> None:
    params = read_params(changes)
    kept = RESULTS / name
    kept.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        data = params.data.model_dump()
        project = Run(params, write_project(Path(scratch) / "project", data.pop("root"), **data))
        records = split_records(project.path("dataset"), params.data.image_size, "train", "val")
        groups = find_groups(project, [records]).set_index("image_id")["group"]
        files = deal(project, groups, Path(scratch))
        for seed in params.train.seeds:
            for test in range(FOLDS):
                file = kept / f"seed-{seed}-fold-{test}.parquet"
                if not file.exists():
                    table = judge_fold(files, test, project, seed, groups, Path(scratch))
                    table.attrs = {"classes": list(params.classes)}
                    table.to_parquet(file, index=False)
                    keras.backend.clear_session()
    compare([name])


def read_trainings(name: str) -> list[pd.DataFrame]:
    """The rows of all folds that were judged, by image_id, of each seed that judged them all."""
    of_seed: dict[str, list[pd.DataFrame]] = {}
    for file in sorted((RESULTS / name).glob("seed-*-fold-*.parquet")):
        of_seed.setdefault(file.stem.split("-")[1], []).append(pd.read_parquet(file))
    most = max(map(len, of_seed.values()))
    return [
        pd.concat(parts).sort_values("image_id", ignore_index=True) for parts in of_seed.values() if len(parts) == most
    ]


def pixels_of(table: pd.DataFrame, classes: Sequence[str]) -> np.ndarray:
    """Each image's pixels by prediction and label, N × K × K, background first."""
    return np.stack(table["confusion"]).reshape(len(table), len(classes) + 1, -1)


def metrics(table: pd.DataFrame, classes: Sequence[str]) -> dict[str, Ratio]:
    """IoU of all pixels, and mean IoU over the images that show the class, of each class."""
    matrix = pixels_of(table, classes)
    tp, fp, fn = (part.astype(float) for part in outcomes(matrix))
    shown, each, found = tp + fn > 0, iou(tp, fp, fn), {}
    for k, name in enumerate(classes, start=1):
        found[f"IoU, {name}"] = Ratio(tp[:, k], (tp + fp + fn)[:, k], shown[:, k])
        found[f"mean IoU, {name}"] = Ratio(np.where(shown, each, 0)[:, k], shown[:, k].astype(float), shown[:, k])
    return found


def compare(names: list[str], together: bool = False) -> None:
    """Print the metrics of recipes, and how they differ from the first's in the classes that both have.

    Of the images that all of them have judged; together: and that show every class of the first.
    """
    trainings = {name: read_trainings(name) for name in names}
    ids = set.intersection(*(set(table["image_id"]) for tables in trainings.values() for table in tables))
    if together:
        first = trainings[names[0]][0]
        labelled = pixels_of(first, first.attrs["classes"]).sum(1)[:, 1:]
        ids &= set(first["image_id"][(labelled > 0).all(1)])
    found, rows = {}, []
    for name, tables in trainings.items():
        tables = [table[table["image_id"].isin(ids)] for table in tables]
        bootstrap = Bootstrap(tables[0]["group"].to_numpy(), RESAMPLES)
        found[name] = [metrics(table, table.attrs["classes"]) for table in tables]
        drawn = [resampled(each, bootstrap) for each in found[name]]
        against = {row.metric: row for row in differences(found[names[0]], found[name], bootstrap)}
        minutes = np.mean([table["minutes"].mean() for table in tables])
        for metric in drawn[0]:
            low, high = interval(np.mean([each[metric] for each in drawn], axis=0))
            value = np.mean([each[metric].value() for each in found[name]])
            difference = against.get(metric)
            rows.append(
                {"recipe": name, "trainings": len(tables), "minutes": f"{minutes:.1f}", "metric": metric}
                | {"value": f"{value:.3f} ({low:.3f} to {high:.3f})"}
                | (
                    {"against first": f"{difference.difference:.3f} ({difference.low:.3f} to {difference.high:.3f})"}
                    if name != names[0] and difference
                    else {}
                )
            )
    print(f"{len(ids)} images")
    print(pd.DataFrame(rows).fillna("").sort_values("metric", kind="stable").to_markdown(index=False))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    trained = commands.add_parser("run", help="train and judge a recipe")
    trained.add_argument("name")
    trained.add_argument("changes", nargs="*", metavar="KEY=VALUE")
    compared = commands.add_parser("compare", help="compare kept results")
    compared.add_argument("names", nargs="+", metavar="NAME")
    compared.add_argument("--together", action="store_true", help="images that show every class of the first alone")
    options = parser.parse_args()
    if options.command == "run":
        run(options.name, options.changes)
    else:
        compare(options.names, options.together)


if __name__ == "__main__":
    main()
