import codecs
import json

import pytest
from conftest import CATEGORIES, coco_document, square

from segscope.errors import SegscopeError
from segscope.sources.coco import CocoSplit, parse_coco, read_coco

IMAGE = {"id": 1, "file_name": "a.jpg", "width": 40, "height": 30}
OTHER = {"id": 2, "file_name": "b.jpg", "width": 40, "height": 30}
ANNOTATION = {"id": 5, "image_id": 1, "category_id": 1, "segmentation": square(2, 3, 10)}


def parse(document: dict) -> CocoSplit:
    return parse_coco(json.dumps(document).encode(), "test.json")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": None}, r"is not a COCO instances file: .*`array`, got `null` - at `\$.images`"),
        ({"annotations": {}}, r"is not a COCO instances file: .* at `\$.annotations`"),
        ({"categories": [{"id": 1}]}, r"missing required field `name` - at `\$.categories\[0\]`"),
        ({"categories": [CATEGORIES[0], CATEGORIES[0] | {"name": "car"}]}, "category ids must be unique; repeated: 1"),
        ({"categories": [CATEGORIES[0], CATEGORIES[0] | {"id": 2}]}, "category names must be unique; repeated: person"),
        (
            {"categories": [{"id": i, "name": str(i)} for i in range(255)]},
            "has 255 categories; masks of 8 bits hold at most 254",
        ),
    ],
)
def test_a_document_that_cannot_be_trusted_is_an_error(change, message):
    with pytest.raises(SegscopeError, match=message):
        parse(coco_document([IMAGE], []) | change)


@pytest.mark.parametrize("text", [b"", b"[]", b"\xff\xfe", b'{"images": [], "annotations": []}', b"<html></html>"])
def test_a_file_of_something_else_is_an_error(text):
    with pytest.raises(SegscopeError, match=r"test\.json"):
        parse_coco(text, "test.json")


def test_a_truncated_file_is_an_error(tmp_path):
    path = tmp_path / "instances.json"
    path.write_text(json.dumps(coco_document([IMAGE], [ANNOTATION]))[:-20])
    with pytest.raises(SegscopeError, match=r"is not JSON \(is it truncated\?\)"):
        read_coco(path)


def test_a_missing_file_is_an_error(tmp_path):
    with pytest.raises(SegscopeError, match="cannot be read: No such file"):
        read_coco(tmp_path / "nowhere.json")


@pytest.mark.parametrize(
    ("images", "annotations", "reasons"),
    [
        ([IMAGE | {"width": 0}, OTHER], [], ["malformed"]),
        ([IMAGE | {"width": "40"}, OTHER], [], ["malformed"]),
        (["b.jpg", OTHER], [], ["malformed"]),
        ([IMAGE | {"file_name": "../../etc/passwd"}, OTHER], [ANNOTATION], ["unsafe_file_name"]),
        ([IMAGE | {"file_name": "/etc/passwd"}, OTHER], [], ["unsafe_file_name"]),
        ([IMAGE | {"file_name": "a\\..\\b.jpg"}, OTHER], [], ["unsafe_file_name"]),
        ([IMAGE | {"file_name": "a\0.jpg"}, OTHER], [], ["unsafe_file_name"]),
        ([IMAGE | {"file_name": ""}, OTHER], [], ["unsafe_file_name"]),
        ([OTHER, OTHER], [], ["duplicate_id"]),
        ([IMAGE, IMAGE | {"file_name": "c.jpg"}, OTHER], [ANNOTATION], ["duplicate_id"] * 2),
        ([OTHER], [ANNOTATION], ["unknown_image"]),
        ([OTHER], [ANNOTATION | {"image_id": 2, "category_id": 9}], ["unknown_category"]),
        ([OTHER], [ANNOTATION | {"image_id": None}, 7], ["malformed"] * 2),
    ],
)
def test_a_row_that_contradicts_the_rest_is_left_out_and_listed(images, annotations, reasons):
    split = parse(coco_document(images, annotations))
    assert split.images["image_id"].tolist() == [2]
    assert split.annotations.empty
    assert split.skipped["reason"].tolist() == reasons


def test_of_annotations_with_one_id_the_first_is_kept():
    split = parse(coco_document([IMAGE], [ANNOTATION, ANNOTATION | {"category_id": 3}]))
    assert split.annotations["category_id"].tolist() == [1]
    assert split.skipped[["image_id", "annotation_id", "reason"]].values.tolist() == [[1, 5, "duplicate_id"]]


def test_skipped_rows_name_what_they_are_about():
    split = parse(coco_document([IMAGE | {"file_name": "../a.jpg"}, OTHER], [ANNOTATION | {"image_id": 9}]))
    image, annotation = split.skipped.to_dict("records")
    assert (image["image_id"], image["file_name"]) == (1, "../a.jpg")
    assert (annotation["image_id"], annotation["annotation_id"]) == (9, 5)
    assert annotation["detail"] == "image 9 is not in the file"


def test_images_may_be_in_sub_folders():
    split = parse(coco_document([IMAGE | {"file_name": "2020/May/ä b.jpg"}], []))
    assert split.images["file_name"].tolist() == ["2020/May/ä b.jpg"]


def test_category_ids_that_do_not_fit_a_mask_are_numbered_anew():
    categories = [{"id": 0, "name": "things", "supercategory": "none"}, {"id": 700, "name": "car"}]
    split = parse({"images": [IMAGE], "annotations": [ANNOTATION | {"category_id": 700}], "categories": categories})
    assert split.categories.to_dict("records") == [
        {"category_id": 1, "source_id": 0, "name": "things", "supercategory": "things"},
        {"category_id": 2, "source_id": 700, "name": "car", "supercategory": "car"},
    ]
    assert split.annotations["category_id"].tolist() == [2]


def test_a_byte_order_mark_is_no_matter():
    text = codecs.BOM_UTF8 + json.dumps(coco_document([IMAGE], [])).encode()
    assert len(parse_coco(text, "test.json").images) == 1


def test_a_field_of_the_images_says_which_belong_together():
    images = [IMAGE | {"video_id": 7}, OTHER | {"video_id": None}, IMAGE | {"id": 3, "video_id": "7"}]
    text = json.dumps(coco_document(images, [ANNOTATION])).encode()
    assert parse_coco(text, "test.json", "video_id").images["group"].tolist() == ["7", None, "7"]
    assert parse_coco(text, "test.json").images["group"].tolist() == [None, None, None]
    with pytest.raises(SegscopeError, match=r"data.group: no image of test.json has a field scene; there .*video_id"):
        parse_coco(text, "test.json", "scene")
