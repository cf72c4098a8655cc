import pandas as pd
import pytest

from segscope.suspects.find import KINDS
from segscope.suspects.ranking import (
    box_iou,
    first_of_groups,
    objects_of,
    ranking_quality,
    still_planted,
    suspect_measures,
)


@pytest.fixture
def ranked() -> pd.DataFrame:
    columns = ["image_id", "annotation_id", "kind", "score", "bbox"]
    return pd.DataFrame(
        [
            (1, 11, "mislabeled", 0.9, [0, 0, 9, 9]),
            (2, 22, "mislabeled", 0.8, [0, 0, 9, 9]),
            (3, 33, "mislabeled", 0.7, [0, 0, 9, 9]),
            (4, None, "missing", 0.9, [0, 0, 10, 10]),
            (4, None, "missing", 0.8, [50, 50, 10, 10]),
        ],
        columns=columns,
    ).assign(split="val")


@pytest.fixture
def truth() -> pd.DataFrame:
    return pd.DataFrame(
        [
            (1, 11, "mislabeled", None, [0, 0, 9, 9]),
            (3, 33, "mislabeled", None, [0, 0, 9, 9]),
            (9, 99, "mislabeled", None, [0, 0, 9, 9]),
            (4, None, "missing", None, [52, 50, 10, 10]),
        ],
        columns=["image_id", "annotation_id", "planted", "score", "bbox"],
    ).assign(split="val")


def test_ranking_quality_by_hand(ranked, truth):
    quality = ranking_quality(ranked, truth)
    assert set(quality) == {"mislabeled", "missing"}
    assert quality["mislabeled"]["average_precision"] == pytest.approx((1 / 1 + 2 / 3) / 3)
    assert quality["mislabeled"]["precision_at_n"] == pytest.approx(2 / 3)
    assert quality["mislabeled"]["recall_at_2n"] == pytest.approx(2 / 3)
    assert quality["missing"]["average_precision"] == pytest.approx(1 / 2)
    assert quality["missing"]["precision_at_n"] == 0
    assert quality["missing"]["recall_at_2n"] == 1


def test_the_measures_are_of_one_split(ranked, truth):
    others = [table.assign(split="train") for table in (ranked, truth)]
    tables = [pd.concat(pair) for pair in zip((ranked, truth), others, strict=True)]
    rows = {row.measure: row.value for row in suspect_measures(*tables, "val")}
    assert rows == pytest.approx(
        {
            "suspects.mislabeled": 3,
            "suspects.ambiguous": 0,
            "suspects.inaccurate": 0,
            "suspects.missing": 2,
            "found.mislabeled": (1 / 1 + 2 / 3) / 3,
            "planted.mislabeled": 3,
            "precision_at_n.mislabeled": 2 / 3,
            "recall_at_2n.mislabeled": 2 / 3,
            "found.missing": 1 / 2,
            "planted.missing": 1,
            "precision_at_n.missing": 0,
            "recall_at_2n.missing": 1,
        }
    )


@pytest.mark.filterwarnings("error")
def test_where_nothing_was_planted_nothing_is_known_of_the_ranking(ranked, truth):
    rows = suspect_measures(ranked, truth[:0], "val")
    assert {row.measure for row in rows} == {f"suspects.{kind}" for kind in KINDS}
    rows = suspect_measures(ranked, truth, "train")
    assert {(row.measure, row.value) for row in rows} == {(f"suspects.{kind}", 0) for kind in KINDS}


@pytest.mark.filterwarnings("error")
def test_faults_that_are_never_listed_are_all_missed(ranked, truth):
    rows = {row.measure: row.value for row in suspect_measures(ranked[:0], truth, "val")}
    assert rows["planted.mislabeled"] == 3
    assert rows["found.mislabeled"] == rows["precision_at_n.mislabeled"] == rows["recall_at_2n.mislabeled"] == 0


def test_box_iou():
    assert box_iou([0, 0, 10, 10], [5, 0, 10, 10]) == pytest.approx(1 / 3)
    assert box_iou([0, 0, 10, 10], [10, 0, 10, 10]) == 0


def test_of_each_kind_a_group_of_images_is_shown_once(ranked):
    shown = first_of_groups(ranked[::-1], {1: 10, 2: 10, 3: 3, 4: 10})
    assert shown[["image_id", "kind", "score"]].to_numpy().tolist() == [
        [4, "missing", 0.9],
        [3, "mislabeled", 0.7],
        [1, "mislabeled", 0.9],
    ]
    assert first_of_groups(ranked[:0], {}).empty


def test_a_suspect_is_of_its_object():
    objects = pd.DataFrame(
        [
            (10, 1, 7, "car", [0, 0, 9, 9]),
            (11, 1, None, "car", [0, 0, 4, 4]),
            (12, 1, None, "car", [0, 0, 9, 9]),
            (13, 1, None, "person", [0, 0, 10, 10]),
            (14, 2, 7, "car", [0, 0, 9, 9]),
        ],
        columns=["object_id", "image_id", "annotation_id", "class", "bbox"],
    )
    suspects = pd.DataFrame(
        [
            (2, 7, "background", [0, 0, 9, 9]),
            (1, None, "car", [0, 0, 10, 10]),
            (1, None, "car", [50, 50, 3, 3]),
            (3, None, "car", [0, 0, 9, 9]),
            (1, 8, "person", [0, 0, 9, 9]),
        ],
        columns=["image_id", "annotation_id", "suggested", "bbox"],
        index=[5, 6, 7, 8, 9],
    )
    found = objects_of(suspects, objects)
    assert found.index.tolist() == [5, 6, 7, 8, 9]
    assert found.astype(object).where(found.notna(), None).tolist() == [14, 12, None, None, None]


def test_a_fault_that_was_corrected_is_none():
    planted = ["mislabeled", "missing", "ambiguous", "street"]
    truth = pd.DataFrame({"image_id": [1, 1, 2, 2], "planted": planted, "annotation_id": [5, None, 5, None]})
    corrections = pd.DataFrame({"image_id": [1], "annotation_id": [5]})
    assert still_planted(truth, corrections)["planted"].tolist() == ["missing", "ambiguous", "street"]
    assert still_planted(truth, corrections[:0])["planted"].tolist() == planted
