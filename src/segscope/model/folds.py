"""The models beside the one that is analysed: of other seeds, and of the folds of the train split.

Of the folds each image is judged by a model that saw neither it nor a near copy.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from segscope.evaluation.predicted import Predicted
from segscope.model.inference import Split, predict_split
from segscope.model.saving import read_model


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


def predict_repeats(folder: Path, split: Split, batch_size: int) -> Iterator[tuple[int, Iterator[Predicted]]]:
    """The seed of each model that there is in the folder, ascending, and a split's images as it sees them."""
    for seed, file in sorted((int(path.stem.removeprefix("seed-")), path) for path in folder.glob("seed-*.keras")):
        yield seed, predict_split(read_model(file), split, batch_size)


def predict_folds(folder: Path, train: Split, group: pd.Series, folds: int, batch_size: int) -> Iterator[Predicted]:
    """The train split's images, each as the model sees it that learned from none of its fold; steadier, too.

    folder: of the folds' models. group: of the images, by image_id.
    """
    fold, ids = fold_of(group.to_numpy(), folds), group.index.to_numpy()
    for number in np.unique(fold):
        part = replace(train, n=int((fold == number).sum()), only=ids[fold == number])
        yield from predict_split(read_model(fold_model(folder, number)), part, batch_size, mirrored=True)
