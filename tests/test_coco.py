import codecs
import json

import numpy as np
import pytest
from conftest import CATEGORIES, coco_document, square
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as rle_api
from pycocotools.coco import COCO

from segscope.coco import (
    CocoSplit,
    decode_rle,
    encode_rle,
    parse_coco,
    read_coco,
    resolve_categories,
    rle_runs,
    segmentation_rle,
    select_images,
)
from segscope.errors import SegscopeError

IMAGE = {"id": 1, "file_name": "a.jpg", "width": 40, "height": 30}
OTHER = {"id": 2, "file_name": "b.jpg", "width": 40, "height": 30}
ANNOTATION = {"id": 5, "image_id": 1, "category_id": 1, "segmentation": square(2, 3, 10)}


def parse(document: dict) -> CocoSplit:
    return parse_coco(json.dumps(document).encode(), "test.json")


def split_of(shown: dict[int, list[int]]) -> CocoSplit:
    images = [{"id": i, "file_name": f"{i}.jpg", "width": 4, "height": 3} for i in shown]
    rows = [(i, c) for i, categories in shown.items() for c in categories]
    annotations = [
        {"id": n, "image_id": i, "category_id": c, "segmentation": []} for n, (i, c) in enumerate(rows, start=1)
    ]
    return parse(coco_document(images, annotations))


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


@given(st.sets(st.integers(1, 60), min_size=2), st.integers(1, 40), st.integers(0, 3))
def test_a_larger_subset_holds_the_smaller_and_one_image_changes_one(ids, most, seed):
    def chosen(of: set[int], n: int) -> set[int]:
        return set(select_images(split_of({i: [1] for i in of}), [{1}], "any", n, seed)["image_id"])

    assert chosen(ids, most) <= chosen(ids, most + 1)
    without = set(ids) - {min(ids)}
    assert len(chosen(ids, most) - chosen(without, most)) <= 1


def test_names_resolve_to_categories_then_super_categories():
    categories = split_of({1: []}).categories
    assert resolve_categories(["person"], categories) == [1]
    assert resolve_categories(["vehicle", "dog"], categories) == [3, 6, 18]
    with pytest.raises(SegscopeError, match=r"'truck' is neither .* categories: person, car, bus, dog"):
        resolve_categories(["truck"], categories)


def test_all_kinds_of_segmentation_decode_as_pycocotools_does():
    mask = np.zeros((30, 40), bool)
    mask[4:9, 3:20] = mask[12:20, 30:40] = True
    flat = mask.ravel(order="F")
    edges = np.flatnonzero(np.diff(flat)) + 1
    runs = np.diff([0, *edges, flat.size]).tolist()
    segmentations = [
        [[1.5, 2.5, 20, 2.5, 20, 17, 3, 12]],
        [*square(2, 3, 9), *square(20, 15, 12)],
        square(-10, -10, 25),
        square(100, 100, 25),
        {"size": [30, 40], "counts": runs},
        {"size": [30, 40], "counts": encode_rle(mask)},
    ]
    reference = COCO()
    reference.dataset = coco_document(
        [IMAGE], [ANNOTATION | {"id": i, "segmentation": s} for i, s in enumerate(segmentations)]
    )
    reference.createIndex()
    for i, segmentation in enumerate(segmentations):
        decoded = decode_rle(segmentation_rle(segmentation, 30, 40), 30, 40)
        assert np.array_equal(decoded, reference.annToMask(reference.anns[i])), segmentation


@settings(max_examples=200)
@given(st.integers(1, 30), st.integers(1, 30), st.randoms(use_true_random=False))
def test_run_lengths_survive_their_code(height, width, random):
    mask = np.array([[random.random() < 0.4 for _ in range(width)] for _ in range(height)])
    counts = encode_rle(mask)
    assert np.array_equal(decode_rle(counts, height, width), mask)
    assert rle_runs(counts).sum() == height * width


def test_long_runs_survive_their_code():
    mask = np.zeros((5000, 5000), bool)
    mask[2500:, 4999] = True
    assert rle_runs(encode_rle(mask)).tolist() == [5000 * 4999 + 2500, 2500]


@pytest.mark.parametrize(
    ("segmentation", "message"),
    [
        (None, "it has no segmentation"),
        ("x", "it has no segmentation"),
        ({"size": [30, 40]}, "its RLE has no counts"),
        ({"size": [3, 4], "counts": [12]}, r"its RLE is of size \[3, 4\], the image \[30, 40\]"),
        ({"size": [30, 40], "counts": [5]}, "its RLE does not cover the image"),
        ({"size": [30, 40], "counts": [1300, -100]}, "its RLE does not cover the image"),
        ({"size": [30, 40], "counts": [2**70]}, "its RLE's counts are not integers"),
        ({"size": [30, 40], "counts": [0.5, 1199.5]}, "its RLE's counts are not integers"),
        ({"size": [30, 40], "counts": ""}, "its RLE is malformed"),
        ({"size": [30, 40], "counts": "ä"}, "ordinal not in range"),
        ({"size": [30, 40], "counts": "oooooooooooooooo0"}, "its RLE is malformed"),
        ({"size": [30, 40], "counts": "52203"}, "its RLE does not cover the image"),
        ([[1, 1, 5, "x", 9, 9]], "could not convert"),
        ([[1, 1, 5, None, 9, 9]], "coordinates are not numbers within"),
        ([[1, 1, 5, 1e300, 9, 9]], "coordinates are not numbers within"),
        ([[[1, 1], [5, 5], [9, 1]]], "coordinates are not numbers"),
        ([5, 5, 9, 9, 1, 5], "polygons are not lists"),
    ],
)
def test_an_unusable_segmentation_says_why(segmentation, message):
    with pytest.raises(SegscopeError, match=message):
        segmentation_rle(segmentation, 30, 40)


@given(st.text(alphabet=[chr(c) for c in range(48, 112)], max_size=12))
def test_a_code_that_is_taken_decodes_within_the_image(counts):
    try:
        taken = segmentation_rle({"size": [3, 4], "counts": counts}, 3, 4)
    except SegscopeError:
        return
    expected = rle_api.decode({"size": [3, 4], "counts": taken.encode()})
    assert np.array_equal(decode_rle(taken, 3, 4), expected)


@pytest.mark.parametrize("segmentation", [[], [[]], [[1, 1, 2, 2]], square(5, 5, 0)])
def test_a_polygon_of_no_area_is_empty(segmentation):
    assert not decode_rle(segmentation_rle(segmentation, 30, 40), 30, 40).any()
