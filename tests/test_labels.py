import numpy as np
import pandas as pd
import pytest
from conftest import instances_of, square

from segscope import labels
from segscope.masks import category_classes, compose_mask

SIZE = 64
CLASS_OF = category_classes({"person": [1], "car": [3]})
NAMES = ["background", "person", "car"]


def found(truth: list[tuple[int, int, int, int]], annotated: list[tuple[int, int, int, int]]) -> pd.DataFrame:
    """Suspects where the model sees `truth` (class, left, top, side) and the labels say `annotated` (category, …)."""
    p = np.full((SIZE, SIZE, 3), 0.05, np.float32)
    seen = np.zeros((SIZE, SIZE), int)
    for k, left, top, side in truth:
        seen[top : top + side, left : left + side] = k
    np.put_along_axis(p, seen[..., None], 0.9, -1)
    rows = [
        {"id": i, "image_id": 1, "category_id": c, "segmentation": square(*box)}
        for i, (c, *box) in enumerate(annotated, start=1)
    ]
    instances = instances_of(rows, SIZE, SIZE)
    mask = compose_mask(instances, SIZE, SIZE)
    # The photograph is twice as wide as high: boxes must come back in its pixels.
    own = list(instances.itertuples())
    return labels.suspect_table({1: labels.suspects(p, mask, own, CLASS_OF, NAMES, (SIZE, 2 * SIZE))})


def test_agreement_is_no_suspect():
    assert found([(1, 10, 10, 20)], [(1, 10, 10, 20)]).empty


def test_another_class_is_mislabeled():
    (row,) = found([(1, 10, 12, 20)], [(3, 10, 12, 20)]).itertuples()
    assert (row.kind, row.annotation_id, row.labelled, row.suggested) == ("mislabeled", 1, "car", "person")
    assert row.score == pytest.approx(0.9, rel=1e-4)
    assert row.bbox == [20, 12, 40, 20]


def test_background_is_ambiguous():
    (row,) = found([], [(3, 10, 10, 20)]).itertuples()
    assert (row.kind, row.labelled, row.suggested) == ("ambiguous", "car", "background")


def test_a_grown_outline_is_inaccurate():
    (row,) = found([(1, 20, 20, 20)], [(1, 16, 16, 26)]).itertuples()
    assert (row.kind, row.annotation_id) == ("inaccurate", 1)
    inside = 400 * 0.9 + (26**2 - 400) * 0.05
    outside = 0.05 * (38**2 - 26**2)  # the window reaches a quarter of the box, here 6 pixels, around it
    assert row.score == pytest.approx(1 - inside / (26**2 + outside), rel=1e-5)


def test_an_unlabelled_region_is_missing():
    (row,) = found([(2, 30, 30, 16), (1, 2, 2, 12)], [(1, 2, 2, 12)]).itertuples()
    assert (row.kind, row.suggested, row.bbox) == ("missing", "car", [60, 30, 32, 16])
    assert pd.isna(row.annotation_id)


def test_a_region_over_another_category_is_confusion_not_a_missing_label():
    assert found([(2, 30, 30, 16)], [(6, 30, 30, 16)]).empty


def test_ranking_quality_by_hand():
    columns = ["image_id", "annotation_id", "kind", "score", "bbox"]
    ranked = pd.DataFrame(
        [
            (1, 11, "mislabeled", 0.9, [0, 0, 9, 9]),
            (2, 22, "mislabeled", 0.8, [0, 0, 9, 9]),
            (3, 33, "mislabeled", 0.7, [0, 0, 9, 9]),
            (4, None, "missing", 0.9, [0, 0, 10, 10]),
            (4, None, "missing", 0.8, [50, 50, 10, 10]),
        ],
        columns=columns,
    )
    truth = pd.DataFrame(
        [
            (1, 11, "mislabeled", None, [0, 0, 9, 9]),
            (3, 33, "mislabeled", None, [0, 0, 9, 9]),
            (9, 99, "mislabeled", None, [0, 0, 9, 9]),
            (4, None, "missing", None, [52, 50, 10, 10]),
        ],
        columns=["image_id", "annotation_id", "planted", "score", "bbox"],
    )
    quality = labels.ranking_quality(ranked, truth)
    assert set(quality) == {"mislabeled", "missing"}
    assert quality["mislabeled"]["average_precision"] == pytest.approx((1 / 1 + 2 / 3) / 3)
    assert quality["mislabeled"]["precision_at_n"] == pytest.approx(2 / 3)
    assert quality["missing"]["average_precision"] == pytest.approx(1 / 2)


def test_box_iou():
    assert labels.box_iou([0, 0, 10, 10], [5, 0, 10, 10]) == pytest.approx(1 / 3)
    assert labels.box_iou([0, 0, 10, 10], [10, 0, 10, 10]) == 0
