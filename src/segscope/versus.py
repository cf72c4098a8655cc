"""Two runs compared over the same images. Letters: N images, K classes, C categories (0 is unlabelled)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import yaml

from segscope.errors import SegscopeError
from segscope.evaluation import (
    bootstrap_weights,
    class_of_positions,
    confusion,
    interval,
    iou,
    outcomes,
    yardstick_classes,
)
from segscope.masks import variant_classes
from segscope.revisions import read_columns, read_file

RESAMPLES = 1000
# Of the whole run, without an interval: where in the metrics files each stands.
PLAIN = {
    "separability": ("embed", "all", "separability"),
    "silhouette": ("embed", "all", "silhouette"),
    "neighbor_purity": ("embed", "all", "neighbor_purity"),
    "trustworthiness": ("embed", "trustworthiness"),
    "calibration error": ("predict", "val", "calibration", "ece"),
    "clusters": ("cluster", "clusters"),
    "cluster stability": ("cluster", "stability", "seeds"),
}


@dataclass(frozen=True)
class RunOf:
    """A revision's run. classes: the variant's. class_of_category: uint8[C]. predictions: image_id, split, loss,
    counts, mask. points: image_id, x, y, cluster, dominant (super-category). paths: of the photographs, by image_id.
    metrics: by stage.
    """

    name: str
    variant: str
    classes: list[str]
    categories: pd.DataFrame
    class_of_category: np.ndarray
    predictions: pd.DataFrame
    points: pd.DataFrame
    paths: Mapping[int, str]
    metrics: Mapping[str, Any]


def read_run(revision: str) -> RunOf:
    """Read a revision's artefacts. Raises SegscopeError if one is missing."""
    params = yaml.safe_load(read_file("params.yaml", revision))
    variant = params["variants"][params["variant"]]
    categories = read_columns("data/categories.parquet", revision, ["category_id", "name", "supercategory"])
    columns = ["image_id", "split", "loss", "counts", "mask"]
    points = read_columns("artifacts/embeddings.parquet", revision, ["image_id", "x", "y"])
    clusters = read_columns("artifacts/clusters.parquet", revision, ["image_id", "cluster"])
    samples = read_columns("artifacts/samples.parquet", revision, ["image_id", "dominant"])
    index = read_columns("data/index.parquet", revision, ["image_id", "path"])
    return RunOf(
        revision,
        params["variant"],
        list(variant),
        categories,
        class_of_positions(variant_classes(variant, categories), categories),
        read_columns("artifacts/predictions.parquet", revision, columns),
        points.merge(clusters, on="image_id").merge(samples, on="image_id"),
        dict(zip(index["image_id"].tolist(), index["path"], strict=True)),
        {stage: json.loads(read_file(f"metrics/{stage}.json", revision)) for stage in ("predict", "embed", "cluster")},
    )


@dataclass(frozen=True)
class Comparison:
    """metrics: metric, a, b, difference, low, high, over the common val images; NaN intervals where there are none.

    images: image_id, loss_a, loss_b, change, the most improved first. note: where the two runs' images differ.
    """

    metrics: pd.DataFrame
    images: pd.DataFrame
    note: str | None


def compare_runs(a: RunOf, b: RunOf, seed: int = 0) -> Comparison:
    """Compare two runs by the val images that both judged, paired. Raises SegscopeError if there are none."""
    pair = [run.predictions[run.predictions["split"] == "val"].set_index("image_id") for run in (a, b)]
    common = pair[0].index.intersection(pair[1].index)
    if common.empty:
        raise SegscopeError(f"{a.name} and {b.name} have no val image in common: there is nothing to compare")
    note = None
    if len(common) < max(map(len, pair)):
        sizes = f"{len(pair[0])} and {len(pair[1])}"
        note = f"The runs were judged on different val images ({sizes}); compared are the {len(common)} they share."
    pair = [table.loc[common] for table in pair]
    weights = bootstrap_weights(len(common), RESAMPLES, seed)
    rows = [_row("loss", *(table["loss"].to_numpy(float) for table in pair), weights)]
    found = [_parts(run, table) for run, table in zip((a, b), pair, strict=True)]
    for metric in [name for name in found[0] if name in found[1]]:
        rows.append(_ratio_row(metric, *(parts[metric] for parts in found), weights))
    plain = {metric: [_at(run.metrics, path) for run in (a, b)] for metric, path in PLAIN.items()}
    plain["cluster purity"] = [cluster_purity(run.points) for run in (a, b)]
    rows += [(metric, x, y, y - x, np.nan, np.nan) for metric, (x, y) in plain.items()]
    images = pd.DataFrame(
        {"image_id": common, "loss_a": pair[0]["loss"].to_numpy(), "loss_b": pair[1]["loss"].to_numpy()}
    )
    images["change"] = images["loss_b"] - images["loss_a"]
    columns = ["metric", "a", "b", "difference", "low", "high"]
    return Comparison(pd.DataFrame(rows, columns=columns), images.sort_values("change", ignore_index=True), note)


def cluster_purity(points: pd.DataFrame) -> float:
    """Of the clustered images, the share whose dominant super-category is their cluster's most common; NaN of none."""
    clustered = points[points["cluster"] >= 0]
    most = clustered.groupby(["cluster", "dominant"]).size().groupby("cluster").max().sum()
    return float(most / len(clustered)) if len(clustered) else float("nan")


def _at(metrics: Mapping[str, Any], path: Sequence[str]) -> float:
    for key in path:
        metrics = metrics.get(key) if isinstance(metrics, Mapping) else None
    return float("nan") if metrics is None else float(metrics)


def _parts(run: RunOf, table: pd.DataFrame) -> dict[str, np.ndarray]:
    """What each ratio is made of, float N × 2 (above, below): iou.CLASS, recall.CATEGORY, pixel_accuracy."""
    counts = np.stack(table["counts"].to_numpy()).reshape(len(table), len(run.classes) + 1, -1).astype(float)
    tp, fp, fn = outcomes(confusion(counts, run.class_of_category))
    parts = {"pixel_accuracy": np.stack([tp.sum(1), (tp + fn).sum(1)], 1)}
    for k, name in enumerate(run.classes, start=1):
        parts[f"iou.{name}"] = np.stack([tp[:, k], (tp + fp + fn)[:, k]], 1)
        shown = (tp + fn)[:, k] > 0
        each = np.where(shown, np.nan_to_num(iou(tp, fp, fn)[:, k]), 0)
        parts[f"mean_iou.{name}"] = np.stack([each, shown], 1).astype(float)
    position = {name: i for i, name in enumerate(run.categories["name"], start=1)}
    for name, k in yardstick_classes(run.categories, run.class_of_category).items():
        column = counts[:, :, position[name]]
        if column.sum():
            parts[f"recall.{name}"] = np.stack([column[:, k], column.sum(1)], 1)
    return parts


def _row(metric: str, a: np.ndarray, b: np.ndarray, weights: np.ndarray) -> tuple:
    known = np.isfinite(a) & np.isfinite(b)
    return _ratio_row(metric, *(np.stack([np.where(known, x, 0), known], 1).astype(float) for x in (a, b)), weights)


def _ratio_row(metric: str, a: np.ndarray, b: np.ndarray, weights: np.ndarray) -> tuple:
    """A metric that is the ratio of two sums over images, and the 95 % interval of its paired difference."""
    values = [_ratio(parts.sum(0)) for parts in (a, b)]
    low, high = interval(_ratio(weights @ b) - _ratio(weights @ a))
    return (metric, *values, values[1] - values[0], low, high)


def _ratio(parts: np.ndarray) -> np.ndarray:
    above, below = parts[..., 0], parts[..., 1]
    return np.divide(above, below, out=np.full(np.shape(above), np.nan), where=below > 0)[()]


def as_markdown(a: RunOf, b: RunOf, found: Comparison) -> str:
    """The metrics as a Markdown table, for a pull request; what clearly changed is bold."""
    lines = [f"| val | {_cell(a.name)} | {_cell(b.name)} | difference |", "| --- | --- | --- | --- |"]
    for row in found.metrics.itertuples():
        if np.isnan(row.a) and np.isnan(row.b):
            continue
        change = f"{row.difference:+.3f}"
        if not np.isnan(row.low):
            change += f" ({row.low:+.3f} to {row.high:+.3f})"
            change = f"**{change}**" if row.low > 0 or row.high < 0 else change
        lines.append(f"| {_cell(row.metric)} | {row.a:.3f} | {row.b:.3f} | {change} |")
    text = "\n".join(lines) + "\n"
    return text if found.note is None else f"{text}\n{found.note}\n"


def _cell(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")
