"""Measures: every figure of a run in one long table, and the few of them that `dvc metrics diff` shows.

A measure is named KIND or KIND.SUBJECT: `loss`, `iou.person`, `recall.bus`. docs/metrics.md explains each kind.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from segscope.artefacts.schemas import MEASURES

DIGITS = 4  # significant ones, of metrics/*.json

# Of each stage's measures, those of its metrics file: SPLIT.MEASURE, or MEASURE of what has no split.
METRICS: Mapping[str, tuple[str, ...]] = {
    "download": ("*.images", "*.skipped"),
    "masks": ("*.images", "*.instances", "*.skipped"),
    "train": ("epochs", "epoch"),
    "predict": (
        "train.iou.*",
        "val.loss",
        "val.pixel_accuracy",
        "val.calibration_error",
        "val.gap.*",
        "val.iou.*",
        "val.mean_iou.*",
        "val.boundary_iou.*",
        "val.recall.*",
        "val.suspects.*",
        "val.found.*",
    ),
    "embed": ("trustworthiness", "val.separability", "val.neighbor_purity"),
    "cluster": ("clusters", "unclustered", "stability.seeds", "stability.subsamples"),
    "report": ("images",),
}
COUNTED = ("images", "instances", "skipped", "epochs", "epoch", "suspects", "clusters")  # whole numbers
MOST = {"recall": 10}  # subjects of a kind in a metrics file: those of most images


class Measure(NamedTuple):
    """A figure. images: that it is made of. low, high: its 95 % interval; NaN, as images, where there is none.

    carriers: groups of images that carry it (`evaluation.bootstrap`), by which its interval can be trusted or not.
    """

    measure: str
    value: float
    images: float = math.nan
    low: float = math.nan
    high: float = math.nan
    split: str = ""
    carriers: float = math.nan


def measure_table(rows: Iterable[Measure]) -> pd.DataFrame:
    """Rows of a measures table; a value that is not finite is unknown, and left out."""
    table = pd.DataFrame(rows, columns=list(Measure._fields))
    table = table[np.isfinite(table["value"].astype(float))]
    return table.astype({"images": "Int64"})[[name for name in MEASURES.names if name != "stage"]]


def of_split(split: str, rows: Iterable[Measure]) -> list[Measure]:
    """The rows, of a split."""
    return [row._replace(split=split) for row in rows]


def select_metrics(table: pd.DataFrame, stage: str) -> dict[str, Any]:
    """The stage's metrics file: nested by split, kind and subject, numbers of four significant digits, counts whole."""
    rows = table.assign(kind=table["measure"].str.split(".", n=1).str[0])
    key = (rows["split"] + ".").where(rows["split"] != "", "") + rows["measure"]
    rows = rows[[any(fnmatchcase(name, pattern) for pattern in METRICS[stage]) for name in key]]
    for kind, most in MOST.items():
        of_kind = rows[rows["kind"] == kind]
        ranks = of_kind["images"].astype(float).groupby(of_kind["split"]).rank(method="first", ascending=False)
        rows = rows.drop(ranks.index[ranks > most])
    document: dict[str, Any] = {}
    for row in rows.itertuples():
        kind, _, subject = row.measure.partition(".")
        group = document.setdefault(row.split, {}) if row.split else document
        if subject:
            group.setdefault(kind, {})[subject] = _plain(kind, row.value)
        else:
            group[kind] = _plain(kind, row.value)
    return document


def _plain(kind: str, value: float) -> float | int:
    return int(value) if kind in COUNTED else float(f"{value:.{DIGITS}g}")


class Measures:
    """The measures of one run, to look them up."""

    def __init__(self, table: pd.DataFrame):
        self.table = table
        self._rows = {(row.split, row.measure): row for row in table.itertuples()}

    def find(self, measure: str, split: str = "") -> Any | None:
        """The row of a measure (value, low, high, images), or None if it is unknown."""
        return self._rows.get((split, measure))

    def value(self, measure: str, split: str = "") -> float:
        """The value of a measure, NaN if it is unknown."""
        row = self.find(measure, split)
        return math.nan if row is None else float(row.value)
