"""How two configurations differ, each trained once or more, on the same images.

Letters: k trainings of a side, N images, R resamples of their groups.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from segscope.evaluation.bootstrap import TRUSTED, Bootstrap
from segscope.evaluation.metrics import Ratio, carriers, resampled

LEVEL = 0.95
Training = Mapping[str, Ratio]  # a training's metrics, by name


@dataclass(frozen=True)
class Difference:
    """A metric of two sides: each side's mean over its trainings, and B minus A with its 95 % interval.

    error: the standard error of the difference, with `freedom` degrees of freedom; NaN, as low and high, where too few
    groups carry the metric. p_value: of no difference, two-sided, by the trainings' degrees of freedom alone, for the
    spread of a few may be small by chance; NaN too of two single trainings, whose interval is over groups alone: what
    another seed does to them is unknown.
    """

    metric: str
    a: float
    b: float
    error: float = np.nan
    freedom: float = np.nan
    p_value: float = np.nan

    @property
    def difference(self) -> float:
        """B minus A."""
        return self.b - self.a

    @property
    def low(self) -> float:
        """The lower end of the interval."""
        return self.difference - self._half()

    @property
    def high(self) -> float:
        """The upper end of the interval."""
        return self.difference + self._half()

    def _half(self) -> float:
        return float(self.error * stats.t.ppf((1 + LEVEL) / 2, self.freedom))


def differences(a: Sequence[Training], b: Sequence[Training], bootstrap: Bootstrap) -> list[Difference]:
    """Every metric that is known of all trainings of both sides, of the same images.

    d ± t √(s_a²/k_a + s_b²/k_b + se²): s is the standard deviation over a side's trainings, se the bootstrap's standard
    error, over groups, of the difference of the sides' means; degrees of freedom by Welch and Satterthwaite (1946, An
    approximate distribution of estimates of variance components), those of se by the groups that carry the metric. A
    single training is taken to vary as those of the other side do.
    """
    names = [name for name in a[0] if all(name in each for each in (*a, *b))]
    sides = [[{name: each[name] for name in names} for each in side] for side in (a, b)]
    drawn = [_mean_resamples(side, bootstrap) for side in sides]
    fewest = [carriers(each, bootstrap) for side in sides for each in side]
    found = []
    for name in names:
        x, y = (np.array([each[name].value() for each in side]) for side in sides)
        if not np.isfinite([*x, *y]).all():
            continue
        carry = min(each[name] for each in fewest)
        if carry < TRUSTED:
            found.append(Difference(name, float(x.mean()), float(y.mean())))
            continue
        moved = drawn[1][name] - drawn[0][name]
        parts = [(float(np.nanvar(moved, ddof=1)), carry - 1), *_of_trainings(x, y)]
        error, freedom = _satterthwaite(parts)
        # The interval's freedom of trainings alone; of sides of unequal spread or number it is less than their sum.
        of_trainings = min(len(x) + len(y) - 2, _satterthwaite(_of_trainings(x, y))[1])
        p_value = _p_value(float(y.mean() - x.mean()), error, of_trainings)
        found.append(Difference(name, float(x.mean()), float(y.mean()), error, freedom, p_value))
    return found


def holm(p_values: Sequence[float]) -> np.ndarray:
    """The p-values adjusted for their number, so that any below 0.05 is there by chance in one table of twenty.

    Holm 1979, A simple sequentially rejective multiple test procedure. float64[n]; NaN stay, and are not counted.
    """
    values = np.array(p_values, float)
    adjusted = np.full(len(values), np.nan)
    order = np.flatnonzero(np.isfinite(values))
    order = order[np.argsort(values[order], kind="stable")]
    adjusted[order] = np.minimum(np.maximum.accumulate(values[order] * np.arange(len(order), 0, -1)), 1)
    return adjusted


def _mean_resamples(side: Sequence[Training], bootstrap: Bootstrap) -> dict[str, np.ndarray]:
    """Each metric's mean over the trainings in each resample, float64[R]."""
    drawn = [resampled(each, bootstrap) for each in side]
    return {name: np.mean([each[name] for each in drawn], axis=0) for name in drawn[0]}


def _of_trainings(x: np.ndarray, y: np.ndarray) -> list[tuple[float, float]]:
    """What the trainings' spread adds to the variance of the difference of means, and its degrees of freedom."""
    if len(x) > 1 and len(y) > 1:
        return [(float(np.var(side, ddof=1)) / len(side), len(side) - 1) for side in (x, y)]
    several = max(x, y, key=len)
    if len(several) == 1:
        return []
    return [(float(np.var(several, ddof=1)) * (1 + 1 / len(several)), len(several) - 1)]


def _satterthwaite(parts: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """The standard error and the degrees of freedom of a sum of estimated variances, each with its own."""
    variance = sum(of for of, _ in parts)
    inverse = sum(of**2 / freedom for of, freedom in parts)
    return float(np.sqrt(variance)), variance**2 / inverse if inverse > 0 else np.inf


def _p_value(difference: float, error: float, freedom: float) -> float:
    if freedom == 0:
        return np.nan
    if error == 0:
        return 1.0 if difference == 0 else 0.0
    return float(2 * stats.t.sf(abs(difference) / error, freedom))
