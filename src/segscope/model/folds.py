"""The models beside the one that is analysed: of other seeds, and of the folds of the train split.

Of the folds each image is judged by a model that saw neither it nor a near copy.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter
from pathlib import Path

import numpy as np
import pandas as pd

from segscope.artefacts.files import read_json
from segscope.artefacts.schemas import Seeds
from segscope.errors import made_by
from segscope.model.examination import Task
from segscope.model.source import Network


def fold_of(groups: np.ndarray, folds: int) -> np.ndarray:
    """The fold 0…folds - 1 of each image, int64[N], of their groups, int64[N].

    By the group's number alone (the finaliser of SplitMix64, https://doi.org/10.1145/2714064.2660195), so that leaving
    out a group moves no other.
    """
    x = np.asarray(groups, np.int64).astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return ((x ^ (x >> np.uint64(31))) % np.uint64(folds)).astype(np.int64)


def fold_sizes(groups: np.ndarray, folds: int) -> list[int]:
    """The number of images of each fold; groups: of each image."""
    return np.bincount(fold_of(groups, folds), minlength=folds).tolist()


def repeat_model(folder: Path, seed: int) -> Path:
    """The model that was trained with another seed."""
    return folder / f"seed-{seed}.keras"


def fold_model(folder: Path, fold: int) -> Path:
    """The model that was trained without a fold."""
    return folder / f"fold-{fold}.keras"


def repeat_tasks(folder: Path, tasks: Sequence[Task]) -> dict[int, list[Task]]:
    """The same of each model of another seed, by the seed, ascending. folder: of these, and of seeds.json."""
    seeds = read_json(folder / "seeds.json", Seeds, made_by("train"))["seeds"]
    files = {seed: repeat_model(folder, seed) for seed in sorted(seeds[1:])}
    return {seed: [(Network(file, source.gives), part) for source, part in tasks] for seed, file in files.items()}


def fold_tasks(folder: Path, tasks: Sequence[Task], group: pd.Series, folds: int) -> list[Task]:
    """Their images, each with the model that saw none of its fold; of a single fold none. group: by image_id."""
    parts = []
    for source, part in tasks if folds > 1 else []:
        fold = fold_of(group[part.images["image_id"]].to_numpy(), folds)
        parts += [(number, source.gives, part.of(fold == number)) for number in np.unique(fold).tolist()]
    # Fold by fold, so that each model is read once.
    return [(Network(fold_model(folder, n), gives), part) for n, gives, part in sorted(parts, key=itemgetter(0))]
