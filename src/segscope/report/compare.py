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
from segscope.evaluation.bootstrap import TRUSTED, Bootstrap, interval
from segscope.evaluation.metrics import Ratio, carriers, ratios, resampled
from segscope.evaluation.per_image import pixel_counts
from segscope.run import Run
from segscope.taxonomy import Taxonomy

# Of the whole run, without an interval: the measure, and of which split.
PLAIN = {
    "separability": ("separability", "val"),
    "silhouette": ("silhouette", "val"),
    "neighbor_purity": ("neighbor_purity", "all"),
    "trustworthiness": ("trustworthiness", ""),
    "calibration error": ("calibration_error", "val"),
    "clusters": ("clusters", ""),
    "cluster stability": ("stability.seeds", ""),
    "cluster purity above chance": ("above_chance.purity", ""),
}


SINGLE = "Of two single trainings: another seed of the same configuration moves these figures, too."


@dataclass(frozen=True)
class RunOf:
    """A revision's run. predictions: image_id, split, loss, counts, mask. groups: by image_id. points: image_id, x, y,
    cluster. paths: of the photographs, by image_id.
    """

    name: str
    variant: str
    taxonomy: Taxonomy
    predictions: pd.DataFrame
    groups: pd.Series
    points: pd.DataFrame
    paths: Mapping[int, str]
    measures: Measures


def read_run(revision: str) -> RunOf:
    """Read a revision's artefacts. Raises SegscopeError if one is missing."""
    return run_of(Run(read=partial(read_file, revision=revision), revision=revision), revision)


def run_of(run: Run, name: str) -> RunOf:
    """A run's artefacts under a name. Raises SegscopeError if one is missing."""
    index = run.table("index", ["image_id", "path"])
    points = run.table("embeddings", ["image_id", "x", "y"])
    points = points.merge(run.table("clusters", ["image_id", "cluster"]), on="image_id")
    return RunOf(
        name,
        run.params.variant,
        run.taxonomy,
        run.table("predictions", ["image_id", "split", "loss", "counts", "mask"]),
        run.table("groups").set_index("image_id")["group"],
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
    groups = a.groups.loc[common].to_numpy()
    rows = _paired([_ratios(run, table) for run, table in zip((a, b), pair, strict=True)], Bootstrap(groups))
    plain = {name: [run.measures.value(*measure) for run in (a, b)] for name, measure in PLAIN.items()}
    rows += [(name, x, y, y - x, np.nan, np.nan) for name, (x, y) in plain.items()]
    images = pd.DataFrame(
        {"image_id": common, "loss_a": pair[0]["loss"].to_numpy(), "loss_b": pair[1]["loss"].to_numpy()}
    )
    images["change"] = images["loss_b"] - images["loss_a"]
    columns = ["metric", "a", "b", "difference", "low", "high"]
    return Comparison(pd.DataFrame(rows, columns=columns), images.sort_values("change", ignore_index=True), note)


def _ratios(run: RunOf, table: pd.DataFrame) -> dict[str, Ratio]:
    return ratios(pixel_counts(table, run.taxonomy), table["loss"].to_numpy(float), run.taxonomy)


def _paired(found: Sequence[Mapping[str, Ratio]], bootstrap: Bootstrap) -> list[tuple]:
    """Each metric that both runs have, over the same images, and the 95 % interval of its difference.

    There is none where too few groups carry the metric in either run.
    """
    a, b = ({name: ratio for name, ratio in each.items() if name in found[0] and name in found[1]} for each in found)
    carry = [carriers(each, bootstrap) for each in (a, b)]
    drawn = [resampled(each, bootstrap) for each in (a, b)]
    rows = []
    for name in a:
        x, y = a[name].value(), b[name].value()
        trusted = min(each[name] for each in carry) >= TRUSTED
        low, high = interval(drawn[1][name] - drawn[0][name]) if trusted else (np.nan, np.nan)
        rows.append((name, x, y, y - x, low, high))
    return rows


def as_markdown(a: RunOf, b: RunOf, found: Comparison) -> str:
    """The metrics as a Markdown table, for a pull request."""
    lines = [f"| val | {_cell(a.name)} | {_cell(b.name)} | difference |", "| --- | --- | --- | --- |"]
    for row in found.metrics.itertuples():
        if np.isnan(row.a) and np.isnan(row.b):
            continue
        change = "–" if np.isnan(row.difference) else f"{row.difference:+.3f}"
        if not np.isnan(row.low):
            change += f" ({row.low:+.3f} to {row.high:+.3f})"
        a_value, b_value = ("–" if np.isnan(value) else f"{value:.3f}" for value in (row.a, row.b))
        lines.append(f"| {_cell(row.metric)} | {a_value} | {b_value} | {change} |")
    text = "\n".join(lines) + f"\n\n{SINGLE}\n"
    return text if found.note is None else f"{text}\n{found.note}\n"


def _cell(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")
