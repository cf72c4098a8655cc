import hashlib
import json

import pytest
from conftest import CATEGORIES, coco_document, square
from hypothesis import given
from hypothesis import strategies as st

from segscope.errors import SegscopeError
from segscope.sources.coco import CocoSplit, parse_coco, read_coco
from segscope.sources.ids import free_ids

IMAGE = {"id": 1, "file_name": "a.jpg", "width": 40, "height": 30}
OTHER = {"id": 2, "file_name": "b.jpg", "width": 40, "height": 30}
ANNOTATION = {"id": 5, "image_id": 1, "category_id": 1, "segmentation": square(2, 3, 10)}


def parse(document: dict) -> CocoSplit:
    return parse_coco(json.dumps(document).encode(), "test.json")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": None}, r"is not a COCO instances file: .*got `null` - at `\$.images`"),
        ({"annotations": 7}, r"is not a COCO instances file: .*got `int` - at `\$.annotations`"),
        ({"categories": [{"id": 1}]}, r"categories\[0\]: Object missing required field `name`"),
        ({"categories": [{"id": None, "name": "a"}]}, r"categories\[0\].id: it is no id: null"),
        ({"categories": [{"id": 1, "name": " "}]}, r"categories\[0\].name: it is empty: ' '"),
        ({"categories": [CATEGORIES[0], CATEGORIES[0] | {"name": "car"}]}, "category ids must be unique; repeated: 1"),
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
        (["b.jpg", OTHER], [], ["malformed"]),
        ([IMAGE | {"file_name": 7}, OTHER], [], ["malformed"]),
        ([IMAGE | {"id": None}, OTHER], [ANNOTATION], ["malformed", "unknown_image"]),
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


@pytest.mark.parametrize(
    ("images", "annotations", "detail"),
    [
        ([{"file_name": "a.jpg"}], [], "images[0]: Object missing required field `id`"),
        ([IMAGE | {"id": 1.5}], [], "images[0].id: it is no id: 1.5"),
        ([OTHER, IMAGE | {"file_name": None}], [], "images[1].file_name: Expected `str`, got `null`: null"),
        ([IMAGE], [ANNOTATION, ANNOTATION | {"image_id": None}], "annotations[1].image_id: it is no id: null"),
        ([IMAGE], [ANNOTATION | {"category_id": ""}], "annotations[0].category_id: it is no id: ''"),
        ([IMAGE], [ANNOTATION | {"iscrowd": "maybe"}], "annotations[0].iscrowd: it is neither 0 nor 1: 'maybe'"),
        ([IMAGE], [ANNOTATION | {"iscrowd": 2}], "annotations[0].iscrowd: it is neither 0 nor 1: 2"),
    ],
)
def test_a_malformed_row_is_told_with_field_and_value(images, annotations, detail):
    (row,) = parse(coco_document(images, annotations)).skipped.to_dict("records")
    assert (row["reason"], row["detail"]) == ("malformed", detail)


def test_skipped_rows_name_what_they_are_about():
    split = parse(coco_document([OTHER, OTHER], [ANNOTATION | {"image_id": 9}]))
    image, annotation = split.skipped.to_dict("records")
    assert (image["image_id"], image["file_name"]) == (2, "b.jpg")
    assert (annotation["image_id"], annotation["annotation_id"]) == (9, 5)
    assert annotation["detail"] == "image 9 is not in the file"


def test_of_annotations_listed_twice_one_is_kept():
    split = parse(coco_document([IMAGE], [ANNOTATION, ANNOTATION]))
    assert split.annotations["annotation_id"].tolist() == [5]
    assert split.skipped[["image_id", "annotation_id", "reason"]].values.tolist() == [[1, 5, "duplicate_id"]]


def test_annotations_that_have_no_id_of_their_own_are_numbered():
    other = ANNOTATION | {"image_id": 2}
    plain = {key: value for key, value in ANNOTATION.items() if key != "id"} | {"category_id": 18}
    split = parse(coco_document([IMAGE, OTHER], [ANNOTATION, other, ANNOTATION | {"category_id": 3}, plain]))
    assert split.skipped.empty
    assert split.annotations[["image_id", "annotation_id", "category_id"]].values.tolist() == [
        [1, 5, 1],
        [1, 6, 3],
        [1, 7, 18],
        [2, 5, 1],
    ]
    assert split.notes == (
        "test.json: 2 annotations have no id, or one that another of their image has: numbered from 6",
    )


@pytest.mark.parametrize("spelt", [str, float, lambda number: f" {number:05d} ", lambda number: f"{number}.0"])
def test_whole_numbers_are_read_however_they_are_spelt(spelt):
    image = {"id": spelt(1), "file_name": "a.jpg", "width": spelt(40), "height": spelt(30)}
    annotation = ANNOTATION | {"id": spelt(5), "image_id": spelt(1), "category_id": spelt(3), "iscrowd": spelt(0)}
    categories = [category | {"id": spelt(category["id"])} for category in CATEGORIES]
    split = parse({"images": [image], "annotations": [annotation], "categories": categories})
    expected = parse(coco_document([IMAGE], [ANNOTATION | {"category_id": 3}]))
    for name in ("images", "annotations", "categories", "skipped"):
        assert getattr(split, name).equals(getattr(expected, name)), name


def test_ids_that_are_no_numbers_get_one_and_are_kept():
    images = [IMAGE | {"id": "7c9e6679-7425"}, OTHER | {"id": "b.jpg"}]
    annotations = [ANNOTATION | {"id": "x", "image_id": "b.jpg", "category_id": "dog"}]
    categories = [{"id": "person", "name": "person"}, {"id": "dog", "name": "dog"}]
    split = parse({"images": images, "annotations": annotations, "categories": categories})
    # The first 46 bits of their SHA-256.
    number = {
        text: int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) >> 18 for text in ("7c9e6679-7425", "b.jpg")
    }
    known = split.images.set_index("source_id")["image_id"].to_dict()
    assert known == number
    assert split.annotations[["image_id", "category_id"]].values.tolist() == [[number["b.jpg"], 2]]
    assert split.categories["source_id"].tolist() == ["person", "dog"]


def test_numbers_that_are_too_large_are_ids_like_other_text():
    images = [IMAGE | {"id": 2**70}, OTHER | {"id": 2**63 - 1}]
    split = parse(coco_document(images, [ANNOTATION | {"image_id": 2**70}]))
    assert sorted(split.images["source_id"]) == sorted([str(2**70), str(2**63 - 1)])
    # Float64 and JavaScript hold each of them, and of the other split's, exactly.
    assert split.images["image_id"].abs().max() < 2**46
    assert len(split.annotations) == 1


@pytest.mark.parametrize("wrong", [0, -5, None, "", "wide", 40.5, [40], 2**40])
def test_a_size_that_is_none_is_unknown(wrong):
    split = parse(coco_document([IMAGE | {"width": wrong}, OTHER], []))
    assert split.images[["width", "height"]].values.tolist() == [[0, 0], [40, 30]]
    assert split.skipped.empty


def test_lists_may_be_tables_of_id_and_row():
    document = coco_document([IMAGE], [ANNOTATION])
    tables = {name: {str(row["id"]): row for row in rows} for name, rows in document.items()}
    assert parse(tables).annotations["annotation_id"].tolist() == [5]


def test_images_may_be_in_sub_folders():
    split = parse(coco_document([IMAGE | {"file_name": "2020/May/ä b.jpg"}], []))
    assert split.images["file_name"].tolist() == ["2020/May/ä b.jpg"]


def test_category_ids_that_do_not_fit_a_mask_are_numbered_anew():
    categories = [{"id": 0, "name": "things", "supercategory": "none"}, {"id": 700, "name": "car"}]
    split = parse({"images": [IMAGE], "annotations": [ANNOTATION | {"category_id": 700}], "categories": categories})
    assert split.categories.to_dict("records") == [
        {"category_id": 1, "source_id": "0", "name": "things", "supercategory": "things"},
        {"category_id": 2, "source_id": "700", "name": "car", "supercategory": "car"},
    ]
    assert split.annotations["category_id"].tolist() == [2]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_any_unicode_is_read(encoding):
    text = json.dumps(coco_document([IMAGE | {"file_name": "ä.jpg"}], []), ensure_ascii=False).encode(encoding)
    assert parse_coco(text, "test.json").images["file_name"].tolist() == ["ä.jpg"]


def test_another_encoding_is_told():
    document = coco_document([IMAGE], []) | {"categories": [{"id": 1, "name": "Fußgänger"}]}
    with pytest.raises(SegscopeError, match=r"categories\[0\]: it is not in UTF-8: convert the file, as `iconv"):
        parse_coco(json.dumps(document, ensure_ascii=False).encode("latin-1"), "test.json")


def test_numbers_that_json_does_not_know_are_null():
    odd = {"area": float("nan"), "note": 'a "NaN" it is, Infinity', "score": -float("inf")}
    split = parse(coco_document([IMAGE | {"width": float("nan")}], [ANNOTATION | odd]))
    assert split.images["width"].tolist() == [0]
    assert len(split.annotations) == 1
    assert split.notes == ("test.json: 3 NaN or Infinity, which JSON does not know, are read as null",)


def test_a_document_in_a_list_is_read_and_results_are_told():
    assert len(parse([coco_document([IMAGE], [ANNOTATION])]).annotations) == 1
    for results in ([], [ANNOTATION, ANNOTATION]):
        with pytest.raises(SegscopeError, match=f"it is a list of {len(results)}, as COCO's results are"):
            parse(results)
    with pytest.raises(SegscopeError, match="missing required field `images`"):
        parse([ANNOTATION])


def test_a_picture_under_two_ids_is_one_image_with_the_labels_of_both():
    other = ANNOTATION | {"id": 6, "image_id": 9, "segmentation": square(20, 3, 10)}
    again = [IMAGE | {"id": 9}, IMAGE | {"id": 10, "width": 41}]  # of another size it is another, and told later
    document = json.dumps(coco_document([*again, IMAGE, OTHER], [ANNOTATION, other])).encode()
    assert parse_coco(document, "test.json").images["image_id"].tolist() == [1, 2, 9, 10]
    found = parse_coco(document, "test.json", one_folder=True)
    assert found.images["image_id"].tolist() == [1, 2, 10]
    assert found.annotations[["image_id", "annotation_id"]].values.tolist() == [[1, 5], [1, 6]]
    assert found.notes == ("test.json: 1 pictures are listed once more under another id: their annotations are joined",)


@pytest.mark.parametrize("unsized", [0, 1])
def test_a_picture_under_two_ids_is_one_image_also_where_one_row_has_no_size(unsized):
    images = [IMAGE | {"scene": None}, IMAGE | {"id": 9, "scene": "s"}]
    images[unsized] = {key: value for key, value in images[unsized].items() if key not in ("width", "height")}
    document = coco_document(images, [ANNOTATION, ANNOTATION | {"id": 6, "image_id": 9}])
    found = parse_coco(json.dumps(document).encode(), "test.json", "scene", one_folder=True)
    assert found.images[["image_id", "width", "height", "group"]].values.tolist() == [[1, 40, 30, "s"]]
    assert found.annotations[["image_id", "annotation_id"]].values.tolist() == [[1, 5], [1, 6]]


def test_a_field_of_the_images_says_which_belong_together():
    third = IMAGE | {"id": 3, "file_name": "c.jpg", "video_id": "7"}
    images = [IMAGE | {"video_id": 7}, OTHER | {"video_id": None}, third]
    text = json.dumps(coco_document(images, [ANNOTATION])).encode()
    assert parse_coco(text, "test.json", "video_id").images["group"].tolist() == ["7", None, "7"]
    assert parse_coco(text, "test.json").images["group"].tolist() == [None, None, None]
    with pytest.raises(SegscopeError, match=r"data.group: no image of test.json has a field scene; there .*video_id"):
        parse_coco(text, "test.json", "scene")


@pytest.mark.parametrize("spelt", [1, True, "1", 1.0, "true", "1.0", "TRUE"])
def test_a_crowd_is_one_however_it_is_spelt(spelt):
    assert parse(coco_document([IMAGE], [ANNOTATION | {"iscrowd": spelt}])).annotations["iscrowd"].tolist() == [True]


@pytest.mark.parametrize("spelt", [0, False, "0", 0.0, "false", "0.0", None, "", float("nan")])
def test_no_crowd_is_none_however_it_is_spelt(spelt):
    assert parse(coco_document([IMAGE], [ANNOTATION | {"iscrowd": spelt}])).annotations["iscrowd"].tolist() == [False]


def test_a_row_of_which_a_field_is_wrong_and_another_no_text_is_listed():
    rows = json.dumps([OTHER, {"id": {"$oid": "1"}, "file_name": "x"}]).encode().replace(b'"x"', b'"\xfc.jpg"')
    document = json.dumps(coco_document([], [])).encode().replace(b'"images": []', b'"images": ' + rows)
    split = parse_coco(document, "test.json")
    assert split.images["file_name"].tolist() == ["b.jpg"]
    assert split.skipped["reason"].tolist() == ["malformed"]


def test_an_annotation_without_id_gets_one_also_beside_the_largest():
    rows = [ANNOTATION | {"id": own} for own in (2**46 - 1, None, 1)]
    split = parse(coco_document([IMAGE], rows))
    assert sorted(split.annotations["annotation_id"]) == [1, 2, 2**46 - 1]


@given(st.lists(st.integers(-5, 40) | st.just(2**46 - 1)), st.integers(0, 9))
def test_free_ids_are_free(taken, n):
    found = free_ids(taken, n).tolist()
    assert len(set(found)) == n
    assert not set(found) & set(taken)
    assert all(0 < i < 2**46 for i in found)
