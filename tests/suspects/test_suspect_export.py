import json

import numpy as np
import pandas as pd
import pytest
from conftest import instances_of, square
from pycocotools.coco import COCO

from segscope.artefacts.images import encode_png
from segscope.suspects.export import as_coco, as_csv, as_label_studio, write_export
from segscope.taxonomy import Taxonomy

CATEGORIES = pd.DataFrame(
    {
        "category_id": [1, 3],
        "source_id": ["10", "30"],
        "name": ["person", "car"],
        "supercategory": ["person", "vehicle"],
    }
)
TAXONOMY = Taxonomy(CATEGORIES, {"person": ["person"], "car": ["car"]})


@pytest.fixture
def run():
    """One image of 80 × 40, a person labelled car, and an unlabelled car where the model sees one."""
    rows = [{"id": 7, "category_id": 3, "segmentation": square(4, 4, 20)}]
    instances = instances_of(rows, 40, 80).assign(image_id=1)
    predicted = np.zeros((8, 8), np.uint8)
    predicted[2:6, 5:7] = 2
    predictions = pd.DataFrame({"image_id": [1], "mask": [encode_png(predicted)]})
    index = pd.DataFrame({"image_id": [1, 2], "path": ["x/a.jpg", "x/b.jpg"], "width": 80, "height": 40})
    shared = {"image_id": 1, "split": "val", "probability": 0.9, "depth": 5.0}
    issues = pd.DataFrame(
        [
            shared
            | {"annotation_id": 7, "kind": "mislabeled", "score": 0.8, "labelled": "car", "suggested": "person"}
            | {"bbox": [4.0, 4.0, 20.0, 20.0], "evidence": "person 90%"},
            shared
            | {"annotation_id": None, "kind": "missing", "score": 0.6, "labelled": "background", "suggested": "car"}
            | {"bbox": [50.0, 10.0, 20.0, 20.0], "evidence": "car 90%"},
        ]
    )
    return issues, index, instances, predictions


def test_ids_that_annotations_of_two_images_share_are_told_apart(run):
    issues, index, instances, predictions = run
    issues = pd.concat([issues.head(1), issues.head(1).assign(image_id=2)])
    instances = pd.concat([instances, instances.assign(image_id=2)])
    document = as_coco(issues, index, instances, predictions, TAXONOMY)
    assert [(row["image_id"], row["id"]) for row in document["annotations"]] == [(1, 7), (2, 8)]


def test_coco_opens_with_pycocotools(run, tmp_path):
    issues, index, instances, predictions = run
    document = as_coco(issues, index, instances, predictions, TAXONOMY)
    write_export(tmp_path / "a.json", document)
    coco = COCO(tmp_path / "a.json")
    assert list(coco.imgs) == [1]
    own, missing = (coco.anns[i] for i in sorted(coco.anns))
    assert (own["id"], own["category_id"], own["segscope"]["suggested"]) == (7, 30, "person")
    assert coco.annToMask(own).sum() == 400
    assert missing["category_id"] == 30
    region = coco.annToMask(missing)
    expected = np.zeros((40, 80), bool)
    expected[10:30, 50:70] = True
    assert (region == expected).all()
    assert missing["area"] == region.sum()
    assert missing["id"] == 8
    assert coco.loadCats([10, 30]) == [
        {"id": 10, "name": "person", "supercategory": "person"},
        {"id": 30, "name": "car", "supercategory": "vehicle"},
    ]


def test_what_is_suggested_gets_the_first_category_of_its_class(run):
    issues, index, instances, predictions = run
    taxonomy = Taxonomy(CATEGORIES, {"human": ["person"], "vehicle": ["vehicle"]})
    issues = issues[issues["kind"] == "missing"].assign(suggested="vehicle")
    (row,) = as_coco(issues, index, instances, predictions, taxonomy)["annotations"]
    assert row["category_id"] == 30
    assert row["segscope"]["suggested"] == "vehicle"


def test_no_suspects_are_empty_files(run, tmp_path):
    issues, index, instances, predictions = run
    none = issues[:0]
    document = as_coco(none, index, instances, predictions, TAXONOMY)
    assert (document["images"], document["annotations"]) == ([], [])
    write_export(tmp_path / "a.csv", as_csv(none, index))
    assert pd.read_csv(tmp_path / "a.csv").columns.tolist() == as_csv(issues, index).columns.tolist()
    assert as_label_studio(none, index) == []


def test_csv_has_a_row_a_suspect(run, tmp_path):
    issues, index, _, _ = run
    write_export(tmp_path / "a.csv", as_csv(issues, index))
    table = pd.read_csv(tmp_path / "a.csv")
    assert table[["image_id", "path", "kind", "left", "width"]].values.tolist() == [
        [1, "x/a.jpg", "mislabeled", 4, 20],
        [1, "x/a.jpg", "missing", 50, 20],
    ]


def test_label_studio_has_a_task_an_image_with_boxes_in_per_cent(run, tmp_path):
    issues, index, _, _ = run
    write_export(tmp_path / "a.json", as_label_studio(issues, index))
    (task,) = json.loads((tmp_path / "a.json").read_text())
    assert task["data"] == {"image": "x/a.jpg", "image_id": 1}
    first, second = task["predictions"][0]["result"]
    assert first["value"] == {
        "x": 5.0, "y": 10.0, "width": 25.0, "height": 50.0, "rotation": 0, "rectanglelabels": ["person"],
    }  # fmt: skip
    assert second["value"]["rectanglelabels"] == ["car"]
    assert "mislabeled, labelled car" in first["meta"]["text"][0]
    assert task["predictions"][0]["score"] == 0.8
