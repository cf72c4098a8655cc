"""What a class is confused with: its false positives by COCO category, and the merge that would remove them.

Letters: N images, K classes (0 is background), C category positions (0 is unlabelled).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from segscope.artefacts.measures import Measure
from segscope.evaluation.bootstrap import bootstrap_weights, interval
from segscope.evaluation.counts import confusion, iou, outcomes
from segscope.evaluation.words import listed
from segscope.taxonomy import Taxonomy

MIN_SHARE = 0.05  # of the false positives: a category below it is not worth a merge


def category_table(counts: np.ndarray, taxonomy: Taxonomy) -> pd.DataFrame:
    """Pixels by predicted class and true category, summed over images: one row for each pair with any.

    counts: int N × K × C. share_of_category: of the category's pixels, those predicted as the class.
    """
    total = counts.sum(0)
    k, c = np.nonzero(total)
    return pd.DataFrame(
        {
            "predicted": np.array(taxonomy.class_names, dtype=object)[k],
            "category": np.array(taxonomy.category_names, dtype=object)[c],
            "pixels": total[k, c],
            "share_of_category": total[k, c] / total.sum(0)[c],
        }
    )


def false_positives(counts: np.ndarray, class_of_position: np.ndarray, k: int) -> pd.DataFrame:
    """The categories whose pixels are wrongly predicted as class k, those of most pixels first.

    position: in 0…C-1. pixels: of the category, predicted as k. share: of all false positive pixels of k.
    taken: of the category's pixels, those predicted as k. counts: int N × K × C. class_of_position: uint8[C].
    """
    total = counts.sum(0)
    wrong = np.flatnonzero((class_of_position != k) & (total[k] > 0))
    table = pd.DataFrame({"position": wrong, "pixels": total[k, wrong]})
    table["share"] = table["pixels"] / max(table["pixels"].sum(), 1)
    table["taken"] = table["pixels"] / total.sum(0)[wrong]
    return table.sort_values(["pixels", "position"], ascending=[False, True], ignore_index=True)


def best_merge(counts: np.ndarray, class_of_position: np.ndarray, k: int) -> dict[str, Any] | None:
    """The background categories that would better be part of class k, judged by these very predictions.

    Were a category part of the class, its pixels predicted as k would be true positives and its others false
    negatives. Categories of at least MIN_SHARE are added by their share of the false positives, if the dataset IoU of k
    rises and the 95 % interval of the rise, over images drawn with replacement, stays above 0. Unlabelled pixels are
    no category. Returns None if none is added, else positions, removes (share of the false positives), iou and
    iou_merged.
    """
    weights = bootstrap_weights(len(counts))
    parts = np.stack([part[:, k] for part in outcomes(confusion(counts, class_of_position))], -1)
    found = false_positives(counts, class_of_position, k)
    merged, chosen = parts, []
    for position in found.loc[found["share"] >= MIN_SHARE, "position"]:
        if position == 0 or class_of_position[position] != 0:
            continue
        taken = counts[:, k, position]
        missed = counts[:, :, position].sum(1) - taken
        trial = merged + np.stack([taken, -taken, missed], -1)
        if not _iou_of(trial.sum(0)) > _iou_of(merged.sum(0)):
            continue
        low, _ = interval(_iou_of(weights @ trial) - _iou_of(weights @ merged))
        if low > 0 and (trial != merged).any(1).sum() > 1:  # one image has no interval
            merged = trial
            chosen.append(int(position))
    if not chosen:
        return None
    return {
        "positions": chosen,
        "removes": float(1 - merged[:, 1].sum() / parts[:, 1].sum()),
        "iou": float(_iou_of(parts.sum(0))),
        "iou_merged": float(_iou_of(merged.sum(0))),
    }


def _iou_of(parts: np.ndarray) -> np.ndarray:
    return iou(*np.moveaxis(parts, -1, 0))


def findings(counts: np.ndarray, taxonomy: Taxonomy, most: int = 5) -> dict[str, dict[str, Any]]:
    """For each class but background: its false positives by category, the merge that pays, and both as a sentence.

    counts: int N × K × C. Of the categories only the `most` of most pixels. Classes without false positives are left
    out.
    """
    labels = taxonomy.category_names
    result = {}
    for k, name in enumerate(taxonomy.classes, start=1):
        wrong = false_positives(counts, taxonomy.class_of_position, k)
        if wrong.empty:
            continue
        top = {labels[row.position]: {"share": row.share, "taken": row.taken} for row in wrong[:most].itertuples()}
        merge = best_merge(counts, taxonomy.class_of_position, k)
        if merge:
            merge = {"categories": [labels[i] for i in merge.pop("positions")], **merge}
        result[name] = {"categories": top, "merge": merge, "statement": statement(name, top, merge)}
    return result


def confusion_measures(found: Mapping[str, Mapping[str, Any]]) -> list[Measure]:
    """false_positives.CLASS.CATEGORY: the category's share of the class's false positive pixels, of `findings`."""
    return [
        Measure(f"false_positives.{name}.{category}", values["share"])
        for name, finding in found.items()
        for category, values in finding["categories"].items()
    ]


def statement(name: str, top: Mapping[str, Mapping[str, float]], merge: Mapping | None) -> str:
    """The finding about one class in plain words."""
    shares = ", ".join(f"{category} {values['share']:.0%}" for category, values in top.items())
    text = f"Pixels wrongly predicted as {name} are: {shares}."
    if merge is None:
        return f"{text} No category of the background would raise its IoU by becoming part of it."
    of = listed(merge["categories"])
    return (
        f"{text} Counting {of} as {name} would remove {merge['removes']:.0%} of them and change its IoU from "
        f"{merge['iou']:.2f} to {merge['iou_merged']:.2f}."
    )
