import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from conftest import instances_of, square
from pycocotools.coco import COCO

from segscope.artefacts.images import encode_png
from segscope.artefacts.rle import decode_rle
from segscope.artefacts.schemas import ANNOTATIONS
from segscope.artefacts.segmentation import decode_segmentation
from segscope.labels.corrections import Corrections, correct
from segscope.labels.exclusion import Exclusion, apply_exclusion
from segscope.sources.corrections import read_corrections
from segscope.sources.label_studio import decode_brush
from segscope.suspects.export import (
    as_coco,
    as_csv,
    as_label_studio,
    labels_of_tasks,
    labels_to_review,
    write_export,
)
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
    """One image of 80 × 40: a person labelled car, an excluded crowd, a car that only the model sees."""
    rows = [{"id": 7, "category_id": 3, "segmentation": square(4, 4, 20)}]
    rows.append({"id": 9, "category_id": 255, "segmentation": square(30, 4, 5), "iscrowd": 1})
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


KNOWN = pd.DataFrame({"image_id": [1, 1], "annotation_id": [7, 9], "category_id": [3, 1]})
SOURCE = "directory x"
NO_EDITS = pd.DataFrame(columns=["image_id", "annotation_id", "category_id"], dtype="Int64")


def to_review(run, taxonomy=TAXONOMY):
    issues, index, instances, predictions = run
    return labels_to_review(issues, index, instances, KNOWN, predictions, taxonomy)


def test_coco_opens_with_pycocotools_and_holds_all_labels_of_the_images(run, tmp_path):
    write_export(tmp_path / "a.json", as_coco(to_review(run), run[1], CATEGORIES, SOURCE))
    coco = COCO(tmp_path / "a.json")
    assert [(image["id"], image["file_name"]) for image in coco.imgs.values()] == [(1, "a.jpg")]
    own, other, missing = (coco.anns[i] for i in sorted(coco.anns))
    assert (own["id"], own["category_id"], own["segscope"]["suggested"]) == (7, 30, "person")
    assert coco.annToMask(own).sum() == 400
    # Excluded before, and no suspect: it must not be lost where the image's labels are replaced.
    assert (other["id"], other["category_id"], other["iscrowd"], "segscope" in other) == (9, 10, 1, False)
    assert (missing["id"], coco.cats[missing["category_id"]]["name"]) == (10, "proposed: car")
    region = coco.annToMask(missing)
    expected = np.zeros((40, 80), bool)
    expected[10:30, 50:70] = True
    assert (region == expected).all()
    assert missing["area"] == region.sum()
    assert coco.loadCats([10, 30, 31])[1:] == [
        {"id": 30, "name": "car", "supercategory": "vehicle"},
        {"id": 31, "name": "proposed: car", "supercategory": "proposed: car"},
    ]


def test_ids_that_annotations_of_two_images_share_are_told_apart(run):
    issues, index, instances, predictions = run
    issues = pd.concat([issues.head(1), issues.head(1).assign(image_id=2)])
    instances = pd.concat([instances.head(1), instances.head(1).assign(image_id=2)])
    labels = labels_to_review(issues, index, instances, KNOWN, predictions, TAXONOMY)
    rows = as_coco(labels, index, CATEGORIES, SOURCE)["annotations"]
    assert [(row["image_id"], row["id"]) for row in rows] == [(1, 7), (2, 8)]


def test_annotations_that_were_told_apart_come_back_under_their_own_ids(run, tmp_path):
    issues, index, instances, predictions = run
    index = index.assign(split="val")
    # As YOLO and masks number them: 7 and 9 in each image. The second image's 9 is a person, and excluded.
    issues = pd.concat([issues.head(1), issues.head(1).assign(image_id=2)])
    instances = pd.concat([instances, instances.assign(image_id=2)], ignore_index=True)
    known = pd.concat([KNOWN, KNOWN.assign(image_id=2)])
    document = as_coco(
        labels_to_review(issues, index, instances, known, predictions, TAXONOMY), index, CATEGORIES, SOURCE
    )
    assert [(row["image_id"], row["id"]) for row in document["annotations"]] == [(1, 7), (1, 9), (2, 10), (2, 11)]
    document["annotations"].append(document["annotations"][3] | {"id": 12, "segmentation": square(40, 20, 5)})  # copied
    write_export(tmp_path / "a.json", document)
    images, rows, _, _ = read_corrections(tmp_path / "a.json", SOURCE, index, CATEGORIES)
    assert rows[["image_id", "annotation_id"]].values.tolist() == [[1, 7], [1, 9], [2, 7], [2, 9], [2, 10]]
    assert decode_segmentation(rows["segmentation"][3], 40, 80)[0] == instances["rle"][3]

    before = pa.Table.from_pandas(rows[:4], ANNOTATIONS, preserve_index=False)
    after, _, said = correct(Corrections(images, rows[:4], NO_EDITS), before, index)
    assert said == "corrected labels: of 2 images none differs"
    _, labels, _, unknown = apply_exclusion(Exclusion(frozenset(), {2: frozenset([9])}), index, after)
    assert (labels["category_id"].to_pylist(), unknown) == ([3, 1, 3, 255], [])


def test_an_edit_of_an_annotation_that_was_told_apart_finds_it(tmp_path):
    index = pd.DataFrame({"image_id": [2], "path": ["b.jpg"], "width": 80, "height": 40})
    edit = {"id": 11, "image_id": 2, "removed": True, "segscope": {"annotation_id": 9}}
    write_export(tmp_path / "a.json", {"info": {"segscope_source": SOURCE}, "annotations": [edit]})
    edits = read_corrections(tmp_path / "a.json", SOURCE, index, CATEGORIES)[2]
    assert edits[["image_id", "annotation_id"]].values.tolist() == [[2, 9]]


def test_what_is_missing_is_proposed_as_the_first_category_of_its_class(run):
    taxonomy = Taxonomy(CATEGORIES, {"human": ["person"], "vehicle": ["vehicle"]})
    issues, *others = run
    labels = to_review((issues[issues["kind"] == "missing"].assign(suggested="vehicle"), *others), taxonomy)
    assert labels["name"].tolist() == ["car", "person", "proposed: car"]
    assert labels["suggested"].tolist()[2] == "vehicle"


def test_an_image_without_any_label_may_miss_one(run):
    issues, index, instances, predictions = run
    labels = to_review((issues[issues["kind"] == "missing"], index, instances[:0], predictions))
    assert labels[["image_id", "name", "height", "width"]].values.tolist() == [[1, "proposed: car", 40, 80]]


@pytest.mark.parametrize(("side", "area"), [(0, 400), (8, 336), (20, 400)], ids=["free", "cut", "all labelled"])
def test_what_the_models_mask_does_not_show_is_proposed_as_its_box(run, side, area):
    issues, index, _, predictions = run
    issues = issues[issues["kind"] == "missing"]  # its box is of 20 pixels, from 50 and 10 on
    rows = [{"id": 7, "category_id": 3, "segmentation": square(50, 10, side)}] if side else []
    instances = instances_of(rows, 40, 80).assign(image_id=1)
    labels = to_review((issues, index, instances, predictions.assign(mask=[encode_png(np.zeros((8, 8), np.uint8))])))
    proposed = labels[labels["name"] == "proposed: car"].iloc[0]
    mask = decode_rle(proposed["rle"], 40, 80)
    assert (mask.sum(), proposed["area"], mask[10:30, 50:70].sum()) == (area, area, area)


def test_what_is_to_be_ignored_is_not_exported_and_no_place_for_what_is_proposed(run):
    issues, index, instances, predictions = run
    void = instances_of([{"id": 0, "category_id": 255, "segmentation": square(50, 10, 8)}], 40, 80).assign(image_id=1)
    labels = to_review((issues, index, pd.concat([instances, void]), predictions))
    assert labels["name"].tolist() == ["car", "person", "proposed: car"]
    assert labels["area"].tolist()[2] == 400 - 64


def test_no_suspects_are_empty_files(run, tmp_path):
    issues, index, instances, predictions = run
    labels = to_review((issues[:0], index, instances, predictions))
    document = as_coco(labels, index, CATEGORIES, SOURCE)
    assert (document["images"], document["annotations"]) == ([], [])
    write_export(tmp_path / "a.csv", as_csv(issues[:0], index))
    assert pd.read_csv(tmp_path / "a.csv").columns.tolist() == as_csv(issues, index).columns.tolist()
    assert as_label_studio(labels, index, SOURCE) == []


def test_csv_has_a_row_a_suspect(run, tmp_path):
    issues, index, _, _ = run
    write_export(tmp_path / "a.csv", as_csv(issues, index))
    table = pd.read_csv(tmp_path / "a.csv")
    assert table[["image_id", "path", "kind", "left", "width"]].values.tolist() == [
        [1, "x/a.jpg", "mislabeled", 4, 20],
        [1, "x/a.jpg", "missing", 50, 20],
    ]


def test_label_studio_has_a_task_an_image_with_all_labels_as_brushed_masks(run, tmp_path):
    index = run[1].assign(path=["x/a b.jpg", "x/val/b.jpg"])
    labels = to_review(run)
    write_export(tmp_path / "a.json", as_label_studio(labels, index, SOURCE))
    (task,) = json.loads((tmp_path / "a.json").read_text())
    assert task["data"] == {"image": "/data/local-files/?d=a%20b.jpg", "image_id": 1, "source": SOURCE}
    regions = task["predictions"][0]["result"]
    assert [(each["id"], each["value"]["brushlabels"]) for each in regions] == [
        ("7", ["car"]),
        ("9-crowd", ["person"]),
        ("proposed-2", ["proposed: car"]),
    ]
    assert decode_brush(regions[0]["value"]["rle"], 40, 80).sum() == 400
    assert regions[0]["meta"]["text"] == ["mislabeled, labelled car, person suggested: person 90%"]
    assert task["predictions"][0]["score"] == 0.8
    assert labels_of_tasks(labels, TAXONOMY) == ["person", "car", "proposed: car"]


@pytest.mark.parametrize("kind", ["coco", "label-studio"])
def test_what_is_exported_and_comes_back_as_it_is_changes_nothing(run, tmp_path, kind):
    index = run[1].assign(split="val")
    labels = to_review(run)
    if kind == "coco":
        document = as_coco(labels, index, CATEGORIES, SOURCE)
    else:
        document = as_label_studio(labels, index, SOURCE)
        document[0]["annotations"] = document[0]["predictions"]  # accepted as it is
    write_export(tmp_path / "a.json", document)
    categories = CATEGORIES.assign(source_id=["10", "30"])
    images, rows, _, notes = read_corrections(tmp_path / "a.json", SOURCE, index, categories)
    assert images == [1]
    assert rows[["annotation_id", "category_id", "iscrowd"]].values.tolist() == [[7, 3, False], [9, 1, True]]
    assert [decode_segmentation(text, 40, 80)[0] for text in rows["segmentation"]] == run[2]["rle"].tolist()
    assert "1 annotations are still called 'proposed: '…, and left out" in notes[-1]


def test_a_proposed_region_of_a_long_image_is_where_the_models_square_is_scaled_to_it():
    predicted = np.zeros((4, 4), bool)
    predicted[1, 2] = True  # of a square of 400 pixels that begins above the image: rows 100 to 199, columns 200 to 299
    index = pd.DataFrame({"image_id": [1], "path": ["a.jpg"], "width": [400], "height": [8]})
    issue = {"image_id": 1, "annotation_id": np.nan, "kind": "missing", "score": 0.6, "labelled": "background"}
    issue |= {"suggested": "person", "evidence": "", "bbox": [210.0, 0.0, 1000.0, 8.0]}
    predictions = pd.DataFrame({"image_id": [1], "mask": [encode_png(predicted.astype(np.uint8))]})
    none = instances_of([], 8, 400).assign(image_id=[])
    known = KNOWN[:0]
    labels = labels_to_review(pd.DataFrame([issue]), index, none, known, predictions, TAXONOMY)
    (row,) = labels.itertuples()
    mask = decode_rle(row.rle, 8, 400)
    assert mask[2:4, 210:300].all()
    assert mask.sum() == 2 * 90
