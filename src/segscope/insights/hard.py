"""Images that are known to be hard, against the rest. Letters: N images."""

from __future__ import annotations

import numpy as np
import pandas as pd

from segscope.evaluation.groups import compare, corrected
from segscope.insights.slices import Condition, Slice

# What photographers and annotators know to be hard, each by one condition of its metadata.
HARD = {
    "low light": Slice((Condition("low_light", "==", True),)),
    "crowd": Slice((Condition("n_crowds", ">=", 1),)),
    "small objects": Slice((Condition("average_size", "<", 0.01),)),
    "clutter": Slice((Condition("n_categories", ">=", 6),)),
    "blur": Slice((Condition("sharpness", "<", 300.0),)),
    "grayscale file": Slice((Condition("is_grayscale_file", "==", True),)),
}


def hard_images(samples: pd.DataFrame, scores: pd.DataFrame, left: pd.DataFrame, group: np.ndarray) -> pd.DataFrame:
    """The slices of HARD against the rest, for each score; N rows of samples.parquet and of scores.

    group: int[N]. left: what of the scores is left with the share held. name, metric, images (of the slice, with the
    score); difference, low, high: of the means inside and rest; held, held_low, held_high: of those of what is left;
    p_value: of this, corrected for the number of rows; units, rest_units. All as of `compare`.
    """
    parts = []
    for name, chosen in HARD.items():
        inside = chosen.holds(samples)
        # An image without objects is none of large ones.
        known = samples[[condition.column for condition in chosen.conditions]].notna().all(axis=1).to_numpy(copy=True)
        if not known.any():
            known[:] = True
        raw, held = (compare(inside[known], values[known], group[known]) for values in (scores, left))
        table = raw.assign(name=name, images=scores[inside].notna().sum().to_numpy(), p_value=held["p_value"])
        table["difference"], table["held"] = (each["inside"] - each["rest"] for each in (raw, held))
        parts.append(table.assign(held_low=held["low"], held_high=held["high"]))
    table = pd.concat(parts, ignore_index=True).rename(columns={"feature": "metric"})
    return table.assign(p_value=corrected(table["p_value"]))
