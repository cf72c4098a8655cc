"""Every column of metadata against every score. Letters: N images."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.stats import spearmanr
from tqdm import tqdm

from segscope.evaluation.bootstrap import bootstrap_weights, interval
from segscope.evaluation.groups import MIN_COMPARED, corrected
from segscope.insights.slices import NOT_CONDITIONS

MIN_IMAGES = 20  # that a column must be known of
BINS = 5
BIN_COLUMNS = ["low", "high", "images", "mean", "mean_low", "mean_high"]


def associations(samples: pd.DataFrame, scores: pd.DataFrame) -> pd.DataFrame:
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
            bins = binned(x[both], y[both])
            rows.append((name, metric, int(both.sum()), rho, p_value, bins.to_dict("records")))
    table = pd.DataFrame(rows, columns=["column", "metric", "images", "rho", "p_value", "bins"])
    return table.assign(p_value=corrected(table["p_value"].astype(float)))


def binned(x: np.ndarray, y: np.ndarray) -> pd.DataFrame:
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
            low, high = interval(bootstrap_weights(len(inside)) @ inside / len(inside))
        rows.append((of.min(), of.max(), len(inside), inside.mean(), low, high))
    return pd.DataFrame(rows, columns=BIN_COLUMNS)
