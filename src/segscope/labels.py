"""Suspect labels: where a confident model and an annotation disagree.

Of each annotation of the variant's classes the model's mean probabilities under its mask decide the kind:
another class (mislabeled), background (ambiguous), or the same class, whose outline is then compared
(inaccurate). A predicted region that nothing labelled explains is `missing`. Scores are 0…1, higher is worse.
Letters: H × W pixels, K classes (0 is background).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import ndimage
from sklearn.metrics import average_precision_score

from segscope.coco import decode_rle
from segscope.masks import bbox, resize_mask

KINDS = ("mislabeled", "ambiguous", "inaccurate", "missing")
MIN_PIXELS = 80  # at the model's resolution; smaller annotations and regions are below its sight
MIN_SCORE = 0.3
UNEXPLAINED = 0.6
MATCH_IOU = 0.3

Annotation = Any  # a row of instances.parquet, as `itertuples` gives it
Suspect = tuple  # of _COLUMNS
_COLUMNS = ["annotation_id", "kind", "score", "labelled", "suggested", "bbox"]


def suspects(
    probabilities: np.ndarray,
    category_mask: np.ndarray,
    annotations: Sequence[Annotation],
    class_of: np.ndarray,
    names: Sequence[str],
    image_shape: tuple[int, int],
) -> list[Suspect]:
    """The suspects of one image.

    probabilities: float32 H × W × K. category_mask: uint8 H × W of COCO category ids. annotations: the image's, of
    `annotations_by_image`. class_of: uint8[256], category id → class. names: of the K classes. image_shape: the
    image's height and width, in whose pixels a bbox is given.
    """
    size = len(category_mask)
    scale = np.array([image_shape[1] / size, image_shape[0] / size] * 2)
    found = _annotation_suspects(probabilities, category_mask, annotations, class_of)
    found += _missing_suspects(probabilities, category_mask, len(names))
    return [
        (annotation_id, kind, score, names[labelled], names[suggested], (np.array(box) * scale).tolist())
        for annotation_id, kind, score, labelled, suggested, box in found
        if score >= MIN_SCORE
    ]


def annotations_by_image(instances: pd.DataFrame) -> dict[int, list[Annotation]]:
    """Rows of instances.parquet as tuples, by image_id."""
    by_image: dict[int, list[Annotation]] = {}
    for row in instances.itertuples():
        by_image.setdefault(row.image_id, []).append(row)
    return by_image


def suspect_table(found: Mapping[int, Sequence[Suspect]]) -> pd.DataFrame:
    """label_issues.parquet without split, the highest score first, from each image's suspects."""
    rows = [(image_id, *suspect) for image_id, suspects_of in found.items() for suspect in suspects_of]
    return pd.DataFrame(rows, columns=["image_id", *_COLUMNS]).sort_values("score", ascending=False)


def _annotation_suspects(
    probabilities: np.ndarray, category_mask: np.ndarray, annotations: Sequence[Annotation], class_of: np.ndarray
) -> list[tuple]:
    found = []
    classes = class_of[category_mask]
    for row in annotations:
        own = int(class_of[row.category_id])
        if row.iscrowd or own == 0:
            continue
        outline = resize_mask(decode_rle(row.rle, row.height, row.width), len(category_mask))
        mask = outline & (classes == own)
        if mask.sum() < MIN_PIXELS:
            continue
        mean = probabilities[mask].mean(0)
        best = int(mean.argmax())
        if best == own:
            kind, score = "inaccurate", 1 - _soft_iou(probabilities[..., own], mask, classes == own)
        else:
            kind, score = ("mislabeled" if best else "ambiguous"), float(mean[best])
        found.append((row.annotation_id, kind, score, own, best, bbox(mask)))
    return found


def _soft_iou(probability: np.ndarray, mask: np.ndarray, labelled: np.ndarray) -> float:
    """Soft IoU of an instance's mask and the class's probability around it, other instances of the class left out."""
    left, top, width, height = (int(v) for v in bbox(mask))
    margin = max(2, round(0.25 * max(width, height)))
    window = (
        slice(max(0, top - margin), top + height + margin),
        slice(max(0, left - margin), left + width + margin),
    )
    inside = float(probability[mask].sum())
    outside = float(probability[window][~labelled[window]].sum())
    return inside / (float(mask.sum()) + outside)


def _missing_suspects(probabilities: np.ndarray, category_mask: np.ndarray, n_classes: int) -> list[tuple]:
    found = []
    predicted = probabilities.argmax(-1)
    for k in range(1, n_classes):
        regions, n = ndimage.label(predicted == k)
        if n == 0:
            continue
        number = regions.ravel()
        pixels = np.bincount(number)
        pixels[0] = 0
        unexplained = np.bincount(number, category_mask.ravel() == 0) / np.maximum(pixels, 1)
        confidence = np.bincount(number, probabilities[..., k].ravel()) / np.maximum(pixels, 1)
        for i in np.flatnonzero((pixels >= MIN_PIXELS) & (unexplained >= UNEXPLAINED)):
            found.append((None, "missing", float(confidence[i] * unexplained[i]), 0, k, bbox(regions == i)))
    return found


def ranking_quality(found: pd.DataFrame, truth: pd.DataFrame) -> dict[str, dict[str, float]]:
    """How well the ranking finds planted faults, for each kind that was planted.

    planted: their number n. average_precision: of the ranking of that kind, faults never listed counted as
    missed. precision_at_n: share of faults among the n first. found, truth: rows of label_issues and of truth.
    """
    quality = {}
    for kind in KINDS:
        planted = truth[truth["planted"] == kind]
        ranked = found[found["kind"] == kind].sort_values("score", ascending=False)
        if planted.empty:
            continue
        hit = _hits(ranked, planted)
        precision = average_precision_score(hit, ranked["score"]) if hit.any() else 0.0
        quality[kind] = {
            "planted": len(planted),
            "average_precision": float(precision * hit.sum() / len(planted)),
            "precision_at_n": float(hit[: len(planted)].sum() / len(planted)),
        }
    return quality


def _hits(ranked: pd.DataFrame, planted: pd.DataFrame) -> np.ndarray:
    """Whether each ranked suspect is a planted fault, each fault counted once; bool[len(ranked)]."""
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
