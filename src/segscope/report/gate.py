"""Conditions on a comparison, for CI: `iou.person < -0.02` is about B minus A."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from segscope.errors import SegscopeError
from segscope.report.compare import Comparison

_FORM = re.compile(r"\s*(?P<metric>.*?\S)\s*(?P<sign>[<>])\s*(?P<bound>[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?)\s*", re.I)


class Condition(NamedTuple):
    """That the difference of a metric is below ("<") or above (">") a bound."""

    metric: str
    sign: str
    bound: float

    def __str__(self) -> str:
        return f"{self.metric} {self.sign} {self.bound:g}"


def condition(text: str) -> Condition:
    """Read a condition. Raises SegscopeError if it is none."""
    found = _FORM.fullmatch(text)
    if found is None:
        raise SegscopeError(
            f"{text!r} is no condition on the difference, B minus A; one looks like 'iou.person < -0.02'"
        )
    return Condition(found["metric"], found["sign"], float(found["bound"]))


def judge(found: Comparison, fail_if: Sequence[Condition], fail_unless: Sequence[Condition]) -> tuple[list[str], bool]:
    """A line for each condition, and whether all are passed.

    A condition is shown if the whole interval of the difference is on its side. fail_if: fails if it is shown: B is
    worse, say. fail_unless: fails if it is not: B is not shown to be as good. Raises SegscopeError if there is no such
    metric, or no interval over trainings and images.
    """
    lines, passed = [], True
    for expected, conditions in ((False, fail_if), (True, fail_unless)):
        for each in conditions:
            row = _row(found, each)
            shown = bool(row.high < each.bound if each.sign == "<" else row.low > each.bound)
            passed &= shown == expected
            lines.append(
                f"{'passed' if shown == expected else 'failed'}: {each} is {'' if shown else 'not '}shown: "
                f"{row.a:.3f} → {row.b:.3f}, {row.difference:+.4f} ({row.low:+.4f} to {row.high:+.4f})"
            )
    return lines, passed


def _row(found: Comparison, of: Condition) -> pd.Series:
    rows = found.metrics[found.metrics["metric"] == of.metric]
    if rows.empty:
        raise SegscopeError(
            f"{of}: there is no such metric to compare by; choices: {', '.join(found.metrics['metric'])}"
        )
    row = rows.iloc[0]
    if found.trainings == (1, 1):
        raise SegscopeError(
            f"{of}: two single trainings cannot tell a change from another seed; train a side with several train.seeds "
            "(dvc exp run -S 'train.seeds=[0,1,2]'), or name several runs (--a … --b …)"
        )
    if found.resolutions:
        raise SegscopeError(
            f"{of}: the sides are measured at different resolutions ({'; '.join(found.resolutions)}), which alone "
            "moves figures: measure both with predict.resolution=image"
        )
    if not np.isfinite(row.low):
        raise SegscopeError(f"{of}: too few groups of images carry {of.metric} for an interval")
    return row
