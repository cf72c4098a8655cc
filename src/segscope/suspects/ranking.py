"""How well a ranking of suspect labels finds faults that are known, because they were planted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from sklearn.metrics import average_precision_score

from segscope.artefacts.measures import Measure
from segscope.suspects.find import KINDS

MATCH_IOU = 0.3


def ranking_quality(found: pd.DataFrame, truth: pd.DataFrame) -> dict[str, dict[str, float]]:
    """How well the ranking finds planted faults, for each kind that was planted.

    planted: their number n. average_precision: of the ranking of that kind, faults never listed counted as
    missed. precision_at_n: share of faults among the n first. recall_at_2n: share of the faults among the 2n first.
    found, truth: rows of label_issues and of truth.
    """
    quality = {}
    for kind in KINDS:
        planted = truth[truth["planted"] == kind]
        ranked = found[found["kind"] == kind].sort_values("score", ascending=False, kind="stable")
        if planted.empty:
            continue
        n, hit = len(planted), hits(ranked, planted)
        precision = average_precision_score(hit, ranked["score"]) if hit.any() else 0.0
        quality[kind] = {
            "planted": n,
            "average_precision": float(precision * hit.sum() / n),
            "precision_at_n": float(hit[:n].sum() / n),
            "recall_at_2n": float(hit[: 2 * n].sum() / n),
        }
    return quality


def still_planted(truth: pd.DataFrame, corrections: pd.DataFrame) -> pd.DataFrame:
    """The rows of truth.parquet but those of annotations that corrections.parquet has: a fault is one no more."""
    pairs = pd.MultiIndex.from_frame(corrections[["image_id", "annotation_id"]].astype("float64"))
    own = pd.MultiIndex.from_frame(truth[["image_id", "annotation_id"]].astype("float64"))
    return truth[truth["annotation_id"].isna().to_numpy() | ~own.isin(pairs)]


def suspect_measures(found: pd.DataFrame, truth: pd.DataFrame, split: str) -> list[Measure]:
    """suspects.KIND of a split: how many; where faults were planted, found.KIND: the average precision, and more.

    found, truth: rows of label_issues.parquet and of truth.parquet, of all splits.
    """
    found, truth = found[found["split"] == split], truth[truth["split"] == split]
    rows = [Measure(f"suspects.{kind}", int((found["kind"] == kind).sum())) for kind in KINDS]
    for kind, quality in ranking_quality(found, truth).items():
        rows.append(Measure(f"found.{kind}", quality.pop("average_precision")))
        rows += [Measure(f"{name}.{kind}", value) for name, value in quality.items()]
    return rows


def first_of_groups(issues: pd.DataFrame, group: Mapping[int, int]) -> pd.DataFrame:
    """Of each kind and group of images the suspect of the highest score, the first of equal ones; in their order.

    issues: rows of label_issues. group: of each of their images, by image_id; near copies share one.
    """
    keyed = issues[["kind", "score"]].assign(group=[group[i] for i in issues["image_id"]], place=np.arange(len(issues)))
    first = keyed.sort_values("score", ascending=False, kind="stable").drop_duplicates(["kind", "group"])
    return issues.iloc[np.sort(first["place"])]


def objects_of(suspects: pd.DataFrame, objects: pd.DataFrame) -> pd.Series:
    """The object that each suspect label is about, by object_id; of one that is missing the region that its box meets.

    suspects: rows of label_issues.parquet, but for object_id. objects: rows of objects.parquet.
    """
    own = suspects[["image_id", "annotation_id"]].astype("Int64")
    known = objects[["image_id", "annotation_id", "object_id"]].dropna().astype("Int64")
    found = own.merge(known, on=["image_id", "annotation_id"], how="left")["object_id"].set_axis(suspects.index)
    regions = objects[objects["annotation_id"].isna()].groupby(["image_id", "class"])
    for i, row in suspects[suspects["annotation_id"].isna()].iterrows():
        if (row["image_id"], row["suggested"]) in regions.groups:
            near = regions.get_group((row["image_id"], row["suggested"]))
            shared = np.array([box_iou(row["bbox"], box) for box in near["bbox"]])
            if shared.max() > 0:
                found[i] = near["object_id"].iloc[int(shared.argmax())]
    return found


def hits(ranked: pd.DataFrame, planted: pd.DataFrame) -> np.ndarray:
    """Whether each ranked suspect is a planted fault, each fault counted once; bool[len(ranked)].

    A fault without an annotation is found by a region whose box overlaps its box by an IoU of 0.3 or more.
    """
    hit = np.zeros(len(ranked), bool)
    open_faults = list(planted.itertuples())
    for i, suspect in enumerate(ranked.itertuples()):
        for fault in open_faults:
            same = suspect.image_id == fault.image_id and (
                box_iou(suspect.bbox, fault.bbox) >= MATCH_IOU
                if suspect.kind == "missing"
                else suspect.annotation_id == fault.annotation_id
            )
            if same:
                hit[i] = True
                open_faults.remove(fault)
                break
    return hit


def box_iou(a: Sequence[float], b: Sequence[float]) -> float:
    """Intersection over union of two boxes (left, top, width, height)."""
    width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    height = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    shared = max(width, 0) * max(height, 0)
    return float(shared / (a[2] * a[3] + b[2] * b[3] - shared)) if shared else 0.0
