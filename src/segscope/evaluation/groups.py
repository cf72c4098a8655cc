"""A group of images against the rest, and the p-values of many such comparisons. Letters: N images."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pandas as pd
from scipy.stats import false_discovery_control, mannwhitneyu

from segscope.evaluation.bootstrap import SEED, bootstrap_weights, interval

MIN_COMPARED = 5


def compare(inside: np.ndarray, values: pd.DataFrame) -> pd.DataFrame:
    """Means of numeric columns inside a group, bool[N], and outside: feature, inside, rest, low, high, p_value.

    low, high: bootstrap 95 % interval of the difference of means; p_value: Mann-Whitney U, two-sided. A column
    with fewer than 5 values on either side gets NaN for both. NaN in a column counts nowhere.
    """
    # Most columns have the same number of values: their weights are drawn once.
    weights = lru_cache(maxsize=2)(lambda n, seed: bootstrap_weights(n, seed=seed))
    rows = []
    for name in values:
        column = values[name].to_numpy(float)
        a, b = (column[side & np.isfinite(column)] for side in (inside, ~inside))
        row = {"feature": name, "inside": _mean(a), "rest": _mean(b)}
        row |= {"low": np.nan, "high": np.nan, "p_value": np.nan}
        if min(len(a), len(b)) >= MIN_COMPARED:
            means = [weights(len(x), SEED + i) @ x / len(x) for i, x in enumerate((a, b))]
            row["low"], row["high"] = interval(means[0] - means[1])
            row["p_value"] = float(mannwhitneyu(a, b).pvalue)
        rows.append(row)
    return pd.DataFrame(rows, columns=["feature", "inside", "rest", "low", "high", "p_value"])


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else np.nan


def corrected(p_values: pd.Series) -> pd.Series:
    """The p-values corrected for their number (Benjamini and Hochberg 1995); NaN stays NaN and does not count."""
    known = p_values.notna()
    result = p_values.copy()
    if known.any():
        result[known] = false_discovery_control(p_values[known].to_numpy())
    return result
