"""What drives a model's performance: every metadata column against every score, hard images, and slices.

Letters: N images. Scores are tables of N rows: `loss`, and `iou.CLASS` of images that show the class (else NaN).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import spearmanr
from tqdm import tqdm

from segscope.comparison import MIN_COMPARED, compare, corrected
from segscope.evaluation import bootstrap_weights, interval
from segscope.metadata import describe
from segscope.schemas import INSIGHTS
from segscope.slices import HARD, NOT_CONDITIONS, Condition, Slice, find_slices
from segscope.wording import listed

SIGNIFICANT = 0.05
MIN_RHO = 0.1
MIN_IMAGES = 20  # that a column must be known of
BINS = 5
BIN_COLUMNS = ["low", "high", "images", "mean", "mean_low", "mean_high"]


@dataclass(frozen=True)
class Insights:
    """associations: rows of associations.parquet. insights: rows of insights.parquet, the most explaining first.

    image_ids: int64[…] of each insight, in their order. hard: rows of `hard_images`.
    """

    associations: pd.DataFrame
    insights: pd.DataFrame
    image_ids: list[np.ndarray]
    hard: pd.DataFrame


def find_insights(
    samples: pd.DataFrame, scores: pd.DataFrame, fewest: int, permutations: int, resamples: int, seed: int
) -> Insights:
    """All that metadata tells of the scores. samples: N rows of samples.parquet, those of the scores, in their order.

    fewest: images of a slice. permutations: of the losses, for the slices. resamples: bootstrap, for intervals.
    """
    known = np.isfinite(scores["loss"].to_numpy(float))
    samples, scores = samples[known].reset_index(drop=True), scores[known].reset_index(drop=True)
    table = associations(samples, scores, resamples, seed)
    hard = hard_images(samples, scores, resamples, seed)
    found = find_slices(samples, scores["loss"].to_numpy(float), fewest, permutations, seed)
    rows = [
        *_association_insights(table, samples, scores, resamples, seed),
        *_group_insights(hard, samples, scores),
        *_slice_insights(found, samples, scores, resamples, seed),
    ]
    insights = pd.DataFrame(rows, columns=[*INSIGHTS.names, "inside_slice"])
    insights = insights.sort_values("explained", ascending=False, ignore_index=True)
    ids = [samples.loc[inside, "image_id"].to_numpy() for inside in insights.pop("inside_slice")]
    return Insights(table, insights, ids, hard)


def insight_metrics(found: Insights) -> dict[str, object]:
    """What of it belongs into a metrics file: how many of each kind, strongest associations, slices, hard images."""
    kinds = found.insights["kind"].value_counts().sort_index()
    hard: dict[str, dict] = {}
    for row in found.hard.to_dict("records"):
        figures = {key: row[key] for key in ("inside", "rest", "low", "high", "p_value")}
        hard.setdefault(row["name"], {"images": row["images"]})[row["metric"]] = figures
    trends = found.insights[found.insights["kind"] == "association"]
    slices = found.insights[found.insights["kind"] == "slice"]
    return {
        "insights": {kind: int(kinds.get(kind, 0)) for kind in ("association", "hard", "slice")},
        "spearman": {row.name: row.rho for row in trends.head(10).itertuples(index=False)},
        "slices": {row.query: row.explained for row in slices.itertuples(index=False)},
        "hard": hard,
    }


def associations(samples: pd.DataFrame, scores: pd.DataFrame, resamples: int, seed: int) -> pd.DataFrame:
    """Every numeric or truth-valued column of metadata against every score.

    column, metric, images (that have both), rho: Spearman's, p_value: of rho, corrected for the number of rows, bins:
    `binned` means. A column that is constant, or known of fewer than 20 images, is left out, and so is one that repeats
    an earlier one.
    """
    columns, seen = [], set()
    for name in samples.columns.difference(NOT_CONDITIONS, sort=False):
        values = samples[name]
        if pd.api.types.is_numeric_dtype(values) and values.nunique() > 1:
            content = values.to_numpy(float).tobytes()
            if content not in seen:
                columns.append(name)
                seen.add(content)
    rows = []
    for name in tqdm(columns, desc="metadata", unit="column", disable=None):
        x = samples[name].to_numpy(float)
        for metric in scores:
            y = scores[metric].to_numpy(float)
            both = np.isfinite(x) & np.isfinite(y)
            if both.sum() < MIN_IMAGES or np.ptp(x[both]) == 0 or np.ptp(y[both]) == 0:
                continue
            rho, p_value = spearmanr(x[both], y[both])
            bins = binned(x[both], y[both], resamples, seed)
            rows.append((name, metric, int(both.sum()), rho, p_value, bins.to_dict("records")))
    table = pd.DataFrame(rows, columns=["column", "metric", "images", "rho", "p_value", "bins"])
    return table.assign(p_value=corrected(table["p_value"].astype(float)))


def binned(x: np.ndarray, y: np.ndarray, resamples: int, seed: int) -> pd.DataFrame:
    """Means of y by x, float[N] each, with 95 % bootstrap intervals: low, high, images, mean, mean_low, mean_high.

    A bin holds low ≤ x ≤ high, low and high being its smallest and largest x. Each of a few values is a bin; of more,
    five bins of about as many images each, or fewer where many have one value. Fewer than 5 images have no interval.
    """
    values = np.unique(x)
    if len(values) <= BINS:
        bin_of = np.searchsorted(values, x)
    else:
        edges = np.unique(np.quantile(x, np.linspace(0, 1, BINS + 1)[1:-1]))
        bin_of = np.searchsorted(edges, x)
    rows = []
    for b in np.unique(bin_of):
        inside, of = y[bin_of == b], x[bin_of == b]
        low = high = np.nan
        if len(inside) >= MIN_COMPARED:
            low, high = interval(bootstrap_weights(len(inside), resamples, seed) @ inside / len(inside))
        rows.append((of.min(), of.max(), len(inside), inside.mean(), low, high))
    return pd.DataFrame(rows, columns=BIN_COLUMNS)


def hard_images(samples: pd.DataFrame, scores: pd.DataFrame, resamples: int, seed: int) -> pd.DataFrame:
    """The named slices of `slices.HARD` and grayscale files against the rest, for each score.

    name, images, metric, inside, rest, low, high (of the difference), p_value (corrected for the number of rows).
    """
    parts = []
    for name, chosen in _NAMED.items():
        inside = chosen.holds(samples)
        table = compare(inside, scores, resamples, seed).rename(columns={"feature": "metric"})
        parts.append(table.assign(name=name, images=int(inside.sum())))
    table = pd.concat(parts, ignore_index=True)
    return table.assign(p_value=corrected(table["p_value"]))


_NAMED: Mapping[str, Slice] = HARD | {"grayscale file": Slice((Condition("is_grayscale_file", "==", True),))}


def _association_insights(
    table: pd.DataFrame, samples: pd.DataFrame, scores: pd.DataFrame, resamples: int, seed: int
) -> list[dict[str, object]]:
    """One row a column that is clearly associated with a score: the loss, or else that of the lowest p-value."""
    clear = table[(table["p_value"] < SIGNIFICANT) & (table["rho"].abs() >= MIN_RHO)]
    rows = []
    for name, found in clear.groupby("column", sort=False):
        if pd.api.types.is_bool_dtype(samples[name]) or "`" in name:
            continue  # a group, not a trend
        main = found.sort_values("p_value", kind="stable").sort_values("metric", key=lambda m: m != "loss").iloc[0]
        chosen = _worse_end(samples[name], main)
        inside = chosen.holds(samples)
        figures = compare(inside, scores[[main["metric"]]], resamples, seed).iloc[0]
        trends = listed([f"{_named(row.metric)} {'rises' if row.rho > 0 else 'falls'}" for row in found.itertuples()])
        statement = (
            f"As the {describe(name)} grows, {trends} (Spearman {main['rho']:+.2f}, p {main['p_value']:.1g}): "
            f"for images with {chosen.words()}, {_named(main['metric'])} is {_contrast(figures)}."
        )
        rows.append(
            _row("association", name, statement, chosen, inside, figures)
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
        chosen = _NAMED[row["name"]]
        inside = chosen.holds(samples)
        if np.isnan(row["p_value"]):
            verdict = f"too few ({row['images']}) to compare; their loss is {_contrast(row)}"
        elif row["p_value"] < SIGNIFICANT:
            verdict = f"{'harder' if row['inside'] > row['rest'] else 'easier'} than the others: loss {_contrast(row)}"
        else:
            verdict = f"not measurably harder or easier than the others: loss {_contrast(row)}"
        statement = f"Images with {chosen.words()} ({row['name']}) are {verdict}."
        explained = np.corrcoef(inside, scores["loss"])[0, 1] ** 2 if 0 < inside.sum() < len(inside) else np.nan
        rows.append(_row("hard", row["name"], statement, chosen, inside, row) | {"explained": explained})
    return rows


def _slice_insights(
    found: list[tuple[Slice, float, float]], samples: pd.DataFrame, scores: pd.DataFrame, resamples: int, seed: int
) -> list[dict[str, object]]:
    rows = []
    for chosen, explained, p_value in found:
        inside = chosen.holds(samples)
        figures = compare(inside, scores[["loss"]], resamples, seed).iloc[0]
        statement = (
            f"Images with {chosen.words()} have high loss: {_contrast(figures)}. They explain {explained:.0%} of the "
            f"loss's variance (p {p_value:.1g}, corrected for all slices tried)."
        )
        row = _row("slice", chosen.words(), statement, chosen, inside, figures)
        rows.append(row | {"p_value": p_value, "explained": explained})
    return rows


def _row(
    kind: str, name: str, statement: str, chosen: Slice, inside: np.ndarray, figures: Mapping | pd.Series
) -> dict[str, object]:
    row = {"kind": kind, "name": name, "statement": statement, "query": chosen.query(), "images": int(inside.sum())}
    row["inside_slice"] = inside
    row |= {key: figures[key] for key in ("inside", "rest", "low", "high", "p_value")}
    return row | {"metric": "loss", "rho": np.nan}


def _contrast(figures: Mapping | pd.Series) -> str:
    between = "" if np.isnan(figures["low"]) else f" (difference {figures['low']:.2f} to {figures['high']:.2f})"
    return f"{figures['inside']:.2f} against {figures['rest']:.2f}{between}"


def _named(metric: str) -> str:
    return f"the IoU of {metric.removeprefix('iou.')}" if metric.startswith("iou.") else f"the {metric}"
