"""What each epoch of a training measured, and which epoch is kept.

A history has one row an epoch: `epoch` (from 1), `learning_rate`, and of each split

- `objective`: what is optimised, by `train.objective` (`segscope.model.objective`);
- `loss`: the mean pixel cross-entropy in nats, unweighted, as `segscope.evaluation.loss` defines it;
- `iou_NAME`, `mean_iou_NAME` of each class but background.

val's are called `val_…`, those of train's images that are held out `held_…`. Train's are over the epoch's batches:
augmented images, seen while the weights change.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

# Keras's own name of what it minimises is loss.
_OF_KERAS = {"loss": "objective", "pixel_loss": "loss"}
_SPLITS = ("val", "held")

_ORDER = ("train", *_SPLITS)

Row = Mapping[str, float]


def split_of(key: str) -> tuple[str, str]:
    """The split and the name of a key that is of a split: val and loss of `val_loss`, train and loss of `loss`."""
    split, _, name = key.partition("_")
    return (split, name) if split in _SPLITS else ("train", key)


def epoch_row(epoch: int, learning_rate: float, logs: Row) -> dict[str, float]:
    """The row of an epoch, by Keras's logs of it: train before val, objective and loss before IoUs."""
    row: dict[str, float] = {"epoch": epoch, "learning_rate": learning_rate}
    keys = {split_of(key): key for key in logs}
    for split, name in sorted(keys, key=lambda key: (_ORDER.index(key[0]), key[1] not in _OF_KERAS, key[1])):
        row[("" if split == "train" else f"{split}_") + _OF_KERAS.get(name, name)] = float(logs[keys[split, name]])
    return row


def best_row(history: Sequence[Row]) -> Row:
    """The epoch that is kept: where images are held out that of their highest mean IoU, on average over the classes, of
    equals that of the lowest objective; or else the last. val, which is only measured on, has no say.
    """
    if not holds_out(history):
        return history[-1]

    def merit(row: Row) -> tuple[float, float]:
        return float(np.mean([row[key] for key in row if key.startswith("held_mean_iou_")])), -row["held_objective"]

    return max(history, key=merit)


def holds_out(history: Sequence[Row]) -> bool:
    """Whether some of train's images were held out to decide by."""
    return bool(history) and "held_objective" in history[-1]


def best_metrics(history: pd.DataFrame) -> dict[str, Any]:
    """Of a history: the number of epochs, the kept epoch, and its numbers of each split."""
    rows = history.to_dict("records")
    best = best_row(rows)
    metrics: dict[str, Any] = {"epochs": len(rows), "epoch": int(best["epoch"])} | {split: {} for split in _ORDER}
    for key, value in best.items():
        if key not in ("epoch", "learning_rate"):
            split, name = split_of(key)
            metrics[split][name] = value
    return {key: value for key, value in metrics.items() if value != {}}
