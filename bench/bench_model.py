"""Training and prediction against bare Keras on the same images in memory, as ratios within a run.

Uses the photographs that the environment variable COCO_MINI names, or else drawn ones.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
from results import record, spread

from bench import write_project
from segscope.artefacts.records import Records
from segscope.evaluation.confusions import findings
from segscope.evaluation.evaluate import Measurer
from segscope.evaluation.objects import ObjectFinder
from segscope.evaluation.pictures import PictureTaker
from segscope.model.callbacks import Checkpoint
from segscope.model.dataset import read_records, shards, split_records, training_batches
from segscope.model.encoder import read_encoder
from segscope.model.examination import examine, tasks_of
from segscope.model.inference import Wanted, sampled
from segscope.model.objective import PixelCrossEntropy
from segscope.model.pixels import MeansTaker, PixelTaker
from segscope.model.saving import save_model
from segscope.model.source import open_model
from segscope.model.training import build_model, fit, make_deterministic, prepare_training
from segscope.run import Run
from segscope.suspects.find import SuspectFinder

REPEATS = 3
PREDICTIONS = 15  # runs of a few seconds each, on a machine that others may use
EPOCHS = 4
TRAININGS = {"bare": "bare model.fit, arrays in memory", "none": "segscope, no augmentation", "default": "segscope"}


def records_of(run: Run, name: str) -> Records:
    return split_records(run.path("dataset"), run.params.data.image_size, name)


def arrays(run: Run, split: str) -> tuple[np.ndarray, np.ndarray]:
    """The split's pictures, float32 N × H × W × 3, and their classes."""
    rows = list(read_records(records_of(run, split), run.params.data.image_size).as_numpy_iterator())
    images, masks = np.stack([row[1] for row in rows]), np.stack([row[2] for row in rows])
    return images.astype(np.float32), run.taxonomy.class_of_id[masks]


def new_model(run: Run) -> keras.Model:
    n_classes = len(run.taxonomy.class_names)
    return build_model(*read_encoder(run.path("weights")), run.params.data.image_size, n_classes, run.params.train)


def bare_epoch(run: Run) -> float:
    """Seconds of an epoch of model.fit on arrays, compiled before."""
    images, target = arrays(run, "train")
    model = new_model(run)
    model.compile("adam", PixelCrossEntropy(np.ones(len(run.taxonomy.class_names))))
    options = {"batch_size": run.params.train.batch_size, "verbose": 0}
    model.fit(images, target, **options)
    start = time.perf_counter()
    model.fit(images, target, epochs=EPOCHS, **options)
    return (time.perf_counter() - start) / EPOCHS


def segscope_epoch(run: Run, augment: str) -> float:
    """Seconds of an epoch as the train stage runs it: records decoded, metrics, checkpoint, log; one val image."""
    make_deterministic(0)
    files = {split: shards(run.path("dataset"), split) for split in ("train", "val")}
    options = run.params.train.model_copy(update={"augment": augment, "patience": 99})
    training = prepare_training(files, run.params.data.image_size, run.taxonomy, options)
    training = replace(training, val=training.val[:1])
    seconds = []
    for epochs in (1, 1 + EPOCHS):
        timed = replace(training, options=options.model_copy(update={"epochs": epochs}))
        with tempfile.TemporaryDirectory() as scratch:
            start = time.perf_counter()
            checkpoint = Checkpoint(Path(scratch) / "checkpoint", "", options.patience)
            fit(new_model(run), timed, checkpoint, Path(scratch) / "live")
            seconds.append(time.perf_counter() - start)
    return (seconds[1] - seconds[0]) / EPOCHS


def input_epoch(run: Run) -> float:
    """Seconds of an epoch's batches alone, read and varied as the train stage has them; says what memory they took."""
    before = peak_memory()
    make_deterministic(0)
    files = {split: shards(run.path("dataset"), split) for split in ("train", "val")}
    training = prepare_training(files, run.params.data.image_size, run.taxonomy, run.params.train)
    batches = iter(training_batches(training.train, run.params.train))
    next(batches)
    start = time.perf_counter()
    for _ in range(training.steps_per_epoch):
        next(batches)
    seconds = time.perf_counter() - start
    print(f"input alone: peak memory {peak_memory():.0f} MiB, of which {before:.0f} MiB for what is imported")
    return seconds


def peak_memory() -> float:
    """The most that this process ever held, in MiB."""
    status = Path("/proc/self/status").read_text().splitlines()  # getrusage gives that of the parent, where it had more
    return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM"))


def training_speed(folder: Path, images: int) -> None:
    """Each kind in a process of its own: determinism, which segscope asks TensorFlow for, cannot be taken back."""
    rounds, said = [], ""
    for _ in range(REPEATS):
        found = {}
        for kind in (*TRAININGS, "input"):
            command = [sys.executable, __file__, kind, str(folder)]
            output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            *_, said, seconds = output.splitlines()
            found[kind] = float(seconds)
        rounds.append(found)
    print(f"training, {images} images, medians of {REPEATS} runs; ratios within a run")
    measured = {}
    for kind, title in TRAININGS.items():
        rate = images / np.median([found[kind] for found in rounds])
        ratios = [found["bare"] / found[kind] for found in rounds]
        measured[kind] = spread(ratios)
        between = f"{np.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        print(f"{title:36} {rate:5.1f} images/s, {between} times bare")
    ratios = [found["default"] / found["input"] for found in rounds]
    print(f"input alone: {np.median(ratios):.1f} ({min(ratios):.1f} to {max(ratios):.1f}) times as fast as training")
    print(said)
    record("training", measured | {"input of training": spread(ratios)})


def prediction_speed(run: Run) -> None:
    """The predict stage's work, metrics and val's suspect labels included, against model.predict on the same arrays."""
    model = new_model(run)
    images = np.concatenate([arrays(run, split)[0] for split in ("train", "val")])
    samples, instances, batch_size = run.table("samples"), run.table("instances"), run.params.predict.batch_size

    groups = run.table("groups").set_index("image_id")["group"]

    save_model(model, run.path("model"))
    source = open_model(run.params, run.taxonomy, run.path("model"))
    layers, taxonomy = source.layers(run.params.embed.layers), run.taxonomy

    def stage() -> None:
        for name, judges in {"train": [], "val": [SuspectFinder]}.items():
            tasks = tasks_of(source, records_of(run, name), samples[samples["split"] == name], instances)
            kinds = [Measurer, ObjectFinder, PictureTaker, MeansTaker, PixelTaker, *judges]
            wanted = Wanted(layers, bool(judges), sampled(samples[samples["split"] == name], taxonomy))
            looks = examine(tasks, kinds, name, wanted, taxonomy=taxonomy, params=run.params)
            found = looks[Measurer].evaluation()
            found.measures(groups)
            findings(found.counts, taxonomy, found.groups(groups), {})
        looks[SuspectFinder].table(samples)

    def bare() -> None:
        model.predict(images, batch_size=batch_size, verbose=0)

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
    between = f"{np.median(ratios):.2f} ({ratios.min():.2f} to {ratios.max():.2f})"
    print(f"predict stage, all metrics: {between} times its wall time")
    record("prediction", spread(ratios.tolist()))


def main() -> None:
    if len(sys.argv) == 3:
        kind, run = sys.argv[1], Run(folder=Path(sys.argv[2]))
        augment = run.params.train.augment if kind == "default" else "none"
        kinds = {"bare": bare_epoch, "input": input_epoch}
        print(kinds[kind](run) if kind in kinds else segscope_epoch(run, augment))
        return
    with tempfile.TemporaryDirectory() as scratch:
        run = Run(folder=write_project(Path(scratch) / "project", os.environ.get("COCO_MINI")))
        training_speed(run.folder, len(records_of(run, "train")))
        prediction_speed(run)


if __name__ == "__main__":
    main()
