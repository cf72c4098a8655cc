"""What drives a model's performance: every metadata column against every score, hard images, and slices.

Letters: N images. Scores are tables of N rows: `loss`, and `iou.CLASS` of images that show the class (else NaN).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from segscope.artefacts.measures import Measure
from segscope.artefacts.schemas import INSIGHTS
from segscope.evaluation.groups import MIN_COMPARED, compare
from segscope.evaluation.words import listed
from segscope.insights.associations import associations
from segscope.insights.hard import HARD, hard_images
from segscope.insights.slices import Condition, Slice, find_slices
from segscope.labels.metadata import describe

KINDS = ("association", "hard", "slice")
SIGNIFICANT = 0.05
MIN_RHO = 0.1


@dataclass(frozen=True)
class Insights:
    """associations: rows of associations.parquet. insights: rows of insights.parquet, the most explaining first.

    hard: rows of `hard_images`.
    """

    associations: pd.DataFrame
    insights: pd.DataFrame
    hard: pd.DataFrame

    def statements(self) -> list[str]:
        """The insights as sentences."""
        return self.insights["statement"].tolist()

    def measures(self) -> list[Measure]:
        """insights.KIND: how many; inside.NAME.SCORE: mean of hard images; difference.NAME.SCORE: less the rest's."""
        kinds = self.insights["kind"].value_counts()
        rows = [Measure(f"insights.{kind}", int(kinds.get(kind, 0))) for kind in KINDS]
        for row in self.hard.itertuples(index=False):
            subject, difference = f"{row.name}.{row.metric}", row.inside - row.rest
            rows.append(Measure(f"inside.{subject}", row.inside, row.images))
            rows.append(Measure(f"difference.{subject}", difference, row.images, row.low, row.high))
        return rows


def find_insights(samples: pd.DataFrame, scores: pd.DataFrame, fewest: int) -> Insights:
    """All that metadata tells of the scores.

    samples: N rows of samples.parquet, in the order of the scores. fewest: images of a slice.
    """
    known = np.isfinite(scores["loss"].to_numpy(float))
    samples, scores = samples[known].reset_index(drop=True), scores[known].reset_index(drop=True)
    table = associations(samples, scores)
    hard = hard_images(samples, scores)
    found = find_slices(samples, scores["loss"].to_numpy(float), fewest)
    rows = [
        *_association_insights(table, samples, scores),
        *_group_insights(hard, samples, scores),
        *_slice_insights(found, samples, scores),
    ]
    insights = pd.DataFrame(rows, columns=INSIGHTS.names)
    return Insights(table, insights.sort_values("explained", ascending=False, ignore_index=True), hard)


def _association_insights(table: pd.DataFrame, samples: pd.DataFrame, scores: pd.DataFrame) -> list[dict[str, object]]:
    """One row a column that is clearly associated with a score: the loss, or else that of the lowest p-value."""
    clear = table[(table["p_value"] < SIGNIFICANT) & (table["rho"].abs() >= MIN_RHO)]
    rows = []
    for name, found in clear.groupby("column", sort=False):
        if pd.api.types.is_bool_dtype(samples[name]) or "`" in name:
            continue  # a group, not a trend
        main = found.sort_values("p_value", kind="stable").sort_values("metric", key=lambda m: m != "loss").iloc[0]
        chosen = _worse_end(samples[name], main)
        inside = chosen.holds(samples)
        figures = compare(inside, scores[[main["metric"]]]).iloc[0]
        trends = listed([f"{_named(row.metric)} {'rises' if row.rho > 0 else 'falls'}" for row in found.itertuples()])
        statement = (
            f"As the {describe(name)} grows, {trends} (Spearman {main['rho']:+.2f}, p {main['p_value']:.1g}): "
            f"for images with {chosen.words()}, {_named(main['metric'])} is {_contrast(figures)}."
        )
        rows.append(
            _row("association", name, statement, chosen, samples, figures)
            | {"metric": main["metric"], "p_value": main["p_value"], "rho": main["rho"], "explained": main["rho"] ** 2}
        )
    return rows


def _worse_end(values: pd.Series, row: pd.Series) -> Slice:
    """The images at that end of a column's bins at which the model is worse; at least 5 of them."""
    above = (row["rho"] > 0) == (row["metric"] == "loss")
    bins = pd.DataFrame(list(row["bins"]))
    bins = bins[::-1] if above else bins
    last = int(np.searchsorted(bins["images"].cumsum(), MIN_COMPARED))
    edge = bins["low" if above else "high"].iloc[min(last, len(bins) - 2)]
    edge = int(edge) if pd.api.types.is_integer_dtype(values) else float(f"{edge:.2g}")
    return Slice((Condition(str(values.name), ">=" if above else "<=", edge),))


def _group_insights(hard: pd.DataFrame, samples: pd.DataFrame, scores: pd.DataFrame) -> list[dict[str, object]]:
    """One row a named slice with any image: how its loss compares, significantly or not."""
    rows = []
    for row in hard[(hard["metric"] == "loss") & (hard["images"] > 0)].to_dict("records"):
        chosen = HARD[row["name"]]
        inside = chosen.holds(samples)
        few = min(row["images"], len(samples) - row["images"])
        if few == 0:
            verdict = f"all there are: loss {row['inside']:.2f}"
        elif np.isnan(row["p_value"]):
            verdict = f"too few ({few}) to compare; their loss is {_contrast(row)}"
        elif row["p_value"] < SIGNIFICANT:
            verdict = f"{'harder' if row['inside'] > row['rest'] else 'easier'} than the others: loss {_contrast(row)}"
        else:
            verdict = f"not measurably harder or easier than the others: loss {_contrast(row)}"
        statement = f"Images with {chosen.words()} ({row['name']}) are {verdict}."
        explained = np.corrcoef(inside, scores["loss"])[0, 1] ** 2 if few and np.ptp(scores["loss"]) else np.nan
        rows.append(_row("hard", row["name"], statement, chosen, samples, row) | {"explained": explained})
    return rows


def _slice_insights(
    found: list[tuple[Slice, float, float]], samples: pd.DataFrame, scores: pd.DataFrame
) -> list[dict[str, object]]:
    rows = []
    for chosen, explained, p_value in found:
        inside = chosen.holds(samples)
        figures = compare(inside, scores[["loss"]]).iloc[0]
        statement = (
            f"Images with {chosen.words()} have high loss: {_contrast(figures)}. They explain {explained:.0%} of the "
            f"loss's variance (p {p_value:.1g}, corrected for all slices tried)."
        )
        row = _row("slice", chosen.words(), statement, chosen, samples, figures)
        rows.append(row | {"p_value": p_value, "explained": explained})
    return rows


def _row(
    kind: str, name: str, statement: str, chosen: Slice, samples: pd.DataFrame, figures: Mapping | pd.Series
) -> dict[str, object]:
    ids = samples.loc[chosen.holds(samples), "image_id"].tolist()
    row = {"kind": kind, "name": name, "statement": statement, "query": chosen.query(), "image_ids": ids}
    row |= {key: figures[key] for key in ("inside", "rest", "low", "high", "p_value")}
    return row | {"images": len(ids), "metric": "loss", "rho": np.nan}


def _contrast(figures: Mapping | pd.Series) -> str:
    between = "" if np.isnan(figures["low"]) else f" (difference {figures['low']:.2f} to {figures['high']:.2f})"
    return f"{figures['inside']:.2f} against {figures['rest']:.2f}{between}"


def _named(metric: str) -> str:
    return f"the IoU of {metric.removeprefix('iou.')}" if metric.startswith("iou.") else f"the {metric}"
