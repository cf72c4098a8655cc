"""Slices: images chosen by their metadata, and the search for those that the model is bad at.

Letters: N images, M slices, G groups, P permutations.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd

from segscope.evaluation.bootstrap import Bootstrap
from segscope.labels.metadata import describe, numbers

OPERATORS = {">=": operator.ge, "<=": operator.le, "<": operator.lt, "==": operator.eq}
QUANTILES = (0.1, 0.25, 0.75, 0.9)
NOT_CONDITIONS = ("image_id", "split", "width", "height", "is_colored")  # is_colored: of files all but the grayscale
OVERLAP = 0.5
PERMUTATIONS = 500
SEED = 0
CHUNK = 4096  # slices whose members are in memory together


@dataclass(frozen=True)
class Condition:
    """A column of samples.parquet compared with a value: `>=`, `<=`, `<` or `==`."""

    column: str
    operator: str
    value: float | bool | str

    def holds(self, samples: pd.DataFrame) -> np.ndarray:
        """Of which images it is true, bool[N]; not of those whose value is missing."""
        return OPERATORS[self.operator](samples[self.column], self.value).to_numpy(bool)

    def words(self) -> str:
        """In plain words, to follow `images with`."""
        name = describe(self.column)
        if self.value is True:
            return name
        if isinstance(self.value, str):
            since = {">=": "from ", "<=": "until "}.get(self.operator, "")
            return f"{name} {since}{self.value}"
        sign = {">=": "at least", "<=": "at most", "<": "less than", "==": "exactly"}[self.operator]
        if name.startswith("number of "):
            of = name.removeprefix("number of ")
            return f"{sign} {self.value:.12g} {of.replace(' instances', ' instance') if self.value == 1 else of}"
        return f"{name} {sign} {self.value:.12g}"


@dataclass(frozen=True)
class Slice:
    """The images of which every condition is true."""

    conditions: tuple[Condition, ...]

    def holds(self, samples: pd.DataFrame) -> np.ndarray:
        """bool[N]"""
        return np.logical_and.reduce([condition.holds(samples) for condition in self.conditions])

    def query(self) -> str:
        """For `DataFrame.query` of samples.parquet."""
        return " and ".join(f"`{c.column}` {c.operator} {c.value!r}" for c in self.conditions)

    def words(self) -> str:
        return " and ".join(condition.words() for condition in self.conditions)


def conditions(samples: pd.DataFrame, fewest: int) -> list[Condition]:
    """Conditions that `fewest` of the N images or more meet, and at most half of them.

    Of a truth value that it is true, of a name that it is the image's, of a number that it lies in the lowest or
    highest tenth or quarter, of a count also that it is not 0, of a date as of a number. Of conditions that the same
    images meet, the first.
    """
    found: dict[bytes, Condition] = {}
    for condition in _candidates(samples, fewest):
        members = condition.holds(samples)
        if fewest <= members.sum() <= len(samples) / 2:
            found.setdefault(members.tobytes(), condition)
    return list(found.values())


def _candidates(samples: pd.DataFrame, fewest: int) -> Iterator[Condition]:
    for name in samples:
        column = samples[name]
        # A query quotes a name with backticks: none with one can be written.
        if name in NOT_CONDITIONS or "`" in name:
            continue
        if pd.api.types.is_bool_dtype(column):
            yield Condition(name, "==", True)
        elif not pd.api.types.is_numeric_dtype(numbers(column)):
            images = column.value_counts()
            yield from (Condition(name, "==", value) for value in sorted(images.index[images >= fewest]))
        elif column.nunique() > 1:
            if pd.api.types.is_integer_dtype(column):
                yield Condition(name, ">=", 1)
            for quantile, edge in numbers(column).quantile(list(QUANTILES)).items():
                yield Condition(name, "<=" if quantile < 0.5 else ">=", readable(column, edge))


def readable(column: pd.Series, edge: float) -> float | str:
    """A value of `numbers` of a column, rounded, so that sentence, query and choice are the same; a date as text.

    To two digits, or as many as tell a hundredth of the column's spread.
    """
    if pd.api.types.is_datetime64_any_dtype(column):
        return str(pd.Timestamp(edge, unit="D").date())
    rounded = float(f"{edge:.2g}")
    low, high = column.quantile([0.1, 0.9])
    spread = float(high - low)
    if 0 < spread < abs(edge):
        step = 10.0 ** (math.floor(math.log10(spread)) - 1)
        finer = float(f"{round(edge / step) * step:.12g}")
        rounded = finer if abs(finer - edge) < abs(rounded - edge) else rounded
    return round(rounded) if pd.api.types.is_integer_dtype(column) else rounded


def find_slices(
    samples: pd.DataFrame,
    loss: np.ndarray,
    group: np.ndarray,
    fewest: int,
    permutations: int = PERMUTATIONS,
    level: float = 0.05,
    most: int = 10,
) -> list[tuple[Slice, float]]:
    """The slices of one or two conditions whose loss is higher than chance gives, that of the highest score first.

    samples: N rows of metadata. loss: float[N], finite; or what is left of it. group: int[N]. fewest: groups a slice.

    Groups are what counts: one is in a slice if half of its images meet each condition, and its loss is their mean. A
    slice's score is its mean loss in standard errors above the mean of as many groups drawn at random. It is
    reported if fewer than `level` of the permutations of the losses give any slice so high a score (the maximum over
    all slices: Westfall and Young 1993). Of slices that share more than half of the smaller one's groups, the first is
    reported; at most `most`.

    Returns (slice, corrected p-value).
    """
    bootstrap = Bootstrap(group)
    single = conditions(samples, fewest)
    if bootstrap.groups < 2 * fewest or not single:
        return []
    loss = bootstrap.means(loss[:, None])[:, 0]
    if np.ptp(loss) == 0:
        return []
    held = np.stack([condition.holds(samples) for condition in single], 1)
    members = (bootstrap.means(held) >= 0.5).T
    slices = _slices(members, single, fewest)
    if not slices:
        return []
    draw = np.random.default_rng(SEED)
    standard = (loss - loss.mean()) / loss.std()
    columns = np.stack([standard, *(draw.permutation(standard) for _ in range(permutations))], axis=1)
    scores, highest = _scores(members, slices, columns.astype(np.float32))
    p_value = (1 + (highest[None] >= scores[:, None]).sum(1)) / (1 + permutations)
    chosen: list[tuple[np.ndarray, int]] = []
    for i in np.argsort(-scores, kind="stable"):
        if p_value[i] > level or len(chosen) == most:
            break
        inside = np.logical_and.reduce(members[list(slices[i])])
        if all((inside & other).sum() <= OVERLAP * min(inside.sum(), other.sum()) for other, _ in chosen):
            chosen.append((inside, int(i)))
    return [(Slice(tuple(single[j] for j in slices[i])), float(p_value[i])) for _, i in chosen]


def _slices(members: np.ndarray, single: list[Condition], fewest: int) -> list[tuple[int, ...]]:
    """Positions of the conditions of each slice: each by itself, and pairs that leave fewer images than either."""
    together = members.astype(np.float32) @ members.T.astype(np.float32)
    size = members.sum(1)
    return [(i,) for i in range(len(single)) if fewest <= size[i] <= members.shape[1] - fewest] + [
        (i, j)
        for i, j in combinations(range(len(single)), 2)
        if single[i].column != single[j].column and fewest <= together[i, j] < 0.95 * min(size[i], size[j])
    ]


def _scores(members: np.ndarray, slices: list[tuple[int, ...]], columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scores float[M] of the slices by the first of the columns, G × (1 + P), and by each other the highest, [P]."""
    n = columns.shape[0]
    first = np.array([s[0] for s in slices])
    last = np.array([s[-1] for s in slices])
    scores, highest = [], np.full(columns.shape[1] - 1, -np.inf)
    for part in np.array_split(np.arange(len(slices)), -(-len(slices) // CHUNK)):
        inside = members[first[part]] & members[last[part]]
        size = inside.sum(1)
        error = np.sqrt(size * (n - size) / (n - 1))
        found = inside.astype(np.float32) @ columns / error[:, None]
        scores.append(found[:, 0])
        highest = np.maximum(highest, found[:, 1:].max(0))
    return np.concatenate(scores), highest
