"""The tables behind `dvc plots`. Letters: K classes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from segscope.evaluation.bootstrap import TRUSTED
from segscope.evaluation.calibration import reliability_curve
from segscope.evaluation.confusions import category_table
from segscope.evaluation.counts import confusion
from segscope.evaluation.evaluate import Evaluation
from segscope.taxonomy import Taxonomy

LOSS_BINS = 30


def plot_tables(evaluations: Mapping[str, Evaluation], measures: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The tables by their names; evaluations: by split, of which the confusion is of `val`. measures: of them."""
    val = evaluations["val"]
    return {
        "iou": iou_table(measures),
        "confusion": confusion_table(confusion(val.counts, val.taxonomy.class_of_position).sum(0), val.taxonomy),
        "loss": loss_histogram({split: each.table["loss"].to_numpy() for split, each in evaluations.items()}),
        "reliability": by_split(
            {split: reliability_curve(e.reliability, e.taxonomy.class_names) for split, e in evaluations.items()}
        ),
        "errors": errors_table(measures),
        "categories": by_split({split: category_table(e.counts, e.taxonomy) for split, e in evaluations.items()}),
    }


def iou_table(measures: pd.DataFrame) -> pd.DataFrame:
    """IoU and mean IoU of each class but background in each split, with intervals where enough groups carry them."""
    parts = measures["measure"].str.partition(".")
    titles = parts[0].map({"iou": "IoU", "mean_iou": "mean IoU"})
    table = measures.assign(metric=titles, **{"class": parts[2]})[titles.notna()]
    trusted = table["carriers"] >= TRUSTED
    table = table.assign(low=table["low"].where(trusted), high=table["high"].where(trusted))
    return table.rename(columns={"value": "iou"})[["split", "metric", "class", "iou", "low", "high"]]


def errors_table(measures: pd.DataFrame) -> pd.DataFrame:
    """Of each class's wrong pixels in each split, the share of each kind (`segscope.evaluation.errors`)."""
    rows = measures[measures["measure"].str.startswith("errors.")]
    parts = rows["measure"].str.split(".", n=2, expand=True).reindex(columns=range(3))
    return rows.assign(**{"class": parts[1], "kind": parts[2], "share": rows["value"]})[
        ["split", "class", "kind", "share"]
    ]


def confusion_table(matrix: np.ndarray, taxonomy: Taxonomy) -> pd.DataFrame:
    """Each pair of classes' share of the true class's pixels; matrix: int K × K, predicted × true."""
    total = matrix.sum(0)
    share = np.divide(matrix, total, out=np.full(matrix.shape, np.nan), where=total > 0)
    return pd.DataFrame(
        {"actual": actual, "predicted": predicted, "share": share[p, a]}
        for a, actual in enumerate(taxonomy.class_names)
        for p, predicted in enumerate(taxonomy.class_names)
    )


def loss_histogram(loss: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """Share of each split's images by loss in nats, in bins that all splits share; what is not finite is left out."""
    finite = {split: values[np.isfinite(values)] for split, values in loss.items() if np.isfinite(values).any()}
    if not finite:
        return pd.DataFrame(columns=["split", "loss", "loss_end", "share"])
    edges = np.histogram_bin_edges(np.concatenate(list(finite.values())), LOSS_BINS)
    rows = [
        {"split": split, "loss": low, "loss_end": high, "share": count / len(values)}
        for split, values in finite.items()
        for low, high, count in zip(edges[:-1], edges[1:], np.histogram(values, edges)[0], strict=True)
    ]
    return pd.DataFrame(rows)


def by_split(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """One table of all splits' tables."""
    return pd.concat([table.assign(split=split) for split, table in tables.items()], ignore_index=True)
