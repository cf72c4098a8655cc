"""Intervals over groups of images. Letters: N images, G groups, R resamples, M columns.

A group is what is not independent: near copies of one picture, or what the user says belongs together. An image by
itself is a group of one. Groups are resampled as wholes, whatever their size.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

RESAMPLES = 1000
SEED = 0
TRUSTED = 20  # groups that carry a figure; intervals of fewer miss too often: docs/statistics.md
CHUNK = 4_000_000  # weights in memory together


class Bootstrap:
    """Resamples of the groups that N images belong to, the same whenever they are drawn.

    group: int[N], any numbers.
    """

    def __init__(self, group: np.ndarray, resamples: int = RESAMPLES, seed: int = SEED):
        self.group = np.unique(group, return_inverse=True)[1]
        self.groups = int(self.group.max()) + 1 if len(self.group) else 0
        self._resamples, self._seed = resamples, seed

    def totals(self, columns: np.ndarray) -> np.ndarray:
        """The sums over each group's images: float64 G × M of N × M."""
        totals = np.zeros((self.groups, columns.shape[1]))
        np.add.at(totals, self.group, columns)
        return totals

    def means(self, columns: np.ndarray) -> np.ndarray:
        """The means over each group's images: float64 G × M of N × M."""
        return self.totals(columns) / np.bincount(self.group)[:, None]

    def number(self, chosen: np.ndarray) -> np.ndarray:
        """How many groups have a chosen image: int[M] of bool N × M."""
        return (self.totals(chosen) > 0).sum(0)

    def sums(self, columns: np.ndarray) -> np.ndarray:
        """The sums over each resample's images: float64 R × M of N × M."""
        totals = self.totals(columns)
        return np.concatenate([weights @ totals for weights in self.weights()])

    def carriers(self, columns: np.ndarray) -> np.ndarray:
        """How many groups carry the sums over the images: 1 / Σ share², float64[M] of N × M; 0 of a sum of 0.

        Kish's effective sample size: as many groups of equal shares would be as uneven.
        """
        totals = self.totals(columns)
        squares = (totals**2).sum(0)
        return np.divide(totals.sum(0) ** 2, squares, out=np.zeros(len(squares)), where=squares > 0)

    def weights(self) -> Iterator[np.ndarray]:
        """How often each group occurs in each resample, float64 … × G, R in all, some at a time."""
        draw, n = np.random.default_rng(self._seed), self.groups
        at_once = max(1, CHUNK // max(n, 1))
        for start in range(0, self._resamples, at_once):
            rows = min(at_once, self._resamples - start)
            drawn = draw.integers(0, n, (rows, n)) + n * np.arange(rows)[:, None]
            yield np.bincount(drawn.ravel(), minlength=rows * n).reshape(rows, n).astype(np.float64)


def interval(values: np.ndarray) -> tuple[float, float]:
    """The 2.5 and 97.5 % quantiles of bootstrap values, NaN left out."""
    values = values[np.isfinite(values)]
    if not len(values):
        return np.nan, np.nan
    low, high = np.quantile(values, (0.025, 0.975))
    return float(low), float(high)
