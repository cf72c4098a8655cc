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


def hard_images(samples: pd.DataFrame, scores: pd.DataFrame) -> pd.DataFrame:
    """The slices of HARD against the rest, for each score; N rows of samples.parquet and of scores.

    name, images (of the slice, with the score), metric, inside, rest, low, high (of the difference), p_value (corrected
    for the number of rows).
    """
    parts = []
    for name, chosen in HARD.items():
        inside = chosen.holds(samples)
        table = compare(inside, scores).rename(columns={"feature": "metric"})
        parts.append(table.assign(name=name, images=np.isfinite(scores[inside]).sum().to_numpy()))
    table = pd.concat(parts, ignore_index=True)
    return table.assign(p_value=corrected(table["p_value"]))
