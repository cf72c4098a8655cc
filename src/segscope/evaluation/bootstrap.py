"""Bootstrap over images. Letters: N images, R resamples."""

from __future__ import annotations

import numpy as np

RESAMPLES = 1000
SEED = 0


def bootstrap_weights(n: int, resamples: int = RESAMPLES, seed: int = SEED) -> np.ndarray:
    """How often each of n images occurs in each resample, float64 R × n."""
    return np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=resamples).astype(np.float64)


def interval(values: np.ndarray) -> tuple[float, float]:
    """The 2.5 and 97.5 % quantiles of bootstrap values, NaN left out."""
    values = values[np.isfinite(values)]
    if not len(values):
        return np.nan, np.nan
    low, high = np.quantile(values, (0.025, 0.975))
    return float(low), float(high)
