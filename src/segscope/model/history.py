"""What each epoch of a training measured, and which epoch was best.

A history has one row an epoch: `epoch` (from 1), `learning_rate`, and of each split

- `objective`: what is optimised, the class-weighted cross-entropy (`objective.PixelCrossEntropy`);
- `loss`: the mean pixel cross-entropy in nats, unweighted, as `segscope.evaluation.loss` defines it;
- `iou_NAME`, `mean_iou_NAME` of each class but background.

val's are called `val_…`. Train's are over the epoch's batches: augmented images, seen while the weights change.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

# Keras's own name of what it minimises is loss.
_OF_KERAS = {"loss": "objective", "pixel_loss": "loss"}
_VAL = "val_"

Row = Mapping[str, float]


def split_of(key: str) -> tuple[str, str]:
    """The split and the name of a key that is of a split: val and loss of `val_loss`, train and loss of `loss`."""
    return ("val", key.removeprefix(_VAL)) if key.startswith(_VAL) else ("train", key)


def epoch_row(epoch: int, learning_rate: float, logs: Row) -> dict[str, float]:
    """The row of an epoch, by Keras's logs of it: train before val, objective and loss before the IoUs."""
    row: dict[str, float] = {"epoch": epoch, "learning_rate": learning_rate}
    keys = {split_of(key): key for key in logs}
    for split, name in sorted(keys, key=lambda key: (key[0], key[1] not in _OF_KERAS, key[1])):
        row[("" if split == "train" else _VAL) + _OF_KERAS.get(name, name)] = float(logs[keys[split, name]])
    return row


def best_row(history: Sequence[Row]) -> Row:
    """The epoch whose val mean IoU is highest on average over the classes; of equals, that of the lowest objective."""

    def merit(row: Row) -> tuple[float, float]:
        return float(np.mean([row[key] for key in row if key.startswith("val_mean_iou_")])), -row["val_objective"]

    return max(history, key=merit)


def best_metrics(history: pd.DataFrame) -> dict[str, Any]:
    """Of a history: the number of epochs, the best epoch, and its numbers of each split."""
    rows = history.to_dict("records")
    best = best_row(rows)
    metrics: dict[str, Any] = {"epochs": len(rows), "epoch": int(best["epoch"]), "train": {}, "val": {}}
    for key, value in best.items():
        if key not in ("epoch", "learning_rate"):
            split, name = split_of(key)
            metrics[split][name] = value
    return metrics
