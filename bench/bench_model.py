"""Training and prediction against bare Keras on the same images in memory, as ratios within a run.

Uses the photographs that the environment variable COCO_MINI names, or else drawn ones.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from math import ceil
from pathlib import Path

import keras
import numpy as np

from bench import write_project
from segscope.artefacts import schemas, tables
from segscope.evaluation.evaluate import find_confusions, judge, metrics
from segscope.model import callbacks, objective, training
from segscope.model.dataset import read_examples, shards, training_batches, validation_batches
from segscope.model.encoder import read_encoder
from segscope.params import Params
from segscope.params_file import load_params
from segscope.taxonomy import variant_classes

REPEATS = 3
PREDICTIONS = 15  # runs of a few seconds each, on a machine that others may use
EPOCHS = 4
TRAININGS = {"bare": "bare model.fit, arrays in memory", "none": "segscope, no augmentation", "default": "segscope"}


class Project:
    """What the stages read, of a project whose first two stages have run."""

    def __init__(self, folder: Path):
        self.params: Params = load_params(folder / "params.yaml")
        self.size = self.params.data.image_size
        self.categories = tables.read_parquet(folder / "data" / "categories.parquet", schemas.CATEGORIES)
        classes = self.params.variants[self.params.variant]
        self.names = ["background", *classes]
        self.class_of = variant_classes(classes, self.categories)
        self.files = {split: shards(folder / "artifacts" / "dataset", split) for split in ("train", "val")}
        self.encoder = read_encoder(folder / "data" / "weights")
        schema = schemas.samples_schema(self.categories)
        self.samples = tables.read_parquet(folder / "artifacts" / "samples.parquet", schema)
        self.instances = tables.read_parquet(folder / "artifacts" / "instances.parquet", schemas.INSTANCES)

    def arrays(self, split: str) -> tuple[np.ndarray, np.ndarray]:
        rows = list(read_examples(self.files[split], self.size).as_numpy_iterator())
        images, masks = np.stack([row[1] for row in rows]), np.stack([row[2] for row in rows])
        return images.astype(np.float32), self.class_of[masks]

    def model(self) -> keras.Model:
        return training.build_model(*self.encoder, self.size, len(self.names), self.params.train)


def bare_epoch(project: Project) -> float:
    """Seconds of an epoch of model.fit on arrays, compiled before."""
    images, target = project.arrays("train")
    model = project.model()
    model.compile("adam", objective.PixelCrossEntropy(np.ones(len(project.names))))
    options = {"batch_size": project.params.train.batch_size, "verbose": 0}
    model.fit(images, target, **options)
    start = time.perf_counter()
    model.fit(images, target, epochs=EPOCHS, **options)
    return (time.perf_counter() - start) / EPOCHS


def segscope_epoch(project: Project, augment: str) -> float:
    """Seconds of an epoch as the train stage runs it: records decoded, metrics, checkpoint, log; one val image."""
    training.make_deterministic(0)
    options = project.params.train.model_copy(update={"augment": augment, "patience": 99})
    n = sum(project.samples["split"] == "train")
    val = read_examples(project.files["val"], project.size).take(1)
    seconds = []
    for epochs in (1, 1 + EPOCHS):
        with tempfile.TemporaryDirectory() as scratch:
            start = time.perf_counter()
            training.fit(
                project.model(),
                lambda first: training_batches(
                    project.files["train"], project.size, project.class_of, options.batch_size, augment, 0, first
                ),
                validation_batches(val, 1, project.class_of, 1),
                objective.PixelCrossEntropy(np.ones(len(project.names))),
                project.names,
                ceil(n / options.batch_size),
                options.model_copy(update={"epochs": epochs}),
                callbacks.Checkpoint(Path(scratch) / "checkpoint", "", 99),
                Path(scratch) / "live",
            )
            seconds.append(time.perf_counter() - start)
    return (seconds[1] - seconds[0]) / EPOCHS


def training_speed(folder: Path, images: int) -> None:
    """Each kind in a process of its own: determinism, which segscope asks TensorFlow for, cannot be taken back."""
    rounds = []
    for _ in range(REPEATS):
        found = {}
        for kind in TRAININGS:
            command = [sys.executable, __file__, kind, str(folder)]
            output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            found[kind] = float(output.splitlines()[-1])
        rounds.append(found)
    print(f"training, {images} images, medians of {REPEATS} runs; ratios within a run")
    for kind, title in TRAININGS.items():
        rate = images / np.median([found[kind] for found in rounds])
        ratios = [found["bare"] / found[kind] for found in rounds]
        spread = f"{np.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        print(f"{title:36} {rate:5.1f} images/s, {spread} times bare")


def prediction_speed(project: Project) -> None:
    """The predict stage's work, metrics and val's suspect labels included, against model.predict on the same arrays."""
    model = project.model()
    images = np.concatenate([project.arrays(split)[0] for split in ("train", "val")])
    options = project.params.predict

    def stage() -> None:
        for split, chosen in project.samples.groupby("split"):
            examples = read_examples(project.files[split], project.size)
            known = project.categories, project.class_of, project.names
            judged_labels = project.instances if split == "val" else None
            judged = judge(model, examples, chosen, judged_labels, *known, split, options.batch_size)
            metrics(judged, *known, options)
            find_confusions(judged, *known, options)

    def bare() -> None:
        model.predict(images, batch_size=options.batch_size, verbose=0)

    seconds = []
    for _ in range(PREDICTIONS + 1):
        row = []
        for work in (bare, stage):
            start = time.perf_counter()
            work()
            row.append(time.perf_counter() - start)
        seconds.append(row)
    table = np.array(seconds[1:])
    ratios = table[:, 1] / table[:, 0]
    print(f"prediction, {len(images)} images, medians of {PREDICTIONS} runs; ratios within a run")
    print(f"bare model.predict: {len(images) / np.median(table[:, 0]):.1f} images/s")
    spread = f"{np.median(ratios):.2f} ({ratios.min():.2f} to {ratios.max():.2f})"
    print(f"predict stage, all metrics: {spread} times its wall time")


def main() -> None:
    if len(sys.argv) == 3:
        kind, project = sys.argv[1], Project(Path(sys.argv[2]))
        augment = project.params.train.augment if kind == "default" else "none"
        print(bare_epoch(project) if kind == "bare" else segscope_epoch(project, augment))
        return
    root = os.environ.get("COCO_MINI")
    with tempfile.TemporaryDirectory() as scratch:
        folder = write_project(Path(scratch) / "project", Path(root) if root else None)
        project = Project(folder)
        training_speed(folder, sum(project.samples["split"] == "train"))
        prediction_speed(project)


if __name__ == "__main__":
    main()
