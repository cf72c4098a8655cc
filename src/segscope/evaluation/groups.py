"""Some images against the rest, and the p-values of many such comparisons. Letters: N images, M columns, G groups."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.stats import false_discovery_control, t

from segscope.evaluation.bootstrap import Bootstrap

MIN_COMPARED = 5  # groups on either side
SMALLEST_P = np.finfo(float).tiny


def groups_of_copies(copies: pd.DataFrame, groups: pd.Series) -> pd.Series:
    """The groups of images that are copies of others, by their image_id: the other's, or its own if that has none.

    copies: image_id, other_id. groups: int64, by image_id.
    """
    found = copies.set_index("image_id")["other_id"].map(groups)
    return found.where(found.notna(), groups.max() + 1 + np.arange(len(found))).astype("int64")


def compare(inside: np.ndarray, values: pd.DataFrame, group: np.ndarray) -> pd.DataFrame:
    """Means of numeric columns of the chosen images, bool[N], and of the rest.

    values: N × M; NaN counts nowhere. group: int[N], the images' groups, which are what is independent.

    feature, inside, rest, low, high, p_value, units, rest_units: one row a column. low, high: the 95 % interval of the
    difference of means, p_value: that it is 0, two-sided; both by Welch's t (1947) of the groups' sums, so that p is
    below 0.05 where the interval excludes 0. units: groups on a side; with fewer than 5 on either there is no interval.
    """
    columns, among = values.to_numpy(float), Bootstrap(group)
    sides = [_side(columns, among, inside), _side(columns, among, ~inside)]
    (mean, influence, units, carriers), (rest, other, rest_units, other_carriers) = sides
    # What is estimated takes a group's worth of freedom on each side; what both have of one group varies together.
    spread = [
        part * np.sqrt(np.divide(n, n - 1, out=np.full(n.shape, np.nan), where=n > 1))
        for part, n in ((influence, units), (other, rest_units))
    ]
    variances = [(part**2).sum(0) for part in spread]
    error = np.sqrt(((spread[0] - spread[1]) ** 2).sum(0))
    with np.errstate(divide="ignore", invalid="ignore"):
        freedom = sum(variances) ** 2 / (variances[0] ** 2 / (carriers - 1) + variances[1] ** 2 / (other_carriers - 1))
        # What is rare may by chance be nowhere on a side, which says nothing of how it varies there: as on both.
        alike = (variances[0] == 0) != (variances[1] == 0)
        squares = variances[0] * units * (units - 1) + variances[1] * rest_units * (rest_units - 1)
        pooled = squares / (units + rest_units - 2) * (1 / units + 1 / rest_units)
        error = np.where(alike, np.maximum(error, np.sqrt(pooled)), error)
        freedom = np.where(alike, np.minimum(carriers, other_carriers) - 1, freedom)
        reach = t.ppf(0.975, freedom) * error
        p_value = np.maximum(2 * t.sf(np.abs(mean - rest) / error, freedom), SMALLEST_P)
    enough = np.minimum(units, rest_units) >= MIN_COMPARED
    table = pd.DataFrame({"feature": values.columns, "inside": mean, "rest": rest})
    for name, figures in (("low", mean - rest - reach), ("high", mean - rest + reach), ("p_value", p_value)):
        table[name] = np.where(enough, figures, np.nan)
    return table.assign(units=units.astype(int), rest_units=rest_units.astype(int))


def mean_interval(values: np.ndarray, group: np.ndarray) -> tuple[float, float, float]:
    """The mean of float[N], finite, and the ends of its 95 % interval by Student's t of the groups' sums.

    There is none of fewer than 5 groups.
    """
    mean, influence, units, carriers = _side(values[:, None], Bootstrap(group), np.ones(len(values), bool))
    if units[0] < MIN_COMPARED:
        return float(mean[0]), np.nan, np.nan
    reach = t.ppf(0.975, carriers[0] - 1) * np.sqrt((influence**2).sum() * units[0] / (units[0] - 1))
    return float(mean[0]), float(mean[0] - reach), float(mean[0] + reach)


def _side(columns: np.ndarray, among: Bootstrap, chosen: np.ndarray) -> tuple[np.ndarray, ...]:
    """Of the chosen images: means[M], each group's influence on them G × M, groups[M], carriers of the size[M]."""
    known = np.isfinite(columns) & chosen[:, None]
    n = known.sum(0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(known, columns, 0).sum(0) / n
        influence = among.totals(np.where(known, columns - mean, 0) / n)
    groups = among.number(known).astype(float)
    return mean, np.nan_to_num(influence), groups, among.carriers(known.astype(float))


def corrected(p_values: pd.Series) -> pd.Series:
    """The p-values corrected for their number (Benjamini and Hochberg 1995); NaN stays NaN and does not count."""
    known = p_values.notna()
    result = p_values.copy()
    if known.any():
        result[known] = false_discovery_control(p_values[known].to_numpy())
    return result
