"""The tables behind `dvc plots`, of metrics/predict.json and of what it was made from. Letters: K classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

LOSS_BINS = 30


def iou_table(metrics: Mapping[str, Mapping], names: Sequence[str]) -> pd.DataFrame:
    """IoU and mean IoU of each class but background in each split, with their intervals."""
    rows = [
        {
            "split": split,
            "metric": title,
            "class": name,
            **{"iou": values[key][name], "low": values[key][f"{name}_low"], "high": values[key][f"{name}_high"]},
        }
        for split, values in metrics.items()
        for key, title in (("iou", "IoU"), ("mean_iou", "mean IoU"))
        for name in names[1:]
    ]
    return pd.DataFrame(rows)


def confusion_table(matrix: np.ndarray, names: Sequence[str]) -> pd.DataFrame:
    """Each pair of classes' share of the true class's pixels; matrix: int K × K, predicted × true."""
    share = matrix / np.maximum(matrix.sum(0), 1)
    return pd.DataFrame(
        {"actual": actual, "predicted": predicted, "share": share[p, a]}
        for a, actual in enumerate(names)
        for p, predicted in enumerate(names)
    )


def loss_histogram(loss: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """Share of each split's images by loss in nats, in bins that all splits share; what is not finite is left out."""
    finite = {split: values[np.isfinite(values)] for split, values in loss.items()}
    edges = np.histogram_bin_edges(np.concatenate(list(finite.values())), LOSS_BINS)
    rows = [
        {"split": split, "loss": low, "loss_end": high, "share": count / max(len(values), 1)}
        for split, values in finite.items()
        for low, high, count in zip(edges[:-1], edges[1:], np.histogram(values, edges)[0], strict=True)
    ]
    return pd.DataFrame(rows)


def by_split(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """One table of all splits' tables."""
    return pd.concat([table.assign(split=split) for split, table in tables.items()], ignore_index=True)
