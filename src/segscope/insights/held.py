"""What is left of a score when another quantity is held. Letters: N images, G groups, M columns."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.stats import norm, rankdata

from segscope.evaluation.bootstrap import Bootstrap
from segscope.evaluation.groups import SMALLEST_P

DEGREE = 4  # of the polynomial in the held quantity's rank
GROUPS_A_DEGREE = 10


class Correlation(NamedTuple):
    """A rank correlation, the ends of its 95 % interval, its p-value (two-sided), and the groups that it is of."""

    rho: float
    low: float
    high: float
    p_value: float
    units: int


def per_group(values: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Means of the groups' finite values, float64 G × M of N × M; NaN of none."""
    bootstrap, known = Bootstrap(group), np.isfinite(values)
    n = bootstrap.totals(known)
    total = bootstrap.totals(np.where(known, values, 0))
    return np.divide(total, n, out=np.full(n.shape, np.nan), where=n > 0)


def rank_correlation(x: np.ndarray, y: np.ndarray, held: np.ndarray | None = None) -> Correlation:
    """Spearman's correlation of x and y, float[G] of as many groups, or the partial one with a third quantity held.

    Held is a polynomial in the third's rank. Groups with a NaN are left out. Interval and p-value by Fisher's z, with
    the variance of Fieller et al. 1957 (https://doi.org/10.1093/biomet/44.3-4.470). NaN of fewer than five
    groups more than what is held takes, or where a quantity is constant.
    """
    columns = [x, y] if held is None else [x, y, held]
    known = np.isfinite(columns).all(0)
    n = int(known.sum())
    ranks = [rankdata(column[known]) for column in columns]
    basis = polynomial(columns[2][known], n) if held is not None else np.ones((n, 1))
    freedom = n - 2 - basis.shape[1]
    a, b = residuals(np.stack(ranks[:2], 1), basis).T if freedom > 0 else np.zeros((2, n))
    size = np.sqrt((a @ a) * (b @ b))
    if freedom < 3 or size < 1e-9 * n**3:
        return Correlation(np.nan, np.nan, np.nan, np.nan, n)
    rho = float(np.clip(a @ b / size, -1, 1))
    z, error = np.arctanh(np.clip(rho, -1 + 1e-12, 1 - 1e-12)), np.sqrt(1.06 / freedom)
    low, high = np.tanh([z - norm.ppf(0.975) * error, z + norm.ppf(0.975) * error])
    return Correlation(rho, float(low), float(high), max(float(2 * norm.sf(abs(z) / error)), SMALLEST_P), n)


def polynomial(values: np.ndarray, units: int) -> np.ndarray:
    """A polynomial's terms in the rank of float64[N] values, of a degree that so many groups bear: N × (degree + 1)."""
    degree = int(np.clip(units // GROUPS_A_DEGREE, 1, DEGREE))
    rank = rankdata(values)
    return np.polynomial.legendre.legvander(2 * (rank - 1) / max(len(rank) - 1, 1) - 1, degree)


def residuals(values: np.ndarray, basis: np.ndarray, weight: np.ndarray | None = None) -> np.ndarray:
    """What a least-squares fit of N × M values by N × B terms leaves, N × M; weight: float[N]."""
    root = np.ones((len(basis), 1)) if weight is None else np.sqrt(weight)[:, None]
    return values - basis @ np.linalg.lstsq(basis * root, values * root, rcond=None)[0]


def share_of_each(group: np.ndarray) -> np.ndarray:
    """Each image's weight, float64[N], so that all groups weigh the same."""
    of = np.unique(group, return_inverse=True)[1]
    return 1 / np.bincount(of)[of]
