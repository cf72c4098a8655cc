import json

import numpy as np
import pytest
from conftest import CATEGORIES, coco_document, square
from pycocotools.coco import COCO

from segscope.coco import (
    annotation_rle,
    decode_rle,
    encode_rle,
    parse_coco,
    read_coco,
    resolve_categories,
    select_images,
)
from segscope.errors import SegscopeError

IMAGE = {"id": 1, "file_name": "a.jpg", "width": 40, "height": 30}
ANNOTATION = {"id": 5, "image_id": 1, "category_id": 1, "segmentation": square(2, 3, 10)}


def split_of(shown: dict[int, list[int]]):
    images = [{"id": i, "file_name": f"{i}.jpg", "width": 4, "height": 3} for i in shown]
    rows = [(i, c) for i, categories in shown.items() for c in categories]
    annotations = [
        {"id": n, "image_id": i, "category_id": c, "segmentation": []} for n, (i, c) in enumerate(rows, start=1)
    ]
    return parse_coco(coco_document(images, annotations), "test.json")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": None}, "no list 'images'"),
        ({"images": [IMAGE, IMAGE]}, "image ids must be unique; repeated: 1"),
        ({"images": [IMAGE | {"width": 0}]}, "image 1 has size 0×30"),
        ({"images": [IMAGE | {"width": "40"}]}, r"images\[0\]\.width must be of type int, not '40'"),
        ({"images": [IMAGE | {"file_name": "../../etc/passwd"}]}, "relative path inside the image folder"),
        ({"images": [IMAGE | {"file_name": "/etc/passwd"}]}, "relative path inside the image folder"),
        ({"annotations": [ANNOTATION | {"image_id": 9}]}, "annotation 5 names image 9 and category 1"),
        ({"annotations": [ANNOTATION | {"category_id": 9}]}, "annotation 5 names image 1 and category 9"),
        ({"annotations": [7]}, r"annotations\[0\]\.id must be of type int"),
        ({"categories": [CATEGORIES[0] | {"id": 300}]}, "category ids must be 1 to 254, not 300"),
    ],
)
def test_a_document_that_contradicts_itself_is_an_error(change, message):
    with pytest.raises(SegscopeError, match=message):
        parse_coco(coco_document([IMAGE], []) | change, "test.json")


def test_a_truncated_file_is_an_error(tmp_path):
    path = tmp_path / "instances.json"
    path.write_text(json.dumps(coco_document([IMAGE], [ANNOTATION]))[:-20])
    with pytest.raises(SegscopeError, match="is not JSON"):
        read_coco(path)


@pytest.mark.parametrize(("match", "expected"), [("all", [3]), ("any", [1, 2, 3]), ("none", [1, 2, 3, 4, 5])])
def test_the_subset_is_chosen_by_categories(match, expected):
    split = split_of({5: [], 1: [1], 2: [3, 3], 3: [1, 3], 4: [18]})
    assert select_images(split, [{1}, {3}], match, 10, 0)["image_id"].tolist() == expected


def test_a_limited_subset_depends_on_ids_and_seed_only():
    shown = {i: [1] for i in range(1, 101)}
    forward = select_images(split_of(shown), [{1}], "any", 20, 7)
    backward = select_images(split_of(dict(reversed(shown.items()))), [{1}], "any", 20, 7)
    other = select_images(split_of(shown), [{1}], "any", 20, 8)
    assert forward.equals(backward)
    assert len(set(forward["image_id"])) == 20
    assert forward["image_id"].is_monotonic_increasing
    assert set(other["image_id"]) != set(forward["image_id"])


def test_names_resolve_to_categories_then_super_categories():
    categories = split_of({1: []}).categories
    assert resolve_categories(["person"], categories) == [1]
    assert resolve_categories(["vehicle", "dog"], categories) == [3, 6, 18]
    with pytest.raises(SegscopeError, match=r"'truck' is neither .* categories: person, car, bus, dog"):
        resolve_categories(["truck"], categories)


def test_all_kinds_of_segmentation_decode_as_pycocotools_does(tmp_path):
    mask = np.zeros((30, 40), bool)
    mask[4:9, 3:20] = mask[12:20, 30:40] = True
    flat = mask.ravel(order="F")
    edges = np.flatnonzero(np.diff(flat)) + 1
    runs = np.diff([0, *edges, flat.size]).tolist()
    segmentations = [
        [[1.5, 2.5, 20, 2.5, 20, 17, 3, 12]],
        [*square(2, 3, 9), *square(20, 15, 12)],
        square(-10, -10, 25),
        {"size": [30, 40], "counts": runs},
        encode_rle(mask),
    ]
    annotations = [
        {"id": i, "image_id": 1, "category_id": 1, "iscrowd": 0, "area": 1, "segmentation": s}
        for i, s in enumerate(segmentations, start=1)
    ]
    path = tmp_path / "instances.json"
    path.write_text(json.dumps(coco_document([IMAGE], annotations)))
    reference = COCO(str(path))
    for annotation in annotations:
        decoded = decode_rle(annotation_rle(annotation, 30, 40)["counts"], 30, 40)
        expected = reference.annToMask(reference.anns[annotation["id"]])
        assert np.array_equal(decoded, expected), annotation["segmentation"]
    assert np.array_equal(decode_rle(encode_rle(mask)["counts"], 30, 40), mask)


@pytest.mark.parametrize(
    "segmentation",
    [None, "x", {"size": [30, 40]}, {"size": [3, 4], "counts": [12]}, {"size": [30, 40], "counts": [5]}],
)
def test_an_unusable_segmentation_names_the_annotation(segmentation):
    with pytest.raises(SegscopeError, match="annotation 5 of image 1 has no usable segmentation"):
        annotation_rle(ANNOTATION | {"segmentation": segmentation}, 30, 40)


def test_a_polygon_of_no_area_is_empty():
    assert not decode_rle(annotation_rle(ANNOTATION | {"segmentation": [[1, 1, 2, 2]]}, 30, 40)["counts"], 30, 40).any()
