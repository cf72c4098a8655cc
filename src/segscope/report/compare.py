"""Two runs compared over the same images. Letters: N images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd

from segscope.artefacts.measures import Measures
from segscope.artefacts.revisions import read_file
from segscope.errors import SegscopeError
from segscope.evaluation.bootstrap import bootstrap_weights, interval
from segscope.evaluation.metrics import Ratio, ratios
from segscope.evaluation.per_image import pixel_counts
from segscope.run import Run
from segscope.taxonomy import Taxonomy

# Of the whole run, without an interval: the measure, and of which split.
PLAIN = {
    "separability": ("separability", "all"),
    "silhouette": ("silhouette", "all"),
    "neighbor_purity": ("neighbor_purity", "all"),
    "trustworthiness": ("trustworthiness", ""),
    "calibration error": ("calibration_error", "val"),
    "clusters": ("clusters", ""),
    "cluster stability": ("stability.seeds", ""),
}


@dataclass(frozen=True)
class RunOf:
    """A revision's run. predictions: image_id, split, loss, counts, mask. points: image_id, x, y, cluster, dominant
    (super-category). paths: of the photographs, by image_id.
    """

    name: str
    variant: str
    taxonomy: Taxonomy
    predictions: pd.DataFrame
    points: pd.DataFrame
    paths: Mapping[int, str]
    measures: Measures


def read_run(revision: str) -> RunOf:
    """Read a revision's artefacts. Raises SegscopeError if one is missing."""
    run = Run(read=partial(read_file, revision=revision), revision=revision)
    index = run.table("index", ["image_id", "path"])
    points = run.table("embeddings", ["image_id", "x", "y"])
    for name, column in (("clusters", "cluster"), ("samples", "dominant")):
        points = points.merge(run.table(name, ["image_id", column]), on="image_id")
    return RunOf(
        revision,
        run.params.variant,
        run.taxonomy,
        run.table("predictions", ["image_id", "split", "loss", "counts", "mask"]),
        points,
        dict(zip(index["image_id"].tolist(), index["path"], strict=True)),
        run.measures("predict", "embed", "cluster"),
    )


@dataclass(frozen=True)
class Comparison:
    """metrics: metric, a, b, difference, low, high, over the common val images; NaN intervals where there are none.

    images: image_id, loss_a, loss_b, change, the most improved first. note: where the two runs' images differ.
    """

    metrics: pd.DataFrame
    images: pd.DataFrame
    note: str | None


def compare_runs(a: RunOf, b: RunOf) -> Comparison:
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
    rows = _paired([_ratios(run, table) for run, table in zip((a, b), pair, strict=True)])
    plain = {name: [run.measures.value(*measure) for run in (a, b)] for name, measure in PLAIN.items()}
    plain["cluster purity"] = [cluster_purity(run.points) for run in (a, b)]
    rows += [(name, x, y, y - x, np.nan, np.nan) for name, (x, y) in plain.items()]
    images = pd.DataFrame(
        {"image_id": common, "loss_a": pair[0]["loss"].to_numpy(), "loss_b": pair[1]["loss"].to_numpy()}
    )
    images["change"] = images["loss_b"] - images["loss_a"]
    columns = ["metric", "a", "b", "difference", "low", "high"]
    return Comparison(pd.DataFrame(rows, columns=columns), images.sort_values("change", ignore_index=True), note)


def _ratios(run: RunOf, table: pd.DataFrame) -> dict[str, Ratio]:
    return ratios(pixel_counts(table, run.taxonomy), table["loss"].to_numpy(float), run.taxonomy)


def _paired(found: Sequence[Mapping[str, Ratio]]) -> list[tuple]:
    """Each metric that both runs have, over the same images, and the 95 % interval of its difference."""
    a, b = found
    weights = bootstrap_weights(len(a["loss"].above))
    rows = []
    for name in [name for name in a if name in b]:
        x, y = a[name].value(), b[name].value()
        low, high = interval(b[name].resampled(weights) - a[name].resampled(weights))
        rows.append((name, x, y, y - x, low, high))
    return rows


def cluster_purity(points: pd.DataFrame) -> float:
    """Of the clustered images, the share whose dominant super-category is their cluster's most common; NaN of none."""
    clustered = points[points["cluster"] >= 0]
    most = clustered.groupby(["cluster", "dominant"]).size().groupby("cluster").max().sum()
    return float(most / len(clustered)) if len(clustered) else float("nan")


def as_markdown(a: RunOf, b: RunOf, found: Comparison) -> str:
    """The metrics as a Markdown table, for a pull request; what clearly changed is bold."""
    lines = [f"| val | {_cell(a.name)} | {_cell(b.name)} | difference |", "| --- | --- | --- | --- |"]
    for row in found.metrics.itertuples():
        if np.isnan(row.a) and np.isnan(row.b):
            continue
        change = "–" if np.isnan(row.difference) else f"{row.difference:+.3f}"
        if not np.isnan(row.low):
            change += f" ({row.low:+.3f} to {row.high:+.3f})"
            change = f"**{change}**" if row.low > 0 or row.high < 0 else change
        a_value, b_value = ("–" if np.isnan(value) else f"{value:.3f}" for value in (row.a, row.b))
        lines.append(f"| {_cell(row.metric)} | {a_value} | {b_value} | {change} |")
    text = "\n".join(lines) + "\n"
    return text if found.note is None else f"{text}\n{found.note}\n"


def _cell(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")
