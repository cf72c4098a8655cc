"""Every column of metadata against every score. Letters: N images."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from tqdm import tqdm

from segscope.evaluation.groups import corrected, mean_interval
from segscope.insights.held import per_group, rank_correlation
from segscope.insights.slices import NOT_CONDITIONS
from segscope.labels.metadata import numbers

MIN_UNITS = 20  # groups that a column must be known of
BINS = 5
BIN_COLUMNS = ["low", "high", "images", "mean", "mean_low", "mean_high"]
COLUMNS = ["column", "metric", "images", "units", "rho", "low", "high", "p_value", "held", "held_p_value", "bins"]


def associations(
    samples: pd.DataFrame, scores: pd.DataFrame, shares: Mapping[str, np.ndarray], group: np.ndarray
) -> pd.DataFrame:
    """Every column of metadata that has numbers, dates or truth values against every score.

    samples, scores: N rows. shares: of each score, the share of the image that it is about, float[N]. group: int[N],
    which counts: of near copies, their means.

    column, metric, images and units (that have both), rho with low, high and p_value: Spearman's; held and
    held_p_value: with the share held (`rank_correlation`); p-values corrected for the number of rows; bins: `binned`
    means. A column that is constant, or known of fewer than 20 groups, is left out, and so is one that repeats an
    earlier one.
    """
    names = _distinct(samples)
    columns = pd.DataFrame({name: numbers(samples[name]) for name in names}, samples.index).to_numpy(float)
    of_groups = per_group(columns, group)
    rows = []
    for metric in scores:
        y = scores[metric].to_numpy(float)
        score, share = per_group(np.stack([y, shares[metric]], 1), group).T
        for i, name in enumerate(tqdm(names, desc=f"metadata and {metric}", unit="column", disable=None)):
            raw = rank_correlation(of_groups[:, i], score)
            if raw.units < MIN_UNITS or np.isnan(raw.rho):
                continue
            held = rank_correlation(of_groups[:, i], score, share)
            both = np.isfinite(columns[:, i]) & np.isfinite(y)
            bins = binned(columns[both, i], y[both], group[both])
            figures = raw.units, raw.rho, raw.low, raw.high, raw.p_value, held.rho, held.p_value
            rows.append((name, metric, int(both.sum()), *figures, bins.to_dict("records")))
    table = pd.DataFrame(rows, columns=COLUMNS)
    return table.assign(**{name: corrected(table[name].astype(float)) for name in ("p_value", "held_p_value")})


def _distinct(samples: pd.DataFrame) -> list[str]:
    """The columns of numbers, dates and truth values that vary and do not repeat an earlier one."""
    columns, seen = [], set()
    for name in samples.columns.difference(NOT_CONDITIONS, sort=False):
        values = numbers(samples[name])
        if pd.api.types.is_numeric_dtype(values) and values.nunique() > 1:
            content = values.to_numpy(float).tobytes()
            if content not in seen:
                columns.append(name)
                seen.add(content)
    return columns


def binned(x: np.ndarray, y: np.ndarray, group: np.ndarray) -> pd.DataFrame:
    """Means of y by x, float[N] each, with 95 % intervals over groups: low, high, images, mean, mean_low, mean_high.

    A bin holds low ≤ x ≤ high, low and high being its smallest and largest x. Each of a few values is a bin; of more,
    five bins of about as many images each, or fewer where many have one value. Fewer than 5 groups have no interval.
    """
    values = np.unique(x)
    if len(values) <= BINS:
        bin_of = np.searchsorted(values, x)
    else:
        edges = np.unique(np.quantile(x, np.linspace(0, 1, BINS + 1)[1:-1]))
        bin_of = np.searchsorted(edges, x)
    rows = []
    for b in np.unique(bin_of):
        chosen = bin_of == b
        rows.append((x[chosen].min(), x[chosen].max(), chosen.sum(), *mean_interval(y[chosen], group[chosen])))
    return pd.DataFrame(rows, columns=BIN_COLUMNS)
