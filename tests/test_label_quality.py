import pandas as pd
import pytest

from segscope.label_quality import box_iou, ranking_quality


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
    quality = ranking_quality(ranked, truth)
    assert set(quality) == {"mislabeled", "missing"}
    assert quality["mislabeled"]["average_precision"] == pytest.approx((1 / 1 + 2 / 3) / 3)
    assert quality["mislabeled"]["precision_at_n"] == pytest.approx(2 / 3)
    assert quality["mislabeled"]["recall_at_2n"] == pytest.approx(2 / 3)
    assert quality["missing"]["average_precision"] == pytest.approx(1 / 2)
    assert quality["missing"]["precision_at_n"] == 0
    assert quality["missing"]["recall_at_2n"] == 1


def test_box_iou():
    assert box_iou([0, 0, 10, 10], [5, 0, 10, 10]) == pytest.approx(1 / 3)
    assert box_iou([0, 0, 10, 10], [10, 0, 10, 10]) == 0
